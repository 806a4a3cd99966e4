/*
 * model_define.c
 *	  Editing the drafts of models: everything that is checked when a component,
 *	  rule or band is written down.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_add_component);
PG_FUNCTION_INFO_V1(leadscore_drop_component);
PG_FUNCTION_INFO_V1(leadscore_add_rule);
PG_FUNCTION_INFO_V1(leadscore_add_rule_number);
PG_FUNCTION_INFO_V1(leadscore_drop_rule);
PG_FUNCTION_INFO_V1(leadscore_enable_rule);
PG_FUNCTION_INFO_V1(leadscore_add_band);
PG_FUNCTION_INFO_V1(leadscore_drop_band);
PG_FUNCTION_INFO_V1(leadscore_set_bounds);

/* Names of components, rules and bands: shown in results, never identifiers. */
static void
check_name(const char *name, const char *what)
{
	if (name[0] == '\0' || strlen(name) > 200)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a %s must have 1 to 200 bytes", what)));
}

/*
 * The draft of the model named by the first argument, locked against others
 * who would edit or publish it, for a caller who may.
 */
static LsModel *
open_draft(FunctionCallInfo fcinfo)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");

	ls_model_check_owner(ls_model_load(name, LS_DRAFT));
	ls_model_lock(name);
	return ls_model_load(name, LS_DRAFT);	/* as the last editor left it */
}

static int
find_component(const LsModel *model, const char *name)
{
	for (int i = 0; i < model->ncomponents; i++)
		if (strcmp(model->components[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the draft of model \"%s\" has no component \"%s\"", model->name, name),
			 errhint("leadscore.add_component('%s', '%s') adds it.", model->name, name)));
}

/* A bound argument: NULL and the infinity on its own side mean none. */
static Datum
bound_arg(FunctionCallInfo fcinfo, int argno, double none, double *bound, char *isnull)
{
	*bound = PG_ARGISNULL(argno) ? none : PG_GETARG_FLOAT8(argno);
	if (isnan(*bound) || (isinf(*bound) && *bound != none))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a bound must be finite")));
	*isnull = *bound == none ? 'n' : ' ';
	return Float8GetDatum(*bound);
}

static void
check_bounds(double lo, double hi)
{
	if (lo > hi)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lower bound %g is above upper bound %g", lo, hi)));
}

Datum
leadscore_add_component(PG_FUNCTION_ARGS)
{
	LsModel    *model = open_draft(fcinfo);
	char	   *name = ls_model_name_arg(fcinfo, 1, "the name of a component");
	Oid			types[5] = {TEXTOID, TEXTOID, INTERVALOID, FLOAT8OID, FLOAT8OID};
	Datum		values[5];
	char		nulls[] = "     ";
	double		lo,
				hi;

	check_name(name, "component");
	for (int i = 0; i < model->ncomponents; i++)
		if (strcmp(model->components[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("the draft of model \"%s\" already has a component \"%s\"", model->name, name)));
	if (model->ncomponents == SCORE_MAX_COMPONENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model can have at most %d components", SCORE_MAX_COMPONENTS)));

	values[0] = CStringGetTextDatum(model->name);
	values[1] = CStringGetTextDatum(name);
	if (PG_ARGISNULL(2))
		nulls[2] = 'n';
	else
	{
		(void) ls_score_half_life(PG_GETARG_INTERVAL_P(2));	/* checks the range */
		values[2] = PG_GETARG_DATUM(2);
	}
	values[3] = bound_arg(fcinfo, 3, -INFINITY, &lo, &nulls[3]);
	values[4] = bound_arg(fcinfo, 4, INFINITY, &hi, &nulls[4]);
	check_bounds(lo, hi);

	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.component (model, version, component, ordinal, half_life, lo, hi)"
					   " SELECT $1, 0, $2, coalesce(max(ordinal), 0) + 1, $3, $4, $5"
					   " FROM leadscore.component WHERE model = $1 AND version = 0",
					   5, types, values, nulls);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("component \"%s\" added to the draft of model \"%s\"", name, model->name)));
}

