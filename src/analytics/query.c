/*
 * query.c
 *	  From the arguments of a reporting function to what journey.c reads.
 *
 * Decides which table is the history, how its columns are called, which stages
 * make the funnel and in what order, and builds the two queries. A name given by
 * the user is a column of a relation given by OID, and is quoted; an expression
 * given by the user is parsed as a list of expressions and analysed against the
 * lead table before it becomes part of a query. Both queries run with the
 * caller's rights.
 */
#include "journey.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* ---------- expressions ---------- */

typedef struct CheckContext
{
	const char *what;
	const char *text;
	Oid			relid;
} CheckContext;

/* Point at the user's expression rather than at the query that called us. */
static void
expression_error(void *arg)
{
	CheckContext *c = arg;
	int			pos = geterrposition();

	if (pos > 0)
	{
		errposition(0);
		internalerrposition(pos);
		internalerrquery(c->text);
	}
	errcontext("argument \"%s\" over the columns of %s", c->what,
			   get_rel_name(c->relid) ? get_rel_name(c->relid) : "the lead table");
}

/*
 * Check that text is an expression over the row of a table, or several of them
 * where many is set: nothing but expressions can pass. *count gets the number.
 */
void
ls_check_expressions(const char *what, const char *text, Oid relid, bool many, int *count)
{
	CheckContext context = {what, text, relid};
	ErrorContextCallback callback;
	List	   *raw;
	SelectStmt *stmt;
	Relation	rel;
	ParseState *pstate;
	ParseNamespaceItem *item;
	ListCell   *lc;

	callback.callback = expression_error;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	/* this grammar is a target list with the clauses that may follow one */
	raw = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	stmt = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	if (!IsA(stmt, SelectStmt) || stmt->op != SETOP_NONE || stmt->distinctClause ||
		stmt->intoClause || stmt->fromClause || stmt->whereClause || stmt->groupClause ||
		stmt->havingClause || stmt->windowClause || stmt->valuesLists || stmt->sortClause ||
		stmt->limitOffset || stmt->limitCount || stmt->lockingClause || stmt->withClause ||
		stmt->targetList == NIL || (!many && list_length(stmt->targetList) != 1))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not an expression", text),
				 many ? errhint("Give a column or an expression of the lead table, or several separated by commas.")
				 : errhint("Give one column or expression of the lead table.")));

	rel = relation_open(relid, AccessShareLock);
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = text;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, item, true, true, true);
	foreach(lc, stmt->targetList)
	{
		ResTarget  *target = lfirst_node(ResTarget, lc);

		if (IsA(target->val, ColumnRef) &&
			IsA(llast(((ColumnRef *) target->val)->fields), A_Star))
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("\"%s\" is not an expression", text),
					 errhint("Name the columns instead of \"*\".")));

		/* no aggregate, no window function: the rules of GROUP BY */
		(void) transformExpr(pstate, target->val, EXPR_KIND_GROUP_BY);
	}
	if (pstate->p_hasTargetSRFs)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" returns a set", text),
				 errhint("Each lead has one value to report by.")));
	free_parsestate(pstate);
	relation_close(rel, AccessShareLock);
	*count = list_length(stmt->targetList);
	error_context_stack = callback.previous;
}

/* ---------- columns ---------- */

typedef enum HistoryColumn
{
	COL_LEAD,
	COL_STAGE,
	COL_AT,
	COL_FROM,
	COL_SEQ,
	COL_TIE,
	COL_KEY,					/* of the lead table */
	N_COLUMNS
} HistoryColumn;

static const char *const column_keys[N_COLUMNS] = {
	"lead", "stage", "at", "from", "seq", "tie", "key"
};

/* Names tried, in order, where the user names none; NULL ends a list. */
static const char *const column_defaults[N_COLUMNS][6] = {
	{"lead", "lead_id", NULL},
	{"to_stage", "stage", NULL},
	{"at", "occurred_at", "changed_at", NULL},
	{"from_stage", NULL},
	{NULL},
	{NULL},
	{NULL}
};

