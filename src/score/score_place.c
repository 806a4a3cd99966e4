/*
 * score_place.c
 *	  Where an index puts scores, without the server: penalty, union and the
 *	  curve of a sorted build. What is measured, and why so.
 *
 * What a search for the highest totals pays for is the slack of the pages'
 * bounds: how far the sum of the largest contributions is above the totals on
 * the page. That is measured in points at the instant asked for, after clamping
 * (a component far above its cap is worth its cap), and the instants asked for
 * most are near the one at which rows are written. So keys are measured there.
 *
 * A row is measured against every key of every page on its way down, and a
 * build measures each row several times; nobody needs many digits of it.
 */
#include "score_place.h"
#include "score_form.h"

#include <math.h>
#include <string.h>

void
score_scale_init(ScoreScale *scale, const Score *shape, int64_t now)
{
	double		unit = INFINITY;

	scale->n = shape->n;
	scale->now = now;
	scale->nages = 0;
	for (int i = 0; i < shape->n; i++)
	{
		const ScoreComponent *from = &shape->c[i];
		ScaleComponent *c = &scale->c[i];
		double		lo = fabs(from->lo);
		double		hi = fabs(from->hi);

		c->half_life = from->half_life;
		c->per_usec = from->half_life != 0 ? 1.0 / (double) from->half_life : 0.0;
		scale->nages += from->half_life != 0;
		/* clamping to these saturates as well */
		c->lo = from->lo < -DBL_MAX ? -DBL_MAX : from->lo;
		c->hi = from->hi > DBL_MAX ? DBL_MAX : from->hi;
		if (lo > 0.0 && lo < unit)
			unit = lo;
		if (hi > 0.0 && hi < unit)
			unit = hi;
	}

	/*
	 * The curve has one scale for all components, so that a cell of it is as wide
	 * in each: four times the smallest bound, or 100 points where there is none.
	 */
	if (!isfinite(unit))
		unit = 100.0;
	scale->unit = 4.0 * (unit < 1.0 ? 1.0 : unit > 1000.0 ? 1000.0 : unit);
}

/* ----------------------------------------------------------------
 *		Few digits
 * ----------------------------------------------------------------
 */

/* 2^x to 3e-6 of itself; x is held within what a double can be. */
static inline double
nearly_exp2(double x)
{
	double		whole;
	double		f;
	uint64_t	bits;

	/* written as the processor's minimum and maximum, here and below: no branches */
	x = x < 1022.0 ? x : 1022.0;
	x = x > -1022.0 ? x : -1022.0;
	/* adding and taking away 1.5 * 2^52 rounds to the nearest whole number */
	whole = (x + 0x1.8p52) - 0x1.8p52;
	f = x - whole;				/* in [-0.5, 0.5] */
	f = 0.9999992612078941 + f * (0.6931218102172919 + f * (0.24024745273391843 +
															f * (0.05591789779834839 + f * 0.009570097335193824)));
	memcpy(&bits, &f, 8);
	bits += (uint64_t) (int64_t) whole << 52;
	memcpy(&f, &bits, 8);
	return f;
}

/* log2 of a number above 0, to 1.2e-4. */
static inline double
nearly_log2(double v)
{
	uint64_t	bits;
	int			exponent;
	double		f;

	memcpy(&bits, &v, 8);
	exponent = (int) (bits >> 52);
	if (exponent == 0)
		return log2(v);			/* denormal: it has no mantissa to speak of */
	bits = (bits & UINT64_C(0x000FFFFFFFFFFFFF)) | UINT64_C(0x3FF0000000000000);
	memcpy(&f, &bits, 8);
	f -= 1.0;
	/* exact at both ends, so that it is continuous */
	return (exponent - 1023) + f + f * (1.0 - f) *
		(0.4387253897140886 + f * (-0.23905662724610274 + f * 0.08212915390122977));
}

static inline double
clamp_to(const ScaleComponent *c, double v)
{
	v = v < c->hi ? v : c->hi;
	return v > c->lo ? v : c->lo;
}

static inline double
nearly_aged(const ScaleComponent *c, double v, int64_t at, int64_t now)
{
	return v * nearly_exp2((double) (at - now) * c->per_usec);
}

static inline double
nearly_worth(const ScaleComponent *c, const ScoreElement *e, int64_t now)
{
	return clamp_to(c, c->half_life != 0 ? nearly_aged(c, e->value, e->at, now) : e->value);
}

double
score_nearly_worth(const ScaleComponent *c, ScoreElement e, int64_t now)
{
	return nearly_worth(c, &e, now);
}

/*
 * The time is off by 1.4e-4 half-lives at most: 3e11 of them, with the rounding
 * of three steps.
 */
