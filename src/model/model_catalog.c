/*
 * model_catalog.c
 *	  Reading models from the catalog, the tables behind them, and who may
 *	  change them. All access to the catalog by this part goes through
 *	  ls_catalog_execute: as the owner of the extension, with a search_path of
 *	  pg_catalog, so that nothing a caller made can be picked up on the way.
 */
#include "leadscore.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "model/eval_int.h"
#include "model/model.h"

PG_FUNCTION_INFO_V1(leadscore_known_version);

/* A text argument that must be there, as a C string. */
char *
ls_model_name_arg(FunctionCallInfo fcinfo, int argno, const char *what)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argno));
}

/*
 * Run one statement on the catalog. The caller is connected to SPI and finds
 * rows in SPI_tuptable. Nothing that a user wrote may be in the statement.
 */
void
ls_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	LsUser		caller;
	int			level = ls_portable_settings();
	volatile int result = 0;

	ls_become_owner(&caller);
	PG_TRY();
	{
		/* a parallel query may only read, with the snapshot it has */
		result = SPI_execute_with_args(sql, nargs, types, values, nulls, IsInParallelMode(), 0);
	}
	PG_CATCH();
	{
		ls_rethrow_without(sql, context);
	}
	PG_END_TRY();
	ls_become_caller(&caller);
	AtEOXact_GUC(true, level);
	ls_spi_expect(result, 0);
}

/*
 * The same for a statement that is run often, which writes: *plan keeps it, from
 * the first time on. Of the settings those are exchanged behind PostgreSQL's back
 * that the values of columns are printed by; others do not matter to what is run.
 */