static void
default_columns(LsQuery *q, char **columns)
{
	int			key;

	for (key = 0; key < N_COLUMNS; key++)
	{
		if (columns[key] == NULL)
			columns[key] = ls_first_column(q->history, column_defaults[key]);
		if (columns[key] == NULL && key <= COL_AT)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("cannot tell which column of \"%s\" is the %s", get_rel_name(q->history),
							key == COL_LEAD ? "lead" : key == COL_STAGE ? "stage" : "instant"),
					 errhint("Name it, for example columns => '{\"%s\": \"...\"}'.", column_keys[key])));
	}
	if (q->own_history && columns[COL_TIE] == NULL && columns[COL_SEQ] == NULL)
		columns[COL_TIE] = "id";
}

/* ---------- stages ---------- */

/* Elements of a text[]; an error where one is NULL, empty or there twice. */
static int
text_array(ArrayType *array, const char *what, char ***result)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n,
				i,
				k;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	*result = palloc(Max(n, 1) * sizeof(char *));
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"%s\" contains NULL", what)));
		(*result)[i] = TextDatumGetCString(elems[i]);
		for (k = 0; k < i; k++)
			if (strcmp((*result)[k], (*result)[i]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("\"%s\" names stage \"%s\" twice", what, (*result)[i])));
	}
	return n;
}

static int
find_stage(const LsQuery *q, const char *name)
{
	int			i;

	for (i = 0; i < q->nstages; i++)
		if (strcmp(q->stages[i].name, name) == 0)
			return i;
	return -1;
}

static void
add_stage(LsQuery *q, char *name, LsStageKind kind)
{
	if (q->nstages == LS_MAX_STAGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d stages", LS_MAX_STAGES)));
	if (q->nstages % 16 == 0)
		q->stages = q->nstages == 0 ? palloc(16 * sizeof(LsFunnelStage)) :
			repalloc(q->stages, (q->nstages + 16) * sizeof(LsFunnelStage));
	q->stages[q->nstages].name = name;
	q->stages[q->nstages++].kind = kind;
}

/* One column of text of the rows of a catalog query, as stages with their kind */
static void
pipeline_stage_row(void *arg, Datum *values, bool *isnull)
{
	LsQuery    *q = arg;
	MemoryContext old;
	char	   *kind;

	if (isnull[0] || isnull[1])
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(q));
	kind = TextDatumGetCString(values[1]);
	add_stage(q, TextDatumGetCString(values[0]),
			  strcmp(kind, "won") == 0 ? LS_STAGE_WON :
			  strcmp(kind, "lost") == 0 ? LS_STAGE_LOST : LS_STAGE_OPEN);
	MemoryContextSwitchTo(old);
}

/*
 * The stages of the pipeline that the lead table is under, in its order, those
 * of kind lost last. False if the table is under none.
 */
static bool
pipeline_stages(LsQuery *q)
{
	if (!OidIsValid(q->leads) ||
		!OidIsValid(get_relname_relid("enforced", ls_schema_oid())))
		return false;
	ls_run_query(psprintf("SELECT s.stage::pg_catalog.text, s.kind::pg_catalog.text"
						  " FROM " LS_SCHEMA ".enforced e"
						  " JOIN " LS_SCHEMA ".pipeline p ON p.pipeline OPERATOR(pg_catalog.=) e.pipeline"
						  " JOIN " LS_SCHEMA ".pipeline_stage s ON s.pipeline OPERATOR(pg_catalog.=) p.pipeline"
						  " AND s.version OPERATOR(pg_catalog.=) p.live_version"
						  " WHERE e.relation OPERATOR(pg_catalog.=) %u::pg_catalog.oid::pg_catalog.regclass"
						  " ORDER BY s.kind OPERATOR(pg_catalog.=) 'lost', s.ordinal", q->leads),
				 pipeline_stage_row, q, NULL, NULL);
	return q->nstages > 0;
}

