/*
 * model_backtest.c
 *	  How well would a model have told who converts? Leads are scored as of a
 *	  moment before their known outcome, with what was known then (L5).
 *
 * All intervals are of 95 %. Shares have Wilson's; the area under the ROC curve
 * (AUC) has the one by DeLong, DeLong and Clarke-Pearson (1988), which also
 * gives that of the difference between two models on the same leads.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_backtest);

#define Z95				1.959963984540054
#define DECILES			10
#define LEAK_AUC		0.9		/* a single rule that tells outcomes apart this well is suspicious */
#define LEAK_MIN		20		/* ... if so many leads of each outcome say so */

/* Leads with known outcomes, and what a model says of them. */
typedef struct Trial
{
	int			n;
	int			won_count;
	Datum	   *leads;			/* keys as text */
	Datum	   *ats;			/* instant as of which the lead is scored */
	bool	   *won;
} Trial;

typedef struct Scored
{
	double	   *total;			/* per outcome; NaN: no such lead */
	double		auc;
	double		variance;
	double	   *placement;		/* per outcome: share of the other outcome's leads it ranks right */
} Scored;

/* "integer, text": what a query returns */
static char *
column_types(TupleDesc desc)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "", format_type_be(TupleDescAttr(desc, i)->atttypid));
	return desc->natts > 0 ? buf.data : "no column";
}

/*
 * The last instant at which an outcome was not known: what happens at the instant
 * of the outcome, or after it, may be its consequence.
 */
static TimestampTz
instant_before(TimestampTz outcome, const Interval *before)
{
	TimestampTz at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(outcome),
															 IntervalPGetDatum(before)));

	/* months and days of different signs are more or less than nothing, depending on the date */
	return ls_score_instant(Min(at, outcome)) - 1;
}

/* Run the user's query of outcomes, with the user's own settings. */
static void
read_outcomes(const char *query, const Interval *before, Trial *trial)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext spi;
	int			result;
	uint64		rows;

	SPI_connect();
	result = SPI_execute(query, true, 0);
	if (result != SPI_OK_SELECT || SPI_tuptable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the outcomes must come from a query")));
	if (SPI_tuptable->tupdesc->natts != 3 ||
		SPI_gettypeid(SPI_tuptable->tupdesc, 2) != TIMESTAMPTZOID ||
		SPI_gettypeid(SPI_tuptable->tupdesc, 3) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query of outcomes must have three columns: lead, instant (timestamp with time zone) and outcome (boolean)"),
				 errdetail("It has %s.", column_types(SPI_tuptable->tupdesc))));
	rows = SPI_processed;
	if (rows > MaxAllocSize / sizeof(Datum))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many outcomes")));
	spi = MemoryContextSwitchTo(context);
	trial->leads = palloc(Max(rows, 1) * sizeof(Datum));
	trial->ats = palloc(Max(rows, 1) * sizeof(Datum));
	trial->won = palloc(Max(rows, 1) * sizeof(bool));
	trial->n = 0;
	trial->won_count = 0;
	for (uint64 i = 0; i < rows; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *lead = SPI_getvalue(tuple, desc, 1);
		bool		no_at;
		bool		no_outcome;
		Datum		at = SPI_getbinval(tuple, desc, 2, &no_at);
		bool		won = DatumGetBool(SPI_getbinval(tuple, desc, 3, &no_outcome));

		CHECK_FOR_INTERRUPTS();
		/* a lead whose outcome is not known yet says nothing */
		if (lead == NULL || no_at || no_outcome)
			continue;
		trial->leads[trial->n] = CStringGetTextDatum(lead);
		trial->ats[trial->n] = TimestampTzGetDatum(instant_before(DatumGetTimestampTz(at), before));
		trial->won[trial->n++] = won;
		trial->won_count += won;
	}
	MemoryContextSwitchTo(spi);
	SPI_finish();
}

/* Arrays of the leads and instants, as parameters of the queries. */
static void
trial_parameters(const Trial *trial, Datum *values)
{
	values[0] = PointerGetDatum(construct_array(trial->leads, trial->n, TEXTOID, -1, false, TYPALIGN_INT));
	values[1] = PointerGetDatum(construct_array(trial->ats, trial->n, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* The total of each lead at its instant. */
static void
score_trial(LsModel *model, const Trial *trial, Scored *scored)
{
	Oid			types[2] = {TEXTARRAYOID, get_array_type(TIMESTAMPTZOID)};
	Datum		values[2];
	Datum		old;

	ls_model_analyse(model);
	ls_past_apply(model, (Datum) 0, DT_NOBEGIN, &old);	/* each lead at its own instant */
	scored->total = palloc(trial->n * sizeof(double));
	for (int i = 0; i < trial->n; i++)
		scored->total[i] = NAN;
	trial_parameters(trial, values);
	ls_judge_begin(model);
	SPI_connect();
	ls_user_query(ls_query_scores(model, LS_OUTCOMES, true), 2, types, values);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		int64		i = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull)) - 1;
		Score		score;

		CHECK_FOR_INTERRUPTS();
		ls_score_from_datum(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2, &isnull), &score);
		if (i >= 0 && i < trial->n)
			scored->total[i] = score_total(&score, DatumGetTimestampTz(trial->ats[i]));
	}
	SPI_finish();
	ls_judge_end(model, false);
}

