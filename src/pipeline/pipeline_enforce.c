/*
 * pipeline_enforce.c
 *	  Puts a table under a pipeline and takes it out again.
 *
 * What is the caller's (the triggers on his table, reading its rows) is done
 * with the caller's rights, what is ours (leadscore.enforced, history) as the
 * owner of the extension.
 */
#include "leadscore.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_enforce);
PG_FUNCTION_INFO_V1(leadscore_unenforce);
PG_FUNCTION_INFO_V1(leadscore_pipeline_model_dropped);
PG_FUNCTION_INFO_V1(leadscore_follow_partitions);

static char *
qualified_name(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
}

static void
required_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

/* open a table that the caller may put under a pipeline, or take out of one */
static Relation
open_table(Oid relid)
{
	Relation	rel = ls_relation_open(relid, AccessShareLock);

	/* whoever is refused must not have held up the writers of the table */
	if (!ls_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(rel->rd_rel->relkind), RelationGetRelationName(rel));
	LockRelationOid(relid, ShareRowExclusiveLock);
	return rel;
}

static void
check_kind(Relation rel)
{
	const char *why = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel)),
				 errhint("Put the table that stores the leads under the pipeline: writes through views are checked there.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		why = "It is temporary, and would be gone while its history stays.";
	else if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		why = "It is unlogged: a crash would empty it and leave its history.";
	else if (rel->rd_rel->relispartition)
		why = "It is a partition.";
	else if (rel->rd_rel->relkind == RELKIND_RELATION && rel->rd_rel->relhassubclass &&
			 has_subclass(RelationGetRelid(rel)) &&
			 find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		why = "Other tables inherit from it, and triggers are not inherited.";
	else if (IsCatalogRelation(rel) || RelationGetNamespace(rel) == ls_schema_oid())
		why = "It is not a table of leads.";
	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" cannot be put under a pipeline", RelationGetRelationName(rel)),
				 errdetail("%s", why),
				 rel->rd_rel->relispartition ? errhint("Put its partitioned table under the pipeline.") : 0));
}

static AttrNumber
column_number(Relation rel, const char *column, const char *what)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), column);

	if (attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"", RelationGetRelationName(rel), column),
				 errhint("Name the column %s.", what)));
	return attno;
}

/* the column of the primary key, if it has just one */
static char *
primary_key_column(Relation rel)
{
	AttrNumber	attno = InvalidAttrNumber;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indisprimary && IndexRelationGetNumberOfKeyAttributes(index) == 1)
			attno = index->rd_index->indkey.values[0];
		index_close(index, AccessShareLock);
	}
	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" has no primary key of one column", RelationGetRelationName(rel)),
				 errhint("Name the column that identifies a lead: leadscore.enforce(..., key => 'column').")));
	return get_attname(RelationGetRelid(rel), attno, false);
}

/*
 * History knows leads by their key. So no two may have it, not even for a while as
 * a deferrable constraint allows. Of a partitioned table, the column that the
 * partitions go by may have to be in the index, too.
 */
static void
check_identifies(Relation rel, AttrNumber key, const char *name)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		partitioned = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	bool		deferrable = false;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		int			n = IndexRelationGetNumberOfKeyAttributes(index);
		bool		has_key = false;

		for (int i = 0; i < n; i++)
			has_key |= index->rd_index->indkey.values[i] == key;
		has_key &= index->rd_index->indisunique && index->rd_index->indisvalid && (n == 1 || partitioned) &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
		if (has_key && !index->rd_index->indimmediate)
			deferrable = true;
		has_key &= index->rd_index->indimmediate;
		index_close(index, AccessShareLock);
		if (has_key)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("column \"%s\" of table \"%s\" does not identify a lead", name, RelationGetRelationName(rel)),
			 deferrable ? errdetail("Its unique constraint is deferrable: two leads can have the same key for a while.") :
			 errdetail("There is no unique index on this column alone."),
			 deferrable ? errhint("Make the constraint NOT DEFERRABLE, or create a unique index on the column.") :
			 errhint("Create a unique index on the column, or name another one: leadscore.enforce(..., key => 'column').")));
}

