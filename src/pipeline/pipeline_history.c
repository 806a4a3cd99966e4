/*
 * pipeline_history.c
 *	  Appends to leadscore.stage_history, and bars every other writer from it.
 *
 * Rows go straight into the heap and its indexes, as the system catalogs' do:
 * no plan, no permission that could be granted, no trigger. That is both why it
 * is fast and why the protecting trigger can refuse everything that comes in
 * the ordinary way.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_protect_history);

static const char *const kind_names[] = {
	[LS_KIND_ENTRY] = "entry",
	[LS_KIND_MOVE] = "move",
	[LS_KIND_OVERRIDE] = "override",
	[LS_KIND_ADOPTED] = "adopted",
	[LS_KIND_IMPORTED] = "imported",
	[LS_KIND_PAST] = "past",
	[LS_KIND_REKEYED] = "rekeyed",
	[LS_KIND_DELETED] = "deleted",
	[LS_KIND_TRUNCATED] = "truncated",
};
#define N_KINDS	lengthof(kind_names)

/* What we know about the history table; built anew after any change to it. */
typedef struct HistoryTarget
{
	bool		valid;			/* set last */
	Oid			relid;
	Oid			sequence;
	int			nindexes;
	Oid		   *indexes;
	IndexInfo **infos;
	Datum		kinds[N_KINDS];
	MemoryContext context;
} HistoryTarget;

static HistoryTarget target;

/* who is asking, as text; looked up again when a role is renamed */
typedef struct UserName
{
	Oid			oid;
	Datum		text;
} UserName;

static UserName session_name;
static UserName user_name;

static void
on_relcache_message(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == target.relid)
		target.valid = false;
	for (int i = 0; target.valid && i < target.nindexes; i++)
	{
		if (target.indexes[i] == relid)
			target.valid = false;
	}
}

static void
on_role_message(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	session_name.oid = InvalidOid;
	user_name.oid = InvalidOid;
}

void
ls_history_init(void)
{
	CacheRegisterRelcacheCallback(on_relcache_message, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, on_role_message, (Datum) 0);
}

static Datum
name_of(UserName *cached, Oid oid)
{
	if (cached->oid != oid)
	{
		char	   *name = GetUserNameFromId(oid, false);
		MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

		if (DatumGetPointer(cached->text) != NULL)
			pfree(DatumGetPointer(cached->text));
		cached->text = (Datum) 0;
		cached->text = CStringGetTextDatum(name);
		cached->oid = oid;
		MemoryContextSwitchTo(before);
	}
	return cached->text;
}

