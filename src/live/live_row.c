/*
 * live_row.c
 *	  One row of a table of stored scores: found, locked, inserted, replaced.
 *
 * This is straight through the table access method: an update finds the lead by
 * the primary key, writes the new version and the index entries, as an UPDATE
 * does but without planning and starting one. What is written, live_store.c says.
 */
#include "leadscore.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "live/live_store.h"

/* See what was committed, and written by us, up to now. */
void
ls_store_new_snapshot(Store *store)
{
	MemoryContext oldcontext;

	if (store->scan)
	{
		index_endscan(store->scan);
		store->scan = NULL;
		PopActiveSnapshot();
		store->renewed = true;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	oldcontext = MemoryContextSwitchTo(store->fold->context);
	store->scan = ls_index_beginscan(store->rel, store->primary, GetActiveSnapshot(), 1);
	MemoryContextSwitchTo(oldcontext);
}

void
ls_store_begin(Store *store, LiveFold *fold, int depth)
{
	LiveModel  *live = fold->model;

	memset(store, 0, sizeof(*store));
	store->fold = fold;
	store->live = live;
	store->depth = depth;
	store->rel = table_open(live->score_relid, RowExclusiveLock);
	if (RelationGetNumberOfAttributes(store->rel) < SCORE_TABLE_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the stored scores of model \"%s\" lack columns", live->model->name),
				 errhint("Run leadscore.publish('%s').", live->model->name)));
	store->indexes = ls_live_indexes_open(fold->context, store->rel, fold->n);
	store->primary = ls_live_indexes_primary(store->indexes);
	if (store->primary == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the stored scores of model \"%s\" have lost their primary key", live->model->name),
				 errhint("ALTER TABLE %s ADD PRIMARY KEY (lead) gives it back.", ls_relation_name(live->score_relid))));
	store->slot = table_slot_create(store->rel, NULL);
	store->new_slot = MakeSingleTupleTableSlot(RelationGetDescr(store->rel), &TTSOpsVirtual);
	ScanKeyEntryInitialize(&store->key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   live->model->key_collation, live->key_eq_proc, (Datum) 0);
	ls_store_new_snapshot(store);
}

void
ls_store_end(Store *store)
{
	ls_live_indexes_flush(store->indexes);
	index_endscan(store->scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(store->slot);
	ExecDropSingleTupleTableSlot(store->new_slot);
	if (store->dirty_slot)
		ExecDropSingleTupleTableSlot(store->dirty_slot);
	ls_live_indexes_close(store->indexes);
	table_close(store->rel, NoLock);
}

/* Take the row in store->slot apart. */
static void
read_row(Store *store)
{
	TupleTableSlot *slot = store->slot;
	bool		isnull;
	Datum		value;

	slot_getallattrs(slot);
	store->lead = slot->tts_values[SCORE_TABLE_LEAD - 1];
	ls_score_from_datum(slot->tts_values[SCORE_TABLE_SCORE - 1], &store->score);
	store->version = DatumGetInt32(slot->tts_values[SCORE_TABLE_VERSION - 1]);
	store->band = NULL;
	if (!slot->tts_isnull[SCORE_TABLE_BAND - 1])
		store->band = text_to_cstring(DatumGetTextPP(slot->tts_values[SCORE_TABLE_BAND - 1]));
	store->due = slot->tts_isnull[SCORE_TABLE_DUE - 1] ? DT_NOEND :
		DatumGetTimestampTz(slot->tts_values[SCORE_TABLE_DUE - 1]);
	store->later = slot->tts_isnull[SCORE_TABLE_LATER - 1] ? DT_NOEND :
		DatumGetTimestampTz(slot->tts_values[SCORE_TABLE_LATER - 1]);
	value = slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull);
	store->registered = Min(store->due, store->later);
	store->passed = store->band;
	store->ours = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(value));
}

/* Find the stored score of a lead, as the snapshot has it. */
bool
ls_store_find(Store *store, Datum key)
{
	/* an index scan keeps what it allocates */
	MemoryContext oldcontext = MemoryContextSwitchTo(store->fold->context);
	bool		found;

	store->key.sk_argument = key;
	index_rescan(store->scan, &store->key, 1, NULL, 0);
	found = index_getnext_slot(store->scan, ForwardScanDirection, store->slot);
	MemoryContextSwitchTo(oldcontext);
	if (found)
		read_row(store);
	return found;
}

static void
serialization_failure(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
}

/*
 * Lock the row found, waiting for whoever is changing it, and read its latest
 * version. false: it is gone.
 */
bool
ls_store_lock(Store *store)
{
	ItemPointerData tid = store->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result;
	uint8		flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	result = table_tuple_lock(store->rel, &tid, GetActiveSnapshot(), store->slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
							  LockWaitBlock, flags, &failure);
	switch (result)
	{
		case TM_Ok:
			read_row(store);
			return true;
		case TM_Updated:
		case TM_Deleted:
			serialization_failure();
			return false;
		case TM_SelfModified:
			return false;
		default:
			elog(ERROR, "unexpected result %d of locking a stored score", result);
	}
	return false;
}

