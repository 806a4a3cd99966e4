/*
 * model_keep.c
 *	  Rows of leads as they were: the trigger that writes old values down, and the
 *	  function that puts them back into a row (see model_past.c).
 *
 * A value is kept as the text that its type prints, under the settings that
 * pg_dump has, and read by its type again: what survives a dump survives this.
 * JSON's own forms would not do: of a column of JSON, its null is not the SQL
 * one, and arrays have no lower bounds there.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "model/eval_int.h"
#include "model/model.h"

PG_FUNCTION_INFO_V1(leadscore_keep_past);
PG_FUNCTION_INFO_V1(leadscore_as_it_was);
PG_FUNCTION_INFO_V1(leadscore_value_text);

/* ----------------------------------------------------------------
 *		The trigger
 * ----------------------------------------------------------------
 */

typedef struct KeptColumn
{
	NameData	name;
	AttrNumber	attno;
	FmgrInfo	output;
} KeptColumn;

/*
 * What a trigger keeps of a row, and the statement that writes it. Remembered for
 * the backend, until the table of leads, or what is kept of it, changes.
 */
typedef struct PastWriter
{
	struct PastWriter *next;
	MemoryContext context;
	Oid			trigger;
	Oid			relid;
	bool		valid;
	int			uses;
	SPIPlanPtr	plan;
	char	   *sql;
	int			n;
	KeptColumn *columns;
} PastWriter;

static PastWriter *writers = NULL;

static void
leads_changed(Datum arg, Oid relid)
{
	(void) arg;
	for (PastWriter *writer = writers; writer; writer = writer->next)
		if (!OidIsValid(relid) || writer->relid == relid)
			writer->valid = false;
}

static void
forget_stale_writers(void)
{
	PastWriter **link = &writers;

	while (*link)
	{
		PastWriter *writer = *link;

		if (writer->valid || writer->uses > 0)
		{
			link = &writer->next;
			continue;
		}
		*link = writer->next;
		if (writer->plan)
			SPI_freeplan(writer->plan);
		MemoryContextDelete(writer->context);
	}
}

/* Find the columns that are kept of a model's leads; connected to SPI. */
static void
find_columns(PastWriter *writer, Relation rel, const char *model)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData sql;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model)};

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT k.column_name::text FROM leadscore.model m LEFT JOIN leadscore.kept_column k USING (model)"
					 " WHERE m.model = $1 AND m.leads::oid IN (%u", RelationGetRelid(rel));
	if (rel->rd_rel->relispartition)
	{
		ListCell   *cell;

		foreach(cell, get_partition_ancestors(RelationGetRelid(rel)))
			appendStringInfo(&sql, ", %u", lfirst_oid(cell));
	}
	appendStringInfoString(&sql, ") ORDER BY 1");
	ls_catalog_execute(sql.data, 1, types, values, NULL);
	/* anybody may make a trigger that calls us, with any arguments */
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("leadscore.keep_past: \"%s\" is not the table of leads of model \"%s\"",
						RelationGetRelationName(rel), model),
				 errhint("The trigger is made by leadscore.publish(); drop this one.")));
	writer->columns = MemoryContextAlloc(writer->context, SPI_processed * sizeof(KeptColumn));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		AttrNumber	attno = name ? SPI_fnumber(desc, name) : InvalidAttrNumber;
		KeptColumn *column = &writer->columns[writer->n];
		Oid			output;
		bool		varlena;

		if (attno <= 0)
			continue;
		namestrcpy(&column->name, name);
		column->attno = attno;
		getTypeOutputInfo(TupleDescAttr(desc, attno - 1)->atttypid, &output, &varlena);
		fmgr_info_cxt(output, &column->output, writer->context);
		writer->n++;
	}
}

static PastWriter *
get_writer(Relation rel, const Trigger *trigger)
{
	static bool registered = false;
	MemoryContext context;
	PastWriter *writer;

	for (writer = writers; writer; writer = writer->next)
		if (writer->valid && writer->trigger == trigger->tgoid && writer->relid == RelationGetRelid(rel))
			return writer;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(leads_changed, (Datum) 0);
		registered = true;
	}
	forget_stale_writers();

	context = AllocSetContextCreate(CurrentMemoryContext, "leadscore old values", ALLOCSET_SMALL_SIZES);
	writer = MemoryContextAllocZero(context, sizeof(PastWriter));
	writer->context = context;
	writer->trigger = trigger->tgoid;
	writer->relid = RelationGetRelid(rel);
	SPI_connect();
	find_columns(writer, rel, trigger->tgargs[0]);
	SPI_finish();
	writer->sql = MemoryContextStrdup(context, psprintf("INSERT INTO %s (lead, until, old) VALUES ($1, now(), $2)",
														ls_relation_name(ls_past_relid(trigger->tgargs[0]))));
	MemoryContextSetParent(context, TopMemoryContext);
	writer->valid = true;
	writer->next = writers;
	writers = writer;
	return writer;
}

