/*
 * stats.c
 *	  Wilson's interval, quantiles, Kaplan-Meier with Greenwood's variance.
 *
 * Includes no backend header, allocates nothing and cannot fail.
 */
#include "stats.h"

#include <math.h>

/*
 * Half of the confidence lies on each side of zero: erf(z / sqrt 2) = confidence.
 * Bisection, since it is exact to the last bit and runs once per report.
 */
double
ls_normal_quantile(double confidence)
{
	double		lo = 0,
				hi = 40;
	int			i;

	for (i = 0; i < 200; i++)
	{
		double		mid = (lo + hi) / 2;

		/* erfc keeps its digits where erf has come to 1 */
		if (erfc(mid / sqrt(2.0)) > 1 - confidence)
			lo = mid;
		else
			hi = mid;
	}
	return (lo + hi) / 2;
}

LsInterval
ls_wilson(double successes, double total, double z)
{
	double		p = successes / total;
	double		z2 = z * z;
	double		center = (p + z2 / (2 * total)) / (1 + z2 / total);
	double		half = z / (1 + z2 / total) *
		sqrt(p * (1 - p) / total + z2 / (4 * total * total));
	LsInterval	r;

	/* exactly 0 and 1 at the ends, where rounding would leave a trace */
	r.low = successes <= 0 ? 0 : fmax(0, center - half);
	r.high = successes >= total ? 1 : fmin(1, center + half);
	return r;
}

double
ls_quantile(const double *sorted, size_t n, double p)
{
	double		pos = p * (double) (n - 1);
	size_t		i = (size_t) floor(pos);

	if (i + 1 >= n)
		return sorted[n - 1];
	return sorted[i] + (pos - (double) i) * (sorted[i + 1] - sorted[i]);
}

/*
 * S falls by the factor 1 - d/n at each end; Greenwood: Var S = S^2 sum d/(n(n-d)).
 * The interval is S exp(+-z sqrt(sum)), which cannot go below 0, cut at 1. Where
 * everybody left has ended, S is 0 and the variance is not defined: NaN.
 */
size_t
ls_kaplan_meier(const LsSpan *spans, size_t n, LsSurvivalStep *steps)
{
	size_t		nsteps = 0;
	size_t		i = 0;
	double		survival = 1;
	double		sum = 0;

	while (i < n)
	{
		LsSurvivalStep *step;
		size_t		at_risk = n - i;
		size_t		ended = 0;
		double		days = spans[i].days;

		if (!spans[i].ended)
		{
			/* censored: before the first end, it only leaves the risk set */
			if (nsteps > 0)
				steps[nsteps - 1].censored++;
			i++;
			continue;
		}
		while (i < n && spans[i].ended && spans[i].days == days)
		{
			ended++;
			i++;
		}
		survival *= 1 - (double) ended / (double) at_risk;
		step = &steps[nsteps++];
		step->days = days;
		step->at_risk = at_risk;
		step->ended = ended;
		step->censored = 0;
		step->survival = survival;
		if (ended < at_risk)
		{
			double		root;

			sum += (double) ended / ((double) at_risk * (double) (at_risk - ended));
			root = sqrt(sum);
			step->std_error = survival * root;
			step->low = survival * exp(-LS_Z95 * root);
			step->high = fmin(1, survival * exp(LS_Z95 * root));
		}
		else
		{
			step->survival = survival = 0;
			step->std_error = step->low = step->high = NAN;
		}
	}
	return nsteps;
}

/*
 * Survival of exactly p (to rounding) counts as "at most p". S is a product of
 * fractions; 1e-12 is far above its rounding and far below 1/n.
 */
#define KM_EPSILON 1e-12

double
ls_km_quantile(const LsSurvivalStep *steps, size_t n, double p)
{
	size_t		i;

	for (i = 0; i < n; i++)
		if (steps[i].survival <= p + KM_EPSILON)
			return steps[i].days;
	return NAN;
}

/* Where the lower bound of the curve falls to p: the earliest it may be */
double
ls_km_low_quantile(const LsSurvivalStep *steps, size_t n, double p)
{
	size_t		i;

	for (i = 0; i < n; i++)
		if (isnan(steps[i].low) ? steps[i].survival <= p : steps[i].low <= p + KM_EPSILON)
			return steps[i].days;
	return NAN;
}

/* Where the upper bound of the curve falls to p: the latest it may be, NaN if open */
double
ls_km_high_quantile(const LsSurvivalStep *steps, size_t n, double p)
{
	size_t		i;

	for (i = 0; i < n; i++)
		if (!isnan(steps[i].high) && steps[i].high <= p + KM_EPSILON)
			return steps[i].days;
	return NAN;
}
