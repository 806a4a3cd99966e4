/*
 * live_truncate.c
 *	  Rows that go without being deleted one by one: TRUNCATE here, partitions
 *	  that are dropped in live_partition.c.
 *
 * After a TRUNCATE of all events only the leads' own points are left: one pass
 * over the stored scores, a batch of leads at a time. Where only a partition (or
 * a child) is emptied or dropped, what its rows gave is added up before they go,
 * and taken away afterwards.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "live/live.h"

/* in TopTransactionContext, newest first */
static LiveLeaving *leaving = NULL;

/* ----------------------------------------------------------------
 *		Rows about to go
 * ----------------------------------------------------------------
 */

static void
on_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		leaving = NULL;			/* its memory goes with the transaction */
}

static void
on_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	LiveLeaving **link = &leaving;

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
ls_live_leaving_init(void)
{
	RegisterXactCallback(on_transaction, NULL);
	RegisterSubXactCallback(on_subtransaction, NULL);
}

static LiveLeaving **
find_leaving(Oid relid, const char *model)
{
	LiveLeaving **link = &leaving;

	while (*link != NULL && ((*link)->relid != relid || strcmp((*link)->model, model) != 0))
		link = &(*link)->next;
	return link;
}

/* Take an entry off the list; NULL: there is none. */
LiveLeaving *
ls_live_take_leaving(Oid relid, const char *model)
{
	LiveLeaving **link = find_leaving(relid, model);
	LiveLeaving *entry = *link;

	if (entry != NULL)
		*link = entry->next;
	return entry;
}

/* Any one whose table is gone, for live_partition.c; NULL: there is none. */
LiveLeaving *
ls_live_take_dropped(void)
{
	for (LiveLeaving **link = &leaving; *link != NULL; link = &(*link)->next)
		if (get_rel_name((*link)->relid) == NULL)
		{
			LiveLeaving *entry = *link;

			*link = entry->next;
			return entry;
		}
	return NULL;
}

/*
 * Note that a table is about to lose its rows; collect: and what they give to
 * the model's scores.
 */
LiveLeaving *
ls_live_note_leaving(const char *model, Oid root, Oid relid, bool collect, bool only, const char *cause)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	LiveLeaving *entry = palloc0(sizeof(LiveLeaving));

	/* of a command that failed, or that did not do it after all */
	(void) ls_live_take_leaving(relid, model);
	entry->relid = relid;
	entry->root = root;
	entry->model = pstrdup(model);
	if (collect)
	{
		/* pinned to the end of the transaction: the folds point to it */
		LiveTableData *table = ls_live_table_pin(root);

		for (int i = 0; i < table->nmodels; i++)
		{
			LiveModel  *live = table->models[i];

			if (strcmp(live->model->name, model) != 0)
				continue;
			if (live->model->events == root)
				entry->events = ls_live_fold_table(live, true, relid, only, false, cause);
			if (live->model->leads == root)
				entry->leads = ls_live_fold_table(live, false, relid, only, false, cause);
			entry->collected = true;
		}
	}
	entry->subid = GetCurrentSubTransactionId();
	entry->next = leaving;
	leaving = entry;
	MemoryContextSwitchTo(oldcontext);
	return entry;
}

/* The rows have gone. */
void
ls_live_apply_leaving(LiveLeaving *entry, int depth)
{
	LiveFold   *folds[2] = {entry->leads, entry->events};

	for (int i = 0; i < 2; i++)
	{
		if (folds[i] == NULL)
			continue;
		folds[i]->now = GetCurrentTimestamp();
		ls_live_apply(folds[i], depth);
		ls_live_fold_end(folds[i]);
	}
}

/* ----------------------------------------------------------------
 *		TRUNCATE
 * ----------------------------------------------------------------
 */

/* Does emptying this table leave no row that counts for the model? */
static bool
is_whole(const LiveModel *live, Oid root, Relation rel)
{
	return RelationGetRelid(rel) == root &&
		(rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || !rel->rd_rel->relhassubclass ||
		 live->model->events != root);
}

/* Before: on tables that are, or have, partitions or children. */
void
ls_live_truncating(LiveModel *live, Oid root, Relation rel)
{
	const char *model = live->model->name;
	LiveLeaving *of_root = *find_leaving(root, model);
	bool		whole = is_whole(live, root, rel);
	bool		covered = RelationGetRelid(rel) != root && of_root != NULL && of_root->whole;
	LiveLeaving *entry = ls_live_note_leaving(model, root, RelationGetRelid(rel), !whole && !covered, true,
											  "truncate");

	entry->whole = whole;
	entry->covered = covered;
}

