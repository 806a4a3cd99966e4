/*
 * live_store.c
 *	  Applying what a statement changes to the stored scores.
 *
 * A score table is written here only (its rows: live_row.c).
 *
 * Concurrency. The row lock of a lead's stored score orders its writers. Points
 * that are added or taken away commute, so an update is tried on the version
 * that the statement sees; if somebody else changed the row, the latest version
 * is locked and the change applied to that (at repeatable read and above: a
 * serialization failure, as for any UPDATE). Whatever is computed from the
 * tables (live_rebuild.c) is computed under the lock with a new snapshot.
 * Statements that touch several leads take them in key order.
 *
 * One statement may fire our triggers several times, where that cannot be put off
 * to its end (live_statement.c), and triggers nest. What one of them computes from
 * the tables includes rows whose own trigger is yet to fire; adding these again
 * would count them twice. So a lead that was computed anew is remembered
 * (live_rebuild.c) until the next statement of the client, and computed anew by every later firing.
 */
#include "leadscore.h"

#include <math.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "live/live_store.h"

/*
 * A component of which so little is left after points were taken away is
 * computed anew: what rounding did to the larger terms would show in it.
 */
#define CANCELLED	1e-3

#define PREFETCH_LEADS	8

/* Crossings that a lead went through without anybody looking; beyond these it is only seen where it is. */
#define MOST_CHANGES	1000

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
note_crossing(Store *store, const char *from, const char *to,
			  TimestampTz at, double score, const char *cause)
{
	MemoryContext oldcontext;
	Crossing   *crossing;

	if (store->fold->silent)
		return;
	oldcontext = MemoryContextSwitchTo(store->fold->context);
	crossing = palloc(sizeof(Crossing));
	crossing->key = datumCopy(store->lead, store->live->key_byval, store->live->key_len);
	crossing->from = from ? pstrdup(from) : NULL;
	crossing->to = to;
	crossing->at = at;
	crossing->score = score;
	crossing->cause = cause;
	crossing->next = store->crossings;
	store->crossings = crossing;
	MemoryContextSwitchTo(oldcontext);
}

/* The lead is in a band at an instant. */
static void
enter_band(Store *store, const char *band, TimestampTz at, double total, const char *cause)
{
	if (same_band(store->passed, band))
		return;
	note_crossing(store, store->passed, band, at, total, cause);
	store->passed = band;
}

/*
 * What ageing alone did to the score found since somebody last looked: each
 * crossing at the instant at which it happened.
 */
static void
pass_time(Store *store, TimestampTz until)
{
	double		total;
	const char *band;

	for (int i = 0; i < MOST_CHANGES && store->due <= until; i++)
	{
		TimestampTz at = store->due;

		band = ls_live_band_at(store->live, &store->score, at, &total);
		enter_band(store, band, at, total, "ageing");
		store->due = ls_live_next_change(store->live, &store->score, at);
	}
	if (store->due <= until)
	{
		band = ls_live_band_at(store->live, &store->score, until, &total);
		enter_band(store, band, until, total, "ageing");
	}
}

static bool
may_rise_by_itself(const Score *score)
{
	for (int i = 0; i < score->n; i++)
		if (score->c[i].half_life != 0 && score->c[i].value < 0)
			return true;
	return false;
}

static const char *
cause_of(const Store *store, const LiveDelta *delta)
{
	return delta->of_lead ? store->fold->lead_cause : store->fold->cause;
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
	const char *after;
	double		total;
	TimestampTz next;
	bool		aged = store->due <= now;
	bool		stayed;

	if (live->model->nbands == 0)
		return NULL;

	pass_time(store, now);
	after = ls_live_band_at(live, score, now, &total);
	stayed = same_band(store->passed, after);
	enter_band(store, after, now, total, cause_of(store, delta));
	if (stayed && !aged && rose_only && !may_rise_by_itself(score))
		return after;

	next = ls_live_next_change(live, score, now);
	if (aged || !same_band(store->band, after) || next < store->due)
		store->due = next;
	return after;
}

/* ----------------------------------------------------------------
 *		Writing a row
 * ----------------------------------------------------------------
 */

/* Replace the row found. TM_Ok, or why it could not be done. */
static TM_Result
write_row(Store *store, LiveDelta *delta, const Score *score, bool rose_only)
{
	TimestampTz due = store->due;
	TimestampTz later = store->later;
	TimestampTz now = store->fold->now;
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
		ls_live_register_due(store->live, store->lead, is);
		return TM_Ok;
	}
	result = ls_store_update(store, ls_store_score(&buffer, score), band);
	if (result == TM_Ok)
	{
		/* what is registered may come too early, never too late */
		if (delta->settle || is < store->registered || (store->registered <= now && is != store->registered))
			ls_live_register_due(store->live, store->lead, is);
		return TM_Ok;
	}
	store->crossings = crossings;
	return result;
}

/* The lead found is none any more, under this name: it is in no band, and nothing is due. */
static void
leave_bands(Store *store)
{
	enter_band(store, NULL, store->fold->now, 0, "deleted");
	if (store->registered != DT_NOEND)
		ls_live_register_due(store->live, store->lead, DT_NOEND);
	store->band = NULL;
	store->due = store->later = store->registered = DT_NOEND;
}