/* learn the history table, which the caller has opened */
static void
prepare_target(Relation rel)
{
	List	   *indexes;
	ListCell   *lc;
	MemoryContext before;
	int			n = 0;

	if (target.context == NULL)
		target.context = AllocSetContextCreate(TopMemoryContext, "leadscore history", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(target.context);
	target.nindexes = 0;
	indexes = RelationGetIndexList(rel);
	before = MemoryContextSwitchTo(target.context);
	target.indexes = palloc(list_length(indexes) * sizeof(Oid) + 1);
	target.infos = palloc(list_length(indexes) * sizeof(IndexInfo *) + 1);
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		target.indexes[n] = lfirst_oid(lc);
		target.infos[n] = BuildIndexInfo(index);
		if (target.infos[n]->ii_ExclusionOps != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the history table cannot have exclusion constraints")));
		index_close(index, NoLock);
		n++;
	}
	for (size_t i = 0; i < N_KINDS; i++)
		target.kinds[i] = CStringGetTextDatum(kind_names[i]);
	target.sequence = get_relname_relid("stage_history_id_seq", ls_schema_oid());
	MemoryContextSwitchTo(before);
	target.relid = RelationGetRelid(rel);
	target.nindexes = n;
	target.valid = true;
}

/*
 * Entries for the indexes. Ours are on plain columns; one that an administrator
 * added may have expressions or a predicate, and then takes the general way.
 */
static void
insert_index_entries(Relation rel, HeapTuple tuple, const Datum *values, const bool *nulls)
{
	EState	   *estate = NULL;
	TupleTableSlot *slot = NULL;

	for (int i = 0; i < target.nindexes; i++)
	{
		IndexInfo  *info = target.infos[i];
		Relation	index;
		Datum		key[INDEX_MAX_KEYS];
		bool		key_null[INDEX_MAX_KEYS];

		if (!info->ii_ReadyForInserts)
			continue;
		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
		{
			if (estate == NULL)
			{
				estate = CreateExecutorState();
				slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
				ExecStoreHeapTuple(tuple, slot, false);
				GetPerTupleExprContext(estate)->ecxt_scantuple = slot;
			}
			/* never the cached states: they belong to the previous EState */
			info->ii_ExpressionsState = NIL;
			info->ii_PredicateState = NULL;
			if (info->ii_Predicate != NIL &&
				!ExecQual(ExecPrepareQual(info->ii_Predicate, estate), GetPerTupleExprContext(estate)))
				continue;
			FormIndexDatum(info, slot, estate, key, key_null);
			info->ii_ExpressionsState = NIL;
		}
		else
		{
			for (int k = 0; k < info->ii_NumIndexAttrs; k++)
			{
				key[k] = values[info->ii_IndexAttrNumbers[k] - 1];
				key_null[k] = nulls[info->ii_IndexAttrNumbers[k] - 1];
			}
		}
		index = index_open(target.indexes[i], RowExclusiveLock);
		index_insert(index, key, key_null, &tuple->t_self, rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
		index_close(index, NoLock);
	}
	if (estate != NULL)
	{
		ExecDropSingleTupleTableSlot(slot);
		FreeExecutorState(estate);
	}
}

/*
 * One row of history. from and to are text datums. Does not depend on any right
 * of the current user, and does not change who that is.
 */
void
ls_history_write(LsRules *rules, LsHistoryKind kind, const char *lead,
				 Datum from, bool from_null, Datum to, bool to_null,
				 TimestampTz at, const char *reason, bool has_score, double score)
{
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[LS_H_NATTS];
	bool		nulls[LS_H_NATTS] = {false};

	rel = table_open(target.valid ? target.relid : get_relname_relid("stage_history", ls_schema_oid()),
					 RowExclusiveLock);
	if (!target.valid)
	{
		if (RelationGetDescr(rel)->natts != LS_H_NATTS || rel->rd_rel->relkind != RELKIND_RELATION)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the table leadscore.stage_history is not as this version of leadscore made it")));
		prepare_target(rel);
	}

	values[LS_H_ID] = Int64GetDatum(nextval_internal(target.sequence, false));
	values[LS_H_AT] = TimestampTzGetDatum(at);
	values[LS_H_XACT_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[LS_H_SCORE] = Float8GetDatum(score);
	nulls[LS_H_SCORE] = !has_score;
	values[LS_H_RELATION] = ObjectIdGetDatum(rules->root);
	values[LS_H_PIPELINE_VERSION] = Int32GetDatum(rules->version);
	values[LS_H_MODEL_VERSION] = Int32GetDatum(rules->model_version);
	nulls[LS_H_MODEL_VERSION] = !has_score || rules->model_version == 0;
	values[LS_H_LEAD] = CStringGetTextDatum(lead);
	values[LS_H_KIND] = target.kinds[kind];
	values[LS_H_FROM] = from;
	nulls[LS_H_FROM] = from_null;
	values[LS_H_TO] = to;
	nulls[LS_H_TO] = to_null;
	values[LS_H_PIPELINE] = rules->pipeline_text;
	values[LS_H_SESSION] = name_of(&session_name, GetSessionUserId());
	values[LS_H_USER] = name_of(&user_name, GetUserId());
	nulls[LS_H_REASON] = reason == NULL;
	values[LS_H_REASON] = reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason);
	nulls[LS_H_MODEL] = !has_score;
	values[LS_H_MODEL] = rules->model_text;

	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	simple_heap_insert(rel, tuple);
	insert_index_entries(rel, tuple, values, nulls);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/*
 * Nothing may be changed or added here by SQL. The exception is a restore: the
 * rows of a dump go into a history that is still empty, and only the owner of
 * the extension (or a superuser) can do that.
 */
Datum
leadscore_protect_history(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("protect_history() can only be called as a trigger")));

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event) &&
		has_privs_of_role(GetUserId(), data->tg_relation->rd_rel->relowner))
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		TupleTableSlot *slot = table_slot_create(data->tg_relation, NULL);
		TableScanDesc scan = table_beginscan(data->tg_relation, snapshot, 0, NULL);
		bool		empty = !table_scan_getnextslot(scan, ForwardScanDirection, slot);

		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		UnregisterSnapshot(snapshot);
		if (empty)
			return PointerGetDatum(NULL);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the history of stages is written by leadscore alone"),
			 errhint("A correction is a new row: see leadscore.backdate() and leadscore.import_history().")));
	return PointerGetDatum(NULL);			/* keep the compiler quiet */
}
