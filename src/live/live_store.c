/*
 * live_store.c
 *	  Applying what a statement changes to the stored scores.
 *
 * A score table is written here only, straight through the table access method:
 * an update finds the lead by the primary key, writes the new version and the
 * index entries, as an UPDATE does but without planning and starting one.
 *
 * Concurrency. The row lock of a lead's stored score orders its writers. Points
 * that are added or taken away commute, so an update is tried on the version
 * that the statement sees; if somebody else changed the row, the latest version
 * is locked and the change applied to that (at repeatable read and above: a
 * serialization failure, as for any UPDATE). Whatever is computed from the
 * tables (live_rebuild.c) is computed under the lock with a new snapshot.
 * Statements that touch several leads take them in key order.
 *
 * One statement may fire several of our triggers (MERGE, ON CONFLICT DO UPDATE,
 * data-modifying CTEs), and triggers nest. What one of them computes from the
 * tables includes rows whose own trigger is yet to fire; adding these again
 * would count them twice. So a lead that was computed anew is remembered
 * (live_rebuild.c) until the next statement of the client, and computed anew by every later firing.
 */
#include "leadscore.h"

#include <math.h>

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "live/live.h"
#include "score/score.h"

/*
 * A component of which so little is left after points were taken away is
 * computed anew: what rounding did to the larger terms would show in it.
 */
#define CANCELLED	1e-3

#define PREFETCH_LEADS	8

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
	IndexScanDesc scan;
	ScanKeyData key;
	bool		renewed;		/* the snapshot is later than that of the start */
	int			depth;			/* of triggers */
	Crossing   *crossings;		/* newest first */

	/* the row found */
	Score		score;
	const char *band;			/* NULL: below all */
	TimestampTz due;			/* DT_NOEND: nothing comes by itself */
	TimestampTz later;
	int			version;
	bool		ours;			/* written by this transaction */
} Store;

typedef union ScoreBuffer
{
	int32		align;
	char		data[VARHDRSZ + SCORE_MAX_ENCODED];
} ScoreBuffer;

/* ----------------------------------------------------------------
 *		One row of the score table
 * ----------------------------------------------------------------
 */

static void
new_snapshot(Store *store)
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

static void
store_begin(Store *store, LiveFold *fold, int depth)
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
	new_snapshot(store);
}

static void
store_end(Store *store)
{
	ls_live_indexes_flush(store->indexes);
	index_endscan(store->scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(store->slot);
	ExecDropSingleTupleTableSlot(store->new_slot);
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
	store->ours = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(value));
}

/* Find the stored score of a lead, as the snapshot has it. */
static bool
find_row(Store *store, Datum key)
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
static bool
lock_row(Store *store)
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

/* ----------------------------------------------------------------
 *		Bands
 * ----------------------------------------------------------------
 */

