/*
 * model_past.c
 *	  Old values of the lead columns that rules use, kept from the first
 *	  publishing on, so that a score as of an instant knows nothing later (L5).
 *
 * Each model with rules about leads has a table leadscore.past_<model>: what a
 * lead's columns held until an instant, a row for each time one of them changed.
 * A trigger on the leads writes it; its arguments are the model, the lead key
 * and the columns, so that it needs no catalog access and survives a dump.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "model/model.h"

PG_FUNCTION_INFO_V1(leadscore_keep_past);

#define PAST_TABLE_PREFIX	"past_"
#define OBJECT_PAIRS		20	/* columns given to one jsonb_build_object */

static char *
past_table(const char *model)
{
	return quote_qualified_identifier(LS_SCHEMA, psprintf(PAST_TABLE_PREFIX "%s", model));
}

static bool
past_table_exists(const LsModel *model)
{
	return OidIsValid(get_relname_relid(psprintf(PAST_TABLE_PREFIX "%s", model->name), ls_schema_oid()));
}

/* The columns that the enabled rules about leads read, as quoted trigger arguments. */
static char *
columns_read(const LsModel *model, Relation leads)
{
	Bitmapset  *attnos = NULL;
	StringInfoData buf;
	TupleDesc	desc = RelationGetDescr(leads);
	bool		whole_row;

	for (int i = 0; i < model->nrules; i++)
	{
		if (!model->rules[i].enabled || model->rules[i].event)
			continue;
		pull_varattnos((Node *) model->rules[i].condition, 1, &attnos);
		pull_varattnos((Node *) model->rules[i].points, 1, &attnos);
	}
	whole_row = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attnos);

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped ||
			!(whole_row || bms_is_member(column->attnum - FirstLowInvalidHeapAttributeNumber, attnos)))
			continue;
		appendStringInfo(&buf, ", %s", quote_literal_cstr(NameStr(column->attname)));
	}
	return buf.data;
}

/* Make the table of old values, unless it is there. */
static void
create_past_table(const LsModel *model, Oid reader)
{
	char	   *table = past_table(model->name);

	ls_catalog_execute(psprintf("CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
								" lead %s NOT NULL, until timestamptz NOT NULL, old jsonb NOT NULL)",
								table, ls_model_key_declaration(model)), 0, NULL, NULL, NULL);
	ls_catalog_execute(psprintf("CREATE INDEX ON %s (lead, until, id)", table), 0, NULL, NULL, NULL);
	ls_catalog_execute(psprintf("GRANT SELECT ON %s TO %s WITH GRANT OPTION", table,
								quote_identifier(GetUserNameFromId(reader, false))), 0, NULL, NULL, NULL);
	ls_catalog_execute(psprintf("COMMENT ON TABLE %s IS %s", table,
								quote_literal_cstr(psprintf("what the columns of leads that model \"%s\" uses held until an instant; written by leadscore only",
															model->name))), 0, NULL, NULL, NULL);
	ls_model_tie_table(get_relname_relid(psprintf(PAST_TABLE_PREFIX "%s", model->name), ls_schema_oid()));
}

/*
 * See to it that old values are kept of what this version, which must have been
 * analysed, reads of the leads. Called when it is about to become live.
 */
