/*
 * pipeline_define.c
 *	  Makes pipelines: every change is to the draft (version 0); publishing
 *	  freezes a copy of it as the next version.
 *
 * A pipeline belongs to the role that created it; members of that role edit it.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_create_pipeline);
PG_FUNCTION_INFO_V1(leadscore_copy_pipeline);
PG_FUNCTION_INFO_V1(leadscore_drop_pipeline);
PG_FUNCTION_INFO_V1(leadscore_set_pipeline_roles);
PG_FUNCTION_INFO_V1(leadscore_add_stage);
PG_FUNCTION_INFO_V1(leadscore_drop_stage);
PG_FUNCTION_INFO_V1(leadscore_add_field);
PG_FUNCTION_INFO_V1(leadscore_add_transition);
PG_FUNCTION_INFO_V1(leadscore_add_guard);
PG_FUNCTION_INFO_V1(leadscore_drop_transition);
PG_FUNCTION_INFO_V1(leadscore_drop_guard);
PG_FUNCTION_INFO_V1(leadscore_publish_pipeline);
PG_FUNCTION_INFO_V1(leadscore_revert_pipeline);
PG_FUNCTION_INFO_V1(leadscore_import_pipeline);

#define MAX_ARGS 12

/* arguments of one catalog statement */
typedef struct Args
{
	int			n;
	Oid			types[MAX_ARGS];
	Datum		values[MAX_ARGS];
	char		nulls[MAX_ARGS];
} Args;

static void
push(Args *args, Oid type, Datum value, bool isnull)
{
	Assert(args->n < MAX_ARGS);
	args->types[args->n] = type;
	args->values[args->n] = isnull ? (Datum) 0 : value;
	args->nulls[args->n] = isnull ? 'n' : ' ';
	args->n++;
}

static void
push_text(Args *args, const char *string)
{
	push(args, TEXTOID, string ? CStringGetTextDatum(string) : (Datum) 0, string == NULL);
}

static void
push_argument(Args *args, Oid type, FunctionCallInfo fcinfo, int n)
{
	push(args, type, PG_GETARG_DATUM(n), PG_ARGISNULL(n));
}

static uint64
execute(const char *sql, Args *args)
{
	return ls_owner_sql(sql, args->n, args->types, args->values, args->nulls);
}

/* a text argument that must be given */
static char *
text_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the %s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static char *
name_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	char	   *name = text_argument(fcinfo, n, what);

	if (strlen(name) == 0 || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the %s must have 1 to %d bytes", what, NAMEDATALEN - 1)));
	return name;
}

static void
check_role(FunctionCallInfo fcinfo, int n)
{
	if (!PG_ARGISNULL(n))
		(void) get_role_oid(NameStr(*PG_GETARG_NAME(n)), false);
}

void
ls_no_such_pipeline(const char *pipeline)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no pipeline \"%s\"", pipeline),
			 errhint("Make it with leadscore.create_pipeline(), or leadscore.copy_pipeline('lifecycle', ...).")));
}

/*
 * Lock a pipeline for a change of its draft: it exists, the caller may edit it,
 * and it is not ours.
 */
static void
lock_draft(const char *pipeline)
{
	LsOwnerSection section;
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(pipeline);
	char	   *owner;
	bool		builtin;
	bool		allowed;
	bool		isnull;
	Oid			role;

	ls_owner_begin(&section);
	if (SPI_execute_with_args("SELECT owner, builtin FROM leadscore.pipeline WHERE pipeline = $1 FOR UPDATE",
							  1, &type, &value, NULL, false, 0) != SPI_OK_SELECT || SPI_processed == 0)
		ls_no_such_pipeline(pipeline);
	owner = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	builtin = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (builtin)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" comes with leadscore and cannot be changed", pipeline),
				 errhint("Edit a copy: SELECT leadscore.copy_pipeline('%s', 'my pipeline').", pipeline)));
	role = get_role_oid(owner, true);
	allowed = superuser_arg(section.user.userid) ||
		(OidIsValid(role) && has_privs_of_role(section.user.userid, role));
	if (!allowed)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of role %s to change pipeline \"%s\"", owner, pipeline)));
	ls_owner_end(&section);
}

static void
require_stage(const char *pipeline, const char *stage)
{
	Args		args = {0};

	push_text(&args, pipeline);
	push_text(&args, stage);
	if (execute("SELECT 1 FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0 AND stage = $2", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" has no stage \"%s\"", pipeline, stage),
				 errhint("Add it with leadscore.add_stage().")));
}

