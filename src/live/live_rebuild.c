/*
 * live_rebuild.c
 *	  One lead computed from its row and its events: where adding and taking
 *	  away would not give the same as starting from nothing (limits, points that
 *	  cancel out, leads that come or go).
 *
 * The caller holds the lock of the lead's stored score, if there is one, so that
 * nobody else changes what is computed here before it is stored. Tables are read
 * as their owners, whatever the writer may see.
 */
#include "leadscore.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "live/live.h"

#define FETCH_ROWS	1000

/* What a rule with a limit gives: points at an instant. */
typedef struct Hit
{
	TimestampTz at;
	double		points;
} Hit;

typedef struct Hits
{
	int			n;
	int			size;
	Hit		   *hits;
} Hits;

static void
add_hit(Hits *hits, TimestampTz at, double points)
{
	if (hits->n == hits->size)
	{
		hits->size = hits->size ? hits->size * 2 : 16;
		hits->hits = hits->hits ? repalloc_huge(hits->hits, hits->size * sizeof(Hit))
			: palloc(hits->size * sizeof(Hit));
	}
	hits->hits[hits->n].at = at;
	hits->hits[hits->n++].points = points;
}

/* The earliest first; of those at one instant the larger points. */
static int
compare_hits(const void *a, const void *b)
{
	const Hit  *x = a;
	const Hit  *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->points > y->points ? -1 : x->points < y->points;
}

/* ----------------------------------------------------------------
 *		Leads computed anew
 * ----------------------------------------------------------------
 */

typedef struct RebuiltKey
{
	Oid			relid;
	uint32		hash;			/* of the key: a false alarm costs time only */
} RebuiltKey;

static HTAB *rebuilt = NULL;	/* in TopTransactionContext */
static LocalTransactionId rebuilt_in = InvalidLocalTransactionId;
static TimestampTz rebuilt_at;

/* Forget what statements before the client's current one did. */
void
ls_live_forget_rebuilt(int depth)
{
	if (rebuilt == NULL)
		return;
	if (rebuilt_in != ls_local_transaction_id())
		rebuilt = NULL;			/* its memory is gone */
	else if (depth <= 1 && rebuilt_at != GetCurrentStatementStartTimestamp())
	{
		hash_destroy(rebuilt);
		rebuilt = NULL;
	}
}

bool
ls_live_was_rebuilt(const LiveModel *live, const LiveDelta *delta)
{
	RebuiltKey	key = {live->score_relid, delta->hash};

	return rebuilt != NULL && hash_search(rebuilt, &key, HASH_FIND, NULL) != NULL;
}

void
ls_live_remember_rebuilt(const LiveModel *live, const LiveDelta *delta)
{
	RebuiltKey	key = {live->score_relid, delta->hash};

	if (rebuilt == NULL)
	{
		HASHCTL		ctl = {
			.keysize = sizeof(RebuiltKey),
			.entrysize = sizeof(RebuiltKey),
			.hcxt = TopTransactionContext
		};

		rebuilt = hash_create("leadscore leads computed anew", 64, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		rebuilt_in = ls_local_transaction_id();
	}
	rebuilt_at = GetCurrentStatementStartTimestamp();
	(void) hash_search(rebuilt, &key, HASH_ENTER, NULL);
}

/* ----------------------------------------------------------------
 *		Reading rows
 * ----------------------------------------------------------------
 */

/*
 * See all that is committed now and what this transaction did, whatever its
 * isolation level, as the checks of foreign keys do. Under the lock of a stored
 * score that we may change, this is what a transaction's own snapshot has, too;
 * but a score that is made for a new lead must hold events that were committed
 * while we waited.
 */
static void
push_snapshot(void)
{
	CommandCounterIncrement();
	/* partitions attached or detached while we waited for a lock count, too */
	AcceptInvalidationMessages();
	PushActiveSnapshot(GetLatestSnapshot());
}

static SPIPlanPtr
make_plan(const char *sql, int nargs, Oid *types)
{
	int			level = ls_portable_settings();
	SPIPlanPtr	plan = ls_spi_prepare(sql, nargs, types);

	SPI_keepplan(plan);
	AtEOXact_GUC(false, level);
	return plan;
}

static const char *
only(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_RELATION ? "ONLY " : "";
}

/* Put a row that came as a composite value into a slot of the table. */
void
ls_live_store_row(TupleTableSlot *slot, HeapTuple row, TupleDesc desc, HeapTupleData *tuple)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, 1, &isnull);
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);

	tuple->t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_data = header;
	ExecForceStoreHeapTuple(tuple, slot, false);
}

