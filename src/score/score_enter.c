/*
 * score_enter.c
 *	  Many scores entered into an index of class score_ops, a page at a time.
 *
 * GiST enters each row by a way of its own from the root down, asking for the
 * penalty of every key of every page on it; that is most of the cost of a row. But
 * scores that come in the order of the index go to few pages at a time. So we
 * remember the leaves that the last ones went to, and the keys that their parents
 * have for them: the scores that one of these keys holds gather, and go into its
 * leaf together, in one WAL record. Nothing above it changes: a key that holds
 * them needs no growth, which also is what penalty would say.
 *
 * Whatever is not that simple goes GiST's own way (index_insert): a score that no
 * key holds, one for which its leaf has no room, a tree of one page.
 *
 * What makes it safe beside others: a key above a leaf is only ever widened, but
 * when the leaf is split. A split leaves a number in the leaf (NSN) above the LSN
 * that its parent had when we read the key there; with the leaf locked we look
 * for it, and for a leaf that was deleted, as GiST does on its own way down. A page
 * that was deleted is not used again while our snapshot may need it.
 */
#include "score/score_enter.h"

#include "access/genam.h"
#include "access/gist_private.h"
#include "access/xloginsert.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "score/score_rank.h"

/* Leaves that are remembered, and scores that gather for one: pieces of a WAL record. */
#define LEAVES			16
#define GATHER_MAX		32

typedef struct EnteringLeaf
{
	Buffer		buffer;			/* pinned, not locked; InvalidBuffer: none is remembered here */
	GistNSN		parent_lsn;		/* when its key was read */
	uint64		last_used;
	ScoreMeasured key;
	int			n;
	Datum		scores[GATHER_MAX];
	ItemPointerData tids[GATHER_MAX];
} EnteringLeaf;

struct LsScoreEntering
{
	Relation	heap;
	Relation	index;
	IndexInfo  *info;
	GISTSTATE  *state;
	LsKeyKind	kind;			/* shape.size 0: no score has come yet */
	uint64		uses;
	EnteringLeaf leaves[LEAVES];
};

LsScoreEntering *
ls_score_enter_begin(Relation heap, Relation index, IndexInfo *info)
{
	LsScoreEntering *e = palloc0(sizeof(LsScoreEntering));

	e->heap = heap;
	e->index = index;
	e->info = info;
	e->state = initGISTstate(index);
	e->state->tempCxt = createTempGistContext();
	for (int i = 0; i < LEAVES; i++)
		e->leaves[i].buffer = InvalidBuffer;
	XLogEnsureRecordSpace(0, GATHER_MAX + 8);
	return e;
}

/* ----------------------------------------------------------------
 *		Finding a leaf
 * ----------------------------------------------------------------
 */

/* Does a key hold a score, as score_elements_contain has it? Both are measured. */
static inline bool
holds(const ScoreScale *scale, const ScoreMeasured *key, const ScoreMeasured *score)
{
	const ScoreElement *high = score_elements_high(&key->e);

	for (int i = 0; i < scale->n; i++)
	{
		const ScaleComponent *c = &scale->c[i];

		if (score_element_order(c, &score->e.low[i], score->low_log[i], &key->e.low[i], key->low_log[i]) < 0 ||
			score_element_order(c, &score->e.low[i], score->low_log[i], &high[i], key->high_log[i]) > 0)
			return false;
	}
	return true;
}

/* The same for a key that is not measured: what does not age first, since it costs nothing. */
static bool
key_holds(const ScoreScale *scale, const ScoreElements *key, const ScoreMeasured *score)
{
	const ScoreElement *high = score_elements_high(key);

	for (int i = 0; i < scale->n; i++)
	{
		if (scale->c[i].half_life == 0 &&
			(score->e.low[i].value < key->low[i].value || score->e.low[i].value > high[i].value))
			return false;
	}
	for (int i = 0; i < scale->n; i++)
	{
		const ScaleComponent *c = &scale->c[i];

		if (c->half_life != 0 &&
			(score_element_order(c, &score->e.low[i], score->low_log[i], &high[i],
								 score_nearly_log(c, high[i], scale->now)) > 0 ||
			 score_element_order(c, &score->e.low[i], score->low_log[i], &key->low[i],
								 score_nearly_log(c, key->low[i], scale->now)) < 0))
			return false;
	}
	return true;
}