static void
create(const char *pipeline, Datum note, bool note_null, FunctionCallInfo fcinfo, int roles)
{
	Args		args = {0};

	push_text(&args, pipeline);
	push(&args, OIDOID, ObjectIdGetDatum(GetUserId()), false);
	push(&args, TEXTOID, note, note_null);
	if (roles > 0)
	{
		check_role(fcinfo, roles);
		check_role(fcinfo, roles + 1);
		push_argument(&args, NAMEOID, fcinfo, roles);
		push_argument(&args, NAMEOID, fcinfo, roles + 1);
	}
	else
	{
		push(&args, NAMEOID, (Datum) 0, true);
		push(&args, NAMEOID, (Datum) 0, true);
	}
	if (execute("INSERT INTO leadscore.pipeline (pipeline, owner, note, override_role, import_role)"
				" VALUES ($1, pg_get_userbyid($2), $3, $4, $5) ON CONFLICT DO NOTHING", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already exists", pipeline)));
	args.n = 1;
	execute("INSERT INTO leadscore.pipeline_version (pipeline, version) VALUES ($1, 0)", &args);
}

Datum
leadscore_create_pipeline(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");

	create(pipeline, PG_GETARG_DATUM(1), PG_ARGISNULL(1), fcinfo, 2);
	PG_RETURN_VOID();
}

/* rows of one version of a pipeline, copied into another; both exist */
static void
copy_version(const char *from, int from_version, const char *to, int to_version)
{
	Args		args = {0};

	push_text(&args, from);
	push(&args, INT4OID, Int32GetDatum(from_version), false);
	push_text(&args, to);
	push(&args, INT4OID, Int32GetDatum(to_version), false);
	execute("INSERT INTO leadscore.pipeline_stage (pipeline, version, stage, ordinal, kind, entry, service_level)"
			" SELECT $3, $4, stage, ordinal, kind, entry, service_level FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = $2", &args);
	execute("INSERT INTO leadscore.pipeline_field (pipeline, version, field, columns, optional)"
			" SELECT $3, $4, field, columns, optional FROM leadscore.pipeline_field WHERE pipeline = $1 AND version = $2", &args);
	execute("INSERT INTO leadscore.pipeline_transition (pipeline, version, from_stage, to_stage, min_score, model, role, reason_required, fields)"
			" SELECT $3, $4, from_stage, to_stage, min_score, model, role, reason_required, fields FROM leadscore.pipeline_transition WHERE pipeline = $1 AND version = $2", &args);
	execute("INSERT INTO leadscore.pipeline_guard (pipeline, version, from_stage, to_stage, label, ordinal, condition)"
			" SELECT $3, $4, from_stage, to_stage, label, ordinal, condition FROM leadscore.pipeline_guard WHERE pipeline = $1 AND version = $2", &args);
}

static void
empty_draft(const char *pipeline)
{
	Args		args = {0};

	push_text(&args, pipeline);
	execute("DELETE FROM leadscore.pipeline_guard WHERE pipeline = $1 AND version = 0", &args);
	execute("DELETE FROM leadscore.pipeline_transition WHERE pipeline = $1 AND version = 0", &args);
	execute("DELETE FROM leadscore.pipeline_field WHERE pipeline = $1 AND version = 0", &args);
	execute("DELETE FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0", &args);
}

/* a number from the catalog; missing: none */
static int
catalog_number(const char *sql, Args *args, int missing)
{
	LsOwnerSection section;
	int			result = missing;

	ls_owner_begin(&section);
	if (SPI_execute_with_args(sql, args->n, args->types, args->values, args->nulls, false, 0) == SPI_OK_SELECT &&
		SPI_processed > 0)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
			result = DatumGetInt32(value);
	}
	ls_owner_end(&section);
	return result;
}

Datum
leadscore_copy_pipeline(PG_FUNCTION_ARGS)
{
	char	   *from = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *to = name_argument(fcinfo, 1, "name of the copy");
	Args		args = {0};
	int			version;

	push_text(&args, from);
	version = catalog_number("SELECT coalesce(live_version, 0) FROM leadscore.pipeline WHERE pipeline = $1", &args, -1);
	if (version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no pipeline \"%s\"", from)));
	create(to, CStringGetTextDatum(psprintf("Copy of %s version %d.", from, version)), false, fcinfo, 0);
	copy_version(from, version, to, 0);
	PG_RETURN_VOID();
}

