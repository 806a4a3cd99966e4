/*
 * score_fall.h
 *	  When ageing alone takes a score under a threshold, without the server.
 */
#ifndef LS_SCORE_FALL_H
#define LS_SCORE_FALL_H

#include "score_core.h"

typedef enum ScoreFall
{
	SCORE_FALLS_AT,				/* *at is set */
	SCORE_FALLS_NEVER,			/* not below before the year 10000 */
	SCORE_FALLS_BEFORE			/* below from its latest instant on, for good */
} ScoreFall;

extern ScoreFall score_falls_below(const Score *s, double threshold, int64_t *at);

#endif							/* LS_SCORE_FALL_H */
