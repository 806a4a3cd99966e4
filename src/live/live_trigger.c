/*
 * live_trigger.c
 *	  The trigger function that keeps scores: one for tables of leads and of
 *	  events, for whole statements with transition tables or for single rows.
 *
 * It takes what a statement inserted, updated and deleted, evaluates the rules
 * over these rows, and folds what they give and take per lead. An update is a
 * removal of the old row and an addition of the new one, so that moving an event
 * to another lead, or another instant, needs no thought.
 */
#include "leadscore.h"

#include "access/attmap.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "live/live.h"

PG_FUNCTION_INFO_V1(leadscore_live_change);

/* The rows of one firing: old and new, in batches or one by one. */
typedef struct Change
{
	TriggerData *trigger;
	Relation	rel;			/* the table of the rows */
	Oid			owner;			/* of the table of the model: evaluates its rules */
	AttrMap    *map;			/* to the table of the model; NULL: the same columns */
	TupleTableSlot *mapped;
	Tuplestorestate *old_rows;
	Tuplestorestate *new_rows;
	TupleTableSlot *old_row;	/* for row triggers */
	TupleTableSlot *new_row;
} Change;

typedef void (*RowCallback) (TupleTableSlot *slot, bool added, void *arg);

/* ----------------------------------------------------------------
 *		Reading the rows of a firing
 * ----------------------------------------------------------------
 */

/* The rows of a partition or child as rows of the table of the model. */
static void
map_columns(Change *change, Oid relid)
{
	Relation	parent;

	if (relid == RelationGetRelid(change->rel))
		return;
	parent = table_open(relid, AccessShareLock);
	change->owner = parent->rd_rel->relowner;
	change->map = ls_attribute_map(RelationGetDescr(change->rel), RelationGetDescr(parent));
	if (change->map)
		change->mapped = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(parent)),
												  &TTSOpsVirtual);
	table_close(parent, NoLock);
}

static void
end_change(Change *change)
{
	if (change->mapped)
		ExecDropSingleTupleTableSlot(change->mapped);
}

static TupleTableSlot *
map_row(Change *change, TupleTableSlot *slot)
{
	if (change->map == NULL)
		return slot;
	return execute_attr_map_slot(change->map, slot, change->mapped);
}

static void
read_rows(Change *change, Tuplestorestate *rows, TupleTableSlot *row, bool added,
		  RowCallback callback, void *arg)
{
	TupleTableSlot *slot;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext oldcontext;
	bool		many;
	int			pointer;

	if (row != NULL)
		callback(map_row(change, row), added, arg);
	if (rows == NULL)
		return;

	/* others read the same rows: a position of our own */
	pointer = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);
	tuplestore_select_read_pointer(rows, pointer);
	tuplestore_rescan(rows);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(change->rel), &TTSOpsMinimalTuple);
	many = tuplestore_tuple_count(rows) > 1;
	if (many)
		context = AllocSetContextCreate(context, "leadscore row", ALLOCSET_DEFAULT_SIZES);
	/* a row read from disk belongs to the slot: it must not be in the context that is reset */
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		oldcontext = MemoryContextSwitchTo(context);
		callback(map_row(change, slot), added, arg);
		MemoryContextSwitchTo(oldcontext);
		if (many)
			MemoryContextReset(context);
	}
	if (many)
		MemoryContextDelete(context);
	ExecDropSingleTupleTableSlot(slot);
}

/* Is all that rules read the same in both rows? */
static bool
same_for_rules(const LiveColumns *columns, TupleTableSlot *old_row, TupleTableSlot *new_row)
{
	TupleDesc	desc = old_row->tts_tupleDescriptor;

	if (columns->whole_row)
		return false;
	for (int i = 0; i < columns->n; i++)
	{
		AttrNumber	attno = columns->attnos[i];
		Form_pg_attribute column = TupleDescAttr(desc, attno - 1);
		bool		old_null;
		bool		new_null;
		Datum		old_value = slot_getattr(old_row, attno, &old_null);
		Datum		new_value = slot_getattr(new_row, attno, &new_null);

		if (old_null != new_null)
			return false;
		if (!old_null && !datum_image_eq(old_value, new_value, column->attbyval, column->attlen))
			return false;
	}
	return true;
}