Datum
leadscore_drop_pipeline(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	Args		args = {0};

	lock_draft(pipeline);
	push_text(&args, pipeline);
	if (execute("SELECT 1 FROM leadscore.enforced WHERE pipeline = $1", &args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("tables are under pipeline \"%s\"", pipeline),
				 errhint("Take them out with leadscore.unenforce(); leadscore.enforced lists them.")));
	execute("DELETE FROM leadscore.pipeline_guard WHERE pipeline = $1", &args);
	execute("DELETE FROM leadscore.pipeline_transition WHERE pipeline = $1", &args);
	execute("DELETE FROM leadscore.pipeline_field WHERE pipeline = $1", &args);
	execute("DELETE FROM leadscore.pipeline_stage WHERE pipeline = $1", &args);
	execute("DELETE FROM leadscore.pipeline_version WHERE pipeline = $1", &args);
	execute("DELETE FROM leadscore.pipeline WHERE pipeline = $1", &args);
	PG_RETURN_VOID();
}

Datum
leadscore_set_pipeline_roles(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	Args		args = {0};

	lock_draft(pipeline);
	check_role(fcinfo, 1);
	check_role(fcinfo, 2);
	push_text(&args, pipeline);
	push_argument(&args, NAMEOID, fcinfo, 1);
	push_argument(&args, NAMEOID, fcinfo, 2);
	execute("UPDATE leadscore.pipeline SET override_role = $2, import_role = $3 WHERE pipeline = $1", &args);
	PG_RETURN_VOID();
}

Datum
leadscore_add_stage(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *stage = name_argument(fcinfo, 1, "name of the stage");
	char	   *kind = text_argument(fcinfo, 2, "kind of the stage");
	Args		args = {0};

	if (strcmp(kind, "open") != 0 && strcmp(kind, "won") != 0 && strcmp(kind, "lost") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stage is open, won or lost, not \"%s\"", kind)));
	if (!PG_ARGISNULL(4))
	{
		Interval   *span = PG_GETARG_INTERVAL_P(4);

		if (span->time <= 0 && span->day <= 0 && span->month <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the service level of a stage must be more than no time")));
	}
	lock_draft(pipeline);
	push_text(&args, pipeline);
	push_text(&args, stage);
	push_text(&args, kind);
	push_argument(&args, BOOLOID, fcinfo, 3);
	push_argument(&args, INTERVALOID, fcinfo, 4);
	/* the first stage is where leads start, unless it is said otherwise */
	if (execute("INSERT INTO leadscore.pipeline_stage (pipeline, version, stage, ordinal, kind, entry, service_level)"
				" SELECT $1, 0, $2, coalesce(max(ordinal), 0) + 1, $3, coalesce($4, max(ordinal) IS NULL), $5"
				" FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0"
				" ON CONFLICT DO NOTHING", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already has a stage \"%s\"", pipeline, stage)));
	PG_RETURN_VOID();
}

Datum
leadscore_drop_stage(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *stage = name_argument(fcinfo, 1, "name of the stage");
	Args		args = {0};

	lock_draft(pipeline);
	require_stage(pipeline, stage);
	push_text(&args, pipeline);
	push_text(&args, stage);
	execute("DELETE FROM leadscore.pipeline_guard WHERE pipeline = $1 AND version = 0 AND $2 IN (from_stage, to_stage)", &args);
	execute("DELETE FROM leadscore.pipeline_transition WHERE pipeline = $1 AND version = 0 AND $2 IN (from_stage, to_stage)", &args);
	execute("DELETE FROM leadscore.pipeline_stage WHERE pipeline = $1 AND version = 0 AND stage = $2", &args);
	PG_RETURN_VOID();
}

Datum
leadscore_add_field(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *field = name_argument(fcinfo, 1, "name of the field");
	Args		args = {0};

	lock_draft(pipeline);
	push_text(&args, pipeline);
	push_text(&args, field);
	push(&args, NAMEARRAYOID, PG_GETARG_DATUM(2), PG_ARGISNULL(2));
	push(&args, BOOLOID, BoolGetDatum(!PG_ARGISNULL(3) && PG_GETARG_BOOL(3)), false);
	execute("INSERT INTO leadscore.pipeline_field (pipeline, version, field, columns, optional)"
			" VALUES ($1, 0, $2, coalesce($3, ARRAY[$2::name]), $4)"
			" ON CONFLICT (pipeline, version, field) DO UPDATE SET columns = excluded.columns, optional = excluded.optional", &args);
	PG_RETURN_VOID();
}

