/*
 * model_version.c
 *	  Versions of a model after they are published: going back to one, and
 *	  asking what another one would do, without touching what is stored.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_revert);
PG_FUNCTION_INFO_V1(leadscore_reset_draft);
PG_FUNCTION_INFO_V1(leadscore_compare_scores);
PG_FUNCTION_INFO_V1(leadscore_grades);

#define GRADE_STEPS	3

/* A published version's number; 0 is the draft, which is not one. */
static int
published_version_arg(FunctionCallInfo fcinfo, int argno)
{
	int			version;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the version must not be null")));
	version = PG_GETARG_INT32(argno);
	if (version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the version must be a published one, from 1 up, not %d", version)));
	return version;
}

Datum
leadscore_revert(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	int			from = published_version_arg(fcinfo, 1);
	text	   *note = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	int			version;

	ls_model_check_owner(ls_model_load(name, from));
	ls_model_lock(name);
	if (note == NULL)
		note = cstring_to_text(psprintf("version %d again", from));
	version = ls_model_freeze(name, from, note);
	(void) ls_model_store_scores(ls_model_load(name, version));
	PG_RETURN_INT32(version);
}

/* Drop all components, rules and bands from the draft; for a caller who may. */
void
ls_model_clear_draft(const char *name)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(name)};

	SPI_connect();
	ls_catalog_execute("DELETE FROM leadscore.rule WHERE model = $1 AND version = 0", 1, types, values, NULL);
	ls_catalog_execute("DELETE FROM leadscore.component WHERE model = $1 AND version = 0", 1, types, values, NULL);
	ls_catalog_execute("DELETE FROM leadscore.band WHERE model = $1 AND version = 0", 1, types, values, NULL);
	SPI_finish();
}

Datum
leadscore_reset_draft(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	int			version = PG_ARGISNULL(1) ? LS_LIVE : published_version_arg(fcinfo, 1);
	LsModel    *model = ls_model_load(name, version);
	Oid			types[2] = {TEXTOID, INT4OID};
	Datum		values[2];

	ls_model_check_owner(model);
	ls_model_lock(name);
	version = model->version;
	values[0] = CStringGetTextDatum(name);
	values[1] = Int32GetDatum(version);
	ls_model_clear_draft(name);
	SPI_connect();
	ls_catalog_execute("UPDATE leadscore.model_version d SET lo = v.lo, hi = v.hi FROM leadscore.model_version v"
					   " WHERE d.model = $1 AND d.version = 0 AND v.model = $1 AND v.version = $2",
					   2, types, values, NULL);
	ls_model_copy_version(name, version, LS_DRAFT);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("the draft of model \"%s\" is version %d again", name, version)));
}

/* A score's total at an instant and the band this is in, as two result columns. */
static void
put_total(const LsModel *model, Datum score, TimestampTz at, Datum *total, Datum *band, bool *no_band)
{
	Score		s;
	const char *name;

	ls_score_from_datum(score, &s);
	*total = Float8GetDatum(score_total(&s, at));
	name = ls_model_band(model, DatumGetFloat8(*total));
	*no_band = name == NULL;
	*band = name ? CStringGetTextDatum(name) : (Datum) 0;
}

typedef struct Comparing
{
	LsModel    *live;
	LsModel    *other;
	TimestampTz at;
	ReturnSetInfo *rsinfo;
} Comparing;

/* A row of lead and two scores. */
static void
compare_row(void *arg, HeapTuple tuple, TupleDesc desc)
{
	const Comparing *comparing = arg;
	Datum		row[5];
	bool		nulls[5] = {false, false, false, false, false};
	bool		isnull;

	row[0] = SPI_getbinval(tuple, desc, 1, &isnull);
	put_total(comparing->live, SPI_getbinval(tuple, desc, 2, &isnull), comparing->at, &row[1], &row[3], &nulls[3]);
	put_total(comparing->other, SPI_getbinval(tuple, desc, 3, &isnull), comparing->at, &row[2], &row[4], &nulls[4]);
	tuplestore_putvalues(comparing->rsinfo->setResult, comparing->rsinfo->setDesc, row, nulls);
}

static void
compare_all(void *arg)
{
	Comparing  *comparing = arg;
	LsModel    *live = comparing->live;
	LsModel    *other = comparing->other;
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		values[1] = {TimestampTzGetDatum(comparing->at)};
	Datum		old;

	ls_past_apply(live, (Datum) 0, comparing->at, &old);
	other->past = live->past;
	ls_judge_begin(live);
	ls_judge_begin(other);
	SPI_connect();
	ls_user_cursor(psprintf("SELECT a.lead::text, a.score, b.score FROM (%s) a JOIN (%s) b ON a.lead %s b.lead",
							ls_query_scores(live, LS_ALL_LEADS, true),
							ls_query_scores(other, LS_ALL_LEADS, true),
							ls_key_equality(live->key_type)),
				   1, types, values, compare_row, comparing);
	SPI_finish();
	ls_judge_end(other, false);
	ls_judge_end(live, false);
}

