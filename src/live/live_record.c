/*
 * live_record.c
 *	  leadscore.record(): an event from a feed that may repeat itself, inserted
 *	  into the user's own table once.
 */
#include "leadscore.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "live/live.h"

PG_FUNCTION_INFO_V1(leadscore_record);

/*
 * Take the event's id; false if it was taken before. A transaction that is
 * taking the same id is waited for: if it fails, we are first after all.
 */
static bool
take_id(const char *model, Datum event_id)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(model), event_id};

	ls_catalog_execute("INSERT INTO leadscore.recorded (model, event_id) VALUES ($1, $2)"
					   " ON CONFLICT (model, event_id) DO NOTHING", 2, types, values, NULL);
	return SPI_processed > 0;
}

/* With the caller's settings: the table's own triggers may depend on them. */
static void
insert_event(const char *sql, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int result = 0;

	PG_TRY();
	{
		result = SPI_execute_with_args(sql, 4, types, values, nulls, false, 0);
	}
	PG_CATCH();
	{
		ls_rethrow_without(sql, context);
	}
	PG_END_TRY();
	ls_spi_expect(result, SPI_OK_INSERT);
}

/*
 * record(model, lead, kind, at, event_id, fields): true if the event was new.
 * The row is inserted with the rights of the caller.
 */
Datum
leadscore_record(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	LsModel    *model = ls_model_load(name, LS_DRAFT);
	Oid			types[4] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, JSONBOID};
	Datum		values[4];
	char		nulls[] = "    ";
	StringInfoData columns;
	StringInfoData sources;
	StringInfoData fields;
	char	   *table;
	bool		kind = !PG_ARGISNULL(2);
	int			level;

	if (!OidIsValid(model->events))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no table of events", name)));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the lead of an event must not be null")));
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the instant of an event must not be null")));
	if (kind && get_attnum(model->events, "kind") == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"kind\"", get_rel_name(model->events)),
				 errhint("Leave kind null, and give the columns of the event in fields.")));

	if (!PG_ARGISNULL(5) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(5)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must be a jsonb object"),
				 errdetail("It holds the columns of the event by their names.")));

	SPI_connect();
	if (!PG_ARGISNULL(4) && !take_id(name, PG_GETARG_DATUM(4)))
	{
		SPI_finish();
		PG_RETURN_BOOL(false);
	}

	/* the columns named, the rest by their defaults */
	initStringInfo(&columns);
	initStringInfo(&sources);
	initStringInfo(&fields);
	table = ls_relation_name(model->events);
	appendStringInfo(&columns, "%s, %s", quote_identifier(model->event_lead), quote_identifier(model->event_at));
	appendStringInfo(&sources, "$1::%s, $3", ls_type_name(model->event_lead_type));
	if (kind)
	{
		appendStringInfoString(&columns, ", kind");
		appendStringInfo(&sources, ", $2::%s",
						 ls_type_name(get_atttype(model->events, get_attnum(model->events, "kind"))));
	}
	values[0] = PG_GETARG_DATUM(1);
	values[1] = kind ? PG_GETARG_DATUM(2) : (Datum) 0;
	nulls[1] = kind ? ' ' : 'n';
	values[2] = PG_GETARG_DATUM(3);
	values[3] = PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5);
	nulls[3] = PG_ARGISNULL(5) ? 'n' : ' ';
	if (!PG_ARGISNULL(5))
	{
		SPITupleTable *keys;
		uint64		n;

		level = ls_portable_settings();
		ls_spi_expect(SPI_execute_with_args("SELECT k FROM pg_catalog.jsonb_object_keys($1) k ORDER BY k", 1, types + 3, values + 3,
											NULL, true, 0), SPI_OK_SELECT);
		AtEOXact_GUC(true, level);
		keys = SPI_tuptable;
		n = SPI_processed;
		for (uint64 i = 0; i < n; i++)
		{
			char	   *column = SPI_getvalue(keys->vals[i], keys->tupdesc, 1);

			if (get_attnum(model->events, column) <= 0)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_COLUMN),
						 errmsg("table \"%s\" has no column \"%s\"", get_rel_name(model->events), column)));
			if (strcmp(column, model->event_lead) == 0 || strcmp(column, model->event_at) == 0 ||
				(kind && strcmp(column, "kind") == 0))
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" is given twice", column),
						 errdetail("fields must not hold the lead, the instant or the kind.")));
			appendStringInfo(&columns, ", %s", quote_identifier(column));
			appendStringInfo(&sources, ", f.%s", quote_identifier(column));
			appendStringInfo(&fields, "%s%s %s", i == 0 ? "" : ", ", quote_identifier(column),
							 ls_type_name(get_atttype(model->events, get_attnum(model->events, column))));
		}
	}
	if (fields.len > 0)
		appendStringInfo(&sources, " FROM pg_catalog.jsonb_to_record($4) f(%s)", fields.data);
	insert_event(psprintf("INSERT INTO %s (%s) SELECT %s", table, columns.data, sources.data), types, values, nulls);
	SPI_finish();
	PG_RETURN_BOOL(true);
}
