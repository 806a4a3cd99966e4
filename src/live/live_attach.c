/*
 * live_attach.c
 *	  Attaching a model to its tables when it is published: the locks that make
 *	  the switch of versions exact, the triggers, and what is left to do once
 *	  the scores of all leads are stored.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "live/live.h"

PG_FUNCTION_INFO_V1(leadscore_live_dropped);
PG_FUNCTION_INFO_V1(leadscore_live_options);
PG_FUNCTION_INFO_V1(leadscore_on_crossing);

/* How a table's changes are seen. */
typedef enum LiveForm
{
	FORM_STATEMENT,				/* whole statements, with transition tables */
	FORM_ROW
} LiveForm;

/*
 * Keep writers out of both tables until the end of the transaction; readers go
 * on. Never waits for one table while holding the other, since writers may well
 * come by them in either order.
 */
static void
lock_tables(Oid leads, Oid events)
{
	Oid			first = leads;
	Oid			second = events;

	for (;;)
	{
		Oid			swap;

		LockRelationOid(first, ShareRowExclusiveLock);
		if (!OidIsValid(second) || second == first ||
			ConditionalLockRelationOid(second, ShareRowExclusiveLock))
			return;
		UnlockRelationOid(first, ShareRowExclusiveLock);
		CHECK_FOR_INTERRUPTS();
		swap = first;
		first = second;
		second = swap;
	}
}

/* ----------------------------------------------------------------
 *		Triggers
 * ----------------------------------------------------------------
 */

/*
 * Transition tables see whole statements on the table that the statement names.
 * Rows that come by another table (partitions, inheritance) are seen by row
 * triggers only, and foreign tables have nothing else.
 */
static LiveForm
natural_form(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	LiveForm	result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	result = form->relkind == RELKIND_RELATION && !form->relispartition &&
		!form->relhassubclass && !has_superclass(relid) ? FORM_STATEMENT : FORM_ROW;
	ReleaseSysCache(tuple);
	return result;
}

/* What the user asked for, of any model over the table. */
static void
asked_for(Oid relid, LiveForm *form, bool *always)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	bool		isnull;

	*always = false;
	ls_catalog_execute("SELECT coalesce(bool_or(o.form = 'row'), false), coalesce(bool_or(o.always), false)"
					   " FROM leadscore.model m JOIN leadscore.live_option o USING (model)"
					   " WHERE m.leads::oid = $1 OR m.events::oid = $1", 1, types, values, NULL);
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		*form = FORM_ROW;
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
	{
		/* what logical replication applies fires row triggers only */
		*always = true;
		*form = FORM_ROW;
	}
}

static void
execute(const char *sql)
{
	ls_catalog_execute(sql, 0, NULL, NULL, NULL);
}

static void
drop_triggers(Oid relid)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	SPITupleTable *table;
	uint64		rows;

	ls_catalog_execute("SELECT tgname::text FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND tgparentid = 0"
					   " AND tgfoid = 'leadscore.live_change()'::regprocedure", 1, types, values, NULL);
	table = SPI_tuptable;
	rows = SPI_processed;
	for (uint64 i = 0; i < rows; i++)
		execute(psprintf("DROP TRIGGER %s ON %s",
						 quote_identifier(SPI_getvalue(table->vals[i], table->tupdesc, 1)),
						 ls_relation_name(relid)));
}

/* The name of a row trigger; a partition has one of the whole, too. */
static const char *
row_trigger(Oid relid)
{
	return get_rel_relispartition(relid) ? "leadscore_live_own" : "leadscore_live_row";
}

/* Are the triggers there that we would make? cloned: those for rows come from the parent. */
static bool
triggers_in_place(Oid relid, LiveForm form, bool always, bool truncate, bool cloned)
{
	Oid			types[3] = {OIDOID, TEXTOID, BOOLOID};
	Datum		values[3];
	bool		isnull;

	values[0] = ObjectIdGetDatum(relid);
	values[1] = CStringGetTextDatum(cloned ? "leadscore_live_truncating" :
									form == FORM_ROW ? row_trigger(relid) : "leadscore_live_insert");
	values[2] = BoolGetDatum(always);
	ls_catalog_execute("SELECT count(*), count(*) FILTER (WHERE tgname = $2)"
					   " FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND tgparentid = 0"
					   " AND tgfoid = 'leadscore.live_change()'::regprocedure"
					   " AND tgenabled = CASE WHEN $3 THEN 'A' ELSE 'O' END", 3, types, values, NULL);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) ==
		(cloned ? 0 : form == FORM_ROW ? 1 : 3) + (truncate ? form == FORM_ROW ? 2 : 1 : 0) &&
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)) == 1;
}

