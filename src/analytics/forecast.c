/*
 * forecast.c
 *	  forecast(): how many of the open leads will become clients in each of the
 *	  months to come, and what they bring.
 *
 * A lead that has been in a stage for so long is compared with all leads that
 * were in this stage for at least as long: what became of them from that age on
 * (won, lost, or still open when the watching ended) gives the chance of a win in
 * each month (Aalen-Johansen: lost leads cannot be won, open ones are censored).
 * The interval comes from resampling the leads of the past (bootstrap) and then
 * drawing the fate of every open lead. Definitions in docs/analytics.md.
 */
#include "report.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/timestamp.h"

#include <math.h>

PG_FUNCTION_INFO_V1(leadscore_forecast);

#define MAX_MONTHS		60
#define MAX_RESAMPLES	10000

typedef enum Fate
{
	FATE_OPEN,
	FATE_WON,
	FATE_LOST
} Fate;

/* One visit of one lead to a stage, and what became of the lead */
typedef struct Visit
{
	double		stay;			/* days in the stage, until left or watched last */
	double		until;			/* days from the entry to the fate */
	uint32		lead;
	Fate		fate;
} Visit;

typedef struct Visits
{
	Visit	   *v;
	size_t		n;
	size_t		max;
} Visits;

/* A lead that is open in a stage */
typedef struct OpenLead
{
	double		age;			/* days in the stage */
	double		value;			/* NaN: not known */
} OpenLead;

/* Open leads of one stage and of about the same age, and those they are like */
typedef struct Bucket
{
	OpenLead   *open;
	size_t		nopen;
	Visit	   *past;			/* by time left; "until" counts from the age here */
	size_t		npast;
	double		chance[MAX_MONTHS];		/* of a win in each month */
} Bucket;

typedef struct OpenLeads
{
	OpenLead   *v;
	size_t		n;
	size_t		max;
} OpenLeads;

/* What is known of the leads of one group */
typedef struct OneGroup
{
	Visits	   *visits;			/* by stage */
	OpenLeads  *open;			/* by stage */
	LsDoubles	won_values;
	int64		nopen;
	uint32		nleads;			/* visits count them from 0 */
} OneGroup;

/* Ages, in days, that open leads are put together by */
static const double age_bounds[] = {1, 3, 7, 14, 30, 60, 90, 180, 365, 730};

#define N_AGES	(lengthof(age_bounds) + 1)

/* ---------- what is known ---------- */

static void
add_visit(Visits *s, const Visit *visit)
{
	if (s->n == s->max)
	{
		s->max = s->max == 0 ? 16 : s->max * 2;
		s->v = s->v == NULL ? palloc(s->max * sizeof(Visit)) : repalloc_huge(s->v, s->max * sizeof(Visit));
	}
	s->v[s->n++] = *visit;
}

static void
add_open(OpenLeads *s, double age, double value)
{
	if (s->n == s->max)
	{
		s->max = s->max == 0 ? 16 : s->max * 2;
		s->v = s->v == NULL ? palloc(s->max * sizeof(OpenLead)) : repalloc_huge(s->v, s->max * sizeof(OpenLead));
	}
	s->v[s->n].age = age;
	s->v[s->n++].value = value;
}

static inline double
days_between(TimestampTz from, TimestampTz to)
{
	return ((double) to - (double) from) / LS_USECS_PER_DAY;
}

