/*
 * model_kept.c
 *	  Models whose stored scores were left behind. Who writes or alters a table is
 *	  not to suffer for a model that does not fit it any more, so its scores are
 *	  then not kept; from there on they are wrong, also once the model fits again,
 *	  until all of them are computed anew.
 *
 * A row of leadscore.left_behind says so. It is written in the transaction that left
 * the scores behind: whoever sees what that changed sees the row, too. Rows are
 * only inserted, so that writers do not wait for each other; there may be several
 * of one model. They are deleted with both tables of the model locked against
 * writers.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "model/model.h"

/* columns of leadscore.left_behind */
#define LEFT_BEHIND_MODEL	1
#define LEFT_BEHIND_MESSAGE	2

PG_FUNCTION_INFO_V1(leadscore_reads_all);

typedef void (*MarkCallback) (Relation rel, HeapTuple tuple, void *arg);

/* Calls back for each mark of a model that a snapshot sees. */
static void
for_marks(const char *model, Snapshot snapshot, LOCKMODE lock, MarkCallback callback, void *arg)
{
	Relation	rel = table_open(get_relname_relid("left_behind", ls_schema_oid()), lock);
	SysScanDesc scan;
	HeapTuple	tuple;

	/* nearly always empty: no index */
	snapshot = RegisterSnapshot(snapshot);
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (strcmp(TextDatumGetCString(heap_getattr(tuple, LEFT_BEHIND_MODEL, RelationGetDescr(rel), &isnull)), model) == 0)
			callback(rel, tuple, arg);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, lock == AccessShareLock ? lock : NoLock);
}

static void
take_message(Relation rel, HeapTuple tuple, void *arg)
{
	char	  **found = arg;
	bool		isnull;

	if (*found == NULL)
		*found = TextDatumGetCString(heap_getattr(tuple, LEFT_BEHIND_MESSAGE, RelationGetDescr(rel), &isnull));
}

/* Why the scores of a model were left behind, as that snapshot sees it; NULL: they were not. */
static char *
find_mark(const char *model, Snapshot snapshot)
{
	char	   *found = NULL;

	for_marks(model, snapshot, AccessShareLock, take_message, &found);
	return found;
}

/*
 * The same as of now, whatever the isolation level: what a writer leaves behind
 * must be marked though its own snapshot still sees a mark that was deleted.
 */
char *
ls_kept_mark(const char *model)
{
	CommandCounterIncrement();
	return find_mark(model, GetLatestSnapshot());
}

/*
 * The scores of a model are being left behind: see to it that this is written
 * down, for others and for what this transaction may still read with its own
 * snapshot. false: it was.
 */
bool
ls_kept_set(const char *model, const char *why)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(model), CStringGetTextDatum(why)};

	if (ls_kept_mark(model) != NULL &&
		(!IsolationUsesXactSnapshot() || find_mark(model, GetTransactionSnapshot()) != NULL))
		return false;
	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.left_behind (model, message) VALUES ($1, $2)", 2, types, values, NULL);
	SPI_finish();
	return true;
}

static void
delete_mark(Relation rel, HeapTuple tuple, void *arg)
{
	(void) arg;
	simple_heap_delete(rel, &tuple->t_self);
}

/*
 * All scores are being computed anew, and nobody writes meanwhile. Not by SQL: at
 * REPEATABLE READ it would leave the marks that were made since the transaction began.
 */
void
ls_kept_clear(const char *model)
{
	CommandCounterIncrement();
	for_marks(model, GetLatestSnapshot(), RowExclusiveLock, delete_mark, NULL);
	CommandCounterIncrement();
}

/*
 * May the user read a table as a whole? Then what was made from it, such as a
 * message of PostgreSQL's with a value in it, is no secret.
 */
static bool
reads_all(Oid relid)
{
	return get_rel_name(relid) != NULL &&
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED;
}

Datum
leadscore_reads_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(reads_all(PG_GETARG_OID(0)));
}

/* For who is about to read stored scores: an error if they were left behind. */
void
ls_kept_check(const LsModel *model)
{
	char	   *why = find_mark(model->name, GetActiveSnapshot());

	if (why == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stored scores of model \"%s\" are out of date", model->name),
			 reads_all(model->leads) && (!OidIsValid(model->events) || reads_all(model->events)) ?
			 errdetail("They were not kept: %s.", why) : 0,
			 errhint("Mend the table or the model, then run leadscore.rescore('%s').", model->name)));
}
