/*
 * pipeline_trigger.c
 *	  The trigger on enforced tables.
 *
 * It is an AFTER ROW trigger because what counts is the row as it was stored: a
 * BEFORE trigger cannot see what later BEFORE triggers make of it. Every version
 * of a row has its own event, with the version it replaced, so each step of each
 * lead is judged once, whatever statement, cascade or other trigger made it. An
 * error undoes the statement.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_enforce_stage);
PG_FUNCTION_INFO_V1(leadscore_enforced_columns);

/* a column of a row, checked not to be NULL */
static Datum
key_of(const LsRules *rules, Relation rel, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		key = slot_getattr(slot, rules->key_attno, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("a lead in a pipeline must have a key"),
				 errtablecol(rel, rules->key_attno)));
	return key;
}

/* fields by which drivers and ORMs map the error to a form */
static int
error_fields(const LsRules *rules, Relation rel)
{
	errtablecol(rel, rules->stage_attno);
	return errtableconstraint(rel, rules->pipeline);
}

static char *
hint_from(LsMove *move, int from)
{
	LsRules    *rules = move->rules;
	char	   *next = from < 0 ? NULL : ls_list_stages(rules, from);

	if (from < 0)
		return NULL;
	if (next == NULL)
		return psprintf("%s is an end of pipeline %s.", rules->stages[from].name, rules->pipeline);
	return psprintf("From %s, a lead can go to %s.", rules->stages[from].name, next);
}

static void
refuse_move(LsMove *move, Relation rel, int from, const char *from_text, int to, const char *to_text)
{
	LsRules    *rules = move->rules;
	char	   *detail;
	char	   *hint = hint_from(move, from);

	if (from < 0 || to < 0)
		detail = psprintf("Pipeline %s has no stage %s.", rules->pipeline, from < 0 ? from_text : to_text);
	else if (rules->matrix[from * rules->nstages + to] >= 0)
		detail = psprintf("Missing: %s.", ls_join(ls_missing(move, from, to), ", ", ", "));
	else
	{
		int			next;
		char	   *way = ls_way(rules, from, to, &next);

		detail = psprintf("Pipeline %s has no transition from %s to %s.", rules->pipeline, from_text, to_text);
		if (way != NULL)
		{
			List	   *missing = ls_missing(move, from, next);

			detail = psprintf("%s The way there is %s, %s.", detail, from_text, way);
			if (missing != NIL)
				detail = psprintf("%s Missing for %s: %s.", detail, rules->stages[next].name,
								  ls_join(missing, ", ", ", "));
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("lead %s cannot move from %s to %s", ls_lead(move), from_text, to_text),
			 errdetail_internal("%s", detail),
			 hint != NULL ? errhint("%s", hint) : 0,
			 error_fields(rules, rel)));
}

static void
refuse_entry(LsMove *move, Relation rel, const char *to_text)
{
	LsRules    *rules = move->rules;
	char	   *entries = ls_list_stages(rules, -1);

	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("lead %s cannot start as %s", ls_lead(move), to_text),
			 errdetail("That is not an entry stage of pipeline %s.", rules->pipeline),
			 entries != NULL ? errhint("A lead starts as %s.", entries) : 0,
			 error_fields(rules, rel)));
}

static void
record(LsMove *move, EState *statement, LsHistoryKind kind, Datum from, bool from_null, Datum to, bool to_null)
{
	LsRules    *rules = move->rules;
	bool		has_score = false;
	double		score = 0;

	if (!rules->history)
		return;
	if (kind == LS_KIND_OVERRIDE)
		move->reason = ls_override_reason();
	if (ls_backdated(rules, &move->at) && (kind == LS_KIND_ENTRY || kind == LS_KIND_MOVE))
		kind = LS_KIND_IMPORTED;
	if (rules->has_model)
		has_score = ls_move_score(move, 0, &score);
	ls_history_write(rules, statement, kind, ls_lead(move), from, from_null, to, to_null, ls_move_time(move), move->reason,
					 has_score, score);
}

/* a stage as text, for history: ready-made for the stages of the pipeline */
static Datum
stage_datum(const LsRules *rules, int index, const char *text)
{
	return index >= 0 ? rules->stages[index].text : CStringGetTextDatum(text);
}

