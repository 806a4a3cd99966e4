/*
 * model_past.c
 *	  Old values of the lead columns that rules use, kept from the first
 *	  publishing on, so that a score as of an instant knows nothing later (L5).
 *
 * Each model with rules about leads has a table leadscore.past_<model>: what a
 * lead's columns held until an instant, a row for each time one of them changed.
 * A trigger on the leads writes it (model_keep.c).
 *
 * Which columns that are stands in leadscore.kept_column, each with the instant
 * since when every change of it is written down: a column that any version which
 * was live has read stays, as the model may go back to that version, or be asked
 * what it would have said. So a row of old values need not have all columns: what
 * a column held at an instant is in the first row after it that has the column;
 * where none has it, the column did not change since.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "model/model.h"

#define PAST_TABLE_PREFIX	"past_"
#define NAMES_SHOWN			3

/* the old values that a lead's columns have in some rows: of each column the earliest */
#define OLDEST_KNOWN		LS_SCHEMA ".merged(old ORDER BY until DESC, id DESC)"

static char *
past_table(const char *model)
{
	return quote_qualified_identifier(LS_SCHEMA, psprintf(PAST_TABLE_PREFIX "%s", model));
}

/* The table of old values; InvalidOid: there is none. */
Oid
ls_past_relid(const char *model)
{
	return get_relname_relid(psprintf(PAST_TABLE_PREFIX "%s", model), ls_schema_oid());
}

/* The columns that the enabled rules about leads read, as an array of text. */
static Datum
columns_read(const LsModel *model)
{
	Relation	leads = table_open(model->leads, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(leads);
	Datum	   *names = palloc(Max(desc->natts, 1) * sizeof(Datum));
	Bitmapset  *attnos = NULL;
	bool		whole_row;
	int			n = 0;

	for (int i = 0; i < model->nrules; i++)
	{
		if (!model->rules[i].enabled || model->rules[i].event)
			continue;
		pull_varattnos((Node *) model->rules[i].condition, 1, &attnos);
		pull_varattnos((Node *) model->rules[i].points, 1, &attnos);
	}
	whole_row = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attnos);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped &&
			(whole_row || bms_is_member(column->attnum - FirstLowInvalidHeapAttributeNumber, attnos)))
			names[n++] = CStringGetTextDatum(NameStr(column->attname));
	}
	table_close(leads, NoLock);
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Other columns are kept from now on: the triggers, those of partitions too, have
 * to look again, in all sessions.
 */
static void
columns_changed(Oid leads)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(leads, NoLock, NULL))
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
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
	ls_model_tie_table(ls_past_relid(model->name));
}

/* Does the table of leads have our trigger, with the key as it is called now? */
static bool
has_trigger(const LsModel *model, const char *name, const char *call)
{
	Oid			types[3] = {OIDOID, TEXTOID, TEXTOID};
	Datum		values[3] = {ObjectIdGetDatum(model->leads), CStringGetTextDatum(name), CStringGetTextDatum(call)};
	bool		isnull;

	ls_catalog_execute("SELECT strpos(pg_get_triggerdef(oid), $3) > 0 FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2",
					   3, types, values, NULL);
	if (SPI_processed == 0)
		return false;
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		return true;
	ls_catalog_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(name), ls_relation_name(model->leads)),
					   0, NULL, NULL, NULL);
	return false;
}

/*
 * See to it that old values are kept of what this version, which must have been
 * analysed, reads of the leads, and of what is kept already. Called when it is
 * about to become live, and after what kept old values from being written.
 */
