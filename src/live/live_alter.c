/*
 * live_alter.c
 *	  ALTER TABLE that changes what the columns of a model hold, or what its rules
 *	  make of them: another type, another column under the name, a generated
 *	  column's expression. No row trigger fires for these.
 *
 * After the command all scores of the models that read such a column are computed
 * anew, as rescore() does it, in the same transaction. A model whose rules do not
 * fit any more is told of and left, as writers of the table are told.
 *
 * Before a column gets another type the old values that are kept of it (see
 * model_past.c) are converted as its rows will be: afterwards they would be taken
 * for values in the new representation.
 */
#include "leadscore.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/deparse_utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "live/live.h"

/* A table of which columns were altered. */
typedef struct Altered
{
	Oid			relid;
	List	   *names;			/* of columns, char * */
	List	   *dropped;		/* those of them that are gone, though another may have come */
	const char *renamed;		/* what the only one was called before; NULL: not renamed */
} Altered;

/* A model over it, or over tables that inherit from it. */
typedef struct Concerned
{
	const char *name;
	Oid			leads;
	Oid			events;			/* InvalidOid: none */
	bool		of_leads;
	bool		of_events;
	const Altered *altered;
	bool		reads;			/* one of the columns */
	int			depth;
} Concerned;

/* What a column was before the command, if that was about it alone. */
static struct
{
	LocalTransactionId lxid;	/* invalid: none noted */
	Oid			relid;
	Oid			file;
	NameData	name;
	Oid			type;
	Oid			collation;
}			noted = {InvalidLocalTransactionId};

/* ----------------------------------------------------------------
 *		Which commands, which models
 * ----------------------------------------------------------------
 */

/* The column that a subcommand may give other values; NULL: none. */
static const char *
column_of(const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AlterColumnType:
		case AT_DropColumn:		/* the row as a whole may be read */
			return command->name;
		case AT_AddColumn:
			return IsA(command->def, ColumnDef) ? castNode(ColumnDef, command->def)->colname : NULL;
		default:
			return ls_is_set_expression(command->subtype) ? command->name : NULL;
	}
}

static bool
is_about_columns(Node *command)
{
	ListCell   *cell;

	if (IsA(command, RenameStmt))
		return castNode(RenameStmt, command)->renameType == OBJECT_COLUMN ||
			castNode(RenameStmt, command)->renameType == OBJECT_ATTRIBUTE;
	if (!IsA(command, AlterTableStmt))
		return false;
	foreach(cell, castNode(AlterTableStmt, command)->cmds)
	{
		AlterTableCmd *alter = lfirst_node(AlterTableCmd, cell);

		if (column_of(alter) != NULL)
			return true;
	}
	return false;
}

/* What the command did to columns: Altered. */
static List *
collected_columns(Node *command)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;

	SPI_connect();
	ls_catalog_execute("SELECT objid, objsubid, command FROM pg_catalog.pg_event_trigger_ddl_commands()"
					   " WHERE classid = 'pg_catalog.pg_class'::regclass OR classid = 'pg_catalog.pg_type'::regclass",
					   0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		CollectedCommand *collected = (CollectedCommand *) DatumGetPointer(SPI_getbinval(row, desc, 3, &isnull));
		MemoryContext oldcontext = MemoryContextSwitchTo(context);
		Altered    *altered = palloc0(sizeof(Altered));

		if (IsA(command, RenameStmt))
		{
			altered->relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
			altered->renamed = castNode(RenameStmt, command)->subname;
			altered->names = list_make1(castNode(RenameStmt, command)->newname);
		}
		else if (collected->type == SCT_AlterTable)
		{
			ListCell   *cell;

			/* the collected subcommands are others with each version; these are as they came */
			altered->relid = collected->d.alterTable.objectId;
			foreach(cell, castNode(AlterTableStmt, command)->cmds)
			{
				AlterTableCmd *alter = lfirst_node(AlterTableCmd, cell);
				const char *name = column_of(alter);

				if (name == NULL)
					continue;
				altered->names = lappend(altered->names, pstrdup(name));
				if (alter->subtype == AT_DropColumn)
					altered->dropped = lappend(altered->dropped, llast(altered->names));
			}
		}
		if (altered->names != NIL)
			result = lappend(result, altered);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return result;
}

