/*
 * pipeline_history.c
 *	  Appends to leadscore.stage_history, and bars every other writer from it.
 *
 * Rows go straight into the heap of their partition and its indexes, as the system catalogs' do:
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
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
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

/* What we know about one partition of the history table. */
typedef struct HistoryLeaf
{
	Oid			relid;
	int			nindexes;
	Oid		   *indexes;
	IndexInfo **infos;
} HistoryLeaf;

/* What we know about the history table; built anew after any change to it. */
typedef struct HistoryTarget
{
	bool		valid;			/* set last */
	Oid			relid;			/* the partitioned table */
	Oid			sequence;
	int			nleaves;
	HistoryLeaf *leaves;		/* in the order of its partition descriptor */
	Datum		kinds[N_KINDS];
	MemoryContext context;
} HistoryTarget;

static HistoryTarget target;

static ExecutorFinish_hook_type previous_finish = NULL;
static void on_executor_finish(QueryDesc *query);

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
	for (int i = 0; target.valid && i < target.nleaves; i++)
	{
		HistoryLeaf *leaf = &target.leaves[i];

		if (leaf->relid == relid)
			target.valid = false;
		for (int k = 0; k < leaf->nindexes; k++)
		{
			if (leaf->indexes[k] == relid)
				target.valid = false;
		}
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
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = on_executor_finish;
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

static void
prepare_leaf(HistoryLeaf *leaf, Relation root, Oid relid)
{
	Relation	rel = table_open(relid, RowExclusiveLock);
	List	   *indexes = RelationGetIndexList(rel);
	MemoryContext before;
	ListCell   *lc;
	bool		fits = rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_rel->relam == HEAP_TABLE_AM_OID &&
		RelationGetDescr(rel)->natts == LS_H_NATTS;

	for (int i = 0; fits && i < LS_H_NATTS; i++)
		fits = strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname),
					  NameStr(TupleDescAttr(RelationGetDescr(root), i)->attname)) == 0;
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("history cannot be written to the partition \"%s\"", RelationGetRelationName(rel)),
				 errdetail("A partition of leadscore.stage_history must be an ordinary table with the same columns in the same order."),
				 errhint("Make it with CREATE TABLE ... PARTITION OF leadscore.stage_history.")));
	before = MemoryContextSwitchTo(target.context);
	leaf->indexes = palloc(list_length(indexes) * sizeof(Oid) + 1);
	leaf->infos = palloc(list_length(indexes) * sizeof(IndexInfo *) + 1);
	leaf->nindexes = 0;
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);

		if (info->ii_ExclusionOps != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the history table cannot have exclusion constraints")));
		leaf->indexes[leaf->nindexes] = lfirst_oid(lc);
		leaf->infos[leaf->nindexes++] = info;
		index_close(index, NoLock);
	}
	MemoryContextSwitchTo(before);
	leaf->relid = relid;
	table_close(rel, NoLock);
}

/* learn the history table, which the caller has opened */
static void
prepare_target(Relation rel)
{
	PartitionKey key;
	PartitionDesc partitions;
	MemoryContext before;

	if (RelationGetDescr(rel)->natts != LS_H_NATTS || rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table leadscore.stage_history is not as this version of leadscore made it")));
	key = RelationGetPartitionKey(rel);
	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 || key->partattrs[0] != LS_H_AT + 1)
		elog(ERROR, "unexpected partition key of the history table");
	if (target.context == NULL)
		target.context = AllocSetContextCreate(TopMemoryContext, "leadscore history", ALLOCSET_SMALL_SIZES);
	target.nleaves = 0;
	MemoryContextReset(target.context);
	partitions = RelationGetPartitionDesc(rel, true);
	before = MemoryContextSwitchTo(target.context);
	target.leaves = palloc0(partitions->nparts * sizeof(HistoryLeaf) + 1);
	for (size_t i = 0; i < N_KINDS; i++)
		target.kinds[i] = CStringGetTextDatum(kind_names[i]);
	MemoryContextSwitchTo(before);
	target.sequence = get_relname_relid("stage_history_id_seq", ls_schema_oid());
	target.relid = RelationGetRelid(rel);
	/* what changes while this is read makes it invalid again: so it is valid first */
	target.valid = true;
	target.nleaves = partitions->nparts;
	for (int i = 0; i < partitions->nparts; i++)
		prepare_leaf(&target.leaves[i], rel, partitions->oids[i]);
}