static TM_Result
delete_row(Store *store)
{
	TM_Result	result = ls_store_delete(store);

	if (result == TM_Ok)
		leave_bands(store);
	return result;
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

/*
 * Events dated in the future, which have come since somebody last looked: what
 * each did to the band, at its own instant. Leaves what is known of the lead then.
 */
static void
pass_events(Store *store, LiveDelta *delta)
{
	LiveModel  *live = store->live;
	LiveComputed computed;
	double		total;
	const char *band;

	if (store->fold->silent || live->model->nbands == 0)
		return;
	for (int i = 0; i < MOST_CHANGES && store->later <= store->fold->now; i++)
	{
		TimestampTz at = store->later;

		ls_live_compute(live, delta->key, at, &computed);
		if (!computed.exists)
			return;
		pass_time(store, at - 1);
		band = ls_live_band_at(live, &computed.score, at, &total);
		enter_band(store, band, at, total, "event");
		store->score = computed.score;
		store->due = ls_live_next_change(live, &computed.score, at);
		store->later = computed.later;
	}
}

/*
 * The lead's key is written otherwise than the row found has it, as 1.0 is for 1.
 * By its text, which is what crossings name it by, it is another lead.
 */
static void
take_form(Store *store, Datum key)
{
	if (datum_image_eq(store->lead, key, store->live->key_byval, store->live->key_len))
		return;
	leave_bands(store);
	store->lead = key;
}

/* Compute the lead anew and store the outcome; the row found is locked. */
static TM_Result
rebuild_row(Store *store, LiveDelta *delta)
{
	Crossing   *crossings = store->crossings;
	LiveComputed computed;
	TM_Result	result;

	ls_live_remember_rebuilt(store->live, delta);
	store->fold->now = Max(store->fold->now, GetCurrentTimestamp());
	ls_live_indexes_flush(store->indexes);
	pass_events(store, delta);
	ls_live_compute(store->live, delta->key, store->fold->now, &computed);
	if (computed.exists)
	{
		take_form(store, computed.key);
		/* what is still to come is known exactly now */
		delta->later = computed.later;
		if (store->later != computed.later)
			store->later = DT_NOEND;
		result = write_row(store, delta, &computed.score, false);
	}
	else
		result = delete_row(store);
	if (result != TM_Ok)
		store->crossings = crossings;
	return result;
}

static bool
same_score(const Score *a, const Score *b)
{
	ScoreBuffer x;
	ScoreBuffer y;

	return DatumGetBool(DirectFunctionCall2(byteaeq, ls_store_score(&x, a), ls_store_score(&y, b)));
}

/* Store what the lead comes to as far as the snapshot shows. */
static TM_Result
preset_row(Store *store, LiveDelta *delta)
{
	LiveComputed *preset = delta->preset;

	if (store->depth > 1)
		ls_live_remember_rebuilt(store->live, delta);
	if (!preset->exists)
		return delete_row(store);
	/* nothing to write: then it must be seen otherwise that nobody changed the lead before its row was read */
	if (store->later == DT_NOEND && store->due > store->fold->now &&
		store->version == store->live->model->version && same_score(&store->score, &preset->score))
		return ls_store_is_current(store) ? TM_Ok : TM_Updated;
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
	if (!ls_store_insert(store, delta->key, &score))
		return false;
	ls_live_indexes_flush(store->indexes);
	ls_store_new_snapshot(store);
	if (!ls_store_find(store, delta->key))
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
		if (!locked && !ls_store_find(store, delta->key))
		{
			if (delta->settle && !delta->rebuild)
			{
				ls_live_register_due(store->live, delta->key, DT_NOEND);
				return;
			}
			if (make_row(store, delta))
				return;
			ls_store_new_snapshot(store);
			if (!ls_store_find(store, delta->key))
				continue;
		}

		if (delta->preset && !locked)
		{
			result = store->renewed ? TM_Updated : preset_row(store, delta);
			delta->preset = NULL;
			if (result == TM_Ok)
				return;
			/* somebody changed the lead meanwhile */
			ls_store_new_snapshot(store);
			continue;
		}

		anew = delta->rebuild || delta->appeared || delta->vanished ||
			store->version != store->live->model->version ||
			store->score.n != store->live->shape.n ||
			store->later <= store->fold->now ||
			ls_live_was_rebuilt(store->live, delta);
		if ((anew || delta->touches || (delta->settle && !store->fold->silent)) && !locked)
		{
			/* what is computed, and when it is due, must be computed under the lock */
			locked = ls_store_lock(store);
			if (!locked)
			{
				ls_store_new_snapshot(store);
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
		if (result == TM_Updated && !locked && ls_store_lock(store))
		{
			locked = true;
			store->fold->now = Max(store->fold->now, GetCurrentTimestamp());
			continue;
		}
		locked = false;
		ls_store_new_snapshot(store);
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
	ls_store_begin(&store, fold, depth);
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
	ls_store_end(&store);
	CommandCounterIncrement();
	write_crossings(&store);
}