static JsonbParseState *
push_text(JsonbParseState *state, JsonbIteratorToken token, char *text)
{
	JsonbValue	value = {.type = text ? jbvString : jbvNull};

	if (text)
	{
		value.val.string.val = text;
		value.val.string.len = strlen(text);
	}
	(void) pushJsonbValue(&state, token, &value);
	return state;
}

/* What the columns of a row hold, as a JSON object of texts. */
static Jsonb *
columns_as_text(PastWriter *writer, HeapTuple tuple, TupleDesc desc)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < writer->n; i++)
	{
		KeptColumn *column = &writer->columns[i];
		bool		isnull;
		Datum		value = heap_getattr(tuple, column->attno, desc, &isnull);

		state = push_text(state, WJB_KEY, NameStr(column->name));
		state = push_text(state, WJB_VALUE, isnull ? NULL : OutputFunctionCall(&column->output, value));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Write down what the columns held until now. */
static void
write_past(PastWriter *writer, Relation rel, HeapTuple tuple, AttrNumber key)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Oid			types[2] = {TupleDescAttr(desc, key - 1)->atttypid, JSONBOID};
	Datum		values[2];
	bool		isnull;
	int			path = ls_portable_path();
	LsSettings	settings;

	ls_settings_enter(&settings);
	PG_TRY();
	{
		values[1] = JsonbPGetDatum(columns_as_text(writer, tuple, desc));
	}
	PG_FINALLY();
	{
		ls_settings_leave(&settings);
	}
	PG_END_TRY();
	if (path)
		AtEOXact_GUC(true, path);
	values[0] = heap_getattr(tuple, key, desc, &isnull);
	SPI_connect();
	ls_catalog_execute_kept(&writer->plan, writer->sql, 2, types, values, NULL);
	SPI_finish();
}

/* Did the update change a column that is kept? */
static bool
changes_kept(const PastWriter *writer, const TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);

	for (int i = 0; i < writer->n; i++)
	{
		AttrNumber	attno = writer->columns[i].attno;
		Form_pg_attribute column = TupleDescAttr(desc, attno - 1);
		bool		old_null;
		bool		new_null;
		Datum		old_value = heap_getattr(data->tg_trigtuple, attno, desc, &old_null);
		Datum		new_value = heap_getattr(data->tg_newtuple, attno, desc, &new_null);

		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old_value, new_value, column->attbyval, column->attlen)))
			return true;
	}
	return false;
}

/* A function of its own, so that no variable lives across the setjmp of PG_TRY. */
static pg_noinline void
keep_row(PastWriter *writer, const TriggerData *data, AttrNumber key)
{
	writer->uses++;
	PG_TRY();
	{
		if (changes_kept(writer, data))
			write_past(writer, data->tg_relation, data->tg_trigtuple, key);
	}
	PG_FINALLY();
	{
		writer->uses--;
	}
	PG_END_TRY();
}

/*
 * keep_past('model', 'key'): AFTER UPDATE FOR EACH ROW. Where the key is not what
 * it was when scores were stored last, nothing is kept, which ls_past_check_key
 * has noted.
 */
Datum
leadscore_keep_past(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	const Trigger *trigger;
	TupleDesc	desc;
	PastWriter *writer;
	AttrNumber	key;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.keep_past must be called as a trigger")));
	trigger = data->tg_trigger;
	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(data->tg_event) || trigger->tgnargs != 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.keep_past must be fired AFTER UPDATE FOR EACH ROW, with model and key as arguments")));

	desc = RelationGetDescr(data->tg_relation);
	key = SPI_fnumber(desc, trigger->tgargs[1]);
	if (key <= 0 || !ls_past_takes_key(trigger->tgargs[0], TupleDescAttr(desc, key - 1)->atttypid))
		PG_RETURN_POINTER(NULL);
	writer = get_writer(data->tg_relation, trigger);
	keep_row(writer, data, key);
	PG_RETURN_POINTER(NULL);
}

