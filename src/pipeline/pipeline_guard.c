/*
 * pipeline_guard.c
 *	  Guards: SQL conditions over the new row, analysed by PostgreSQL; and what
 *	  "filled" means for a value.
 *
 * A guard sees the columns of the row as it will be, by their bare names or as
 * new.column; the row as it was as old.column (all NULL on entry); what the
 * pipeline calls a field, by that name, whatever the column is called here; and
 * "score", the lead's score at the moment, unless the table has a column of that
 * name. It is analysed with search_path = pg_catalog, leadscore: nothing that a
 * session puts into its own path can change what a guard means.
 */
#include "leadscore.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_filled);

/* range table of a guard; turned into the executor's inner and outer tuple */
#define OLD_RTI		1
#define NEW_RTI		2

typedef struct ParseSource
{
	const char *text;
	const char *what;
} ParseSource;

typedef struct GuardHooks
{
	LsGuardScope *scope;
	ParseNamespaceItem *new_item;
} GuardHooks;

/*
 * A position in an error is one in the guard, not in the user's statement.
 */
static void
guard_error_callback(void *arg)
{
	ParseSource *source = (ParseSource *) arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(source->text);
	}
	errcontext("%s", source->what);
}

/* the name in a bare, unqualified column reference; NULL for any other */
static const char *
bare_name(ColumnRef *cref)
{
	Node	   *field = (Node *) linitial(cref->fields);

	if (list_length(cref->fields) != 1 || !IsA(field, String))
		return NULL;
	return strVal(field);
}

/* before columns: a field that the table keeps in a column of another name */
static Node *
field_reference(ParseState *pstate, ColumnRef *cref)
{
	GuardHooks *hooks = (GuardHooks *) pstate->p_ref_hook_state;
	LsGuardScope *scope = hooks->scope;
	const char *name = bare_name(cref);

	for (int i = 0; name != NULL && i < scope->nfields; i++)
	{
		const LsField *field = &scope->fields[i];
		Form_pg_attribute att;

		if (strcmp(field->name, name) != 0)
			continue;
		if (field->column == NULL)
			return (Node *) makeNullConst(TEXTOID, -1, DEFAULT_COLLATION_OID);
		att = TupleDescAttr(RelationGetDescr(scope->rel), field->attno - 1);
		return (Node *) makeVar(NEW_RTI, field->attno, att->atttypid, att->atttypmod,
								att->attcollation, 0);
	}
	return NULL;
}

/* after columns: the score */
static Node *
score_reference(ParseState *pstate, ColumnRef *cref, Node *var)
{
	GuardHooks *hooks = (GuardHooks *) pstate->p_ref_hook_state;
	const char *name = bare_name(cref);
	Param	   *param;

	if (var != NULL || name == NULL || strcmp(name, "score") != 0)
		return NULL;
	if (!hooks->scope->has_model)
		return (Node *) makeNullConst(FLOAT8OID, -1, InvalidOid);

	hooks->scope->uses_score = true;
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = LS_PARAM_SCORE;
	param->paramtype = FLOAT8OID;
	param->paramtypmod = -1;
	param->paramcollid = InvalidOid;
	param->location = cref->location;
	return (Node *) param;
}

/* the one expression that the text must be */
static Node *
parse_expression(const char *text)
{
	List	   *parsed = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	ResTarget  *target;

	Assert(list_length(parsed) == 1 && IsA(select, SelectStmt));
	if (list_length(select->targetList) != 1 || select->distinctClause != NIL ||
		select->intoClause != NULL || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL ||
		select->valuesLists != NIL || select->sortClause != NIL ||
		select->limitOffset != NULL || select->limitCount != NULL ||
		select->lockingClause != NIL || select->withClause != NULL ||
		select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a guard must be a single expression")));
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a guard must be a single expression")));
	return target->val;
}

/* before it is analysed: PostgreSQL's own message would speak of another kind of condition */
static bool
has_subquery(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		return true;
	return raw_expression_tree_walker(node, has_subquery, context);
}

static bool
uses_system_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varattno < 0;
	return expression_tree_walker(node, uses_system_column, context);
}

/*
 * Without a relation in the scope only the syntax is checked, and NULL returned.
 */