/*
 * The models that are live over a table, over one that inherits its columns, or
 * over one of the composite type: Concerned.
 */
static List *
models_over(Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *result = NIL;

	SPI_connect();
	ls_catalog_execute("WITH RECURSIVE typed AS (SELECT reltype FROM pg_catalog.pg_class WHERE oid = $1 AND relkind = 'c'),"
					   " down (relid) AS ("
					   "SELECT $1 UNION SELECT c.oid FROM typed t JOIN pg_catalog.pg_class c ON c.reloftype = t.reltype"
					   " UNION SELECT i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid)"
					   " SELECT model, leads::oid, coalesce(events::oid, 0), leads::oid IN (SELECT relid FROM down),"
					   " coalesce(events::oid IN (SELECT relid FROM down), false)"
					   " FROM leadscore.model WHERE live_version IS NOT NULL"
					   " AND (leads::oid IN (SELECT relid FROM down) OR events::oid IN (SELECT relid FROM down))"
					   " ORDER BY model", 1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *name = SPI_getvalue(row, desc, 1);
		MemoryContext oldcontext = MemoryContextSwitchTo(context);
		Concerned  *model = palloc0(sizeof(Concerned));

		model->name = pstrdup(name);
		model->leads = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		model->events = DatumGetObjectId(SPI_getbinval(row, desc, 3, &isnull));
		model->of_leads = DatumGetBool(SPI_getbinval(row, desc, 4, &isnull));
		model->of_events = DatumGetBool(SPI_getbinval(row, desc, 5, &isnull));
		result = lappend(result, model);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return result;
}

/* The file of a table, which a rewrite exchanges; InvalidOid: it has none. */
static Oid
file_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			file = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
		ReleaseSysCache(tuple);
	}
	return file;
}

static void
note_column(Oid relid, const char *name)
{
	AttrNumber	attno = get_attnum(relid, name);
	int32		typmod;

	if (attno <= 0)
		return;
	noted.lxid = ls_local_transaction_id();
	noted.relid = relid;
	noted.file = file_of(relid);
	namestrcpy(&noted.name, name);
	get_atttypetypmodcoll(relid, attno, &noted.type, &typmod, &noted.collation);
}

static bool
is_string(Oid type)
{
	return type == TEXTOID || type == VARCHAROID;
}

/* Did the command leave values and their meaning alone, as where a varchar gets longer? */
static bool
nothing_changed(const Altered *altered)
{
	bool		mine = noted.lxid == ls_local_transaction_id() && noted.relid == altered->relid;
	Oid			type;
	Oid			collation;
	int32		typmod;
	AttrNumber	attno;

	noted.lxid = InvalidLocalTransactionId;
	if (!mine || altered->renamed || list_length(altered->names) != 1 ||
		strcmp(linitial(altered->names), NameStr(noted.name)) != 0)
		return false;
	attno = get_attnum(altered->relid, NameStr(noted.name));
	if (attno <= 0 || !OidIsValid(noted.file) || file_of(altered->relid) != noted.file)
		return false;
	get_atttypetypmodcoll(altered->relid, attno, &type, &typmod, &collation);
	return collation == noted.collation &&
		(type == noted.type || (is_string(type) && is_string(noted.type)));
}

static bool
is_named(const Altered *altered, const char *column)
{
	ListCell   *cell;

	foreach(cell, altered->names)
		if (strcmp(lfirst(cell), column) == 0)
			return true;
	return false;
}

