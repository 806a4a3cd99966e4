/*
 * model_condition.c
 *	  Conditions and points of rules: parsed and analysed by PostgreSQL's own
 *	  parser against the row type of the table, as a CHECK constraint is, and
 *	  written back with every name qualified, so that no search_path, DateStyle
 *	  or other setting can change later what a rule means.
 *
 * Nothing is evaluated here.
 */
#include "leadscore.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "model/eval_int.h"
#include "model/model.h"

/* what names in rules, and in the functions they call, are found by */
#define PORTABLE_PATH	"pg_catalog, pg_temp"

/* what an error in a condition or in points is reported with */
typedef struct RuleContext
{
	const char *text;
	const char *rule;
	const char *model;
	bool		numeric;
	bool		stored;			/* it was good when it was added */
} RuleContext;

/*
 * Name the rule, and turn a position in the rule's text into one that clients
 * show below that text and not below the statement that called us.
 */
static void
rule_error_callback(void *arg)
{
	RuleContext *context = (RuleContext *) arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->text);
	}
	/* a label of an enum is a value, and not to be read as one is a data exception */
	if (context->stored && (ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
							ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_DATA_EXCEPTION))
		errhint("Tables, types or functions changed since the rule was added: undo that, or drop_rule, add_rule and publish the model again.");
	errcontext("%s of rule \"%s\" of model \"%s\"",
			   context->numeric ? "points" : "condition", context->rule, context->model);
}

/*
 * Settings under which expressions are written and read back: nothing but
 * pg_catalog is found without a schema, and constants have one form. The caller
 * ends them with AtEOXact_GUC(true, result).
 */
int
ls_portable_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", PORTABLE_PATH},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"TimeZone", "UTC"},
		{"standard_conforming_strings", "on"},
		{"quote_all_identifiers", "off"},
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * The search_path of ls_portable_settings alone; what to end it with, or 0 if it
 * was so already. A function of the user's finds the same whoever writes or asks,
 * and a writer cannot choose what it finds with the rights of the table's owner.
 */
int
ls_portable_path(void)
{
	int			level;

	if (strcmp(namespace_search_path, PORTABLE_PATH) == 0)
		return 0;
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", PORTABLE_PATH, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* Exchange the settings for those of ls_portable_settings, for one expression. */
void
ls_settings_enter(LsSettings *saved)
{
	saved->timezone = session_timezone;
	saved->date_style = DateStyle;
	saved->date_order = DateOrder;
	saved->interval_style = IntervalStyle;
	saved->float_digits = extra_float_digits;
	saved->bytea_form = bytea_output;
	session_timezone = pg_tzset("UTC");
	if (unlikely(session_timezone == NULL))
		session_timezone = pg_tzset("GMT"); /* which needs no files */
	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_YMD;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
}

void
ls_settings_leave(const LsSettings *saved)
{
	session_timezone = saved->timezone;
	DateStyle = saved->date_style;
	DateOrder = saved->date_order;
	IntervalStyle = saved->interval_style;
	extra_float_digits = saved->float_digits;
	bytea_output = saved->bytea_form;
}

/*
 * The text as one expression, not yet analysed. PostgreSQL's grammar for
 * PL/pgSQL expressions takes whatever can follow SELECT; anything beyond one
 * bare expression is refused here.
 */
static Node *
parse_one_expression(const char *text)
{
	List	   *parsed = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, parsed)->stmt);
	ResTarget  *target;

	if (list_length(select->targetList) != 1 || select->distinctClause || select->intoClause ||
		select->fromClause || select->whereClause || select->groupClause || select->havingClause ||
		select->windowClause || select->sortClause || select->limitOffset || select->limitCount ||
		select->lockingClause || select->withClause || select->valuesLists || select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not one SQL expression", text),
				 errhint("Write what could stand in a CHECK constraint, such as sector = 'saas'.")));
	target = linitial_node(ResTarget, select->targetList);
	if (target->name || target->indirection)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is not one SQL expression", text),
				 errhint("Leave out the column alias.")));
	return target->val;
}

static void
null_points(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("points must not be null")));
}

/* Analyse a parsed expression over the rows of rel. */
static Expr *
analyse_expression(Node *raw, Relation rel, const char *text, bool numeric)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	List	   *clock_words;
	Node	   *expr;

	pstate->p_sourcetext = text;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, item, true, true, true);

	clock_words = ls_session_clock_words(raw);
	expr = transformExpr(pstate, raw, EXPR_KIND_CHECK_CONSTRAINT);
	if (numeric)
	{
		Oid			type = exprType(expr);
		Node	   *coerced = NULL;

		if (type == UNKNOWNOID && IsA(expr, Const) && ((Const *) expr)->constisnull)
			null_points();
		if (TypeCategory(type) == TYPCATEGORY_NUMERIC)
			coerced = coerce_to_target_type(pstate, expr, type, FLOAT8OID, -1,
											COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
		if (coerced == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("points must be a number, not %s",
							type == UNKNOWNOID ? "a string" : psprintf("type %s", format_type_be(type))),
					 parser_errposition(pstate, exprLocation(expr))));
		expr = coerced;
	}
	else
		expr = coerce_to_boolean(pstate, expr, "rule condition");
	assign_expr_collations(pstate, expr);

	if (contain_volatile_functions(expr))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a volatile function cannot be used in a rule"),
				 errdetail("The same row must always get the same points."),
				 errhint("Use functions that are IMMUTABLE or STABLE.")));
	ls_session_check(expr, clock_words);
	free_parsestate(pstate);
	return (Expr *) expr;
}