static void
begin_move(LsMove *move, LsRules *rules, Relation rel, TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	TupleTableSlot *slot = old_slot != NULL ? old_slot : new_slot;

	memset(move, 0, sizeof(*move));
	move->rules = rules;
	move->old_slot = old_slot;
	move->new_slot = new_slot;
	move->key = key_of(rules, rel, slot);
	move->reason = ls_reason();
}

static void
end_move(LsMove *move)
{
	/* whether or not a guard or a score was asked for, this is cheap */
	ResetExprContext(move->rules->econtext);
}

/* a lead appears in a stage: by INSERT, or because it had none before */
static void
enter(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *slot, Datum stage)
{
	LsMove		move;
	LsHistoryKind kind = LS_KIND_ENTRY;
	int			to = ls_stage_index(rules, stage);
	Oid			type = TupleDescAttr(RelationGetDescr(rel), rules->stage_attno - 1)->atttypid;

	begin_move(&move, rules, rel, NULL, slot);
	if (to >= 0 && rules->stages[to].entry)
		kind = LS_KIND_ENTRY;
	else if (to >= 0 && ls_overridden(rules))
		kind = LS_KIND_OVERRIDE;
	else
		refuse_entry(&move, rel, ls_stage_text(rules, stage, type));
	record(&move, statement, kind, (Datum) 0, true, rules->stages[to].text, false);
	end_move(&move);
}

/* a lead that goes, in whatever way */
void
ls_leave(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *slot, LsHistoryKind kind)
{
	LsMove		move;
	bool		isnull;
	Datum		stage = slot_getattr(slot, rules->stage_attno, &isnull);
	int			from;
	Oid			type = TupleDescAttr(RelationGetDescr(rel), rules->stage_attno - 1)->atttypid;

	if (isnull)
		return;
	begin_move(&move, rules, rel, NULL, slot);
	from = ls_stage_index(rules, stage);
	record(&move, statement, kind, stage_datum(rules, from, from < 0 ? ls_stage_text(rules, stage, type) : NULL), false,
		   (Datum) 0, true);
	end_move(&move);
}

/* the lead goes on under another key: its old history ends, a new one begins */
static void
rekey(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *old_slot, TupleTableSlot *new_slot, Datum stage)
{
	Oid			type = TupleDescAttr(RelationGetDescr(rel), rules->stage_attno - 1)->atttypid;
	int			index = ls_stage_index(rules, stage);
	Datum		text = stage_datum(rules, index, index < 0 ? ls_stage_text(rules, stage, type) : NULL);
	LsMove		move;
	const char *old_key;
	const char *new_key;

	begin_move(&move, rules, rel, NULL, new_slot);
	new_key = ls_lead(&move);
	move.key = key_of(rules, rel, old_slot);
	move.lead = NULL;
	old_key = ls_lead(&move);
	move.reason = psprintf("now %s", new_key);
	record(&move, statement, LS_KIND_REKEYED, text, false, (Datum) 0, true);
	memset(move.known, 0, sizeof(move.known));
	move.lead = new_key;
	move.reason = psprintf("was %s", old_key);
	record(&move, statement, LS_KIND_REKEYED, (Datum) 0, true, text, false);
	end_move(&move);
}

/* whether a row keeps its key; a NULL does not count as one */
bool
ls_keeps_key(const LsRules *rules, TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	bool		old_null;
	bool		new_null;
	Datum		old_key = slot_getattr(old_slot, rules->key_attno, &old_null);
	Datum		new_key = slot_getattr(new_slot, rules->key_attno, &new_null);

	return !old_null && !new_null && datum_image_eq(old_key, new_key, rules->key_byval, rules->key_len);
}

