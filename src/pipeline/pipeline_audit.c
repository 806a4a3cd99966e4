/*
 * pipeline_audit.c
 *	  History from elsewhere (import_history), the hash chain over history
 *	  (attest), and the check of all of it (audit).
 *
 * The chain is made after the fact, in the order of ids, over what is there and
 * committed: writers are not serialised by it. attest() waits for those that are
 * writing, so no row can turn up later behind its seal. Each seal is the sha256
 * of the one before it and of all columns of its row. Who can change history can
 * in the end also rewrite the chain: keep what attest() returns elsewhere.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_import_history);
PG_FUNCTION_INFO_V1(leadscore_attest);
PG_FUNCTION_INFO_V1(leadscore_audit);
PG_FUNCTION_INFO_V1(leadscore_forget_dropped);

/*
 * A row as bytes, the same on every server and in every session: each column
 * with its length, so that nothing can move from one into the next. The table is
 * named as it was when its first row was sealed: renames, and the new oids of a
 * restore, do not break the chain.
 */
#define ROW_BYTES \
	"(SELECT string_agg(CASE WHEN c IS NULL THEN 'N' ELSE octet_length(c) || ':' || c END, ',' ORDER BY n)" \
	" FROM unnest(ARRAY[h.id::text, extract(epoch FROM h.at)::text, extract(epoch FROM h.xact_at)::text, encode(float8send(h.score), 'hex')," \
	" r.name, h.pipeline_version::text, h.model_version::text, h.lead, h.kind, h.from_stage, h.to_stage, h.pipeline," \
	" h.session_name, h.user_name, h.reason, h.model]) WITH ORDINALITY u(c, n))"

Datum
leadscore_import_history(PG_FUNCTION_ARGS)
{
	Relation	rel;
	LsRules    *rules;
	char	   *lead;
	char	   *reason = NULL;

	for (int i = 0; i < 5; i++)
	{
		if (PG_ARGISNULL(i) && i != 2)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the table, the lead, the stage it came to and the date must not be null")));
	}
	ls_check_true_date(PG_GETARG_TIMESTAMPTZ(4));
	rel = ls_relation_open(PG_GETARG_OID(0), AccessShareLock);
	rules = ls_rules_get(rel);
	ls_check_importer(rules);
	lead = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (*lead == '\0' || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(3)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the lead and the stage it came to must not be empty")));
	if (!PG_ARGISNULL(5))
		reason = text_to_cstring(PG_GETARG_TEXT_PP(5));
	ls_history_write(rules, NULL, LS_KIND_PAST, lead,
					 PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2), PG_ARGISNULL(2),
					 PG_GETARG_DATUM(3), false, PG_GETARG_TIMESTAMPTZ(4), reason, false, 0);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

static void
require_owner(void)
{
	Oid			history = get_relname_relid("stage_history", ls_schema_oid());

	if (!ls_owns_relation(history, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the owner of leadscore can seal or audit its history")));
}

static bytea *
chain(const bytea *previous, const char *row)
{
	size_t		before = VARSIZE_ANY_EXHDR(previous);
	size_t		len = strlen(row);
	bytea	   *input = palloc(VARHDRSZ + before + len);

	SET_VARSIZE(input, VARHDRSZ + before + len);
	memcpy(VARDATA(input), VARDATA_ANY(previous), before);
	memcpy(VARDATA(input) + before, row, len);
	return DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(input)));
}

static bytea *
empty_bytea(void)
{
	bytea	   *b = palloc(VARHDRSZ);

	SET_VARSIZE(b, VARHDRSZ);
	return b;
}

/* seal what is not sealed yet; returns the head of the chain */
Datum
leadscore_attest(PG_FUNCTION_ARGS)
{
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	bytea	   *hash = empty_bytea();
	int64		id = 0;
	Oid			insert_types[2] = {INT8OID, BYTEAOID};
	SPIPlanPtr	insert;
	Portal		portal;
	Datum		from;
	Oid			from_type = INT8OID;
	text	   *result;
	bool		isnull;

	(void) fcinfo;
	require_owner();
	if (ls_batch_waits())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("history cannot be sealed by a function that a statement calls while it moves leads"),
				 errhint("Call leadscore.attest() in a statement of its own.")));
	/* writers hold RowExclusiveLock until they end; ours also bars a second attest */
	LockRelationOid(get_relname_relid("stage_history", ls_schema_oid()), ShareRowExclusiveLock);

	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute("SELECT id, hash FROM leadscore.history_seal ORDER BY id DESC LIMIT 1", false, 0), SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];

		id = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		hash = DatumGetByteaPCopy(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
	}
	ls_spi_expect(SPI_execute("INSERT INTO leadscore.history_relation (relation, name)"
							  " SELECT DISTINCT h.relation, h.relation::text FROM leadscore.stage_history h ON CONFLICT DO NOTHING", false, 0), 0);

	insert = ls_spi_prepare("INSERT INTO leadscore.history_seal (id, hash) VALUES ($1, $2)", 2, insert_types);
	from = Int64GetDatum(id);
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT h.id, " ROW_BYTES " FROM leadscore.stage_history h"
									   " JOIN leadscore.history_relation r USING (relation) WHERE h.id > $1 ORDER BY h.id",
									   1, &from_type, &from, NULL, false, 0);
	for (;;)
	{
		SPITupleTable *rows;
		uint64		n;

		SPI_cursor_fetch(portal, true, 1000);
		rows = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		for (uint64 i = 0; i < n; i++)
		{
			Datum		values[2];

			CHECK_FOR_INTERRUPTS();
			hash = chain(hash, SPI_getvalue(rows->vals[i], rows->tupdesc, 2));
			values[0] = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull);
			id = DatumGetInt64(values[0]);
			values[1] = PointerGetDatum(hash);
			SPI_execute_plan(insert, values, NULL, false, 0);
		}
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);

	{
		MemoryContext before = MemoryContextSwitchTo(caller);

		result = cstring_to_text(psprintf(INT64_FORMAT ":%s", id,
										  TextDatumGetCString(DirectFunctionCall2(binary_encode, PointerGetDatum(hash),
																				  CStringGetTextDatum("hex")))));
		MemoryContextSwitchTo(before);
	}
	ls_owner_end(&section);
	PG_RETURN_TEXT_P(result);
}

