/*
 * velocity.c
 *	  How long things take, when not everybody has finished: velocity() and the
 *	  curves behind it, survival() and kaplan_meier().
 *
 * A span that is still going on when the watching ends is censored: it counts
 * for as long as it has lasted and then leaves the reckoning, so that open leads
 * neither drag the median down nor are left out. Definitions in docs/analytics.md.
 */
#include "report.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/timestamp.h"

#include <math.h>

PG_FUNCTION_INFO_V1(leadscore_velocity);
PG_FUNCTION_INFO_V1(leadscore_survival);
PG_FUNCTION_INFO_V1(leadscore_kaplan_meier);

/* After the visits to each stage of the funnel come the spans from the entry. */
#define SPAN_TO_WON(q)	((q)->nfunnel)
#define SPAN_TO_END(q)	((q)->nfunnel + 1)
#define N_SPANS(q)		((q)->nfunnel + 2)

typedef struct SpanSet
{
	LsSpans		spans;
	int64		ended;
	int64		negative;		/* reported, but no part of the curve */
	double		longest;		/* that was watched */
} SpanSet;

static const char *
span_name(const LsQuery *q, int k)
{
	if (k == SPAN_TO_WON(q))
		return "entry to won";
	if (k == SPAN_TO_END(q))
		return "entry to end";
	return psprintf("in %s", q->stages[k].name);
}

static void
add_span(SpanSet *set, TimestampTz from, TimestampTz to, bool ended)
{
	double		days = ((double) to - (double) from) / LS_USECS_PER_DAY;

	if (days < 0)
	{
		set->negative++;
		return;
	}
	set->ended += ended;
	set->longest = Max(set->longest, days);
	ls_spans_add(&set->spans, days, ended);
}

/*
 * The spans of one lead. Each visit to an open stage is one, ended by any move to
 * another stage. From the entry: to the first won stage, and to the end, which
 * is the first won stage or else the loss that the lead is in. A lead that is
 * lost is no longer on its way to be won: its span ends there as censored.
 */
static void
lead_spans(const LsJourneys *j, const LsLead *lead, SpanSet *sets)
{
	const LsQuery *q = j->query;
	const LsMove *m = &j->moves[lead->first];
	uint32		n = lead->nmoves;
	uint32		start = 0,
				i;
	TimestampTz won = DT_NOEND;
	LsStageKind last;

	for (i = 0; i < n; i++)
	{
		if (won == DT_NOEND && j->stages[m[i].stage].kind == LS_STAGE_WON)
			won = m[i].at;
		if (i + 1 < n && m[i + 1].stage == m[i].stage)
			continue;			/* a row that repeats the stage is no move */

		/* m[start .. i] is one visit */
		if (j->stages[m[i].stage].kind == LS_STAGE_OPEN && m[i].stage < q->nfunnel &&
			!(lead->adopted && start == 0))
			add_span(&sets[m[i].stage], m[start].at, i + 1 < n ? m[i + 1].at : q->as_of,
					 i + 1 < n && m[i + 1].stage != j->deleted);
		if (i + 1 < n)
			start = i + 1;
	}

	if (lead->adopted)
		return;					/* when it entered is not known */
	last = j->stages[m[start].stage].kind;
	if (won != DT_NOEND)
	{
		add_span(&sets[SPAN_TO_WON(q)], m[0].at, won, true);
		add_span(&sets[SPAN_TO_END(q)], m[0].at, won, true);
	}
	else if (last == LS_STAGE_LOST)
	{
		add_span(&sets[SPAN_TO_WON(q)], m[0].at, m[start].at, false);
		add_span(&sets[SPAN_TO_END(q)], m[0].at, m[start].at, true);
	}
	else
	{
		/* a deleted lead was watched until it was deleted */
		TimestampTz until = m[start].stage == j->deleted ? m[start].at : q->as_of;

		add_span(&sets[SPAN_TO_WON(q)], m[0].at, until, false);
		add_span(&sets[SPAN_TO_END(q)], m[0].at, until, false);
	}
}

