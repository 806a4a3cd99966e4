/*
 * pipeline_stored.c
 *	  Judges moves as their rows are stored.
 *
 * An AFTER ROW trigger costs more than what ours does for an ordinary move: the
 * event is queued, and at the end of the statement both versions of the row are
 * fetched again. PostgreSQL asks a trigger's WHEN clause before it queues an
 * event, with both versions at hand. So that of our trigger, which by itself is
 * always true, is exchanged for a function of ours when a statement starts: what
 * can be decided there is (ls_update_at_once, ls_enter_at_once), and only for the
 * rest an event is queued. The rules, and who applies them, are the same.
 *
 * Where statements do not come through the executor's start (COPY, logical
 * replication, partitions that rows are routed to), in the first statement of a
 * session, and where it is not certain that rows of history are written before
 * somebody looks, the clause stays as it is and the trigger judges all rows.
 */
#include "leadscore.h"

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
	bool		done = false;

	*isnull = false;
	if (rules != NULL && !TupIsNull(new_slot))
	{
		if (TupIsNull(old_slot))
			done = ls_enter_at_once(rules, stored->rel, stored->statement, new_slot);
		else
			done = ls_update_at_once(rules, stored->rel, stored->statement, old_slot, new_slot);
	}
	return BoolGetDatum(!done);
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

		if (trigger->tgqual != NULL && strcmp(trigger->tgname, LS_TRIGGER_STAGE) == 0 &&
			TRIGGER_FOR_AFTER(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype) &&
			get_func_namespace(trigger->tgfoid) == ls_schema_oid())
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
	 * comes from. Of several statements in one (WITH), some run when triggers
	 * fire already.
	 */
	if ((eflags & (EXEC_FLAG_SKIP_TRIGGERS | EXEC_FLAG_EXPLAIN_ONLY)) || query->estate->es_auxmodifytables != NIL)
		return;
	foreach(lc, query->estate->es_opened_result_relations)
		exchange_condition(query->estate, (ResultRelInfo *) lfirst(lc));
}

void
ls_stored_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = on_executor_start;
}
