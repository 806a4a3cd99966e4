/*
 * pipeline_check.c
 *	  What is wrong with a draft: all of it at once, before it is published.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_check_pipeline);

/* one text column of a query over ($1 = pipeline), as strings; latest: of what is committed now */
static List *
query_strings(const char *sql, const char *pipeline, bool latest)
{
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(pipeline);
	List	   *result = NIL;

	ls_owner_begin(&section);
	if (latest)
		PushActiveSnapshot(GetLatestSnapshot());
	ls_spi_expect(SPI_execute_with_args(sql, 1, &type, &value, NULL, latest, 0), SPI_OK_SELECT);
	if (latest)
		PopActiveSnapshot();
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *string = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext before = MemoryContextSwitchTo(caller);

		result = lappend(result, pstrdup(string));
		MemoryContextSwitchTo(before);
	}
	ls_owner_end(&section);
	return result;
}

static List *
strings(const char *sql, const char *pipeline)
{
	return query_strings(sql, pipeline, false);
}

/* the tables under a pipeline, as oids */
static List *
tables_under(const char *pipeline)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, strings("SELECT e.relation::oid::text FROM leadscore.enforced e JOIN pg_class c ON c.oid = e.relation"
						" WHERE e.pipeline = $1 ORDER BY 1", pipeline))
		result = lappend_oid(result, (Oid) strtoul((char *) lfirst(lc), NULL, 10));
	return result;
}

/* what the structure of a draft lacks */
static const char *const structure_checks[] = {
	"SELECT 'there are no stages' WHERE NOT EXISTS (SELECT FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0)",

	"SELECT 'no stage is an entry: no lead could start'"
	" WHERE EXISTS (SELECT FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0)"
	" AND NOT EXISTS (SELECT FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0 AND entry)",

	"WITH RECURSIVE reached AS (SELECT stage FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0 AND entry"
	" UNION SELECT t.to_stage FROM leadscore.pipeline_transition t JOIN reached r ON r.stage = t.from_stage WHERE t.pipeline = $1 AND t.version = 0)"
	" SELECT format('stage %s cannot be reached from an entry stage', stage) FROM leadscore.pipeline_stage s"
	" WHERE pipeline = $1 AND version = 0 AND NOT EXISTS (SELECT FROM reached r WHERE r.stage = s.stage)"
	" AND EXISTS (SELECT FROM reached) ORDER BY ordinal",

	"SELECT format('stage %s is a dead end: mark it as won or lost, or add a transition', stage) FROM leadscore.pipeline_stage s"
	" WHERE pipeline = $1 AND version = 0 AND kind = 'open'"
	" AND NOT EXISTS (SELECT FROM leadscore.pipeline_transition t WHERE t.pipeline = $1 AND t.version = 0 AND t.from_stage = s.stage) ORDER BY ordinal",

	("SELECT format('the transition from %s to %s requires role %s, which does not exist', from_stage, to_stage, role) FROM leadscore.pipeline_transition"
	 " WHERE pipeline = $1 AND version = 0 AND role IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) ORDER BY from_stage, to_stage"),

	("SELECT format('the transition from %s to %s asks for a score in model %s, which does not exist', from_stage, to_stage, model) FROM leadscore.pipeline_transition t"
	 " WHERE pipeline = $1 AND version = 0 AND model IS NOT NULL AND NOT EXISTS (SELECT FROM leadscore.model m WHERE m.model = t.model) ORDER BY from_stage, to_stage"),
};

/* run a check that throws; its message, or NULL if all is well */
typedef void (*Check) (void *arg);

static char *
message_of(Check check, void *arg)
{
	ErrorData  *error = ls_attempt(check, arg, true);

	if (error == NULL)
		return NULL;
	/* a cancelled query is no finding */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	return error->detail ? psprintf("%s (%s)", error->message, error->detail) : error->message;
}

typedef struct GuardCheck
{
	const char *condition;
	const char *what;
	Oid			relid;			/* InvalidOid: syntax only */
	const char *pipeline;
	bool		scored;			/* the transition names a model */
} GuardCheck;