static void
learn_from(const LsJourneys *j, uint32 number, OneGroup *g)
{
	const LsQuery *q = j->query;
	const LsLead *lead = &j->leads[number];
	const LsMove *m = &j->moves[lead->first];
	uint32		n = lead->nmoves,
				start,
				i;
	int64		next_won = -1;
	uint32		last = n - 1;

	while (last > 0 && m[last - 1].stage == m[last].stage)
		last--;					/* the first row of the last visit */

	/* backwards, so that the next win is known */
	for (i = n; i-- > 0;)
	{
		Visit		v;
		bool		is_open = j->stages[m[i].stage].kind == LS_STAGE_OPEN && m[i].stage < q->nfunnel;
		uint32		end = i + 1;
		TimestampTz left;

		for (start = i; start > 0 && m[start - 1].stage == m[i].stage; start--)
			;
		if (is_open && !(lead->adopted && start == 0))
		{
			left = end < n ? m[end].at : q->as_of;
			v.lead = g->nleads;
			v.stay = days_between(m[start].at, left);
			if (next_won >= 0)
			{
				v.fate = FATE_WON;
				v.until = days_between(m[start].at, m[next_won].at);
			}
			else if (j->stages[m[last].stage].kind == LS_STAGE_LOST)
			{
				v.fate = FATE_LOST;
				v.until = days_between(m[start].at, m[last].at);
			}
			else
			{
				v.fate = FATE_OPEN;
				v.until = days_between(m[start].at, m[last].stage == j->deleted ? m[last].at : q->as_of);
			}
			/* what runs backwards in time teaches nothing */
			if (v.stay >= 0 && v.until >= 0)
				add_visit(&g->visits[m[start].stage], &v);
		}
		if (j->stages[m[i].stage].kind == LS_STAGE_WON)
			next_won = start;
		i = start;
	}
	if (next_won >= 0)
	{
		if (!isnan(lead->value))
			ls_doubles_add(&g->won_values, lead->value);
	}
	if (j->stages[m[last].stage].kind == LS_STAGE_OPEN && m[last].stage < q->nfunnel)
	{
		add_open(&g->open[m[last].stage], days_between(m[last].at, q->as_of), lead->value);
		g->nopen++;
	}
	g->nleads++;
}

/* ---------- chances ---------- */

#define ST_SORT sort_visits
#define ST_ELEMENT_TYPE Visit
#define ST_COMPARE(a, b) (((a)->until > (b)->until) - ((a)->until < (b)->until))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * The chances of a win up to each horizon, of past visits with weights by lead
 * (NULL: 1 each): sum over the wins of survival just before x share of those at
 * risk that are won then; both fates end survival.
 */
static void
win_chances(const Bucket *b, const uint8 *weights, const double *horizon, int nmonths, double *chance)
{
	double		at_risk = 0,
				survival = 1,
				cumulative = 0,
				before = 0;
	size_t		i = 0;
	int			month;

	if (weights == NULL)
		at_risk = (double) b->npast;
	else
		for (i = 0; i < b->npast; i++)
			at_risk += weights[b->past[i].lead];

	for (i = 0, month = 0; month < nmonths; month++)
	{
		while (i < b->npast && b->past[i].until <= horizon[month] && at_risk > 0)
		{
			double		until = b->past[i].until,
						won = 0,
						lost = 0,
						gone = 0;

			for (; i < b->npast && b->past[i].until == until; i++)
			{
				double		w = weights ? weights[b->past[i].lead] : 1;

				gone += w;
				won += b->past[i].fate == FATE_WON ? w : 0;
				lost += b->past[i].fate == FATE_LOST ? w : 0;
			}
			cumulative += survival * won / at_risk;
			survival *= 1 - (won + lost) / at_risk;
			at_risk -= gone;
		}
		chance[month] = cumulative - before;
		before = cumulative;
	}
}

/* Open leads by age, each with the visits that lasted as long as they have */
static Bucket *
make_buckets(const OneGroup *g, int nstages, int *nbuckets)
{
	Bucket	   *buckets = palloc0(nstages * N_AGES * sizeof(Bucket));
	int			s;

	*nbuckets = 0;
	for (s = 0; s < nstages; s++)
	{
		size_t		a;

		for (a = 0; a < N_AGES; a++)
		{
			Bucket	   *b = &buckets[*nbuckets];
			double		low = a == 0 ? -1 : age_bounds[a - 1];
			double		high = a < lengthof(age_bounds) ? age_bounds[a] : get_float8_infinity();
			double		age = 0;
			size_t		i;

			b->nopen = 0;
			for (i = 0; i < g->open[s].n; i++)
				if (g->open[s].v[i].age >= low && g->open[s].v[i].age < high)
				{
					b->nopen++;
					age += g->open[s].v[i].age;
				}
			if (b->nopen == 0)
				continue;
			age /= b->nopen;
			b->open = palloc_extended(b->nopen * sizeof(OpenLead), MCXT_ALLOC_HUGE);
			for (i = 0, b->nopen = 0; i < g->open[s].n; i++)
				if (g->open[s].v[i].age >= low && g->open[s].v[i].age < high)
					b->open[b->nopen++] = g->open[s].v[i];

			b->past = palloc_extended(Max(g->visits[s].n, 1) * sizeof(Visit), MCXT_ALLOC_HUGE);
			for (i = 0; i < g->visits[s].n; i++)
			{
				Visit		v = g->visits[s].v[i];

				if (v.stay < age || v.until <= age)
					continue;
				v.until -= age;
				b->past[b->npast++] = v;
			}
			sort_visits(b->past, b->npast);
			(*nbuckets)++;
		}
	}
	return buckets;
}

