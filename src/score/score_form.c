/*
 * score_form.c
 *	  The bytes of a score in tables and indexes, those of spans included.
 *
 * The layout is told in score_core.h and score_bound.h. A reader checks the
 * length that the flags imply before it reads a number, and refuses each number
 * that a shorter form could hold: a score has one encoding, and equality and
 * hash may look at the bytes alone.
 *
 * Numbers lie at any alignment and are read with memcpy. The widths of a shape
 * are the same in all rows of a table, so the branches on them are foreseen.
 */
#include "score_form.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define HOUR	(3600 * SCORE_USEC_PER_SEC)

/* What the numbers of a component's shape take: a table by its flags. */
#define WITH_HALF_LIFE(n)	(n), (n) + 2, (n) + 4, (n) + 8
#define WITH_LO(n)			WITH_HALF_LIFE(n), WITH_HALF_LIFE(n), WITH_HALF_LIFE((n) + 2), WITH_HALF_LIFE((n) + 8)

static inline size_t
shape_bytes(unsigned flags)
{
	static const uint8_t bytes[SHAPE_BITS + 1] = {WITH_LO(0), WITH_LO(1), WITH_LO(2), WITH_LO(8)};

	return bytes[flags & SHAPE_BITS];
}

static inline bool
is_int16(double v)
{
	/* -0 is one too */
	return v >= INT16_MIN && v <= INT16_MAX && (double) (int) v == v;
}

static inline bool
is_float(double v)
{
	return fabs(v) <= FLT_MAX && (double) (float) v == v;
}

/* ----------------------------------------------------------------
 *		Writing the compact form
 * ----------------------------------------------------------------
 */

#define PUT(p, type, v) \
	do { \
		type		put_ = (type) (v); \
\
		memcpy(p, &put_, sizeof(type)); \
		p += sizeof(type); \
	} while (0)

static inline unsigned char *
put_half_life(unsigned char *p, int64_t half_life, unsigned *flags)
{
	if (half_life == 0)
		*flags = HALF_LIFE_NONE;
	else if (half_life % HOUR == 0 && half_life / HOUR <= UINT16_MAX)
	{
		*flags = HALF_LIFE_HOURS;
		PUT(p, uint16_t, half_life / HOUR);
	}
	else if (half_life % SCORE_USEC_PER_SEC == 0 && half_life / SCORE_USEC_PER_SEC <= UINT32_MAX)
	{
		*flags = HALF_LIFE_SECONDS;
		PUT(p, uint32_t, half_life / SCORE_USEC_PER_SEC);
	}
	else
	{
		*flags = HALF_LIFE_MICROSECONDS;
		PUT(p, int64_t, half_life);
	}
	return p;
}

/* Adds to the flags. */
static inline unsigned char *
put_bounds(unsigned char *p, double lo, double hi, unsigned *flags)
{
	if (lo == 0.0)
		*flags |= LO_ZERO << LO_SHIFT;
	else if (is_int16(lo))
	{
		*flags |= LO_INT16 << LO_SHIFT;
		PUT(p, int16_t, lo);
	}
	else if (lo >= -DBL_MAX)
	{
		*flags |= LO_DOUBLE << LO_SHIFT;
		PUT(p, double, lo);
	}

	if (hi > DBL_MAX)
		return p;
	if (!is_int16(hi))
	{
		*flags |= HI_DOUBLE << HI_SHIFT;
		PUT(p, double, hi);
	}
	else if (hi >= 0.0 && hi <= UINT8_MAX)
	{
		*flags |= HI_UINT8 << HI_SHIFT;
		PUT(p, uint8_t, hi);
	}
	else
	{
		*flags |= HI_INT16 << HI_SHIFT;
		PUT(p, int16_t, hi);
	}
	return p;
}