static inline double
nearly_log(const ScaleComponent *c, const ScoreElement *e, int64_t now)
{
	if (c->half_life == 0 || e->value == 0.0)
		return 0.0;
	return nearly_log2(fabs(e->value)) + (double) (e->at - now) * c->per_usec;
}

double
score_nearly_log(const ScaleComponent *c, ScoreElement e, int64_t now)
{
	return nearly_log(c, &e, now);
}

/* ----------------------------------------------------------------
 *		Order and union
 * ----------------------------------------------------------------
 */

int
score_element_order_by_rank(const ScaleComponent *c, const ScoreElement *a, const ScoreElement *b)
{
	ScoreRank	ra,
				rb;

	if (a->value == b->value && a->at == b->at)
		return 0;
	ra = score_element_rank(*a, c->half_life);
	rb = score_element_rank(*b, c->half_life);
	return score_rank_compare(&ra, &rb);
}

static inline int
element_order(const ScaleComponent *c, const ScoreElement *a, const ScoreElement *b, int64_t now)
{
	return score_element_order(c, a, nearly_log(c, a, now), b, nearly_log(c, b, now));
}

void
score_elements_extend(const ScoreScale *scale, ScoreElements *a, const ScoreElements *b)
{
	const ScoreElement *b_high = score_elements_high(b);

	if (a->single)
	{
		memcpy(a->high, a->low, sizeof(ScoreElement) * scale->n);
		a->single = false;
	}
	for (int i = 0; i < scale->n; i++)
	{
		const ScaleComponent *c = &scale->c[i];

		if (element_order(c, &b->low[i], &a->low[i], scale->now) < 0)
			a->low[i] = b->low[i];
		if (element_order(c, &b_high[i], &a->high[i], scale->now) > 0)
			a->high[i] = b_high[i];
	}
}