Expr *
ls_guard_parse(const char *condition, LsGuardScope *scope, const char *what)
{
	ParseSource source;
	ErrorContextCallback callback;
	Node	   *node;
	int			nest;

	source.text = condition;
	source.what = what;
	callback.callback = guard_error_callback;
	callback.arg = &source;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	scope->uses_score = false;
	node = parse_expression(condition);
	if (has_subquery(node, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use a subquery in a guard"),
				 errhint("Put it into a function that is declared STABLE, and call that.")));
	if (scope->rel == NULL)
		node = NULL;
	else
	{
		ParseState *pstate = make_parsestate(NULL);
		ParseNamespaceItem *item;
		GuardHooks	hooks;

		ls_path_begin(&nest);
		pstate->p_sourcetext = condition;
		item = addRangeTableEntryForRelation(pstate, scope->rel, AccessShareLock,
											 makeAlias("old", NIL), false, false);
		addNSItemToQuery(pstate, item, false, true, false);
		item = addRangeTableEntryForRelation(pstate, scope->rel, AccessShareLock,
											 makeAlias("new", NIL), false, false);
		addNSItemToQuery(pstate, item, false, true, true);

		hooks.scope = scope;
		hooks.new_item = item;
		pstate->p_ref_hook_state = &hooks;
		pstate->p_pre_columnref_hook = field_reference;
		pstate->p_post_columnref_hook = score_reference;

		/* the kind that refuses subqueries, aggregates and the like */
		node = transformExpr(pstate, node, EXPR_KIND_TRIGGER_WHEN);
		node = coerce_to_boolean(pstate, node, "a guard");
		assign_expr_collations(pstate, node);
		free_parsestate(pstate);

		if (contain_volatile_functions(node))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("functions in a guard must not be volatile"),
					 errdetail("A guard is asked again whenever somebody wants to know where a lead can go.")));
		if (uses_system_column(node, NULL))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("a guard cannot use system columns")));

		node = (Node *) expression_planner((Expr *) node);
		ChangeVarNodes(node, OLD_RTI, INNER_VAR, 0);
		ChangeVarNodes(node, NEW_RTI, OUTER_VAR, 0);
		AtEOXact_GUC(true, nest);
	}

	error_context_stack = callback.previous;
	return (Expr *) node;
}

/* ------------------------------------------------------------------------- */

LsFilledAs
ls_filled_as(Oid type)
{
	char		category;
	bool		preferred;

	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
			return LS_FILLED_BOOL;
		case INT2OID:
			return LS_FILLED_INT2;
		case INT4OID:
			return LS_FILLED_INT4;
		case INT8OID:
		case CASHOID:
			return LS_FILLED_INT8;
		case FLOAT4OID:
			return LS_FILLED_FLOAT4;
		case FLOAT8OID:
			return LS_FILLED_FLOAT8;
		case NUMERICOID:
			return LS_FILLED_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return LS_FILLED_TEXT;
		default:
			break;
	}
	/* citext and its like: strings that are stored as text is */
	get_type_category_preferred(type, &category, &preferred);
	if (category == TYPCATEGORY_STRING && get_typlen(type) == -1)
		return LS_FILLED_TEXT;
	return LS_FILLED_ANY;
}

static bool
text_is_filled(Datum value)
{
	text	   *t = DatumGetTextPP(value);
	const char *p = VARDATA_ANY(t);
	const char *end = p + VARSIZE_ANY_EXHDR(t);

	while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
		p++;
	return p < end;
}

/* whether a value that is not NULL counts as filled; NaN does not */
bool
ls_filled(Datum value, LsFilledAs as)
{
	switch (as)
	{
		case LS_FILLED_ANY:
			return true;
		case LS_FILLED_BOOL:
			return DatumGetBool(value);
		case LS_FILLED_TEXT:
			return text_is_filled(value);
		case LS_FILLED_INT2:
			return DatumGetInt16(value) > 0;
		case LS_FILLED_INT4:
			return DatumGetInt32(value) > 0;
		case LS_FILLED_INT8:
			return DatumGetInt64(value) > 0;
		case LS_FILLED_FLOAT4:
			return DatumGetFloat4(value) > 0;
		case LS_FILLED_FLOAT8:
			return DatumGetFloat8(value) > 0;
		case LS_FILLED_NUMERIC:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value)) > 0;
	}
	return false;				/* keep the compiler quiet */
}

Datum
leadscore_filled(PG_FUNCTION_ARGS)
{
	LsFilledAs *as = (LsFilledAs *) fcinfo->flinfo->fn_extra;

	if (as == NULL)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

		if (!OidIsValid(type))
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine the type of the value")));
		as = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(LsFilledAs));
		*as = type == UNKNOWNOID ? LS_FILLED_ANY : ls_filled_as(type);
		fcinfo->flinfo->fn_extra = as;
	}
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(ls_filled(PG_GETARG_DATUM(0), *as));
}