/* fields of the draft on a table: mapped by enforce(), or found by name */
static void
draft_fields(GuardCheck *check, Relation rel, LsGuardScope *scope)
{
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[2] = {TEXTOID, OIDOID};
	Datum		args[2];
	LsField    *fields;

	args[0] = CStringGetTextDatum(check->pipeline);
	args[1] = ObjectIdGetDatum(RelationGetRelid(rel));
	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("SELECT f.field, CASE WHEN jsonb_exists(e.fields, f.field) THEN e.fields ->> f.field ELSE"
										" (SELECT a.attname::text FROM unnest(f.columns) WITH ORDINALITY c(name, n)"
										"  JOIN pg_attribute a ON a.attrelid = $2 AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped"
										"  ORDER BY c.n LIMIT 1) END, e.model IS NOT NULL"
										" FROM leadscore.enforced e LEFT JOIN leadscore.pipeline_field f ON f.pipeline = $1 AND f.version = 0"
										" WHERE e.relation = $2::regclass", 2, types, args, NULL, false, 0), SPI_OK_SELECT);
	fields = MemoryContextAllocZero(caller, (SPI_processed + 1) * sizeof(LsField));
	scope->has_model = check->scored;
	scope->fields = fields;
	scope->nfields = 0;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		char	   *column = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull)))
			scope->has_model = true;
		if (name == NULL)
			continue;
		fields[scope->nfields].name = MemoryContextStrdup(caller, name);
		if (column != NULL)
		{
			fields[scope->nfields].attno = get_attnum(RelationGetRelid(rel), column);
			if (fields[scope->nfields].attno > 0)
				fields[scope->nfields].column = MemoryContextStrdup(caller, column);
		}
		scope->nfields++;
	}
	ls_owner_end(&section);
}

static void
check_guard(void *arg)
{
	GuardCheck *check = (GuardCheck *) arg;
	LsGuardScope scope = {0};

	if (OidIsValid(check->relid))
	{
		scope.rel = table_open(check->relid, AccessShareLock);
		draft_fields(check, scope.rel, &scope);
	}
	(void) ls_guard_parse(check->condition, &scope, check->what);
	if (scope.rel != NULL)
		table_close(scope.rel, AccessShareLock);
}

/* a guard that is being added: it must make sense on the tables that it will guard */
void
ls_check_guard_on_tables(const char *pipeline, const char *condition, const char *what)
{
	GuardCheck	check = {0};
	ListCell   *lc;

	check.condition = condition;
	check.what = what;
	check.pipeline = pipeline;
	check.scored = true;
	foreach(lc, tables_under(pipeline))
	{
		check.relid = lfirst_oid(lc);
		check_guard(&check);
	}
}

static List *
check_guards(const char *pipeline)
{
	List	   *conditions = strings("SELECT g.condition FROM leadscore.pipeline_guard g WHERE g.pipeline = $1 AND g.version = 0"
									 " ORDER BY g.from_stage, g.to_stage, g.ordinal, g.label", pipeline);
	List	   *names = strings("SELECT format('guard \"%s\" from %s to %s', g.label, g.from_stage, g.to_stage) FROM leadscore.pipeline_guard g"
								" WHERE g.pipeline = $1 AND g.version = 0 ORDER BY g.from_stage, g.to_stage, g.ordinal, g.label", pipeline);
	List	   *scored = strings("SELECT CASE WHEN t.model IS NULL THEN 'f' ELSE 't' END FROM leadscore.pipeline_guard g"
								 " JOIN leadscore.pipeline_transition t USING (pipeline, version, from_stage, to_stage)"
								 " WHERE g.pipeline = $1 AND g.version = 0 ORDER BY g.from_stage, g.to_stage, g.ordinal, g.label", pipeline);
	List	   *tables = tables_under(pipeline);
	List	   *findings = NIL;
	ListCell   *c;
	ListCell   *n;
	ListCell   *s;

	forthree(c, conditions, n, names, s, scored)
	{
		GuardCheck	check;
		ListCell   *lc;
		char	   *message;

		check.condition = (char *) lfirst(c);
		check.what = (char *) lfirst(n);
		check.pipeline = pipeline;
		check.scored = ((char *) lfirst(s))[0] == 't';
		check.relid = InvalidOid;
		message = message_of(check_guard, &check);
		if (message != NULL)
		{
			findings = lappend(findings, psprintf("%s: %s", check.what, message));
			continue;
		}
		foreach(lc, tables)
		{
			check.relid = lfirst_oid(lc);
			message = message_of(check_guard, &check);
			if (message != NULL)
				findings = lappend(findings, psprintf("%s, on table %s: %s", check.what,
													  get_rel_name(check.relid), message));
		}
	}
	return findings;
}