void
ls_past_keep(const LsModel *model)
{
	Relation	leads = table_open(model->leads, AccessShareLock);
	Oid			owner = leads->rd_rel->relowner;
	char	   *columns = columns_read(model, leads);
	char	   *name = psprintf(PAST_TABLE_PREFIX "%s", model->name);
	char	   *call = psprintf(LS_SCHEMA ".keep_past(%s, %s%s)", quote_literal_cstr(model->name),
								quote_literal_cstr(model->lead_key), columns);
	Oid			types[3] = {OIDOID, TEXTOID, TEXTOID};
	Datum		values[3] = {ObjectIdGetDatum(model->leads), CStringGetTextDatum(name), CStringGetTextDatum(call)};
	bool		exists;
	bool		current = false;

	table_close(leads, NoLock);
	if (past_table_exists(model))
	{
		ls_model_follow_leads(model, get_relname_relid(name, ls_schema_oid()));
		ls_model_tie_table(get_relname_relid(name, ls_schema_oid()));
	}
	SPI_connect();
	ls_catalog_execute("SELECT pg_get_triggerdef(oid) LIKE '%' || replace(replace(replace($3, '\\', '\\\\'), '%', '\\%'), '_', '\\_')"
					   " FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2",
					   3, types, values, NULL);
	exists = SPI_processed > 0;
	if (exists)
	{
		bool		isnull;

		current = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	if (exists && !current)
		ls_catalog_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(name), ls_relation_name(model->leads)),
						   0, NULL, NULL, NULL);
	if (columns[0] != '\0' && !past_table_exists(model))
		create_past_table(model, owner);
	if (columns[0] != '\0' && !current)	/* else no lock on the leads is needed */
		ls_catalog_execute(psprintf("CREATE TRIGGER %s AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s",
									quote_identifier(name), ls_relation_name(model->leads), call),
						   0, NULL, NULL, NULL);
	SPI_finish();
}

/* Drop table and trigger with the model; connected to SPI. */
void
ls_past_drop(const LsModel *model)
{
	char	   *trigger = psprintf(PAST_TABLE_PREFIX "%s", model->name);

	if (get_rel_name(model->leads) != NULL &&
		OidIsValid(get_trigger_oid(model->leads, trigger, true)))
		ls_catalog_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(trigger),
									ls_relation_name(model->leads)), 0, NULL, NULL, NULL);
	if (past_table_exists(model))
		ls_catalog_execute(psprintf("DROP TABLE %s", past_table(model->name)), 0, NULL, NULL, NULL);
}

/* A column of the leads has another name. */
void
ls_past_rename(const char *model, const char *from, const char *to)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(from), CStringGetTextDatum(to)};

	if (!OidIsValid(get_relname_relid(psprintf(PAST_TABLE_PREFIX "%s", model), ls_schema_oid())))
		return;
	SPI_connect();
	ls_catalog_execute(psprintf("UPDATE %s SET old = (old - $1) || jsonb_build_object($2, old -> $1) WHERE old ? $1",
								past_table(model)), 2, types, values, NULL);
	SPI_finish();
}

/* What columns become, of those that an old value has; expressions NIL: not known. */
static char *
converted_sql(List *columns, List *expressions)
{
	StringInfoData buf;
	ListCell   *column;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "'{}'::jsonb");
	foreach(column, columns)
	{
		const char *name = quote_literal_cstr(lfirst(column));

		appendStringInfo(&buf, " || CASE WHEN p.old ? %s THEN jsonb_build_object(%s, %s) ELSE '{}' END", name, name,
						 expressions ? (char *) list_nth(expressions, foreach_current_index(column)) : "NULL");
	}
	return buf.data;
}

/*
 * Convert some old values, those after *after, by expressions over a row l of the
 * leads as they are before their columns get other types. The expressions are the
 * user's: they are evaluated as the owner of the leads, and what they give is
 * written as ours. False: there are no more.
 */
bool
ls_past_convert(const LsModel *model, List *columns, List *expressions, int64 *after, int limit)
{
	Oid			types[2] = {INT8OID, INT4OID};
	Datum		values[2] = {Int64GetDatum(*after), Int32GetDatum(limit)};
	Oid			written[2] = {INT8ARRAYOID, JSONBARRAYOID};
	Datum		results[3];
	HeapTuple	leads;
	LsUser		caller;
	int			level;
	bool		isnull;

	if (!past_table_exists(model))
		return false;
	leads = SearchSysCache1(RELOID, ObjectIdGetDatum(model->leads));
	if (!HeapTupleIsValid(leads))
		elog(ERROR, "cache lookup failed for relation %u", model->leads);
	SPI_connect();
	GetUserIdAndSecContext(&caller.userid, &caller.sec_context);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(leads))->relowner,
						   caller.sec_context | SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	ReleaseSysCache(leads);
	level = ls_portable_settings();
	ls_spi_expect(SPI_execute_with_args(psprintf("SELECT max(id), array_agg(id), array_agg(new) FROM (SELECT p.id, %s AS new"
												 " FROM (SELECT * FROM %s WHERE id > $1 ORDER BY id LIMIT $2) p%s) s",
												 converted_sql(columns, expressions), past_table(model->name),
												 expressions == NIL ? "" :
												 psprintf(" LEFT JOIN %s%s c ON p.lead %s c.%s"
														  " CROSS JOIN LATERAL jsonb_populate_record(c, p.old) l",
														  get_rel_relkind(model->leads) == RELKIND_RELATION ? "ONLY " : "",
														  ls_relation_name(model->leads), ls_key_equality(model->key_type),
														  quote_identifier(model->lead_key))),
										2, types, values, NULL, false, 0), SPI_OK_SELECT);
	AtEOXact_GUC(true, level);
	ls_become_caller(&caller);
	for (int i = 0; i < 3; i++)
		results[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);
	if (!isnull)
	{
		*after = DatumGetInt64(results[0]);
		ls_catalog_execute(psprintf("UPDATE %s p SET old = p.old || u.new FROM unnest($1, $2) u (id, new) WHERE p.id = u.id",
									past_table(model->name)), 2, written, results + 1, NULL);
	}
	SPI_finish();
	return !isnull;
}