/* The points that the lead's row gives, and its key as that has it; false if there is no such row. */
static bool
compute_lead(LiveModel *live, Datum key, LiveComputed *result, MemoryContext context)
{
	Score	   *score = &result->score;
	const LsModel *model = live->model;
	LiveIdentity identity;
	LiveEval	eval;
	Relation	rel;
	bool		exists;

	rel = table_open(model->leads, AccessShareLock);
	ls_live_become_table_owner(&identity, rel->rd_rel->relowner, true);
	if (live->lead_plan == NULL)
		live->lead_plan = make_plan(psprintf("SELECT %s FROM %s%s l WHERE l.%s %s $1",
											 ls_whole_row("l", model->leads), only(model->leads),
											 ls_relation_name(model->leads), quote_identifier(model->lead_key),
											 ls_key_equality(model->key_type)),
									1, &live->model->key_type);
	ls_spi_expect(SPI_execute_plan(live->lead_plan, &key, NULL, true, 1), SPI_OK_SELECT);
	exists = SPI_processed > 0;
	ls_live_eval_begin(&eval, live, &live->lead_rules);
	if (exists)
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
		HeapTupleData tuple;
		MemoryContext oldcontext;
		bool		isnull;

		ls_live_store_row(slot, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &tuple);
		result->key = slot_getattr(slot, model->lead_attno, &isnull);
		oldcontext = MemoryContextSwitchTo(context);
		result->key = datumCopy(result->key, live->key_byval, live->key_len);
		MemoryContextSwitchTo(oldcontext);
		ls_live_eval_row(&eval, slot);
		for (int i = 0; i < score->n; i++)
			score->c[i].value += eval.points[i];
		ExecDropSingleTupleTableSlot(slot);
	}
	ls_live_become_self(&identity);
	ls_live_eval_end(&eval);
	table_close(rel, NoLock);
	return exists;
}

static inline void
add_points(Score *score, int component, double points, TimestampTz at)
{
	ScoreComponent *c = &score->c[component];

	if (points != 0.0)
		(void) score_component_add(c, points, c->half_life != 0 ? at : 0);
}

/* Add what counts of a rule's hits. */
static void
add_limited(Score *score, const LsRule *rule, Hits *hits)
{
	TimestampTz window = 0;
	int			counted = 0;

	if (hits->n > 1)
		qsort(hits->hits, hits->n, sizeof(Hit), compare_hits);
	for (int i = 0; i < hits->n; i++)
	{
		TimestampTz at = hits->hits[i].at;

		if (rule->at_most > 0)
		{
			TimestampTz mine = rule->per != 0 ? ls_rule_window(rule, at) : 0;

			if (i == 0 || mine != window)
			{
				window = mine;
				counted = 0;
			}
			if (counted++ >= rule->at_most)
				continue;
		}
		add_points(score, rule->component, hits->hits[i].points, at);
	}
}

/* The lead's events up to now, in batches; calls back for each. */
typedef void (*EventCallback) (TupleTableSlot *slot, TimestampTz at, void *arg);

static void
read_events(LiveModel *live, SPIPlanPtr plan, Datum *values, Relation rel,
			TimestampTz now, TimestampTz *later, EventCallback callback, void *arg)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	Portal		portal = SPI_cursor_open(NULL, plan, values, NULL, true);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTupleData tuple;
			bool		isnull;
			Datum		at;

			CHECK_FOR_INTERRUPTS();
			ls_live_store_row(slot, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &tuple);
			at = slot_getattr(slot, live->model->event_at_attno, &isnull);
			if (isnull || !score_instant_is_valid(DatumGetTimestampTz(at)))
				continue;
			if (DatumGetTimestampTz(at) > now)
			{
				*later = Min(*later, DatumGetTimestampTz(at));
				continue;
			}
			callback(slot, DatumGetTimestampTz(at), arg);
		}
		if (SPI_processed < FETCH_ROWS)
			break;
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_cursor_close(portal);
	ExecDropSingleTupleTableSlot(slot);
}

/* ----------------------------------------------------------------
 *		A lead from nothing
 * ----------------------------------------------------------------
 */

typedef struct Computing
{
	Score	   *score;
	LiveModel  *live;
	LiveEval	plain;
	LiveEval	special;
	Hits	   *hits;
} Computing;

