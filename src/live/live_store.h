/*
 * live_store.h
 *	  One row of a table of stored scores, as live_row.c finds and writes it for
 *	  live_store.c.
 */
#ifndef LS_LIVE_STORE_H
#define LS_LIVE_STORE_H

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"

#include "live/live.h"
#include "score/score.h"

/* A crossing found while scores are written, written down afterwards. */
typedef struct Crossing
{
	Datum		key;
	const char *from;
	const char *to;
	TimestampTz at;
	double		score;
	const char *cause;
	struct Crossing *next;
} Crossing;

typedef struct Store
{
	LiveFold   *fold;
	LiveModel  *live;
	Relation	rel;
	Relation	primary;		/* index */
	LiveIndexes *indexes;
	TupleTableSlot *slot;		/* the row found */
	TupleTableSlot *new_slot;
	TupleTableSlot *dirty_slot; /* made when first used */
	IndexScanDesc scan;
	ScanKeyData key;
	bool		renewed;		/* the snapshot is later than that of the start */
	int			depth;			/* of triggers */
	Crossing   *crossings;		/* newest first */

	/* the row found */
	Datum		lead;			/* its key, in the form in which the lead has it */
	Score		score;
	const char *band;			/* NULL: below all */
	TimestampTz due;			/* DT_NOEND: nothing comes by itself */
	TimestampTz later;
	int			version;
	bool		ours;			/* written by this transaction */
	TimestampTz registered;		/* when cool() will look at it */
	const char *passed;			/* the band that it was in last, of those it went through since */
} Store;

typedef union ScoreBuffer
{
	int32		align;
	char		data[VARHDRSZ + SCORE_MAX_ENCODED];
} ScoreBuffer;

extern void ls_store_begin(Store *store, LiveFold *fold, int depth);
extern void ls_store_end(Store *store);
extern void ls_store_new_snapshot(Store *store);
extern bool ls_store_find(Store *store, Datum key);
extern bool ls_store_lock(Store *store);
extern bool ls_store_is_current(Store *store);
extern Datum ls_store_score(ScoreBuffer *buffer, const Score *score);
extern TM_Result ls_store_update(Store *store, Datum score, const char *band);
extern TM_Result ls_store_delete(Store *store);
extern bool ls_store_insert(Store *store, Datum key, const Score *score);

#endif							/* LS_LIVE_STORE_H */