/* Run a DELETE or UPDATE on one named thing of the draft; it must be there. */
static Datum
change_draft(FunctionCallInfo fcinfo, const char *what, const char *sql, int nargs, Oid *types,
			 Datum *values, const char *done)
{
	LsModel    *model = open_draft(fcinfo);
	char	   *name = ls_model_name_arg(fcinfo, 1, psprintf("the name of a %s", what));

	values[0] = CStringGetTextDatum(model->name);
	values[1] = CStringGetTextDatum(name);
	SPI_connect();
	ls_catalog_execute(sql, nargs, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the draft of model \"%s\" has no %s \"%s\"", model->name, what, name)));
	SPI_finish();
	return PointerGetDatum(cstring_to_text(psprintf("%s \"%s\" %s the draft of model \"%s\"",
													what, name, done, model->name)));
}

Datum
leadscore_drop_component(PG_FUNCTION_ARGS)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	return change_draft(fcinfo, "component",
						"WITH r AS (DELETE FROM leadscore.rule WHERE model = $1 AND version = 0 AND component = $2)"
						" DELETE FROM leadscore.component WHERE model = $1 AND version = 0 AND component = $2",
						2, types, values, "dropped from");
}

Datum
leadscore_drop_rule(PG_FUNCTION_ARGS)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	return change_draft(fcinfo, "rule",
						"DELETE FROM leadscore.rule WHERE model = $1 AND version = 0 AND rule = $2",
						2, types, values, "dropped from");
}

Datum
leadscore_drop_band(PG_FUNCTION_ARGS)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	return change_draft(fcinfo, "band",
						"DELETE FROM leadscore.band WHERE model = $1 AND version = 0 AND band = $2",
						2, types, values, "dropped from");
}

Datum
leadscore_enable_rule(PG_FUNCTION_ARGS)
{
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3];
	bool		enabled = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);

	values[2] = BoolGetDatum(enabled);
	return change_draft(fcinfo, "rule",
						"UPDATE leadscore.rule SET enabled = $3 WHERE model = $1 AND version = 0 AND rule = $2",
						3, types, values, enabled ? "enabled in" : "disabled in");
}

Datum
leadscore_set_bounds(PG_FUNCTION_ARGS)
{
	LsModel    *model = open_draft(fcinfo);
	Oid			types[3] = {TEXTOID, FLOAT8OID, FLOAT8OID};
	Datum		values[3];
	char		nulls[] = "   ";
	double		lo,
				hi;

	values[0] = CStringGetTextDatum(model->name);
	values[1] = bound_arg(fcinfo, 1, -INFINITY, &lo, &nulls[1]);
	values[2] = bound_arg(fcinfo, 2, INFINITY, &hi, &nulls[2]);
	check_bounds(lo, hi);
	SPI_connect();
	ls_catalog_execute("UPDATE leadscore.model_version SET lo = $2, hi = $3 WHERE model = $1 AND version = 0",
					   3, types, values, nulls);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("bounds of the total set in the draft of model \"%s\"", model->name)));
}

Datum
leadscore_add_band(PG_FUNCTION_ARGS)
{
	LsModel    *model = open_draft(fcinfo);
	char	   *name = ls_model_name_arg(fcinfo, 1, "the name of a band");
	Oid			types[3] = {TEXTOID, TEXTOID, FLOAT8OID};
	Datum		values[3];
	double		least;

	check_name(name, "band");
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the least score of a band must not be null")));
	least = PG_GETARG_FLOAT8(2);
	if (isnan(least) || (isinf(least) && least > 0))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the least score of a band must be a number")));
	for (int i = 0; i < model->nbands; i++)
	{
		if (strcmp(model->bands[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("the draft of model \"%s\" already has a band \"%s\"", model->name, name),
					 errhint("leadscore.drop_band('%s', '%s') drops it.", model->name, name)));
		if (model->bands[i].least == least)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("band \"%s\" of model \"%s\" already begins at %g",
							model->bands[i].name, model->name, least)));
	}
	values[0] = CStringGetTextDatum(model->name);
	values[1] = CStringGetTextDatum(name);
	values[2] = Float8GetDatum(least);
	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.band (model, version, band, least) VALUES ($1, 0, $2, $3)",
					   3, types, values, NULL);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("band \"%s\" added to the draft of model \"%s\"", name, model->name)));
}

