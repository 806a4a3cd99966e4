/*
 * score_rank.h
 *	  What ranking, the index and its planner support share in the server.
 */
#ifndef LS_SCORE_RANK_H
#define LS_SCORE_RANK_H

#include "score/score.h"
#include "score/score_bound.h"

/*
 * leadscore.level: a threshold and the instant it is meant for, as an index
 * condition needs them in one value. Fixed length, passed by reference.
 */
typedef struct ScoreLevel
{
	float8		threshold;		/* not NaN; may be infinite */
	int64		at;				/* a valid instant */
} ScoreLevel;

#define LS_LEVEL_TYPE			"level"
#define LS_LEVEL_FUNCTION		"level"

/* strategies of the operator class score_ops */
#define LS_REACHES_STRATEGY		1
#define LS_DISTANCE_STRATEGY	15

/* The arguments of reaches() and level(), checked; an error if they are not valid. */
extern ScoreLevel ls_score_level(float8 threshold, TimestampTz at);

/*
 * Keys of the index (score_gist.c). A damaged key is an error, and so are two
 * keys of different shapes; the size of a new key includes its header.
 */
extern void ls_span_from_datum(Datum datum, ScoreSpan *span);
extern Datum ls_span_to_datum(const ScoreSpan *span, int *size);
extern void ls_check_one_shape(const Score *held, const Score *other);

#endif							/* LS_SCORE_RANK_H */