void
ls_catalog_execute_kept(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			level = NewGUCNestLevel();
	LsSettings	settings;
	LsUser		caller;
	volatile int result = 0;

	/* a kept plan is good for the search_path it was made with only */
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	ls_settings_enter(&settings);
	PG_TRY();
	{
		ls_become_owner(&caller);
		if (*plan == NULL)
		{
			*plan = ls_spi_prepare(sql, nargs, types);
			SPI_keepplan(*plan);
		}
		result = SPI_execute_plan(*plan, values, nulls, false, 0);
		ls_become_caller(&caller);
	}
	PG_FINALLY();
	{
		ls_settings_leave(&settings);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
	ls_spi_expect(result, 0);
}

/* Column of the current SPI result as a C string in the given context, or NULL. */
static char *
spi_text(MemoryContext context, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

static Datum
spi_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static double
spi_double(uint64 row, int column, double missing)
{
	bool		isnull;
	Datum		value = spi_datum(row, column, &isnull);

	return isnull ? missing : DatumGetFloat8(value);
}

static int64
spi_int64(uint64 row, int column, int64 missing)
{
	bool		isnull;
	Datum		value = spi_datum(row, column, &isnull);

	return isnull ? missing : DatumGetInt64(value);
}

/*
 * Queries that every loading of a model needs, planned once per backend. The
 * plans know that the tables they use may change or go.
 */
typedef enum LoadQuery
{
	LOAD_MODEL,
	LOAD_VERSION,
	LOAD_COMPONENTS,
	LOAD_RULES,
	LOAD_BANDS
} LoadQuery;

static const char *const load_queries[] = {
	[LOAD_MODEL] = "SELECT leads::oid, lead_key::text, events::oid, event_lead::text, event_at::text, live_version::int8"
	" FROM leadscore.model WHERE model = $1",
	[LOAD_VERSION] = "SELECT lo, hi FROM leadscore.model_version WHERE model = $1 AND version = $2",
	[LOAD_COMPONENTS] = "SELECT component, (EXTRACT(epoch FROM half_life) * 1000000)::int8, lo, hi"
	" FROM leadscore.component WHERE model = $1 AND version = $2 ORDER BY ordinal",
	[LOAD_RULES] = "SELECT r.rule, (SELECT count(*) FROM leadscore.component d"
	"   WHERE d.model = r.model AND d.version = r.version AND d.ordinal < c.ordinal),"
	" r.source = 'event', r.condition, r.points, r.condition_sql, r.points_sql,"
	" r.at_most::int8, (EXTRACT(epoch FROM r.per) * 1000000)::int8,"
	" r.valid_from, r.valid_until, r.enabled, r.per::text"
	" FROM leadscore.rule r JOIN leadscore.component c USING (model, version, component)"
	" WHERE r.model = $1 AND r.version = $2 ORDER BY r.ordinal",
	[LOAD_BANDS] = "SELECT band, least FROM leadscore.band WHERE model = $1 AND version = $2 ORDER BY least DESC",
};

static void
load_query(LoadQuery query, Datum *values)
{
	static SPIPlanPtr plans[lengthof(load_queries)];
	Oid			types[2] = {TEXTOID, INT4OID};
	LsUser		caller;
	int			level = ls_portable_settings();
	int			result;

	ls_become_owner(&caller);
	if (plans[query] == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(load_queries[query], query == LOAD_MODEL ? 1 : 2, types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\"", load_queries[query]);
		plans[query] = plan;
	}
	/* a parallel query may only read, with the snapshot it has */
	result = SPI_execute_plan(plans[query], values, NULL, IsInParallelMode(), 0);
	ls_become_caller(&caller);
	AtEOXact_GUC(true, level);
	ls_spi_expect(result, SPI_OK_SELECT);
}

static void
load_components(LsModel *model, MemoryContext context, Datum *values)
{
	load_query(LOAD_COMPONENTS, values);
	if (SPI_processed > SCORE_MAX_COMPONENTS)
		elog(ERROR, "model \"%s\" has too many components", model->name);
	model->ncomponents = (int) SPI_processed;
	for (int i = 0; i < model->ncomponents; i++)
	{
		LsComponent *component = &model->components[i];

		component->name = spi_text(context, i, 1);
		component->half_life = spi_int64(i, 2, 0);
		component->lo = spi_double(i, 3, -INFINITY);
		component->hi = spi_double(i, 4, INFINITY);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
load_rules(LsModel *model, MemoryContext context, Datum *values)
{
	load_query(LOAD_RULES, values);
	model->nrules = (int) SPI_processed;
	model->rules = MemoryContextAllocZero(context, Max(model->nrules, 1) * sizeof(LsRule));
	for (int i = 0; i < model->nrules; i++)
	{
		LsRule	   *rule = &model->rules[i];
		bool		isnull;
		Datum		value;

		rule->name = spi_text(context, i, 1);
		rule->component = (int) spi_int64(i, 2, 0);
		rule->event = DatumGetBool(spi_datum(i, 3, &isnull));
		rule->condition_text = spi_text(context, i, 4);
		rule->points_text = spi_text(context, i, 5);
		rule->condition_sql = spi_text(context, i, 6);
		rule->points_sql = spi_text(context, i, 7);
		rule->at_most = (int) spi_int64(i, 8, 0);
		rule->per = spi_int64(i, 9, 0);
		value = spi_datum(i, 10, &isnull);
		rule->has_from = !isnull;
		rule->valid_from = isnull ? 0 : DatumGetTimestampTz(value);
		value = spi_datum(i, 11, &isnull);
		rule->has_until = !isnull;
		rule->valid_until = isnull ? 0 : DatumGetTimestampTz(value);
		rule->enabled = DatumGetBool(spi_datum(i, 12, &isnull));
		rule->per_text = spi_text(context, i, 13);
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
load_bands(LsModel *model, MemoryContext context, Datum *values)
{
	load_query(LOAD_BANDS, values);
	model->nbands = (int) SPI_processed;
	model->bands = MemoryContextAllocZero(context, Max(model->nbands, 1) * sizeof(LsBand));
	for (int i = 0; i < model->nbands; i++)
	{
		model->bands[i].name = spi_text(context, i, 1);
		model->bands[i].least = spi_double(i, 2, 0);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What is known of a model and its version (LS_DRAFT, LS_LIVE or a number) by
 * itself, in the current memory context; connected to SPI. An error if there is
 * none. values: for what else is to be loaded.
 */
static LsModel *
load_version(MemoryContext context, const char *name, int version, Datum *values)
{
	LsModel    *model = MemoryContextAllocZero(context, sizeof(LsModel));
	bool		isnull;

	values[0] = CStringGetTextDatum(name);
	load_query(LOAD_MODEL, values);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", name),
				 errhint("SELECT model FROM leadscore.model lists the models; leadscore.create_model makes one.")));
	model->name = MemoryContextStrdup(context, name);
	model->leads = DatumGetObjectId(spi_datum(0, 1, &isnull));
	model->lead_key = spi_text(context, 0, 2);
	model->events = DatumGetObjectId(spi_datum(0, 3, &isnull));
	if (isnull)
		model->events = InvalidOid;
	model->event_lead = spi_text(context, 0, 4);
	model->event_at = spi_text(context, 0, 5);
	model->live_version = (int) spi_int64(0, 6, 0);
	SPI_freetuptable(SPI_tuptable);

	if (version == LS_LIVE)
	{
		if (model->live_version == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("model \"%s\" has not been published", name),
					 errhint("Run leadscore.publish('%s').", name)));
		version = model->live_version;
	}
	model->version = version;
	values[1] = Int32GetDatum(version);
	load_query(LOAD_VERSION, values);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" has no version %d", name, version),
				 errhint("SELECT * FROM leadscore.model_version lists the versions; 0 is the draft.")));
	model->lo = spi_double(0, 1, -INFINITY);
	model->hi = spi_double(0, 2, INFINITY);
	SPI_freetuptable(SPI_tuptable);
	return model;
}

/*
 * A version of a model (LS_DRAFT, LS_LIVE or a number) in the current memory
 * context, its tables resolved, its conditions not yet analysed.
 */
LsModel *
ls_model_load(const char *name, int version)
{
	MemoryContext context = CurrentMemoryContext;
	LsModel    *model;
	Datum		values[2];

	SPI_connect();
	model = load_version(context, name, version, values);
	load_components(model, context, values);
	load_rules(model, context, values);
	load_bands(model, context, values);
	SPI_finish();

	ls_model_resolve(model);
	return model;
}

/*
 * known_version(model, version, published): the number of a version that there
 * is, for SQL. NULL is the live one; if there is none, NULL or, published, an error.
 */
Datum
leadscore_known_version(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	int			version = PG_ARGISNULL(1) ? LS_LIVE : PG_GETARG_INT32(1);
	bool		published = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	LsModel    *model;
	Datum		values[2];

	SPI_connect();
	model = load_version(CurrentMemoryContext, name, version == LS_LIVE && !published ? LS_DRAFT : version, values);
	if (version == LS_LIVE)
		version = model->live_version;
	SPI_finish();
	if (version == 0 && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PG_RETURN_INT32(version);
}

/* A column that a model names, or an error that says which it should be. */
static AttrNumber
resolve_column(const LsModel *model, Oid relid, const char *column, const char *role)
{
	AttrNumber	attno = get_attnum(relid, column);

	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist", column, get_rel_name(relid)),
				 errdetail("Model \"%s\" has it as the %s.", model->name, role),
				 errhint("Rename the column back, or make the model anew with leadscore.create_model.")));
	return attno;
}

/* Find tables and columns by name; they may have changed since the model was made. */
void
ls_model_resolve(LsModel *model)
{
	int32		typmod;

	if (get_rel_name(model->leads) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of leads of model \"%s\" does not exist any more", model->name),
				 errhint("leadscore.drop_model('%s') removes the model.", model->name)));
	model->lead_attno = resolve_column(model, model->leads, model->lead_key, "lead key");
	get_atttypetypmodcoll(model->leads, model->lead_attno,
						  &model->key_type, &typmod, &model->key_collation);

	if (!OidIsValid(model->events))
		return;
	if (get_rel_name(model->events) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table of events of model \"%s\" does not exist any more", model->name),
				 errhint("leadscore.drop_model('%s') removes the model.", model->name)));
	model->event_lead_attno = resolve_column(model, model->events, model->event_lead, "lead of an event");
	get_atttypetypmodcoll(model->events, model->event_lead_attno,
						  &model->event_lead_type, &typmod, &model->event_lead_collation);
	model->event_at_attno = resolve_column(model, model->events, model->event_at, "instant of an event");
}