/* Head, flags and the numbers of the shape; the forms of values are still to be added. */
static inline unsigned char *
put_shape(unsigned char *buf, const Score *s)
{
	unsigned char *p = buf + 1 + s->n;
	unsigned	head = HEAD_VERSION_1 | (unsigned) (s->n - 1);
	unsigned	flags = 0;

	if (isfinite(s->lo) || isfinite(s->hi))
	{
		unsigned char *total = p;

		head |= HEAD_TOTAL;
		p = put_bounds(p + 1, s->lo, s->hi, &flags);
		*total = (unsigned char) flags;
	}
	buf[0] = (unsigned char) head;
	for (int i = 0; i < s->n; i++)
	{
		p = put_half_life(p, s->c[i].half_life, &flags);
		p = put_bounds(p, s->c[i].lo, s->c[i].hi, &flags);
		buf[1 + i] = (unsigned char) flags;
	}
	return p;
}

static inline enum ValueForm
value_form(double v)
{
	if (is_int16(v))
		return v >= INT8_MIN && v <= INT8_MAX ? VALUE_INT8 : VALUE_INT16;
	return is_float(v) ? VALUE_FLOAT : VALUE_DOUBLE;
}

static inline enum ElementForm
element_form(double value, int64_t at)
{
	if (value != 0.0)
		return ELEMENT_WHOLE;
	return at != 0 ? ELEMENT_INSTANT : ELEMENT_ZERO;
}

static inline unsigned char *
put_value(unsigned char *p, double v, unsigned form)
{
	switch (form)
	{
		case VALUE_INT8:
			PUT(p, int8_t, v);
			break;
		case VALUE_INT16:
			PUT(p, int16_t, v);
			break;
		case VALUE_FLOAT:
			PUT(p, float, v);
			break;
		default:
			PUT(p, double, v);
	}
	return p;
}

static inline unsigned char *
put_element(unsigned char *p, double value, int64_t at, unsigned form)
{
	if (form == ELEMENT_WHOLE)
		PUT(p, double, value);
	if (form != ELEMENT_ZERO)
		PUT(p, int64_t, at);
	return p;
}

static size_t
encode_native(const Score *s, unsigned char *buf)
{
	unsigned char *p = put_shape(buf, s);

	for (int i = 0; i < s->n; i++)
	{
		const ScoreComponent *c = &s->c[i];
		unsigned	form;

		if (c->half_life != 0)
		{
			form = element_form(c->value, c->at);
			p = put_element(p, c->value, c->at, form);
		}
		else
		{
			form = value_form(c->value);
			p = put_value(p, c->value, form);
		}
		buf[1 + i] |= (unsigned char) (form << VALUE_SHIFT);
	}
	return (size_t) (p - buf);
}

size_t
score_encode(const Score *s, unsigned char *buf, ScoreForm form)
{
	return form == SCORE_NATIVE ? encode_native(s, buf) : score_send(s, buf);
}

/* ----------------------------------------------------------------
 *		Reading the compact form
 * ----------------------------------------------------------------
 */

static inline ScoreStatus
get_half_life(const unsigned char **bytes, unsigned flags, int64_t *half_life)
{
	const unsigned char *p = *bytes;

	switch (flags & HALF_LIFE_BITS)
	{
		case HALF_LIFE_NONE:
			*half_life = 0;
			return SCORE_OK;
		case HALF_LIFE_HOURS:
			GET(p, uint16_t, *half_life);
			if (*half_life == 0)
				return SCORE_BAD_HALF_LIFE;
			*half_life *= HOUR;
			break;
		case HALF_LIFE_SECONDS:
			{
				uint32_t	seconds;

				GET(p, uint32_t, seconds);
				if (seconds == 0)
					return SCORE_BAD_HALF_LIFE;
				if (seconds % 3600 == 0 && seconds / 3600 <= UINT16_MAX)
					return SCORE_BAD_FORM;
				*half_life = seconds * SCORE_USEC_PER_SEC;
				break;
			}
		default:
			GET(p, int64_t, *half_life);
			if (*half_life < SCORE_MIN_HALF_LIFE || *half_life > SCORE_MAX_HALF_LIFE)
				return SCORE_BAD_HALF_LIFE;
			if (*half_life % SCORE_USEC_PER_SEC == 0 && *half_life / SCORE_USEC_PER_SEC <= UINT32_MAX)
				return SCORE_BAD_FORM;
	}
	*bytes = p;
	return SCORE_OK;
}