static void
make_trigger(Oid relid, const char *name, const char *event, const char *rest, bool always)
{
	char	   *table = ls_relation_name(relid);
	ObjectAddress trigger;
	ObjectAddress extension;

	execute(psprintf("CREATE TRIGGER %s %s ON %s %s EXECUTE FUNCTION leadscore.live_change()",
					 name, event, table, rest));
	/* as ALTER TRIGGER ... DEPENDS ON EXTENSION, which would lock the extension to the end of the transaction */
	CommandCounterIncrement();
	ObjectAddressSet(trigger, TriggerRelationId, get_trigger_oid(relid, name, false));
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("leadscore", false));
	recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
	if (always)
		execute(psprintf("ALTER %sTABLE %s ENABLE ALWAYS TRIGGER %s",
						 get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? "FOREIGN " : "", table, name));
}

/*
 * TRUNCATE of one table among several: what its rows gave is added up before
 * they go. Not on partitioned tables below the model's: their partitions do it.
 */
static void
make_truncate_triggers(Oid relid, LiveForm form, bool always)
{
	if (form == FORM_ROW)
		make_trigger(relid, "leadscore_live_truncating", "BEFORE TRUNCATE", "FOR EACH STATEMENT", always);
	make_trigger(relid, "leadscore_live_truncate", "AFTER TRUNCATE", "FOR EACH STATEMENT", always);
}

static void
install_triggers(Oid relid)
{
	LiveForm	form = natural_form(relid);
	bool		truncate = get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE;
	bool		always;

	if (pg_class_aclcheck(relid, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", get_rel_name(relid)),
				 errdetail("Scores follow the data by triggers on this table."),
				 errhint("Its owner can GRANT TRIGGER ON %s.", ls_relation_name(relid))));
	asked_for(relid, &form, &always);
	if (triggers_in_place(relid, form, always, truncate, false))
		return;
	drop_triggers(relid);
	if (form == FORM_ROW)
		make_trigger(relid, row_trigger(relid), "AFTER INSERT OR UPDATE OR DELETE", "FOR EACH ROW", always);
	else
	{
		make_trigger(relid, "leadscore_live_insert", "AFTER INSERT",
					 "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT", always);
		make_trigger(relid, "leadscore_live_update", "AFTER UPDATE",
					 "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT", always);
		make_trigger(relid, "leadscore_live_delete", "AFTER DELETE",
					 "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT", always);
	}
	if (truncate)
		make_truncate_triggers(relid, form, always);
}

/* Is a model live over the table itself? Then it has triggers for its own sake, also while it is not kept. */
static bool
has_models(Oid relid)
{
	LiveTableData *table = ls_live_table_pin(relid);
	bool		result = table->nmodels + table->nskipped > 0;

	ls_live_table_unpin(table);
	return result;
}

/* Row triggers are cloned to partitions, TRUNCATE's are not. */
static void
attach_partitions(Oid root, Oid relid)
{
	LiveForm	form = FORM_ROW;
	bool		always;
	ListCell   *cell;

	asked_for(root, &form, &always);
	foreach(cell, find_all_inheritors(relid, ShareRowExclusiveLock, NULL))
	{
		Oid			child = lfirst_oid(cell);

		/* its own were for whole statements before it was attached */
		if (child != root && has_models(child))
			install_triggers(child);
		else if (get_rel_relkind(child) == RELKIND_RELATION &&
				 !triggers_in_place(child, FORM_ROW, always, true, true))
		{
			drop_triggers(child);
			make_truncate_triggers(child, FORM_ROW, always);
		}
	}
}