static void
update(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	bool		from_null;
	bool		to_null;
	Datum		from_stage = slot_getattr(old_slot, rules->stage_attno, &from_null);
	Datum		to_stage = slot_getattr(new_slot, rules->stage_attno, &to_null);
	int			from = from_null ? -1 : ls_stage_index(rules, from_stage);
	int			to = to_null ? -1 : ls_stage_index(rules, to_stage);
	Oid			type = TupleDescAttr(RelationGetDescr(rel), rules->stage_attno - 1)->atttypid;
	bool		moved;

	if (from_null || to_null)
		moved = from_null != to_null;
	else if (from >= 0 && to >= 0)
		moved = from != to;
	else
		moved = from != to ||
			strcmp(ls_stage_text(rules, from_stage, type), ls_stage_text(rules, to_stage, type)) != 0;

	if (moved && from_null)
		enter(rules, rel, statement, new_slot, to_stage);
	else if (moved)
	{
		LsMove		move;
		LsHistoryKind kind = LS_KIND_MOVE;

		begin_move(&move, rules, rel, old_slot, new_slot);
		if (to_null)
			ereport(ERROR,
					(errcode(ERRCODE_CHECK_VIOLATION),
					 errmsg("lead %s cannot leave its pipeline", ls_lead(&move)),
					 errdetail("Its stage would become NULL."),
					 from >= 0 ? errhint("%s", hint_from(&move, from)) : 0,
					 error_fields(rules, rel)));
		if (ls_allowed(&move, from, to))
			kind = LS_KIND_MOVE;
		else if (to >= 0 && ls_overridden(rules))
			kind = LS_KIND_OVERRIDE;
		else
			refuse_move(&move, rel, from, ls_stage_text(rules, from_stage, type),
						to, ls_stage_text(rules, to_stage, type));
		record(&move, statement, kind, stage_datum(rules, from, from < 0 ? ls_stage_text(rules, from_stage, type) : NULL), false,
			   rules->stages[to].text, false);
		end_move(&move);
	}

	/* a new key; when the lead only just entered, it did so under that one */
	if (!(moved && from_null) && !to_null && !ls_keeps_key(rules, old_slot, new_slot))
		rekey(rules, rel, statement, old_slot, new_slot, to_stage);
}

/*
 * Judge what a statement does to a row at the moment at which it does it: old is
 * NULL for one that is inserted, new for one that is deleted. false: it is to be
 * left to the trigger, since a partition sees only a part of what happens to rows
 * that come and go.
 */
bool
ls_judge_stored(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	bool		isnull;
	Datum		stage;

	if (rules->root != rules->relid &&
		(old_slot == NULL || new_slot == NULL || !ls_keeps_key(rules, old_slot, new_slot)))
		return false;
	if (new_slot == NULL)
		ls_leave(rules, rel, statement, old_slot, LS_KIND_DELETED);
	else if (old_slot != NULL)
		update(rules, rel, statement, old_slot, new_slot);
	else
	{
		stage = slot_getattr(new_slot, rules->stage_attno, &isnull);
		if (!isnull)
			enter(rules, rel, statement, new_slot, stage);
	}
	return true;
}

/*
 * Our turn comes at the end of the statement. A function that the statement calls
 * may have moved the lead once more by then, and that move is recorded already:
 * this one would come after it. Most statements are judged as they store their
 * rows, and know no such thing (pipeline_stored.c); here it is refused. The new
 * version of the row tells that it is worth a look.
 */
static void
check_order(LsRules *rules, Relation rel, HeapTuple tuple, TupleTableSlot *slot)
{
	static Oid	types[2] = {OIDOID, TEXTOID};
	HeapTupleHeader header = tuple->t_data;
	LsOwnerSection section;
	LsMove		move;
	Datum		values[2];
	bool		isnull;
	bool		broken = false;

	if (!rules->history || (header->t_infomask & HEAP_XMAX_INVALID) != 0 ||
		HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) ||
		!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(header)))
		return;
	begin_move(&move, rules, rel, NULL, slot);
	values[0] = ObjectIdGetDatum(rules->root);
	values[1] = CStringGetTextDatum(ls_lead(&move));
	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("SELECT h.from_stage IS DISTINCT FROM lag(h.to_stage) OVER (ORDER BY h.id)"
										" FROM leadscore.stage_history h WHERE h.relation = $1 AND h.lead = $2 AND h.kind <> 'past'"
										" ORDER BY h.id DESC LIMIT 1", 2, types, values, NULL, false, 1), SPI_OK_SELECT);
	if (SPI_processed > 0)
		broken = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	ls_owner_end(&section);
	if (broken)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("lead %s was moved again before its first move could be recorded", ls_lead(&move)),
				 errdetail("A function moved it while the statement that it is called by was running."),
				 errhint("Move it in a statement of its own. In a session that has loaded leadscore, only COPY and rows of partitions need that; "
						 "session_preload_libraries = 'leadscore' loads it from the start."),
				 error_fields(rules, rel)));
	end_move(&move);
}

