/*
 * pipeline_batch.c
 *	  Rows of history that wait to be written together.
 *
 * A statement that moves many leads writes their rows together, which saves a
 * good part of what a row costs: buffer, WAL record and the opening of tables are
 * shared. Rows wait in two ways.
 *
 * While the statement runs: moves that pipeline_stored.c judges as the row is
 * stored. They are written before the statement's AFTER triggers fire, so that
 * these see them all, and meanwhile whenever many have come together.
 *
 * While its AFTER ROW triggers fire: moves that our own trigger judges, as long as
 * nothing but our own trigger can run until the end of ExecutorFinish - the
 * statement writes one table, and that has no other AFTER triggers (foreign keys
 * aside, which look at tables only). So there is no reader of history, no other
 * subtransaction and no other command in between. Where that does not hold, or
 * the statement does not come through the executor (COPY, logical replication),
 * each row is written at once.
 *
 * Rows wait for one statement at a time. One that runs inside of it, or that ends
 * in a subtransaction of its own, writes its rows at once.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "live/live.h"
#include "pipeline/pipeline.h"
#include "pipeline/pipeline_history.h"

/* as many rows wait, or as many bytes: reasons may be long */
#define BATCH_ROWS	512
#define BATCH_BYTES	((Size) 1024 * 1024)

typedef struct Batch
{
	EState	   *owner;			/* statement whose rows wait; NULL: there is none */
	SubTransactionId subid;		/* that it runs in */
	int			n;
	Size		bytes;
	TupleTableSlot *slots[BATCH_ROWS];
	MemoryContext tuples;
} Batch;

static Batch batch;

/* the innermost ExecutorFinish that is running */
typedef struct Finish
{
	QueryDesc  *query;			/* NULL: none is */
	Oid			relid;			/* whether rows for this table can wait ... InvalidOid: not known yet */
	bool		can_wait;
} Finish;

static Finish finish;

static ExecutorFinish_hook_type previous_finish = NULL;

/* whether the rows of the statement that is finishing can wait for its end */
static bool
finish_can_wait(Oid relid)
{
	EState	   *estate;
	ResultRelInfo *result;
	TriggerDesc *triggers;

	if (finish.query == NULL)
		return false;
	if (finish.relid == relid)
		return finish.can_wait;
	finish.relid = relid;
	finish.can_wait = false;

	estate = finish.query->estate;
	if (estate == NULL || list_length(estate->es_opened_result_relations) != 1 ||
		estate->es_tuple_routing_result_relations != NIL || estate->es_trig_target_relations != NIL)
		return false;
	result = (ResultRelInfo *) linitial(estate->es_opened_result_relations);
	triggers = result->ri_TrigDesc;
	if (RelationGetRelid(result->ri_RelationDesc) != relid || result->ri_RootResultRelInfo != NULL || triggers == NULL)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_AFTER(trigger->tgtype) && !ls_live_only_checks(trigger->tgfoid) &&
			strcmp(trigger->tgname, LS_TRIGGER_STAGE) != 0 && strcmp(trigger->tgname, LS_TRIGGER_DELETE) != 0)
			return false;
	}
	finish.can_wait = true;
	return true;
}

static void
make_slots(void)
{
	/* also takes the lock, which stays */
	Relation	root = ls_history_open();
	MemoryContext before;

	if (batch.tuples == NULL)
		batch.tuples = AllocSetContextCreate(TopMemoryContext, "leadscore history batch", ALLOCSET_DEFAULT_SIZES);
	if (batch.slots[BATCH_ROWS - 1] == NULL)
	{
		TupleDesc	desc;

		before = MemoryContextSwitchTo(TopMemoryContext);
		desc = CreateTupleDescCopy(RelationGetDescr(root));
		for (int i = 0; i < BATCH_ROWS; i++)
			batch.slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
		MemoryContextSwitchTo(before);
	}
	table_close(root, NoLock);
}

/*
 * Whether a row of history for a table can wait: for the end of a statement, or
 * (NULL) of the one that is finishing.
 */
bool
ls_batch_begin(const LsRules *rules, EState *statement)
{
	if (statement == NULL)
	{
		if (rules->runs_code || !finish_can_wait(rules->relid))
			return false;
		statement = finish.query->estate;
	}
	if (batch.owner == statement)
		return true;
	if (batch.owner != NULL)
		return false;
	make_slots();
	batch.owner = statement;
	batch.subid = GetCurrentSubTransactionId();
	return true;
}

static void
insert_index(Oid relid, IndexInfo *info, Relation rel, TupleTableSlot **slots, int n)
{
	Relation	index = index_open(relid, RowExclusiveLock);

	for (int i = 0; i < n; i++)
	{
		Datum		key[INDEX_MAX_KEYS];
		bool		key_null[INDEX_MAX_KEYS];

		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
			key[k] = slot_getattr(slots[i], info->ii_IndexAttrNumbers[k], &key_null[k]);
		index_insert(index, key, key_null, &slots[i]->tts_tid, rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
	}
	ls_index_insert_cleanup(index, info);
	index_close(index, NoLock);
}

/* whether the indexes take only columns: then all rows go into one after another */
static bool
has_plain_indexes(const HistoryLeaf *leaf)
{
	for (int i = 0; i < leaf->nindexes; i++)
	{
		const IndexInfo *info = leaf->infos[i];

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL || !info->ii_ReadyForInserts)
			return false;
	}
	return true;
}