static bool
same_band(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void
note_crossing(Store *store, Datum key, const char *from, const char *to,
			  TimestampTz at, double score, const char *cause)
{
	MemoryContext oldcontext;
	Crossing   *crossing;

	if (store->fold->silent)
		return;
	oldcontext = MemoryContextSwitchTo(store->fold->context);
	crossing = palloc(sizeof(Crossing));
	crossing->key = key;
	crossing->from = from ? pstrdup(from) : NULL;
	crossing->to = to;
	crossing->at = at;
	crossing->score = score;
	crossing->cause = cause;
	crossing->next = store->crossings;
	store->crossings = crossing;
	MemoryContextSwitchTo(oldcontext);
}

static bool
may_rise_by_itself(const Score *score)
{
	for (int i = 0; i < score->n; i++)
		if (score->c[i].half_life != 0 && score->c[i].value < 0)
			return true;
	return false;
}

/*
 * The band that the new score is in, and when ageing will next change it. The
 * instant stored is a lower bound: cool() looks again when it has come, and so
 * an update that only puts it off need not write it down.
 */
static const char *
change_band(Store *store, LiveDelta *delta, const Score *score, bool rose_only)
{
	LiveModel  *live = store->live;
	TimestampTz now = store->fold->now;
	const char *before = store->band;
	const char *after;
	double		total;
	TimestampTz next;

	if (live->model->nbands == 0)
		return NULL;

	/* it aged out of its band before this statement, and nobody looked */
	if (store->due <= now)
	{
		const char *aged = ls_live_band_at(live, &store->score, now, &total);

		if (!same_band(before, aged))
		{
			double		then;
			bool		exact = same_band(ls_live_band_at(live, &store->score, store->due, &then), aged);

			note_crossing(store, delta->key, before, aged, exact ? store->due : now,
						  exact ? then : total, "ageing");
		}
		before = aged;
	}

	after = ls_live_band_at(live, score, now, &total);
	if (!same_band(before, after))
		note_crossing(store, delta->key, before, after, now, total, store->fold->cause);
	else if (store->due > now && rose_only && !may_rise_by_itself(score))
		return after;

	next = ls_live_next_change(live, score, now);
	if (store->due <= now || !same_band(store->band, after) || next < store->due)
		store->due = next;
	return after;
}

/* ----------------------------------------------------------------
 *		Writing a row
 * ----------------------------------------------------------------
 */

static Datum
score_into(ScoreBuffer *buffer, const Score *score)
{
	size_t		size = score_encode(score, (unsigned char *) buffer->data + VARHDRSZ, SCORE_NATIVE);

	SET_VARSIZE(buffer->data, VARHDRSZ + size);
	return PointerGetDatum(buffer->data);
}

static void
fill_new_slot(Store *store, Datum key, Datum score, const char *band)
{
	TupleTableSlot *slot = store->new_slot;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, RelationGetNumberOfAttributes(store->rel) * sizeof(bool));
	slot->tts_values[SCORE_TABLE_LEAD - 1] = key;
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

/* Write store->new_slot in the place of a version of a row, and its index entries. */
static TM_Result
update_tuple(Store *store, ItemPointer tid)
{
	TM_FailureData failure;
	LockTupleMode mode;
	LsUpdateIndexes which;
	TM_Result	result;

	result = table_tuple_update(store->rel, tid, store->new_slot, GetCurrentCommandId(true),
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

/* Replace the row found. TM_Ok, or why it could not be done. */
static TM_Result
write_row(Store *store, LiveDelta *delta, const Score *score, bool rose_only)
{
	ItemPointerData tid = store->slot->tts_tid;
	TimestampTz due = store->due;
	TimestampTz later = store->later;
	TimestampTz was = Min(due, later);
	TimestampTz is;
	Crossing   *crossings = store->crossings;
	ScoreBuffer buffer;
	TM_Result	result;
	const char *band;

	store->later = Min(store->later, delta->later);
	band = change_band(store, delta, score, rose_only);
	is = Min(store->due, store->later);
	if (delta->settle && !delta->rebuild && store->due == due && store->later == later && same_band(band, store->band))
	{
		ls_live_register_due(store->live, delta->key, is);
		return TM_Ok;
	}
	fill_new_slot(store, delta->key, score_into(&buffer, score), band);
	result = update_tuple(store, &tid);
	if (result == TM_Ok)
	{
		/* what is registered may come too early, never too late */
		if (delta->settle || is < was || (was <= store->fold->now && is != was))
			ls_live_register_due(store->live, delta->key, is);
		return TM_Ok;
	}
	store->crossings = crossings;
	return result;
}

static TM_Result
delete_row(Store *store, LiveDelta *delta)
{
	ItemPointerData tid = store->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_delete(store->rel, &tid, GetCurrentCommandId(true), GetActiveSnapshot(),
								InvalidSnapshot, true, &failure, false);
	if (result != TM_Ok)
	{
		serialization_failure();
		return result;
	}
	if (store->band != NULL)
		note_crossing(store, delta->key, store->band, NULL, store->fold->now, 0, "deleted");
	if (store->due != DT_NOEND || store->later != DT_NOEND)
		ls_live_register_due(store->live, delta->key, DT_NOEND);
	return TM_Ok;
}

/*
 * Insert a row for a lead that has none; false if somebody else's is there. A
 * row that is being inserted, or was inserted and deleted by a transaction still
 * running, is waited for: this orders us with whoever is about to add the lead
 * or an event of it.
 */
static bool
insert_row(Store *store, Datum key, const Score *score)
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
	values[1] = score_into(&buffer, score);
	values[2] = Int32GetDatum(live->model->version);
	ls_spi_expect(SPI_execute_plan(live->insert_plan, values, NULL, false, 0), SPI_OK_INSERT);
	inserted = SPI_processed > 0;
	ls_become_caller(&caller);
	SPI_finish();
	return inserted;
}

/* ----------------------------------------------------------------
 *		One lead
 * ----------------------------------------------------------------
 */

/* Add plus and minus to a score; false if too little is left to be exact. */
static bool
add_delta(Score *score, const LiveDelta *delta, bool *rose_only)
{
	static const LiveTerm nothing = {0.0, 0};

	*rose_only = true;
	for (int i = 0; i < score->n; i++)
	{
		ScoreComponent *c = &score->c[i];
		const LiveTerm *plus = &delta->plus[i];
		const LiveTerm *minus = delta->minus ? &delta->minus[i] : &nothing;
		ScoreComponent old = *c;

		if (plus->value != 0.0 &&
			score_component_add(c, plus->value, plus->at) != SCORE_OK)
			return false;
		if (minus->value != 0.0)
		{
			*rose_only = false;
			if (score_component_add(c, minus->value, minus->at) != SCORE_OK)
				return false;
		}
		if (minus->value != 0.0 || (old.value < 0 && plus->value != 0.0))
		{
			double		terms = fabs(minus->value);

			/* whole numbers that do not age are exact whatever is left of them */
			if (c->half_life == 0 && old.value == rint(old.value) && fabs(old.value) < 1e15 &&
				plus->value == rint(plus->value) && minus->value == rint(minus->value))
				continue;
			if (c->half_life != 0)
			{
				terms = Max(fabs(score_age(old.value, c->at - old.at, c->half_life)),
							Max(fabs(score_age(minus->value, c->at - minus->at, c->half_life)),
								fabs(score_age(plus->value, c->at - plus->at, c->half_life))));
			}
			else
				terms = Max(terms, Max(fabs(old.value), fabs(plus->value)));
			if (fabs(c->value) < CANCELLED * terms)
				return false;
		}
	}
	return true;
}

/* Compute the lead anew and store the outcome; the row found is locked. */
static TM_Result
rebuild_row(Store *store, LiveDelta *delta)
{
	LiveComputed computed;

	ls_live_remember_rebuilt(store->live, delta);
	store->fold->now = Max(store->fold->now, GetCurrentTimestamp());
	ls_live_indexes_flush(store->indexes);
	ls_live_compute(store->live, delta->key, store->fold->now, &computed);
	if (!computed.exists)
		return delete_row(store, delta);
	/* what is still to come is known exactly now */
	delta->later = computed.later;
	if (store->later != computed.later)
		store->later = DT_NOEND;
	return write_row(store, delta, &computed.score, false);
}

static bool
same_score(const Score *a, const Score *b)
{
	ScoreBuffer x;
	ScoreBuffer y;

	return DatumGetBool(DirectFunctionCall2(byteaeq, score_into(&x, a), score_into(&y, b)));
}

/* Store what the lead comes to as far as the snapshot shows. */
static TM_Result
preset_row(Store *store, LiveDelta *delta)
{
	LiveComputed *preset = delta->preset;

	if (store->depth > 1)
		ls_live_remember_rebuilt(store->live, delta);
	if (!preset->exists)
		return delete_row(store, delta);
	if (store->later == DT_NOEND && store->due > store->fold->now &&
		store->version == store->live->model->version && same_score(&store->score, &preset->score))
		return TM_Ok;
	store->later = DT_NOEND;
	return write_row(store, delta, &preset->score, false);
}

/*
 * A lead without a stored score: it was just inserted, or there is no such lead
 * (yet). Its row is made first, so that whoever adds the lead, or an event of
 * it, at the same time has to wait; if there is no lead, it goes again.
 */
static bool
make_row(Store *store, LiveDelta *delta)
{
	Score		score = store->live->shape;
	bool		rose_only;
	bool		simple = delta->appeared && !delta->vanished && delta->touches == NULL &&
		!delta->rebuild && !ls_live_was_rebuilt(store->live, delta);

	if (simple && !add_delta(&score, delta, &rose_only))
		simple = false;
	if (!simple)
		score = store->live->shape;
	if (!insert_row(store, delta->key, &score))
		return false;
	ls_live_indexes_flush(store->indexes);
	new_snapshot(store);
	if (!find_row(store, delta->key))
		elog(ERROR, "a stored score disappeared");
	if (simple && !ls_live_has_events(store->live, delta->key))
	{
		if (store->live->model->nbands == 0 ||
			(ls_live_band_at(store->live, &score, store->fold->now, NULL) == NULL &&
			 !may_rise_by_itself(&score)))
			return true;
		return write_row(store, delta, &score, false) == TM_Ok;
	}
	return rebuild_row(store, delta) == TM_Ok;
}

static void
apply_lead(Store *store, LiveDelta *delta)
{
	bool		locked = false;

	for (;;)
	{
		TM_Result	result;
		bool		rose_only;
		bool		anew;
		Score		score;

		CHECK_FOR_INTERRUPTS();
		if (!locked && !find_row(store, delta->key))
		{
			if (delta->settle && !delta->rebuild)
			{
				ls_live_register_due(store->live, delta->key, DT_NOEND);
				return;
			}
			if (make_row(store, delta))
				return;
			new_snapshot(store);
			if (!find_row(store, delta->key))
				continue;
		}

		if (delta->preset && !locked)
		{
			result = store->renewed ? TM_Updated : preset_row(store, delta);
			delta->preset = NULL;
			if (result == TM_Ok)
				return;
			/* somebody changed the lead meanwhile */
			new_snapshot(store);
			continue;
		}

		anew = delta->rebuild || delta->appeared || delta->vanished ||
			store->version != store->live->model->version ||
			store->score.n != store->live->shape.n ||
			store->later <= store->fold->now ||
			ls_live_was_rebuilt(store->live, delta);
		if ((anew || delta->touches) && !locked)
		{
			/* what is computed must be computed under the lock */
			locked = lock_row(store);
			if (!locked)
			{
				new_snapshot(store);
				continue;
			}
			anew |= store->later <= store->fold->now;
		}
		if (!anew && delta->touches)
		{
			ls_live_indexes_flush(store->indexes);
			anew = store->ours || !ls_live_window_change(store->fold, delta);
		}
		if (!anew)
		{
			score = store->score;
			if (!add_delta(&score, delta, &rose_only))
			{
				delta->rebuild = true;
				continue;
			}
			result = write_row(store, delta, &score, rose_only);
		}
		else
		{
			delta->rebuild = true;
			result = rebuild_row(store, delta);
		}
		if (result == TM_Ok)
			return;
		if (result == TM_Updated && !locked && lock_row(store))
		{
			locked = true;
			store->fold->now = Max(store->fold->now, GetCurrentTimestamp());
			continue;
		}
		locked = false;
		new_snapshot(store);
	}
}

static void
write_crossings(Store *store)
{
	Crossing   *in_order = NULL;

	while (store->crossings)
	{
		Crossing   *next = store->crossings->next;

		store->crossings->next = in_order;
		in_order = store->crossings;
		store->crossings = next;
	}
	for (; in_order; in_order = in_order->next, store->fold->ncrossings++)
		ls_live_crossing(store->live, in_order->key, in_order->from, in_order->to,
						 in_order->at, in_order->score, in_order->cause);
}

static inline bool
asks_for_nothing(const LiveDelta *delta)
{
	return !delta->changed && !delta->rebuild && !delta->appeared && !delta->vanished &&
		!delta->settle && delta->touches == NULL && delta->later == DT_NOEND;
}

/* Apply what a statement changes to the stored scores of a model. */
void
ls_live_apply(LiveFold *fold, int depth)
{
	Store		store;
	LiveDelta **sorted;
	MemoryContext context;
	MemoryContext oldcontext;
	int			first = 0;

	/* most statements are of one row, and many rows give no points */
	while (first < fold->n && asks_for_nothing(fold->leads[first]))
		first++;
	if (first == fold->n)
		return;
	ls_live_forget_rebuilt(depth);
	context = fold->n == 1 ? fold->context :
		AllocSetContextCreate(fold->context, "leadscore store", ALLOCSET_DEFAULT_SIZES);
	store_begin(&store, fold, depth);
	if (fold->no_events || fold->no_leads)
		ls_live_preset(fold);
	sorted = ls_live_fold_sorted(fold);
	oldcontext = MemoryContextSwitchTo(context);
	for (int i = 0; i < fold->n; i++)
	{
		LiveDelta  *delta = sorted[i];

		/* they lie in order of arrival, not of key */
		if (i + PREFETCH_LEADS < fold->n)
			ls_prefetch(sorted[i + PREFETCH_LEADS]);
		if (asks_for_nothing(delta))
			continue;
		apply_lead(&store, delta);
		if (context != fold->context)
			MemoryContextReset(context);
	}
	MemoryContextSwitchTo(oldcontext);
	store_end(&store);
	CommandCounterIncrement();
	write_crossings(&store);
}
