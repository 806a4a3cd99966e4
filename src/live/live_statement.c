/*
 * live_statement.c
 *	  What a whole statement changes.
 *
 * A statement may fire our triggers many times: for each row, or for each of the
 * things it does (MERGE, ON CONFLICT DO UPDATE, WITH), or on leads and events.
 * What these find is folded together and applied when the last AFTER trigger has
 * fired: each lead once, all of them in the order of keys. So two such statements
 * do not wait for each other's leads in a circle.
 *
 * That is put off only where nobody can look meanwhile: the tables that the
 * statement writes have no AFTER trigger but ours and foreign keys that check.
 * Whoever else's trigger fires finds the scores that belong to the rows it sees,
 * as each of our triggers applies what it found. So it is with what logical
 * replication applies, too, which no statement ends, and in a session's first
 * statement, where this library is loaded too late, if it is more than one plain
 * statement of the client's (COPY, or below a function).
 *
 * Also known here is which tables are being written right now: a lead must not be
 * moved to a stage below a statement that may be about to store its row.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "live/live.h"

/* A statement that stores rows, or locks some. */
typedef struct Storing
{
	struct Storing *outer;
	const PlannedStmt *statement;
} Storing;

static Storing *storing = NULL;	/* the innermost */

/* the client's statement that found the library not loaded yet, and did not come by here */
static TimestampTz loaded_by = 0;

/* What is put off for one model. */
typedef struct PutOff
{
	struct PutOff *next;
	LiveTableData *table;		/* pinned */
	LiveFold   *fold;
	int			depth;			/* of triggers */
} PutOff;

/* A statement whose AFTER triggers are firing. */
typedef struct Finishing
{
	struct Finishing *outer;
	EState	   *estate;			/* NULL: COPY */
	MemoryContext context;
	bool		known;			/* what triggers the tables have that it writes ... */
	bool		only_ours;
	Oid			relid;			/* the table last asked about ... InvalidOid: none */
	bool		can_wait;		/* ... and the answer */
	PutOff	   *first;			/* in the order in which they came */
	PutOff	  **last;
} Finishing;

static Finishing *finishing = NULL; /* the innermost */

/*
 * The client's statement that has this library loaded is under way when its first
 * trigger fires. It has not come by our hooks, but comes by that of its end.
 */
static Finishing first;
static const PlannedStmt *first_statement = NULL;
static SubTransactionId first_subid;

#define UTILITY_PARAMETERS \
	PlannedStmt *statement, const char *text, bool read_only_tree, ProcessUtilityContext context, \
	ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion
#define UTILITY_ARGUMENTS \
	statement, text, read_only_tree, context, params, environment, receiver, completion

static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ExecutorEnd_hook_type previous_end = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

static void
begin_finishing(Finishing *self, EState *estate, MemoryContext context)
{
	self->outer = finishing;
	self->estate = estate;
	self->context = context;
	self->known = false;
	self->only_ours = true;
	self->relid = InvalidOid;
	self->can_wait = false;
	self->first = NULL;
	self->last = &self->first;
	finishing = self;
}

/* ----------------------------------------------------------------
 *		Who could look
 * ----------------------------------------------------------------
 */

/* foreign keys that check look at tables, and run no code of users */
bool
ls_live_only_checks(Oid function)
{
	return function == F_RI_FKEY_CHECK_INS || function == F_RI_FKEY_CHECK_UPD ||
		function == F_RI_FKEY_NOACTION_DEL || function == F_RI_FKEY_NOACTION_UPD ||
		function == F_RI_FKEY_RESTRICT_DEL || function == F_RI_FKEY_RESTRICT_UPD;
}

/* Are all that fire after the change ours, or foreign keys that check? */
static bool
only_ours(const TriggerDesc *triggers)
{
	Oid			schema = get_namespace_oid(LS_SCHEMA, true);

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_AFTER(trigger->tgtype) && !ls_live_only_checks(trigger->tgfoid) &&
			get_func_namespace(trigger->tgfoid) != schema)
			return false;
	}
	return true;
}

/* The same of all tables that a statement writes. */
static bool
only_ours_on(List *results)
{
	ListCell   *cell;

	foreach(cell, results)
		if (!only_ours(((const ResultRelInfo *) lfirst(cell))->ri_TrigDesc))
			return false;
	return true;
}

/* The same of those that a table is a partition of. */
static bool
only_ours_above(Relation rel)
{
	bool		result = true;
	ListCell   *cell;

	if (!rel->rd_rel->relispartition)
		return true;
	foreach(cell, get_partition_ancestors(RelationGetRelid(rel)))
	{
		Relation	parent = table_open(lfirst_oid(cell), AccessShareLock);

		result &= only_ours(parent->trigdesc);
		table_close(parent, NoLock);
	}
	return result;
}

