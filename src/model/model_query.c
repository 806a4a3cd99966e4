/*
 * model_query.c
 *	  The SQL that computes scores from leads and events: one statement for one
 *	  lead or for all, as of an instant or of everything recorded.
 *
 * A scoring query is made of three layers, each a subquery of the next:
 *
 *	matrix	 a row per event: k (its lead's key), at, and per rule the points it
 *			 gives, NULL where the rule does not match;
 *	limits	 the same, with the points of events beyond a rule's limit removed;
 *	sums	 a row per lead that has events: a value for each component.
 *
 * The statements are run with the rights of whoever asks, under
 * ls_portable_settings. What users wrote comes in as deparsed expressions, names
 * as quoted identifiers, values as parameters.
 */
#include "leadscore.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "model/model.h"
#include "score/score.h"

/* what the matrix is for */
typedef enum MatrixUse
{
	FOR_SUMS,					/* r<i>: points */
	FOR_ACCOUNT					/* also b<i>: the condition, n<i>: rank within the limit's window */
} MatrixUse;

/* A type without length or precision: "character" would be one character, "bpchar" is any number. */
char *
ls_type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* " COLLATE ..." after an expression or a column's type; nothing for what has no collation. */
char *
ls_collate(Oid collation)
{
	int			level;
	char	   *result;

	if (!OidIsValid(collation))
		return "";
	level = ls_portable_settings();
	result = psprintf(" COLLATE %s", generate_collation_name(collation));
	AtEOXact_GUC(true, level);
	return result;
}

char *
ls_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* A row of a table in a list of columns; the bare alias would be a column that is called so. */
char *
ls_whole_row(const char *alias, Oid relid)
{
	return psprintf("(%s.*)::%s", alias, ls_relation_name(relid));
}

bool
ls_is_integer(Oid type)
{
	type = getBaseType(type);
	return type == INT8OID || type == INT4OID || type == INT2OID;
}

