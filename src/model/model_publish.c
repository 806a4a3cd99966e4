/*
 * model_publish.c
 *	  Publishing: freezing the draft as a version, computing the score of every
 *	  lead, and switching readers over.
 *
 * Scores are computed into a new heap, which takes the place of the stored one
 * at the end (model_swap.c): readers are never without scores, grants and the
 * table's identity stay, and indexes are built in bulk.
 */
#include "leadscore.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/cluster.h"
#include "commands/progress.h"
#include "commands/tablecmds.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "model/eval.h"
#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_publish);
PG_FUNCTION_INFO_V1(leadscore_rescore);
PG_FUNCTION_INFO_V1(leadscore_model_score);

LsScoresHook ls_scores_hook = NULL;

/* A receiver that appends what a query returns to a table no one else sees yet. */
typedef struct StoreReceiver
{
	DestReceiver pub;
	Relation	target;
	BulkInsertState bistate;
	CommandId	cid;
	uint64		rows;
	TimestampTz next_notice;
	double		expected;		/* leads, as far as known; 0: not known */
	double		expected_events;
	const char *model;
	int			version;
	Oid			relid;			/* the stored scores */
} StoreReceiver;

#define STORE_OPTIONS			(TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN)
#define NOTICE_EVERY_ROWS		1024	/* how often the clock is looked at */
#define NOTICE_EVERY_MS			5000

/*
 * To the server's statistics, storing scores is a COPY into the score table,
 * with parameters of our own after those of COPY (see the view progress).
 */
#define PROGRESS_EVENTS			15
#define PROGRESS_EVENTS_TOTAL	16
#define PROGRESS_LEADS_TOTAL	17
#define PROGRESS_VERSION		18
#define PROGRESS_MARK			19
#define PROGRESS_MARK_VALUE		INT64CONST(0x6C65616473636F72)	/* "leadscor" */

static void
begin_progress(Oid relid, int version, double events, double leads)
{
	const int	params[] = {PROGRESS_COPY_COMMAND, PROGRESS_COPY_TYPE, PROGRESS_EVENTS_TOTAL,
	PROGRESS_LEADS_TOTAL, PROGRESS_VERSION, PROGRESS_MARK};
	const int64 values[] = {PROGRESS_COPY_COMMAND_FROM, PROGRESS_COPY_TYPE_CALLBACK, (int64) events,
	(int64) leads, version, PROGRESS_MARK_VALUE};

	pgstat_progress_start_command(PROGRESS_COMMAND_COPY, relid);
	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

static void
store_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	StoreReceiver *store = (StoreReceiver *) self;

	(void) operation;
	(void) typeinfo;
	store->bistate = GetBulkInsertState();
	store->cid = GetCurrentCommandId(true);
}

/*
 * Say how far we are: to those who look at leadscore.progress each time, to
 * the caller every few seconds.
 */
static void
report_progress(StoreReceiver *store, uint64 rows, bool events)
{
	TimestampTz now = GetCurrentTimestamp();
	double		expected = events ? store->expected_events : store->expected;
	const char *what = events ? "events read" : "leads scored";

	/* a subtransaction that was rolled back, for a rule that failed, ends it */
	if (MyBEEntry && MyBEEntry->st_progress_command == PROGRESS_COMMAND_INVALID)
		begin_progress(store->relid, store->version, store->expected_events, store->expected);
	pgstat_progress_update_param(events ? PROGRESS_EVENTS : PROGRESS_COPY_TUPLES_PROCESSED, (int64) rows);
	if (now < store->next_notice)
		return;
	store->next_notice = now + NOTICE_EVERY_MS * INT64CONST(1000);
	if (expected > (double) rows)
		ereport(NOTICE,
				(errmsg("model \"%s\": " UINT64_FORMAT " %s (%.0f %%)", store->model,
						rows, what, 100.0 * (double) rows / expected)));
	else
		ereport(NOTICE,
				(errmsg("model \"%s\": " UINT64_FORMAT " %s", store->model, rows, what)));
}

