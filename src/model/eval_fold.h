/*
 * eval_fold.h
 *	  Points of events summed per lead, in memory: a table by key that holds for
 *	  each lead the value of each component, and what rules with limits gave.
 */
#ifndef LS_EVAL_FOLD_H
#define LS_EVAL_FOLD_H

#include "leadscore.h"

#include "model/model.h"

/* Integer keys are one word; uuid takes two. */
#define LS_FOLD_KEY_WORDS	2

typedef struct LsFoldKey
{
	uint64		word[LS_FOLD_KEY_WORDS];
} LsFoldKey;

typedef struct LsFold LsFold;

extern LsFold *ls_fold_create(const LsModel *model, int key_words, Size budget);
extern void ls_fold_know_keys(LsFold *fold, int64 least, int64 largest);
extern void ls_fold_free(LsFold *fold);
extern bool ls_fold_next_range(LsFold *fold);
extern bool ls_fold_in_range(const LsFold *fold, LsFoldKey key);
extern void ls_fold_add(LsFold *fold, LsFoldKey key, TimestampTz at, const double *points);
extern void ls_fold_add_limited(LsFold *fold, LsFoldKey key, TimestampTz at, int rule, double points);
extern void ls_fold_finish(LsFold *fold);
extern void ls_fold_get(LsFold *fold, LsFoldKey key, Score *score);
extern int	ls_fold_passes(const LsFold *fold);

#endif							/* LS_EVAL_FOLD_H */