/*
 * Make the queries of this model see leads as they were at an instant. lead is
 * the key as text, or NULL for all leads; *old becomes what the query's last
 * parameter must be, NULL if it has none: the old values of the one lead, which
 * whoever may read the lead may have counted in its score.
 */
void
ls_past_apply(LsModel *model, Datum lead, TimestampTz at, Datum *old)
{
	Oid			types[2] = {TIMESTAMPTZOID, TEXTOID};
	Datum		values[2] = {TimestampTzGetDatum(at), lead};
	MemoryContext context = CurrentMemoryContext;

	*old = (Datum) 0;
	model->past = LS_PAST_NONE;
	if (!past_table_exists(model))
	{
		/* none was needed yet, or it is gone: then an instant before now is not to be answered from today's leads */
		if (at < GetCurrentTransactionStartTimestamp() &&
			OidIsValid(get_trigger_oid(model->leads, psprintf(PAST_TABLE_PREFIX "%s", model->name), true)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("the old values of the leads of model \"%s\" are missing", model->name),
					 errdetail("Table %s does not exist any more.", past_table(model->name)),
					 errhint("leadscore.rescore('%s') makes it anew; what leads held before that stays lost.", model->name)));
		return;
	}
	SPI_connect();
	if (DatumGetPointer(lead) == NULL)
	{
		ls_catalog_execute(psprintf("SELECT 1 FROM %s WHERE until > $1 LIMIT 1", past_table(model->name)),
						   1, types, values, NULL);
		if (SPI_processed > 0)
			model->past = LS_PAST_JOIN;
	}
	else
	{
		ls_catalog_execute(psprintf("SELECT old FROM %s WHERE lead %s $2::%s AND until > $1 ORDER BY until, id LIMIT 1",
									past_table(model->name), ls_key_equality(model->key_type),
									ls_type_name(model->key_type)),
						   2, types, values, NULL);
		if (SPI_processed > 0)
		{
			MemoryContext spi = MemoryContextSwitchTo(context);
			bool		isnull;

			*old = datumCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull), false, -1);
			MemoryContextSwitchTo(spi);
			model->past = LS_PAST_PARAMETER;
		}
	}
	SPI_finish();
}

/*
 * The leads for a FROM clause, their columns in a row called l: as they are, or
 * as they were (see ls_past_apply). at and old are parameters.
 */
char *
ls_leads_from(const LsModel *model, const char *at, const char *old)
{
	/* keys are found in the table alone: tables that inherit from it have keys of their own */
	char	   *table = psprintf("%s%s", get_rel_relkind(model->leads) == RELKIND_RELATION ? "ONLY " : "",
								 ls_relation_name(model->leads));

	switch (model->past)
	{
		case LS_PAST_NONE:
			break;
		case LS_PAST_PARAMETER:
			return psprintf("%s c CROSS JOIN LATERAL jsonb_populate_record(c, %s) l", table, old);
		case LS_PAST_JOIN:
			return psprintf("%s c LEFT JOIN (SELECT DISTINCT ON (lead) lead, old FROM %s WHERE until > %s"
							" ORDER BY lead, until, id) p ON p.lead %s c.%s"
							" CROSS JOIN LATERAL jsonb_populate_record(c, p.old) l",
							table, past_table(model->name), at, ls_key_equality(model->key_type),
							quote_identifier(model->lead_key));
	}
	return psprintf("%s l", table);
}

