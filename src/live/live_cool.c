/*
 * live_cool.c
 *	  What is done to stored scores without a change of the data: leads that
 *	  aged out of their band or whose events have come, repair, and computing
 *	  many leads anew.
 */
#include "leadscore.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "live/live.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_cool);
PG_FUNCTION_INFO_V1(leadscore_repair);
PG_FUNCTION_INFO_V1(leadscore_may_rise);

#define BATCH	10000

/* What is done to leads. */
typedef enum Treatment
{
	SETTLE,						/* see to their band and what is due */
	REBUILD,					/* compute them anew */
	NO_EVENTS,					/* compute them anew: there are no events */
	NO_LEADS					/* there are no leads either */
} Treatment;

/*
 * Apply the same to every lead that a query returns (one column, the key), a
 * batch at a time. The query is ours, on our own tables.
 */
static void
for_leads(LiveModel *live, const char *sql, int nargs, Oid *types, Datum *values,
		  const char *cause, Treatment treatment, bool silent, int depth)
{
	LsUser		caller;
	Portal		portal;
	int			level;

	/*
	 * The leads that there are now: a snapshot taken before a command waited for
	 * its locks, or at the start of the transaction, may lack some of them. Those
	 * of a transaction that cannot see what it would have to change fail it.
	 */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	level = ls_portable_settings();
	ls_become_owner(&caller);
	portal = SPI_cursor_open_with_args(NULL, sql, nargs, types, values, NULL, true, 0);
	PopActiveSnapshot();
	ls_become_caller(&caller);
	AtEOXact_GUC(true, level);
	for (;;)
	{
		LiveFold   *fold = ls_live_fold_begin(live, GetCurrentTimestamp(), cause);

		fold->silent = silent;
		fold->no_events = treatment == NO_EVENTS;
		fold->no_leads = treatment == NO_LEADS;
		SPI_cursor_fetch(portal, true, BATCH);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		key = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			LiveDelta  *delta;

			if (isnull)
				continue;
			delta = ls_live_fold_lead(fold, key);
			delta->settle = treatment == SETTLE || treatment == REBUILD;
			delta->rebuild = treatment != SETTLE;
		}
		SPI_freetuptable(SPI_tuptable);
		if (fold->n == 0)
		{
			ls_live_fold_end(fold);
			break;
		}
		ls_live_apply(fold, depth);
		ls_live_fold_end(fold);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* Compute every lead of a model anew, in key order. */
void
ls_live_recompute_all(LiveModel *live, const char *cause, int depth)
{
	for_leads(live, psprintf("SELECT lead FROM %s ORDER BY lead", ls_relation_name(live->score_relid)),
			  0, NULL, NULL, cause, REBUILD, false, depth);
}

/* All events of a model have gone, or all its leads. */
void
ls_live_recompute_emptied(LiveModel *live, bool no_leads, const char *cause, int depth)
{
	for_leads(live, psprintf("SELECT lead FROM %s ORDER BY lead", ls_relation_name(live->score_relid)),
			  0, NULL, NULL, cause, no_leads ? NO_LEADS : NO_EVENTS, false, depth);
}

/*
 * After all scores were stored at once: the bands they are in, when these end,
 * and the events still to come, for which all are looked through unless it is
 * known that none is later than now.
 */
void
ls_live_settle_all(LiveModel *live, TimestampTz newest_event)
{
	LsModel    *model = live->model;
	const char *table = ls_relation_name(live->score_relid);

	CommandCounterIncrement();
	if (OidIsValid(model->events) && live->event_rules.n + live->special_rules.n > 0 &&
		newest_event > GetCurrentTransactionStartTimestamp())
	{
		LiveFold   *fold = ls_live_fold_to_come(live, "publish");

		fold->silent = true;
		for (int i = 0; i < fold->n; i++)
			fold->leads[i]->rebuild = fold->leads[i]->settle = true;
		ls_live_apply(fold, 1);
		ls_live_fold_end(fold);
	}
	if (model->nbands > 0)
	{
		Oid			types[2] = {FLOAT8OID, TIMESTAMPTZOID};
		Datum		values[2];

		values[0] = Float8GetDatum(model->bands[model->nbands - 1].least);
		values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
		for_leads(live, psprintf("SELECT s.lead FROM %s s WHERE (s.score OPERATOR(leadscore.@) $2) OPERATOR(pg_catalog.>=) $1"
								 " OR leadscore.may_rise(s.score)", table),
				  2, types, values, "publish", SETTLE, true, 1);
	}
}

/* Does a score rise by ageing alone, as one with negative points that age does? */
Datum
leadscore_may_rise(PG_FUNCTION_ARGS)
{
	Score		score;

	ls_score_from_datum(PG_GETARG_DATUM(0), &score);
	for (int i = 0; i < score.n; i++)
		if (score.c[i].half_life != 0 && score.c[i].value < 0)
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}

/* ----------------------------------------------------------------
 *		Cooling
 * ----------------------------------------------------------------
 */

/* Moves that had to wait for somebody else's change of the lead. */
static void
retry_moves(LiveModel *live)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(live->model->name)};
	SPITupleTable *table;
	uint64		rows;

	SPI_connect();
	ls_catalog_execute("SELECT id, lead, stage FROM leadscore.crossing"
					   " WHERE model = $1 AND stage_outcome LIKE 'waiting%' ORDER BY id",
					   1, types, values, NULL);
	table = SPI_tuptable;
	rows = SPI_processed;
	for (uint64 i = 0; i < rows; i++)
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		ls_live_move_stage(live, DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull)),
						   SPI_getvalue(table->vals[i], table->tupdesc, 2),
						   SPI_getvalue(table->vals[i], table->tupdesc, 3));
	}
	SPI_finish();
}