Datum
leadscore_compare_scores(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	LsModel    *live = ls_model_load(name, LS_LIVE);
	LsModel    *other = ls_model_load(name, PG_GETARG_INT32(1));
	TimestampTz at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	Comparing	comparing = {live, other, at, (ReturnSetInfo *) fcinfo->resultinfo};
	List	   *unknown = NIL;

	ls_model_check_complete(other);
	ls_model_analyse(live);
	ls_model_analyse(other);
	(void) ls_past_since(live, at, &unknown);
	(void) ls_past_since(other, at, &unknown);
	if (unknown != NIL)
		ereport(NOTICE,
				(errmsg("columns of leads taken as oldest known: %s",
						ls_past_names(unknown))));
	InitMaterializedSRF(fcinfo, 0);
	ls_score_all(other, compare_all, &comparing);
	return (Datum) 0;
}

/* The least points for the three upper grades of a component. */
static void
grade_steps(FunctionCallInfo fcinfo, int argno, const LsComponent *component, double *steps)
{
	if (!PG_ARGISNULL(argno))
	{
		ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argno);
		Datum	   *values;
		bool	   *nulls;
		int			n;

		deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls, &n);
		if (ARR_NDIM(array) != 1 || n != GRADE_STEPS || array_contains_nulls(array))
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("the steps of a grade must be three numbers"),
					 errhint("For example '{40, 25, 10}': from 40 up, from 25 up, from 10 up, and the rest.")));
		for (int i = 0; i < GRADE_STEPS; i++)
			steps[i] = DatumGetFloat8(values[i]);
	}
	else if (isinf(component->hi) || component->hi <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("component \"%s\" has no upper bound above zero to take the steps of the grade from", component->name),
				 errhint("Give the steps, for example '{40, 25, 10}'.")));
	else
		for (int i = 0; i < GRADE_STEPS; i++)
			steps[i] = component->hi * (GRADE_STEPS - i) / (GRADE_STEPS + 1);
	for (int i = 1; i < GRADE_STEPS; i++)
		if (!(steps[i - 1] > steps[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the steps of a grade must fall from each to the next")));
}

static int
grade_of(double points, const double *steps)
{
	int			grade = 0;

	while (grade < GRADE_STEPS && points < steps[grade])
		grade++;
	return grade;
}

static int
component_arg(FunctionCallInfo fcinfo, int argno, const LsModel *model)
{
	char	   *name = ls_model_name_arg(fcinfo, argno, "the component of a grade");

	for (int i = 0; i < model->ncomponents; i++)
		if (strcmp(model->components[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("version %d of model \"%s\" has no component \"%s\"", model->version, model->name, name)));
}

typedef struct Grading
{
	int			fit;			/* numbers of the components */
	int			engagement;
	double		fit_steps[GRADE_STEPS];
	double		engagement_steps[GRADE_STEPS];
	TimestampTz at;
	ReturnSetInfo *rsinfo;
} Grading;

/* A row of lead and score. */
static void
grade_row(void *arg, HeapTuple tuple, TupleDesc desc)
{
	const Grading *grading = arg;
	Datum		row[4];
	bool		nulls[4] = {false, false, false, false};
	bool		isnull;
	Score		score;
	char		grade[3] = "A1";
	double		x;
	double		y;

	row[0] = SPI_getbinval(tuple, desc, 1, &isnull);
	ls_score_from_datum(SPI_getbinval(tuple, desc, 2, &isnull), &score);
	if (grading->fit >= score.n || grading->engagement >= score.n)
		return;
	x = score_contribution(&score.c[grading->fit], grading->at);
	y = score_contribution(&score.c[grading->engagement], grading->at);
	grade[0] += grade_of(x, grading->fit_steps);
	grade[1] += grade_of(y, grading->engagement_steps);
	row[1] = CStringGetTextDatum(grade);
	row[2] = Float8GetDatum(x);
	row[3] = Float8GetDatum(y);
	tuplestore_putvalues(grading->rsinfo->setResult, grading->rsinfo->setDesc, row, nulls);
}

Datum
leadscore_grades(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(ls_model_name_arg(fcinfo, 0, "the name of a model"), LS_LIVE);
	Grading		grading;

	grading.fit = component_arg(fcinfo, 1, model);
	grading.engagement = component_arg(fcinfo, 2, model);
	if (PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the instant must not be null")));
	grading.at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(5));
	grade_steps(fcinfo, 3, &model->components[grading.fit], grading.fit_steps);
	grade_steps(fcinfo, 4, &model->components[grading.engagement], grading.engagement_steps);
	ls_kept_check(model);
	InitMaterializedSRF(fcinfo, 0);
	grading.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SPI_connect();
	ls_user_cursor(psprintf("SELECT s.lead::text, s.score FROM %s s%s",
							ls_relation_name(ls_model_score_relid(model, false)), ls_visible_leads_clause(model)),
				   0, NULL, NULL, grade_row, &grading);
	SPI_finish();
	return (Datum) 0;
}