/* syntax now; against the tables under the pipeline too, if there are any */
static void
add_guard(const char *pipeline, const char *from, const char *to, const char *condition, const char *label)
{
	Args		args = {0};
	LsGuardScope scope = {0};
	char	   *what = psprintf("guard of the transition from %s to %s in pipeline \"%s\"", from, to, pipeline);

	(void) ls_guard_parse(condition, &scope, what);
	push_text(&args, pipeline);
	push_text(&args, from);
	push_text(&args, to);
	push_text(&args, label);
	push_text(&args, condition);
	if (execute("INSERT INTO leadscore.pipeline_guard (pipeline, version, from_stage, to_stage, label, ordinal, condition)"
				" SELECT $1, 0, $2, $3, $4, coalesce(max(ordinal), 0) + 1, $5 FROM leadscore.pipeline_guard"
				" WHERE pipeline = $1 AND version = 0 AND from_stage = $2 AND to_stage = $3"
				" ON CONFLICT DO NOTHING", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the transition from %s to %s already has a guard \"%s\"", from, to, label)));
	ls_check_guard_on_tables(pipeline, condition, what);
}

Datum
leadscore_add_transition(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *from = name_argument(fcinfo, 1, "stage it starts from");
	char	   *to = name_argument(fcinfo, 2, "stage it leads to");
	Args		args = {0};

	if (strcmp(from, to) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a transition leads to another stage"),
				 errdetail("Staying in %s is always allowed, and is no move.", from)));
	if (!PG_ARGISNULL(5) && !isfinite(PG_GETARG_FLOAT8(5)))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the minimum score must be a finite number")));
	if (!PG_ARGISNULL(9) && array_contains_nulls(PG_GETARG_ARRAYTYPE_P(9)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the fields that must be filled must not be null")));
	lock_draft(pipeline);
	require_stage(pipeline, from);
	require_stage(pipeline, to);
	check_role(fcinfo, 7);

	push_text(&args, pipeline);
	push_text(&args, from);
	push_text(&args, to);
	push_argument(&args, FLOAT8OID, fcinfo, 5);
	push_argument(&args, TEXTOID, fcinfo, 6);
	push_argument(&args, NAMEOID, fcinfo, 7);
	push(&args, BOOLOID, BoolGetDatum(!PG_ARGISNULL(8) && PG_GETARG_BOOL(8)), false);
	push_argument(&args, TEXTARRAYOID, fcinfo, 9);
	if (execute("INSERT INTO leadscore.pipeline_transition (pipeline, version, from_stage, to_stage, min_score, model, role, reason_required, fields)"
				" VALUES ($1, 0, $2, $3, $4, $5, $6, $7, coalesce($8, '{}')) ON CONFLICT DO NOTHING", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("pipeline \"%s\" already has a transition from %s to %s", pipeline, from, to),
				 errhint("leadscore.add_guard() adds conditions to it, leadscore.drop_transition() drops it.")));
	/* a field that is not described is the column of that name */
	execute("INSERT INTO leadscore.pipeline_field (pipeline, version, field, columns, optional)"
			" SELECT DISTINCT $1, 0, f, ARRAY[f::name], false FROM unnest($8) f ON CONFLICT DO NOTHING", &args);
	if (!PG_ARGISNULL(3))
	{
		char	   *condition = text_to_cstring(PG_GETARG_TEXT_PP(3));

		add_guard(pipeline, from, to, condition,
				  PG_ARGISNULL(4) ? condition : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	}
	PG_RETURN_VOID();
}

static void
require_transition(const char *pipeline, const char *from, const char *to)
{
	Args		args = {0};

	push_text(&args, pipeline);
	push_text(&args, from);
	push_text(&args, to);
	if (execute("SELECT 1 FROM leadscore.pipeline_transition WHERE pipeline = $1 AND version = 0 AND from_stage = $2 AND to_stage = $3", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" has no transition from %s to %s", pipeline, from, to),
				 errhint("Add it with leadscore.add_transition().")));
}

Datum
leadscore_add_guard(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *from = name_argument(fcinfo, 1, "stage it starts from");
	char	   *to = name_argument(fcinfo, 2, "stage it leads to");
	char	   *condition = text_argument(fcinfo, 3, "guard");

	lock_draft(pipeline);
	require_transition(pipeline, from, to);
	add_guard(pipeline, from, to, condition,
			  PG_ARGISNULL(4) ? condition : text_to_cstring(PG_GETARG_TEXT_PP(4)));
	PG_RETURN_VOID();
}

Datum
leadscore_drop_transition(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *from = name_argument(fcinfo, 1, "stage it starts from");
	char	   *to = name_argument(fcinfo, 2, "stage it leads to");
	Args		args = {0};

	lock_draft(pipeline);
	require_transition(pipeline, from, to);
	push_text(&args, pipeline);
	push_text(&args, from);
	push_text(&args, to);
	execute("DELETE FROM leadscore.pipeline_guard WHERE pipeline = $1 AND version = 0 AND from_stage = $2 AND to_stage = $3", &args);
	execute("DELETE FROM leadscore.pipeline_transition WHERE pipeline = $1 AND version = 0 AND from_stage = $2 AND to_stage = $3", &args);
	PG_RETURN_VOID();
}

Datum
leadscore_drop_guard(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	char	   *from = name_argument(fcinfo, 1, "stage the transition starts from");
	char	   *to = name_argument(fcinfo, 2, "stage the transition leads to");
	char	   *label = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	Args		args = {0};

	if (label == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("label of the guard must not be null")));
	lock_draft(pipeline);
	require_transition(pipeline, from, to);
	push_text(&args, pipeline);
	push_text(&args, from);
	push_text(&args, to);
	push_text(&args, label);
	if (execute("DELETE FROM leadscore.pipeline_guard WHERE pipeline = $1 AND version = 0 AND from_stage = $2 AND to_stage = $3 AND label = $4", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the transition from %s to %s has no guard \"%s\"", from, to, label),
				 errhint("SELECT label, condition FROM leadscore.pipeline_guard WHERE pipeline = %s AND version = 0 shows those there are.",
						 quote_literal_cstr(pipeline))));
	PG_RETURN_VOID();
}

