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

typedef struct ScoreSpan
{
	bool		single;			/* one score: low = high, shape.c holds it whole */
	Score		shape;			/* of a span of several, values and instants are not set */
	ScoreElement low[SCORE_MAX_COMPONENTS];
	ScoreElement high[SCORE_MAX_COMPONENTS];
} ScoreSpan;

/*
 * The stored form. A span of one score is that score's own stored form; else
 *
 *	byte 0		0x81
 *	then		head as of a score: count and total bounds, flags per component
 *	then		[total lo] [total hi], and per component
 *				low value [low at] high value [high at] [half_life] [lo] [hi]
 *
 * always in native order. score_span_decode checks lengths, so that it never
 * reads beyond the bytes given, but not values: what it reads was written by
 * score_encode and score_span_encode.
 */
#define SCORE_SPAN_VERSION		0x81
#define SCORE_SPAN_MAX_ENCODED	(2 + SCORE_MAX_COMPONENTS + 8 * (2 + 7 * SCORE_MAX_COMPONENTS))

extern bool score_span_decode(const unsigned char *buf, size_t len, ScoreSpan *span);
extern size_t score_span_encode(const ScoreSpan *span, unsigned char *buf);

/* Widen a to hold b too; the shapes must be the same. */
extern void score_span_extend(ScoreSpan *a, const ScoreSpan *b);

/* No score of the span totals more than this at instant t, nor less. */
extern double score_span_upper(const ScoreSpan *span, int64_t t);
extern double score_span_lower(const ScoreSpan *span, int64_t t);

/* Does the span hold b, component by component (the invariant, for checks)? */
extern bool score_span_contains(const ScoreSpan *span, const ScoreSpan *b);

/* Order of two elements with one half-life (0: none), the same at every instant. */
extern int	score_element_compare(ScoreElement a, ScoreElement b, int64_t half_life);

/* About log2 |value| + at / half_life, or the value where nothing ages: good enough to measure with. */
extern double score_element_measure(ScoreElement e, int64_t half_life);

/*
 * Clustering: nothing below changes an answer, only how many pages are read.
 */

/* What each component contributes at instant t, from its least to its greatest. */
extern void score_span_extent(const ScoreSpan *span, int64_t t, double *low, double *high);

/* How much a, at instant t, would have to grow to hold b; >= 0, and 0 if not at all. */
extern float score_span_penalty(const ScoreSpan *a, const ScoreSpan *b, int64_t t);

/*
 * A place on a Z-order curve through the contributions at instant t.
 */
typedef struct ScorePlace
{
	int			n;
	uint32_t	x[SCORE_MAX_COMPONENTS];
} ScorePlace;

extern void score_place(const Score *s, int64_t t, ScorePlace *place);
extern int	score_place_compare(const ScorePlace *a, const ScorePlace *b);
extern uint64_t score_place_prefix(const ScorePlace *place);

#endif							/* LS_SCORE_BOUND_H */
