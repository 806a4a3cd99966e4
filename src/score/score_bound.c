/*
 * score_bound.c
 *	  Spans of scores without the server: the order of elements, and the bounds
 *	  of a total.
 *
 * Why a span made today is right at every instant. Take one component, with
 * half-life h. An element (v, at) is worth
 *
 *		w(t) = v * 2^((at - t) / h) = sign(v) * 2^(r - t / h),
 *		r    = log2 |v| + at / h
 *
 * at instant t, and t enters only as the factor 2^(-t/h), which all elements
 * share. So the order of the elements, by sign and then by r (downwards where
 * v < 0), is the order of their worths at every t, past and future, and the
 * worth of any element of a set lies between those of the set's smallest and
 * largest element. Clamping to [lo, hi] and adding keep <=, and hence
 *
 *		total(s, t) <= clamp(sum over i of clamp(w of high[i] at t, lo, hi), LO, HI)
 *
 * for every score s of the set, and the same downwards. No score needs a second
 * look when time passes.
 *
 * Why this holds to the last bit, with the rounding of doubles:
 *
 * 1. Elements are compared by r computed as a whole number and a fraction in
 *	  [0, 1) (score_element_rank), a function of the element alone. It is a total
 *	  order, so the largest of a set does not depend on the order of comparing,
 *	  and nothing drifts however many unions are made. The fraction is off by
 *	  less than 1e-15: an element not above another truly exceeds it by a factor
 *	  of at most 1 + 1.4e-15.
 * 2. score_age computes the worth from x = elapsed / half_life, three
 *	  roundings, and |x| <= 2200 or else the result is 0 or +-DBL_MAX, whatever
 *	  the value. So x is off by less than 7.4e-13, 2^x by a factor of less than
 *	  1 + 5.2e-13, and a denormal result by less than DBL_MIN. That happens
 *	  once for the bound and once for the score.
 * 3. The bound adds AGEING_SLACK (1e-11) of itself and DBL_MIN to what the
 *	  largest element contributes: more than the 1.1e-12 of 1. and 2. together.
 *	  So it is not below the contribution of any score as computed.
 * 4. From there score_total's own steps follow, in its own order: clamp, then
 *	  rounded and saturated additions, then clamp. Each is monotone, rounding
 *	  included, and a sum of larger terms is not smaller.
 *
 * A component that does not age needs no slack: its elements are their values.
 */
#include "score_bound.h"

#include <float.h>
#include <math.h>

#define AGEING_SLACK	1e-11

/* ----------------------------------------------------------------
 *		The order of elements
 * ----------------------------------------------------------------
 */

/*
 * at / half_life is split by integer division, so that no digit of an instant
 * is lost where the half-life is short: 10,000 years are 3e11 half-lives of a
 * second, which leaves a double 5 digits for the fraction.
 *
 * Where nothing ages, elements rank by value: exponent and mantissa.
 */
ScoreRank
score_element_rank(ScoreElement e, int64_t half_life)
{
	ScoreRank	r = {(e.value > 0.0) - (e.value < 0.0), 0, 0.0};
	int			exponent;
	double		mantissa;
	int64_t		rest;

	if (r.sign == 0)
		return r;
	mantissa = frexp(fabs(e.value), &exponent); /* in [0.5, 1) */
	if (half_life == 0)
	{
		r.whole = exponent;
		r.fraction = mantissa;
		return r;
	}
	rest = e.at % half_life;
	r.whole = e.at / half_life + exponent;
	if (rest < 0)
	{
		rest += half_life;
		r.whole--;
	}
	r.fraction = (double) rest / (double) half_life + log2(mantissa);
	if (r.fraction < 0.0)
	{
		r.fraction += 1.0;
		r.whole--;
	}
	/* either sum may have been rounded up to 1 */
	if (r.fraction >= 1.0)
	{
		r.fraction -= 1.0;
		r.whole++;
	}
	return r;
}

int
score_rank_compare(const ScoreRank *a, const ScoreRank *b)
{
	if (a->sign != b->sign)
		return a->sign > b->sign ? 1 : -1;
	if (a->whole != b->whole)
		return a->whole > b->whole ? a->sign : -a->sign;
	if (a->fraction != b->fraction)
		return a->fraction > b->fraction ? a->sign : -a->sign;
	return 0;
}

/* ----------------------------------------------------------------
 *		Bounds
 * ----------------------------------------------------------------
 */

/* What an element of component c contributes at t, widened outwards (sign +1 or -1). */
static inline double
widened_contribution(const ScoreComponent *c, ScoreElement e, int64_t t, double sign)
{
	double		v = e.value;

	if (c->half_life != 0 && v != 0.0)
	{
		v = score_age(v, t - e.at, c->half_life);
		v = score_saturate(v + sign * (fabs(v) * AGEING_SLACK + DBL_MIN));
	}
	return score_clamp(v, c->lo, c->hi);
}

static double
widened_total(const Score *shape, const ScoreElement *e, int64_t t, double sign)
{
	double		sum = widened_contribution(&shape->c[0], e[0], t, sign);

	/* score_total's steps, in its order: that is part of the proof above */
	for (int i = 1; i < shape->n; i++)
		sum = score_saturate(sum + widened_contribution(&shape->c[i], e[i], t, sign));
	return score_clamp(sum, shape->lo, shape->hi);
}

double
score_span_upper(const ScoreSpan *span, int64_t t)
{
	if (span->single)
		return score_total(&span->shape, t);
	return widened_total(&span->shape, span->high, t, 1.0);
}

double
score_span_lower(const ScoreSpan *span, int64_t t)
{
	if (span->single)
		return score_total(&span->shape, t);
	return widened_total(&span->shape, span->low, t, -1.0);
}