/*
 * Every field of the pipeline with the column it was found in (null: not kept),
 * as jsonb; complains about all that are absent at once.
 */
static Jsonb *
resolve_fields(Relation rel, const char *pipeline, Jsonb *given)
{
	Oid			types[3] = {TEXTOID, JSONBOID, OIDOID};
	Datum		args[3];
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData absent;
	StringInfoData unknown;
	StringInfoData wrong;
	Jsonb	   *result = NULL;
	bool		isnull;

	if (!JB_ROOT_IS_OBJECT(given))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must be a JSON object"),
				 errhint("For example, fields => '{\"budget\": \"est_budget\"}'.")));
	initStringInfo(&absent);
	initStringInfo(&unknown);
	initStringInfo(&wrong);

	args[0] = CStringGetTextDatum(pipeline);
	args[1] = JsonbPGetDatum(given);
	args[2] = ObjectIdGetDatum(RelationGetRelid(rel));
	ls_owner_begin(&section);

	if (SPI_execute_with_args("SELECT 1 FROM leadscore.pipeline WHERE pipeline = $1 AND live_version IS NOT NULL",
							  1, types, args, NULL, false, 0) != SPI_OK_SELECT || SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no published pipeline \"%s\"", pipeline),
				 errhint("SELECT pipeline, live_version FROM leadscore.pipeline shows those there are.")));

	SPI_execute_with_args("SELECT m.key FROM jsonb_each($2) m WHERE NOT EXISTS"
						  " (SELECT FROM leadscore.pipeline_field f JOIN leadscore.pipeline p ON p.pipeline = f.pipeline AND p.live_version = f.version"
						  "  WHERE f.pipeline = $1 AND f.field = m.key)"
						  " OR jsonb_typeof(m.value) NOT IN ('string', 'null')", 2, types, args, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&unknown, "%s\"%s\"", i > 0 ? ", " : "", SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));

	SPI_execute_with_args("SELECT m.key, m.value FROM jsonb_each_text($2) m WHERE m.value IS NOT NULL AND NOT EXISTS"
						  " (SELECT FROM pg_attribute a WHERE a.attrelid = $3 AND a.attname = m.value AND a.attnum > 0 AND NOT a.attisdropped)",
						  3, types, args, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&wrong, "%s\"%s\" for field \"%s\"", i > 0 ? ", " : "",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2),
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));

	SPI_execute_with_args("SELECT coalesce(jsonb_object_agg(r.field, r.col), '{}'),"
						  " string_agg(format('\"%s\"', r.field), ', ' ORDER BY r.field) FILTER (WHERE r.col IS NULL AND NOT r.mapped AND NOT r.optional)"
						  " FROM (SELECT f.field, f.optional, jsonb_exists($2, f.field) AS mapped,"
						  "  CASE WHEN jsonb_exists($2, f.field) THEN $2 ->> f.field ELSE"
						  "  (SELECT a.attname::text FROM unnest(f.columns) WITH ORDINALITY c(name, n)"
						  "   JOIN pg_attribute a ON a.attrelid = $3 AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped"
						  "   ORDER BY c.n LIMIT 1) END AS col"
						  "  FROM leadscore.pipeline_field f JOIN leadscore.pipeline p ON p.pipeline = f.pipeline AND p.live_version = f.version"
						  "  WHERE f.pipeline = $1) r", 3, types, args, NULL, false, 0);
	if (SPI_processed == 1)
	{
		char	   *list = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext before = MemoryContextSwitchTo(caller);

		result = DatumGetJsonbPCopy(value);
		MemoryContextSwitchTo(before);
		if (list != NULL)
			appendStringInfoString(&absent, list);
	}

	if (unknown.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pipeline \"%s\" asks for no field %s", pipeline, unknown.data),
				 errhint("Each key is a field of the pipeline, each value the name of a column, or null.")));
	if (wrong.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column %s", RelationGetRelationName(rel), wrong.data),
				 errhint("Map each field to a column of the table, or to null if it is not kept there.")));
	if (absent.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column for %s, which pipeline \"%s\" asks for",
						RelationGetRelationName(rel), absent.data, pipeline),
				 errhint("Say where each is kept with fields => '{\"field\": \"column\"}', or that it is not kept with null instead of a column.")));
	ls_owner_end(&section);
	return result;
}