/* The same for the leads and instants in o, each as it was at its own. */
char *
ls_outcomes_from(const LsModel *model)
{
	char	   *table = psprintf("%s%s", get_rel_relkind(model->leads) == RELKIND_RELATION ? "ONLY " : "",
								 ls_relation_name(model->leads));
	const char *key = quote_identifier(model->lead_key);
	char	   *equals = ls_key_equality(model->key_type);

	if (model->past == LS_PAST_NONE)
		return psprintf("o JOIN %s l ON l.%s %s o.lead", table, key, equals);
	return psprintf("o JOIN %s c ON c.%s %s o.lead"
					" LEFT JOIN LATERAL (SELECT old FROM %s q WHERE q.lead %s o.lead AND q.until > o.at"
					" ORDER BY q.until, q.id LIMIT 1) p ON true"
					" CROSS JOIN LATERAL jsonb_populate_record(c, p.old) l",
					table, key, equals, past_table(model->name), equals);
}

/* When old values began to be kept: the first publishing. False: not yet. */
bool
ls_past_since(const LsModel *model, TimestampTz *since)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model->name)};
	bool		isnull = true;

	SPI_connect();
	ls_catalog_execute("SELECT min(published_at) FROM leadscore.model_version WHERE model = $1 AND version > 0",
					   1, types, values, NULL);
	if (SPI_processed > 0)
		*since = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return !isnull;
}

/*
 * How a trigger writes: the statement, and what it is given of the row. Kept for
 * the backend, until the table of leads changes.
 */
typedef struct PastWriter
{
	struct PastWriter *next;
	Oid			trigger;
	Oid			relid;
	bool		valid;
	int			uses;
	SPIPlanPtr	plan;
	char	   *sql;
	int			n;
	AttrNumber *attnos;			/* the key first */
	Oid		   *types;
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
		pfree(writer->sql);
		pfree(writer->attnos);
		pfree(writer->types);
		pfree(writer);
	}
}

static PastWriter *
get_writer(Relation rel, const Trigger *trigger, AttrNumber key)
{
	static bool registered = false;
	TupleDesc	desc = RelationGetDescr(rel);
	int			ncolumns = trigger->tgnargs - 2;
	PastWriter *writer;
	StringInfoData sql;

	for (writer = writers; writer; writer = writer->next)
		if (writer->valid && writer->trigger == trigger->tgoid && writer->relid == RelationGetRelid(rel))
			return writer;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(leads_changed, (Datum) 0);
		registered = true;
	}
	forget_stale_writers();

	writer = MemoryContextAllocZero(TopMemoryContext, sizeof(PastWriter));
	writer->trigger = trigger->tgoid;
	writer->relid = RelationGetRelid(rel);
	writer->attnos = MemoryContextAlloc(TopMemoryContext, (ncolumns + 1) * sizeof(AttrNumber));
	writer->types = MemoryContextAlloc(TopMemoryContext, (ncolumns + 1) * sizeof(Oid));
	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (lead, until, old) SELECT $1, now(), '{}'::jsonb", past_table(trigger->tgargs[0]));
	writer->attnos[writer->n++] = key;
	for (int i = 0; i < ncolumns; i++)
	{
		const char *column = trigger->tgargs[i + 2];
		AttrNumber	attno = SPI_fnumber(desc, column);

		if (attno <= 0)
			continue;
		writer->attnos[writer->n++] = attno;
		appendStringInfo(&sql, "%s%s, $%d", (writer->n - 2) % OBJECT_PAIRS == 0 ?
						 (writer->n > 2 ? ") || jsonb_build_object(" : " || jsonb_build_object(") : ", ",
						 quote_literal_cstr(column), writer->n);
	}
	appendStringInfo(&sql, ") WHERE EXISTS (SELECT FROM leadscore.model WHERE model = %s AND leads::oid IN (%u",
					 quote_literal_cstr(trigger->tgargs[0]), RelationGetRelid(rel));
	if (rel->rd_rel->relispartition)
	{
		ListCell   *cell;

		foreach(cell, get_partition_ancestors(RelationGetRelid(rel)))
			appendStringInfo(&sql, ", %u", lfirst_oid(cell));
	}
	appendStringInfoString(&sql, "))");
	for (int i = 0; i < writer->n; i++)
		writer->types[i] = TupleDescAttr(desc, writer->attnos[i] - 1)->atttypid;
	writer->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	writer->valid = true;
	writer->next = writers;
	writers = writer;
	return writer;
}