/* A table, and for events those that inherit from it: their rows count too. */
static void
attach(Oid relid, bool with_children)
{
	List	   *relids;
	ListCell   *cell;

	if (!with_children || get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		relids = list_make1_oid(relid);
	else
		relids = find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	foreach(cell, relids)
		install_triggers(lfirst_oid(cell));
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		attach_partitions(relid, relid);
}

/* A table has become a partition or a child of a model's table, or of one below it. */
void
ls_live_attach_child(Oid root, Oid relid)
{
	SPI_connect();
	if (get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE)
		attach_partitions(root, relid);
	else
		attach(root, true);
	SPI_finish();
}

/* It is none any more; neither is what is below it. */
void
ls_live_detach_child(Oid relid)
{
	ListCell   *cell;

	SPI_connect();
	foreach(cell, find_all_inheritors(relid, ShareRowExclusiveLock, NULL))
	{
		LiveTableData *table = ls_live_table_pin(lfirst_oid(cell));

		if (table->nmodels + table->nskipped > 0)
			install_triggers(lfirst_oid(cell));
		else if (!OidIsValid(table->above))
			drop_triggers(lfirst_oid(cell));
		ls_live_table_unpin(table);
	}
	SPI_finish();
}

/* ----------------------------------------------------------------
 *		Around the scoring of all leads
 * ----------------------------------------------------------------
 */

/* What publishing a version has to do with bands. */
typedef struct BandsNow
{
	bool		first;			/* no version before this one */
	bool		any;			/* some version has bands, so that leads may be in one */
} BandsNow;

/* The tables whose rows count, partitions among them, are all there after a crash. */
static void
check_permanent(Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		ls_model_check_permanent(rel);
		table_close(rel, NoLock);
	}
}

static void
before_scores(const LsModel *model, const BandsNow *bands)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model->name)};
	Oid			scores = ls_model_score_relid(model, false);

	lock_tables(model->leads, model->events);
	ls_kept_clear(model->name);
	check_permanent(model->leads);
	if (OidIsValid(model->events))
		check_permanent(model->events);
	SPI_connect();
	attach(model->leads, false);
	if (OidIsValid(model->events) && model->events != model->leads)
		attach(model->events, true);
	/* what was in which band, to tell afterwards who crossed by this */
	ls_catalog_execute("DELETE FROM leadscore.previous_band WHERE model = $1", 1, types, values, NULL);
	if (bands->any)
		ls_catalog_execute(psprintf("INSERT INTO leadscore.previous_band (model, lead, band)"
									" SELECT $1, lead::text, band FROM %s WHERE band IS NOT NULL",
									ls_relation_name(scores)), 1, types, values, NULL);
	ls_catalog_execute("DELETE FROM leadscore.due WHERE model = $1", 1, types, values, NULL);
	SPI_finish();
}

static void
after_scores(const LsModel *model, const BandsNow *bands)
{
	Oid			types[3] = {TEXTOID, INT4OID, TIMESTAMPTZOID};
	Datum		values[3];
	LiveModel  *live;
	LiveTableData *table;

	ls_live_forget(model->leads);
	ls_live_forget(model->events);
	CommandCounterIncrement();
	table = ls_live_model_pin(model->name, &live);
	ls_live_settle_all(live, model->newest_event);

	values[0] = CStringGetTextDatum(model->name);
	values[1] = Int32GetDatum(model->version);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	SPI_connect();
	if (!bands->first && bands->any)
		ls_catalog_execute(psprintf("WITH x AS (INSERT INTO leadscore.crossing (model, lead, from_band, to_band, at, score, cause, version)"
									" SELECT $1, coalesce(s.lead::text, p.lead), p.band, s.band, $3,"
									" coalesce(s.score OPERATOR(leadscore.@) $3, 0), 'publish', $2"
									" FROM (SELECT lead, band FROM leadscore.previous_band WHERE model = $1) p"
									" FULL JOIN (SELECT lead, band, score FROM %s) s ON s.lead::text = p.lead"
									" WHERE s.band IS DISTINCT FROM p.band RETURNING id)"
									" INSERT INTO leadscore.outbox (consumer, crossing) SELECT c.consumer, x.id"
									" FROM x, leadscore.consumer c WHERE c.model IS NULL OR c.model = $1 ORDER BY x.id",
									ls_relation_name(live->score_relid)), 3, types, values, NULL);
	ls_catalog_execute("DELETE FROM leadscore.previous_band WHERE model = $1", 1, types, values, NULL);
	SPI_finish();
	ls_live_table_unpin(table);
}

