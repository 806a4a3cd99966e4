/*
 * pipeline_stored.c
 *	  Judges what happens to leads as their rows are stored.
 *
 * An AFTER ROW trigger costs more than what ours does for an ordinary move: the
 * event is queued, and at the end of the statement both versions of the row are
 * fetched again. And it comes late: a function that the statement calls (in SET,
 * in RETURNING) may have moved the lead once more by then, and history would have
 * the two moves in the wrong order. PostgreSQL asks a trigger's WHEN clause before
 * it queues an event, with both versions at hand. So those of our triggers, which
 * by themselves are always true, are exchanged for a function of ours when a
 * statement starts: it does what the trigger would do, and no event is queued.
 *
 * Where statements do not come through the executor's start (COPY, logical
 * replication, partitions that rows are routed to), in the first statement of a
 * session that has not loaded leadscore before, and where rows come to or leave
 * a partition, the clause stays as it is and the trigger judges the rows.
 */
#include "leadscore.h"

#include "catalog/namespace.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "pipeline/pipeline.h"

/* One table of a statement. */
typedef struct StoredRows
{
	Relation	rel;
	EState	   *statement;
} StoredRows;

static ExecutorStart_hook_type previous_start = NULL;

/*
 * In the place of the WHEN clause: does an event have to be queued? PostgreSQL
 * shows the old row as the inner tuple, the new one as the outer.
 */
static Datum
left_to_trigger(ExprState *state, ExprContext *econtext, bool *isnull)
{
	StoredRows *stored = (StoredRows *) state->evalfunc_private;
	TupleTableSlot *old_slot = econtext->ecxt_innertuple;
	TupleTableSlot *new_slot = econtext->ecxt_outertuple;
	LsRules    *rules = ls_rules_find(stored->rel);

	*isnull = false;
	return BoolGetDatum(rules == NULL ||
						!ls_judge_stored(rules, stored->rel, stored->statement,
										 TupIsNull(old_slot) ? NULL : old_slot,
										 TupIsNull(new_slot) ? NULL : new_slot));
}

static ExprState *
make_condition(EState *estate, Relation rel)
{
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);
	ExprState  *state = makeNode(ExprState);
	StoredRows *stored = palloc(sizeof(StoredRows));

	stored->rel = rel;
	stored->statement = estate;
	state->flags = EEO_FLAG_IS_QUAL;
	state->evalfunc = left_to_trigger;
	state->evalfunc_private = stored;
	MemoryContextSwitchTo(before);
	return state;
}

static void
exchange_condition(EState *estate, ResultRelInfo *result)
{
	TriggerDesc *triggers = result->ri_TrigDesc;
	Relation	rel = result->ri_RelationDesc;

	/* of an UPDATE across partitions the root sees the whole, and the partitions its parts */
	if (triggers == NULL || rel->rd_rel->relkind != RELKIND_RELATION)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgqual != NULL &&
			(strcmp(trigger->tgname, LS_TRIGGER_STAGE) == 0 || strcmp(trigger->tgname, LS_TRIGGER_DELETE) == 0) &&
			TRIGGER_FOR_AFTER(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype) &&
			get_func_namespace(trigger->tgfoid) == get_namespace_oid(LS_SCHEMA, true))
			result->ri_TrigWhenExprs[i] = make_condition(estate, rel);
	}
}

static void
on_executor_start(QueryDesc *query, int eflags)
{
	ListCell   *lc;

	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);

	/*
	 * A cascade of a foreign key leaves its triggers to the statement that it
	 * comes from, and so to the user who made that.
	 */
	if (eflags & (EXEC_FLAG_SKIP_TRIGGERS | EXEC_FLAG_EXPLAIN_ONLY))
		return;
	foreach(lc, query->estate->es_opened_result_relations)
		exchange_condition(query->estate, (ResultRelInfo *) lfirst(lc));
}

static bool
is_ours(const ResultRelInfo *result)
{
	for (int i = 0; result->ri_TrigDesc != NULL && i < result->ri_TrigDesc->numtriggers; i++)
	{
		if (result->ri_TrigWhenExprs[i] != NULL && result->ri_TrigWhenExprs[i]->evalfunc == left_to_trigger)
			return true;
	}
	return false;
}

/*
 * Of several statements in one (WITH), those that nothing reads run last of all,
 * in ExecutorFinish, directly before triggers fire. The history of their rows is to
 * be written in between: so they run here, and there find that they are done.
 */
void
ls_stored_finish(EState *statement)
{
	bool		ours = false;
	MemoryContext before;
	ListCell   *lc;

	if (statement->es_auxmodifytables == NIL)
		return;
	foreach(lc, statement->es_opened_result_relations)
		ours |= is_ours((ResultRelInfo *) lfirst(lc));
	if (!ours)
		return;
	before = MemoryContextSwitchTo(statement->es_query_cxt);
	statement->es_direction = ForwardScanDirection;
	foreach(lc, statement->es_auxmodifytables)
	{
		TupleTableSlot *slot;

		do
		{
			ResetPerTupleExprContext(statement);
			slot = ExecProcNode((PlanState *) lfirst(lc));
		} while (!TupIsNull(slot));
	}
	MemoryContextSwitchTo(before);
}

void
ls_stored_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = on_executor_start;
}