bool
score_elements_contain(const ScoreScale *scale, const ScoreElements *a, const ScoreElements *b)
{
	const ScoreElement *a_high = score_elements_high(a);
	const ScoreElement *b_high = score_elements_high(b);

	for (int i = 0; i < scale->n; i++)
	{
		if (element_order(&scale->c[i], &b->low[i], &a->low[i], scale->now) < 0 ||
			element_order(&scale->c[i], &b_high[i], &a_high[i], scale->now) > 0)
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Penalty
 * ----------------------------------------------------------------
 */

void
score_measure(const ScoreScale *scale, ScoreMeasured *m)
{
	const ScoreElement *m_high = score_elements_high(&m->e);

	for (int i = 0; i < scale->n; i++)
	{
		const ScaleComponent *c = &scale->c[i];
		double		low = nearly_worth(c, &m->e.low[i], scale->now);
		double		high = nearly_worth(c, &m_high[i], scale->now);

		/* what two nearly equal elements are worth may differ in the sixth digit */
		m->least[i] = low + fabs(low) * 1e-5;
		m->most[i] = high - fabs(high) * 1e-5;
		m->low_log[i] = nearly_log(c, &m->e.low[i], scale->now);
		m->high_log[i] = nearly_log(c, &m_high[i], scale->now);
	}
}

/* growth that is none, and hides what may be more at other instants */
#define NO_POINTS	2e-9

/*
 * Growth in points comes first. Keys that need not grow now may have to grow
 * where clamping hides it, and would be looser at other instants: among those
 * the smallest growth in half-lives wins. Both in one float: the sign bit is
 * never set, and the bits of a positive float order as integers do, so points
 * are shifted into the upper half of the range and half-lives into the lower.
 */
static float
pack_penalty(double growth, bool points)
{
	float		f;
	uint32_t	bits;

	/* far enough below FLT_MAX that the halves do not meet */
	f = (float) (growth < 1e37 ? growth : 1e37);
	memcpy(&bits, &f, 4);
	bits = (bits >> 1) + (points ? UINT32_C(0x3F800000) : 0);
	memcpy(&f, &bits, 4);
	return f;
}

/*
 * Growth where clamping hides it. What does not age is hidden for ever: nothing
 * is lost by it. A thousandth of a half-life is nothing either.
 */
static float
hidden_penalty(const ScoreScale *scale, const ScoreElements *held, const ScoreMeasured *added)
{
	const ScoreElement *held_high = score_elements_high(held);
	const ScoreElement *added_high = score_elements_high(&added->e);
	double		growth = 0.0;

	for (int i = 0; i < scale->n; i++)
	{
		const ScaleComponent *c = &scale->c[i];
		double		log_held;
		double		d;

		if (c->half_life == 0)
			continue;
		log_held = nearly_log(c, &held->low[i], scale->now);
		d = fabs(log_held - added->low_log[i]);
		if (d > SCORE_NEARLY &&
			score_element_order(c, &added->e.low[i], added->low_log[i], &held->low[i], log_held) < 0)
			growth += d;
		log_held = nearly_log(c, &held_high[i], scale->now);
		d = fabs(log_held - added->high_log[i]);
		if (d > SCORE_NEARLY &&
			score_element_order(c, &added_high[i], added->high_log[i], &held_high[i], log_held) > 0)
			growth += d;
	}
	return growth > 0.0 ? pack_penalty(growth, false) : 0.0f;
}

/* Twice the growth of one component, whose elements contribute low and high. */
static inline double
growth_twice(double low, double high, const ScoreMeasured *added, int i)
{
	double		down = low - added->least[i];
	double		up = added->most[i] - high;

	/* of each the positive part, without a branch that nobody could foresee */
	return (down + fabs(down)) + (up + fabs(up));
}

/*
 * What does not age comes first, since it costs next to nothing, and often tells
 * that another key of the page is the better one.
 */
bool
score_penalty(const ScoreShape *shape, const ScoreScale *scale, const unsigned char *buf, size_t len,
			  const ScoreMeasured *added, double *enough, float *penalty)
{
	const unsigned char *p = buf + shape->size;
	const unsigned char *end = buf + len;
	const unsigned char *ages[SCORE_MAX_COMPONENTS];
	int			component[SCORE_MAX_COMPONENTS];
	int			nages = 0;
	double		growth = 0.0;
	bool		span;

	if (!shape_matches(shape, buf, len))
		return false;
	span = is_span(buf);
	for (int i = 0; i < scale->n; i++)
	{
		unsigned	flags = buf[1 + i];
		size_t		width = value_bytes(flags);

		if ((size_t) (end - p) < width << span)
			return false;
		if (scale->c[i].half_life != 0)
		{
			ages[nages] = p;
			component[nages++] = i;
		}
		else
		{
			double		low;
			double		high;

			get_value(p, flags >> VALUE_SHIFT, &low);
			get_value(span ? p + width : p, flags >> VALUE_SHIFT, &high);
			growth += growth_twice(clamp_to(&scale->c[i], low), clamp_to(&scale->c[i], high), added, i);
		}
		p += width << span;
	}
	if (p != end)
		return false;

	for (int k = 0; k < nages && growth <= *enough; k++)
	{
		int			i = component[k];
		unsigned	flags = buf[1 + i];
		ScoreElement low;
		ScoreElement high;

		get_element(ages[k], flags >> VALUE_SHIFT, &low.value, &low.at);
		get_element(span ? ages[k] + value_bytes(flags) : ages[k], flags >> VALUE_SHIFT, &high.value, &high.at);
		growth += growth_twice(nearly_worth(&scale->c[i], &low, scale->now),
							   nearly_worth(&scale->c[i], &high, scale->now), added, i);
	}
	if (growth < *enough)
		*enough = growth;
	if (growth > NO_POINTS)
		*penalty = pack_penalty(growth * 0.5, true);
	else if (scale->nages == 0)
		*penalty = 0.0f;
	else
	{
		ScoreElements held;

		if (!score_elements_decode(shape, buf, len, &held))
			return false;
		*penalty = hidden_penalty(scale, &held, added);
	}
	return true;
}

/* ----------------------------------------------------------------
 *		The curve
 * ----------------------------------------------------------------
 */

void
score_place(const ScoreScale *scale, const ScoreElements *e, ScorePlace *place)
{
	place->n = scale->n;
	for (int i = 0; i < scale->n; i++)
	{
		/* nearly linear below the unit, and never out of (-1, 1) */
		double		c = nearly_worth(&scale->c[i], &e->low[i], scale->now);
		double		x = c / (scale->unit + fabs(c));

		/* to 0 .. 2^32 - 1 */
		place->x[i] = (uint32_t) (int64_t) ((x + 1.0) * 2147483647.5);
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

void
score_curve_init(ScoreCurve *curve, int n, int prefix_bits)
{
	curve->n = n;
	curve->bits = prefix_bits / n < 32 ? prefix_bits / n : 32;
	for (int byte = 0; byte < 256; byte++)
	{
		curve->spread[byte] = 0;
		for (int bit = 0; bit < 8; bit++)
			curve->spread[byte] |= (uint64_t) (byte >> bit & 1) << (bit * n);
	}
}

uint64_t
score_place_prefix(const ScoreCurve *curve, const ScorePlace *place)
{
	uint64_t	prefix = 0;

	for (int i = 0; i < curve->n; i++)
	{
		uint32_t	x = place->x[i] >> (32 - curve->bits);
		uint64_t	spread = 0;

		for (int shift = 0; shift < curve->bits; shift += 8)
			spread |= curve->spread[x >> shift & 255] << (shift * curve->n);
		prefix |= spread << (curve->n - 1 - i);
	}
	return prefix << (64 - curve->bits * curve->n);
}