/* freeze the draft as the next version and make it live */
static int
publish(const char *pipeline, Datum note, bool note_null)
{
	Args		args = {0};
	int			version;

	ls_refuse_findings(pipeline);
	push_text(&args, pipeline);
	version = catalog_number("SELECT max(version) + 1 FROM leadscore.pipeline_version WHERE pipeline = $1", &args, 1);
	push(&args, INT4OID, Int32GetDatum(version), false);
	push(&args, TEXTOID, note, note_null);
	push(&args, OIDOID, ObjectIdGetDatum(GetUserId()), false);
	execute("INSERT INTO leadscore.pipeline_version (pipeline, version, published_at, published_by, note)"
			" VALUES ($1, $2, now(), pg_get_userbyid($4), $3)", &args);
	copy_version(pipeline, 0, pipeline, version);
	args.n = 2;
	execute("UPDATE leadscore.pipeline SET live_version = $2 WHERE pipeline = $1", &args);
	ls_compile_all(pipeline);
	return version;
}

Datum
leadscore_publish_pipeline(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");

	lock_draft(pipeline);
	PG_RETURN_INT32(publish(pipeline, PG_GETARG_DATUM(1), PG_ARGISNULL(1)));
}

Datum
leadscore_revert_pipeline(PG_FUNCTION_ARGS)
{
	char	   *pipeline = name_argument(fcinfo, 0, "name of the pipeline");
	int			version;
	Args		args = {0};

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the version must not be null")));
	version = PG_GETARG_INT32(1);
	lock_draft(pipeline);
	push_text(&args, pipeline);
	push(&args, INT4OID, Int32GetDatum(version), false);
	if (version < 1 || execute("SELECT 1 FROM leadscore.pipeline_version WHERE pipeline = $1 AND version = $2", &args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" has no version %d", pipeline, version)));
	empty_draft(pipeline);
	copy_version(pipeline, version, pipeline, 0);
	PG_RETURN_INT32(publish(pipeline, CStringGetTextDatum(psprintf("back to version %d", version)), false));
}

/*
 * The draft from what export_pipeline() gave; the pipeline is created if there
 * is none of the name.
 */
/* everything that is wrong with a document, at once; an unknown key may be a rule that somebody misspelt */
static void
check_document(Datum document)
{
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	Oid			type = JSONBOID;
	char	   *faults;

	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("SELECT string_agg(f, '; ') FROM leadscore.pipeline_document_faults($1) f",
										1, &type, &document, NULL, true, 0), SPI_OK_SELECT);
	faults = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (faults != NULL)
		faults = MemoryContextStrdup(caller, faults);
	ls_owner_end(&section);
	if (faults != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the document is not what export_pipeline() makes"),
				 errdetail("Found: %s.", faults)));
}