/* Leave out the outcomes of leads that are not there any more; returns how many were. */
static int
drop_missing(Trial *trial, Scored *a, Scored *b)
{
	int			kept = 0;
	int			missing;

	trial->won_count = 0;
	for (int i = 0; i < trial->n; i++)
	{
		if (isnan(a->total[i]))
			continue;
		trial->leads[kept] = trial->leads[i];
		trial->ats[kept] = trial->ats[i];
		trial->won[kept] = trial->won[i];
		trial->won_count += trial->won[i];
		a->total[kept] = a->total[i];
		if (b)
			b->total[kept] = b->total[i];
		kept++;
	}
	missing = trial->n - kept;
	trial->n = kept;
	return missing;
}

typedef struct Ranked
{
	double		total;
	int			i;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	double		x = ((const Ranked *) a)->total;
	double		y = ((const Ranked *) b)->total;

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y ? 1 : ((const Ranked *) a)->i - ((const Ranked *) b)->i;
}

/*
 * AUC and its variance. An outcome's placement is the share of the leads with
 * the other outcome that the score puts on the right side of it, ties half.
 */
static void
rate_trial(const Trial *trial, Scored *scored)
{
	int			n1 = trial->won_count;
	int			n0 = trial->n - n1;
	Ranked	   *ranked = palloc(trial->n * sizeof(Ranked));
	int			won_below = 0;
	double		sum[2] = {0, 0};
	double		square[2] = {0, 0};

	scored->placement = palloc(trial->n * sizeof(double));
	for (int i = 0; i < trial->n; i++)
		ranked[i] = (Ranked) {scored->total[i], i};
	qsort(ranked, trial->n, sizeof(Ranked), compare_ranked);
	for (int start = 0; start < trial->n;)
	{
		int			end = start;
		int			won_here = 0;
		double		won_placement;
		double		lost_placement;

		while (end < trial->n && ranked[end].total == ranked[start].total)
			won_here += trial->won[ranked[end++].i];
		won_placement = ((start - won_below) + 0.5 * (end - start - won_here)) / n0;
		lost_placement = ((n1 - won_below - won_here) + 0.5 * won_here) / n1;
		for (int i = start; i < end; i++)
		{
			bool		won = trial->won[ranked[i].i];
			double		placement = won ? won_placement : lost_placement;

			scored->placement[ranked[i].i] = placement;
			sum[won] += placement;
		}
		won_below += won_here;
		start = end;
	}
	scored->auc = sum[1] / n1;
	for (int i = 0; i < trial->n; i++)
	{
		double		off = scored->placement[i] - scored->auc;

		square[trial->won[i]] += off * off;
	}
	scored->variance = (n1 > 1 ? square[1] / (n1 - 1) / n1 : 0) + (n0 > 1 ? square[0] / (n0 - 1) / n0 : 0);
	pfree(ranked);
}

/* Variance of the difference of the AUCs of two models on the same leads. */
static double
difference_variance(const Trial *trial, const Scored *a, const Scored *b)
{
	int			count[2] = {trial->n - trial->won_count, trial->won_count};
	double		square[2] = {0, 0};
	double		mean = a->auc - b->auc;
	double		variance = 0;

	for (int i = 0; i < trial->n; i++)
	{
		double		off = a->placement[i] - b->placement[i] - mean;

		square[trial->won[i]] += off * off;
	}
	for (int won = 0; won <= 1; won++)
		if (count[won] > 1)
			variance += square[won] / (count[won] - 1) / count[won];
	return variance;
}

static void
put_measure(ReturnSetInfo *rsinfo, const char *measure, const char *part, int64 leads, int64 won,
			double value, double low, double high, const char *note)
{
	Datum		row[8];
	bool		nulls[8] = {false, part == NULL, false, false, isnan(value), isnan(low), isnan(high), note == NULL};

	row[0] = CStringGetTextDatum(measure);
	row[1] = part ? CStringGetTextDatum(part) : (Datum) 0;
	row[2] = Int64GetDatum(leads);
	row[3] = Int64GetDatum(won);
	row[4] = Float8GetDatum(value);
	row[5] = Float8GetDatum(low);
	row[6] = Float8GetDatum(high);
	row[7] = note ? CStringGetTextDatum(note) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
}

