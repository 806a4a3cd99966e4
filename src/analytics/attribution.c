/*
 * attribution.c
 *	  Who gets the credit for a client: touch_credits() divides 1 among the
 *	  touches of one client; markov_removal() finds what the clients would lose if
 *	  a channel were not there.
 *
 * Credits are numerics of nine digits that add up to 1 exactly, in any order.
 */
#include "report.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include <math.h>

PG_FUNCTION_INFO_V1(leadscore_touch_credits);
PG_FUNCTION_INFO_V1(leadscore_markov_removal);

#define CREDIT_UNITS	1000000000
#define CREDIT_DIGITS	9
#define MAX_CHANNELS	300

/* ---------- dividing 1 ---------- */

/* The last touch at or before an instant; the first touch if all came later */
static int
touch_before(const TimestampTz *at, int n, TimestampTz when)
{
	int			i = 0;

	while (i + 1 < n && at[i + 1] <= when)
		i++;
	return i;
}

/* Share of what is left over goes to the touches with none of the key roles. */
static void
spread_rest(double *w, const bool *key, int n, double rest)
{
	int			others = 0,
				i;

	for (i = 0; i < n; i++)
		others += !key[i];
	for (i = 0; i < n; i++)
	{
		if (others == 0)
			w[i] /= 1 - rest;	/* all have a role: they share the rest as they share */
		else if (!key[i])
			w[i] += rest / others;
	}
}

/*
 * touch_credits(model, at[], entered, opportunity, half_life, weights[])
 * -> numeric[], one for each touch; at is in order. Weights are used by the model
 * "weights" alone. What rounding leaves goes to the touch with the largest share.
 */
Datum
leadscore_touch_credits(PG_FUNCTION_ARGS)
{
	char	   *model;
	ArrayType  *at_array;
	TimestampTz *at;
	bool	   *key;
	double	   *w;
	double		sum = 0;
	Datum	   *result;
	int64	   *units;
	int64		left = CREDIT_UNITS;
	int			n,
				best = 0,
				i;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	at_array = PG_GETARG_ARRAYTYPE_P(1);
	n = ArrayGetNItems(ARR_NDIM(at_array), ARR_DIMS(at_array));
	if (ARR_NDIM(at_array) > 1 || array_contains_nulls(at_array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instants of the touches must be an array of one dimension without NULL")));
	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(NUMERICOID));
	at = (TimestampTz *) ARR_DATA_PTR(at_array);
	w = palloc0(n * sizeof(double));
	key = palloc0(n * sizeof(bool));

	if (strcmp(model, "first") == 0)
		w[0] = 1;
	else if (strcmp(model, "last") == 0)
		w[n - 1] = 1;
	else if (strcmp(model, "linear") == 0)
		for (i = 0; i < n; i++)
			w[i] = 1;
	else if (strcmp(model, "u") == 0)
	{
		key[0] = key[n - 1] = true;
		w[0] += 0.4;
		w[n - 1] += 0.4;
		spread_rest(w, key, n, 0.2);
	}
	else if (strcmp(model, "w") == 0)
	{
		/* first contact, becoming a lead, becoming an opportunity */
		int			entered = PG_ARGISNULL(2) ? 0 : touch_before(at, n, PG_GETARG_TIMESTAMPTZ(2));
		int			opportunity = PG_ARGISNULL(3) ? n - 1 : touch_before(at, n, PG_GETARG_TIMESTAMPTZ(3));

		key[0] = key[entered] = key[opportunity] = true;
		w[0] += 0.3;
		w[entered] += 0.3;
		w[opportunity] += 0.3;
		spread_rest(w, key, n, 0.1);
	}
	else if (strcmp(model, "decay") == 0)
	{
		Interval   *half_life;
		double		usecs;

		if (PG_ARGISNULL(4))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("time decay needs a half-life")));
		half_life = PG_GETARG_INTERVAL_P(4);
		usecs = half_life->time + half_life->day * (double) USECS_PER_DAY +
			half_life->month * (DAYS_PER_MONTH * (double) USECS_PER_DAY);
		if (!(usecs > 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the half-life must be positive")));

		/* relative to the last touch: as good as to the conversion, and never all 0 */
		for (i = 0; i < n; i++)
			w[i] = exp2(((double) at[i] - (double) at[n - 1]) / usecs);
	}
	else if (strcmp(model, "weights") == 0)
	{
		Datum	   *elems;
		bool	   *nulls;
		int			nweights;

		if (PG_ARGISNULL(5))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the model \"weights\" needs weights")));
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(5), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &elems, &nulls, &nweights);
		if (nweights != n)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("%d weights for %d touches", nweights, n)));
		for (i = 0; i < n; i++)
		{
			w[i] = nulls[i] ? 0 : DatumGetFloat8(elems[i]);
			if (!(w[i] >= 0) || isinf(w[i]))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("weights must be finite and not negative")));
		}
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a model of attribution", model),
				 errhint("The models are first, last, linear, u, w, decay, markov; here also weights.")));
	for (i = 0; i < n; i++)
		sum += w[i];
	if (!(sum > 0))
	{
		/* no touch has any weight: they are alike */
		for (i = 0; i < n; i++)
			w[i] = 1;
		sum = n;
	}
	units = palloc(n * sizeof(int64));
	for (i = 0; i < n; i++)
	{
		units[i] = (int64) floor(w[i] / sum * CREDIT_UNITS);
		left -= units[i];
		if (w[i] > w[best])
			best = i;
	}
	units[best] += left;
	result = palloc(n * sizeof(Datum));
	for (i = 0; i < n; i++)
		result[i] = NumericGetDatum(int64_div_fast_to_numeric(units[i], CREDIT_DIGITS));
	PG_RETURN_ARRAYTYPE_P(construct_array(result, n, NUMERICOID, -1, false, TYPALIGN_INT));
}