/* A bound that is present must be finite: absent is how infinity is written. */
static inline ScoreStatus
get_bounds(const unsigned char **bytes, unsigned flags, double *lo, double *hi)
{
	const unsigned char *p = *bytes;

	switch ((flags & LO_BITS) >> LO_SHIFT)
	{
		case LO_NONE:
			*lo = -INFINITY;
			break;
		case LO_ZERO:
			*lo = 0.0;
			break;
		case LO_INT16:
			GET(p, int16_t, *lo);
			if (*lo == 0.0)
				return SCORE_BAD_FORM;
			break;
		default:
			GET(p, double, *lo);
			if (!isfinite(*lo))
				return SCORE_BAD_BOUNDS;
			if (is_int16(*lo))
				return SCORE_BAD_FORM;
	}
	switch ((flags & HI_BITS) >> HI_SHIFT)
	{
		case HI_NONE:
			*hi = INFINITY;
			break;
		case HI_UINT8:
			GET(p, uint8_t, *hi);
			break;
		case HI_INT16:
			GET(p, int16_t, *hi);
			if (*hi >= 0.0 && *hi <= UINT8_MAX)
				return SCORE_BAD_FORM;
			break;
		default:
			GET(p, double, *hi);
			if (!isfinite(*hi))
				return SCORE_BAD_BOUNDS;
			if (is_int16(*hi))
				return SCORE_BAD_FORM;
	}
	*bytes = p;
	return *lo <= *hi ? SCORE_OK : SCORE_BAD_BOUNDS;
}

size_t
score_shape_size(const unsigned char *buf, size_t len)
{
	size_t		size;
	int			n;

	if (len < 1 || (buf[0] & HEAD_VERSION) != HEAD_VERSION_1)
		return 0;
	n = (buf[0] & HEAD_COUNT) + 1;
	size = 1 + (size_t) n;
	if (len < size + ((buf[0] & HEAD_TOTAL) != 0))
		return 0;
	if (buf[0] & HEAD_TOTAL)
	{
		/* not there at all where there is no bound */
		if ((buf[size] & BOUND_BITS) == 0 || (buf[size] & ~BOUND_BITS) != 0)
			return 0;
		size += 1 + shape_bytes(buf[size]);
	}
	for (int i = 1; i <= n; i++)
		size += shape_bytes(buf[i]);
	return size <= len ? size : 0;
}

bool
score_same_shape(const unsigned char *a, const unsigned char *b, size_t size)
{
	int			n = (a[0] & HEAD_COUNT) + 1;
	unsigned	difference = (unsigned) (a[0] ^ b[0]) & ~HEAD_SPAN;

	for (int i = 1; i <= n; i++)
		difference |= (unsigned) (a[i] ^ b[i]) & SHAPE_BITS;
	return difference == 0 && memcmp(a + 1 + n, b + 1 + n, size - 1 - n) == 0;
}

/*
 * Begin to read: the bounds of the total, and where the numbers of the shape and
 * the values begin. Of values each component has one or (a span) two; that all
 * numbers are there and nothing else is, is checked here.
 */
static inline ScoreStatus
get_total(const unsigned char *buf, size_t len, size_t elements, Score *s,
		  const unsigned char **numbers, const unsigned char **values)
{
	size_t		size = score_shape_size(buf, len);
	int			n;

	if (size == 0)
		return SCORE_BAD_FORM;
	*values = buf + size;
	n = (buf[0] & HEAD_COUNT) + 1;
	for (int i = 1; i <= n; i++)
		size += elements * value_bytes(buf[i]);
	if (len != size)
		return SCORE_BAD_FORM;

	s->n = n;
	*numbers = buf + 1 + n;
	if (buf[0] & HEAD_TOTAL)
	{
		unsigned	flags = *(*numbers)++;

		return get_bounds(numbers, flags, &s->lo, &s->hi);
	}
	s->lo = -INFINITY;
	s->hi = INFINITY;
	return SCORE_OK;
}