Datum
leadscore_import_pipeline(PG_FUNCTION_ARGS)
{
	Args		args = {0};
	char	   *pipeline;
	Datum		document;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the document must not be null")));
	document = PG_GETARG_DATUM(0);
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(document)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the document is not what export_pipeline() makes: it must be a JSON object")));
	check_document(document);
	if (!PG_ARGISNULL(1))
		pipeline = name_argument(fcinfo, 1, "name of the pipeline");
	else
	{
		LsOwnerSection section;
		Oid			type = JSONBOID;
		MemoryContext caller = CurrentMemoryContext;
		char	   *name;

		ls_owner_begin(&section);
		ls_spi_expect(SPI_execute_with_args("SELECT $1 ->> 'pipeline'", 1, &type, &document, NULL, true, 0), SPI_OK_SELECT);
		name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		pipeline = name ? MemoryContextStrdup(caller, name) : NULL;
		ls_owner_end(&section);
		if (pipeline == NULL || strlen(pipeline) == 0 || strlen(pipeline) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the document names no pipeline"),
					 errhint("Give the name as the second argument.")));
	}

	push_text(&args, pipeline);
	if (execute("SELECT 1 FROM leadscore.pipeline WHERE pipeline = $1", &args) == 0)
		create(pipeline, (Datum) 0, true, fcinfo, 0);
	lock_draft(pipeline);
	empty_draft(pipeline);

	push(&args, JSONBOID, document, false);
	execute("INSERT INTO leadscore.pipeline_stage (pipeline, version, stage, ordinal, kind, entry, service_level)"
			" SELECT $1, 0, s.value ->> 'stage', s.n, coalesce(s.value ->> 'kind', 'open'), coalesce((s.value ->> 'entry')::bool, false),"
			" (s.value ->> 'service_level')::interval"
			" FROM jsonb_array_elements($2 -> 'stages') WITH ORDINALITY s(value, n)", &args);
	execute("INSERT INTO leadscore.pipeline_field (pipeline, version, field, columns, optional)"
			" SELECT $1, 0, f.value ->> 'field', ARRAY(SELECT c::name FROM jsonb_array_elements_text(f.value -> 'columns') c), coalesce((f.value ->> 'optional')::bool, false)"
			" FROM jsonb_array_elements($2 -> 'fields') f", &args);
	execute("INSERT INTO leadscore.pipeline_transition (pipeline, version, from_stage, to_stage, min_score, model, role, reason_required, fields)"
			" SELECT $1, 0, t.value ->> 'from', t.value ->> 'to', (t.value ->> 'min_score')::float8, t.value ->> 'model', (t.value ->> 'role')::name,"
			" coalesce((t.value ->> 'reason_required')::bool, false), ARRAY(SELECT f FROM jsonb_array_elements_text(t.value -> 'fields') f)"
			" FROM jsonb_array_elements($2 -> 'transitions') t", &args);
	execute("INSERT INTO leadscore.pipeline_guard (pipeline, version, from_stage, to_stage, label, ordinal, condition)"
			" SELECT $1, 0, t.value ->> 'from', t.value ->> 'to', g.value ->> 'label', g.n, g.value ->> 'condition'"
			" FROM jsonb_array_elements($2 -> 'transitions') t, jsonb_array_elements(t.value -> 'guards') WITH ORDINALITY g(value, n)", &args);
	args.n = 1;
	if (execute("SELECT 1 FROM leadscore.pipeline_transition t CROSS JOIN LATERAL (VALUES (t.from_stage), (t.to_stage)) e(stage)"
				" WHERE t.pipeline = $1 AND t.version = 0 AND NOT EXISTS"
				" (SELECT FROM leadscore.pipeline_stage s WHERE s.pipeline = $1 AND s.version = 0 AND s.stage = e.stage)", &args) > 0 ||
		execute("SELECT 1 FROM leadscore.pipeline_transition t CROSS JOIN LATERAL unnest(t.fields) f(field)"
				" WHERE t.pipeline = $1 AND t.version = 0 AND NOT EXISTS"
				" (SELECT FROM leadscore.pipeline_field d WHERE d.pipeline = $1 AND d.version = 0 AND d.field = f.field)", &args) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a transition of the document refers to a stage or a field that the document does not have")));
	return CStringGetTextDatum(pipeline);
}