/* Does a model, which was analysed, read one of the columns? */
static bool
reads(const LsModel *model, bool event, const Altered *altered)
{
	Oid			relid = event ? model->events : model->leads;
	Bitmapset  *attnos = NULL;
	int			attno = -1;
	bool		any = false;

	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];

		if (!rule->enabled || rule->event != event)
			continue;
		any = true;
		pull_varattnos((Node *) rule->condition, 1, &attnos);
		pull_varattnos((Node *) rule->points, 1, &attnos);
	}
	if (event ? any && (is_named(altered, model->event_lead) || is_named(altered, model->event_at)) :
		is_named(altered, model->lead_key))
		return true;
	while ((attno = bms_next_member(attnos, attno)) >= 0)
	{
		AttrNumber	column = attno + FirstLowInvalidHeapAttributeNumber;

		if (column == InvalidAttrNumber ||	/* the whole row */
			(column > 0 && is_named(altered, get_attname(relid, column, false))))
			return true;
	}
	return false;
}

static bool
reads_altered(const Concerned *concerned)
{
	LsModel    *model = ls_model_load(concerned->name, LS_LIVE);

	ls_model_analyse(model);
	return (concerned->of_leads && reads(model, false, concerned->altered)) ||
		(concerned->of_events && reads(model, true, concerned->altered));
}

/* ----------------------------------------------------------------
 *		After the command
 * ----------------------------------------------------------------
 */

/* The model does not suit its tables any more, rather than: something went wrong. */
static bool
does_not_fit(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return (category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
			error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE) ||
		category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_FEATURE_NOT_SUPPORTED;
}

static void
rescore(void *arg)
{
	const Concerned *concerned = arg;
	LiveIdentity identity;

	/* whoever alters the events need not be allowed to see the leads */
	ls_live_become_table_owner(&identity, ls_live_owner_of(concerned->leads), true);
	if (reads_altered(concerned))
	{
		if (concerned->depth == 0)
			(void) ls_model_store_scores(ls_model_load(concerned->name, LS_LIVE));
		else
		{
			/* triggers still to fire must see that what they add is in it */
			LiveModel  *live;
			LiveTableData *table = ls_live_model_pin(concerned->name, &live);

			ls_live_recompute_all(live, "alter", concerned->depth);
			ls_live_table_unpin(table);
		}
	}
	ls_live_become_self(&identity);
}

static void
follow_columns(Concerned *model)
{
	ErrorData  *error;
	ListCell   *dropped;

	if (get_rel_name(model->leads) == NULL)
		return;
	if (model->of_leads && model->altered->renamed)
		ls_past_rename(model->name, model->leads, model->altered->renamed, linitial(model->altered->names));
	if (model->of_leads)
		foreach(dropped, model->altered->dropped)
			ls_past_rename(model->name, model->leads, lfirst(dropped), NULL);
	error = ls_live_attempt(rescore, model, true);
	if (error == NULL)
		return;
	if (does_not_fit(error))
	{
		if (model->of_leads)
			ls_past_check_key(model->name, model->leads);
		(void) ls_kept_set(model->name, ls_live_warn_not_kept(model->name, error));
		return;
	}
	/* scores that stay as they were would be wrong */
	ereport(ERROR,
			(errcode(error->sqlerrcode),
			 errmsg("scores of model \"%s\" cannot be kept: %s", model->name, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) :
			 errhint("Altering the column changes scores. Mend this first, or leadscore.drop_model('%s').", model->name)));
}

/* At the end of any command that live_ddl is called for. */
void
ls_live_after_alter(Node *command, int depth)
{
	ListCell   *cell;

	if (!is_about_columns(command))
		return;
	foreach(cell, collected_columns(command))
	{
		Altered    *altered = lfirst(cell);
		List	   *models;
		ListCell   *model;

		if (nothing_changed(altered))
			continue;
		models = models_over(altered->relid);
		foreach(model, models)
		{
			Concerned  *concerned = lfirst(model);

			concerned->altered = altered;
			concerned->depth = depth;
			follow_columns(concerned);
		}
	}
}

/* ----------------------------------------------------------------
 *		Before the command: old values
 * ----------------------------------------------------------------
 */