/* the partition for a move at an instant; NULL: the target has to be learned anew */
static HistoryLeaf *
find_leaf(Relation rel, TimestampTz at)
{
	PartitionDesc partitions = RelationGetPartitionDesc(rel, true);
	PartitionKey key;
	Datum		value = TimestampTzGetDatum(at);
	bool		equal;
	int			index = -1;

	if (partitions->nparts > 0)
	{
		key = RelationGetPartitionKey(rel);
		index = partitions->boundinfo->indexes[1 + partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
																				partitions->boundinfo, 1, &value, &equal)];
		if (index < 0)
			index = partitions->boundinfo->default_index;
	}
	if (index < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("no partition of leadscore.stage_history takes a move at %s", timestamptz_to_str(at)),
				 errhint("Add one with CREATE TABLE ... PARTITION OF leadscore.stage_history.")));
	/* a partition that is being detached CONCURRENTLY comes and goes with the snapshot */
	for (int i = 0; i < target.nleaves; i++)
	{
		if (target.leaves[i].relid == partitions->oids[index])
			return &target.leaves[i];
	}
	return NULL;
}

/* the partition for a move at an instant, learned anew where need be, and opened */
static HistoryLeaf *
open_leaf(Relation root, TimestampTz at, Relation *rel)
{
	/* opening a partition may bring news of a change to it */
	for (;;)
	{
		HistoryLeaf *leaf;

		if (!target.valid)
			prepare_target(root);
		leaf = find_leaf(root, at);
		if (leaf == NULL)
		{
			target.valid = false;
			continue;
		}
		*rel = table_open(leaf->relid, RowExclusiveLock);
		if (target.valid)
			return leaf;
		table_close(*rel, NoLock);
	}
}

/*
 * Entries for the indexes. Ours are on plain columns; one that an administrator
 * added may have expressions or a predicate, and then takes the general way.
 */
static void
insert_index_entries(const HistoryLeaf *leaf, Relation rel, HeapTuple tuple, const Datum *values, const bool *nulls)
{
	EState	   *estate = NULL;
	TupleTableSlot *slot = NULL;

	for (int i = 0; i < leaf->nindexes; i++)
	{
		IndexInfo  *info = leaf->infos[i];
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
		index = index_open(leaf->indexes[i], RowExclusiveLock);
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

/* ---------------------------------------------------------------------------
 * Batches. A statement that moves many leads writes their rows together, which
 * saves a good part of what a row costs: buffer, WAL record and the opening of
 * tables are shared. Nobody can tell: rows are put aside only while nothing but
 * our own trigger can run, from the first of a statement's AFTER ROW events to the
 * end of its ExecutorFinish - the statement writes one table, and that has no
 * other AFTER triggers (foreign keys aside, which look at tables only). So there is
 * no reader of history, no other subtransaction and no other command in between.
 * Where that does not hold, or the statement does not come through the executor
 * (COPY, logical replication), each row is written at once.
 * ------------------------------------------------------------------------- */

#define BATCH_ROWS	512

typedef struct Batch
{
	int			level;			/* of the ExecutorFinish that it belongs to */
	int			n;
	Relation	root;			/* open while there are rows */
	Relation	rel;
	HistoryLeaf leaf;			/* a copy; its arrays stay until the target is learned again */
	TupleTableSlot *slots[BATCH_ROWS];
	MemoryContext tuples;
} Batch;

static Batch batch;

/* the innermost ExecutorFinish that is running */
typedef struct Finish
{
	QueryDesc  *query;
	Oid			relid;			/* batches are for this table; InvalidOid: not known yet */
	bool		batches;
} Finish;

static Finish finish;
static int	finish_level = 0;

/* foreign keys look at tables, and run no code of users */
static bool
only_looks(Oid function)
{
	return function == F_RI_FKEY_CHECK_INS || function == F_RI_FKEY_CHECK_UPD ||
		function == F_RI_FKEY_NOACTION_DEL || function == F_RI_FKEY_NOACTION_UPD ||
		function == F_RI_FKEY_RESTRICT_DEL || function == F_RI_FKEY_RESTRICT_UPD;
}

/* whether the rows of the statement that is finishing can be written together */
static bool
allows_batch(Oid relid)
{
	EState	   *estate;
	ResultRelInfo *result;
	TriggerDesc *triggers;

	if (finish_level == 0)
		return false;
	if (finish.relid == relid)
		return finish.batches;
	finish.relid = relid;
	finish.batches = false;

	estate = finish.query->estate;
	if (estate == NULL || list_length(estate->es_opened_result_relations) != 1 ||
		estate->es_tuple_routing_result_relations != NIL || estate->es_trig_target_relations != NIL)
		return false;
	result = (ResultRelInfo *) linitial(estate->es_opened_result_relations);
	triggers = result->ri_TrigDesc;
	if (RelationGetRelid(result->ri_RelationDesc) != relid || result->ri_RootResultRelInfo != NULL || triggers == NULL)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_AFTER(trigger->tgtype) && !only_looks(trigger->tgfoid) &&
			strcmp(trigger->tgname, LS_TRIGGER_STAGE) != 0 && strcmp(trigger->tgname, LS_TRIGGER_DELETE) != 0)
			return false;
	}
	finish.batches = true;
	return true;
}