static void
compute_event(TupleTableSlot *slot, TimestampTz at, void *arg)
{
	Computing  *state = arg;

	ls_live_eval_row(&state->plain, slot);
	for (int i = 0; i < state->score->n; i++)
		add_points(state->score, i, state->plain.points[i], at);
	if (state->special.eval == NULL)
		return;
	ls_live_eval_row(&state->special, slot);
	for (int i = 0; i < state->special.rules->n; i++)
		if (LS_RULE_IN(state->special.matched, i) &&
			ls_live_counts(state->live, state->special.rules->rules[i], at))
			add_hit(&state->hits[i], at, ls_eval_rule_points(state->special.eval, slot, i));
}

static void
compute_events(LiveModel *live, Datum key, TimestampTz now, LiveComputed *result)
{
	LsModel    *model = live->model;
	LiveIdentity identity;
	Computing	state = {.score = &result->score, .live = live};
	Relation	rel = table_open(model->events, AccessShareLock);

	ls_live_become_table_owner(&identity, rel->rd_rel->relowner, true);
	if (live->events_plan == NULL)
		live->events_plan = make_plan(psprintf("SELECT %s FROM %s e WHERE %s", ls_whole_row("e", model->events),
											   ls_relation_name(model->events),
											   ls_event_is_of(model, "e", "$1")),
									  1, &model->key_type);
	ls_live_eval_begin(&state.plain, live, &live->event_rules);
	ls_live_eval_begin(&state.special, live, &live->special_rules);
	state.hits = palloc0(Max(live->special_rules.n, 1) * sizeof(Hits));
	read_events(live, live->events_plan, &key, rel, now, &result->later, compute_event, &state);
	ls_live_become_self(&identity);
	for (int i = 0; i < live->special_rules.n; i++)
		add_limited(&result->score, live->special_rules.rules[i], &state.hits[i]);
	ls_live_eval_end(&state.plain);
	ls_live_eval_end(&state.special);
	table_close(rel, NoLock);
}

/*
 * A lead's score as of now, from its row and its events, as they are visible to
 * a statement that starts now.
 */
void
ls_live_compute(LiveModel *live, Datum key, TimestampTz now, LiveComputed *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore rebuild",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(context);

	result->score = live->shape;
	result->later = DT_NOEND;
	push_snapshot();
	SPI_connect();
	result->exists = compute_lead(live, key, result, oldcontext);
	if (result->exists && OidIsValid(live->model->events) &&
		live->event_rules.n + live->special_rules.n > 0)
		compute_events(live, key, now, result);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
}

/* Is there any event of a lead? New leads seldom have one. */
bool
ls_live_has_events(LiveModel *live, Datum key)
{
	LsModel    *model = live->model;
	LiveIdentity identity;
	bool		found;

	if (!OidIsValid(model->events) || live->event_rules.n + live->special_rules.n == 0)
		return false;
	push_snapshot();
	SPI_connect();
	ls_live_become_table_owner(&identity, ls_live_owner_of(model->events), true);
	if (live->any_event_plan == NULL)
		live->any_event_plan = make_plan(psprintf("SELECT FROM %s e WHERE %s LIMIT 1", ls_relation_name(model->events),
												  ls_event_is_of(model, "e", "$1")),
										 1, &model->key_type);
	ls_spi_expect(SPI_execute_plan(live->any_event_plan, &key, NULL, true, 1), SPI_OK_SELECT);
	found = SPI_processed > 0;
	ls_live_become_self(&identity);
	SPI_finish();
	PopActiveSnapshot();
	return found;
}

/* ----------------------------------------------------------------
 *		One window of a rule with a limit
 * ----------------------------------------------------------------
 */

typedef struct WindowState
{
	LiveModel  *live;
	LiveEval	special;
	int			rule;
	Hits		hits;
} WindowState;

static void
window_event(TupleTableSlot *slot, TimestampTz at, void *arg)
{
	WindowState *state = arg;

	ls_live_eval_row(&state->special, slot);
	if (LS_RULE_IN(state->special.matched, state->rule) &&
		ls_live_counts(state->live, state->special.rules->rules[state->rule], at))
		add_hit(&state->hits, at, ls_eval_rule_points(state->special.eval, slot, state->rule));
}