/* DDL and queries of the caller's own, names all qualified */
static void
caller_sql(const char *sql)
{
	int			rc = SPI_execute(sql, false, 0);

	ls_spi_expect(rc, 0);
}

/*
 * Triggers on TRUNCATE are not inherited by partitions as row triggers are, and
 * one partition can be truncated by itself: each has its own. LEAVES_LACKING
 * are those in the tree of a table that have none and that the caller may give it to.
 */
#define LEAVES_LACKING \
	"SELECT t.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(%s) t JOIN pg_catalog.pg_class c ON c.oid = t.relid" \
	" WHERE t.isleaf AND t.level > 0 AND c.relkind = 'r' AND pg_catalog.has_table_privilege(c.oid, 'TRIGGER')" \
	" AND pg_catalog.pg_has_role(c.relowner, 'USAGE')" \
	" AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = '" LS_TRIGGER_TRUNCATE "')"
#define LEAVES_HAVING \
	"SELECT t.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(%u) t" \
	" JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.relid AND g.tgname = '" LS_TRIGGER_TRUNCATE "' WHERE t.level > 0"

/* the tables that a query names by their oids */
static List *
caller_tables(const char *sql)
{
	List	   *relids = NIL;
	bool		isnull;

	caller_sql(sql);
	for (uint64 i = 0; i < SPI_processed; i++)
		relids = lappend_oid(relids, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	return relids;
}

static char *
table_of(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static void
create_truncate_trigger(Oid relid)
{
	/* the event trigger below may have been quicker */
	if (OidIsValid(get_trigger_oid(relid, LS_TRIGGER_TRUNCATE, true)))
		return;
	caller_sql(psprintf("CREATE TRIGGER %s BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION leadscore.enforce_stage()",
						quote_identifier(LS_TRIGGER_TRUNCATE), table_of(relid)));
	caller_sql(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table_of(relid), quote_identifier(LS_TRIGGER_TRUNCATE)));
}

static void
drop_triggers(Oid relid, const char *table)
{
	static const char *const names[] = {LS_TRIGGER_STAGE, LS_TRIGGER_DELETE, LS_TRIGGER_TRUNCATE};
	ListCell   *lc;

	foreach(lc, caller_tables(psprintf(LEAVES_HAVING, relid)))
		caller_sql(psprintf("DROP TRIGGER %s ON %s", quote_identifier(LS_TRIGGER_TRUNCATE), table_of(lfirst_oid(lc))));
	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (OidIsValid(get_trigger_oid(relid, names[i], true)))
			caller_sql(psprintf("DROP TRIGGER %s ON %s", quote_identifier(names[i]), table));
	}
}

/*
 * The triggers. They fire always, whatever session_replication_role says; who
 * wants a subscriber to take over stages unchecked sets them to ORIGIN there.
 */
static void
create_triggers(Oid relid, const char *table, const char *stage, const char *key, Jsonb *fields)
{
	static const char *const names[] = {LS_TRIGGER_STAGE, LS_TRIGGER_DELETE};
	ListCell   *lc;
	StringInfoData columns;
	JsonbIterator *it = JsonbIteratorInit(&fields->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	initStringInfo(&columns);
	appendStringInfo(&columns, "OLD.%s, ", quote_identifier(stage));
	appendStringInfo(&columns, "OLD.%s", quote_identifier(key));
	/* in the order of the keys in the object, which load_fields() relies on */
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_VALUE && value.type == jbvString)
			appendStringInfo(&columns, ", OLD.%s",
							 quote_identifier(pnstrdup(value.val.string.val, value.val.string.len)));
	}

	/* always true as well: pipeline_stored.c puts something else in its place */
	caller_sql(psprintf("CREATE TRIGGER %s AFTER INSERT OR UPDATE ON %s FOR EACH ROW WHEN (leadscore.enforced_columns(NEW.%s)) EXECUTE FUNCTION leadscore.enforce_stage()",
						quote_identifier(LS_TRIGGER_STAGE), table, quote_identifier(stage)));
	caller_sql(psprintf("CREATE TRIGGER %s AFTER DELETE ON %s FOR EACH ROW WHEN (leadscore.enforced_columns(%s)) EXECUTE FUNCTION leadscore.enforce_stage()",
						quote_identifier(LS_TRIGGER_DELETE), table, columns.data));
	for (size_t i = 0; i < lengthof(names); i++)
		caller_sql(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, quote_identifier(names[i])));
	create_truncate_trigger(relid);
	foreach(lc, caller_tables(psprintf(LEAVES_LACKING, psprintf("%u", relid))))
		create_truncate_trigger(lfirst_oid(lc));
}

