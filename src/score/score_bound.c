/*
 * score_bound.c
 *	  Spans of scores without the server: the order of elements, the bounds of
 *	  a total, and the measures by which an index clusters scores.
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
 *		Spans
 * ----------------------------------------------------------------
 */

void
score_span_rank(ScoreSpan *span)
{
	for (int i = 0; i < span->shape.n; i++)
	{
		int64_t		half_life = span->shape.c[i].half_life;

		span->low_rank[i] = score_element_rank(span->low[i], half_life);
		span->high_rank[i] = span->single ? span->low_rank[i] :
			score_element_rank(span->high[i], half_life);
	}
}

void
score_span_extend(ScoreSpan *a, const ScoreSpan *b)
{
	for (int i = 0; i < a->shape.n; i++)
	{
		if (score_rank_compare(&b->low_rank[i], &a->low_rank[i]) < 0)
		{
			a->low[i] = b->low[i];
			a->low_rank[i] = b->low_rank[i];
		}
		if (score_rank_compare(&b->high_rank[i], &a->high_rank[i]) > 0)
		{
			a->high[i] = b->high[i];
			a->high_rank[i] = b->high_rank[i];
		}
	}
	a->single = false;
}

bool
score_span_contains(const ScoreSpan *a, const ScoreSpan *b)
{
	for (int i = 0; i < a->shape.n; i++)
	{
		if (score_rank_compare(&b->low_rank[i], &a->low_rank[i]) < 0 ||
			score_rank_compare(&b->high_rank[i], &a->high_rank[i]) > 0)
			return false;
	}
	return true;
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

/* ----------------------------------------------------------------
 *		Clustering
 *
 * What a search for the highest totals pays for is the slack of the pages'
 * bounds: how far the sum of the largest contributions is above the totals on
 * the page. That is measured in points at the instant asked for, after clamping
 * (a component far above its cap is worth its cap), and the instants asked for
 * most are near the one at which rows are written. So spans are measured there.
 * ----------------------------------------------------------------
 */

static inline double
contribution(const ScoreComponent *c, ScoreElement e, int64_t t)
{
	double		v = e.value;

	if (c->half_life != 0)
		v = score_age(v, t - e.at, c->half_life);
	return score_clamp(v, c->lo, c->hi);
}

void
score_span_extent(const ScoreSpan *span, int64_t t, ScoreExtent *extent)
{
	for (int i = 0; i < span->shape.n; i++)
	{
		const ScoreComponent *c = &span->shape.c[i];

		extent->low[i] = contribution(c, span->low[i], t);
		extent->high[i] = span->single ? extent->low[i] : contribution(c, span->high[i], t);
	}
}

/*
 * Growth in points comes first. Spans that need not grow now may have to grow
 * where clamping hides it, and would be looser at other instants: among those
 * the smallest growth in half-lives wins. Both in one float: the sign bit is
 * never set, and the bits of a positive float order as integers do, so points
 * are shifted into the upper half of the range and half-lives into the lower.
 */
static float
pack_penalty(double growth, int realm)
{
	union
	{
		float		f;
		uint32_t	bits;
	}			u;

	/* far enough below FLT_MAX that the halves do not meet */
	u.f = (float) (growth < 1e37 ? growth : 1e37);
	u.bits = (u.bits >> 1) + (realm ? UINT32_C(0x3F800000) : 0);
	return u.f;
}

float
score_penalty(const ScoreExtent *held, const ScoreExtent *added, int n)
{
	double		growth = 0.0;

	for (int i = 0; i < n; i++)
	{
		if (added->low[i] < held->low[i])
			growth += held->low[i] - added->low[i];
		if (added->high[i] > held->high[i])
			growth += added->high[i] - held->high[i];
	}
	return growth > 0.0 ? pack_penalty(growth, 1) : 0.0f;
}

double
score_rank_measure(const ScoreRank *r)
{
	return r->sign * ((double) r->whole + r->fraction);
}

float
score_hidden_penalty(const ScoreSpan *held, const ScoreSpan *added)
{
	double		growth = 0.0;

	for (int i = 0; i < held->shape.n; i++)
	{
		if (score_rank_compare(&added->low_rank[i], &held->low_rank[i]) < 0)
			growth += fabs(score_rank_measure(&held->low_rank[i]) - score_rank_measure(&added->low_rank[i]));
		if (score_rank_compare(&added->high_rank[i], &held->high_rank[i]) > 0)
			growth += fabs(score_rank_measure(&added->high_rank[i]) - score_rank_measure(&held->high_rank[i]));
	}
	return growth > 0.0 ? pack_penalty(growth, 0) : 0.0f;
}

/*
 * A coordinate: contributions on one scale for all components, so that a cell
 * of the curve is as wide in each. c / (S + |c|) is nearly linear below S and
 * never leaves (-1, 1); S is four times the smallest bound of the shape, or of
 * 100 points where it has none.
 */
static double
place_scale(const Score *s)
{
	double		unit = INFINITY;

	for (int i = 0; i < s->n; i++)
	{
		double		lo = fabs(s->c[i].lo);
		double		hi = fabs(s->c[i].hi);

		if (lo > 0.0 && lo < unit)
			unit = lo;
		if (hi > 0.0 && hi < unit)
			unit = hi;
	}
	if (!isfinite(unit))
		unit = 100.0;
	return 4.0 * (unit < 1.0 ? 1.0 : unit > 1000.0 ? 1000.0 : unit);
}

void
score_place(const Score *s, int64_t t, ScorePlace *place)
{
	double		scale = place_scale(s);

	place->n = s->n;
	for (int i = 0; i < s->n; i++)
	{
		double		c = score_contribution(&s->c[i], t);
		double		x = isfinite(c) ? c / (scale + fabs(c)) : 0.0;

		/* (-1, 1) to 0 .. 2^32 - 1 */
		place->x[i] = (uint32_t) ((x + 1.0) * 2147483647.5);
	}
}

/*
 * Order on the Z-curve without interleaving any bits: the component whose
 * coordinates differ in the highest bit decides, the first of equals.
 */
int
score_place_compare(const ScorePlace *a, const ScorePlace *b)
{
	int			decides = 0;
	uint32_t	highest = 0;

	for (int i = 0; i < a->n; i++)
	{
		uint32_t	difference = a->x[i] ^ b->x[i];

		/* is its highest bit above that of highest? */
		if (difference > highest && (difference ^ highest) > highest)
		{
			highest = difference;
			decides = i;
		}
	}
	return (a->x[decides] > b->x[decides]) - (a->x[decides] < b->x[decides]);
}

/*
 * The first 64 bits on the curve, bit by bit from the highest of each
 * coordinate: unsigned comparison of prefixes never contradicts
 * score_place_compare.
 */
uint64_t
score_place_prefix(const ScorePlace *place)
{
	uint64_t	prefix = 0;
	int			bits = 0;

	for (int bit = 31; bit >= 0; bit--)
	{
		for (int i = 0; i < place->n; i++)
		{
			if (bits == 64)
				return prefix;
			prefix = prefix << 1 | (place->x[i] >> bit & 1);
			bits++;
		}
	}
	/* one component: 32 bits are all there is */
	return prefix << (64 - bits);
}
