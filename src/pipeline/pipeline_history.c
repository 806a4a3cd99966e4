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
#include "pipeline/pipeline_history.h"

PG_FUNCTION_INFO_V1(leadscore_protect_history);
PG_FUNCTION_INFO_V1(leadscore_add_history_partition);

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
	Oid			relid;			/* the partitioned table */
	Oid			sequence;
	int			nleaves;
	HistoryLeaf *leaves;		/* in the order of its partition descriptor */
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

/*
 * The history table, opened to write to it. Whoever seals history waits for this
 * lock, so it comes before the numbers of the rows.
 */
Relation
ls_history_open(void)
{
	return table_open(target.valid ? target.relid : get_relname_relid("stage_history", ls_schema_oid()),
					  RowExclusiveLock);
}

/* whether a move at an instant goes to the partition that another one goes to */
bool
ls_history_same_leaf(Relation root, const HistoryLeaf *leaf, TimestampTz at)
{
	return target.valid && find_leaf(root, at) == leaf;
}

/*
 * The partition for a move at an instant, learned anew where need be, and
 * opened. What is returned stays until the next call.
 */
HistoryLeaf *
ls_history_open_leaf(Relation root, TimestampTz at, Relation *rel)
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
void
ls_history_index(const HistoryLeaf *leaf, Relation rel, HeapTuple tuple, const Datum *values, const bool *nulls)
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
		ls_index_insert_cleanup(index, info);
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
 * of the current user, and does not change who that is. With the statement that
 * moves the lead, the row may wait for others (pipeline_batch.c); the trigger,
 * which runs at its end, gives NULL.
 */
void
ls_history_write(LsRules *rules, EState *statement, LsHistoryKind kind, const char *lead,
				 Datum from, bool from_null, Datum to, bool to_null,
				 TimestampTz at, const char *reason, bool has_score, double score)
{
	Relation	root = NULL;
	Relation	rel = NULL;
	HistoryLeaf *leaf = NULL;
	HeapTuple	tuple;
	bool		waits = ls_batch_begin(rules, statement);
	Datum		values[LS_H_NATTS];
	bool		nulls[LS_H_NATTS] = {false};

	if (!waits || !target.valid)
	{
		root = ls_history_open();
		leaf = ls_history_open_leaf(root, at, &rel);
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

	if (waits)
		ls_batch_add(values, nulls);
	else
	{
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		simple_heap_insert(rel, tuple);
		ls_history_index(leaf, rel, tuple, values, nulls);
		heap_freetuple(tuple);
	}
	if (root != NULL)
	{
		table_close(rel, NoLock);
		table_close(root, NoLock);
	}
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

/*
 * A partition for the moves of a time to come, with what its rows need: the index,
 * and the guard against TRUNCATE, which is not inherited. For the owner of the
 * history: he makes a table of his own.
 */
Datum
leadscore_add_history_partition(PG_FUNCTION_ARGS)
{
	Oid			root = get_relname_relid("stage_history", ls_schema_oid());
	char	   *from = DatumGetCString(DirectFunctionCall1(timestamptz_out, PG_GETARG_DATUM(0)));
	char	   *to = DatumGetCString(DirectFunctionCall1(timestamptz_out, PG_GETARG_DATUM(1)));
	char	   *name = NameStr(*PG_GETARG_NAME(2));
	const char *table = quote_qualified_identifier(LS_SCHEMA, name);

	if (!ls_owns_relation(root, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the owner of leadscore can add a partition to its history")));
	SPI_connect();
	ls_spi_expect(SPI_execute(psprintf("CREATE TABLE %s PARTITION OF leadscore.stage_history FOR VALUES FROM (%s) TO (%s)",
									   table, quote_literal_cstr(from), quote_literal_cstr(to)), false, 0), SPI_OK_UTILITY);
	ls_spi_expect(SPI_execute(psprintf("CREATE INDEX ON %s (lead)", table), false, 0), SPI_OK_UTILITY);
	ls_spi_expect(SPI_execute(psprintf("CREATE TRIGGER protect_truncate BEFORE TRUNCATE ON %s"
									   " FOR EACH STATEMENT EXECUTE FUNCTION leadscore.protect_history()", table), false, 0), SPI_OK_UTILITY);
	ls_spi_expect(SPI_execute(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER protect_truncate", table), false, 0), SPI_OK_UTILITY);
	SPI_finish();
	PG_RETURN_OID(get_relname_relid(name, ls_schema_oid()));
}