/* As PostgreSQL does for other things attached to a table: its owner may. */
void
ls_model_check_owner(const LsModel *model)
{
	if (!ls_owns_relation(model->leads, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(model->leads));
}

/*
 * What is stored, or compared with it, must come from all events. A table of
 * events of another owner may hide some of them by row security.
 */
void
ls_model_check_sees_events(const LsModel *model)
{
	if (!OidIsValid(model->events) || check_enable_rls(model->events, InvalidOid, true) != RLS_ENABLED)
		return;
	for (int i = 0; i < model->nrules; i++)
		if (model->rules[i].enabled && model->rules[i].event)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("row-level security of table \"%s\" may hide events from user \"%s\"",
							get_rel_name(model->events), GetUserNameFromId(GetUserId(), false)),
					 errdetail("The stored scores of model \"%s\" hold all events.", model->name),
					 errhint("Let the owner of the table do it, or a role with BYPASSRLS.")));
}

/* Keep others from changing the model until the end of the transaction. */
void
ls_model_lock(const char *name)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(name)};

	SPI_connect();
	ls_catalog_execute("SELECT 1 FROM leadscore.model WHERE model = $1 FOR UPDATE",
					   1, types, values, NULL);
	SPI_finish();
}

/* The name of the table of stored scores, not quoted, in schema leadscore. */
char *
ls_model_score_table(const char *name)
{
	return psprintf(LS_SCORE_TABLE_PREFIX "%s", name);
}