/*
 * Is the version found the latest that is committed, or ours? Somebody may be
 * about to replace it. This tells, without a lock, that nobody did so before.
 */
bool
ls_store_is_current(Store *store)
{
	ItemPointerData tid = store->slot->tts_tid;
	SnapshotData dirty;
	bool		current;

	if (store->dirty_slot == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(store->fold->context);

		store->dirty_slot = table_slot_create(store->rel, NULL);
		MemoryContextSwitchTo(oldcontext);
	}
	InitDirtySnapshot(dirty);
	current = table_tuple_fetch_row_version(store->rel, &tid, &dirty, store->dirty_slot);
	ExecClearTuple(store->dirty_slot);
	if (!current)
		serialization_failure();
	return current;
}

Datum
ls_store_score(ScoreBuffer *buffer, const Score *score)
{
	size_t		size = score_encode(score, (unsigned char *) buffer->data + VARHDRSZ, SCORE_NATIVE);

	SET_VARSIZE(buffer->data, VARHDRSZ + size);
	return PointerGetDatum(buffer->data);
}

static void
fill_new_slot(Store *store, Datum score, const char *band)
{
	TupleTableSlot *slot = store->new_slot;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, RelationGetNumberOfAttributes(store->rel) * sizeof(bool));
	slot->tts_values[SCORE_TABLE_LEAD - 1] = store->lead;
	slot->tts_isnull[SCORE_TABLE_LEAD - 1] = false;
	slot->tts_values[SCORE_TABLE_SCORE - 1] = score;
	slot->tts_isnull[SCORE_TABLE_SCORE - 1] = false;
	slot->tts_values[SCORE_TABLE_VERSION - 1] = Int32GetDatum(store->live->model->version);
	slot->tts_isnull[SCORE_TABLE_VERSION - 1] = false;
	if (band)
	{
		slot->tts_values[SCORE_TABLE_BAND - 1] = CStringGetTextDatum(band);
		slot->tts_isnull[SCORE_TABLE_BAND - 1] = false;
	}
	if (store->due != DT_NOEND)
	{
		slot->tts_values[SCORE_TABLE_DUE - 1] = TimestampTzGetDatum(store->due);
		slot->tts_isnull[SCORE_TABLE_DUE - 1] = false;
	}
	if (store->later != DT_NOEND)
	{
		slot->tts_values[SCORE_TABLE_LATER - 1] = TimestampTzGetDatum(store->later);
		slot->tts_isnull[SCORE_TABLE_LATER - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
}

/* Replace the row found, and make the index entries. TM_Ok, or why it could not be done. */
TM_Result
ls_store_update(Store *store, Datum score, const char *band)
{
	ItemPointerData tid = store->slot->tts_tid;
	TM_FailureData failure;
	LockTupleMode mode;
	LsUpdateIndexes which;
	TM_Result	result;

	fill_new_slot(store, score, band);
	result = table_tuple_update(store->rel, &tid, store->new_slot, GetCurrentCommandId(true),
								GetActiveSnapshot(), InvalidSnapshot, true, &failure, &mode, &which);
	switch (result)
	{
		case TM_Ok:
			ls_live_indexes_enter(store->indexes, store->new_slot, which);
			store->fold->nstored++;
			break;
		case TM_Updated:
		case TM_Deleted:
			serialization_failure();
			break;
		case TM_SelfModified:
			break;
		default:
			elog(ERROR, "unexpected result %d of updating a stored score", result);
	}
	return result;
}

TM_Result
ls_store_delete(Store *store)
{
	ItemPointerData tid = store->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_delete(store->rel, &tid, GetCurrentCommandId(true), GetActiveSnapshot(),
								InvalidSnapshot, true, &failure, false);
	if (result != TM_Ok)
		serialization_failure();
	return result;
}

/*
 * Insert a row for a lead that has none; false if somebody else's is there. A
 * row that is being inserted, or was inserted and deleted by a transaction still
 * running, is waited for: this orders us with whoever is about to add the lead
 * or an event of it.
 */
bool
ls_store_insert(Store *store, Datum key, const Score *score)
{
	LiveModel  *live = store->live;
	ScoreBuffer buffer;
	LsUser		caller;
	Datum		values[3];
	bool		inserted;

	SPI_connect();
	ls_become_owner(&caller);
	if (live->insert_plan == NULL)
	{
		Oid			types[3] = {live->model->key_type, live->shape_type, INT4OID};
		char	   *sql = psprintf("INSERT INTO %s (lead, score, version) VALUES ($1, $2, $3)"
								   " ON CONFLICT (lead) DO NOTHING",
								   ls_relation_name(live->score_relid));

		live->insert_plan = ls_spi_prepare(sql, 3, types);
		SPI_keepplan(live->insert_plan);
	}
	values[0] = key;
	values[1] = ls_store_score(&buffer, score);
	values[2] = Int32GetDatum(live->model->version);
	ls_spi_expect(SPI_execute_plan(live->insert_plan, values, NULL, false, 0), SPI_OK_INSERT);
	inserted = SPI_processed > 0;
	ls_become_caller(&caller);
	SPI_finish();
	return inserted;
}