static void
scan_progress(void *arg, uint64 rows, bool events)
{
	report_progress(arg, rows, events);
}

static bool
store_receive(TupleTableSlot *slot, DestReceiver *self)
{
	StoreReceiver *store = (StoreReceiver *) self;

	table_tuple_insert(store->target, slot, store->cid, STORE_OPTIONS, store->bistate);
	store->rows++;
	if (store->rows % NOTICE_EVERY_ROWS == 0)
		report_progress(store, store->rows, false);
	return true;
}

static void
store_shutdown(DestReceiver *self)
{
	StoreReceiver *store = (StoreReceiver *) self;

	FreeBulkInsertState(store->bistate);
	table_finish_bulk_insert(store->target, STORE_OPTIONS);
}

static void
store_destroy(DestReceiver *self)
{
	(void) self;				/* lives on the stack of fill_heap */
}

static void
scoring_error_callback(void *arg)
{
	const LsModel *model = (const LsModel *) arg;

	errcontext("scoring leads with version %d of model \"%s\"", model->version, model->name);
}

/* An index of the stored scores could not be made: the leads' key was not unique any more. */
static void
indexing_error_callback(void *arg)
{
	const LsModel *model = (const LsModel *) arg;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION)
		return;
	errmsg("two leads of model \"%s\" have the same key", model->name);
	errhint("Column \"%s\" of table \"%s\" must be unique: give it a primary key or a unique constraint again.",
			model->lead_key, get_rel_name(model->leads));
	scoring_error_callback(arg);
}

/* What the last VACUUM or ANALYZE counted; 0 if none did. */
static double
estimated_rows(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	double		rows = 0;

	if (HeapTupleIsValid(tuple))
	{
		rows = Max(((Form_pg_class) GETSTRUCT(tuple))->reltuples, 0);
		ReleaseSysCache(tuple);
	}
	return rows;
}

/* Score every lead by one query. */
static void
fill_by_query(const LsModel *model, StoreReceiver *store)
{
	SPIPrepareOptions prepare = {.cursorOptions = CURSOR_OPT_PARALLEL_OK};
	SPIExecuteOptions execute = {.read_only = true};
	MemoryContext context = CurrentMemoryContext;
	char	   *sql = psprintf("SELECT lead, score, %d AS version FROM (%s) s", model->version,
							   ls_query_scores(model, LS_ALL_LEADS, false));

	store->pub.receiveSlot = store_receive;
	store->pub.rStartup = store_startup;
	store->pub.rShutdown = store_shutdown;
	store->pub.rDestroy = store_destroy;
	store->pub.mydest = DestNone;
	execute.dest = &store->pub;

	SPI_connect();
	PG_TRY();
	{
		SPIPlanPtr	plan = SPI_prepare_extended(sql, &prepare);

		if (plan == NULL)
			ls_spi_expect(SPI_result, 0);
		ls_spi_expect(SPI_execute_plan_extended(plan, &execute), 0);
	}
	PG_CATCH();
	{
		ls_rethrow_without(sql, context);
	}
	PG_END_TRY();
	SPI_finish();
}

/* An empty heap to score every lead into. */
typedef struct Filling
{
	LsModel    *model;
	Relation	target;
	uint64		rows;			/* the leads scored, at the end */
} Filling;

