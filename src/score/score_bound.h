/*
 * score_bound.h
 *	  Spans of scores without the server: what the keys of a GiST index over
 *	  scores hold, and the bounds that make the order of the index right.
 *
 * A span stands for a set of scores of one shape. Per component it keeps the
 * smallest and the largest *element* of the set, an element being what ages: a
 * value and the instant at which it held. score_bound.c explains why two
 * elements with one half-life never change places, and so why the span made
 * today bounds the set at every instant.
 *
 * As score_core.h: no backend header, no allocation, no error thrown.
 */
#ifndef LS_SCORE_BOUND_H
#define LS_SCORE_BOUND_H

#include "score_core.h"

typedef struct ScoreElement
{
	double		value;
	int64_t		at;				/* 0 where the component does not age */
} ScoreElement;

/*
 * Where an element stands among those of its component, at every instant:
 * sign, then whole + fraction (ascending if positive, descending if negative).
 */
typedef struct ScoreRank
{
	int			sign;			/* -1, 0, 1 */
	int64_t		whole;
	double		fraction;		/* in [0, 1) */
} ScoreRank;

typedef struct ScoreSpan
{
	bool		single;			/* one score: low = high, shape.c holds it whole */
	Score		shape;			/* of a span of several, values and instants are the low ones */
	ScoreElement low[SCORE_MAX_COMPONENTS];
	ScoreElement high[SCORE_MAX_COMPONENTS];
} ScoreSpan;

/*
 * The stored form (score_form.c). A span of one score is that score's own native
 * form. Any other begins with the same shape, but for bit 3 of byte 0, and goes on
 * with two elements per component, the low one and the high one: of the forms of
 * a score's value, both have the wider. Always in native order.
 *
 * score_span_decode checks lengths and shape, so that it never reads beyond the
 * bytes given; not the elements of a span, which score_elements_encode wrote.
 */
#define SCORE_SPAN_MAX_ENCODED	(2 + SCORE_MAX_COMPONENTS + 8 * (2 + 7 * SCORE_MAX_COMPONENTS))

extern bool score_span_decode(const unsigned char *buf, size_t len, ScoreSpan *span);

/*
 * Keys of one index have one shape. Who reads many of them takes the shape of one,
 * and of the others only the elements, of which low alone is set where the key is
 * a single score. score_elements_decode is false where the key has another shape,
 * or is damaged; it reads no further than the bytes given.
 */
#define SCORE_SHAPE_WORDS		28	/* 224 bytes, of 218 at most */

typedef struct ScoreShape
{
	size_t		size;			/* of its bytes; 0: none yet */
	Score		score;			/* values are those of the key it was taken from */
	uint64_t	bytes[SCORE_SHAPE_WORDS];
	uint64_t	mask[SCORE_SHAPE_WORDS];	/* bits that are the shape's */
} ScoreShape;

typedef struct ScoreElements
{
	bool		single;
	ScoreElement low[SCORE_MAX_COMPONENTS];
	ScoreElement high[SCORE_MAX_COMPONENTS];
} ScoreElements;

static inline const ScoreElement *
score_elements_high(const ScoreElements *e)
{
	return e->single ? e->low : e->high;
}

extern bool score_shape_decode(const unsigned char *buf, size_t len, ScoreShape *shape);
extern bool score_shape_matches(const ScoreShape *shape, const unsigned char *buf, size_t len);
extern bool score_elements_decode(const ScoreShape *shape, const unsigned char *buf, size_t len, ScoreElements *e);

/* The bytes of a span, whether it is that of one score or of several. */
extern size_t score_elements_encode(const ScoreShape *shape, const ScoreElements *e, unsigned char *buf);

extern ScoreRank score_element_rank(ScoreElement e, int64_t half_life);
extern int	score_rank_compare(const ScoreRank *a, const ScoreRank *b);

/* No score of the span totals more than this at instant t, nor less. */
extern double score_span_upper(const ScoreSpan *span, int64_t t);
extern double score_span_lower(const ScoreSpan *span, int64_t t);

#endif							/* LS_SCORE_BOUND_H */