static bool
is_or_is_in(Oid stored, Oid relid)
{
	return stored == relid ||
		(get_rel_relispartition(stored) && list_member_oid(get_partition_ancestors(stored), relid));
}

/* Is a table written by the client's statement in which we were loaded? Then collect what that changes. */
static void
begin_first(Relation rel)
{
	const PlannedStmt *statement;
	ListCell   *cell;
	bool		writes = false;
	bool		ours = true;

	if (loaded_by != GetCurrentStatementStartTimestamp() || first_statement != NULL ||
		ActivePortal == NULL || list_length(ActivePortal->stmts) != 1)
		return;
	statement = linitial_node(PlannedStmt, ActivePortal->stmts);
	foreach(cell, statement->resultRelations)
	{
		Relation	written = table_open(rt_fetch(lfirst_int(cell), statement->rtable)->relid, AccessShareLock);

		writes |= is_or_is_in(RelationGetRelid(rel), RelationGetRelid(written));
		ours &= only_ours(written->trigdesc);
		table_close(written, NoLock);
	}
	if (!writes || !ours)
		return;
	begin_finishing(&first, NULL, AllocSetContextCreate(TopTransactionContext, "leadscore first statement",
														ALLOCSET_SMALL_SIZES));
	first_statement = statement;
	first_subid = GetCurrentSubTransactionId();
}

/* Can what a change of the table does wait for the end of the statement? */
static bool
can_wait(Relation rel)
{
	const EState *estate;

	if (finishing == NULL)
		begin_first(rel);
	if (finishing == NULL)
		return false;
	estate = finishing->estate;
	if (estate != NULL && !finishing->known)
	{
		finishing->known = true;
		finishing->only_ours = only_ours_on(estate->es_opened_result_relations) &&
			only_ours_on(estate->es_tuple_routing_result_relations) &&
			only_ours_on(estate->es_trig_target_relations);
	}
	if (finishing->relid != RelationGetRelid(rel))
	{
		finishing->relid = RelationGetRelid(rel);
		finishing->can_wait = finishing->only_ours && only_ours(rel->trigdesc) &&
			(estate != NULL || only_ours_above(rel));
	}
	return finishing->can_wait;
}

/* ----------------------------------------------------------------
 *		Put off, and applied
 * ----------------------------------------------------------------
 */

/*
 * Where a firing of our trigger folds what it finds for a model. It ends with
 * ls_live_statement_end.
 */
LiveFold *
ls_live_statement_fold(Relation rel, LiveTableData *table, LiveModel *live, int depth)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	bool		wait = can_wait(rel);
	LiveFold   *fold;

	if (wait)
	{
		/* leads and events have each a copy of the model */
		for (PutOff *put_off = finishing->first; put_off != NULL; put_off = put_off->next)
		{
			fold = put_off->fold;
			if (fold->model->score_relid == live->score_relid &&
				fold->model->model->version == live->model->version)
				return fold;
		}
		MemoryContextSwitchTo(finishing->context);
	}
	fold = ls_live_fold_begin(live, GetCurrentTimestamp(), "event");
	fold->lead_cause = "lead";
	fold->put_off = wait;
	if (wait)
	{
		PutOff	   *put_off = palloc(sizeof(PutOff));

		ls_live_table_hold(table);
		put_off->next = NULL;
		put_off->table = table;
		put_off->fold = fold;
		put_off->depth = depth;
		*finishing->last = put_off;
		finishing->last = &put_off->next;
	}
	MemoryContextSwitchTo(oldcontext);
	return fold;
}

void
ls_live_statement_end(LiveFold *fold, int depth)
{
	if (fold->put_off)
		return;
	ls_live_apply(fold, depth);
	ls_live_fold_end(fold);
}

/* The last trigger has fired. */
static void
apply_put_off(Finishing *self)
{
	PutOff	   *put_off;

	/* what our own statements change from here on has a statement of its own */
	finishing = NULL;
	while ((put_off = self->first) != NULL)
	{
		self->first = put_off->next;
		ls_live_apply(put_off->fold, put_off->depth);
		ls_live_fold_end(put_off->fold);
		ls_live_table_unpin(put_off->table);
		pfree(put_off);
	}
}

/* ----------------------------------------------------------------
 *		Statements
 * ----------------------------------------------------------------
 */

