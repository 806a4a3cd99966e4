/*
 * model_swap.c
 *	  Putting a heap full of new scores in the place of the stored ones.
 *
 * finish_heap_swap(), which REFRESH MATERIALIZED VIEW ends with, exchanges the
 * heaps first and then builds the indexes of the table anew, under the lock that
 * keeps readers out: with a million leads they would wait most of a second. Here
 * copies of the indexes are built on the new heap while readers still have the
 * old one; under the lock only catalog rows are exchanged: where each file is and
 * what is known of it. The table, its indexes and their constraints stay what
 * they are; the new heap, by then with the old files, is dropped.
 *
 * The TOAST tables change hands as they are, with their indexes and contents:
 * what the new heap and its indexes point to has the new TOAST table's name in it.
 *
 * Where an index is anything but plain, finish_heap_swap() does it after all.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/toast_internals.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/cluster.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "model/model.h"

#define EXCHANGE(type, a, b) \
	do { type exchanged = (a); (a) = (b); (b) = exchanged; } while (0)

/* Can a copy of this index, built elsewhere, take its place as it is? */
static bool
is_plain_index(Oid indexid, char persistence)
{
	Relation	index = index_open(indexid, AccessShareLock);
	Form_pg_index form = index->rd_index;
	bool		plain;

	plain = form->indisvalid && form->indisready && form->indislive &&
		!form->indcheckxmin && !form->indisexclusion &&
		index->rd_rel->relkind == RELKIND_INDEX &&
		index->rd_rel->relpersistence == persistence &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
	index_close(index, NoLock);
	return plain;
}

static List *
indexes_of(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	List	   *indexes = RelationGetIndexList(rel);

	table_close(rel, NoLock);
	return indexes;
}

/* Make a copy of an index on another heap, and build it. Returns false if it is not fit for use at once. */
static bool
build_copy(Oid indexid, Oid heap, Oid *copy)
{
	Relation	target = table_open(heap, AccessExclusiveLock);
	Relation	index = index_open(indexid, AccessShareLock);
	Oid			tablespace = index->rd_rel->reltablespace;
	char		name[NAMEDATALEN];
	HeapTuple	tuple;
	bool		fit;

	index_close(index, NoLock);
	snprintf(name, sizeof(name), "pg_temp_%u", indexid);
	*copy = index_concurrently_create_copy(target, indexid, tablespace, name);
	index = index_open(*copy, AccessExclusiveLock);
	index_build(target, index, BuildIndexInfo(index), false, true);
	index_close(index, NoLock);
	table_close(target, NoLock);
	CommandCounterIncrement();

	/* the build may find that older snapshots must not use it: the original could not be told */
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(*copy));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", *copy);
	fit = !((Form_pg_index) GETSTRUCT(tuple))->indcheckxmin;
	ReleaseSysCache(tuple);
	return fit;
}

/* Copies of all the indexes, in their order; false if that is not possible. */
static bool
build_copies(List *indexes, Oid heap, char persistence, List **copies)
{
	ListCell   *lc;

	*copies = NIL;
	foreach(lc, indexes)
		if (!is_plain_index(lfirst_oid(lc), persistence))
			return false;
	foreach(lc, indexes)
	{
		Oid			copy;

		if (!build_copy(lfirst_oid(lc), heap, &copy))
			return false;
		*copies = lappend_oid(*copies, copy);
	}
	return true;
}

/* A TOAST table goes where its heap's row says. */
static void
tie_toast(Oid toast, Oid heap)
{
	ObjectAddress depender;
	ObjectAddress referenced;

	if (!OidIsValid(toast))
		return;
	if (deleteDependencyRecordsFor(RelationRelationId, toast, false) != 1)
		elog(ERROR, "TOAST table %u does not depend on one table", toast);
	ObjectAddressSet(depender, RelationRelationId, toast);
	ObjectAddressSet(referenced, RelationRelationId, heap);
	recordDependencyOn(&depender, &referenced, DEPENDENCY_INTERNAL);
}

static HeapTuple
class_row(Oid relid)
{
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	return tuple;
}