/* All spans, by group and kind of span; without BY there is one group. */
static SpanSet **
collect_spans(const LsJourneys *j, uint32 *ngroups)
{
	SpanSet   **groups;
	uint32		i;

	*ngroups = j->query->nby == 0 ? 1 : j->ngroups;
	groups = palloc_extended(*ngroups * sizeof(SpanSet *), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < j->nleads; i++)
	{
		const LsLead *lead = &j->leads[i];

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!ls_lead_counts(j, lead))
			continue;
		if (groups[lead->group] == NULL)
			groups[lead->group] = palloc0(N_SPANS(j->query) * sizeof(SpanSet));
		lead_spans(j, lead, groups[lead->group]);
	}
	if (j->query->nby == 0 && groups[0] == NULL)
		groups[0] = palloc0(N_SPANS(j->query) * sizeof(SpanSet));
	return groups;
}

static LsSurvivalStep *
curve(SpanSet *set, size_t *nsteps)
{
	LsSurvivalStep *steps = palloc_extended(Max(set->spans.n, 1) * sizeof(LsSurvivalStep), MCXT_ALLOC_HUGE);

	ls_spans_sort(&set->spans);
	*nsteps = ls_kaplan_meier(set->spans.v, set->spans.n, steps);
	return steps;
}

static Datum
percent(double share)
{
	return ls_rounded(100 * share, 2);
}

/*
 * Shares still going on after so many days, and their intervals. NULL beyond the
 * longest span watched, where nothing is known, unless all have ended by then.
 */
static void
put_shares(LsRow *row, const SpanSet *set, const LsSurvivalStep *steps, size_t nsteps,
		   const double *days, int ndays)
{
	Datum	   *values[3];
	bool	   *nulls[3];
	int			dims[1] = {ndays};
	int			lbs[1] = {1};
	int			i,
				k;

	for (k = 0; k < 3; k++)
	{
		values[k] = palloc(Max(ndays, 1) * sizeof(Datum));
		nulls[k] = palloc(Max(ndays, 1) * sizeof(bool));
	}
	for (i = 0; i < ndays; i++)
	{
		double		v[3] = {1, 1, 1};
		size_t		s;

		for (s = 0; s < nsteps && steps[s].days <= days[i]; s++)
			;
		if (s > 0)
		{
			v[0] = steps[s - 1].survival;
			v[1] = steps[s - 1].low;
			v[2] = steps[s - 1].high;
		}
		if (set->spans.n == 0 || (days[i] > set->longest && v[0] > 0))
			v[0] = v[1] = v[2] = NAN;
		for (k = 0; k < 3; k++)
		{
			nulls[k][i] = isnan(v[k]);
			values[k][i] = nulls[k][i] ? (Datum) 0 : percent(v[k]);
		}
	}
	for (k = 0; k < 3; k++)
	{
		if (ndays == 0)
			ls_row_datum(row, PointerGetDatum(construct_empty_array(NUMERICOID)));
		else
			ls_row_datum(row, PointerGetDatum(construct_md_array(values[k], nulls[k], 1, dims, lbs, NUMERICOID,
																 -1, false, TYPALIGN_INT)));
		pfree(values[k]);
		pfree(nulls[k]);
	}
}

static int
float_array(ArrayType *a, const char *what, double **v)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n,
				i;

	deconstruct_array(a, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elems, &nulls, &n);
	*v = palloc(Max(n, 1) * sizeof(double));
	for (i = 0; i < n; i++)
	{
		(*v)[i] = nulls[i] ? 0 : DatumGetFloat8(elems[i]);
		if (nulls[i] || !isfinite((*v)[i]) || (*v)[i] < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" must hold numbers of days, none of them NULL or negative", what)));
	}
	return n;
}

Datum
leadscore_velocity(PG_FUNCTION_ARGS)
{
	LsJourneys *j;
	LsRow		row;
	SpanSet   **groups;
	uint32		i,
				ngroups;
	double	   *days = NULL;
	int			ndays = 0;
	int			k;

	ls_row_begin(&row, fcinfo);
	if (!PG_ARGISNULL(LS_N_QUERY_ARGS))
		ndays = float_array(PG_GETARG_ARRAYTYPE_P(LS_N_QUERY_ARGS), "at_days", &days);
	j = ls_read_journeys(ls_query_from_args(fcinfo, NULL));
	groups = collect_spans(j, &ngroups);
	for (i = 0; i < ngroups; i++)
	{
		uint32		g = j->query->nby == 0 ? 0 : j->group_order[i];

		if (groups[g] == NULL)
			continue;
		for (k = 0; k < N_SPANS(j->query); k++)
		{
			SpanSet    *set = &groups[g][k];
			LsSurvivalStep *steps;
			size_t		n;

			/* nothing goes on in a won stage */
			if (k < j->query->nfunnel && j->stages[k].kind != LS_STAGE_OPEN)
				continue;
			steps = curve(set, &n);
			ls_row_text(&row, j->query->nby == 0 ? NULL : j->groups[g]);
			ls_row_text(&row, span_name(j->query, k));
			ls_row_int(&row, set->spans.n);
			ls_row_int(&row, set->ended);
			ls_row_int(&row, set->spans.n - set->ended);
			ls_row_int(&row, set->negative);
			ls_row_number(&row, ls_km_quantile(steps, n, 0.75), 2);
			ls_row_number(&row, ls_km_quantile(steps, n, 0.50), 2);
			ls_row_number(&row, ls_km_low_quantile(steps, n, 0.50), 2);
			ls_row_number(&row, ls_km_high_quantile(steps, n, 0.50), 2);
			ls_row_number(&row, ls_km_quantile(steps, n, 0.25), 2);
			put_shares(&row, set, steps, n, days, ndays);
			ls_row_put(&row);
			pfree(steps);
		}
	}
	PG_RETURN_NULL();
}

