/*
 * score_core.h
 *	  The ageing score without the server: what it is, how it ages, adds up,
 *	  is parsed, printed, encoded and decoded.
 *
 * No backend header is included here or in the .c files behind it, so that they
 * can be fuzzed with libFuzzer and the sanitizers. Nothing here allocates or
 * throws: failures are returned as ScoreStatus, and the caller reports them.
 *
 * A score is 1..8 components. At an instant t a component contributes
 *
 *		clamp(value * 2 ^ -((t - at) / half_life), lo, hi)
 *
 * (a component without half-life: clamp(value, lo, hi)), and the score's total
 * is clamp(sum of the contributions, total_lo, total_hi).
 *
 * The shape of a score is everything but the values and instants: the number of
 * components, their half-lives and bounds, and the bounds of the total. Scores
 * of one shape can be added; the GiST operator class indexes one shape.
 */
#ifndef LS_SCORE_CORE_H
#define LS_SCORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCORE_MAX_COMPONENTS	8

/* Instants and spans are microseconds; instants count from 2000-01-01 UTC. */
#define SCORE_USEC_PER_SEC		INT64_C(1000000)
#define SCORE_MIN_HALF_LIFE		SCORE_USEC_PER_SEC					/* 1 second */
#define SCORE_MAX_HALF_LIFE		(INT64_C(31557600000) * SCORE_USEC_PER_SEC) /* 1000 Julian years */
#define SCORE_MIN_INSTANT		INT64_C(-63082281600000000)			/* 0001-01-01 */
#define SCORE_END_INSTANT		INT64_C(252455616000000000)			/* 10000-01-01, exclusive */

typedef struct ScoreComponent
{
	double		value;			/* finite; never -0 */
	int64_t		at;				/* instant at which value held; 0 if it does not age */
	int64_t		half_life;		/* 0: does not age */
	double		lo;				/* -INFINITY: none */
	double		hi;				/* +INFINITY: none; lo <= hi */
} ScoreComponent;

typedef struct Score
{
	int			n;				/* 1 .. SCORE_MAX_COMPONENTS */
	double		lo;				/* bounds of the total, infinite: none */
	double		hi;
	ScoreComponent c[SCORE_MAX_COMPONENTS];
} Score;

#endif							/* LS_SCORE_CORE_H */