/* A share hits / of with Wilson's interval. */
static void
put_share(ReturnSetInfo *rsinfo, const char *measure, const char *part, int64 leads, int64 won,
		  int64 hits, int64 of, const char *note)
{
	double		p;
	double		centre;
	double		half;
	double		z2 = Z95 * Z95;

	if (of == 0)
	{
		put_measure(rsinfo, measure, part, leads, won, NAN, NAN, NAN, note);
		return;
	}
	p = (double) hits / of;
	centre = (p + z2 / (2 * of)) / (1 + z2 / of);
	half = Z95 / (1 + z2 / of) * sqrt(p * (1 - p) / of + z2 / (4.0 * of * of));
	put_measure(rsinfo, measure, part, leads, won, p, Max(centre - half, 0), Min(centre + half, 1), note);
}

/* Conversion of each tenth, the best first; leads of one score are not ordered by outcome. */
static void
put_deciles(ReturnSetInfo *rsinfo, const Trial *trial, const Scored *scored)
{
	Ranked	   *ranked = palloc(trial->n * sizeof(Ranked));
	double		base = (double) trial->won_count / trial->n;

	for (int i = 0; i < trial->n; i++)
		ranked[i] = (Ranked) {-scored->total[i], i};
	qsort(ranked, trial->n, sizeof(Ranked), compare_ranked);
	for (int d = 0; d < DECILES; d++)
	{
		int			start = (int) ((int64) trial->n * d / DECILES);
		int			end = (int) ((int64) trial->n * (d + 1) / DECILES);
		int			won = 0;

		for (int i = start; i < end; i++)
			won += trial->won[ranked[i].i];
		put_share(rsinfo, "conversion of tenth", psprintf("%d", d + 1), end - start, won, won, end - start,
				  end > start ? psprintf("lift %.2f", (double) won / (end - start) / base) : NULL);
	}
	pfree(ranked);
}

static void
put_bands(ReturnSetInfo *rsinfo, const LsModel *model, const Trial *trial, const Scored *scored)
{
	for (int b = 0; b < model->nbands; b++)
	{
		int			in = 0;
		int			won = 0;

		for (int i = 0; i < trial->n; i++)
		{
			if (scored->total[i] < model->bands[b].least)
				continue;
			in++;
			won += trial->won[i];
		}
		put_share(rsinfo, "precision from band", model->bands[b].name, in, won, won, in, NULL);
		put_share(rsinfo, "recall from band", model->bands[b].name, in, won, won, trial->won_count, NULL);
	}
}

/* Each rule alone: whether it matched is a test for the outcome with an AUC of its own. */
static void
put_rules(ReturnSetInfo *rsinfo, LsModel *model, const Trial *trial)
{
	Oid			types[2] = {TEXTARRAYOID, get_array_type(TIMESTAMPTZOID)};
	Datum		values[2];
	int64	  (*matched)[2] = palloc0(Max(model->nrules, 1) * sizeof(*matched));
	int			n0 = trial->n - trial->won_count;

	trial_parameters(trial, values);
	ls_judge_begin(model);
	SPI_connect();
	ls_user_query(ls_query_matches(model), 2, types, values);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		int64		i = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull)) - 1;
		int			column = 2;

		for (int r = 0; r < model->nrules; r++)
		{
			if (!model->rules[r].enabled)
				continue;
			if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column++, &isnull)) &&
				!isnull && i >= 0 && i < trial->n)
				matched[r][trial->won[i]]++;
		}
	}
	SPI_finish();
	ls_judge_end(model, false);
	for (int r = 0; r < model->nrules; r++)
	{
		double		auc;
		const char *note = NULL;

		if (!model->rules[r].enabled)
			continue;
		auc = 0.5 * (1 + (double) matched[r][1] / trial->won_count - (double) matched[r][0] / n0);
		if (Max(auc, 1 - auc) >= LEAK_AUC && trial->won_count >= LEAK_MIN && n0 >= LEAK_MIN)
		{
			note = "suspicious: does it use what is known only after the outcome?";
			ereport(WARNING,
					(errmsg("rule \"%s\" of model \"%s\" alone predicts the outcome suspiciously well", model->rules[r].name, model->name),
					 errdetail("It matched %.1f %% of the leads that converted and %.1f %% of the others.",
							   100.0 * matched[r][1] / trial->won_count, 100.0 * matched[r][0] / n0),
					 errhint("Check that it does not use what is known only after the outcome.")));
		}
		put_share(rsinfo, "conversion where rule matched", model->rules[r].name,
				  matched[r][0] + matched[r][1], matched[r][1], matched[r][1], matched[r][0] + matched[r][1], note);
	}
}