/* The labels of an enum, in its order; "lost" and "disqualified" are exits. */
static void
enum_stages(LsQuery *q, Oid enumtype, List *lost)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(enumtype));
	Form_pg_enum *labels = palloc(Max(list->n_members, 1) * sizeof(Form_pg_enum));
	int			i,
				k;

	for (i = 0; i < list->n_members; i++)
	{
		Form_pg_enum e = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		for (k = i; k > 0 && labels[k - 1]->enumsortorder > e->enumsortorder; k--)
			labels[k] = labels[k - 1];
		labels[k] = e;
	}
	for (i = 0; i < list->n_members; i++)
	{
		char	   *name = pstrdup(NameStr(labels[i]->enumlabel));
		ListCell   *lc;
		bool		is_lost = false;

		foreach(lc, lost)
			is_lost |= strcmp(lfirst(lc), name) == 0;
		if (!is_lost)
			add_stage(q, name, LS_STAGE_OPEN);
	}
	ReleaseCatCacheList(list);
}

/*
 * Which stages, in which order, of which kind: from the arguments; else from the
 * pipeline; else from the enum that the column is of; else the lifecycle.
 */
static void
choose_stages(LsQuery *q, FunctionCallInfo fcinfo, Oid stage_type)
{
	static const char *const lifecycle[] = {"lead", "mql", "sql", "prospect", "client"};
	char	  **names;
	List	   *lost = list_make2("lost", "disqualified");
	List	   *won = NIL;
	ListCell   *lc;
	bool		from_pipeline = false;
	int			n,
				i;

	if (!PG_ARGISNULL(LS_ARG_LOST))
	{
		n = text_array(PG_GETARG_ARRAYTYPE_P(LS_ARG_LOST), "lost", &names);
		for (lost = NIL, i = 0; i < n; i++)
			lost = lappend(lost, names[i]);
	}
	if (!PG_ARGISNULL(LS_ARG_WON))
	{
		n = text_array(PG_GETARG_ARRAYTYPE_P(LS_ARG_WON), "won", &names);
		for (i = 0; i < n; i++)
			won = lappend(won, names[i]);
	}

	if (!PG_ARGISNULL(LS_ARG_STAGES))
	{
		n = text_array(PG_GETARG_ARRAYTYPE_P(LS_ARG_STAGES), "stages", &names);
		if (n == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"stages\" is empty"),
					 errhint("List the stages of the funnel, first to last.")));
		for (i = 0; i < n; i++)
			add_stage(q, names[i], LS_STAGE_OPEN);
	}
	else if (q->own_history && pipeline_stages(q))
		from_pipeline = true;
	else if (get_typtype(stage_type) == TYPTYPE_ENUM)
		enum_stages(q, stage_type, lost);
	else
	{
		for (i = 0; i < (int) lengthof(lifecycle); i++)
			add_stage(q, pstrdup(lifecycle[i]), LS_STAGE_OPEN);
	}

	/* arguments overrule the kinds of the pipeline, where they are given */
	if (!from_pipeline || won != NIL)
	{
		for (i = 0; i < q->nstages; i++)
			if (q->stages[i].kind == LS_STAGE_WON)
				q->stages[i].kind = LS_STAGE_OPEN;
		if (won == NIL && q->nstages > 0)
			q->stages[q->nstages - 1].kind = LS_STAGE_WON;
		foreach(lc, won)
		{
			i = find_stage(q, lfirst(lc));
			if (i < 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("\"won\" names stage \"%s\", which is not in the funnel", (char *) lfirst(lc)),
						 errhint("List it in \"stages\".")));
			q->stages[i].kind = LS_STAGE_WON;
		}
	}
	q->nfunnel = q->nstages;
	if (from_pipeline && PG_ARGISNULL(LS_ARG_LOST))
	{
		while (q->nfunnel > 0 && q->stages[q->nfunnel - 1].kind == LS_STAGE_LOST)
			q->nfunnel--;
	}
	else
	{
		foreach(lc, lost)
		{
			i = find_stage(q, lfirst(lc));
			if (i < 0)
				add_stage(q, lfirst(lc), LS_STAGE_LOST);
			else if (i < q->nfunnel && !PG_ARGISNULL(LS_ARG_LOST) && !from_pipeline)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("stage \"%s\" is both in the funnel and lost", (char *) lfirst(lc)),
						 errhint("List it in \"stages\" or in \"lost\".")));
		}
	}
	if (q->nfunnel == 0 || q->nfunnel > LS_MAX_FUNNEL_STAGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a funnel has 1 to %d stages, not %d", LS_MAX_FUNNEL_STAGES, q->nfunnel)));
}

