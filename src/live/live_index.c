/*
 * live_index.c
 *	  The entries that a new version of a stored score gets in the indexes of its
 *	  table.
 *
 * The executor would do it, but knows less than we do. An update never changes
 * the lead, so the primary key need not be checked for another row of it: the
 * version replaced, which is ours, keeps everybody else's out. And a statement
 * that touches many leads enters their scores into the ranking index in the
 * order in which it has them: neighbours find the same pages in the cache of the
 * processor, where key order would fetch every page of the way from memory anew.
 *
 * Until a score is entered, nobody may look for it by the index: other
 * transactions do not see the row, and this one sees it from the next command on.
 * live_store.c flushes before anything of the user's is run.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/gist.h"
#include "catalog/pg_am_d.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sortsupport.h"

#include "live/live.h"
#include "score/score_enter.h"

/* Fewer leads than this are entered at once. */
#define SORTED_LEADS	100

/* A score that waits to be entered. */
typedef struct Entry
{
	uint64		place;			/* in the order of the index */
	ItemPointerData tid;
	struct varlena *score;
} Entry;

struct LiveIndexes
{
	Relation	rel;
	ResultRelInfo *target;
	EState	   *estate;			/* for indexes that are not ours; else NULL */
	int			primary;		/* number among the indexes of target */
	int			ranking;		/* -1: there is none */

	/* scores that wait */
	SortSupportData sort;
	LsScoreEntering *entering;
	MemoryContext context;
	Size		size;
	int			n;
	int			max;			/* 0: none ever wait */
	Entry	   *entries;
};

/* Is it the index of scores as we made it? */
static bool
is_ranking(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == GIST_AM_OID &&
		info->ii_NumIndexAttrs == 1 && info->ii_IndexAttrNumbers[0] == SCORE_TABLE_SCORE &&
		info->ii_Predicate == NIL && info->ii_ExclusionOps == NULL && info->ii_ReadyForInserts;
}

/*
 * How scores are ordered by the index: it abbreviates each to a number, which is
 * all that is needed here. false: it does not.
 */
static bool
prepare_sort(LiveIndexes *indexes)
{
	SortSupport sort = &indexes->sort;
	Relation	index = indexes->target->ri_IndexRelationDescs[indexes->ranking];

	if (!OidIsValid(index_getprocid(index, 1, GIST_SORTSUPPORT_PROC)))
		return false;
	sort->ssup_cxt = CurrentMemoryContext;
	sort->ssup_collation = index->rd_indcollation[0];
	sort->ssup_attno = 1;
	sort->abbreviate = true;
	PrepareSortSupportFromGistIndexRel(index, sort);
	return sort->abbrev_converter != NULL;
}

/*
 * The indexes of a score table, open for entering new versions of that many
 * rows. What is allocated goes with the memory context.
 */
LiveIndexes *
ls_live_indexes_open(MemoryContext context, Relation rel, int nleads)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	LiveIndexes *indexes = palloc0(sizeof(LiveIndexes));
	ResultRelInfo *target = makeNode(ResultRelInfo);
	int			others = 0;

	indexes->rel = rel;
	indexes->target = target;
	indexes->primary = indexes->ranking = -1;
	InitResultRelInfo(target, rel, 0, NULL, 0);
	ExecOpenIndices(target, false);
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		Relation	index = target->ri_IndexRelationDescs[i];

		if (index->rd_index->indisprimary)
			indexes->primary = i;
		else if (indexes->ranking < 0 && is_ranking(index, target->ri_IndexRelationInfo[i]))
			indexes->ranking = i;
		else
			others++;
	}
	if (others > 0)
		indexes->estate = CreateExecutorState();
	else if (nleads >= SORTED_LEADS && indexes->ranking >= 0 && prepare_sort(indexes))
	{
		indexes->context = AllocSetContextCreate(CurrentMemoryContext, "leadscore index entries",
												 ALLOCSET_DEFAULT_SIZES);
		indexes->max = nleads;
		indexes->entering = ls_score_enter_begin(rel, target->ri_IndexRelationDescs[indexes->ranking],
												 target->ri_IndexRelationInfo[indexes->ranking]);
		indexes->entries = palloc_extended(nleads * sizeof(Entry), MCXT_ALLOC_HUGE);
	}
	MemoryContextSwitchTo(oldcontext);
	return indexes;
}

/* The primary key; NULL: the table has lost it. */
Relation
ls_live_indexes_primary(const LiveIndexes *indexes)
{
	return indexes->primary < 0 ? NULL : indexes->target->ri_IndexRelationDescs[indexes->primary];
}

static void
enter(LiveIndexes *indexes, int i, Datum value, ItemPointer tid, bool unchanged)
{
	bool		isnull = false;

	(void) index_insert(indexes->target->ri_IndexRelationDescs[i], &value, &isnull, tid, indexes->rel,
						UNIQUE_CHECK_NO, unchanged, indexes->target->ri_IndexRelationInfo[i]);
}

static inline bool
entry_before(const Entry *a, const Entry *b)
{
	return a->place != b->place ? a->place < b->place :
		ItemPointerCompare((ItemPointer) &a->tid, (ItemPointer) &b->tid) < 0;
}

static int
compare_entries(const void *a, const void *b)
{
	return entry_before(a, b) ? -1 : entry_before(b, a);
}

/* Enter the scores that wait. */
void
ls_live_indexes_flush(LiveIndexes *indexes)
{
	if (indexes->n == 0)
		return;
	if (indexes->n > 1)
		qsort(indexes->entries, indexes->n, sizeof(Entry), compare_entries);
	for (int i = 0; i < indexes->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ls_score_enter(indexes->entering, PointerGetDatum(indexes->entries[i].score), &indexes->entries[i].tid);
	}
	ls_score_enter_flush(indexes->entering);
	indexes->n = 0;
	indexes->size = 0;
	MemoryContextReset(indexes->context);
}

/* The row in slot, a virtual one, was stored in the place of another version. */
void
ls_live_indexes_enter(LiveIndexes *indexes, TupleTableSlot *slot, LsUpdateIndexes which)
{
	Datum		score = slot->tts_values[SCORE_TABLE_SCORE - 1];

	if (indexes->estate)
	{
		/* somebody made an index of his own */
		list_free(ls_insert_index_tuples(indexes->target, slot, indexes->estate, which));
		ResetPerTupleExprContext(indexes->estate);
		return;
	}
	if (!ls_new_index_entries(which))
		return;
	enter(indexes, indexes->primary, slot->tts_values[SCORE_TABLE_LEAD - 1], &slot->tts_tid, true);
	if (indexes->ranking < 0)
		return;
	if (indexes->max == 0)
		enter(indexes, indexes->ranking, score, &slot->tts_tid, false);
	else
	{
		Entry	   *entry;
		Size		size = VARSIZE_ANY(DatumGetPointer(score));

		if (indexes->n == indexes->max || indexes->size + size + sizeof(Entry) > (Size) work_mem * 1024)
			ls_live_indexes_flush(indexes);
		entry = &indexes->entries[indexes->n++];
		entry->score = MemoryContextAlloc(indexes->context, size);
		memcpy(entry->score, DatumGetPointer(score), size);
		entry->place = DatumGetUInt64(indexes->sort.abbrev_converter(score, &indexes->sort));
		entry->tid = slot->tts_tid;
		indexes->size += size + sizeof(Entry);
	}
}

void
ls_live_indexes_close(LiveIndexes *indexes)
{
	Assert(indexes->n == 0);
	ExecCloseIndices(indexes->target);
	if (indexes->estate)
		FreeExecutorState(indexes->estate);
}