/* A function of its own, so that no variable lives across the setjmp of PG_TRY. */
static pg_noinline void
execute_writer(PastWriter *writer, Datum *values, const char *nulls)
{
	writer->uses++;
	PG_TRY();
	{
		ls_catalog_execute_kept(&writer->plan, writer->sql, writer->n, writer->types, values, nulls);
	}
	PG_FINALLY();
	{
		writer->uses--;
	}
	PG_END_TRY();
}

/* Write down what the columns held until now. */
static void
write_past(Relation rel, const Trigger *trigger, HeapTuple tuple, AttrNumber key)
{
	Oid			past = get_relname_relid(psprintf(PAST_TABLE_PREFIX "%s", trigger->tgargs[0]), ls_schema_oid());
	PastWriter *writer;
	Datum	   *values;
	char	   *nulls;

	/* the key's type was altered: scores are not kept, until rescore() alters ours */
	if (TupleDescAttr(RelationGetDescr(rel), key - 1)->atttypid != get_atttype(past, get_attnum(past, "lead")))
		return;
	writer = get_writer(rel, trigger, key);
	values = palloc_array(Datum, writer->n);
	nulls = palloc_array(char, writer->n + 1);
	for (int i = 0; i < writer->n; i++)
	{
		bool		isnull;

		values[i] = heap_getattr(tuple, writer->attnos[i], RelationGetDescr(rel), &isnull);
		nulls[i] = isnull ? 'n' : ' ';
	}
	nulls[writer->n] = '\0';
	SPI_connect();
	execute_writer(writer, values, nulls);
	/* anybody may make a trigger that calls us, with any arguments */
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("leadscore.keep_past: \"%s\" is not the table of leads of model \"%s\"",
						RelationGetRelationName(rel), trigger->tgargs[0]),
				 errhint("The trigger is made by leadscore.publish(); drop this one.")));
	SPI_finish();
}

/*
 * keep_past('model', 'key', 'column' ...): AFTER UPDATE FOR EACH ROW. A column
 * that was renamed since is skipped: the rules that use it are broken anyway
 * until the model is published again, which makes the trigger anew.
 */
Datum
leadscore_keep_past(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	char	  **args;
	int			nargs;
	AttrNumber	key;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.keep_past must be called as a trigger")));
	args = data->tg_trigger->tgargs;
	nargs = data->tg_trigger->tgnargs;
	if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(data->tg_event) || nargs < 3)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.keep_past must be fired AFTER UPDATE FOR EACH ROW, with model, key and columns as arguments")));

	desc = RelationGetDescr(data->tg_relation);
	key = SPI_fnumber(desc, args[1]);
	if (key <= 0)
		PG_RETURN_POINTER(NULL);
	for (int i = 2; i < nargs; i++)
	{
		AttrNumber	attno = SPI_fnumber(desc, args[i]);
		Form_pg_attribute column;
		Datum		old_value;
		Datum		new_value;
		bool		old_null;
		bool		new_null;

		if (attno <= 0)
			continue;
		column = TupleDescAttr(desc, attno - 1);
		old_value = heap_getattr(data->tg_trigtuple, attno, desc, &old_null);
		new_value = heap_getattr(data->tg_newtuple, attno, desc, &new_null);
		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old_value, new_value, column->attbyval, column->attlen)))
		{
			write_past(data->tg_relation, data->tg_trigger, data->tg_trigtuple, key);
			break;
		}
	}
	PG_RETURN_POINTER(NULL);
}