/* ---------- the whole ---------- */

/* The one lead table that is under a pipeline, if there is just one */
typedef struct OnlyRelation
{
	Oid			relid;
	int			n;
} OnlyRelation;

static void
enforced_row(void *arg, Datum *values, bool *isnull)
{
	OnlyRelation *only = arg;

	if (!isnull[0])
	{
		only->relid = DatumGetObjectId(values[0]);
		only->n++;
	}
}

static Oid
the_enforced_relation(void)
{
	OnlyRelation only = {InvalidOid, 0};

	if (OidIsValid(get_relname_relid("enforced", ls_schema_oid())))
		ls_run_query("SELECT relation::pg_catalog.oid FROM " LS_SCHEMA ".enforced",
					 enforced_row, &only, NULL, NULL);
	if (only.n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("which leads? %d tables are under a pipeline", only.n),
				 only.n == 0 ?
				 errhint("Name your own history table (history => ...), or put a lead table under a pipeline with leadscore.enforce.") :
				 errhint("Name the lead table as the first argument.")));
	return only.relid;
}

/* The column that is the whole primary key of the lead table */
static char *
primary_key_column(Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	int			member;
	char	   *name = NULL;

	if (bms_get_singleton_member(key, &member))
		name = pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel),
											 member + FirstLowInvalidHeapAttributeNumber - 1)->attname));
	relation_close(rel, AccessShareLock);
	return name;
}

