/*
 * score_enter.h
 *	  Many scores entered into one index of class score_ops.
 */
#ifndef LS_SCORE_ENTER_H
#define LS_SCORE_ENTER_H

#include "leadscore.h"

#include "nodes/execnodes.h"
#include "storage/itemptr.h"

typedef struct LsScoreEntering LsScoreEntering;

/* Allocated in the current memory context; the index stays the caller's to close. */
extern LsScoreEntering *ls_score_enter_begin(Relation heap, Relation index, IndexInfo *info);

/*
 * Scores come best in the order of the index, as its sort support abbreviates them.
 * Their bytes stay the caller's, and have to stay until the next flush.
 */
extern void ls_score_enter(LsScoreEntering *entering, Datum score, ItemPointer tid);

/* All that came is in the index from here on. */
extern void ls_score_enter_flush(LsScoreEntering *entering);

#endif							/* LS_SCORE_ENTER_H */
