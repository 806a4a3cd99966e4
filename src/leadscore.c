/*
 * leadscore.c
 *	  Module entry: the magic block, _PG_init, and what all parts share.
 *
 * Owns no SQL-visible function. Each part that keeps backend state has an
 * ls_<part>_init() which is called from here; _PG_init must also work in the
 * postmaster (shared_preload_libraries), where no database is open.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "live/live.h"
#include "model/eval.h"
#include "pipeline/pipeline.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	ls_compiled_init();
	ls_live_init();
	ls_pipeline_init();
}

Oid
ls_schema_oid(void)
{
	return get_namespace_oid(LS_SCHEMA, false);
}

Relation
ls_relation_open(Oid relid, LOCKMODE lockmode)
{
	Relation	rel = try_relation_open(relid, lockmode);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return rel;
}

/*
 * The owner of the extension, read afresh each time: it is asked for only when
 * configuration is written, and so needs no cache to go stale.
 */
static Oid
extension_owner(void)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("leadscore"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"leadscore\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION leadscore.")));
	return owner;
}

void
ls_spi_expect(int result, int expected)
{
	if (result < 0 || (expected != 0 && result != expected))
		elog(ERROR, "unexpected result of SPI: %s", SPI_result_code_string(result));
}

/* SPI_prepare, which returns NULL for what it does not throw. */
SPIPlanPtr
ls_spi_prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		ls_spi_expect(SPI_result, 0);
	return plan;
}

ErrorData *
ls_attempt(void (*work) (void *arg), void *arg, bool keep)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		work(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return error;
}

void
ls_become_owner(LsUser *saved)
{
	Oid			owner = extension_owner();

	GetUserIdAndSecContext(&saved->userid, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

void
ls_become_caller(const LsUser *saved)
{
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
}