LsQuery *
ls_query_from_args(FunctionCallInfo fcinfo, const char *value)
{
	LsQuery    *q = palloc0(sizeof(LsQuery));
	char	   *columns[N_COLUMNS] = {0};
	const char *by = NULL;
	Oid			stage_type;
	StringInfoData sql;
	int			ncols = 3;

	q->leads = PG_ARGISNULL(LS_ARG_LEADS) ? InvalidOid : PG_GETARG_OID(LS_ARG_LEADS);
	q->history = PG_ARGISNULL(LS_ARG_HISTORY) ? InvalidOid : PG_GETARG_OID(LS_ARG_HISTORY);
	if (OidIsValid(q->leads))
		ls_check_relation(q->leads);
	if (OidIsValid(q->history))
		ls_check_relation(q->history);
	q->since = PG_ARGISNULL(LS_ARG_SINCE) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(LS_ARG_SINCE);
	q->until = PG_ARGISNULL(LS_ARG_UNTIL) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(LS_ARG_UNTIL);
	q->as_of = PG_ARGISNULL(LS_ARG_AS_OF) ? GetCurrentTransactionStartTimestamp() :
		PG_GETARG_TIMESTAMPTZ(LS_ARG_AS_OF);
	if (TIMESTAMP_NOT_FINITE(q->as_of))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("\"as_of\" is not an instant"),
				 errhint("It is the instant up to which open leads have been watched.")));

	if (!OidIsValid(q->history))
	{
		Oid			own = get_relname_relid("stage_history", ls_schema_oid());

		if (!OidIsValid(own))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("there is no history of stages in this database"),
					 errhint("Name your own history table: history => ....")));
		q->history = own;
		q->own_history = true;
		if (!OidIsValid(q->leads))
			q->leads = the_enforced_relation();
	}
	else
		q->own_history = q->history == get_relname_relid("stage_history", ls_schema_oid());

	if (!PG_ARGISNULL(LS_ARG_COLUMNS))
		ls_read_mapping(PG_GETARG_JSONB_P(LS_ARG_COLUMNS), "columns", column_keys, N_COLUMNS, columns);
	default_columns(q, columns);

	/* the history */
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT h.%s, h.%s",
					 ls_quoted_column(q->history, columns[COL_LEAD], "lead"),
					 ls_quoted_column(q->history, columns[COL_STAGE], "stage"));
	appendStringInfo(&sql, ", h.%s::pg_catalog.timestamptz",
					 ls_quoted_column(q->history, columns[COL_AT], "at"));
	q->from_col = q->order_col = q->adopted_col = -1;
	if (columns[COL_FROM])
	{
		appendStringInfo(&sql, ", h.%s", ls_quoted_column(q->history, columns[COL_FROM], "from"));
		q->from_col = ncols++;
	}
	if (columns[COL_SEQ] || columns[COL_TIE])
	{
		q->by_sequence = columns[COL_SEQ] != NULL;
		appendStringInfo(&sql, ", h.%s::pg_catalog.int8",
						 q->by_sequence ? ls_quoted_column(q->history, columns[COL_SEQ], "seq") :
						 ls_quoted_column(q->history, columns[COL_TIE], "tie"));
		q->order_col = ncols++;
	}
	if (q->own_history)
	{
		appendStringInfoString(&sql, ", h.kind OPERATOR(pg_catalog.=) 'adopted'");
		q->adopted_col = ncols++;
	}
	appendStringInfo(&sql, " FROM %s h", ls_qualified_name(q->history));
	if (q->own_history && OidIsValid(q->leads))
		appendStringInfo(&sql, " WHERE h.relation OPERATOR(pg_catalog.=) %u::pg_catalog.oid::pg_catalog.regclass",
						 q->leads);
	q->history_sql = sql.data;

	stage_type = get_atttype(q->history, get_attnum(q->history, columns[COL_STAGE]));
	choose_stages(q, fcinfo, stage_type);

	/* the lead table, if anything of it is asked for */
	if (!PG_ARGISNULL(LS_ARG_BY))
		by = text_to_cstring(PG_GETARG_TEXT_PP(LS_ARG_BY));
	q->has_value = value != NULL;
	if (by || value)
	{
		int			n;

		if (!OidIsValid(q->leads))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" needs the lead table", by ? "by" : "value"),
					 errhint("Name the lead table as the first argument.")));
		if (by)
			ls_check_expressions("by", by, q->leads, true, &q->nby);
		if (q->nby > 8)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("\"by\" has %d expressions, more than 8", q->nby)));
		if (value)
			ls_check_expressions("value", value, q->leads, false, &n);
		if (columns[COL_KEY] == NULL)
			columns[COL_KEY] = primary_key_column(q->leads);
		if (columns[COL_KEY] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("cannot tell which column of \"%s\" is the key of a lead", get_rel_name(q->leads)),
					 errdetail("The table has no primary key of one column."),
					 errhint("Name it, for example columns => '{\"key\": \"...\"}'.")));
		initStringInfo(&sql);
		appendStringInfo(&sql, "SELECT %s", ls_quoted_column(q->leads, columns[COL_KEY], "key"));

		/* each on a line of its own: what is given may end in a comment */
		if (by)
			appendStringInfo(&sql, ", %s\n", by);
		if (value)
			appendStringInfo(&sql, ", (%s\n)::pg_catalog.float8", value);
		appendStringInfo(&sql, " FROM %s", ls_qualified_name(q->leads));
		q->leads_sql = sql.data;
	}
	return q;
}

/*
 * Which stages a report asks about: the one named, or the won stages where none
 * is. Numbers as in query->stages.
 */
int *
ls_stage_numbers(const LsQuery *query, const char *stage, int *count)
{
	int		   *numbers = palloc(query->nfunnel * sizeof(int));
	int			i;

	*count = 0;
	for (i = 0; i < query->nfunnel; i++)
		if (stage ? strcmp(query->stages[i].name, stage) == 0 : query->stages[i].kind == LS_STAGE_WON)
			numbers[(*count)++] = i;
	if (stage && *count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stage \"%s\" is not in the funnel", stage)));
	return numbers;
}