/*
 * ENABLE TRIGGER ALL, with which pg_dump --disable-triggers ends, makes ordinary
 * ones of triggers that fire always: ours on the tables of the command are made
 * to fire always again. Who names one of them means it.
 */
static void
always_again(Node *parsetree)
{
	ListCell   *lc;
	bool		all = false;

	if (!IsA(parsetree, AlterTableStmt))
		return;
	foreach(lc, ((AlterTableStmt *) parsetree)->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_EnableTrigAll || cmd->subtype == AT_EnableTrigUser)
			all = true;
	}
	if (!all)
		return;
	caller_sql("SELECT pg_catalog.format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', g.tgrelid::pg_catalog.regclass, g.tgname)"
			   " FROM pg_catalog.pg_event_trigger_ddl_commands() d JOIN pg_catalog.pg_trigger g"
			   " ON g.tgrelid IN (SELECT d.objid UNION ALL SELECT p.relid FROM pg_catalog.pg_partition_tree(d.objid) p)"
			   " JOIN pg_catalog.pg_proc f ON f.oid = g.tgfoid AND f.pronamespace = 'leadscore'::pg_catalog.regnamespace"
			   " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.object_type = 'table' AND g.tgenabled = 'O'"
			   " AND f.proname IN ('enforce_stage', 'protect_history', 'pipeline_changed')");
	if (SPI_processed > 0)
	{
		SPITupleTable *rows = SPI_tuptable;
		uint64		n = SPI_processed;

		for (uint64 i = 0; i < n; i++)
			caller_sql(SPI_getvalue(rows->vals[i], rows->tupdesc, 1));
	}
}

/*
 * Event trigger: a partition that was created in, or attached to, an enforced
 * table gets the trigger too. One that was detached keeps it, without effect.
 */
Datum
leadscore_follow_partitions(PG_FUNCTION_ARGS)
{
	int			nest;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("follow_partitions() can only be called as an event trigger")));
	if (!OidIsValid(get_namespace_oid(LS_SCHEMA, true)))
		return PointerGetDatum(NULL);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	always_again(((EventTriggerData *) fcinfo->context)->parsetree);
	foreach(lc, caller_tables(psprintf("SELECT DISTINCT x.relid FROM pg_catalog.pg_event_trigger_ddl_commands() d"
							 " JOIN leadscore.enforced e ON e.relation = ANY (ARRAY(SELECT pg_catalog.pg_partition_ancestors(d.objid)))"
							 " CROSS JOIN LATERAL (" LEAVES_LACKING ") x(relid)"
							 " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.object_type = 'table'", "e.relation")))
		create_truncate_trigger(lfirst_oid(lc));
	SPI_finish();
	AtEOXact_GUC(true, nest);
	return PointerGetDatum(NULL);
}

/* whether a table holds no lead that is in a stage, rows included that are hidden from the caller */
static bool
holds_none(Relation rel, const char *stage)
{
	int			nest = NewGUCNestLevel();
	bool		none;

	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	caller_sql(psprintf("SELECT FROM %s WHERE %s IS NOT NULL LIMIT 1", qualified_name(rel), quote_identifier(stage)));
	none = SPI_processed == 0;
	SPI_finish();
	AtEOXact_GUC(true, nest);
	return none;
}