/* A rule sees one row: of a lead, or of an event. */
static void
refuse_both(const LsModel *model, const char *rule, const char *condition, const char *points, Oid relid)
{
	bool		any_column;

	if (!OidIsValid(model->events) ||
		(ls_condition_fits(model, relid, InvalidOid, rule, condition, false, &any_column) &&
		 ls_condition_fits(model, relid, InvalidOid, rule, points, true, &any_column)) ||
		!ls_condition_fits(model, model->leads, model->events, rule, condition, false, &any_column) ||
		!ls_condition_fits(model, model->leads, model->events, rule, points, true, &any_column))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("rule \"%s\" uses columns that table \"%s\" does not have", rule, get_rel_name(relid)),
			 errdetail("A rule is about one row, of a lead or of an event; these columns are in \"%s\".",
					   get_rel_name(relid == model->leads ? model->events : model->leads)),
			 errhint("Keep what it needs of the other table in a column of \"%s\", or make it two rules.", get_rel_name(relid))));
}

/* Is the rule about the row of an event? As told, or as its columns say. */
static bool
rule_is_event(const LsModel *model, const LsComponent *component, const char *rule,
			  const char *condition, const char *points, const char *source, bool only_events)
{
	bool		any_column = false;
	bool		lead;
	bool		event;

	if (source != NULL)
	{
		if (strcmp(source, "event") == 0)
		{
			if (!OidIsValid(model->events))
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("model \"%s\" has no table of events", model->name)));
			return true;
		}
		if (strcmp(source, "lead") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the source of a rule must be \"lead\" or \"event\", not \"%s\"", source)));
		return false;
	}
	if (!OidIsValid(model->events))
		return false;
	if (component->half_life != 0 || only_events)
	{
		/* a condition that can only be about the lead gets a clear refusal later */
		event = ls_condition_fits(model, model->events, InvalidOid, rule, condition, false, &any_column);
		if (event || !any_column)
			return true;
		return !ls_condition_fits(model, model->leads, InvalidOid, rule, condition, false, &any_column);
	}
	lead = ls_condition_fits(model, model->leads, InvalidOid, rule, condition, false, &any_column) &&
		ls_condition_fits(model, model->leads, InvalidOid, rule, points, true, &any_column);
	event = ls_condition_fits(model, model->events, InvalidOid, rule, condition, false, &any_column) &&
		ls_condition_fits(model, model->events, InvalidOid, rule, points, true, &any_column);
	if (lead && event && any_column)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("rule \"%s\" could be about a lead or about an event", rule),
				 errdetail("Tables \"%s\" and \"%s\" both have the columns it uses.",
						   get_rel_name(model->leads), get_rel_name(model->events)),
				 errhint("Say which one is meant: source => 'lead' or source => 'event'.")));
	return event && !lead;
}

/* The window of at_most N per P: a span of fixed length. */
static void
check_window(Interval *per)
{
	if (per->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a window of at_most cannot be counted in months or years"),
				 errhint("Give it in days: per => '30 days'.")));
	if (per->day < 0 || per->time < 0 || (per->day == 0 && per->time == 0) || per->day > 366000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a window of at_most must be longer than zero and at most 1000 years")));
}