/* A constant number of points must be finite; other points are checked when they are computed. */
static void
check_constant_points(Expr *expr)
{
	Node	   *folded = eval_const_expressions(NULL, (Node *) expr);
	double		points;

	if (!IsA(folded, Const))
		return;
	if (((Const *) folded)->constisnull)
		null_points();
	points = DatumGetFloat8(((Const *) folded)->constvalue);
	if (isnan(points) || isinf(points))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("points must be finite, not %s", isnan(points) ? "NaN" : "infinite")));
}

static void
parse_rule(const char *text, Oid relid, const char *rule, const char *model,
		   bool numeric, bool stored, LsParsed *parsed)
{
	RuleContext context = {text, rule, model, numeric, stored};
	ErrorContextCallback callback;
	Relation	rel;

	callback.callback = rule_error_callback;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	rel = relation_open(relid, AccessShareLock);
	parsed->expr = analyse_expression(parse_one_expression(text), rel, text, numeric);
	if (numeric)
		check_constant_points(parsed->expr);
	parsed->sql = ls_expression_sql(parsed->expr, relid, NULL);
	relation_close(rel, NoLock);

	error_context_stack = callback.previous;
}

/*
 * Parse and analyse the condition (boolean) or the points (numeric) of a rule
 * over relid, under the caller's settings. Errors are PostgreSQL's own, with
 * the rule named in the context.
 */
void
ls_condition_parse(const char *text, Oid relid, const char *rule, const char *model,
				   bool numeric, LsParsed *parsed)
{
	parse_rule(text, relid, rule, model, numeric, false, parsed);
}

/*
 * Write an expression over relid as SQL, every name qualified as far as
 * needed without a search_path. Columns are written alias.column, or bare when
 * alias is NULL.
 */
char *
ls_expression_sql(Expr *expr, Oid relid, const char *alias)
{
	int			level = ls_portable_settings();
	char	   *sql;

	sql = deparse_expression((Node *) expr,
							 deparse_context_for(alias ? alias : get_rel_name(relid), relid),
							 alias != NULL, false);
	AtEOXact_GUC(true, level);
	return sql;
}

/* which columns a raw expression names, and whether relid, or other, has each of them */
typedef struct FitContext
{
	const LsModel *model;
	Oid			relid;
	Oid			other;			/* InvalidOid: none */
	bool		fits;
	bool		any_column;
} FitContext;

static bool
is_column_of(List *fields, Oid relid, const LsModel *model)
{
	const char *relname = get_rel_name(relid);
	Oid			rival = relid == model->leads ? model->events : model->leads;
	Node	   *column = llast(fields);

	if (list_length(fields) > 1)
	{
		/* table.column, or schema.table.column: the table decides */
		Node	   *table = list_nth(fields, list_length(fields) - 2);

		if (!IsA(table, String) || strcmp(strVal(table), relname) != 0)
			return false;
	}
	if (!IsA(column, String) || get_attnum(relid, strVal(column)) != InvalidAttrNumber)
		return true;
	/* the row as a whole, unless the other table has a column of the name */
	return strcmp(strVal(column), relname) == 0 &&
		(list_length(fields) > 1 || !OidIsValid(rival) || get_attnum(rival, strVal(column)) == InvalidAttrNumber);
}

static bool
column_fits_walker(Node *node, void *arg)
{
	FitContext *context = (FitContext *) arg;

	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
	{
		List	   *fields = ((ColumnRef *) node)->fields;

		context->any_column = true;
		if (!is_column_of(fields, context->relid, context->model) &&
			!(OidIsValid(context->other) && is_column_of(fields, context->other, context->model)))
			context->fits = false;
		return false;
	}
	return raw_expression_tree_walker(node, column_fits_walker, arg);
}

/*
 * Could this condition, or these points (numeric), be about rows of relid, or about
 * those and, if it is given, rows of other? Decided by the names of the columns alone, so that nothing has
 * to be tried and rolled back.
 */
bool
ls_condition_fits(const LsModel *model, Oid relid, Oid other, const char *rule, const char *text, bool numeric,
				  bool *any_column)
{
	RuleContext rule_context = {text, rule, model->name, numeric, false};
	ErrorContextCallback callback;
	FitContext	context;

	callback.callback = rule_error_callback;
	callback.arg = &rule_context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	context.model = model;
	context.relid = relid;
	context.other = other;
	context.fits = true;
	context.any_column = false;
	(void) column_fits_walker(parse_one_expression(text), &context);
	if (context.any_column)
		*any_column = true;

	error_context_stack = callback.previous;
	return context.fits;
}

/*
 * Read back the stored form of every rule that is enabled. A column that was
 * renamed or dropped, or whose type no longer suits, is an error that names the
 * rule and the model.
 */
void
ls_model_analyse(LsModel *model)
{
	for (int i = 0; i < model->nrules; i++)
	{
		LsRule	   *rule = &model->rules[i];
		Oid			relid = rule->event ? model->events : model->leads;
		LsParsed	parsed;
		int			level;

		if (!rule->enabled)
			continue;
		level = ls_portable_settings();
		parse_rule(rule->condition_sql, relid, rule->name, model->name, false, true, &parsed);
		rule->condition = parsed.expr;
		parse_rule(rule->points_sql, relid, rule->name, model->name, true, true, &parsed);
		rule->points = parsed.expr;
		AtEOXact_GUC(true, level);
	}
}