/* one row of history for each lead that is there already; returns their number */
static int64
adopt(Relation rel, LsRules *rules)
{
	const char *stage = quote_identifier(get_attname(RelationGetRelid(rel), rules->stage_attno, false));
	const char *key = quote_identifier(get_attname(RelationGetRelid(rel), rules->key_attno, false));
	char	   *table = qualified_name(rel);
	TimestampTz now = GetCurrentTimestamp();
	Portal		portal;
	int64		n = 0;

	/* rows that row security hides from the owner would go unrecorded: an error */
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT %s::text, %s::text FROM %s WHERE %s IS NOT NULL",
												key, stage, table, stage),
									   0, NULL, NULL, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, 1000);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char	   *lead = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
			char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
			int			index;

			CHECK_FOR_INTERRUPTS();
			for (index = 0; index < rules->nstages; index++)
			{
				if (strcmp(rules->stages[index].name, name) == 0)
					break;
			}
			if (lead == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_NOT_NULL_VIOLATION),
						 errmsg("a lead in a pipeline must have a key")));
			if (index == rules->nstages)
				ereport(ERROR,
						(errcode(ERRCODE_CHECK_VIOLATION),
						 errmsg("lead %s is in stage %s, which pipeline %s does not have", lead, name, rules->pipeline),
						 errhint("Correct the stages of the table, or add the stage to the pipeline.")));
			ls_history_write(rules, NULL, LS_KIND_ADOPTED, lead, (Datum) 0, true, rules->stages[index].text, false,
							 now, ls_reason(), false, 0);
			n++;
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	return n;
}

Datum
leadscore_enforce(PG_FUNCTION_ARGS)
{
	Relation	rel;
	char	   *stage;
	char	   *key;
	char	   *pipeline;
	Jsonb	   *fields;
	Oid			relid;
	char	   *table;
	bool		want_adopt;
	int64		adopted = 0;
	int			nest;
	LsRules    *rules;
	Oid			types[9] = {OIDOID, NAMEOID, NAMEOID, TEXTOID, JSONBOID, TEXTOID, BOOLOID, OIDOID, BOOLOID};
	Datum		values[9];
	char		nulls[] = "         ";

	required_argument(fcinfo, 0, "the table");
	required_argument(fcinfo, 1, "the column of the stage");
	required_argument(fcinfo, 2, "the pipeline");

	relid = PG_GETARG_OID(0);
	rel = open_table(relid);
	check_kind(rel);
	stage = pstrdup(NameStr(*PG_GETARG_NAME(1)));
	(void) column_number(rel, stage, "that holds the stage");
	if (PG_ARGISNULL(3))
		key = primary_key_column(rel);
	else
	{
		key = pstrdup(NameStr(*PG_GETARG_NAME(3)));
		(void) column_number(rel, key, "that identifies a lead");
	}
	check_identifies(rel, get_attnum(relid, key), key);
	pipeline = text_to_cstring(PG_GETARG_TEXT_PP(2));
	fields = PG_ARGISNULL(4) ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) : PG_GETARG_JSONB_P(4);
	fields = resolve_fields(rel, pipeline, fields);
	want_adopt = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);

	values[0] = ObjectIdGetDatum(RelationGetRelid(rel));
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(stage));
	values[2] = DirectFunctionCall1(namein, CStringGetDatum(key));
	values[3] = CStringGetTextDatum(pipeline);
	values[4] = JsonbPGetDatum(fields);
	values[5] = PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5);
	nulls[5] = PG_ARGISNULL(5) ? 'n' : ' ';
	values[6] = BoolGetDatum(PG_ARGISNULL(7) || PG_GETARG_BOOL(7));
	values[7] = ObjectIdGetDatum(GetUserId());
	values[8] = BoolGetDatum(want_adopt || holds_none(rel, stage));
	ls_owner_sql("INSERT INTO leadscore.enforced (relation, stage_column, key_column, pipeline, fields, model, history, enforced_by, enforced_at, adopted)"
				 " VALUES ($1::regclass, $2, $3, $4, $5,"
				 /* not asked twice: where one published model scores the table, it is meant */
				 " coalesce($6, (SELECT min(m.model) FROM leadscore.model m"
				 " WHERE m.leads = $1::regclass AND m.live_version IS NOT NULL HAVING count(*) = 1)),"
				 " $7, pg_get_userbyid($8), now(), $9)"
				 " ON CONFLICT (relation) DO UPDATE SET stage_column = excluded.stage_column, key_column = excluded.key_column,"
				 " pipeline = excluded.pipeline, fields = excluded.fields, model = excluded.model, history = excluded.history,"
				 " enforced_by = excluded.enforced_by, enforced_at = excluded.enforced_at,"
				 " adopted = excluded.adopted OR enforced.adopted AND enforced.history",
				 9, types, values, nulls);

	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	/* DDL wants no open reference to the table; the lock stays */
	table = qualified_name(rel);
	table_close(rel, NoLock);
	drop_triggers(relid, table);
	create_triggers(relid, table, stage, key, fields);
	CommandCounterIncrement();
	rel = table_open(relid, NoLock);

	/* compiles the guards against the table: everything wrong with them shows now */
	rules = ls_rules_get(rel);
	if (want_adopt)
		adopted = adopt(rel, rules);
	SPI_finish();
	AtEOXact_GUC(true, nest);
	table_close(rel, NoLock);
	PG_RETURN_INT64(adopted);
}

