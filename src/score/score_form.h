/*
 * score_form.h
 *	  The native form of a score, for those who read its bytes: score_form.c, and
 *	  score_place.c where a row is compared with every key of a page.
 *
 * The layout is told in score_core.h and score_bound.h.
 */
#ifndef LS_SCORE_FORM_H
#define LS_SCORE_FORM_H

#include <string.h>

#include "score_bound.h"

/* The head: byte 0. */
#define HEAD_COUNT		0x07	/* components - 1 */
#define HEAD_SPAN		0x08
#define HEAD_TOTAL		0x10	/* a byte of flags for the bounds of the total follows */
#define HEAD_VERSION	0xE0
#define HEAD_VERSION_1	0x20

/* The flags of a component, and in the same places those of the total. */
#define HALF_LIFE_BITS	0x03
#define LO_BITS			0x0C
#define HI_BITS			0x30
#define SHAPE_BITS		(HALF_LIFE_BITS | LO_BITS | HI_BITS)
#define BOUND_BITS		(LO_BITS | HI_BITS)
#define LO_SHIFT		2
#define HI_SHIFT		4
#define VALUE_SHIFT		6

enum HalfLifeForm
{
	HALF_LIFE_NONE,
	HALF_LIFE_HOURS,			/* uint16 */
	HALF_LIFE_SECONDS,			/* uint32 */
	HALF_LIFE_MICROSECONDS		/* int64 */
};

enum LoForm
{
	LO_NONE,
	LO_ZERO,					/* by far the commonest: no bytes */
	LO_INT16,
	LO_DOUBLE
};

enum HiForm
{
	HI_NONE,
	HI_UINT8,
	HI_INT16,
	HI_DOUBLE
};

/* of what does not age; both ends of a span have the wider one's form */
enum ValueForm
{
	VALUE_INT8,
	VALUE_INT16,
	VALUE_FLOAT,
	VALUE_DOUBLE
};

/*
 * Of what ages. Values other than zero have one width, whatever they are, so
 * that sums can be kept in place.
 */
enum ElementForm
{
	ELEMENT_ZERO,				/* value and instant are zero: no bytes */
	ELEMENT_INSTANT,			/* the value is zero */
	ELEMENT_UNUSED,
	ELEMENT_WHOLE
};

static inline size_t
value_bytes(unsigned flags)
{
	static const uint8_t bytes[2][4] = {{1, 2, 4, 8}, {0, 8, 8, 16}};

	return bytes[(flags & HALF_LIFE_BITS) != HALF_LIFE_NONE][flags >> VALUE_SHIFT];
}

#define GET(p, type, v) \
	do { \
		type		get_; \
\
		memcpy(&get_, p, sizeof(type)); \
		p += sizeof(type); \
		(v) = get_; \
	} while (0)

static inline const unsigned char *
get_value(const unsigned char *p, unsigned form, double *v)
{
	switch (form)
	{
		case VALUE_INT8:
			GET(p, int8_t, *v);
			break;
		case VALUE_INT16:
			GET(p, int16_t, *v);
			break;
		case VALUE_FLOAT:
			GET(p, float, *v);
			break;
		default:
			GET(p, double, *v);
	}
	return p;
}

static inline const unsigned char *
get_element(const unsigned char *p, unsigned form, double *value, int64_t *at)
{
	*value = 0.0;
	*at = 0;
	if (form == ELEMENT_WHOLE)
		GET(p, double, *value);
	if (form != ELEMENT_ZERO)
		GET(p, int64_t, *at);
	return p;
}

/* Has each component of a key two elements, or a score's one? */
static inline bool
is_span(const unsigned char *buf)
{
	return (buf[0] & HEAD_SPAN) != 0;
}

/* score_shape_matches, eight bytes at a time where the values that follow allow it. */
static inline bool
shape_matches(const ScoreShape *shape, const unsigned char *buf, size_t len)
{
	size_t		words = (shape->size + 7) / 8;
	uint64_t	difference = 0;

	if (len < 8 * words)
		return len >= shape->size &&
			score_same_shape((const unsigned char *) shape->bytes, buf, shape->size);
	for (size_t i = 0; i < words; i++)
	{
		uint64_t	word;

		memcpy(&word, buf + 8 * i, 8);
		difference |= (word ^ shape->bytes[i]) & shape->mask[i];
	}
	return difference == 0;
}

#endif							/* LS_SCORE_FORM_H */