static void
insert_batch_index(Oid relid, IndexInfo *info)
{
	Relation	index = index_open(relid, RowExclusiveLock);

	for (int i = 0; i < batch.n; i++)
	{
		Datum		key[INDEX_MAX_KEYS];
		bool		key_null[INDEX_MAX_KEYS];

		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
			key[k] = slot_getattr(batch.slots[i], info->ii_IndexAttrNumbers[k], &key_null[k]);
		index_insert(index, key, key_null, &batch.slots[i]->tts_tid, batch.rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
	}
	index_close(index, NoLock);
}

/* whether an index takes only columns, and so needs no executor state */
static bool
is_plain(const IndexInfo *info)
{
	return info->ii_Expressions == NIL && info->ii_Predicate == NIL && info->ii_ReadyForInserts;
}

static void
write_batch(void)
{
	MemoryContext before = MemoryContextSwitchTo(batch.tuples);

	heap_multi_insert(batch.rel, batch.slots, batch.n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < batch.leaf.nindexes; i++)
		insert_batch_index(batch.leaf.indexes[i], batch.leaf.infos[i]);
	for (int i = 0; i < batch.n; i++)
		ExecClearTuple(batch.slots[i]);
	batch.n = 0;
	MemoryContextSwitchTo(before);
	MemoryContextReset(batch.tuples);
}

static void
end_batch(void)
{
	if (batch.n > 0)
		write_batch();
	if (batch.rel != NULL)
	{
		table_close(batch.rel, NoLock);
		table_close(batch.root, NoLock);
		batch.rel = batch.root = NULL;
	}
	batch.level = 0;
}

/* the statement is undone, and with it what its rows were to say */
static void
forget_batch(void)
{
	for (int i = 0; i < batch.n; i++)
		ExecClearTuple(batch.slots[i]);
	if (batch.tuples != NULL)
		MemoryContextReset(batch.tuples);
	batch.n = 0;
	batch.rel = batch.root = NULL;	/* closed with the transaction's resources */
	batch.level = 0;
}

static void
on_executor_finish(QueryDesc *query)
{
	Finish		outer = finish;

	finish_level++;
	finish.query = query;
	finish.relid = InvalidOid;
	PG_TRY();
	{
		if (previous_finish)
			previous_finish(query);
		else
			standard_ExecutorFinish(query);
		if (batch.level == finish_level)
			end_batch();
	}
	PG_CATCH();
	{
		if (batch.level == finish_level)
			forget_batch();
		finish_level--;
		finish = outer;
		PG_RE_THROW();
	}
	PG_END_TRY();
	finish_level--;
	finish = outer;
}

/*
 * The partition that a row of the batch goes to, opened; false: rows have to be
 * written one by one.
 */
static bool
begin_batch(TimestampTz at)
{
	HistoryLeaf *leaf;

	if (batch.level != finish_level)
	{
		if (batch.level != 0)
			return false;
		batch.root = table_open(target.valid ? target.relid : get_relname_relid("stage_history", ls_schema_oid()),
								RowExclusiveLock);
		batch.level = finish_level;
	}
	leaf = batch.rel != NULL && target.valid ? find_leaf(batch.root, at) : NULL;
	if (leaf == NULL || leaf->relid != batch.leaf.relid)
	{
		if (batch.n > 0)
			write_batch();
		if (batch.rel != NULL)
			table_close(batch.rel, NoLock);
		batch.rel = NULL;
		leaf = open_leaf(batch.root, at, &batch.rel);
		batch.leaf = *leaf;
		if (batch.tuples == NULL)
			batch.tuples = AllocSetContextCreate(TopMemoryContext, "leadscore history batch", ALLOCSET_DEFAULT_SIZES);
		if (batch.slots[0] == NULL)
		{
			MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
			TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(batch.rel));

			for (int i = 0; i < BATCH_ROWS; i++)
				batch.slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
			MemoryContextSwitchTo(before);
		}
	}
	for (int i = 0; i < batch.leaf.nindexes; i++)
	{
		if (!is_plain(batch.leaf.infos[i]))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------- */

/*
 * One row of history. from and to are text datums. Does not depend on any right
 * of the current user, and does not change who that is.
 */
void
ls_history_write(LsRules *rules, LsHistoryKind kind, const char *lead,
				 Datum from, bool from_null, Datum to, bool to_null,
				 TimestampTz at, const char *reason, bool has_score, double score)
{
	Relation	root = NULL;
	Relation	rel = NULL;
	HistoryLeaf *leaf = NULL;
	HeapTuple	tuple;
	bool		batched = !rules->runs_code && allows_batch(rules->relid) && begin_batch(at);
	Datum		values[LS_H_NATTS];
	bool		nulls[LS_H_NATTS] = {false};

	/* who seals history waits for this lock, so it comes before the number of the row */
	if (!batched)
	{
		Assert(batch.n == 0);
		root = table_open(target.valid ? target.relid : get_relname_relid("stage_history", ls_schema_oid()),
						  RowExclusiveLock);
		leaf = open_leaf(root, at, &rel);
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

	if (batched)
	{
		MemoryContext before = MemoryContextSwitchTo(batch.tuples);

		tuple = heap_form_tuple(RelationGetDescr(batch.rel), values, nulls);
		tuple->t_tableOid = RelationGetRelid(batch.rel);
		ExecStoreHeapTuple(tuple, batch.slots[batch.n++], false);
		MemoryContextSwitchTo(before);
		if (batch.n == BATCH_ROWS)
			write_batch();
		return;
	}
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	simple_heap_insert(rel, tuple);
	insert_index_entries(leaf, rel, tuple, values, nulls);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	table_close(root, NoLock);
}

/* leadscore itself has written no row in this database: its sequence is as it was made */
static bool
never_written(void)
{
	LOCAL_FCINFO(fcinfo, 1);

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(get_relname_relid("stage_history_id_seq", ls_schema_oid()));
	fcinfo->args[0].isnull = false;
	(void) pg_sequence_last_value(fcinfo);
	return fcinfo->isnull;
}

/* no row that is visible now, those of this command aside */
static bool
is_empty(Relation rel)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	bool		empty = !table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return empty;
}

/*
 * A restore: the owner of the extension (or a superuser) puts the rows of a dump
 * into a history, by COPY or INSERT, that leadscore has not written to; or by one
 * COPY into a partition that is empty, since the jobs of a parallel restore may
 * set the sequence first. The partition is looked at once a command: what the
 * command itself has put there would have to be skipped for every row.
 */
static bool
is_restore(Relation rel)
{
	static Oid	known_relid = InvalidOid;
	static LocalTransactionId known_lxid;
	static CommandId known_command;

	if (!has_privs_of_role(GetUserId(), rel->rd_rel->relowner))
		return false;
	if (known_relid == RelationGetRelid(rel) && known_lxid == ls_local_transaction_id() &&
		known_command == GetCurrentCommandId(false))
		return true;
	if (!never_written() && !is_empty(rel))
		return false;
	known_relid = RelationGetRelid(rel);
	known_lxid = ls_local_transaction_id();
	known_command = GetCurrentCommandId(false);
	return true;
}

/*
 * Nothing may be changed or added here by SQL, but in a restore.
 */
Datum
leadscore_protect_history(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("protect_history() can only be called as a trigger")));

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event) && TRIGGER_FIRED_FOR_ROW(data->tg_event) &&
		is_restore(data->tg_relation))
		return PointerGetDatum(data->tg_trigtuple);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the history of stages is written by leadscore alone"),
			 errhint("A correction is a new row: see leadscore.backdate() and leadscore.import_history().")));
	return PointerGetDatum(NULL);			/* keep the compiler quiet */
}
