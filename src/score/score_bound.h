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

	/* set by score_span_rank, for those who compare spans */
	ScoreRank	low_rank[SCORE_MAX_COMPONENTS];
	ScoreRank	high_rank[SCORE_MAX_COMPONENTS];
} ScoreSpan;

/*
 * The stored form (score_form.c). A span of one score is that score's own native
 * form. Any other begins with the same shape, but for bit 3 of byte 0, and goes on
 * with two elements per component, the low one and the high one: of the forms of
 * a score's value, both have the wider. Always in native order.
 *
 * score_span_decode checks lengths and shape, so that it never reads beyond the
 * bytes given; not the elements of a span, which score_span_encode wrote.
 */
#define SCORE_SPAN_MAX_ENCODED	(2 + SCORE_MAX_COMPONENTS + 8 * (2 + 7 * SCORE_MAX_COMPONENTS))

extern bool score_span_decode(const unsigned char *buf, size_t len, ScoreSpan *span);
extern size_t score_span_encode(const ScoreSpan *span, unsigned char *buf);

/*
 * Ranks are a second step, since searches need none. The functions that compare
 * spans demand that both are ranked, and that their shapes are the same.
 */
extern ScoreRank score_element_rank(ScoreElement e, int64_t half_life);
extern int	score_rank_compare(const ScoreRank *a, const ScoreRank *b);
extern double score_rank_measure(const ScoreRank *r);	/* as one number, rounded */
extern void score_span_rank(ScoreSpan *span);

/* Widen a to hold b too. */
extern void score_span_extend(ScoreSpan *a, const ScoreSpan *b);

/* Does a hold b, component by component (the invariant, for checks)? */
extern bool score_span_contains(const ScoreSpan *a, const ScoreSpan *b);

/* No score of the span totals more than this at instant t, nor less. */
extern double score_span_upper(const ScoreSpan *span, int64_t t);
extern double score_span_lower(const ScoreSpan *span, int64_t t);

/*
 * Clustering: nothing below changes an answer, only how many pages are read.
 */

/* What each component contributes at an instant, from its least to its greatest. */
typedef struct ScoreExtent
{
	double		low[SCORE_MAX_COMPONENTS];
	double		high[SCORE_MAX_COMPONENTS];
} ScoreExtent;

extern void score_span_extent(const ScoreSpan *span, int64_t t, ScoreExtent *extent);

/*
 * How much a span with extent held would have to grow to hold one with extent
 * added: in points, and where that is 0, in half-lives. Never below 0.
 */
extern float score_penalty(const ScoreExtent *held, const ScoreExtent *added, int n);
extern float score_hidden_penalty(const ScoreSpan *held, const ScoreSpan *added);

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
