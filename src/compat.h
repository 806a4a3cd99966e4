/*
 * compat.h
 *	  The only file that knows PG_VERSION_NUM. Include after postgres.h/fmgr.h.
 */
#ifndef LS_COMPAT_H
#define LS_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "leadscore needs PostgreSQL 15 or later"
#endif

/* the macros of variable-length values left postgres.h in 16 */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * We build with -fvisibility=hidden so that only what PG_FUNCTION_INFO_V1
 * declares is exported; PostgreSQL 15 leaves PGDLLEXPORT empty on Unix.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

/* and its PG_FUNCTION_INFO_V1 exports the info record but not the function */
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
	extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
	const Pg_finfo_record * \
	CppConcat(pg_finfo_,funcname) (void) \
	{ \
		static const Pg_finfo_record my_finfo = { 1 }; \
		return &my_finfo; \
	} \
	extern int no_such_variable
#endif

/* from 16 on postgres.h leaves out what only varlena types need */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Soft errors arrived in 16: before, every input error is thrown. */
#if PG_VERSION_NUM < 160000
#define ereturn(context, dummy_value, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#endif

/* ownership checks got one function for all kinds of objects in 16 */
#if PG_VERSION_NUM < 160000
#define ls_owns_relation(relid, role) pg_class_ownercheck(relid, role)
#else
#define ls_owns_relation(relid, role) object_ownercheck(RelationRelationId, relid, role)
#endif

/* 18 wants to be told that a deferrable primary key will do */
#if PG_VERSION_NUM < 180000
#define RelationGetPrimaryKeyIndex_compat(rel) RelationGetPrimaryKeyIndex(rel)
#else
#define RelationGetPrimaryKeyIndex_compat(rel) RelationGetPrimaryKeyIndex(rel, true)
#endif

/* index_beginscan counts what it does from 18 on, if asked to */
#if PG_VERSION_NUM < 180000
#define ls_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#else
#define ls_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#endif

/* which indexes an update must enter the new version into */
#if PG_VERSION_NUM < 160000
#define LsUpdateIndexes bool
#define ls_new_index_entries(which) (which)
#define ls_insert_index_tuples(target, slot, estate, which) \
	((which) ? ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL) : NIL)
#else
#define LsUpdateIndexes TU_UpdateIndexes
#define ls_new_index_entries(which) ((which) == TU_All)
#define ls_insert_index_tuples(target, slot, estate, which) \
	((which) != TU_None ? \
	 ExecInsertIndexTuples(target, slot, estate, true, false, NULL, NIL, (which) == TU_Summarizing) : NIL)
#endif

/* from 17 on an index may keep pages pinned from one entry to the next */
#if PG_VERSION_NUM < 170000
#define ls_index_insert_cleanup(index, info) ((void) 0)
#else
#define ls_index_insert_cleanup(index, info) index_insert_cleanup(index, info)
#endif

/* the map from one row type to another; 16 may be told to let columns be missing */
#if PG_VERSION_NUM < 160000
#define ls_attribute_map(in, out) build_attrmap_by_name_if_req(in, out)
#else
#define ls_attribute_map(in, out) build_attrmap_by_name_if_req(in, out, false)
#endif

/* 18 writes it before the declaration, where what came before it may stand as well */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* what says that a relation has a file that is new in this transaction */
#if PG_VERSION_NUM < 160000
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#define rd_firstRelfilelocatorSubid rd_firstRelfilenodeSubid
#define RelationAssumeNewRelfilelocator(rel) RelationAssumeNewRelfilenode(rel)
#endif

/* 18 counts the pages that are frozen, beside those that are all visible */
#if PG_VERSION_NUM < 180000
#define LS_EXCHANGE_ALL_FROZEN(a, b) ((void) 0)
#else
#define LS_EXCHANGE_ALL_FROZEN(a, b) EXCHANGE(int32, (a)->relallfrozen, (b)->relallfrozen)
#endif

/* the number of this backend's transaction, whether it has an xid or not */
#if PG_VERSION_NUM < 170000
#define ls_local_transaction_id() (MyProc->lxid)
#else
#define ls_local_transaction_id() (MyProc->vxid.lxid)
#endif

/* columns that are computed when read, which a scan of the table does not yield */
#if PG_VERSION_NUM < 180000
#define LS_HAS_VIRTUAL_COLUMNS(desc) false
#else
#define LS_HAS_VIRTUAL_COLUMNS(desc) ((desc)->constr && (desc)->constr->has_generated_virtual)
#endif

/* from 17 on a parallel query may recover from errors by an internal subtransaction */
#if PG_VERSION_NUM < 170000
#define LS_MAY_CATCH_IN_PARALLEL false
#else
#define LS_MAY_CATCH_IN_PARALLEL true
#endif

/* running a plan: up to 17 it is said whether it is run once only */
#if PG_VERSION_NUM < 180000
#define LS_RUN_PARAMETERS	ScanDirection direction, uint64 count, bool once
#define LS_RUN_ARGUMENTS	direction, count, once
#else
#define LS_RUN_PARAMETERS	ScanDirection direction, uint64 count
#define LS_RUN_ARGUMENTS	direction, count
#endif

/* memory that is about to be read */
#if defined(__GNUC__)
#define ls_prefetch(address) __builtin_prefetch(address)
#else
#define ls_prefetch(address) ((void) (address))
#endif

/* ALTER COLUMN ... SET EXPRESSION of generated columns */
#if PG_VERSION_NUM >= 170000
#define ls_is_set_expression(subtype)	((subtype) == AT_SetExpression)
#else
#define ls_is_set_expression(subtype)	false
#endif

#endif							/* LS_COMPAT_H */