Oid
ls_model_score_relid(const LsModel *model, bool missing_ok)
{
	Oid			relid = get_relname_relid(ls_model_score_table(model->name), ls_schema_oid());

	if (!OidIsValid(relid) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the stored scores of model \"%s\" are missing", model->name),
				 errhint("Run leadscore.publish('%s').", model->name)));
	return relid;
}

/*
 * Let a table that belongs to a model go with the extension. pg_dump does not
 * carry such a dependency; it is made again whenever scores are stored.
 */
void
ls_model_tie_table(Oid relid)
{
	ObjectAddress table;
	ObjectAddress extension;

	ObjectAddressSet(table, RelationRelationId, relid);
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("leadscore", false));
	(void) deleteDependencyRecordsForSpecific(RelationRelationId, relid, DEPENDENCY_AUTO,
											  ExtensionRelationId, extension.objectId);
	recordDependencyOn(&table, &extension, DEPENDENCY_AUTO);
}

/*
 * A table that belongs to a model, its column lead the key, after the table of
 * leads was altered: the key may have another type or collation, the leads
 * another owner.
 */
void
ls_model_follow_leads(const LsModel *model, Oid relid)
{
	HeapTuple	leads = SearchSysCache1(RELOID, ObjectIdGetDatum(model->leads));
	Oid			owner;
	char	   *table = ls_relation_name(relid);
	Oid			type;
	Oid			collation;
	int32		typmod;

	if (!HeapTupleIsValid(leads))
		elog(ERROR, "cache lookup failed for relation %u", model->leads);
	owner = ((Form_pg_class) GETSTRUCT(leads))->relowner;
	ReleaseSysCache(leads);
	SPI_connect();
	get_atttypetypmodcoll(relid, get_attnum(relid, "lead"), &type, &typmod, &collation);
	if (type != model->key_type || collation != model->key_collation)
		ls_catalog_execute(psprintf("ALTER TABLE %s ALTER COLUMN lead TYPE %s USING lead::text::%s", table,
									ls_model_key_declaration(model), ls_type_name(model->key_type)),
						   0, NULL, NULL, NULL);
	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK)
		ls_catalog_execute(psprintf("GRANT SELECT ON %s TO %s WITH GRANT OPTION", table,
									quote_identifier(GetUserNameFromId(owner, false))),
						   0, NULL, NULL, NULL);
	SPI_finish();
}

/* The band a total is in; NULL: below all of them. */
const char *
ls_model_band(const LsModel *model, double total)
{
	for (int i = 0; i < model->nbands; i++)
		if (total >= model->bands[i].least)
			return model->bands[i].name;
	return NULL;
}

/* The score of a lead without any points: what scores of this model look like. */
void
ls_model_shape(const LsModel *model, Score *shape)
{
	memset(shape, 0, sizeof(*shape));
	shape->n = model->ncomponents;
	shape->lo = model->lo;
	shape->hi = model->hi;
	for (int i = 0; i < model->ncomponents; i++)
	{
		shape->c[i].half_life = model->components[i].half_life;
		shape->c[i].lo = model->components[i].lo;
		shape->c[i].hi = model->components[i].hi;
	}
}