/*
 * An update. The two transition tables run in step; where nothing that matters
 * changed there is nothing to evaluate, which is most updates. Should a pair not
 * be of one row, both are taken as changed, which is right as well.
 */
static void
read_pairs(Change *change, const LiveColumns *columns, RowCallback callback, void *arg)
{
	TupleTableSlot *old_row;
	TupleTableSlot *new_row;
	int			old_pointer;
	int			new_pointer;
	MemoryContext context;
	MemoryContext oldcontext;

	old_row = MakeSingleTupleTableSlot(RelationGetDescr(change->rel), &TTSOpsMinimalTuple);
	new_row = MakeSingleTupleTableSlot(RelationGetDescr(change->rel), &TTSOpsMinimalTuple);
	old_pointer = tuplestore_alloc_read_pointer(change->old_rows, EXEC_FLAG_REWIND);
	new_pointer = tuplestore_alloc_read_pointer(change->new_rows, EXEC_FLAG_REWIND);
	tuplestore_select_read_pointer(change->old_rows, old_pointer);
	tuplestore_rescan(change->old_rows);
	tuplestore_select_read_pointer(change->new_rows, new_pointer);
	tuplestore_rescan(change->new_rows);
	context = AllocSetContextCreate(CurrentMemoryContext, "leadscore row", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool		has_old = tuplestore_gettupleslot(change->old_rows, true, false, old_row);
		bool		has_new = tuplestore_gettupleslot(change->new_rows, true, false, new_row);

		if (!has_old && !has_new)
			break;
		CHECK_FOR_INTERRUPTS();
		oldcontext = MemoryContextSwitchTo(context);
		if (!has_old || !has_new || !same_for_rules(columns, old_row, new_row))
		{
			if (has_old)
				callback(old_row, false, arg);
			if (has_new)
				callback(new_row, true, arg);
		}
		MemoryContextSwitchTo(oldcontext);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	ExecDropSingleTupleTableSlot(old_row);
	ExecDropSingleTupleTableSlot(new_row);
}

/* The rows that went and came; not those updated that are the same for rules, which read these columns. */
static void
read_change(Change *change, const LiveColumns *columns, RowCallback callback, void *arg)
{
	if (change->map == NULL && change->old_rows && change->new_rows)
	{
		read_pairs(change, columns, callback, arg);
		return;
	}
	if (change->map == NULL && change->old_row && change->new_row &&
		same_for_rules(columns, change->old_row, change->new_row))
		return;
	read_rows(change, change->old_rows, change->old_row, false, callback, arg);
	read_rows(change, change->new_rows, change->new_row, true, callback, arg);
}

/* ----------------------------------------------------------------
 *		Events
 * ----------------------------------------------------------------
 */

typedef struct EventChange
{
	LiveModel  *live;
	LiveFold   *fold;
	LiveEval	plain;
	LiveEval	special;
	bool		bulk;			/* leads under limits are computed anew */
	ExprState  *key;			/* NULL: the column is the key */
	ExprContext *econtext;
} EventChange;

/* An integer of another width as a key; false: no key can have this value. */
static bool
integer_key(const LiveModel *live, Datum column, Datum *key)
{
	int64		value = live->event_int_len == 2 ? DatumGetInt16(column) :
		live->event_int_len == 4 ? DatumGetInt32(column) : DatumGetInt64(column);

	switch (live->key_len)
	{
		case 2:
			*key = Int16GetDatum((int16) value);
			return value == (int16) value;
		case 4:
			*key = Int32GetDatum((int32) value);
			return value == (int32) value;
		default:
			*key = Int64GetDatum(value);
			return true;
	}
}

typedef struct CastKey
{
	EventChange *change;
	Datum		key;
	bool		isnull;
} CastKey;

static void
try_cast_key(void *arg)
{
	CastKey    *cast = arg;

	cast->key = ExecEvalExprSwitchContext(cast->change->key, cast->change->econtext, &cast->isnull);
}

/*
 * A column of another type, cast to that of the key. A value that cannot be cast
 * is no lead's, and the writer's statement goes on, at the price of a subtransaction.
 */
static bool
cast_key(EventChange *change, TupleTableSlot *slot, Datum *key)
{
	CastKey		cast = {.change = change};
	ErrorData  *error;

	ResetExprContext(change->econtext);
	change->econtext->ecxt_scantuple = slot;
	error = ls_live_attempt(try_cast_key, &cast, true);
	if (error)
	{
		FreeErrorData(error);
		return false;
	}
	*key = cast.key;
	return !cast.isnull;
}

/* The key of the lead that an event is of; false: none. */
static bool
event_key(EventChange *change, TupleTableSlot *slot, Datum *key)
{
	bool		isnull;

	if (change->key != NULL)
		return cast_key(change, slot, key);
	*key = slot_getattr(slot, change->live->model->event_lead_attno, &isnull);
	if (isnull)
		return false;
	return change->live->event_int_len == 0 || integer_key(change->live, *key, key);
}

static void
touch_limits(EventChange *change, LiveDelta *delta, TupleTableSlot *slot, TimestampTz at, bool added)
{
	const LiveRules *rules = change->special.rules;

	ls_live_eval_row(&change->special, slot);
	for (int i = 0; i < rules->n; i++)
	{
		double		points;

		if (!LS_RULE_IN(change->special.matched, i) || !ls_live_counts(change->live, rules->rules[i], at))
			continue;
		if (change->bulk && rules->rules[i]->at_most > 0)
		{
			delta->rebuild = true;
			continue;
		}
		points = ls_eval_rule_points(change->special.eval, slot, i);
		if (rules->rules[i]->at_most == 0)
			ls_live_fold_add(change->fold, delta, rules->rules[i]->component, points, at, added);
		else
		{
			LiveTouch  *touch = MemoryContextAlloc(change->fold->context, sizeof(LiveTouch));

			touch->rule = i;
			touch->at = at;
			touch->points = points;
			touch->added = added;
			touch->next = delta->touches;
			delta->touches = touch;
		}
	}
}

/* Events without a lead, or without an instant in the years 1 to 9999, never count. */
static void
event_row(TupleTableSlot *slot, bool added, void *arg)
{
	EventChange *change = arg;
	TimestampTz at;
	LiveDelta  *delta;
	Datum		key;
	bool		isnull;

	at = DatumGetTimestampTz(slot_getattr(slot, change->live->model->event_at_attno, &isnull));
	if (isnull || !score_instant_is_valid(at) || !event_key(change, slot, &key))
		return;

	/* what is still to come counts when it has come */
	if (at > change->fold->now)
	{
		if (added)
		{
			delta = ls_live_fold_lead(change->fold, key);
			delta->later = Min(delta->later, at);
		}
		return;
	}

	delta = ls_live_fold_lead(change->fold, key);
	if (change->plain.eval)
	{
		ls_live_eval_row(&change->plain, slot);
		for (int i = 0; i < change->live->shape.n; i++)
			ls_live_fold_add(change->fold, delta, i, change->plain.points[i], at, added);
	}
	if (change->special.eval)
		touch_limits(change, delta, slot, at, added);
}

/* As the owner of the table of events. */
static void
begin_events(EventChange *events)
{
	LiveModel  *live = events->live;

	ls_live_eval_begin(&events->plain, live, &live->event_rules);
	ls_live_eval_begin(&events->special, live, &live->special_rules);
	if (live->event_key)
	{
		events->econtext = CreateStandaloneExprContext();
		events->key = ExecInitExpr(live->event_key, NULL);
	}
}

static void
end_events(EventChange *events)
{
	if (events->econtext)
		FreeExprContext(events->econtext, true);
	ls_live_eval_end(&events->plain);
	ls_live_eval_end(&events->special);
}

static void
change_events(Change *change, LiveTableData *table, LiveModel *live, int depth)
{
	EventChange events = {.live = live};
	LiveIdentity identity;

	events.fold = ls_live_statement_fold(change->rel, table, live, depth);
	ls_live_become_table_owner(&identity, change->owner, false);
	begin_events(&events);
	read_change(change, &live->event_columns, event_row, &events);
	ls_live_become_self(&identity);
	end_events(&events);
	ls_live_statement_end(events.fold, depth);
}

/* ----------------------------------------------------------------
 *		Leads
 * ----------------------------------------------------------------
 */

typedef struct LeadChange
{
	LiveModel  *live;
	LiveFold   *fold;
	LiveEval	eval;
} LeadChange;

/*
 * A lead's row went or came. Of an updated lead whose key stayed both halves
 * arrive, and cancel out to a change of points.
 */
static void
lead_row(TupleTableSlot *slot, bool added, void *arg)
{
	LeadChange *change = arg;
	LiveDelta  *delta;
	Datum		key;
	bool		isnull;

	key = slot_getattr(slot, change->live->model->lead_attno, &isnull);
	if (isnull)
		return;
	delta = ls_live_fold_lead(change->fold, key);
	delta->of_lead = true;
	if (added && !datum_image_eq(delta->key, key, change->live->key_byval, change->live->key_len))
		ls_live_fold_rename(change->fold, delta, key);
	if (!added)
		delta->vanished = true;
	else if (delta->vanished)
		delta->vanished = false;
	else
		delta->appeared = true;
	ls_live_eval_row(&change->eval, slot);
	for (int i = 0; i < change->live->shape.n; i++)
		ls_live_fold_add(change->fold, delta, i, change->eval.points[i], 0, added);
}

static void
change_leads(Change *change, LiveTableData *table, LiveModel *live, int depth)
{
	LeadChange	leads = {.live = live};
	LiveIdentity identity;

	leads.fold = ls_live_statement_fold(change->rel, table, live, depth);
	ls_live_become_table_owner(&identity, change->owner, false);
	ls_live_eval_begin(&leads.eval, live, &live->lead_rules);
	read_change(change, &live->lead_columns, lead_row, &leads);
	ls_live_become_self(&identity);
	ls_live_eval_end(&leads.eval);
	ls_live_statement_end(leads.fold, depth);
}

/* ----------------------------------------------------------------
 *		Rows that come or go with their table
 * ----------------------------------------------------------------
 */

/* Hand over a row of a table that came or goes, in a context of its own. */
static void
hand_over(Change *change, TupleTableSlot *slot, bool added, RowCallback callback, void *arg, MemoryContext context)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(context);

	CHECK_FOR_INTERRUPTS();
	callback(map_row(change, slot), added, arg);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(context);
}