/*
 * Leads in stages that the live version has and the draft drops: nothing would
 * lead them out. Counted with our owner's rights, over all rows, so only for whoever
 * may publish; who does so (lock) bars writers first, that none comes in meanwhile.
 */
static List *
check_dropped_stages(const char *pipeline, bool lock)
{
	List	   *dropped = strings("SELECT s.stage FROM leadscore.pipeline_stage s JOIN leadscore.pipeline p"
								  " ON p.pipeline = s.pipeline AND p.live_version = s.version WHERE s.pipeline = $1"
								  " AND NOT EXISTS (SELECT FROM leadscore.pipeline_stage d"
								  "  WHERE d.pipeline = s.pipeline AND d.version = 0 AND d.stage = s.stage) ORDER BY s.ordinal", pipeline);
	List	   *findings = NIL;
	ListCell   *lc;
	char	   *list;

	if (dropped == NIL ||
		!has_privs_of_role(GetUserId(), get_role_oid(linitial(strings("SELECT owner FROM leadscore.pipeline WHERE pipeline = $1",
																	  pipeline)), true)))
		return NIL;
	foreach(lc, dropped)
		lfirst(lc) = quote_literal_cstr((char *) lfirst(lc));
	list = ls_join(dropped, ", ", ", ");

	foreach(lc, tables_under(pipeline))
	{
		Relation	rel = table_open(lfirst_oid(lc), lock ? ShareRowExclusiveLock : AccessShareLock);
		const char *stage = quote_identifier(get_attname(RelationGetRelid(rel), ls_stage_column(rel), false));
		char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
													   RelationGetRelationName(rel));

		findings = list_concat(findings,
							   query_strings(psprintf("SELECT format('table %%s: %%s in stage %%s, which is dropped', %s,"
												" CASE WHEN count(*) = 1 THEN '1 lead is' ELSE count(*) || ' leads are' END, %s::text)"
												" FROM %s WHERE %s::text IN (%s) AND $1 IS NOT NULL GROUP BY %s::text ORDER BY %s::text",
												quote_literal_cstr(table), stage, table, stage, list, stage, stage), pipeline, true));
		table_close(rel, NoLock);
	}
	return findings;
}

static List *
findings_of(const char *pipeline)
{
	List	   *findings = NIL;

	for (size_t i = 0; i < lengthof(structure_checks); i++)
		findings = list_concat(findings, strings(structure_checks[i], pipeline));
	return list_concat(findings, check_guards(pipeline));
}

void
ls_refuse_findings(const char *pipeline)
{
	List	   *findings = findings_of(pipeline);
	List	   *standing = check_dropped_stages(pipeline, true);

	findings = list_concat(findings, standing);
	if (findings != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg_plural("pipeline \"%s\" cannot be published: there is %d thing to mend",
							   "pipeline \"%s\" cannot be published: there are %d things to mend",
							   list_length(findings), pipeline, list_length(findings)),
				 errdetail_internal("%s.", ls_join(findings, ";\n", ";\n")),
				 standing != NIL ? errhint("Move these leads first; leadscore.override() lets the pipeline's override role do it where no transition does.") : 0));
}

/* after publishing: the rules must compile on every table under the pipeline */
void
ls_compile_all(const char *pipeline)
{
	ListCell   *lc;

	foreach(lc, tables_under(pipeline))
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);

		(void) ls_rules_get(rel);
		table_close(rel, NoLock);
	}
}

Datum
leadscore_check_pipeline(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *pipeline = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (strings("SELECT pipeline FROM leadscore.pipeline WHERE pipeline = $1", pipeline) == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no pipeline \"%s\"", pipeline)));
	foreach(lc, list_concat(findings_of(pipeline), check_dropped_stages(pipeline, false)))
	{
		Datum		value = CStringGetTextDatum((char *) lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}