/* How ALTER COLUMN ... TYPE will convert a column, over a row l; NULL: it will fail. */
static char *
conversion_sql(const AlterTableCmd *command, Relation rel)
{
	ColumnDef  *def = castNode(ColumnDef, command->def);
	ParseState *pstate = make_parsestate(NULL);
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), command->name);
	Node	   *expr;
	Oid			type;
	int32		typmod;

	if (attno <= 0)
		return NULL;
	addNSItemToQuery(pstate, addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true),
					 true, true, true);
	typenameTypeIdAndMod(pstate, def->typeName, &type, &typmod);
	if (def->raw_default)
		expr = transformExpr(pstate, copyObject(def->raw_default), EXPR_KIND_ALTER_COL_TRANSFORM);
	else
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(rel), attno - 1);

		expr = (Node *) makeVar(1, attno, column->atttypid, column->atttypmod, column->attcollation, 0);
	}
	/* explicit, so that the cast is written out */
	expr = coerce_to_target_type(pstate, expr, exprType(expr), type, typmod,
								 COERCION_ASSIGNMENT, COERCE_EXPLICIT_CAST, -1);
	if (expr == NULL)
		return NULL;
	assign_expr_collations(pstate, expr);
	free_parsestate(pstate);
	return ls_expression_sql((Expr *) expr, RelationGetRelid(rel), "l");
}

typedef struct Converting
{
	const char *name;
	List	   *columns;
	List	   *expressions;	/* NULL: nothing is known of the column in the new type */
	int64		after;			/* identifies the old value before the first to convert */
	int			limit;
	bool		done;
} Converting;

static void
convert_old_values(void *arg)
{
	Converting *state = arg;

	state->done = !ls_past_convert(ls_model_load(state->name, LS_LIVE), state->columns, state->expressions,
								   &state->after, state->limit);
}

/* Convert what is kept for one model; what cannot be becomes NULL, that is, not known. */
static void
convert_past(Converting *state)
{
	List	   *expressions = state->expressions;
	int			one_by_one = 0;

	state->after = 0;
	while (!state->done)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		state->limit = one_by_one > 0 ? 1 : 1000;
		state->expressions = expressions;
		error = ls_live_attempt(convert_old_values, state, true);
		if (error == NULL)
		{
			one_by_one = Max(one_by_one - 1, 0);
			continue;
		}
		/* it does not fit for another reason, which the command may mend */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
			return;
		if (one_by_one == 0)
		{
			one_by_one = 1000;
			continue;
		}
		state->expressions = NIL;
		convert_old_values(state);
	}
}

static void
convert_columns(const AlterTableStmt *stmt, Oid relid, List *models)
{
	Converting	state = {0};
	Relation	rel = relation_open(relid, NoLock);
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *alter = lfirst_node(AlterTableCmd, cell);
		char	   *sql = alter->subtype == AT_AlterColumnType ? conversion_sql(alter, rel) : NULL;

		if (sql == NULL)
			continue;
		state.columns = lappend(state.columns, alter->name);
		state.expressions = lappend(state.expressions, sql);
	}
	relation_close(rel, NoLock);
	if (state.columns == NIL)
		return;
	foreach(cell, models)
	{
		Concerned  *model = lfirst(cell);

		if (!model->of_leads || get_rel_name(model->leads) == NULL)
			continue;
		state.name = model->name;
		state.done = false;
		convert_past(&state);
	}
}

/* ----------------------------------------------------------------
 *		Before the command: locks
 * ----------------------------------------------------------------
 */

typedef struct Locks
{
	int			n;
	Oid		   *relids;
	LOCKMODE   *modes;
} Locks;

static void
add_lock(Locks *locks, Oid relid, LOCKMODE mode)
{
	if (!OidIsValid(relid))
		return;
	for (int i = 0; i < locks->n; i++)
		if (locks->relids[i] == relid)
		{
			locks->modes[i] = Max(locks->modes[i], mode);
			return;
		}
	locks->relids[locks->n] = relid;
	locks->modes[locks->n++] = mode;
}