/* The rows that a query returns (one column, the row), with the rights of the table's owner. */
static void
read_query(Change *change, const char *sql, bool added, RowCallback callback, void *arg, MemoryContext context)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(change->rel), &TTSOpsHeapTuple);
	LiveIdentity identity;
	Portal		portal;
	uint64		rows;

	SPI_connect();
	ls_live_become_table_owner(&identity, change->rel->rd_rel->relowner, true);
	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);
	ls_live_become_self(&identity);
	do
	{
		ls_live_become_table_owner(&identity, change->rel->rd_rel->relowner, true);
		SPI_cursor_fetch(portal, true, 1000);
		ls_live_become_self(&identity);
		rows = SPI_processed;
		ls_live_become_table_owner(&identity, change->owner, false);
		for (uint64 i = 0; i < rows; i++)
		{
			HeapTupleData tuple;

			ls_live_store_row(slot, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &tuple);
			hand_over(change, slot, added, callback, arg, context);
		}
		ls_live_become_self(&identity);
		ExecClearTuple(slot);
		SPI_freetuptable(SPI_tuptable);
	} while (rows > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	ExecDropSingleTupleTableSlot(slot);
}

/* The rows of any other: nobody's rights matter, as for a trigger that gets them. */
static void
read_table(Change *change, bool added, RowCallback callback, void *arg, MemoryContext context)
{
	TupleTableSlot *slot = table_slot_create(change->rel, NULL);
	TableScanDesc scan = table_beginscan(change->rel, GetActiveSnapshot(), 0, NULL);
	LiveIdentity identity;

	ls_live_become_table_owner(&identity, change->owner, false);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		hand_over(change, slot, added, callback, arg, context);
	ls_live_become_self(&identity);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * What the rows of a table and of what is below it (only: not below it) give
 * (added) or take away, that is or was a partition or child of the model's table
 * of events or leads. Only adds up: the caller applies it, once the rows have
 * come or gone. The fold is made in the current memory context.
 */
LiveFold *
ls_live_fold_table(LiveModel *live, bool events, Oid relid, bool only, bool added, const char *cause)
{
	LiveFold   *fold = ls_live_fold_begin(live, GetCurrentTimestamp(), cause);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore table", ALLOCSET_DEFAULT_SIZES);
	MemoryContext rows = AllocSetContextCreate(context, "leadscore row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	Oid			root = events ? live->model->events : live->model->leads;
	EventChange event = {.live = live, .fold = fold, .bulk = true};
	LeadChange	lead = {.live = live, .fold = fold};
	RowCallback callback = events ? event_row : lead_row;
	void	   *arg = events ? (void *) &event : (void *) &lead;
	LiveIdentity identity;
	List	   *relids = only ? list_make1_oid(relid) : find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell   *cell;

	ls_live_become_table_owner(&identity, ls_live_owner_of(root), false);
	if (events)
		begin_events(&event);
	else
		ls_live_eval_begin(&lead.eval, live, &live->lead_rules);
	ls_live_become_self(&identity);

	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	foreach(cell, relids)
	{
		Change		change = {.rel = table_open(lfirst_oid(cell), AccessShareLock)};

		change.owner = change.rel->rd_rel->relowner;
		map_columns(&change, root);
		if (change.rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			read_query(&change, psprintf("SELECT t FROM ONLY %s t", ls_relation_name(RelationGetRelid(change.rel))),
					   added, callback, arg, rows);
		else if (change.rel->rd_rel->relkind == RELKIND_RELATION)
			read_table(&change, added, callback, arg, rows);
		end_change(&change);
		table_close(change.rel, NoLock);
	}
	PopActiveSnapshot();

	if (events)
		end_events(&event);
	else
		ls_live_eval_end(&lead.eval);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return fold;
}

/* The leads that have events later than the start of the transaction. */
LiveFold *
ls_live_fold_to_come(LiveModel *live, const char *cause)
{
	LsModel    *model = live->model;
	LiveFold   *fold = ls_live_fold_begin(live, GetCurrentTransactionStartTimestamp(), cause);
	MemoryContext rows = AllocSetContextCreate(CurrentMemoryContext, "leadscore row", ALLOCSET_DEFAULT_SIZES);
	EventChange events = {.live = live, .fold = fold};
	Change		change = {.rel = table_open(model->events, AccessShareLock)};
	LiveIdentity identity;

	change.owner = change.rel->rd_rel->relowner;
	ls_live_become_table_owner(&identity, change.owner, false);
	begin_events(&events);
	ls_live_become_self(&identity);
	read_query(&change, psprintf("SELECT e FROM %s e WHERE e.%s > '%s'", ls_relation_name(model->events),
								 quote_identifier(model->event_at), timestamptz_to_str(fold->now)),
			   true, event_row, &events, rows);
	end_events(&events);
	table_close(change.rel, NoLock);
	MemoryContextDelete(rows);
	return fold;
}

/* ----------------------------------------------------------------
 *		The trigger
 * ----------------------------------------------------------------
 */

static void
check_call(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.live_change() can only be called as a trigger")));
	/* anybody may make a trigger that calls us, which would count rows twice */
	if (strncmp(trigger->tg_trigger->tgname, "leadscore_live_", strlen("leadscore_live_")) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" was not made by leadscore", trigger->tg_trigger->tgname),
				 errhint("Drop it; leadscore.publish() makes the triggers.")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) && !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" must fire after the change", trigger->tg_trigger->tgname),
				 errhint("Run leadscore.publish(), which makes the triggers.")));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) && !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) &&
		((!TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && trigger->tg_newtable == NULL) ||
		 (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && trigger->tg_oldtable == NULL)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" fires for statements and lacks transition tables",
						trigger->tg_trigger->tgname),
				 errhint("Run leadscore.publish(), which makes the triggers.")));
}