/* Scores of all leads are about to be, or were, stored (model_publish.c). */
static void
scores_hook(const LsModel *model, LsScoresEvent event)
{
	static BandsNow bands;

	if (event == LS_SCORES_BEGIN)
	{
		Oid			types[1] = {TEXTOID};
		Datum		values[1] = {CStringGetTextDatum(model->name)};
		bool		isnull;

		SPI_connect();
		ls_catalog_execute("SELECT (SELECT count(*) FROM leadscore.model_version WHERE model = $1 AND version > 0) < 2,"
						   " EXISTS (SELECT FROM leadscore.band WHERE model = $1 AND version > 0)",
						   1, types, values, NULL);
		bands.first = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		bands.any = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		SPI_finish();
		before_scores(model, &bands);
	}
	else
		after_scores(model, &bands);
}

void
ls_live_init(void)
{
	ls_live_model_init();
	ls_live_leaving_init();
	ls_live_statement_init();
	ls_scores_hook = scores_hook;
}

/* ----------------------------------------------------------------
 *		Options, and the end of a model
 * ----------------------------------------------------------------
 */

/* live_options(model, form, always) */
Datum
leadscore_live_options(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	LsModel    *model = ls_model_load(name, LS_DRAFT);
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3];
	char		nulls[] = "   ";

	ls_model_check_owner(model);
	if (!PG_ARGISNULL(1) && strcmp(text_to_cstring(PG_GETARG_TEXT_PP(1)), "row") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("form must be 'row' or null"),
				 errdetail("Null is the form that suits the table: whole statements where that can be.")));
	ls_model_lock(name);
	values[0] = CStringGetTextDatum(name);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = BoolGetDatum(!PG_ARGISNULL(2) && PG_GETARG_BOOL(2));
	if (PG_ARGISNULL(1))
		nulls[1] = 'n';
	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.live_option (model, form, always) VALUES ($1, $2, $3)"
					   " ON CONFLICT (model) DO UPDATE SET form = excluded.form, always = excluded.always",
					   3, types, values, nulls);
	if (model->live_version > 0)
	{
		lock_tables(model->leads, model->events);
		attach(model->leads, false);
		if (OidIsValid(model->events) && model->events != model->leads)
			attach(model->events, true);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

/* Is there a live model over the table, other than one? */
static bool
others_live(Oid relid, Datum model)
{
	Oid			types[2] = {OIDOID, TEXTOID};
	Datum		values[2] = {ObjectIdGetDatum(relid), model};

	ls_catalog_execute("SELECT FROM leadscore.model WHERE (leads::oid = $1 OR events::oid = $1)"
					   " AND model <> $2 AND live_version IS NOT NULL", 2, types, values, NULL);
	return SPI_processed > 0;
}

/* Trigger on leadscore.model: a model was dropped. */
Datum
leadscore_live_dropped(PG_FUNCTION_ARGS)
{
	static const char *const tables[] = {
		"due", "outbox_of", "crossing", "crossing_effect", "consumer", "rule_error", "left_behind", "recorded", "live_option"
	};
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Datum		model;
	Oid			types[1] = {TEXTOID};
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.live_dropped() can only be called as a row trigger on DELETE")));
	desc = RelationGetDescr(trigger->tg_relation);
	SPI_connect();
	model = SPI_getbinval(trigger->tg_trigtuple, desc, SPI_fnumber(desc, "model"), &isnull);
	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		if (strcmp(tables[i], "outbox_of") == 0)
			ls_catalog_execute("DELETE FROM leadscore.outbox WHERE crossing IN"
							   " (SELECT id FROM leadscore.crossing WHERE model = $1)", 1, types, &model, NULL);
		else
			ls_catalog_execute(psprintf("DELETE FROM leadscore.%s WHERE model = $1", tables[i]),
							   1, types, &model, NULL);
	}
	for (int i = 0; i < 2; i++)
	{
		Datum		relid = SPI_getbinval(trigger->tg_trigtuple, desc,
										  SPI_fnumber(desc, i ? "events" : "leads"), &isnull);
		ListCell   *cell;

		if (isnull || get_rel_name(DatumGetObjectId(relid)) == NULL)
			continue;
		ls_live_forget(DatumGetObjectId(relid));
		if (others_live(DatumGetObjectId(relid), model))
			continue;
		foreach(cell, find_all_inheritors(DatumGetObjectId(relid), ShareRowExclusiveLock, NULL))
		{
			LiveTableData *table;

			/* a partition may have models of its own, or be part of a whole that has */
			CommandCounterIncrement();
			if (lfirst_oid(cell) != DatumGetObjectId(relid) && has_models(lfirst_oid(cell)))
				continue;
			drop_triggers(lfirst_oid(cell));
			CommandCounterIncrement();
			table = ls_live_table_pin(lfirst_oid(cell));
			if (OidIsValid(table->above) && table->nmodels + table->nskipped == 0)
				ls_live_attach_child(table->above, lfirst_oid(cell));
			ls_live_table_unpin(table);
		}
	}
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* on_crossing(model, band, stage, notify, rising) */
Datum
leadscore_on_crossing(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	char	   *band = ls_model_name_arg(fcinfo, 1, "the name of a band");
	LsModel    *model = ls_model_load(name, LS_DRAFT);
	Oid			types[5] = {TEXTOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID};
	Datum		values[5];
	char		nulls[] = "     ";
	bool		notify = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);

	ls_model_check_owner(model);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	values[3] = BoolGetDatum(notify);
	values[4] = BoolGetDatum(PG_ARGISNULL(4) || PG_GETARG_BOOL(4));
	SPI_connect();
	ls_catalog_execute("SELECT FROM leadscore.band WHERE model = $1 AND band = $2", 2, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" has no band \"%s\"", name, band),
				 errhint("SELECT * FROM leadscore.band WHERE model = '%s' lists its bands.", name)));
	if (!PG_ARGISNULL(2))
	{
		Oid			stage_types[2] = {OIDOID, TEXTOID};
		Datum		stage[2] = {ObjectIdGetDatum(model->leads), values[2]};

		ls_catalog_execute("SELECT p.pipeline, EXISTS (SELECT FROM leadscore.pipeline_stage s WHERE s.pipeline = p.pipeline"
						   " AND s.version = p.live_version AND lower(s.stage) = lower($2))"
						   " FROM leadscore.enforced e JOIN leadscore.pipeline p USING (pipeline)"
						   " WHERE e.relation::oid = $1", 2, stage_types, stage, NULL);
		if (SPI_processed == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the stages of table \"%s\" are not enforced", get_rel_name(model->leads)),
					 errhint("Run leadscore.enforce() on it first, or leave stage null.")));
		if (strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2), "t") != 0)
		{
			char	   *pipeline = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("pipeline \"%s\" has no stage \"%s\"", pipeline, TextDatumGetCString(values[2])),
					 errhint("SELECT * FROM leadscore.pipeline_stage WHERE pipeline = '%s' lists its stages.", pipeline)));
		}
	}
	if (PG_ARGISNULL(2) && !notify)
	{
		Oid			effect_types[3] = {TEXTOID, TEXTOID, BOOLOID};
		Datum		effect[3] = {values[0], values[1], values[4]};

		ls_catalog_execute("DELETE FROM leadscore.crossing_effect WHERE model = $1 AND band = $2 AND rising = $3",
						   3, effect_types, effect, NULL);
	}
	else
		ls_catalog_execute("INSERT INTO leadscore.crossing_effect (model, band, stage, notify, rising)"
						   " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (model, band, rising)"
						   " DO UPDATE SET stage = excluded.stage, notify = excluded.notify",
						   5, types, values, nulls);
	SPI_finish();
	PG_RETURN_VOID();
}
