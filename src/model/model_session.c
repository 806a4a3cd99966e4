/*
 * model_session.c
 *	  What a rule may not read: the clock, the user, the session, the state of the
 *	  server. Scores are kept and age by themselves: nothing computes them again
 *	  when one of these changes, and they must be the same whoever computes them.
 *
 * TimeZone, DateStyle and the like are not among them: rules run under fixed
 * ones. A STABLE function of the user's own is taken at its word, as it is in an
 * index.
 */
#include "leadscore.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "model/model.h"

/*
 * STABLE functions of PostgreSQL whose names begin so read the user's rights, the
 * catalog, transaction ids or settings that we do not fix; so do all without
 * arguments. What begins with the name of a text search function has the
 * configuration as an argument where it is immutable.
 */
static const char *const session_functions[] = {
	"age", "col_description", "current_", "database_to_xml", "format_type", "has_", "json_to_tsvector",
	"jsonb_to_tsvector", "mxid_age", "obj_description", "pg_", "phraseto_tsquery", "plainto_tsquery",
	"query_to_xml", "row_security_active", "schema_to_xml", "shobj_description", "table_to_xml", "to_reg",
	"to_tsquery", "to_tsvector", "ts_headline", "ts_match_t", "txid_", "websearch_to_tsquery",
};

/* ... and these only look at their arguments */
static const char *const plain_functions[] = {"pg_input_error_info", "pg_input_is_valid", "pg_typeof"};

/* strings that stand for another instant each day */
static const char *const clock_words[] = {"now", "today", "tomorrow", "yesterday"};

static bool
begins_with(const char *name, const char *start)
{
	return strncmp(name, start, strlen(start)) == 0;
}

static bool
reads_session(Oid function)
{
	HeapTuple	tuple;
	Form_pg_proc proc;
	const char *name;
	bool		result;

	/* from 'Europe/Paris' to an offset: today's */
	if (function == F_TIMEZONE_TEXT_TIMETZ)
		return true;
	if (function >= FirstUnpinnedObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = NameStr(proc->proname);
	result = proc->provolatile == PROVOLATILE_STABLE && proc->pronargs == 0;
	for (int i = 0; i < (int) lengthof(session_functions) && proc->provolatile == PROVOLATILE_STABLE; i++)
		result |= begins_with(name, session_functions[i]);
	for (int i = 0; i < (int) lengthof(plain_functions); i++)
		if (strcmp(name, plain_functions[i]) == 0)
			result = false;
	ReleaseSysCache(tuple);
	return result;
}

static bool
reads_session_checker(Oid function, void *context)
{
	if (!reads_session(function))
		return false;
	*(Oid *) context = function;
	return true;
}

/* Is there, between characters that are no letters, a word of the clock's? */
static bool
has_clock_word(const char *text)
{
	while (*text)
	{
		int			len = 0;

		while (isalpha((unsigned char) text[len]))
			len++;
		for (int i = 0; i < (int) lengthof(clock_words); i++)
			if (len == (int) strlen(clock_words[i]) && pg_strncasecmp(text, clock_words[i], len) == 0)
				return true;
		text += Max(len, 1);
	}
	return false;
}

static bool
clock_words_walker(Node *node, void *arg)
{
	List	  **locations = arg;

	if (node == NULL)
		return false;
	if (IsA(node, A_Const))
	{
		A_Const    *literal = (A_Const *) node;

		if (!literal->isnull && IsA(&literal->val, String) && has_clock_word(strVal(&literal->val)))
			*locations = lappend_int(*locations, literal->location);
		return false;
	}
	return raw_expression_tree_walker(node, clock_words_walker, arg);
}

/*
 * Where strings with a word of the clock's stand in an expression that was not
 * analysed yet: for ls_session_check, to see which became dates. Analysis reads
 * such a literal once and for all; what is shown of the rule would still say "today".
 */
List *
ls_session_clock_words(Node *raw)
{
	List	   *locations = NIL;

	(void) clock_words_walker(raw, &locations);
	return locations;
}

/* Dates and times, and ranges and arrays of them. */
static bool
is_about_time(Oid type)
{
	Oid			part = getBaseType(type);

	if (OidIsValid(get_element_type(part)))
		part = get_element_type(part);
	if (OidIsValid(get_multirange_range(part)))
		part = get_multirange_range(part);
	if (OidIsValid(get_range_subtype(part)))
		part = get_range_subtype(part);
	switch (getBaseType(part))
	{
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		default:
			return false;
	}
}

/* Does an expression hold one of the strings whose places are in the list context? */
static bool
holds_clock_word(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Const))
		return list_member_int((List *) context, ((Const *) node)->location);
	return expression_tree_walker(node, holds_clock_word, context);
}

static void
refuse_clock(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("a rule cannot depend on the current time"),
			 errdetail("Scores are kept, and age by themselves: nothing computes them again when the clock moves."),
			 errhint("Rules about events can feed a component with a half-life, and have valid_from and valid_until.")));
}

static void
refuse_session(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("a rule cannot depend on the user, the session or the server: %s", what),
			 errdetail("Scores are kept, and must be the same whoever computes them.")));
}

static bool
check_walker(Node *node, void *context)
{
	Oid			function = InvalidOid;

	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction))
	{
		/* the others are names of the user, the database, a schema */
		if (is_about_time(((SQLValueFunction *) node)->type))
			refuse_clock();
		refuse_session("current_user, current_schema and the like");
	}
	if (IsA(node, Const) && is_about_time(((Const *) node)->consttype) && holds_clock_word(node, context))
		refuse_clock();
	if (IsA(node, CoerceViaIO) && is_about_time(((CoerceViaIO *) node)->resulttype) &&
		holds_clock_word((Node *) ((CoerceViaIO *) node)->arg, context))
		refuse_clock();
	if (check_functions_in_node(node, reads_session_checker, &function))
		switch (function)
		{
			case F_NOW:
			case F_TRANSACTION_TIMESTAMP:
			case F_STATEMENT_TIMESTAMP:
			case F_AGE_TIMESTAMPTZ:
			case F_AGE_TIMESTAMP:
			case F_TIMEZONE_TEXT_TIMETZ:
				refuse_clock();
				break;
			default:
				refuse_session(psprintf("%s()", get_func_name(function)));
		}
	return expression_tree_walker(node, check_walker, context);
}

/* An error if an analysed expression reads what rules may not read. */
void
ls_session_check(Node *expr, List *words)
{
	(void) check_walker(expr, words);
}