static void
begin_change(Change *change, TriggerData *trigger, Oid relid)
{
	memset(change, 0, sizeof(*change));
	change->trigger = trigger;
	change->rel = trigger->tg_relation;
	change->owner = change->rel->rd_rel->relowner;
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
	{
		change->old_rows = trigger->tg_oldtable;
		change->new_rows = trigger->tg_newtable;
	}
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		change->new_row = trigger->tg_trigslot;
	else
	{
		change->old_row = trigger->tg_trigslot;
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			change->new_row = trigger->tg_newslot;
	}

	map_columns(change, relid);
}

/* What a firing does to the models over a table, which is the one that fired or above it. */
static void
change_models(TriggerData *trigger, Oid relid, int depth)
{
	LiveTableData *table = ls_live_table_pin(relid);
	Change		change;

	for (int i = 0; i < table->nmodels; i++)
	{
		LiveModel  *live = table->models[i];

		if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		{
			if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
				ls_live_truncating(live, relid, trigger->tg_relation);
			else
				ls_live_truncated(live, relid, trigger->tg_relation, depth);
			continue;
		}
		begin_change(&change, trigger, relid);
		if (live->model->events == relid)
			change_events(&change, table, live, depth);
		/* what inherits from a table of leads is no lead; its partitions' rows are */
		if (live->model->leads == relid &&
			(relid == RelationGetRelid(change.rel) || change.rel->rd_rel->relispartition))
			change_leads(&change, table, live, depth);
		end_change(&change);
	}
	ls_live_table_unpin(table);
}

Datum
leadscore_live_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MemoryContext context;
	MemoryContext oldcontext;
	LiveTableData *table;
	Relation	rel;
	Oid			above;
	bool		cloned;
	bool		own;
	int			depth;

	check_call(fcinfo);
	context = AllocSetContextCreate(CurrentMemoryContext, "leadscore live", ALLOCSET_SMALL_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	depth = DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));

	/* a partition's trigger is that of the whole, cloned, unless it has models of its own, too */
	rel = trigger->tg_relation;
	cloned = trigger->tg_trigger->tgisclone;
	table = ls_live_table_pin(RelationGetRelid(rel));
	own = table->nmodels + table->nskipped > 0 && !cloned;
	above = table->nmodels + table->nskipped == 0 || cloned || !rel->rd_rel->relispartition ||
		TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) ? table->above : InvalidOid;
	ls_live_table_unpin(table);
	if (own)
		change_models(trigger, RelationGetRelid(rel), depth);
	if (OidIsValid(above))
		change_models(trigger, above, depth);

	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