/* Take all, but never wait for one while holding another: their users come by them in any order. */
static void
take_locks(const Locks *locks)
{
	int			first = 0;

	for (;;)
	{
		int			i;

		LockRelationOid(locks->relids[first], locks->modes[first]);
		for (i = 0; i < locks->n; i++)
			if (i != first && !ConditionalLockRelationOid(locks->relids[i], locks->modes[i]))
				break;
		if (i == locks->n)
			return;
		for (int taken = 0; taken < i; taken++)
			if (taken != first)
				UnlockRelationOid(locks->relids[taken], locks->modes[taken]);
		UnlockRelationOid(locks->relids[first], locks->modes[first]);
		CHECK_FOR_INTERRUPTS();
		first = i;
	}
}

static void
look_what_it_reads(void *arg)
{
	Concerned  *concerned = arg;
	LiveIdentity identity;

	ls_live_become_table_owner(&identity, ls_live_owner_of(concerned->leads), true);
	concerned->reads = reads_altered(concerned);
	ls_live_become_self(&identity);
}

/*
 * The command will lock its table against all, and computing scores then needs
 * the model's other tables, for which their readers and writers would have to be
 * waited for while they wait for us. So everything is locked first.
 */
static void
lock_tables(const Altered *altered, List *models)
{
	Locks		locks = {0};
	ListCell   *cell;

	locks.relids = palloc((1 + 3 * list_length(models)) * sizeof(Oid));
	locks.modes = palloc((1 + 3 * list_length(models)) * sizeof(LOCKMODE));
	add_lock(&locks, altered->relid, AccessExclusiveLock);
	foreach(cell, models)
	{
		Concerned  *model = lfirst(cell);
		ErrorData  *error;

		if (get_rel_name(model->leads) == NULL)
			continue;
		model->altered = altered;
		/* undone: who waits for a lock must not hold a lesser one */
		error = ls_live_attempt(look_what_it_reads, model, false);
		/* what does not fit now may afterwards */
		if (error == NULL && !model->reads)
			continue;
		add_lock(&locks, get_relname_relid(ls_model_score_table(model->name), ls_schema_oid()), AccessExclusiveLock);
		add_lock(&locks, model->leads, ShareRowExclusiveLock);
		add_lock(&locks, model->events, ShareRowExclusiveLock);
	}
	take_locks(&locks);
}

/* At the start of ALTER TABLE, if the user may do it. */
void
ls_live_before_alter(Node *command)
{
	RangeVar   *range = IsA(command, RenameStmt) ? castNode(RenameStmt, command)->relation :
		castNode(AlterTableStmt, command)->relation;
	Altered		altered = {0};
	List	   *models;
	ListCell   *cell;

	noted.lxid = InvalidLocalTransactionId;
	if (!is_about_columns(command))
		return;
	altered.relid = RangeVarGetRelid(range, NoLock, true);
	if (!OidIsValid(altered.relid) || !ls_owns_relation(altered.relid, GetUserId()))
		return;
	models = models_over(altered.relid);
	if (models == NIL)
		return;
	if (IsA(command, RenameStmt))
		altered.names = list_make1(castNode(RenameStmt, command)->newname);
	else
		foreach(cell, castNode(AlterTableStmt, command)->cmds)
		{
			AlterTableCmd *alter = lfirst_node(AlterTableCmd, cell);

			/* without it nothing can be computed */
			if (column_of(alter) != NULL && alter->subtype != AT_DropColumn)
				altered.names = lappend(altered.names, pstrdup(column_of(alter)));
		}
	lock_tables(&altered, models);
	if (RangeVarGetRelid(range, NoLock, true) != altered.relid || !IsA(command, AlterTableStmt))
		return;
	if (list_length(castNode(AlterTableStmt, command)->cmds) == 1 && list_length(altered.names) == 1)
		note_column(altered.relid, linitial(altered.names));
	convert_columns(castNode(AlterTableStmt, command), altered.relid, models);
}