/* The equality of keys, findable whatever the search_path. */
char *
ls_key_equality(Oid type)
{
	Oid			op = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form;
	char	   *result;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s of the lead key has no equality operator", format_type_be(type))));
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* A key that is given as text, for comparisons with the leads' column. */
char *
ls_key_sql(const LsModel *model, const char *text)
{
	return psprintf("(%s::%s%s)", text, ls_type_name(model->key_type), ls_collate(model->key_collation));
}

/*
 * "e.lead = key": is the event, in a row with this alias, of the lead with this
 * key? The lead key's collation says which keys are equal, whatever that of the
 * events' column; where both compare bytes, an index on that column can be used.
 */
char *
ls_event_is_of(const LsModel *model, const char *alias, const char *key)
{
	Oid			theirs = model->event_lead_collation;
	Oid			ours = model->key_collation;
	const char *equals = model->event_lead_type == model->key_type ? ls_key_equality(model->key_type) :
		"OPERATOR(pg_catalog.=)";
	const char *column = psprintf("%s.%s", alias, quote_identifier(model->event_lead));

	if (theirs == ours || !OidIsValid(theirs) || !OidIsValid(ours))
		return psprintf("%s %s %s", column, equals, key);
	if (get_collation_isdeterministic(theirs) && get_collation_isdeterministic(ours))
		return psprintf("%s %s (%s%s)", column, equals, key, ls_collate(theirs));
	return psprintf("(%s%s) %s %s", column, ls_collate(ours), equals, key);
}

/* A span as an interval that does not depend on any setting. */
static void
append_span(StringInfo buf, int64 usec)
{
	appendStringInfo(buf, "'" INT64_FORMAT " microseconds'::pg_catalog.interval", usec);
}

static void
append_instant(StringInfo buf, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		appendStringInfo(buf, "'%s'::pg_catalog.timestamptz", TIMESTAMP_IS_NOBEGIN(at) ? "-infinity" : "infinity");
	else
		appendStringInfo(buf, "'%s'::pg_catalog.timestamptz", timestamptz_to_str(at));
}

/* "at >= from AND at < until AND " on the instant of an event; nothing if there is no such period */
static void
append_period(StringInfo buf, const LsModel *model, const LsRule *rule)
{
	if (rule->has_from)
	{
		appendStringInfo(buf, "e.%s >= ", quote_identifier(model->event_at));
		append_instant(buf, rule->valid_from);
		appendStringInfoString(buf, " AND ");
	}
	if (rule->has_until)
	{
		appendStringInfo(buf, "e.%s < ", quote_identifier(model->event_at));
		append_instant(buf, rule->valid_until);
		appendStringInfoString(buf, " AND ");
	}
}

/* Does the rule match the row of the lead (l) or of the event (e)? */
static void
append_condition(StringInfo buf, const LsModel *model, int i)
{
	const LsRule *rule = &model->rules[i];

	append_period(buf, model, rule);
	if (model->judge)
	{
		char	   *given = ls_judge_element(model, i);

		appendStringInfo(buf, "(%s > '-Infinity'::pg_catalog.float8 AND %s < 'Infinity'::pg_catalog.float8)", given, given);
	}
	else
		appendStringInfo(buf, "(%s)", ls_expression_sql(rule->condition, rule->event ? model->events : model->leads,
														rule->event ? "e" : "l"));
}

/* What the account needs to know of that: 1 it does, 0 it does not, NULL undecided, -1 failed. */
static void
append_verdict(StringInfo buf, const LsModel *model, int i)
{
	if (!model->judge)
	{
		appendStringInfoChar(buf, '(');
		append_condition(buf, model, i);
		appendStringInfoString(buf, ")::pg_catalog.int4");
		return;
	}
	appendStringInfoString(buf, "CASE WHEN ");
	append_period(buf, model, &model->rules[i]);
	appendStringInfo(buf, "true THEN CASE %s WHEN 'NaN'::pg_catalog.float8 THEN NULL WHEN '-Infinity'::pg_catalog.float8 THEN -1"
					 " ELSE (%s IS NOT NULL)::pg_catalog.int4 END ELSE 0 END",
					 ls_judge_element(model, i), ls_judge_element(model, i));
}

static void
append_points(StringInfo buf, const LsModel *model, int i)
{
	const LsRule *rule = &model->rules[i];

	appendStringInfoString(buf, "CASE WHEN ");
	append_condition(buf, model, i);
	if (model->judge)
		appendStringInfo(buf, " THEN %s END", ls_judge_element(model, i));
	else
		appendStringInfo(buf, " THEN (%s)::pg_catalog.float8 END",
						 ls_expression_sql(rule->points, rule->event ? model->events : model->leads,
										   rule->event ? "e" : "l"));
}

/* The leads of a FROM clause, and what their rules give. */
static void
append_leads(StringInfo buf, const LsModel *model, const char *from)
{
	appendStringInfoString(buf, from);
	if (model->judge)
		ls_judge_append_join(buf, model, false, "l");
}

static bool
counts(const LsRule *rule, bool event)
{
	return rule->enabled && rule->event == event;
}

/*
 * A row per event that can count. What an event without a lead, or without an
 * instant in the years 1 to 9999, would add is undefined; it never counts.
 * key and at, if given, are what stands for the lead asked for and the instant.
 */
static void
append_matrix(StringInfo buf, const LsModel *model, MatrixUse use, LsScope scope, const char *key, const char *at)
{
	const char *event_at = quote_identifier(model->event_at);
	const char *event_lead = quote_identifier(model->event_lead);

	if (scope == LS_OUTCOMES)
		appendStringInfo(buf, "SELECT o.n AS k, e.%s AS at", event_at);
	else
	{
		int			width = get_typlen(model->key_type);

		/* an integer that no key can hold is no lead's */
		if (model->event_lead_type == model->key_type)
			appendStringInfo(buf, "SELECT e.%s", event_lead);
		else if (ls_is_integer(model->key_type) && width < get_typlen(model->event_lead_type))
			appendStringInfo(buf, "SELECT CASE WHEN e.%s BETWEEN %d AND %d THEN e.%s::%s END", event_lead,
							 width == 2 ? PG_INT16_MIN : PG_INT32_MIN, width == 2 ? PG_INT16_MAX : PG_INT32_MAX,
							 event_lead, ls_type_name(model->key_type));
		else
			appendStringInfo(buf, "SELECT e.%s::%s", event_lead, ls_type_name(model->key_type));
		appendStringInfo(buf, "%s AS k, e.%s AS at", ls_collate(model->key_collation), event_at);
	}
	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];

		if (!counts(rule, true))
			continue;
		appendStringInfoString(buf, ", ");
		append_points(buf, model, i);
		appendStringInfo(buf, " AS r%d", i);
		if (use == FOR_ACCOUNT)
		{
			appendStringInfoString(buf, ", ");
			append_verdict(buf, model, i);
			appendStringInfo(buf, " AS b%d", i);
		}
	}
	appendStringInfo(buf, " FROM %s e", ls_relation_name(model->events));
	if (model->judge)
		ls_judge_append_join(buf, model, true, "e");
	appendStringInfo(buf, "%s WHERE e.%s IS NOT NULL"
					 " AND e.%s >= '0001-01-01 00:00:00+00'::pg_catalog.timestamptz"
					 " AND e.%s < '10000-01-01 00:00:00+00'::pg_catalog.timestamptz",
					 scope == LS_OUTCOMES ? ", o" : "", event_lead, event_at, event_at);
	if (key)
		appendStringInfo(buf, " AND %s", ls_event_is_of(model, "e", key));
	if (at)
		appendStringInfo(buf, " AND e.%s <= %s", event_at, at);
}