/* One score; low and high, if given, get its elements too. */
static inline ScoreStatus
decode_native(const unsigned char *buf, size_t len, Score *s, ScoreElement *low, ScoreElement *high)
{
	const unsigned char *p;
	const unsigned char *v;
	ScoreStatus status;

	if (len > 0 && (buf[0] & HEAD_SPAN))
		return SCORE_BAD_FORM;
	status = get_total(buf, len, 1, s, &p, &v);
	if (status != SCORE_OK)
		return status;
	for (int i = 0; i < s->n; i++)
	{
		ScoreComponent *c = &s->c[i];
		unsigned	flags = buf[1 + i];
		unsigned	form = flags >> VALUE_SHIFT;
		double		value;
		int64_t		at = 0;

		status = get_half_life(&p, flags, &c->half_life);
		if (status != SCORE_OK)
			return status;
		status = get_bounds(&p, flags, &c->lo, &c->hi);
		if (status != SCORE_OK)
			return status;
		if ((flags & HALF_LIFE_BITS) != HALF_LIFE_NONE)
		{
			v = get_element(v, form, &value, &at);
			if (!isfinite(value))
				return SCORE_BAD_NUMBER;
			if (!score_instant_is_valid(at))
				return SCORE_BAD_INSTANT;
			/* -0 is refused by this as well */
			if (element_form(value, at) != form)
				return SCORE_BAD_FORM;
		}
		else
		{
			v = get_value(v, form, &value);
			if (form != VALUE_INT8)
			{
				if (!isfinite(value))
					return SCORE_BAD_NUMBER;
				if (value_form(value) != form)
					return SCORE_BAD_FORM;
			}
		}
		c->value = value;
		c->at = at;
		if (low != NULL)
		{
			low[i].value = high[i].value = value;
			low[i].at = high[i].at = at;
		}
	}
	return SCORE_OK;
}

ScoreStatus
score_decode(const unsigned char *buf, size_t len, ScoreForm form, Score *s)
{
	return form == SCORE_NATIVE ? decode_native(buf, len, s, NULL, NULL) : score_receive(buf, len, s);
}