void
ls_past_keep(const LsModel *model)
{
	char	   *name = psprintf(PAST_TABLE_PREFIX "%s", model->name);
	char	   *call = psprintf(LS_SCHEMA ".keep_past(%s, %s)", quote_literal_cstr(model->name),
								quote_literal_cstr(model->lead_key));
	Oid			types[2] = {TEXTOID, TEXTARRAYOID};
	Datum		values[2] = {CStringGetTextDatum(model->name), columns_read(model)};
	Oid			past = ls_past_relid(model->name);
	bool		any;
	bool		all;
	bool		isnull;

	if (OidIsValid(past))
	{
		ls_model_follow_leads(model, past);
		ls_model_tie_table(past);
	}
	SPI_connect();
	ls_catalog_execute("SELECT cardinality($2) > 0 OR EXISTS (SELECT FROM leadscore.kept_column WHERE model = $1),"
					   " NOT EXISTS (SELECT FROM leadscore.kept_column WHERE model = $1 AND since IS NULL)"
					   " AND NOT EXISTS (SELECT unnest($2) EXCEPT SELECT column_name FROM leadscore.kept_column WHERE model = $1)",
					   2, types, values, NULL);
	any = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	all = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (any && !(all && OidIsValid(past) && has_trigger(model, name, call)))
	{
		/* what is kept since an instant is kept by everybody who writes after it */
		Relation	leads = table_open(model->leads, ShareRowExclusiveLock);
		Oid			owner = leads->rd_rel->relowner;
		bool		kept = OidIsValid(past);

		table_close(leads, NoLock);
		if (!OidIsValid(past))
			create_past_table(model, owner);
		if (!has_trigger(model, name, call))
		{
			ls_catalog_execute(psprintf("CREATE TRIGGER %s AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s",
										quote_identifier(name), ls_relation_name(model->leads), call),
							   0, NULL, NULL, NULL);
			kept = false;
		}
		if (!kept)
			ls_past_interrupted(model->name);
		ls_catalog_execute("INSERT INTO leadscore.kept_column (model, column_name, since)"
						   " SELECT $1, c, clock_timestamp() FROM (SELECT unnest($2) UNION"
						   " SELECT column_name FROM leadscore.kept_column WHERE model = $1 AND since IS NULL) n (c)"
						   " ON CONFLICT (model, column_name) DO UPDATE SET since = excluded.since"
						   " WHERE kept_column.since IS NULL",
						   2, types, values, NULL);
		columns_changed(model->leads);
	}
	SPI_finish();
}

/* Old values were not written for a time: what there is from before is not the truth of later. */
void
ls_past_interrupted(const char *model)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model)};

	SPI_connect();
	ls_catalog_execute("UPDATE leadscore.kept_column SET since = NULL WHERE model = $1", 1, types, values, NULL);
	SPI_finish();
}

/* Drop table and trigger with the model; connected to SPI. */
void
ls_past_drop(const LsModel *model)
{
	char	   *trigger = psprintf(PAST_TABLE_PREFIX "%s", model->name);
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model->name)};

	if (get_rel_name(model->leads) != NULL &&
		OidIsValid(get_trigger_oid(model->leads, trigger, true)))
		ls_catalog_execute(psprintf("DROP TRIGGER %s ON %s", quote_identifier(trigger),
									ls_relation_name(model->leads)), 0, NULL, NULL, NULL);
	if (OidIsValid(ls_past_relid(model->name)))
		ls_catalog_execute(psprintf("DROP TABLE %s", past_table(model->name)), 0, NULL, NULL, NULL);
	ls_catalog_execute("DELETE FROM leadscore.kept_column WHERE model = $1", 1, types, values, NULL);
}

/*
 * A column of the leads has another name, or (to NULL) is gone: its old values
 * follow it. One that comes under the name later is another column.
 */
void
ls_past_rename(const char *model, Oid leads, const char *from, const char *to)
{
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3] = {CStringGetTextDatum(model), CStringGetTextDatum(from),
		to ? CStringGetTextDatum(to) : (Datum) 0};

	if (!OidIsValid(ls_past_relid(model)))
		return;
	SPI_connect();
	ls_catalog_execute("DELETE FROM leadscore.kept_column WHERE model = $1 AND column_name = coalesce($3, $2)",
					   3, types, values, to ? "   " : "  n");
	if (to)
		ls_catalog_execute("UPDATE leadscore.kept_column SET column_name = $3 WHERE model = $1 AND column_name = $2",
						   3, types, values, NULL);
	ls_catalog_execute(psprintf("UPDATE %s SET old = (old - $1) || %s WHERE old ? $1", past_table(model),
								to ? "jsonb_build_object($2, old -> $1)" : "'{}'"),
					   to ? 2 : 1, types, values + 1, NULL);
	SPI_finish();
	columns_changed(leads);
}

/*
 * After the table of leads was altered: if old values cannot be written, because
 * the key is not what it was, note that they are not. ls_past_keep mends it.
 */