/* How loose a key is, in points now. */
static double
width(const ScoreScale *scale, const ScoreMeasured *key)
{
	double		sum = 0.0;

	for (int i = 0; i < scale->n; i++)
		sum += key->most[i] - key->least[i];
	return sum;
}

/*
 * Among the keys of an inner page that hold the score, the tightest; its block,
 * or InvalidBlockNumber.
 */
static BlockNumber
choose(LsScoreEntering *e, Page page, const ScoreMeasured *score, ScoreMeasured *chosen)
{
	BlockNumber block = InvalidBlockNumber;
	double		best = 0.0;

	for (OffsetNumber i = FirstOffsetNumber; i <= PageGetMaxOffsetNumber(page); i++)
	{
		IndexTuple	tuple = (IndexTuple) PageGetItem(page, PageGetItemId(page, i));
		bool		isnull;
		Datum		key = index_getattr(tuple, 1, RelationGetDescr(e->index), &isnull);
		ScoreMeasured measured;
		double		loose;

		if (isnull || GistTupleIsInvalid(tuple))
			continue;
		ls_elements_from_datum(&e->kind, key, &measured.e);
		if (!key_holds(&e->kind.scale, &measured.e, score))
			continue;
		score_measure(&e->kind.scale, &measured);
		loose = width(&e->kind.scale, &measured);
		if (block == InvalidBlockNumber || loose < best)
		{
			block = ItemPointerGetBlockNumber(&tuple->t_tid);
			best = loose;
			*chosen = measured;
		}
	}
	return block;
}

/* Was the page split since its parent was read, or is it no longer in the tree? */
static bool
has_moved_on(Page page, GistNSN parent_lsn)
{
	return GistFollowRight(page) || parent_lsn < GistPageGetNSN(page) || GistPageIsDeleted(page);
}

/* A leaf whose key holds the score; false: there is none at hand. */
static bool
find_leaf(LsScoreEntering *e, const ScoreMeasured *score, EnteringLeaf *leaf)
{
	BlockNumber block = GIST_ROOT_BLKNO;
	GistNSN		parent_lsn = 0;

	for (;;)
	{
		Buffer		buffer = ReadBuffer(e->index, block);
		Page		page;
		GistNSN		lsn;

		LockBuffer(buffer, GIST_SHARE);
		gistcheckpage(e->index, buffer);
		page = BufferGetPage(buffer);
		lsn = BufferGetLSNAtomic(buffer);
		if (block == GIST_ROOT_BLKNO ? GistPageIsLeaf(page) : has_moved_on(page, parent_lsn))
		{
			UnlockReleaseBuffer(buffer);
			return false;
		}
		if (GistPageIsLeaf(page))
		{
			LockBuffer(buffer, GIST_UNLOCK);
			leaf->buffer = buffer;
			leaf->parent_lsn = parent_lsn;
			return true;
		}
		block = choose(e, page, score, &leaf->key);
		UnlockReleaseBuffer(buffer);
		if (block == InvalidBlockNumber)
			return false;
		parent_lsn = lsn;
	}
}

/* ----------------------------------------------------------------
 *		Entering
 * ----------------------------------------------------------------
 */

static void
enter_alone(LsScoreEntering *e, Datum score, ItemPointer tid)
{
	bool		isnull = false;

	(void) index_insert(e->index, &score, &isnull, tid, e->heap, UNIQUE_CHECK_NO, false, e->info);
}