bool
score_span_decode(const unsigned char *buf, size_t len, ScoreSpan *span)
{
	const unsigned char *p;
	const unsigned char *v;
	Score	   *shape = &span->shape;

	span->single = len == 0 || (buf[0] & HEAD_SPAN) == 0;
	if (span->single)
		return decode_native(buf, len, shape, span->low, span->high) == SCORE_OK;
	if (get_total(buf, len, 2, shape, &p, &v) != SCORE_OK)
		return false;
	for (int i = 0; i < shape->n; i++)
	{
		ScoreComponent *c = &shape->c[i];
		unsigned	flags = buf[1 + i];
		unsigned	form = flags >> VALUE_SHIFT;

		if (get_half_life(&p, flags, &c->half_life) != SCORE_OK ||
			get_bounds(&p, flags, &c->lo, &c->hi) != SCORE_OK)
			return false;
		if (c->half_life != 0)
		{
			if (form == ELEMENT_UNUSED)
				return false;
			v = get_element(v, form, &span->low[i].value, &span->low[i].at);
			v = get_element(v, form, &span->high[i].value, &span->high[i].at);
		}
		else
		{
			v = get_value(v, form, &span->low[i].value);
			v = get_value(v, form, &span->high[i].value);
			span->low[i].at = span->high[i].at = 0;
		}
		c->value = span->low[i].value;
		c->at = span->low[i].at;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		Keys of one shape
 * ----------------------------------------------------------------
 */

bool
score_shape_decode(const unsigned char *buf, size_t len, ScoreShape *shape)
{
	unsigned char *bytes = (unsigned char *) shape->bytes;
	unsigned char *mask = (unsigned char *) shape->mask;
	ScoreSpan	span;

	shape->size = 0;
	if (!score_span_decode(buf, len, &span))
		return false;
	shape->score = span.shape;
	shape->size = score_shape_size(buf, len);
	memset(bytes, 0, sizeof(shape->bytes));
	memset(mask, 0, sizeof(shape->mask));
	memset(mask, 0xFF, shape->size);
	memcpy(bytes, buf, shape->size);
	mask[0] = (unsigned char) ~HEAD_SPAN;
	memset(mask + 1, SHAPE_BITS, (size_t) span.shape.n);
	for (int i = 0; i <= span.shape.n; i++)
		bytes[i] &= mask[i];
	return true;
}

bool
score_shape_matches(const ScoreShape *shape, const unsigned char *buf, size_t len)
{
	return shape_matches(shape, buf, len);
}

bool
score_elements_decode(const ScoreShape *shape, const unsigned char *buf, size_t len, ScoreElements *e)
{
	const unsigned char *p = buf + shape->size;
	const unsigned char *end = buf + len;
	bool		span;

	if (!shape_matches(shape, buf, len))
		return false;
	span = is_span(buf);
	e->single = !span;
	for (int i = 0; i < shape->score.n; i++)
	{
		unsigned	flags = buf[1 + i];
		unsigned	form = flags >> VALUE_SHIFT;

		if ((size_t) (end - p) < value_bytes(flags) << span)
			return false;
		if ((flags & HALF_LIFE_BITS) != HALF_LIFE_NONE)
		{
			p = get_element(p, form, &e->low[i].value, &e->low[i].at);
			if (span)
				p = get_element(p, form, &e->high[i].value, &e->high[i].at);
		}
		else
		{
			p = get_value(p, form, &e->low[i].value);
			e->low[i].at = 0;
			if (span)
			{
				p = get_value(p, form, &e->high[i].value);
				e->high[i].at = 0;
			}
		}
	}
	return p == end;
}

size_t
score_elements_encode(const ScoreShape *shape, const ScoreElements *e, unsigned char *buf)
{
	unsigned char *p = buf + shape->size;
	const ScoreElement *high = score_elements_high(e);

	memcpy(buf, shape->bytes, shape->size);
	buf[0] |= HEAD_SPAN;
	for (int i = 0; i < shape->score.n; i++)
	{
		unsigned	low_form;
		unsigned	form;

		if (shape->score.c[i].half_life != 0)
		{
			low_form = element_form(e->low[i].value, e->low[i].at);
			form = element_form(high[i].value, high[i].at);
			form = low_form > form ? low_form : form;
			p = put_element(p, e->low[i].value, e->low[i].at, form);
			p = put_element(p, high[i].value, high[i].at, form);
		}
		else
		{
			low_form = value_form(e->low[i].value);
			form = value_form(high[i].value);
			form = low_form > form ? low_form : form;
			p = put_value(p, e->low[i].value, form);
			p = put_value(p, high[i].value, form);
		}
		buf[1 + i] |= (unsigned char) (form << VALUE_SHIFT);
	}
	return (size_t) (p - buf);
}

ScoreStatus
score_add_in_place(unsigned char *buf, size_t len, double value, int64_t at, int64_t half_life)
{
	const unsigned char *p = buf + 2;
	unsigned char *sum;
	ScoreComponent c;
	ScoreStatus status;

	if (len < 2 || buf[0] != HEAD_VERSION_1 || (buf[1] & ~HALF_LIFE_BITS) != ELEMENT_WHOLE << VALUE_SHIFT ||
		len != 2 + shape_bytes(buf[1]) + 16)
		return SCORE_SHAPES_DIFFER;
	if (get_half_life(&p, buf[1], &c.half_life) != SCORE_OK || c.half_life == 0 || c.half_life != half_life)
		return SCORE_SHAPES_DIFFER;
	sum = buf + (p - buf);
	get_element(p, ELEMENT_WHOLE, &c.value, &c.at);
	status = score_component_add(&c, value, at);
	if (status != SCORE_OK)
		return status;
	/* zero has another form */
	if (c.value == 0.0)
		return SCORE_SHAPES_DIFFER;
	put_element(sum, c.value, c.at, ELEMENT_WHOLE);
	return SCORE_OK;
}