static void
write_to_leaf(const HistoryLeaf *leaf, Relation rel, TupleTableSlot **slots, int n)
{
	heap_multi_insert(rel, slots, n, GetCurrentCommandId(true), 0, NULL);
	if (has_plain_indexes(leaf))
	{
		for (int i = 0; i < leaf->nindexes; i++)
			insert_index(leaf->indexes[i], leaf->infos[i], rel, slots, n);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		bool		free;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(slots[i], false, &free);

		Assert(!free);
		slot_getallattrs(slots[i]);
		tuple->t_self = slots[i]->tts_tid;
		ls_history_index(leaf, rel, tuple, slots[i]->tts_values, slots[i]->tts_isnull);
	}
}

static TimestampTz
time_of(TupleTableSlot *slot)
{
	bool		isnull;

	return DatumGetTimestampTz(slot_getattr(slot, LS_H_AT + 1, &isnull));
}

static void
write_batch(void)
{
	MemoryContext before = MemoryContextSwitchTo(batch.tuples);
	Relation	root = ls_history_open();
	int			n = batch.n;

	for (int from = 0, to; from < n; from = to)
	{
		Relation	rel;
		HistoryLeaf *leaf = ls_history_open_leaf(root, time_of(batch.slots[from]), &rel);

		for (to = from + 1; to < n && ls_history_same_leaf(root, leaf, time_of(batch.slots[to])); to++)
			 /* as many as go to this partition */ ;
		write_to_leaf(leaf, rel, batch.slots + from, to - from);
		table_close(rel, NoLock);
	}
	table_close(root, NoLock);
	for (int i = 0; i < n; i++)
		ExecClearTuple(batch.slots[i]);
	batch.n = 0;
	batch.bytes = 0;
	MemoryContextSwitchTo(before);
	MemoryContextReset(batch.tuples);
}

/* A row that waits, of the statement that ls_batch_begin said yes to. */
void
ls_batch_add(const Datum *values, const bool *nulls)
{
	MemoryContext before = MemoryContextSwitchTo(batch.tuples);
	TupleTableSlot *slot = batch.slots[batch.n];
	HeapTuple	tuple = heap_form_tuple(slot->tts_tupleDescriptor, (Datum *) values, (bool *) nulls);

	Assert(batch.owner != NULL);
	ExecStoreHeapTuple(tuple, slot, false);
	batch.n++;
	batch.bytes += tuple->t_len;
	MemoryContextSwitchTo(before);
	if (batch.n == BATCH_ROWS || batch.bytes >= BATCH_BYTES)
		write_batch();
}

static void
end_batch(void)
{
	if (batch.n > 0)
		write_batch();
	batch.owner = NULL;
}

/* the statement is undone, and with it what its rows were to say */
static void
forget_batch(void)
{
	for (int i = 0; i < batch.n; i++)
		ExecClearTuple(batch.slots[i]);
	if (batch.tuples != NULL)
		MemoryContextReset(batch.tuples);
	batch.n = 0;
	batch.bytes = 0;
	batch.owner = NULL;
}

/* Whether rows wait, which then nobody can see yet. */
bool
ls_batch_waits(void)
{
	return batch.n > 0;
}

/* Whether the statement whose triggers fire can insert no rows of its own. */
bool
ls_finishing_update(void)
{
	return finish.query != NULL && finish.query->operation == CMD_UPDATE && finish.query->estate != NULL &&
		finish.query->estate->es_auxmodifytables == NIL;
}

static void
on_executor_finish(QueryDesc *query)
{
	Finish		outer = finish;

	finish.query = query;
	finish.relid = InvalidOid;
	PG_TRY();
	{
		ls_stored_finish(query->estate);
		if (batch.owner == query->estate)
			end_batch();
		if (previous_finish)
			previous_finish(query);
		else
			standard_ExecutorFinish(query);
		if (batch.owner == query->estate)
			end_batch();
	}
	PG_FINALLY();
	{
		finish = outer;
	}
	PG_END_TRY();
}

static void
on_transaction(XactEvent event, void *arg)
{
	(void) arg;
	/* a statement whose end was never called */
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		end_batch();
	else if (event == XACT_EVENT_ABORT)
		forget_batch();
}

static void
on_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB && batch.owner != NULL && batch.subid == subid)
		forget_batch();
}

void
ls_batch_init(void)
{
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = on_executor_finish;
	RegisterXactCallback(on_transaction, NULL);
	RegisterSubXactCallback(on_subtransaction, NULL);
}