/* The start of the window that an instant is in, as date_bin has it; for rules with a window. */
TimestampTz
ls_rule_window(const LsRule *rule, TimestampTz at)
{
	int64		since = at - LS_WINDOW_ORIGIN;
	int64		n = since / rule->per;

	if (since < 0 && since % rule->per != 0)
		n--;
	return LS_WINDOW_ORIGIN + n * rule->per;
}

/*
 * The rank of an event among those that a rule matches, within one lead and
 * one window of the rule's limit. The earliest come first; of those at the same
 * instant the larger points, so that the outcome does not depend on any order.
 */
static void
append_rank(StringInfo buf, const LsRule *rule, int i)
{
	appendStringInfo(buf, "row_number() OVER (PARTITION BY k, r%d IS NULL", i);
	if (rule->per != 0)
	{
		appendStringInfoString(buf, ", date_bin(");
		append_span(buf, rule->per);
		appendStringInfoString(buf, ", at, ");
		append_instant(buf, LS_WINDOW_ORIGIN);
		appendStringInfoChar(buf, ')');
	}
	appendStringInfo(buf, " ORDER BY at, r%d DESC)", i);
}

static void
append_limits(StringInfo buf, const LsModel *model, MatrixUse use, LsScope scope, const char *key, const char *at)
{
	bool		any = false;

	for (int i = 0; i < model->nrules; i++)
		if (counts(&model->rules[i], true) && model->rules[i].at_most > 0)
			any = true;
	if (!any && use == FOR_SUMS)
	{
		append_matrix(buf, model, use, scope, key, at);
		return;
	}

	appendStringInfoString(buf, "SELECT k, at");
	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];

		if (!counts(rule, true))
			continue;
		if (use == FOR_ACCOUNT)
		{
			appendStringInfo(buf, ", r%d, b%d, ", i, i);
			if (rule->at_most > 0)
				append_rank(buf, rule, i);
			else
				appendStringInfoString(buf, "NULL::pg_catalog.int8");
			appendStringInfo(buf, " AS n%d", i);
		}
		else if (rule->at_most > 0)
		{
			appendStringInfoString(buf, ", CASE WHEN ");
			append_rank(buf, rule, i);
			appendStringInfo(buf, " <= %d THEN r%d END AS r%d", rule->at_most, i, i);
		}
		else
			appendStringInfo(buf, ", r%d", i);
	}
	appendStringInfoString(buf, " FROM (");
	append_matrix(buf, model, use, scope, key, at);
	appendStringInfoString(buf, ") m");
}

/* Does any rule over events feed this component? */
static bool
component_has_events(const LsModel *model, int component)
{
	for (int i = 0; i < model->nrules; i++)
		if (counts(&model->rules[i], true) && model->rules[i].component == component)
			return true;
	return false;
}

/* The sum of a component's columns over one event, and when it is not empty. */
static void
append_component_sum(StringInfo buf, const LsModel *model, int component)
{
	StringInfoData terms;
	StringInfoData filter;

	initStringInfo(&terms);
	initStringInfo(&filter);
	for (int i = 0; i < model->nrules; i++)
	{
		if (!counts(&model->rules[i], true) || model->rules[i].component != component)
			continue;
		appendStringInfo(&terms, "%scoalesce(r%d, 0)", terms.len ? " + " : "", i);
		appendStringInfo(&filter, "%sr%d IS NOT NULL", filter.len ? " OR " : "", i);
	}
	if (model->components[component].half_life != 0)
	{
		appendStringInfo(buf, LS_SCHEMA ".decayed_sum(%s, at, ", terms.data);
		append_span(buf, model->components[component].half_life);
		appendStringInfoString(buf, ")");
	}
	else
		appendStringInfo(buf, "sum(%s)", terms.data);
	appendStringInfo(buf, " FILTER (WHERE %s) AS c%d", filter.data, component);
}