/* Take one hit out; false if it is not there. */
static bool
remove_hit(Hits *hits, const LiveTouch *touch)
{
	for (int i = 0; i < hits->n; i++)
		if (hits->hits[i].at == touch->at && hits->hits[i].points == touch->points)
		{
			hits->hits[i] = hits->hits[--hits->n];
			return true;
		}
	return false;
}

/*
 * What counted before and what counts now: both are sorted, and what both have
 * is left out, so that nothing is added only to be taken away again.
 */
static void
fold_difference(LiveFold *fold, LiveDelta *delta, const LsRule *rule, Hits *before, Hits *after)
{
	int			nbefore = Min(before->n, rule->at_most);
	int			nafter = Min(after->n, rule->at_most);
	int			i = 0;
	int			j = 0;

	qsort(before->hits, before->n, sizeof(Hit), compare_hits);
	qsort(after->hits, after->n, sizeof(Hit), compare_hits);
	while (i < nbefore || j < nafter)
	{
		int			order = i >= nbefore ? 1 : j >= nafter ? -1 :
			compare_hits(&before->hits[i], &after->hits[j]);

		if (order < 0)
		{
			ls_live_fold_add(fold, delta, rule->component, before->hits[i].points, before->hits[i].at, false);
			i++;
		}
		else if (order > 0)
		{
			ls_live_fold_add(fold, delta, rule->component, after->hits[j].points, after->hits[j].at, true);
			j++;
		}
		else
		{
			i++;
			j++;
		}
	}
}

/*
 * Fold in what a lead's changes do to the windows of limits they fall into.
 * Requires that the stored score was not yet changed by this transaction: then
 * what it holds of a window is what the window's events gave before this
 * statement. false: that cannot be said, compute the lead anew.
 */
bool
ls_live_window_change(LiveFold *fold, LiveDelta *delta)
{
	LiveModel  *live = fold->model;
	LsModel    *model = live->model;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore window",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	Relation	rel = table_open(model->events, AccessShareLock);
	Oid			types[3] = {model->key_type, TIMESTAMPTZOID, TIMESTAMPTZOID};
	LiveTouch  *touch;
	bool		consistent = true;

	push_snapshot();
	SPI_connect();
	while (consistent && (touch = delta->touches) != NULL)
	{
		const LsRule *rule = live->special_rules.rules[touch->rule];
		WindowState state = {.live = live, .rule = touch->rule};
		TimestampTz from = SCORE_MIN_INSTANT;
		TimestampTz until = SCORE_END_INSTANT;
		TimestampTz later = DT_NOEND;
		LiveIdentity identity;
		Hits		before = {0};
		LiveTouch **link = &delta->touches;
		Datum		values[3];

		if (rule->per != 0)
		{
			from = Max(from, ls_rule_window(rule, touch->at));
			until = Min(until, ls_rule_window(rule, touch->at) + rule->per);
		}
		ls_live_become_table_owner(&identity, rel->rd_rel->relowner, true);
		if (live->window_plan == NULL)
			live->window_plan = make_plan(psprintf("SELECT %s FROM %s e WHERE %s AND e.%s >= $2 AND e.%s < $3",
												   ls_whole_row("e", model->events),
												   ls_relation_name(model->events),
												   ls_event_is_of(model, "e", "$1"),
												   quote_identifier(model->event_at),
												   quote_identifier(model->event_at)),
										  3, types);
		values[0] = delta->key;
		values[1] = TimestampTzGetDatum(from);
		values[2] = TimestampTzGetDatum(until);
		ls_live_eval_begin(&state.special, live, &live->special_rules);
		read_events(live, live->window_plan, values, rel, fold->now, &later, window_event, &state);
		ls_live_become_self(&identity);
		ls_live_eval_end(&state.special);

		/* before: without what was added, with what was removed */
		for (int i = 0; i < state.hits.n; i++)
			add_hit(&before, state.hits.hits[i].at, state.hits.hits[i].points);
		while ((touch = *link) != NULL)
		{
			if (touch->rule != state.rule || touch->at < from || touch->at >= until)
			{
				link = &touch->next;
				continue;
			}
			if (!touch->added)
				add_hit(&before, touch->at, touch->points);
			*link = touch->next;
			touch->next = NULL;
			if (touch->added && !remove_hit(&before, touch))
				consistent = false;
		}
		fold_difference(fold, delta, rule, &before, &state.hits);
	}
	SPI_finish();
	PopActiveSnapshot();
	table_close(rel, NoLock);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return consistent;
}