/* How often one lead of the past is drawn: Poisson with mean 1 */
static uint8
poisson1(pg_prng_state *prng)
{
	double		u = pg_prng_double(prng),
				p = exp(-1.0),
				sum = p;
	uint8		k = 0;

	while (u >= sum && k < 20)
	{
		p /= ++k;
		sum += p;
	}
	return k;
}

static void
put_forecast(LsRow *row, const char *by, Datum month, bool total, int64 nopen, int64 beyond,
			 double clients, double revenue, bool has_value, LsDoubles *c, LsDoubles *r)
{
	double		none = get_float8_nan();

	ls_row_text(row, by);
	if (total)
		ls_row_null(row);
	else
		ls_row_datum(row, month);
	ls_row_int(row, nopen);
	ls_row_int(row, beyond);
	ls_doubles_sort(c);
	ls_row_number(row, clients, 1);
	ls_row_number(row, c->n ? ls_quantile(c->v, c->n, 0.05) : none, 1);
	ls_row_number(row, c->n ? ls_quantile(c->v, c->n, 0.95) : none, 1);
	ls_doubles_sort(r);
	ls_row_number(row, has_value ? revenue : none, 2);
	ls_row_number(row, has_value && r->n ? ls_quantile(r->v, r->n, 0.05) : none, 2);
	ls_row_number(row, has_value && r->n ? ls_quantile(r->v, r->n, 0.95) : none, 2);
	ls_row_put(row);
}

static void
forecast_group(LsRow *row, const LsJourneys *j, const char *by, const OneGroup *g,
			   const double *horizon, const Datum *months, int nmonths, int resamples, uint64 seed)
{
	const int	n = nmonths + 1;	/* the last is the total */
	Bucket	   *buckets;
	int			nbuckets,
				i,
				m,
				k;
	double		clients[MAX_MONTHS + 1] = {0},
				revenue[MAX_MONTHS + 1] = {0};
	double		mean_value = 0;
	int64		beyond = 0;
	LsDoubles	drawn_clients[MAX_MONTHS + 1] = {0},
				drawn_revenue[MAX_MONTHS + 1] = {0};
	uint8	   *weights;
	pg_prng_state prng;
	size_t		o;

	buckets = make_buckets(g, j->query->nfunnel, &nbuckets);
	for (o = 0; o < g->won_values.n; o++)
		mean_value += g->won_values.v[o] / g->won_values.n;

	for (i = 0; i < nbuckets; i++)
	{
		Bucket	   *b = &buckets[i];

		win_chances(b, NULL, horizon, nmonths, b->chance);
		if (b->npast == 0)
			beyond += b->nopen;
		for (m = 0; m < nmonths; m++)
			for (o = 0; o < b->nopen; o++)
			{
				double		value = isnan(b->open[o].value) ? mean_value : b->open[o].value;

				clients[m] += b->chance[m];
				clients[nmonths] += b->chance[m];
				revenue[m] += b->chance[m] * value;
				revenue[nmonths] += b->chance[m] * value;
			}
	}

	pg_prng_seed(&prng, seed);
	weights = palloc_extended(Max(g->nleads, 1), MCXT_ALLOC_HUGE);
	for (k = 0; k < resamples; k++)
	{
		double		c[MAX_MONTHS + 1] = {0},
					r[MAX_MONTHS + 1] = {0};

		CHECK_FOR_INTERRUPTS();
		for (o = 0; o < g->nleads; o++)
			weights[o] = poisson1(&prng);
		for (i = 0; i < nbuckets; i++)
		{
			Bucket	   *b = &buckets[i];
			double		chance[MAX_MONTHS];

			win_chances(b, weights, horizon, nmonths, chance);
			for (o = 0; o < b->nopen; o++)
			{
				double		u = pg_prng_double(&prng);
				double		value = b->open[o].value;

				for (m = 0; m < nmonths && u >= chance[m]; m++)
					u -= chance[m];
				if (m == nmonths)
					continue;
				if (isnan(value))
					value = g->won_values.n == 0 ? 0 :
						g->won_values.v[(size_t) (pg_prng_double(&prng) * g->won_values.n)];
				c[m]++;
				c[nmonths]++;
				r[m] += value;
				r[nmonths] += value;
			}
		}
		for (m = 0; m < n; m++)
		{
			ls_doubles_add(&drawn_clients[m], c[m]);
			ls_doubles_add(&drawn_revenue[m], r[m]);
		}
	}
	for (m = 0; m < n; m++)
		put_forecast(row, by, m < nmonths ? months[m] : (Datum) 0, m == nmonths, g->nopen, beyond,
					 clients[m], revenue[m], j->query->has_value, &drawn_clients[m], &drawn_revenue[m]);
}