Datum
leadscore_unenforce(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel = open_table(relid);
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(relid);
	char	   *table;
	char	   *name;
	int			nest;

	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	table = qualified_name(rel);
	name = pstrdup(RelationGetRelationName(rel));
	table_close(rel, NoLock);
	drop_triggers(relid, table);
	SPI_finish();
	AtEOXact_GUC(true, nest);
	if (ls_owner_sql("DELETE FROM leadscore.enforced WHERE relation = $1::regclass", 1, &type, &value, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is under no pipeline", name)));
	PG_RETURN_VOID();
}

/*
 * Trigger on leadscore.model: a model was dropped. Tables that took their scores
 * from it do without; a pipeline that names it cannot.
 */
Datum
leadscore_pipeline_model_dropped(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Oid			type = TEXTOID;
	Datum		model;
	bool		isnull;
	MemoryContext context = CurrentMemoryContext;
	LsOwnerSection section;
	List	   *tables = NIL;
	ListCell   *lc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.pipeline_model_dropped() can only be called as a row trigger on DELETE")));
	desc = RelationGetDescr(trigger->tg_relation);
	model = heap_getattr(trigger->tg_trigtuple, SPI_fnumber(desc, "model"), desc, &isnull);
	if (ls_owner_sql("SELECT FROM leadscore.pipeline_transition t JOIN leadscore.pipeline p"
					 " ON p.pipeline = t.pipeline AND p.live_version = t.version"
					 " WHERE t.model = $1 AND EXISTS (SELECT FROM leadscore.enforced e WHERE e.pipeline = p.pipeline)",
					 1, &type, &model, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("a pipeline needs scores of model \"%s\"", TextDatumGetCString(model)),
				 errhint("SELECT * FROM leadscore.pipeline_transition WHERE model = '%s' shows for which moves. Publish it without them, or unenforce() its tables.",
						 TextDatumGetCString(model))));
	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("UPDATE leadscore.enforced e SET model = NULL FROM pg_class c"
										" WHERE e.model = $1 AND c.oid = e.relation RETURNING c.oid",
										1, &type, &model, NULL, false, 0), 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		tables = lappend_oid(tables, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
		MemoryContextSwitchTo(spi);
	}
	ls_owner_end(&section);

	/* a table whose rules cannot do without it keeps the model from being dropped */
	foreach(lc, tables)
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);

		(void) ls_rules_get(rel);
		ereport(NOTICE,
				(errmsg("the stage rules of table \"%s\" have no score any more", RelationGetRelationName(rel))));
		table_close(rel, NoLock);
	}
	return PointerGetDatum(NULL);
}
