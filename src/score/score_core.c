/*
 * score_core.c
 *	  The ageing score without the server: ageing, validity, algebra.
 *
 * Owns the arithmetic; the bytes are score_form.c's and score_network.c's, the
 * text form is score_text.c's. See
 * score_core.h for what a score is and for the rules all of this follows.
 */
#include "score_core.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------
 *		Ageing
 * ----------------------------------------------------------------
 */

/*
 * value * 2^x where 2^x itself may be beyond the range of double while the
 * product is not: scale the mantissa by the fraction first, where nothing can
 * overflow or lose bits (a denormal value would), and by all whole powers last.
 */
static double
scale_far(double value, double x)
{
	double		whole = trunc(x);
	int			exponent;

	if (value == 0.0)
		return 0.0;
	/* from the least denormal to beyond DBL_MAX, or the reverse: 2^2098 */
	if (x > 2200.0)
		return value > 0 ? DBL_MAX : -DBL_MAX;
	if (x < -2200.0)
		return 0.0;
	value = frexp(value, &exponent);
	return score_saturate(ldexp(value * exp2(x - whole), exponent + (int) whole));
}

double
score_age(double value, int64_t elapsed, int64_t half_life)
{
	double		x;

	/* common when many events share an instant, and it must be exact */
	if (elapsed == 0)
		return value;
	x = -((double) elapsed / (double) half_life);
	if (fabs(x) > 1000.0)
		return scale_far(value, x);
	return score_saturate(value * exp2(x));
}

double
score_contribution(const ScoreComponent *c, int64_t t)
{
	double		v = c->value;

	if (c->half_life != 0)
		v = score_age(v, t - c->at, c->half_life);
	return score_clamp(v, c->lo, c->hi);
}

double
score_total(const Score *s, int64_t t)
{
	double		sum = score_contribution(&s->c[0], t);

	/*
	 * Saturating step by step, so that no infinity meets another. Each step
	 * grows with what is added, which the bounds of index pages rely on.
	 */
	for (int i = 1; i < s->n; i++)
		sum = score_saturate(sum + score_contribution(&s->c[i], t));
	return score_clamp(sum, s->lo, s->hi);
}

/* ----------------------------------------------------------------
 *		Validity
 * ----------------------------------------------------------------
 */

static inline bool
is_negative_zero(double v)
{
	return v == 0.0 && signbit(v);
}

static inline ScoreStatus
check_bounds(double lo, double hi)
{
	/* written so that NaN fails; lo = +Inf or hi = -Inf would clamp to infinity */
	if (!(lo <= hi) || lo > DBL_MAX || hi < -DBL_MAX)
		return SCORE_BAD_BOUNDS;
	if (is_negative_zero(lo) || is_negative_zero(hi))
		return SCORE_BAD_FORM;
	return SCORE_OK;
}

static inline ScoreStatus
check_component(const ScoreComponent *c)
{
	if (!isfinite(c->value))
		return SCORE_BAD_NUMBER;
	if (is_negative_zero(c->value))
		return SCORE_BAD_FORM;
	if (c->half_life != 0)
	{
		if (c->half_life < SCORE_MIN_HALF_LIFE || c->half_life > SCORE_MAX_HALF_LIFE)
			return SCORE_BAD_HALF_LIFE;
		if (!score_instant_is_valid(c->at))
			return SCORE_BAD_INSTANT;
	}
	else if (c->at != 0)
		return SCORE_BAD_FORM;
	return check_bounds(c->lo, c->hi);
}

ScoreStatus
score_check(const Score *s)
{
	ScoreStatus status;

	if (s->n < 1 || s->n > SCORE_MAX_COMPONENTS)
		return SCORE_BAD_COUNT;
	for (int i = 0; i < s->n; i++)
	{
		status = check_component(&s->c[i]);
		if (status != SCORE_OK)
			return status;
	}
	return check_bounds(s->lo, s->hi);
}

/* ----------------------------------------------------------------
 *		Algebra
 * ----------------------------------------------------------------
 */

/*
 * Add value, which held at instant at, to a component. The sum is kept at the
 * later of the two instants, so that ageing only ever shrinks a term: nothing
 * overflows that does not overflow by itself, and a late event is exact.
 *
 * A zero adds nothing at any instant, and so does not move the instant either:
 * the other term would lose precision for nothing.
 */
ScoreStatus
score_component_add(ScoreComponent *a, double value, int64_t at)
{
	double		sum;

	if (a->half_life == 0 || a->at == at)
		sum = a->value + value;
	else if (value == 0.0 && a->value != 0.0)
		return SCORE_OK;
	else if (a->value == 0.0 && value != 0.0)
	{
		a->value = value;
		a->at = at;
		return SCORE_OK;
	}
	else if (a->at > at)
	{
		sum = a->value + score_age(value, a->at - at, a->half_life);
		at = a->at;
	}
	else
		sum = score_age(a->value, at - a->at, a->half_life) + value;

	if (!isfinite(sum))
		return SCORE_OVERFLOW;
	a->value = sum + 0.0;
	if (a->half_life != 0)
		a->at = at;
	return SCORE_OK;
}

static ScoreStatus
add_signed(Score *a, const Score *b, double sign)
{
	Score		sum = *a;
	int			component;

	if (score_compare_shape(a, b, &component) != SCORE_SAME_SHAPE)
		return SCORE_SHAPES_DIFFER;
	for (int i = 0; i < a->n; i++)
	{
		ScoreStatus status = score_component_add(&sum.c[i], sign * b->c[i].value, b->c[i].at);

		if (status != SCORE_OK)
			return status;
	}
	*a = sum;
	return SCORE_OK;
}

ScoreStatus
score_add(Score *a, const Score *b)
{
	return add_signed(a, b, 1.0);
}

ScoreStatus
score_subtract(Score *a, const Score *b)
{
	return add_signed(a, b, -1.0);
}

/* The values change sign; the bounds belong to the shape and stay. */
void
score_negate(Score *a)
{
	for (int i = 0; i < a->n; i++)
		a->c[i].value = 0.0 - a->c[i].value;
}

/*
 * The components of both, side by side. A bound of the total speaks of all the
 * components of one score; what it should mean in a longer one is not ours to guess.
 */
ScoreStatus
score_concat(Score *a, const Score *b)
{
	if (isfinite(a->lo) || isfinite(a->hi) || isfinite(b->lo) || isfinite(b->hi))
		return SCORE_HAS_TOTAL_BOUNDS;
	if (a->n + b->n > SCORE_MAX_COMPONENTS)
		return SCORE_BAD_COUNT;
	memcpy(&a->c[a->n], b->c, sizeof(ScoreComponent) * b->n);
	a->n += b->n;
	return SCORE_OK;
}

ScoreDifference
score_compare_shape(const Score *a, const Score *b, int *component)
{
	*component = 0;
	if (a->n != b->n)
		return SCORE_DIFFERENT_COUNT;
	for (int i = 0; i < a->n; i++)
	{
		*component = i;
		if (a->c[i].half_life != b->c[i].half_life)
			return SCORE_DIFFERENT_HALF_LIFE;
		if (a->c[i].lo != b->c[i].lo)
			return SCORE_DIFFERENT_LO;
		if (a->c[i].hi != b->c[i].hi)
			return SCORE_DIFFERENT_HI;
	}
	if (a->lo != b->lo)
		return SCORE_DIFFERENT_TOTAL_LO;
	if (a->hi != b->hi)
		return SCORE_DIFFERENT_TOTAL_HI;
	return SCORE_SAME_SHAPE;
}