static int
int_arg(FunctionCallInfo fcinfo, int arg, const char *name, int def, int min, int max)
{
	int			v = PG_ARGISNULL(arg) ? def : PG_GETARG_INT32(arg);

	if (v < min || v > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be between %d and %d", name, min, max)));
	return v;
}

/* forecast(the arguments of all reports, value, months, resamples, seed) */
Datum
leadscore_forecast(PG_FUNCTION_ARGS)
{
	LsJourneys *j;
	LsRow		row;
	OneGroup	   *groups;
	char	   *value = NULL;
	Datum		months[MAX_MONTHS];
	double		horizon[MAX_MONTHS];
	Datum		month;
	int			nmonths,
				resamples,
				i;
	uint64		seed;
	uint32		l,
				ngroups;

	ls_row_begin(&row, fcinfo);
	if (!PG_ARGISNULL(LS_N_QUERY_ARGS))
		value = text_to_cstring(PG_GETARG_TEXT_PP(LS_N_QUERY_ARGS));
	nmonths = int_arg(fcinfo, LS_N_QUERY_ARGS + 1, "months", 6, 1, MAX_MONTHS);
	resamples = int_arg(fcinfo, LS_N_QUERY_ARGS + 2, "resamples", 200, 0, MAX_RESAMPLES);
	seed = PG_ARGISNULL(LS_N_QUERY_ARGS + 3) ? 1 : (uint64) PG_GETARG_INT64(LS_N_QUERY_ARGS + 3);
	j = ls_read_journeys(ls_query_from_args(fcinfo, value));

	/* calendar months: the first is what is left of the month of as_of */
	month = DirectFunctionCall2(timestamptz_trunc, CStringGetTextDatum("month"),
								TimestampTzGetDatum(j->query->as_of));
	for (i = 0; i < nmonths; i++)
	{
		Interval	one = {0, 0, 1};

		months[i] = DirectFunctionCall1(timestamptz_date, month);
		month = DirectFunctionCall2(timestamptz_pl_interval, month, IntervalPGetDatum(&one));
		horizon[i] = days_between(j->query->as_of, DatumGetTimestampTz(month));
	}

	ngroups = j->query->nby == 0 ? 1 : j->ngroups;
	groups = palloc_extended(ngroups * sizeof(OneGroup), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (j->query->nby == 0)
	{
		groups[0].visits = palloc0(j->query->nfunnel * sizeof(Visits));
		groups[0].open = palloc0(j->query->nfunnel * sizeof(OpenLeads));
	}
	for (l = 0; l < j->nleads; l++)
	{
		const LsLead *lead = &j->leads[l];
		OneGroup	   *g = &groups[lead->group];

		if ((l & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!ls_lead_counts(j, lead))
			continue;
		if (g->visits == NULL)
		{
			g->visits = palloc0(j->query->nfunnel * sizeof(Visits));
			g->open = palloc0(j->query->nfunnel * sizeof(OpenLeads));
		}
		learn_from(j, l, g);
	}
	for (l = 0; l < ngroups; l++)
	{
		uint32		g = j->query->nby == 0 ? 0 : j->group_order[l];

		if (groups[g].visits != NULL)
			forecast_group(&row, j, j->query->nby == 0 ? NULL : j->groups[g], &groups[g],
						   horizon, months, nmonths, resamples, seed);
	}
	PG_RETURN_NULL();
}