/* whether TRUNCATE fires our trigger on this very partition */
static bool
fires_by_itself(Relation leaf)
{
	for (int i = 0; leaf->trigdesc != NULL && i < leaf->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &leaf->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, LS_TRIGGER_TRUNCATE) == 0)
			return trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	return false;
}

/*
 * Every lead that a TRUNCATE takes away; the table is locked already. Of a
 * partitioned table, TRUNCATE fires the triggers of each partition too: here
 * come only those that have none.
 */
static void
truncate_all(LsRules *rules, Relation rel)
{
	List	   *relids = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(RelationGetRelid(rel), NoLock, NULL) : list_make1_oid(RelationGetRelid(rel));
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ListCell   *lc;

	foreach(lc, relids)
	{
		Relation	leaf = table_open(lfirst_oid(lc), NoLock);

		if (leaf->rd_rel->relkind == RELKIND_RELATION && (leaf == rel || !fires_by_itself(leaf)))
		{
			LsRules    *leaf_rules = leaf == rel ? rules : ls_rules_get(leaf);
			TupleTableSlot *slot = table_slot_create(leaf, NULL);
			TableScanDesc scan = table_beginscan(leaf, snapshot, 0, NULL);
			MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "leadscore truncate",
													  ALLOCSET_DEFAULT_SIZES);
			MemoryContext before = MemoryContextSwitchTo(row);

			while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
			{
				CHECK_FOR_INTERRUPTS();
				ls_leave(leaf_rules, leaf, NULL, slot, LS_KIND_TRUNCATED);
				MemoryContextReset(row);
			}
			MemoryContextSwitchTo(before);
			MemoryContextDelete(row);
			table_endscan(scan);
			ExecDropSingleTupleTableSlot(slot);
		}
		table_close(leaf, NoLock);
	}
	UnregisterSnapshot(snapshot);
}

Datum
leadscore_enforce_stage(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Relation	rel;
	LsRules    *rules;
	bool		truncate;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("enforce_stage() can only be called as a trigger")));
	truncate = TRIGGER_FIRED_BY_TRUNCATE(data->tg_event);
	if (truncate ? !TRIGGER_FIRED_BEFORE(data->tg_event)
		: !TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("enforce_stage() must be fired after each row, or before TRUNCATE"),
				 errhint("leadscore.enforce() makes the triggers that are needed.")));
	if (data->tg_trigger->tgdeferrable)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("enforce_stage() cannot be deferrable"),
				 errhint("leadscore.enforce() makes the triggers that are needed.")));

	rel = data->tg_relation;
	/* a partition that was detached keeps this trigger */
	rules = truncate ? ls_rules_find(rel) : ls_rules_get(rel);
	if (rules == NULL)
		return PointerGetDatum(NULL);

	if (truncate)
		truncate_all(rules, rel);
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		check_order(rules, rel, data->tg_newtuple, data->tg_newslot);
		update(rules, rel, NULL, data->tg_trigslot, data->tg_newslot);
	}
	else if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		bool		isnull;
		Datum		stage = slot_getattr(data->tg_trigslot, rules->stage_attno, &isnull);
		TupleTableSlot *old = rules->root == rules->relid ? NULL : ls_arrival(rules, rel, data->tg_trigtuple, data->tg_trigslot);

		check_order(rules, rel, data->tg_trigtuple, data->tg_trigslot);
		if (old != NULL)
		{
			update(rules, rel, NULL, old, data->tg_trigslot);
			ExecDropSingleTupleTableSlot(old);
		}
		else if (!isnull)
			enter(rules, rel, NULL, data->tg_trigslot, stage);
	}
	else if (!ls_departs(rules, rel, data->tg_trigtuple))
		ls_leave(rules, rel, NULL, data->tg_trigslot, LS_KIND_DELETED);
	return PointerGetDatum(NULL);
}

Datum
leadscore_enforced_columns(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_BOOL(true);
}