/* Put as many of the gathered scores into the leaf as it has room for, if it is still the one. */
static int
fill_leaf(LsScoreEntering *e, EnteringLeaf *leaf)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(e->state->tempCxt);
	IndexTuple	tuples[GATHER_MAX];
	List	   *split;
	Page		page;
	int			n = leaf->n;

	for (int i = 0; i < n; i++)
	{
		bool		isnull = false;

		/* which also asks whether the shape is that of the index */
		tuples[i] = gistFormTuple(e->state, e->index, &leaf->scores[i], &isnull, true);
		tuples[i]->t_tid = leaf->tids[i];
	}
	LockBuffer(leaf->buffer, GIST_EXCLUSIVE);
	gistcheckpage(e->index, leaf->buffer);
	page = BufferGetPage(leaf->buffer);
	if (!GistPageIsLeaf(page) || has_moved_on(page, leaf->parent_lsn))
		n = 0;
	while (n > 0 && gistnospace(page, tuples, n, InvalidOffsetNumber, 0))
		n--;
	if (n > 0)
	{
		CheckForSerializableConflictIn(e->index, NULL, BufferGetBlockNumber(leaf->buffer));
		if (gistplacetopage(e->index, 0, e->state, leaf->buffer, tuples, n, InvalidOffsetNumber, NULL,
							InvalidBuffer, &split, true, e->heap, false))
			elog(ERROR, "a page with room for %d more keys was split", n);
	}
	LockBuffer(leaf->buffer, GIST_UNLOCK);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(e->state->tempCxt);
	return n;
}

/* Is the leaf no longer what its key was read for? */
static bool
leaf_has_moved_on(EnteringLeaf *leaf)
{
	bool		moved;

	LockBuffer(leaf->buffer, GIST_SHARE);
	moved = has_moved_on(BufferGetPage(leaf->buffer), leaf->parent_lsn);
	LockBuffer(leaf->buffer, GIST_UNLOCK);
	return moved;
}

/*
 * Enter what has gathered for a leaf, and forget the leaf. Where it has no room
 * for all, the others go GiST's way until one of them has it split, and look for
 * a leaf anew then.
 */
static void
leave_leaf(LsScoreEntering *e, EnteringLeaf *leaf)
{
	Datum		scores[GATHER_MAX];
	ItemPointerData tids[GATHER_MAX];
	int			n = leaf->n;
	int			entered = n > 0 ? fill_leaf(e, leaf) : 0;

	while (entered < n && !leaf_has_moved_on(leaf))
	{
		enter_alone(e, leaf->scores[entered], &leaf->tids[entered]);
		entered++;
	}
	ReleaseBuffer(leaf->buffer);
	leaf->buffer = InvalidBuffer;
	leaf->n = 0;
	if (entered == n)
		return;
	memcpy(scores, leaf->scores, n * sizeof(Datum));
	memcpy(tids, leaf->tids, n * sizeof(ItemPointerData));
	for (int i = entered; i < n; i++)
		ls_score_enter(e, scores[i], &tids[i]);
}

void
ls_score_enter_flush(LsScoreEntering *e)
{
	bool		again;

	/* what a leaf had no room for may gather for one that was left before */
	do
	{
		again = false;
		for (int i = 0; i < LEAVES; i++)
		{
			if (e->leaves[i].buffer == InvalidBuffer)
				continue;
			leave_leaf(e, &e->leaves[i]);
			again = true;
		}
	} while (again);
}

void
ls_score_enter(LsScoreEntering *e, Datum score, ItemPointer tid)
{
	EnteringLeaf *leaf = NULL;
	EnteringLeaf *oldest = &e->leaves[0];
	ScoreMeasured measured;

	if (e->kind.shape.size == 0)
		ls_take_kind(&e->kind, score);
	ls_elements_from_datum(&e->kind, score, &measured.e);
	score_measure(&e->kind.scale, &measured);

	for (int i = 0; i < LEAVES; i++)
	{
		EnteringLeaf *one = &e->leaves[i];

		if (one->buffer == InvalidBuffer)
			one->last_used = 0;
		else if ((leaf == NULL || one->last_used > leaf->last_used) && holds(&e->kind.scale, &one->key, &measured))
			leaf = one;
		if (one->last_used < oldest->last_used)
			oldest = one;
	}
	if (leaf == NULL)
	{
		while (oldest->buffer != InvalidBuffer)
			leave_leaf(e, oldest);
		if (!find_leaf(e, &measured, oldest))
		{
			enter_alone(e, score, tid);
			return;
		}
		leaf = oldest;
	}
	leaf->scores[leaf->n] = score;
	leaf->tids[leaf->n] = *tid;
	leaf->last_used = ++e->uses;
	if (++leaf->n == GATHER_MAX)
		leave_leaf(e, leaf);
}