/* ------------------------------------------------------------------------- */

typedef struct Findings
{
	ReturnSetInfo *rsinfo;
} Findings;

static void
finding(Findings *f, const char *table, bool has_id, int64 id, const char *text)
{
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	nulls[0] = table == NULL;
	values[0] = table ? CStringGetTextDatum(table) : (Datum) 0;
	nulls[1] = !has_id;
	values[1] = Int64GetDatum(id);
	values[2] = CStringGetTextDatum(text);
	tuplestore_putvalues(f->rsinfo->setResult, f->rsinfo->setDesc, values, nulls);
}

/* every finding of a query that returns (table, id, text) */
static void
query_findings(Findings *f, const char *sql)
{
	ls_spi_expect(SPI_execute(sql, false, 0), SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		Datum		id = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull);

		finding(f, SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1), !isnull, isnull ? 0 : DatumGetInt64(id),
				SPI_getvalue(tuple, SPI_tuptable->tupdesc, 3));
	}
}

/* the chain, recomputed; each row that differs is named once */
static void
audit_chain(Findings *f)
{
	bytea	   *previous = empty_bytea();
	Portal		portal;

	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT s.id, s.hash, h.id IS NULL, h.relation::text, " ROW_BYTES
									   " FROM leadscore.history_seal s LEFT JOIN leadscore.stage_history h ON h.id = s.id"
									   " LEFT JOIN leadscore.history_relation r ON r.relation = h.relation ORDER BY s.id, h.ctid",
									   0, NULL, NULL, NULL, true, 0);
	for (;;)
	{
		SPITupleTable *rows;
		uint64		n;
		bytea	   *last = NULL;

		SPI_cursor_fetch(portal, true, 1000);
		rows = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		for (uint64 i = 0; i < n; i++)
		{
			bool		isnull;
			int64		id = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
			bytea	   *sealed = DatumGetByteaPP(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
			bool		gone = DatumGetBool(SPI_getbinval(rows->vals[i], rows->tupdesc, 3, &isnull));
			char	   *table = SPI_getvalue(rows->vals[i], rows->tupdesc, 4);
			char	   *row = SPI_getvalue(rows->vals[i], rows->tupdesc, 5);

			CHECK_FOR_INTERRUPTS();
			if (gone)
				finding(f, NULL, true, id, "a sealed row of history was deleted");
			else
			{
				bytea	   *expected = row != NULL ? chain(previous, row) : NULL;

				if (expected == NULL || VARSIZE_ANY_EXHDR(expected) != VARSIZE_ANY_EXHDR(sealed) ||
					memcmp(VARDATA_ANY(expected), VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed)) != 0)
					finding(f, table, true, id, "a sealed row of history was changed");
			}
			previous = sealed;	/* so that the rows after it are judged by themselves */
			last = sealed;
		}
		previous = last ? DatumGetByteaPCopy(PointerGetDatum(last)) : previous;
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	query_findings(f, "SELECT h.relation::text, h.id, 'a row of history was added behind the seal'"
				   " FROM leadscore.stage_history h WHERE h.id < (SELECT max(id) FROM leadscore.history_seal)"
				   " AND NOT EXISTS (SELECT FROM leadscore.history_seal s WHERE s.id = h.id) ORDER BY h.id");
	query_findings(f, "SELECT min(h.relation::text), h.id, 'two rows of history have the same id'"
				   " FROM leadscore.stage_history h GROUP BY h.id HAVING count(*) > 1 ORDER BY h.id");
}

