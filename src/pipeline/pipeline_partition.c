/*
 * pipeline_partition.c
 *	  Rows that an UPDATE moves to another partition.
 *
 * PostgreSQL makes such an update of a DELETE in one partition and an INSERT in
 * another, and fires the triggers of those: right after each other, with
 * whatever the triggers in between do nested between them. The deleted version
 * of the row says that it went to another partition; it is put aside until the
 * INSERT of the same command comes, and the pair is judged as the update that
 * it is. Should it never come (a BEFORE INSERT trigger of the other partition
 * swallowed the row), the lead was deleted, and that is recorded before commit.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pipeline/pipeline.h"

typedef struct Departed
{
	struct Departed *next;
	Oid			root;
	Oid			leaf;
	SubTransactionId subid;
	CommandId	command;
	HeapTuple	tuple;			/* as the leaf had it */
} Departed;

/* newest first; in TopTransactionContext */
static Departed *departed = NULL;

/* put the row aside if it is on its way to another partition */
bool
ls_departs(const LsRules *rules, Relation rel, HeapTuple tuple)
{
	Departed   *d;
	MemoryContext before;

	if (rules->root == RelationGetRelid(rel) || !HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data))
		return false;

	before = MemoryContextSwitchTo(TopTransactionContext);
	d = palloc(sizeof(Departed));
	d->root = rules->root;
	d->leaf = RelationGetRelid(rel);
	d->subid = GetCurrentSubTransactionId();
	d->command = HeapTupleHeaderGetCmax(tuple->t_data);
	d->tuple = heap_copytuple(tuple);
	d->next = departed;
	departed = d;
	MemoryContextSwitchTo(before);
	return true;
}

/*
 * The old version of a row that arrives from another partition, as a row of
 * this one; NULL if it is a new row. The slot is the caller's to drop. Nothing
 * links the two but their key: where a statement may insert rows as well (MERGE),
 * one that comes under another key is a new one.
 */
TupleTableSlot *
ls_arrival(const LsRules *rules, Relation rel, HeapTuple tuple, TupleTableSlot *arrived)
{
	Departed   *d = departed;
	Relation	leaf;
	TupleConversionMap *map;
	HeapTuple	old;
	TupleTableSlot *slot;

	if (d == NULL || d->root != rules->root || d->command != HeapTupleHeaderGetCmin(tuple->t_data))
		return NULL;

	leaf = table_open(d->leaf, NoLock);
	map = convert_tuples_by_name(RelationGetDescr(leaf), RelationGetDescr(rel));
	old = map != NULL ? execute_attr_map_tuple(d->tuple, map) : d->tuple;
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(old, slot, false);
	table_close(leaf, NoLock);
	if (!ls_finishing_update() && !ls_keeps_key(rules, slot, arrived))
	{
		ExecDropSingleTupleTableSlot(slot);
		return NULL;
	}
	departed = d->next;
	return slot;
}

/* rows that left and never arrived */
static void
settle(void)
{
	while (departed != NULL)
	{
		Departed   *d = departed;
		Relation	leaf = table_open(d->leaf, AccessShareLock);
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(leaf), &TTSOpsHeapTuple);

		departed = d->next;
		PushActiveSnapshot(GetTransactionSnapshot());
		ExecStoreHeapTuple(d->tuple, slot, false);
		ls_leave(ls_rules_get(leaf), leaf, NULL, slot, LS_KIND_DELETED);
		ExecDropSingleTupleTableSlot(slot);
		PopActiveSnapshot();
		table_close(leaf, NoLock);
	}
}

static void
on_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		settle();
	else if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		departed = NULL;		/* its memory goes with the transaction */
}

static void
on_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	Departed  **link = &departed;

	(void) arg;
	while (*link != NULL)
	{
		if ((*link)->subid == subid && event == SUBXACT_EVENT_ABORT_SUB)
		{
			*link = (*link)->next;
			continue;
		}
		if ((*link)->subid == subid && event == SUBXACT_EVENT_COMMIT_SUB)
			(*link)->subid = parent;
		link = &(*link)->next;
	}
}

void
ls_partition_init(void)
{
	RegisterXactCallback(on_transaction, NULL);
	RegisterSubXactCallback(on_subtransaction, NULL);
}