/* Score every lead, with the rights of the caller, as of all that is committed now. */
static void
fill_heap(void *arg)
{
	Filling    *filling = arg;
	LsModel    *model = filling->model;
	Relation	target = filling->target;
	StoreReceiver store = {0};
	ErrorContextCallback callback;
	LsUser		caller;
	int			level;

	callback.callback = scoring_error_callback;
	callback.arg = model;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	store.target = target;
	store.model = model->name;
	store.expected = estimated_rows(model->leads);
	store.expected_events = OidIsValid(model->events) ? estimated_rows(model->events) : 0;
	store.next_notice = GetCurrentTimestamp() + NOTICE_EVERY_MS * INT64CONST(1000);
	store.version = model->version;
	store.relid = ls_model_score_relid(model, false);
	begin_progress(store.relid, store.version, store.expected_events, store.expected);

	/* inserting needs a transaction id, which a parallel query could not get later */
	(void) GetCurrentTransactionId();
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	level = ls_portable_settings();
	/* all leads, as triggers see them: an owner's policies are not for what he stores */
	GetUserIdAndSecContext(&caller.userid, &caller.sec_context);
	SetUserIdAndSecContext(caller.userid, caller.sec_context | SECURITY_NOFORCE_RLS);
	ls_model_check_sees_events(model);
	model->newest_event = DT_NOEND;
	if (!ls_scan_scores(model, target, scan_progress, &store, &store.rows))
	{
		ls_judge_begin(model);
		fill_by_query(model, &store);
		ls_judge_end(model, true);
	}
	ls_become_caller(&caller);
	AtEOXact_GUC(true, level);
	PopActiveSnapshot();
	pgstat_progress_end_command();

	error_context_stack = callback.previous;
	filling->rows = store.rows;
}

/*
 * Compute the scores of all leads with this version and put them in the place
 * of those stored. Writers of the score table wait from here on, readers only
 * for the moment of the switch, to the end of the transaction.
 */
uint64
ls_model_store_scores(LsModel *model)
{
	Oid			relid = ls_model_score_relid(model, true);
	Relation	stored;
	char		persistence;
	Oid			heap;
	Filling		filling = {.model = model};
	ErrorContextCallback callback;

	if (!OidIsValid(relid))
	{
		Relation	leads = table_open(model->leads, AccessShareLock);

		SPI_connect();
		ls_model_create_score_table(model, leads->rd_rel->relowner);
		SPI_finish();
		table_close(leads, NoLock);
		relid = ls_model_score_relid(model, false);
	}
	if (ls_scores_hook)
		ls_scores_hook(model, LS_SCORES_BEGIN);
	ls_model_follow_leads(model, relid);
	stored = table_open(relid, ExclusiveLock);
	persistence = stored->rd_rel->relpersistence;
	CheckTableNotInUse(stored, "publish");
	ls_model_analyse(model);
	ls_past_keep(model);
	heap = make_new_heap(relid, stored->rd_rel->reltablespace, stored->rd_rel->relam,
						 persistence, ExclusiveLock);
	filling.target = table_open(heap, AccessExclusiveLock);
	ls_score_all(model, fill_heap, &filling);
	table_close(filling.target, NoLock);
	table_close(stored, NoLock);

	callback.callback = indexing_error_callback;
	callback.arg = model;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	ls_model_swap_heap(relid, heap, persistence);
	error_context_stack = callback.previous;
	ls_model_tie_table(relid);
	if (ls_scores_hook)
		ls_scores_hook(model, LS_SCORES_END);
	return filling.rows;
}

/* What must be true of a draft before leads can be scored with it. */
void
ls_model_check_complete(const LsModel *model)
{
	if (model->ncomponents == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the draft of model \"%s\" has no component", model->name),
				 errhint("Add one: leadscore.add_component('%s', 'fit').", model->name)));
	for (int i = 0; i < model->nrules; i++)
		if (model->rules[i].enabled)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the draft of model \"%s\" has no rule that is enabled", model->name),
			 errhint("Add one: leadscore.add_rule('%s', '%s', 'a name', $$ condition $$, 10).",
					 model->name, model->components[0].name)));
}