static Datum
add_rule(FunctionCallInfo fcinfo, const char *points)
{
	LsModel    *model = open_draft(fcinfo);
	char	   *component_name = ls_model_name_arg(fcinfo, 1, "the component of a rule");
	char	   *name = ls_model_name_arg(fcinfo, 2, "the name of a rule");
	char	   *condition = ls_model_name_arg(fcinfo, 3, "the condition of a rule");
	char	   *source = PG_ARGISNULL(7) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(7));
	bool		only_events = !PG_ARGISNULL(5) || !PG_ARGISNULL(6) || !PG_ARGISNULL(8) || !PG_ARGISNULL(9);
	LsComponent *component;
	LsParsed	parsed_condition;
	LsParsed	parsed_points;
	bool		event;
	Oid			relid;
	StringInfoData result;
	Oid			types[13] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INTERVALOID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, TEXTOID, TEXTOID};
	Datum		values[13];
	char		nulls[] = "             ";

	check_name(name, "rule");
	for (int i = 0; i < model->nrules; i++)
		if (strcmp(model->rules[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("the draft of model \"%s\" already has a rule \"%s\"", model->name, name),
					 errhint("leadscore.drop_rule('%s', '%s') drops it.", model->name, name)));
	if (model->nrules >= LS_MAX_RULES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model can have at most %d rules", LS_MAX_RULES),
				 errhint("Make one rule of those that give points by the value of one column: with CASE as its points.")));
	component = &model->components[find_component(model, component_name)];

	if (!PG_ARGISNULL(5) && PG_GETARG_INT32(5) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_most must be at least 1, not %d", PG_GETARG_INT32(5))));
	if (!PG_ARGISNULL(6))
	{
		if (PG_ARGISNULL(5))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("per needs at_most"),
					 errhint("For example at_most => 3, per => '1 day'.")));
		check_window(PG_GETARG_INTERVAL_P(6));
	}
	if (!PG_ARGISNULL(8) && !PG_ARGISNULL(9) && PG_GETARG_TIMESTAMPTZ(8) >= PG_GETARG_TIMESTAMPTZ(9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("valid_from must be before valid_until")));

	event = rule_is_event(model, component, name, condition, points, source, only_events);
	if (!event && component->half_life != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("rule \"%s\" is about a lead, and component \"%s\" ages", name, component->name),
				 errdetail("A lead's row has no instant from which its points could age."),
				 errhint("Use a component without half-life, or a rule about events.")));
	if (!event && only_events)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_most, per, valid_from and valid_until are for rules about events"),
				 errdetail("Rule \"%s\" is about a lead: it counts once, or not at all.", name)));

	relid = event ? model->events : model->leads;
	refuse_both(model, name, condition, points, relid);
	ls_condition_parse(condition, relid, name, model->name, false, &parsed_condition);
	ls_condition_parse(points, relid, name, model->name, true, &parsed_points);

	values[0] = CStringGetTextDatum(model->name);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(component->name);
	values[3] = CStringGetTextDatum(event ? "event" : "lead");
	values[4] = CStringGetTextDatum(condition);
	values[5] = CStringGetTextDatum(points);
	for (int i = 6; i < 10; i++)
	{
		static const int args[] = {5, 6, 8, 9};

		if (PG_ARGISNULL(args[i - 6]))
			nulls[i] = 'n';
		else
			values[i] = PG_GETARG_DATUM(args[i - 6]);
	}
	values[10] = BoolGetDatum(PG_ARGISNULL(10) || PG_GETARG_BOOL(10));
	values[11] = CStringGetTextDatum(parsed_condition.sql);
	values[12] = CStringGetTextDatum(parsed_points.sql);

	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.rule (model, version, rule, component, ordinal, source, condition, points,"
					   " at_most, per, valid_from, valid_until, enabled, condition_sql, points_sql)"
					   " SELECT $1, 0, $2, $3, coalesce(max(ordinal), 0) + 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13"
					   " FROM leadscore.rule WHERE model = $1 AND version = 0",
					   13, types, values, nulls);
	SPI_finish();

	initStringInfo(&result);
	appendStringInfo(&result, "rule \"%s\" added to the draft of model \"%s\": %s, points %s",
					 name, model->name, event ? "each event" : "the lead", points);
	PG_RETURN_TEXT_P(cstring_to_text(result.data));
}

Datum
leadscore_add_rule(PG_FUNCTION_ARGS)
{
	return add_rule(fcinfo, ls_model_name_arg(fcinfo, 4, "the points of a rule"));
}

Datum
leadscore_add_rule_number(PG_FUNCTION_ARGS)
{
	double		points;

	if (PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the points of a rule must not be null")));
	points = PG_GETARG_FLOAT8(4);
	if (isnan(points) || isinf(points))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("points must be finite, not %s", isnan(points) ? "NaN" : "infinite")));
	return add_rule(fcinfo, float8out_internal(points));
}