void
ls_past_check_key(const char *model, Oid leads)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(model)};
	AttrNumber	key = InvalidAttrNumber;

	SPI_connect();
	ls_catalog_execute("SELECT lead_key::text FROM leadscore.model WHERE model = $1", 1, types, values, NULL);
	if (SPI_processed > 0)
		key = get_attnum(leads, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	if (key <= 0 || !ls_past_takes_key(model, get_atttype(leads, key)))
		ls_past_interrupted(model);
}

/* Do old values have keys of this type? Not after that was altered, until scores are stored again. */
bool
ls_past_takes_key(const char *model, Oid type)
{
	Oid			past = ls_past_relid(model);

	return OidIsValid(past) && get_atttype(past, get_attnum(past, "lead")) == type;
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
						 expressions == NIL ? "NULL" :
						 psprintf(LS_SCHEMA ".value_text(%s)", (char *) list_nth(expressions, foreach_current_index(column))));
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

	if (!OidIsValid(ls_past_relid(model->name)))
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
														  " CROSS JOIN LATERAL " LS_SCHEMA ".as_it_was(c.*, p.old) l",
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
	if (!OidIsValid(ls_past_relid(model->name)))
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
		ls_catalog_execute(psprintf("SELECT " OLDEST_KNOWN " FROM %s WHERE lead %s %s AND until > $1 HAVING count(*) > 0",
									past_table(model->name), ls_key_equality(model->key_type), ls_key_sql(model, "$2")),
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
			return psprintf("%s c CROSS JOIN LATERAL " LS_SCHEMA ".as_it_was(c.*, %s) l", table, old);
		case LS_PAST_JOIN:
			return psprintf("%s c LEFT JOIN (SELECT lead, " OLDEST_KNOWN " AS old FROM %s WHERE until > %s"
							" GROUP BY lead) p ON p.lead %s c.%s"
							" CROSS JOIN LATERAL " LS_SCHEMA ".as_it_was(c.*, p.old) l",
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
					" CROSS JOIN LATERAL (SELECT " OLDEST_KNOWN " AS old FROM %s q WHERE q.lead %s o.lead AND q.until > o.at) p"
					" CROSS JOIN LATERAL " LS_SCHEMA ".as_it_was(c.*, p.old) l",
					table, key, equals, past_table(model->name), equals);
}

static bool
is_in(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/*
 * From when on it is known what the columns held that the enabled rules about
 * leads read, DT_NOBEGIN if they read none; not later than now. The names of those
 * that are not known as of an instant are added to *unknown.
 */
TimestampTz
ls_past_since(const LsModel *model, TimestampTz at, List **unknown)
{
	Oid			types[2] = {TEXTOID, TEXTARRAYOID};
	Datum		values[2] = {CStringGetTextDatum(model->name), columns_read(model)};
	MemoryContext context = CurrentMemoryContext;
	TimestampTz result = DT_NOBEGIN;

	SPI_connect();
	ls_catalog_execute("SELECT c, least(k.since, now()) FROM unnest($2) WITH ORDINALITY u (c, n)"
					   " LEFT JOIN leadscore.kept_column k ON k.model = $1 AND k.column_name = u.c ORDER BY u.n",
					   2, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		TimestampTz since = DatumGetTimestampTz(SPI_getbinval(row, desc, 2, &isnull));
		char	   *name = SPI_getvalue(row, desc, 1);
		MemoryContext spi = MemoryContextSwitchTo(context);

		result = Max(result, since);
		if (at < since && !is_in(*unknown, name))
			*unknown = lappend(*unknown, pstrdup(name));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return result;
}

/* "a, b, c and 2 more" */
char *
ls_past_names(const List *names)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	foreach(cell, names)
	{
		int			i = foreach_current_index(cell);

		if (i == NAMES_SHOWN && list_length(names) > NAMES_SHOWN + 1)
		{
			appendStringInfo(&buf, " and %d more", list_length(names) - NAMES_SHOWN);
			break;
		}
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "", (char *) lfirst(cell));
	}
	return buf.data;
}

/* How reports say that columns are not known as of their instant; NULL: all are. */
char *
ls_past_note(const List *unknown)
{
	return unknown == NIL ? NULL :
		psprintf("as oldest known: %s", ls_past_names(unknown));
}