/* Copy one version's rows to another number, which has none; connected to SPI. */
void
ls_model_copy_version(const char *name, int from, int to)
{
	static const char *const copies[] = {
		"INSERT INTO leadscore.component (model, version, component, ordinal, half_life, lo, hi)"
		" SELECT model, $3, component, ordinal, half_life, lo, hi"
		" FROM leadscore.component WHERE model = $1 AND version = $2",
		"INSERT INTO leadscore.rule (model, version, rule, component, ordinal, source, condition, points,"
		" at_most, per, valid_from, valid_until, enabled, condition_sql, points_sql)"
		" SELECT model, $3, rule, component, ordinal, source, condition, points,"
		" at_most, per, valid_from, valid_until, enabled, condition_sql, points_sql"
		" FROM leadscore.rule WHERE model = $1 AND version = $2",
		"INSERT INTO leadscore.band (model, version, band, least)"
		" SELECT model, $3, band, least"
		" FROM leadscore.band WHERE model = $1 AND version = $2",
	};
	Oid			types[3] = {TEXTOID, INT4OID, INT4OID};
	Datum		values[3] = {CStringGetTextDatum(name), Int32GetDatum(from), Int32GetDatum(to)};

	for (int i = 0; i < (int) lengthof(copies); i++)
		ls_catalog_execute(copies[i], 3, types, values, NULL);
}

/* Write down a new version of the model, copied from another; returns its number. */
int
ls_model_freeze(const char *name, int from, text *note)
{
	Oid			types[4] = {TEXTOID, INT4OID, TEXTOID, NAMEOID};
	Datum		values[4];
	char		nulls[] = "    ";
	bool		isnull;
	int			version;

	values[0] = CStringGetTextDatum(name);
	values[1] = Int32GetDatum(from);
	if (note)
		values[2] = PointerGetDatum(note);
	else
		nulls[2] = 'n';
	values[3] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));

	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.model_version (model, version, published_at, published_by, lo, hi, note)"
					   " SELECT $1, (SELECT max(version) + 1 FROM leadscore.model_version WHERE model = $1),"
					   " clock_timestamp(), $4, lo, hi, $3"
					   " FROM leadscore.model_version WHERE model = $1 AND version = $2"
					   " RETURNING version", 4, types, values, nulls);
	if (SPI_processed != 1)
		elog(ERROR, "version %d of model \"%s\" disappeared", from, name);
	version = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	ls_model_copy_version(name, from, version);
	values[1] = Int32GetDatum(version);
	ls_catalog_execute("UPDATE leadscore.model SET live_version = $2 WHERE model = $1",
					   2, types, values, NULL);
	SPI_finish();
	return version;
}

Datum
leadscore_publish(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	text	   *note = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	LsModel    *model = ls_model_load(name, LS_DRAFT);
	int			version;

	ls_model_check_owner(model);
	ls_model_lock(name);
	ls_model_check_complete(ls_model_load(name, LS_DRAFT));
	version = ls_model_freeze(name, LS_DRAFT, note);
	(void) ls_model_store_scores(ls_model_load(name, version));
	PG_RETURN_INT32(version);
}

Datum
leadscore_rescore(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	LsModel    *model = ls_model_load(name, LS_LIVE);

	ls_model_check_owner(model);
	ls_model_lock(name);
	PG_RETURN_INT64((int64) ls_model_store_scores(ls_model_load(name, LS_LIVE)));
}

/*
 * model_score(shape, p1 .. p8): the shape's components with the values of the
 * parts. For scoring queries only, which pass parts of the right half-life.
 */
Datum
leadscore_model_score(PG_FUNCTION_ARGS)
{
	Score		score;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ls_score_from_datum(PG_GETARG_DATUM(0), &score);
	for (int i = 0; i < SCORE_MAX_COMPONENTS; i++)
	{
		Score		part;

		if (PG_ARGISNULL(i + 1))
			continue;
		ls_score_from_datum(PG_GETARG_DATUM(i + 1), &part);
		if (i >= score.n || part.n != 1 || part.c[0].half_life != score.c[i].half_life)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("part %d does not suit the components of the score", i + 1)));
		score.c[i].value = part.c[0].value;
		score.c[i].at = part.c[0].at;
	}
	PG_RETURN_SCORE(&score);
}