/*
 * Outcomes from before the old values of columns were kept: what their leads are
 * scored by may be from after the outcome, and tell it.
 */
static void
put_oldest_known(ReturnSetInfo *rsinfo, const LsModel *model, const LsModel *other, const Trial *trial)
{
	TimestampTz first = DT_NOEND;
	TimestampTz since;
	List	   *unknown = NIL;
	int			leads = 0;
	int			won = 0;

	for (int i = 0; i < trial->n; i++)
		first = Min(first, DatumGetTimestampTz(trial->ats[i]));
	since = ls_past_since(model, first, &unknown);
	if (other)
		since = Max(since, ls_past_since(other, first, &unknown));
	for (int i = 0; i < trial->n; i++)
		if (DatumGetTimestampTz(trial->ats[i]) < since)
		{
			leads++;
			won += trial->won[i];
		}
	if (leads == 0)
		return;
	put_measure(rsinfo, "oldest known columns", NULL, leads, won, (double) leads / trial->n, NAN, NAN,
				ls_past_names(unknown));
	ereport(WARNING,
			(errmsg("%d of %d outcomes are from before old values of the leads' columns were kept", leads, trial->n),
			 errdetail("Their leads are scored by the oldest known values of %s, which may be from after the outcome.",
					   ls_past_names(unknown)),
			 errhint("Old values are kept from the first publishing of a version that reads the column on; points of events are not concerned.")));
}

Datum
leadscore_backtest(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	char	   *query = ls_model_name_arg(fcinfo, 1, "the query of outcomes");
	LsModel    *model = ls_model_load(name, PG_ARGISNULL(2) ? LS_LIVE : PG_GETARG_INT32(2));
	LsModel    *other = PG_ARGISNULL(3) ? NULL : ls_model_load(name, PG_GETARG_INT32(3));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Trial		trial;
	Scored		a;
	Scored		b;
	Interval	none = {0};
	int			missing;
	double		spread;

	if (PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the time before the outcome must not be null")));
	if (DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(4), IntervalPGetDatum(&none))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the time before the outcome must not be negative"),
				 errdetail("A score from after the outcome tells nothing about who will convert.")));
	ls_model_check_complete(model);
	if (other)
		ls_model_check_complete(other);
	InitMaterializedSRF(fcinfo, 0);
	read_outcomes(query, PG_GETARG_INTERVAL_P(4), &trial);
	score_trial(model, &trial, &a);
	if (other)
		score_trial(other, &trial, &b);
	missing = drop_missing(&trial, &a, other ? &b : NULL);
	if (trial.won_count == 0 || trial.won_count == trial.n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a backtest needs leads of both outcomes"),
				 missing ? errdetail("There are %d leads with known outcomes, and %d of them converted; outcomes of leads that are not in table \"%s\": %d.",
									 trial.n, trial.won_count, get_rel_name(model->leads), missing) :
				 errdetail("There are %d leads with known outcomes, and %d of them converted.", trial.n, trial.won_count)));

	rate_trial(&trial, &a);
	put_share(rsinfo, "conversion", NULL, trial.n, trial.won_count, trial.won_count, trial.n,
			  missing ? psprintf("outcomes of leads that are not there, left out: %d", missing) : NULL);
	put_oldest_known(rsinfo, model, other, &trial);
	spread = Z95 * sqrt(a.variance);
	put_measure(rsinfo, "AUC", psprintf("version %d", model->version), trial.n, trial.won_count,
				a.auc, Max(a.auc - spread, 0), Min(a.auc + spread, 1),
				a.auc - spread <= 0.5 ? "not proven better than chance" : NULL);
	if (other)
	{
		double		difference;

		rate_trial(&trial, &b);
		spread = Z95 * sqrt(b.variance);
		put_measure(rsinfo, "AUC", psprintf("version %d", other->version), trial.n, trial.won_count,
					b.auc, Max(b.auc - spread, 0), Min(b.auc + spread, 1),
					b.auc - spread <= 0.5 ? "not proven better than chance" : NULL);
		difference = a.auc - b.auc;
		spread = Z95 * sqrt(difference_variance(&trial, &a, &b));
		put_measure(rsinfo, "AUC difference", psprintf("version %d - version %d", model->version, other->version),
					trial.n, trial.won_count, difference, difference - spread, difference + spread,
					difference - spread <= 0 && difference + spread >= 0 ? "not proven: may be chance" :
					difference > 0 ? "better" : "worse");
	}
	put_deciles(rsinfo, &trial, &a);
	put_bands(rsinfo, model, &trial, &a);
	put_rules(rsinfo, model, &trial);
	return (Datum) 0;
}
