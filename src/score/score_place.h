/*
 * score_place.h
 *	  Where an index puts scores, without the server: how keys of one shape are
 *	  measured at an instant, widened, and laid on a curve.
 *
 * But for score_elements_extend and what it stands on, nothing here changes an
 * answer, only how many pages are read; so worths and logarithms are computed to
 * six and three digits, by few instructions. As score_core.h: no backend header,
 * no allocation, no error thrown.
 */
#ifndef LS_SCORE_PLACE_H
#define LS_SCORE_PLACE_H

#include "score_bound.h"

/* What the keys of one shape are measured with. */
typedef struct ScaleComponent
{
	int64_t		half_life;		/* 0: does not age */
	double		per_usec;		/* half-lives in a microsecond */
	double		lo;				/* finite */
	double		hi;
} ScaleComponent;

typedef struct ScoreScale
{
	int			n;
	int			nages;			/* components that age */
	int64_t		now;			/* the instant of all measures */
	double		unit;			/* of the curve's coordinates */
	ScaleComponent c[SCORE_MAX_COMPONENTS];
} ScoreScale;

extern void score_scale_init(ScoreScale *scale, const Score *shape, int64_t now);

/* What an element contributes now, nearly. */
extern double score_nearly_worth(const ScaleComponent *c, ScoreElement e, int64_t now);

/*
 * The logarithm of what an element is worth now, in half-lives: within
 * SCORE_NEARLY / 2 of the truth. 0 for a value of 0, and where nothing ages.
 */
#define SCORE_NEARLY	1e-3
extern double score_nearly_log(const ScaleComponent *c, ScoreElement e, int64_t now);

/*
 * Order of two elements of a component, as score_rank_compare has it: -1, 0, 1.
 * Logarithms decide where they can; ranks, which cost more, where they cannot.
 */
extern int	score_element_order_by_rank(const ScaleComponent *c, const ScoreElement *a, const ScoreElement *b);

static inline int
score_element_order(const ScaleComponent *c, const ScoreElement *a, double log_a,
					const ScoreElement *b, double log_b)
{
	double		d = log_a - log_b;

	if (c->half_life == 0)
		return (a->value > b->value) - (a->value < b->value);
	if (d >= -SCORE_NEARLY && d <= SCORE_NEARLY)
		return score_element_order_by_rank(c, a, b);
	if (a->value > 0.0 && b->value > 0.0)
		return d > 0.0 ? 1 : -1;
	if (a->value < 0.0 && b->value < 0.0)
		return d > 0.0 ? -1 : 1;
	return (a->value > b->value) - (a->value < b->value);
}

/* Widen a to hold b too: component by component the lower and the higher element. */
extern void score_elements_extend(const ScoreScale *scale, ScoreElements *a, const ScoreElements *b);

/* Does a hold b, component by component (the invariant, for checks)? */
extern bool score_elements_contain(const ScoreScale *scale, const ScoreElements *a, const ScoreElements *b);

/* The elements of a key with their measures, for one that is compared with many. */
typedef struct ScoreMeasured
{
	ScoreElements e;
	double		least[SCORE_MAX_COMPONENTS];	/* contributions now, a trace narrower */
	double		most[SCORE_MAX_COMPONENTS];
	double		low_log[SCORE_MAX_COMPONENTS];
	double		high_log[SCORE_MAX_COMPONENTS];
} ScoreMeasured;

extern void score_measure(const ScoreScale *scale, ScoreMeasured *m);	/* from m->e */

/*
 * How much a key would have to grow to hold another: in points, now, and where
 * that is nothing, in half-lives. Never below 0. What is more points than enough
 * need not be told in full; a smaller number of points becomes what is enough.
 * The key is read on the way; false as score_elements_decode has it.
 */
extern bool score_penalty(const ScoreShape *shape, const ScoreScale *scale,
						  const unsigned char *buf, size_t len, const ScoreMeasured *added,
						  double *enough, float *penalty);

/*
 * A place on a Z-order curve through the contributions now. The prefix has the
 * same number of bits of each coordinate, in the high bits: unsigned comparison of
 * prefixes never contradicts score_place_compare.
 */
typedef struct ScorePlace
{
	int			n;
	uint32_t	x[SCORE_MAX_COMPONENTS];
} ScorePlace;

typedef struct ScoreCurve
{
	int			n;
	int			bits;			/* of each coordinate in a prefix */
	uint64_t	spread[256];	/* a byte's bits, n apart */
} ScoreCurve;

extern void score_place(const ScoreScale *scale, const ScoreElements *e, ScorePlace *place);
extern int	score_place_compare(const ScorePlace *a, const ScorePlace *b);
extern void score_curve_init(ScoreCurve *curve, int n, int prefix_bits);
extern uint64_t score_place_prefix(const ScoreCurve *curve, const ScorePlace *place);

#endif							/* LS_SCORE_PLACE_H */
