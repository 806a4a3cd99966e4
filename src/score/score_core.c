/*
 * score_core.c
 *	  The ageing score without the server: ageing, algebra, the stored form.
 *
 * Owns the arithmetic and the bytes; the text form is score_text.c's. See
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

/* ----------------------------------------------------------------
 *		The stored form
 * ----------------------------------------------------------------
 */

/* Eight bytes at a time, from and to any alignment. */
static inline uint64_t
swap_if_network(uint64_t bits, ScoreByteOrder order)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (order == SCORE_NETWORK)
		return __builtin_bswap64(bits);
#else
	(void) order;
#endif
	return bits;
}

static inline void
put_int64(unsigned char **p, int64_t v, ScoreByteOrder order)
{
	uint64_t	bits = swap_if_network((uint64_t) v, order);

	memcpy(*p, &bits, 8);
	*p += 8;
}

static inline void
put_double(unsigned char **p, double v, ScoreByteOrder order)
{
	int64_t		bits;

	memcpy(&bits, &v, 8);
	put_int64(p, bits, order);
}

static inline int64_t
get_int64(const unsigned char **p, ScoreByteOrder order)
{
	uint64_t	bits;

	memcpy(&bits, *p, 8);
	*p += 8;
	return (int64_t) swap_if_network(bits, order);
}

static inline double
get_double(const unsigned char **p, ScoreByteOrder order)
{
	int64_t		bits = get_int64(p, order);
	double		v;

	memcpy(&v, &bits, 8);
	return v;
}

static inline unsigned char
component_flags(const ScoreComponent *c)
{
	return (c->half_life != 0 ? SCORE_AGES : 0) |
		(isfinite(c->lo) ? SCORE_LO : 0) |
		(isfinite(c->hi) ? SCORE_HI : 0);
}

/* Fields that a component with these flags has. */
static inline int
component_fields(unsigned char flags)
{
	return 1 + ((flags & SCORE_AGES) ? 2 : 0) + ((flags & SCORE_LO) ? 1 : 0) + ((flags & SCORE_HI) ? 1 : 0);
}

size_t
score_encoded_size(const Score *s)
{
	int			fields = (isfinite(s->lo) ? 1 : 0) + (isfinite(s->hi) ? 1 : 0);

	for (int i = 0; i < s->n; i++)
		fields += component_fields(component_flags(&s->c[i]));
	return 2 + s->n + 8 * (size_t) fields;
}

size_t
score_encode(const Score *s, unsigned char *buf, ScoreByteOrder order)
{
	unsigned char *p = buf;

	*p++ = SCORE_FORM_VERSION;
	*p++ = (unsigned char) (s->n |
							(isfinite(s->lo) ? SCORE_TOTAL_LO : 0) |
							(isfinite(s->hi) ? SCORE_TOTAL_HI : 0));
	for (int i = 0; i < s->n; i++)
		*p++ = component_flags(&s->c[i]);
	if (isfinite(s->lo))
		put_double(&p, s->lo, order);
	if (isfinite(s->hi))
		put_double(&p, s->hi, order);
	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];

		put_double(&p, c->value, order);
		if (c->half_life != 0)
		{
			put_int64(&p, c->at, order);
			put_int64(&p, c->half_life, order);
		}
		if (isfinite(c->lo))
			put_double(&p, c->lo, order);
		if (isfinite(c->hi))
			put_double(&p, c->hi, order);
	}
	return (size_t) (p - buf);
}

/* A bound that is present must be finite: absent is how infinity is written. */
static inline ScoreStatus
get_bound(const unsigned char **p, ScoreByteOrder order, double *bound)
{
	*bound = get_double(p, order);
	return isfinite(*bound) ? SCORE_OK : SCORE_BAD_BOUNDS;
}

ScoreStatus
score_decode(const unsigned char *buf, size_t len, ScoreByteOrder order, Score *s)
{
	const unsigned char *flags;
	const unsigned char *p;
	ScoreStatus status;
	int			fields;
	int			n;

	/* the head first, then the length it implies: no field is read unchecked */
	if (len < 2 || buf[0] != SCORE_FORM_VERSION ||
		(buf[1] & ~(SCORE_COUNT_MASK | SCORE_TOTAL_LO | SCORE_TOTAL_HI)) != 0)
		return SCORE_BAD_FORM;
	n = buf[1] & SCORE_COUNT_MASK;
	if (n < 1 || n > SCORE_MAX_COMPONENTS)
		return SCORE_BAD_COUNT;
	if (len < (size_t) (2 + n))
		return SCORE_BAD_FORM;
	flags = buf + 2;
	fields = ((buf[1] & SCORE_TOTAL_LO) ? 1 : 0) + ((buf[1] & SCORE_TOTAL_HI) ? 1 : 0);
	for (int i = 0; i < n; i++)
	{
		if ((flags[i] & ~(SCORE_AGES | SCORE_LO | SCORE_HI)) != 0)
			return SCORE_BAD_FORM;
		fields += component_fields(flags[i]);
	}
	if (len != 2 + n + 8 * (size_t) fields)
		return SCORE_BAD_FORM;

	p = flags + n;
	s->n = n;
	s->lo = -INFINITY;
	s->hi = INFINITY;
	if ((buf[1] & SCORE_TOTAL_LO) && (status = get_bound(&p, order, &s->lo)) != SCORE_OK)
		return status;
	if ((buf[1] & SCORE_TOTAL_HI) && (status = get_bound(&p, order, &s->hi)) != SCORE_OK)
		return status;
	for (int i = 0; i < n; i++)
	{
		ScoreComponent *c = &s->c[i];

		c->value = get_double(&p, order);
		c->at = 0;
		c->half_life = 0;
		c->lo = -INFINITY;
		c->hi = INFINITY;
		if (flags[i] & SCORE_AGES)
		{
			c->at = get_int64(&p, order);
			c->half_life = get_int64(&p, order);
			if (c->half_life == 0)
				return SCORE_BAD_HALF_LIFE;
		}
		if ((flags[i] & SCORE_LO) && (status = get_bound(&p, order, &c->lo)) != SCORE_OK)
			return status;
		if ((flags[i] & SCORE_HI) && (status = get_bound(&p, order, &c->hi)) != SCORE_OK)
			return status;
		status = check_component(c);
		if (status != SCORE_OK)
			return status;
	}
	return check_bounds(s->lo, s->hi);
}

ScoreStatus
score_add_in_place(unsigned char *buf, size_t len, double value, int64_t at, int64_t half_life)
{
	static const unsigned char head[] = {SCORE_FORM_VERSION, 1, SCORE_AGES};
	ScoreComponent c;
	ScoreStatus status;

	if (len != sizeof(head) + 24 || memcmp(buf, head, sizeof(head)) != 0)
		return SCORE_SHAPES_DIFFER;
	memcpy(&c.half_life, buf + sizeof(head) + 16, 8);
	if (c.half_life != half_life)
		return SCORE_SHAPES_DIFFER;
	memcpy(&c.value, buf + sizeof(head), 8);
	memcpy(&c.at, buf + sizeof(head) + 8, 8);
	status = score_component_add(&c, value, at);
	if (status == SCORE_OK)
	{
		memcpy(buf + sizeof(head), &c.value, 8);
		memcpy(buf + sizeof(head) + 8, &c.at, 8);
	}
	return status;
}