/* ---------- removal effect ---------- */

typedef struct Chain
{
	int			n;				/* channels */
	double	   *p;				/* n * n: from channel to channel */
	double	   *start;			/* from the start to each channel */
	double	   *conv;			/* from each channel to conversion */
} Chain;

/*
 * The chance of conversion from the start, with one channel taken out (-1: none):
 * whoever would have come to it does not convert. Solves (I - Q) x = conv by
 * elimination with pivoting; a channel that cannot be left (it is never followed
 * by an end) has no chance.
 */
static double
conversion_chance(const Chain *c, int removed)
{
	int			n = c->n;
	double	   *a = palloc(sizeof(double) * n * (n + 1));
	double		chance = 0;
	int			i,
				j,
				k;

#define A(i, j) a[(i) * (n + 1) + (j)]
	for (i = 0; i < n; i++)
	{
		for (j = 0; j < n; j++)
			A(i, j) = (i == j) - (i == removed || j == removed ? 0 : c->p[i * n + j]);
		A(i, n) = i == removed ? 0 : c->conv[i];
	}
	for (k = 0; k < n; k++)
	{
		int			pivot = k;

		CHECK_FOR_INTERRUPTS();
		for (i = k + 1; i < n; i++)
			if (fabs(A(i, k)) > fabs(A(pivot, k)))
				pivot = i;
		if (fabs(A(pivot, k)) < 1e-12)
			continue;
		if (pivot != k)
			for (j = k; j <= n; j++)
			{
				double		t = A(k, j);

				A(k, j) = A(pivot, j);
				A(pivot, j) = t;
			}
		for (i = 0; i < n; i++)
		{
			double		f = A(i, k) / A(k, k);

			if (i == k || f == 0)
				continue;
			for (j = k; j <= n; j++)
				A(i, j) -= f * A(k, j);
		}
	}
	for (k = 0; k < n; k++)
		if (k != removed && fabs(A(k, k)) >= 1e-12)
			chance += c->start[k] * (A(k, n) / A(k, k));
#undef A
	pfree(a);
	return chance;
}

static int
channel_number(char **names, int *n, const char *name)
{
	int			i;

	for (i = 0; i < *n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	if (*n == MAX_CHANNELS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d channels", MAX_CHANNELS),
				 errhint("Group them before asking for the removal effect.")));
	names[*n] = pstrdup(name);
	return (*n)++;
}

/*
 * markov_removal(from_channel[], to_channel[], converts[], times[]): transitions
 * counted over all paths. A "from" of NULL is the start of a path, a "to" of NULL
 * its end; converts says of an end whether it was a client.
 */
Datum
leadscore_markov_removal(PG_FUNCTION_ARGS)
{
	LsRow		row;
	Datum	   *from,
			   *to,
			   *times,
			   *converts;
	bool	   *from_null,
			   *to_null,
			   *times_null,
			   *converts_null;
	int			nfrom,
				nto,
				ntimes,
				nconverts,
				i,
				k;
	char	   *names[MAX_CHANNELS];
	Chain		c = {0};
	double	   *out;
	double		started = 0,
				all;
	int		   *f,
			   *t;

	ls_row_begin(&row, fcinfo);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &from, &from_null, &nfrom);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &to, &to_null, &nto);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), BOOLOID, 1, true, TYPALIGN_CHAR, &converts, &converts_null, &nconverts);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &times, &times_null, &ntimes);
	if (nfrom != nto || nfrom != ntimes || nfrom != nconverts)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("the arrays of transitions are not of the same length")));

	f = palloc(Max(nfrom, 1) * sizeof(int));
	t = palloc(Max(nfrom, 1) * sizeof(int));
	for (i = 0; i < nfrom; i++)
	{
		if (times_null[i] || DatumGetInt64(times[i]) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("transitions must be counted, and not negative")));
		f[i] = from_null[i] ? -1 : channel_number(names, &c.n, TextDatumGetCString(from[i]));
		t[i] = to_null[i] ? -1 : channel_number(names, &c.n, TextDatumGetCString(to[i]));
	}
	c.p = palloc0(Max(c.n * c.n, 1) * sizeof(double));
	c.start = palloc0(Max(c.n, 1) * sizeof(double));
	c.conv = palloc0(Max(c.n, 1) * sizeof(double));
	out = palloc0(Max(c.n, 1) * sizeof(double));
	for (i = 0; i < nfrom; i++)
	{
		double		w = (double) DatumGetInt64(times[i]);

		if (f[i] < 0)
		{
			started += w;
			if (t[i] >= 0)
				c.start[t[i]] += w;
			continue;
		}
		out[f[i]] += w;
		if (t[i] >= 0)
			c.p[f[i] * c.n + t[i]] += w;
		else if (!converts_null[i] && DatumGetBool(converts[i]))
			c.conv[f[i]] += w;
	}
	for (i = 0; i < c.n; i++)
	{
		if (started > 0)
			c.start[i] /= started;
		for (k = 0; k < c.n && out[i] > 0; k++)
			c.p[i * c.n + k] /= out[i];
		if (out[i] > 0)
			c.conv[i] /= out[i];
	}
	all = c.n > 0 ? conversion_chance(&c, -1) : 0;
	for (i = 0; i < c.n; i++)
	{
		double		without = conversion_chance(&c, i);

		ls_row_text(&row, names[i]);
		ls_row_datum(&row, Float8GetDatum(all > 0 ? fmin(1, fmax(0, 1 - without / all)) : 0));
		ls_row_datum(&row, Float8GetDatum(all));
		ls_row_datum(&row, Float8GetDatum(without));
		ls_row_put(&row);
	}
	PG_RETURN_NULL();
}
