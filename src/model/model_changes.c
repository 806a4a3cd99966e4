/*
 * model_changes.c
 *	  Why a score moved between two instants.
 *
 * The account of the lead is taken at both. What the earlier events would have
 * aged to by themselves is known from the earlier account alone, since all of
 * a component ages with one half-life; the rest is what came since.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/float.h"

#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_changes);

/* The version that was live at an instant; before all of them, the first. */
static int
version_at(const char *model, TimestampTz at)
{
	Oid			types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[2] = {CStringGetTextDatum(model), TimestampTzGetDatum(at)};
	int			version;
	bool		isnull = true;

	SPI_connect();
	ls_catalog_execute("SELECT version FROM leadscore.model_version WHERE model = $1 AND version > 0"
					   " ORDER BY published_at > $2, CASE WHEN published_at > $2 THEN version ELSE -version END LIMIT 1",
					   2, types, values, NULL);
	version = SPI_processed == 0 ? 0 :
		DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return isnull ? LS_LIVE : version;
}

/* What one component's accounts come to, before its bounds. */
static double
component_sum(const LsModel *model, int component, const LsAccount *accounts)
{
	double		sum = 0;

	for (int i = 0; i < model->nrules; i++)
		if (model->rules[i].component == component)
			sum += accounts[i].points - accounts[i].cut_points;
	return sum;
}

static double
clamp(double value, double lo, double hi)
{
	return Min(Max(value, lo), hi);
}

static double
bounded_sum(const LsModel *model, const LsAccount *accounts)
{
	double		sum = 0;

	for (int c = 0; c < model->ncomponents; c++)
		sum += clamp(component_sum(model, c, accounts), model->components[c].lo, model->components[c].hi);
	return sum;
}

static double
account_total(const LsModel *model, const LsAccount *accounts)
{
	return clamp(bounded_sum(model, accounts), model->lo, model->hi);
}

static void
put_change(ReturnSetInfo *rsinfo, const char *component, const char *cause, const char *rule,
		   int64 occurrences, double points, const char *note)
{
	Datum		row[6];
	bool		nulls[6] = {component == NULL, false, rule == NULL, occurrences == 0, false, note == NULL};

	row[0] = component ? CStringGetTextDatum(component) : (Datum) 0;
	row[1] = CStringGetTextDatum(cause);
	row[2] = rule ? CStringGetTextDatum(rule) : (Datum) 0;
	row[3] = Int64GetDatum(occurrences);
	row[4] = Float8GetDatum(points + 0.0);	/* not -0 */
	row[5] = note ? CStringGetTextDatum(note) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
}

/* The rows of one component between two accounts. */
static void
put_component_changes(ReturnSetInfo *rsinfo, const LsModel *model, int c,
					  const LsAccount *before, const LsAccount *after, int64 elapsed)
{
	const LsComponent *component = &model->components[c];
	double		aged = 0;
	double		sum_before = component_sum(model, c, before);
	double		sum_after = component_sum(model, c, after);
	double		bounds;

	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];
		double		old_points = before[i].points - before[i].cut_points;
		double		new_points = after[i].points - after[i].cut_points;
		int64		more = (after[i].occurrences - after[i].cut) - (before[i].occurrences - before[i].cut);

		if (rule->component != c)
			continue;
		if (rule->event && component->half_life != 0)
		{
			double		kept = score_age(old_points, elapsed, component->half_life);

			aged += kept - old_points;
			old_points = kept;
		}
		if (rule->event && more == 0)
		{
			aged += new_points - old_points;	/* rounding */
			continue;
		}
		if (new_points != old_points)
			put_change(rsinfo, component->name, rule->event ? "events" : "lead data", rule->name,
					   rule->event ? more : 0, new_points - old_points, NULL);
	}
	if (aged != 0)
		put_change(rsinfo, component->name, "ageing", NULL, 0, aged, NULL);
	bounds = (clamp(sum_after, component->lo, component->hi) - sum_after) -
		(clamp(sum_before, component->lo, component->hi) - sum_before);
	if (bounds != 0)
		put_change(rsinfo, component->name, "bounds", NULL, 0, bounds, NULL);
}

Datum
leadscore_changes(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		lead = PG_GETARG_DATUM(1);
	TimestampTz from = ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	TimestampTz to = ls_score_instant(PG_GETARG_TIMESTAMPTZ(3));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LsModel    *model = ls_model_load(name, version_at(name, to));
	int			old_version = version_at(name, from);
	LsAccount  *before;
	LsAccount  *after;
	double		total_before;
	double		total_after;
	double		bounds;
	List	   *unknown = NIL;

	if (from > to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the first instant must not be after the second")));
	ls_model_analyse(model);
	InitMaterializedSRF(fcinfo, 0);
	before = ls_take_account(model, lead, from);
	after = ls_take_account(model, lead, to);
	if (before == NULL || after == NULL)
		return (Datum) 0;
	total_before = account_total(model, before);
	total_after = account_total(model, after);

	bounds = (total_after - bounded_sum(model, after)) - (total_before - bounded_sum(model, before));

	if (old_version != model->version)
	{
		LsModel    *old = ls_model_load(name, old_version);
		double		total_old;

		ls_model_analyse(old);
		(void) ls_past_since(old, from, &unknown);
		total_old = account_total(old, ls_take_account(old, lead, from));
		put_change(rsinfo, NULL, "rule changes", NULL, 0, total_before - total_old,
				   psprintf("version %d to version %d", old->version, model->version));
		total_before = total_old;
	}
	for (int c = 0; c < model->ncomponents; c++)
		put_component_changes(rsinfo, model, c, before, after, to - from);
	if (bounds != 0)
		put_change(rsinfo, NULL, "bounds", NULL, 0, bounds, NULL);
	/* what is known as of the first instant is known as of the second */
	(void) ls_past_since(model, from, &unknown);
	if (unknown != NIL)
		put_change(rsinfo, NULL, "lead data", NULL, 0, 0, ls_past_note(unknown));
	put_change(rsinfo, NULL, "total", NULL, 0, total_after - total_before,
			   psprintf("from %.1f to %.1f", total_before, total_after));
	return (Datum) 0;
}