/* One part of the score: what the component's rules give a lead. */
static void
append_part(StringInfo buf, const LsModel *model, int component)
{
	bool		events = component_has_events(model, component);

	if (model->components[component].half_life != 0)
	{
		if (events)
			appendStringInfo(buf, "x.c%d", component);
		else
			appendStringInfoString(buf, "NULL::" LS_SCHEMA ".score");
		return;
	}
	appendStringInfoString(buf, LS_SCHEMA ".points(");
	if (events)
		appendStringInfo(buf, "coalesce(x.c%d, 0)", component);
	else
		appendStringInfoString(buf, "0::pg_catalog.float8");
	for (int i = 0; i < model->nrules; i++)
	{
		if (!counts(&model->rules[i], false) || model->rules[i].component != component)
			continue;
		appendStringInfoString(buf, " + coalesce(");
		append_points(buf, model, i);
		appendStringInfoString(buf, ", 0)");
	}
	appendStringInfoString(buf, ", NULL::pg_catalog.timestamptz)");
}

/* The leads and instants asked for, and the first column of the result. */
static void
append_outcomes(StringInfo buf, const LsModel *model)
{
	appendStringInfo(buf, "WITH o AS MATERIALIZED (SELECT u.n, %s AS lead, u.at"
					 " FROM unnest($1, $2) WITH ORDINALITY u(lead, at, n)) SELECT o.n, ",
					 ls_key_sql(model, "u.lead"));
}

/*
 * The scores: rows of (lead, score). With LS_ONE_LEAD parameter $1 is the
 * lead's key as text; as_of adds a parameter, the instant after which events
 * do not count, and for a lead with old values (ls_past_apply) $3 is these.
 * With LS_OUTCOMES the rows are of (number, score), for the leads and instants
 * in the arrays $1 and $2.
 */
char *
ls_query_scores(const LsModel *model, LsScope scope, bool as_of)
{
	StringInfoData buf;
	Score		shape;
	char		shape_text[SCORE_MAX_TEXT];
	char	   *key = scope == LS_ONE_LEAD ? ls_key_sql(model, "$1") :
		scope == LS_OUTCOMES ? "o.lead" : NULL;
	const char *at = scope == LS_OUTCOMES ? "o.at" : !as_of ? NULL : scope == LS_ONE_LEAD ? "$2" : "$1";
	bool		events = false;

	ls_model_shape(model, &shape);
	shape_text[score_print(&shape, shape_text)] = '\0';
	for (int i = 0; i < model->ncomponents; i++)
		events |= component_has_events(model, i);

	initStringInfo(&buf);
	if (scope == LS_OUTCOMES)
		append_outcomes(&buf, model);
	else
		appendStringInfo(&buf, "SELECT l.%s AS lead, ", quote_identifier(model->lead_key));
	appendStringInfo(&buf, LS_SCHEMA ".model_score('%s'::" LS_SCHEMA ".score", shape_text);
	for (int i = 0; i < model->ncomponents; i++)
	{
		appendStringInfoString(&buf, ", ");
		append_part(&buf, model, i);
	}
	appendStringInfoString(&buf, ") AS score FROM ");
	append_leads(&buf, model, scope == LS_OUTCOMES ? ls_outcomes_from(model) : ls_leads_from(model, at, "$3"));
	if (events)
	{
		appendStringInfoString(&buf, " LEFT JOIN (SELECT k");
		for (int i = 0; i < model->ncomponents; i++)
		{
			if (!component_has_events(model, i))
				continue;
			appendStringInfoString(&buf, ", ");
			append_component_sum(&buf, model, i);
		}
		appendStringInfoString(&buf, " FROM (");
		append_limits(&buf, model, FOR_SUMS, scope, key, at);
		if (scope == LS_OUTCOMES)
			appendStringInfoString(&buf, ") t GROUP BY k) x ON o.n = x.k");
		else
			appendStringInfo(&buf, ") t GROUP BY k) x ON l.%s %s x.k",
							 quote_identifier(model->lead_key), ls_key_equality(model->key_type));
	}
	if (scope == LS_ONE_LEAD)
		appendStringInfo(&buf, " WHERE l.%s %s %s", quote_identifier(model->lead_key),
						 ls_key_equality(model->key_type), key);
	return buf.data;
}

/*
 * The account of a lead's row: one row, and per enabled rule over leads, in
 * order, its condition and its points ($1: key as text, $2: old values if any).
 */
char *
ls_query_lead_account(const LsModel *model)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT true");
	for (int i = 0; i < model->nrules; i++)
	{
		if (!counts(&model->rules[i], false))
			continue;
		appendStringInfoString(&buf, ", ");
		append_verdict(&buf, model, i);
		appendStringInfoString(&buf, ", ");
		append_points(&buf, model, i);
	}
	appendStringInfoString(&buf, " FROM ");
	append_leads(&buf, model, ls_leads_from(model, NULL, "$2"));
	appendStringInfo(&buf, " WHERE l.%s %s %s", quote_identifier(model->lead_key),
					 ls_key_equality(model->key_type), ls_key_sql(model, "$1"));
	return buf.data;
}