static void
put_curve(LsRow *row, bool with_by, const char *by, const char *span,
		  const LsSurvivalStep *steps, size_t n)
{
	size_t		s;

	for (s = 0; s < n; s++)
	{
		const LsSurvivalStep *t = &steps[s];
		double		v[4] = {t->survival, t->std_error, t->low, t->high};
		int			k;

		if (with_by)
		{
			ls_row_text(row, by);
			ls_row_text(row, span);
		}
		ls_row_datum(row, Float8GetDatum(t->days));
		ls_row_int(row, t->at_risk);
		ls_row_int(row, t->ended);
		ls_row_int(row, t->censored);
		for (k = 0; k < 4; k++)
		{
			if (isnan(v[k]))
				ls_row_null(row);
			else
				ls_row_datum(row, Float8GetDatum(v[k]));
		}
		ls_row_put(row);
	}
}

/* The curve of one span, or of all, step by step */
Datum
leadscore_survival(PG_FUNCTION_ARGS)
{
	LsJourneys *j;
	LsRow		row;
	SpanSet   **groups;
	char	   *span = NULL;
	uint32		i,
				ngroups;
	int			k;
	bool		found = false;

	ls_row_begin(&row, fcinfo);
	if (!PG_ARGISNULL(LS_N_QUERY_ARGS))
		span = text_to_cstring(PG_GETARG_TEXT_PP(LS_N_QUERY_ARGS));
	j = ls_read_journeys(ls_query_from_args(fcinfo, NULL));
	for (k = 0; k < N_SPANS(j->query); k++)
		found |= span == NULL || strcmp(span, span_name(j->query, k)) == 0;
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no span \"%s\"", span),
				 errhint("Spans are \"in <stage>\", \"entry to won\" and \"entry to end\".")));
	groups = collect_spans(j, &ngroups);
	for (i = 0; i < ngroups; i++)
	{
		uint32		g = j->query->nby == 0 ? 0 : j->group_order[i];

		for (k = 0; groups[g] != NULL && k < N_SPANS(j->query); k++)
		{
			const char *name = span_name(j->query, k);
			LsSurvivalStep *steps;
			size_t		n;

			if (span && strcmp(span, name) != 0)
				continue;
			steps = curve(&groups[g][k], &n);
			put_curve(&row, true, j->query->nby == 0 ? NULL : j->groups[g], name, steps, n);
			pfree(steps);
		}
	}
	PG_RETURN_NULL();
}

/* The curve of spans that the user brings: days, and whether each has ended */
Datum
leadscore_kaplan_meier(PG_FUNCTION_ARGS)
{
	LsRow		row;
	SpanSet		set = {0};
	LsSurvivalStep *steps;
	size_t		nsteps;
	double	   *days;
	Datum	   *elems;
	bool	   *nulls;
	int			n,
				nended,
				i;

	ls_row_begin(&row, fcinfo);
	n = float_array(PG_GETARG_ARRAYTYPE_P(0), "days", &days);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), BOOLOID, 1, true, TYPALIGN_CHAR, &elems, &nulls, &nended);
	if (n != nended)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%d numbers of days, but %d ends", n, nended)));
	for (i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"ended\" contains NULL")));
		ls_spans_add(&set.spans, days[i], DatumGetBool(elems[i]));
	}
	steps = curve(&set, &nsteps);
	put_curve(&row, false, NULL, NULL, steps, nsteps);
	PG_RETURN_NULL();
}