/* triggers that are gone or switched off */
static void
audit_triggers(Findings *f)
{
	query_findings(f, "SELECT NULL::text, NULL::int8, format('the trigger that protects %s is missing or disabled', p.relid::regclass)"
				   " FROM pg_partition_tree('leadscore.stage_history') p"
				   " CROSS JOIN (VALUES ('protect'), ('protect_truncate')) n(name)"
				   " WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = p.relid AND tgname = n.name AND tgenabled = 'A')"
				   " GROUP BY p.relid ORDER BY 3");
	query_findings(f, "SELECT e.relation::text, NULL::int8, format('trigger %s is %s', n.name, CASE WHEN t.tgenabled IS NULL THEN 'missing' ELSE 'not enabled ALWAYS' END)"
				   " FROM leadscore.enforced e JOIN pg_class c ON c.oid = e.relation"
				   " CROSS JOIN (VALUES ('" LS_TRIGGER_STAGE "'), ('" LS_TRIGGER_DELETE "'), ('" LS_TRIGGER_TRUNCATE "')) n(name)"
				   " LEFT JOIN pg_trigger t ON t.tgrelid = e.relation AND t.tgname = n.name"
				   " WHERE t.tgenabled IS DISTINCT FROM 'A' ORDER BY 1, n.name");
	/* tables that enforce() would not take */
	query_findings(f, "SELECT e.relation::text, NULL::int8, CASE c.relpersistence WHEN 'u' THEN 'the table is unlogged: a crash would empty it'"
				   " ELSE format('rows of %s, which inherits from the table, are not checked', i.inhrelid::regclass) END"
				   " FROM leadscore.enforced e JOIN pg_class c ON c.oid = e.relation"
				   " LEFT JOIN pg_inherits i ON i.inhparent = e.relation AND c.relkind = 'r'"
				   " WHERE c.relpersistence = 'u' OR i.inhrelid IS NOT NULL ORDER BY 1, 3");
	query_findings(f, "SELECT p.relid::regclass::text, NULL::int8, format('trigger %s is %s', '" LS_TRIGGER_TRUNCATE "', CASE WHEN t.tgenabled IS NULL THEN 'missing' ELSE 'not enabled ALWAYS' END)"
				   " FROM leadscore.enforced e CROSS JOIN LATERAL pg_partition_tree(e.relation) p JOIN pg_class c ON c.oid = p.relid AND c.relkind = 'r'"
				   " LEFT JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgname = '" LS_TRIGGER_TRUNCATE "'"
				   " WHERE p.isleaf AND p.level > 0 AND t.tgenabled IS DISTINCT FROM 'A' ORDER BY 1");
}