/*
 * The account of a lead's events up to $2 ($1: key as text): a row per event
 * with its instant, and per enabled rule over events, in order, its condition,
 * its points, and its rank under the rule's limit. NULL if there is no such rule.
 */
char *
ls_query_event_account(const LsModel *model)
{
	StringInfoData buf;
	bool		any = false;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT at");
	for (int i = 0; i < model->nrules; i++)
	{
		if (!counts(&model->rules[i], true))
			continue;
		any = true;
		appendStringInfo(&buf, ", b%d, r%d, n%d", i, i, i);
	}
	if (!any)
		return NULL;
	appendStringInfoString(&buf, " FROM (");
	append_limits(&buf, model, FOR_ACCOUNT, LS_ONE_LEAD, ls_key_sql(model, "$1"), "$2");
	appendStringInfoString(&buf, ") t");
	return buf.data;
}

/*
 * Which rules matched: a row per lead and instant in the arrays $1 and $2, with
 * its number and a boolean per enabled rule, in order.
 */
char *
ls_query_matches(const LsModel *model)
{
	StringInfoData buf;
	StringInfoData events;

	initStringInfo(&buf);
	initStringInfo(&events);
	append_outcomes(&buf, model);
	for (int i = 0, n = 0; i < model->nrules; i++)
	{
		if (!model->rules[i].enabled)
			continue;
		if (n++ > 0)
			appendStringInfoString(&buf, ", ");
		if (model->rules[i].event)
		{
			appendStringInfo(&buf, "x.b%d", i);
			appendStringInfo(&events, ", bool_or(r%d IS NOT NULL) AS b%d", i, i);
		}
		else
			append_condition(&buf, model, i);
	}
	appendStringInfoString(&buf, " FROM ");
	append_leads(&buf, model, ls_outcomes_from(model));
	if (events.len > 0)
	{
		appendStringInfo(&buf, " LEFT JOIN (SELECT k%s FROM (", events.data);
		append_matrix(&buf, model, FOR_SUMS, LS_OUTCOMES, "o.lead", "o.at");
		appendStringInfoString(&buf, ") t GROUP BY k) x ON o.n = x.k");
	}
	return buf.data;
}

/* Conditions that points of a rule's column r<i> are large, of all such rules. */
static void
append_large(StringInfo buf, const LsModel *model, bool event, const char *least)
{
	appendStringInfoString(buf, "false");
	for (int i = 0; i < model->nrules; i++)
	{
		if (!counts(&model->rules[i], event))
			continue;
		appendStringInfoString(buf, " OR abs(");
		if (event)
			appendStringInfo(buf, "r%d", i);
		else
			append_points(buf, model, i);
		appendStringInfo(buf, ") > %s", least);
	}
}

/* The leads, as text, with points so large that few of them cannot be added up. */
char *
ls_query_large_points(const LsModel *model, const char *least)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT l.%s::text FROM ", quote_identifier(model->lead_key));
	append_leads(&buf, model, ls_leads_from(model, NULL, NULL));
	appendStringInfoString(&buf, " WHERE ");
	append_large(&buf, model, false, least);
	if (OidIsValid(model->events))
	{
		appendStringInfoString(&buf, " UNION SELECT k::text FROM (");
		append_matrix(&buf, model, FOR_SUMS, LS_ALL_LEADS, NULL, NULL);
		appendStringInfoString(&buf, ") m WHERE ");
		append_large(&buf, model, true, least);
	}
	return buf.data;
}

/*
 * To be called in PG_CATCH() around a generated statement: the error goes on
 * without the statement in its context, which is long and says nothing to
 * those who wrote the rules. What conditions add to the context stays.
 */
void
ls_rethrow_without(const char *sql, MemoryContext context)
{
	ErrorData  *error;
	char	   *line;
	char	   *found;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	line = psprintf("SQL statement \"%s\"", sql);
	found = error->context ? strstr(error->context, line) : NULL;
	if (found)
	{
		char	   *rest = found + strlen(line);

		if (*rest == '\n')
			rest++;
		else if (found > error->context)
			found--;			/* the last line: its predecessor ends there */
		memmove(found, rest, strlen(rest) + 1);
		if (error->context[0] == '\0')
			error->context = NULL;
	}
	ReThrowError(error);
}