/* The leads of a model for which something is due; returns the crossings written. */
static int64
cool_model(const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore cool",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	Oid			types[3] = {TEXTOID, TIMESTAMPTZOID, TEXTARRAYOID};
	Datum		values[3];
	LiveModel  *live;
	LiveTableData *table = ls_live_model_pin(name, &live);
	int64		crossings = 0;

	ls_model_check_owner(live->model);
	values[0] = CStringGetTextDatum(name);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	for (;;)
	{
		LiveFold   *fold = ls_live_fold_begin(live, GetCurrentTimestamp(), "ageing");
		Datum	   *leads;
		int			n;

		SPI_connect();
		ls_catalog_execute("SELECT lead FROM leadscore.due WHERE model = $1 AND due <= $2"
						   " ORDER BY due LIMIT 10000", 2, types, values, NULL);
		n = (int) SPI_processed;
		MemoryContextSwitchTo(context);
		leads = palloc(Max(n, 1) * sizeof(Datum));
		for (int i = 0; i < n; i++)
		{
			char	   *lead = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

			ls_live_fold_lead(fold, ls_live_key_of_text(live, lead))->settle = true;
			leads[i] = CStringGetTextDatum(lead);
		}
		SPI_finish();
		if (n == 0)
		{
			ls_live_fold_end(fold);
			break;
		}
		ls_live_apply(fold, 1);
		crossings += fold->ncrossings;
		ls_live_fold_end(fold);

		/* what is left of these was for leads that are gone, or go by another name */
		values[2] = PointerGetDatum(construct_array(leads, n, TEXTOID, -1, false, TYPALIGN_INT));
		SPI_connect();
		ls_catalog_execute("DELETE FROM leadscore.due WHERE model = $1 AND due <= $2 AND lead = ANY ($3)",
						   3, types, values, NULL);
		SPI_finish();
	}
	retry_moves(live);
	ls_live_table_unpin(table);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return crossings;
}

typedef struct Cooling
{
	const char *name;
	int64		crossings;
} Cooling;

static void
cool_one(void *arg)
{
	Cooling    *cooling = arg;

	cooling->crossings = cool_model(cooling->name);
}

/*
 * The same for one of all models: what is wrong with it must not keep the others
 * waiting. Nothing of it is done then.
 */
static int64
try_cool_model(const char *name)
{
	Cooling		cooling = {name, 0};
	ErrorData  *error = ls_live_attempt(cool_one, &cooling, true);

	if (error == NULL)
		return cooling.crossings;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("model \"%s\" was not cooled: %s", name, error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
	FreeErrorData(error);
	return 0;
}

Datum
leadscore_cool(PG_FUNCTION_ARGS)
{
	int64		crossings = 0;

	if (!PG_ARGISNULL(0))
		crossings = cool_model(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	else
	{
		MemoryContext context = CurrentMemoryContext;
		List	   *names = NIL;
		ListCell   *cell;

		SPI_connect();
		ls_catalog_execute("SELECT model, leads::oid FROM leadscore.model WHERE live_version IS NOT NULL ORDER BY model",
						   0, NULL, NULL, NULL);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			MemoryContext oldcontext;

			/* of all models, those that the caller may cool */
			if (!ls_owns_relation(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull)),
								  GetUserId()))
				continue;
			oldcontext = MemoryContextSwitchTo(context);
			names = lappend(names, pstrdup(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)));
			MemoryContextSwitchTo(oldcontext);
		}
		SPI_finish();
		foreach(cell, names)
			crossings += try_cool_model(lfirst(cell));
	}
	PG_RETURN_INT64(crossings);
}

/* repair(model, lead): computes one lead from its row and events; is there one? */
Datum
leadscore_repair(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *lead = text_to_cstring(PG_GETARG_TEXT_PP(1));
	LiveModel  *live;
	LiveTableData *table = ls_live_model_pin(name, &live);
	LiveFold   *fold = ls_live_fold_begin(live, GetCurrentTimestamp(), "repair");
	LiveDelta  *delta;
	bool		stored;

	ls_model_check_owner(live->model);
	delta = ls_live_fold_lead(fold, OidInputFunctionCall(live->key_input, lead, live->key_ioparam, -1));
	delta->rebuild = true;
	ls_live_apply(fold, 1);
	stored = fold->nstored > 0;
	ls_live_fold_end(fold);
	ls_live_table_unpin(table);
	PG_RETURN_BOOL(stored);
}