/* ----------------------------------------------------------------
 *		Reading
 * ----------------------------------------------------------------
 */

/* How the columns of a row type are read; kept for the calls of one query. */
typedef struct RowReader
{
	Oid			type;
	int32		typmod;
	uint64		identifier;		/* of the row type as it is now */
	FmgrInfo   *inputs;			/* by column; fn_oid InvalidOid: not looked up yet */
	Oid		   *ioparams;
} RowReader;

static RowReader *
get_reader(FmgrInfo *flinfo, HeapTupleHeader row, TupleDesc desc)
{
	RowReader  *reader = flinfo->fn_extra;
	Oid			type = HeapTupleHeaderGetTypeId(row);
	int32		typmod = HeapTupleHeaderGetTypMod(row);
	uint64		identifier = assign_record_type_identifier(type, typmod);

	if (reader && reader->identifier == identifier)
		return reader;
	reader = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(RowReader));
	reader->identifier = identifier;
	reader->inputs = MemoryContextAllocZero(flinfo->fn_mcxt, Max(desc->natts, 1) * sizeof(FmgrInfo));
	reader->ioparams = MemoryContextAllocZero(flinfo->fn_mcxt, Max(desc->natts, 1) * sizeof(Oid));
	flinfo->fn_extra = reader;
	return reader;
}

static void
reading_error_callback(void *arg)
{
	errcontext("old value of column \"%s\"", (const char *) arg);
}

/*
 * A column's value from its text. Domains are read as what they are over: a value
 * was good when it was current, whatever their constraints say by now.
 */
static Datum
read_column(RowReader *reader, FmgrInfo *flinfo, int i, Form_pg_attribute column, char *text)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = reading_error_callback,
		.arg = NameStr(column->attname)
	};
	Datum		result;

	error_context_stack = &callback;
	if (!OidIsValid(reader->inputs[i].fn_oid))
	{
		Oid			input;

		getTypeInputInfo(getBaseType(column->atttypid), &input, &reader->ioparams[i]);
		fmgr_info_cxt(input, &reader->inputs[i], flinfo->fn_mcxt);
	}
	result = InputFunctionCall(&reader->inputs[i], text, reader->ioparams[i], -1);
	error_context_stack = callback.previous;
	return result;
}

/*
 * as_it_was(row, old): the row with the columns of old, a JSON object of texts, in
 * the place of its own; called in queries that were made under portable settings.
 */
Datum
leadscore_as_it_was(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row;
	HeapTupleData tuple;
	TupleDesc	desc;
	RowReader  *reader;
	Jsonb	   *old;
	Datum	   *values;
	bool	   *nulls;
	bool		changed = false;

	if (!type_is_rowtype(get_fn_expr_argtype(fcinfo->flinfo, 0)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("leadscore.as_it_was needs a row")));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (PG_ARGISNULL(1))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	old = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(old))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("old values must be a JSON object")));
	if (JB_ROOT_COUNT(old) == 0)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));

	row = PG_GETARG_HEAPTUPLEHEADER(0);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	reader = get_reader(fcinfo->flinfo, row, desc);
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	values = palloc_array(Datum, Max(desc->natts, 1));
	nulls = palloc_array(bool, Max(desc->natts, 1));
	heap_deform_tuple(&tuple, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		JsonbValue	value;

		if (column->attisdropped ||
			!getKeyJsonValueFromContainer(&old->root, NameStr(column->attname), strlen(NameStr(column->attname)), &value))
			continue;
		if (value.type != jbvNull && value.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("old values must be texts")));
		changed = true;
		nulls[i] = value.type == jbvNull;
		values[i] = nulls[i] ? (Datum) 0 :
			read_column(reader, fcinfo->flinfo, i, column, pnstrdup(value.val.string.val, value.val.string.len));
	}
	if (!changed)
	{
		ReleaseTupleDesc(desc);
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	row = DatumGetHeapTupleHeader(heap_copy_tuple_as_datum(heap_form_tuple(desc, values, nulls), desc));
	ReleaseTupleDesc(desc);
	PG_RETURN_HEAPTUPLEHEADER(row);
}

/* value_text(value): what its type prints; unlike a cast, which may change it (char(n)). */
Datum
leadscore_value_text(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	Oid			output;
	bool		varlena;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	getTypeOutputInfo(type, &output, &varlena);
	PG_RETURN_TEXT_P(cstring_to_text(OidOutputFunctionCall(output, PG_GETARG_DATUM(0))));
}