/* After. */
void
ls_live_truncated(LiveModel *live, Oid root, Relation rel, int depth)
{
	LiveLeaving *entry = ls_live_take_leaving(RelationGetRelid(rel), live->model->name);

	if (is_whole(live, root, rel))
		ls_live_recompute_emptied(live, live->model->leads == root, "truncate", depth);
	else if (entry != NULL && entry->collected)
		ls_live_apply_leaving(entry, depth);
	else if (entry == NULL || !entry->covered)
		ls_live_recompute_all(live, "truncate", depth);
}

/* ----------------------------------------------------------------
 *		Scores when there are no events
 * ----------------------------------------------------------------
 */

/* The leads of a fold, as an array. */
static Datum
keys_of(LiveFold *fold)
{
	LiveModel  *live = fold->model;
	Datum	   *keys = palloc(fold->n * sizeof(Datum));
	int16		len;
	bool		byval;
	char		align;

	for (int i = 0; i < fold->n; i++)
		keys[i] = fold->leads[i]->key;
	get_typlenbyvalalign(live->model->key_type, &len, &byval, &align);
	return PointerGetDatum(construct_array(keys, fold->n, live->model->key_type, len, byval, align));
}

static void
points_of_leads(LiveFold *fold)
{
	LiveModel  *live = fold->model;
	const LsModel *model = live->model;
	Oid			types[1] = {get_array_type(model->key_type)};
	Datum		values[1];
	Relation	rel = table_open(model->leads, AccessShareLock);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	LiveIdentity identity;
	LiveEval	eval;

	values[0] = keys_of(fold);
	SPI_connect();
	ls_live_become_table_owner(&identity, rel->rd_rel->relowner, true);
	ls_live_eval_begin(&eval, live, &live->lead_rules);
	ls_spi_expect(SPI_execute_with_args(psprintf("SELECT %s FROM %s%s l WHERE l.%s %s ANY ($1)",
												 ls_whole_row("l", model->leads),
												 get_rel_relkind(model->leads) == RELKIND_RELATION ? "ONLY " : "",
												 ls_relation_name(model->leads), quote_identifier(model->lead_key),
												 ls_key_equality(model->key_type)),
										1, types, values, NULL, true, 0), SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTupleData tuple;
		LiveComputed *preset;
		bool		isnull;

		ls_live_store_row(slot, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &tuple);
		preset = ls_live_fold_lead(fold, slot_getattr(slot, model->lead_attno, &isnull))->preset;
		if (preset == NULL)
			continue;			/* equal to a key, but not the same lead: computed anew */
		ls_live_eval_row(&eval, slot);
		preset->exists = true;
		for (int c = 0; c < preset->score.n; c++)
			if (eval.points[c] != 0.0)
				(void) score_component_add(&preset->score.c[c], eval.points[c], 0);
	}
	ExecDropSingleTupleTableSlot(slot);
	ls_live_become_self(&identity);
	ls_live_eval_end(&eval);
	SPI_finish();
	table_close(rel, NoLock);
}

/*
 * What the leads of a fold come to without any event. Called once the stored
 * scores are looked at with a snapshot not later than the one taken here: whoever
 * changes a lead later changes its stored score later, too, and that is noticed.
 */
void
ls_live_preset(LiveFold *fold)
{
	LiveModel  *live = fold->model;
	bool		from_rows = !fold->no_leads && live->lead_rules.n > 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore preset", ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext;

	if (from_rows && !OidIsValid(get_array_type(live->model->key_type)))
		return;
	for (int i = 0; i < fold->n; i++)
	{
		LiveComputed *preset = MemoryContextAlloc(fold->context, sizeof(LiveComputed));

		preset->exists = !fold->no_leads && !from_rows;
		preset->score = live->shape;
		preset->later = DT_NOEND;
		fold->leads[i]->preset = preset;
	}
	if (from_rows)
	{
		oldcontext = MemoryContextSwitchTo(context);
		CommandCounterIncrement();
		AcceptInvalidationMessages();
		PushActiveSnapshot(GetLatestSnapshot());
		points_of_leads(fold);
		PopActiveSnapshot();
		MemoryContextSwitchTo(oldcontext);
	}
	MemoryContextDelete(context);
}