static void
run(QueryDesc *query, LS_RUN_PARAMETERS)
{
	if (previous_run)
		previous_run(query, LS_RUN_ARGUMENTS);
	else
		standard_ExecutorRun(query, LS_RUN_ARGUMENTS);
}

static void
on_executor_run(QueryDesc *query, LS_RUN_PARAMETERS)
{
	Storing		self = {storing, query->plannedstmt};

	if (self.statement->resultRelations == NIL && self.statement->rowMarks == NIL)
	{
		run(query, LS_RUN_ARGUMENTS);
		return;
	}
	storing = &self;
	PG_TRY();
	{
		run(query, LS_RUN_ARGUMENTS);
	}
	PG_FINALLY();
	{
		storing = self.outer;
	}
	PG_END_TRY();
}

static void
finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

static void
on_executor_finish(QueryDesc *query)
{
	Finishing	self;

	if (query->plannedstmt->resultRelations == NIL)
	{
		finish(query);
		return;
	}
	begin_finishing(&self, query->estate, query->estate->es_query_cxt);
	PG_TRY();
	{
		finish(query);
		apply_put_off(&self);
	}
	PG_FINALLY();
	{
		finishing = self.outer;
	}
	PG_END_TRY();
}

static void
on_executor_end(QueryDesc *query)
{
	if (first_statement != NULL && query->plannedstmt == first_statement)
	{
		first_statement = NULL;
		apply_put_off(&first);
		MemoryContextDelete(first.context);
	}
	if (previous_end)
		previous_end(query);
	else
		standard_ExecutorEnd(query);
}

/* what the first statement was to change is undone; its memory goes with the transaction */
static void
forget_first(void)
{
	first_statement = NULL;
	if (finishing == &first)
		finishing = NULL;
}

static void
on_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT && first_statement != NULL)
		forget_first();
}

static void
on_subtransaction(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (first_statement == NULL || first_subid != subid)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_first();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		first_subid = parent;
}

static void
utility(UTILITY_PARAMETERS)
{
	if (previous_utility)
		previous_utility(UTILITY_ARGUMENTS);
	else
		standard_ProcessUtility(UTILITY_ARGUMENTS);
}

static void
on_utility(UTILITY_PARAMETERS)
{
	Finishing	self;

	if (!IsA(statement->utilityStmt, CopyStmt) || !castNode(CopyStmt, statement->utilityStmt)->is_from)
	{
		utility(UTILITY_ARGUMENTS);
		return;
	}
	begin_finishing(&self, NULL, AllocSetContextCreate(CurrentMemoryContext, "leadscore copy", ALLOCSET_SMALL_SIZES));
	PG_TRY();
	{
		utility(UTILITY_ARGUMENTS);
		apply_put_off(&self);
	}
	PG_FINALLY();
	{
		finishing = self.outer;
	}
	PG_END_TRY();
	MemoryContextDelete(self.context);
}

/*
 * Does the transaction hold the lock of one that writes the table? That is all to
 * be known of the statement in which this library was loaded.
 */
static bool
is_locked_for_writing(Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);
		bool		locked = CheckRelationLockedByMe(rel, RowShareLock, true);

		table_close(rel, NoLock);
		if (locked)
			return true;
	}
	return false;
}

/*
 * Is a statement, below which we are, storing or locking rows of a table? It would
 * find them changed by what it set off: an error, or a row that it does not return.
 */
bool
ls_live_is_being_stored(Oid relid)
{
	for (const Storing *s = storing; s != NULL; s = s->outer)
	{
		const PlannedStmt *statement = s->statement;
		ListCell   *cell;

		foreach(cell, statement->resultRelations)
			if (is_or_is_in(rt_fetch(lfirst_int(cell), statement->rtable)->relid, relid))
				return true;
		foreach(cell, statement->rowMarks)
		{
			const PlanRowMark *mark = lfirst_node(PlanRowMark, cell);

			if (RowMarkRequiresRowShareLock(mark->markType) &&
				is_or_is_in(rt_fetch(mark->rti, statement->rtable)->relid, relid))
				return true;
		}
	}
	return loaded_by == GetCurrentStatementStartTimestamp() && is_locked_for_writing(relid);
}

void
ls_live_statement_init(void)
{
	loaded_by = GetCurrentStatementStartTimestamp();
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = on_executor_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = on_executor_finish;
	previous_end = ExecutorEnd_hook;
	ExecutorEnd_hook = on_executor_end;
	RegisterXactCallback(on_transaction, NULL);
	RegisterSubXactCallback(on_subtransaction, NULL);
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
}