/* Two tables, or two indexes, exchange their files. The caller increments the command counter. */
static void
exchange_files(Relation pg_class, Oid stays, Oid goes)
{
	Relation	staying = relation_open(stays, AccessExclusiveLock);
	Relation	going = relation_open(goes, AccessExclusiveLock);
	HeapTuple	rows[2] = {class_row(stays), class_row(goes)};
	Form_pg_class a = (Form_pg_class) GETSTRUCT(rows[0]);
	Form_pg_class b = (Form_pg_class) GETSTRUCT(rows[1]);

	CheckTableNotInUse(staying, "publish");
	if (a->relkind != b->relkind || a->relpersistence != b->relpersistence || a->relam != b->relam ||
		a->relfilenode == 0 || b->relfilenode == 0)
		elog(ERROR, "relations %u and %u cannot exchange their files", stays, goes);
	/* what serializable transactions read is now elsewhere in the files, or gone */
	TransferPredicateLocksToHeapRelation(staying);

	EXCHANGE(Oid, a->relfilenode, b->relfilenode);
	EXCHANGE(Oid, a->reltablespace, b->reltablespace);
	EXCHANGE(int32, a->relpages, b->relpages);
	EXCHANGE(float4, a->reltuples, b->reltuples);
	EXCHANGE(int32, a->relallvisible, b->relallvisible);
	LS_EXCHANGE_ALL_FROZEN(a, b);
	if (a->relkind != RELKIND_INDEX)
	{
		EXCHANGE(TransactionId, a->relfrozenxid, b->relfrozenxid);
		EXCHANGE(TransactionId, a->relminmxid, b->relminmxid);
		EXCHANGE(Oid, a->reltoastrelid, b->reltoastrelid);
		tie_toast(a->reltoastrelid, stays);
		tie_toast(b->reltoastrelid, goes);
	}
	CatalogTupleUpdate(pg_class, &rows[0]->t_self, rows[0]);
	CatalogTupleUpdate(pg_class, &rows[1]->t_self, rows[1]);
	heap_freetuple(rows[0]);
	heap_freetuple(rows[1]);

	/*
	 * Files that are new in this transaction may be written without WAL (with
	 * wal_level = minimal), and are then synced at the commit: the one that
	 * stays has such a file now, the one that goes has what the other had.
	 */
	going->rd_createSubid = staying->rd_createSubid;
	going->rd_newRelfilelocatorSubid = staying->rd_newRelfilelocatorSubid;
	going->rd_firstRelfilelocatorSubid = staying->rd_firstRelfilelocatorSubid;
	RelationAssumeNewRelfilelocator(staying);

	/* neither may keep hold of the other's file */
	RelationCloseSmgr(staying);
	RelationCloseSmgr(going);
	relation_close(going, NoLock);
	relation_close(staying, NoLock);
}

/* The TOAST table that came along gets the name, and is no longer one for a rewrite. */
static void
settle_toast(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	Oid			toast = rel->rd_rel->reltoastrelid;
	char		name[NAMEDATALEN];

	RelationClearMissing(rel);
	table_close(rel, NoLock);
	if (!OidIsValid(toast))
		return;
	snprintf(name, sizeof(name), "pg_toast_%u_index", relid);
	RenameRelationInternal(toast_get_valid_index(toast, NoLock), name, true, true);
	snprintf(name, sizeof(name), "pg_toast_%u", relid);
	RenameRelationInternal(toast, name, true, false);
	CommandCounterIncrement();
	ResetRelRewrite(toast);
}

/*
 * Put a heap made by make_new_heap in the place of a table that the caller keeps
 * others from writing. Readers wait from the moment that the exclusive lock is asked for.
 */
void
ls_model_swap_heap(Oid relid, Oid heap, char persistence)
{
	List	   *indexes = indexes_of(relid);
	List	   *copies;
	bool		built = build_copies(indexes, heap, persistence, &copies);
	ObjectAddress object;
	Relation	pg_class;
	ListCell   *stays;
	ListCell   *goes;

	LockRelationOid(relid, AccessExclusiveLock);
	if (!built || !equal(indexes, indexes_of(relid)))
	{
		finish_heap_swap(relid, heap, false, false, true, true,
						 RecentXmin, ReadNextMultiXactId(), persistence);
		return;
	}

	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	exchange_files(pg_class, relid, heap);
	forboth(stays, indexes, goes, copies)
		exchange_files(pg_class, lfirst_oid(stays), lfirst_oid(goes));
	table_close(pg_class, RowExclusiveLock);
	CommandCounterIncrement();

	ObjectAddressSet(object, RelationRelationId, heap);
	performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	settle_toast(relid);
}