/*
 * The current stage of every lead of a table, against the last row of its
 * history. Where the table held leads that were not adopted, leads without history
 * are as they should be until they move.
 */
static void
audit_table(Findings *f, Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	LsRules    *rules = ls_rules_get(rel);
	const char *key = quote_identifier(get_attname(relid, rules->key_attno, false));
	const char *stage = quote_identifier(get_attname(relid, rules->stage_attno, false));
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												   RelationGetRelationName(rel));

	query_findings(f, psprintf("SELECT %u::regclass::text, NULL::int8, format('lead %%s is in stage %%s, but its history ends in %%s',"
							   " coalesce(t.k, h.lead), coalesce(t.s, 'none'), coalesce(h.to_stage, 'none'))"
							   " FROM (SELECT %s::text AS k, %s::text AS s FROM %s WHERE %s IS NOT NULL) t"
							   " FULL JOIN (SELECT DISTINCT ON (lead) lead, to_stage FROM leadscore.stage_history"
							   "  WHERE relation = %u::oid AND kind <> 'past' ORDER BY lead, id DESC) h ON h.lead = t.k"
							   " WHERE h.to_stage IS DISTINCT FROM t.s AND (h.lead IS NOT NULL OR"
							   "  (SELECT e.adopted FROM leadscore.enforced e WHERE e.relation = %u::oid)) ORDER BY 3",
							   relid, key, stage, table, stage, relid, relid));
	table_close(rel, NoLock);
}

typedef struct TableAudit
{
	Findings   *findings;
	Oid			relid;
} TableAudit;

static void
audit_one(void *arg)
{
	TableAudit *audit = arg;

	audit_table(audit->findings, audit->relid);
}

/* The same; a table that cannot be looked at is a finding, and hides no other. */
static void
try_audit_table(Findings *f, Oid relid)
{
	TableAudit	audit = {f, relid};
	ErrorData  *error = ls_attempt(audit_one, &audit, true);
	int			category;

	if (error == NULL)
		return;
	category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
	if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_TRANSACTION_ROLLBACK || error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		ReThrowError(error);
	finding(f, DatumGetCString(DirectFunctionCall1(regclassout, ObjectIdGetDatum(relid))), false, 0,
			psprintf("the stages of this table cannot be checked: %s", error->message));
	FreeErrorData(error);
}

static void
audit_tables(Findings *f)
{
	uint64		n;
	Oid		   *relids;

	ls_spi_expect(SPI_execute("SELECT e.relation::oid FROM leadscore.enforced e JOIN pg_class c ON c.oid = e.relation"
							  " WHERE e.history ORDER BY e.relation::text", false, 0), SPI_OK_SELECT);
	n = SPI_processed;
	relids = palloc((n + 1) * sizeof(Oid));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		relids[i] = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
		try_audit_table(f, relids[i]);
}

Datum
leadscore_audit(PG_FUNCTION_ARGS)
{
	Findings	f;
	int			nest;

	f.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	InitMaterializedSRF(fcinfo, 0);
	require_owner();

	/* as the caller: he must be able to read the tables of leads too */
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	audit_triggers(&f);
	audit_chain(&f);
	audit_tables(&f);
	SPI_finish();
	AtEOXact_GUC(true, nest);
	return (Datum) 0;
}

/* event trigger: tables that are dropped are no longer enforced */
Datum
leadscore_forget_dropped(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("forget_dropped() can only be called as an event trigger")));
	if (!OidIsValid(get_namespace_oid(LS_SCHEMA, true)))
		return PointerGetDatum(NULL);
	ls_owner_sql("DELETE FROM leadscore.enforced e WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.relation)",
				 0, NULL, NULL, NULL);
	return PointerGetDatum(NULL);
}
