/*
 * model_create.c
 *	  Making and dropping models: which columns are the key, the lead and the
 *	  instant, found out where they are not given, and the table of stored scores.
 */
#include "leadscore.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "model/model.h"

PG_FUNCTION_INFO_V1(leadscore_create_model);
PG_FUNCTION_INFO_V1(leadscore_drop_model);

/* Are keys that differ by an index different by the column, too? */
static bool
same_equality(HeapTuple index, Oid collation)
{
	bool		isnull;
	Datum		collations = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indcollation, &isnull);
	Oid			theirs = ((oidvector *) DatumGetPointer(collations))->values[0];

	return theirs == collation ||
		(OidIsValid(theirs) && OidIsValid(collation) &&
		 get_collation_isdeterministic(theirs) && get_collation_isdeterministic(collation));
}

/* Is there a unique, complete index on exactly this column, and is it NOT NULL? */
static bool
column_is_key(Relation rel, AttrNumber attno)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	bool		found = false;

	if (!TupleDescAttr(RelationGetDescr(rel), attno - 1)->attnotnull)
		return false;
	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisunique && index->indisvalid && index->indnkeyatts == 1 &&
			index->indkey.values[0] == attno &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
			same_equality(tuple, TupleDescAttr(RelationGetDescr(rel), attno - 1)->attcollation))
			found = true;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

/* Stored scores outlive a session and a crash: so must the rows that they are made of. */
void
ls_model_check_permanent(Relation rel)
{
	bool		temporary = rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP;

	if (!temporary && rel->rd_rel->relpersistence != RELPERSISTENCE_UNLOGGED)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg(temporary ? "table \"%s\" is temporary" : "table \"%s\" is unlogged", RelationGetRelationName(rel)),
			 temporary ? errdetail("It would be gone after the session, and nobody else could write the model's tables before.") :
			 errdetail("A crash would empty it, and leave the scores that its rows gave."),
			 temporary ? errhint("Use a permanent table.") :
			 errhint("ALTER TABLE %s SET LOGGED makes it permanent.", ls_relation_name(RelationGetRelid(rel)))));
}

/* The single column of the primary key. */
static AttrNumber
primary_key_column(Relation rel)
{
	HeapTuple	tuple = NULL;
	AttrNumber	attno = InvalidAttrNumber;
	Oid			index;

	index = RelationGetPrimaryKeyIndex_compat(rel);
	if (OidIsValid(index))
		tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);

		if (form->indnkeyatts == 1)
			attno = form->indkey.values[0];
		ReleaseSysCache(tuple);
	}
	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" has no primary key of one column", RelationGetRelationName(rel)),
				 errhint("Say which unique column identifies a lead: lead_key => '...'.")));
	return attno;
}

static AttrNumber
named_column(Relation rel, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(rel), column);

	if (attno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						column, RelationGetRelationName(rel))));
	return attno;
}

static Form_pg_attribute
column_of(Relation rel, AttrNumber attno)
{
	return TupleDescAttr(RelationGetDescr(rel), attno - 1);
}

/* The column of the leads that identifies one. */
static AttrNumber
find_lead_key(Relation leads, const char *given)
{
	AttrNumber	attno = given ? named_column(leads, given) : primary_key_column(leads);
	Form_pg_attribute column = column_of(leads, attno);

	if (!column_is_key(leads, attno))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" does not identify the rows of table \"%s\"",
						NameStr(column->attname), RelationGetRelationName(leads)),
				 errhint("The lead key needs NOT NULL and a unique index on it alone, of the column's collation.")));
	if (!OidIsValid(lookup_type_cache(column->atttypid, TYPECACHE_LT_OPR)->lt_opr))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s of lead key \"%s\" has no order",
						format_type_be(column->atttypid), NameStr(column->attname)),
				 errhint("A lead key needs a type with a default btree operator class.")));
	return attno;
}

/*
 * The column of the events that has the name of the lead key; none if it is more
 * likely the event's own key: one called "id", or one that is numbered by itself.
 */
static AttrNumber
column_named_as_key(Relation events, const char *key)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(events), key);
	Form_pg_attribute column;

	if (attno <= 0 || pg_strcasecmp(key, "id") == 0)
		return InvalidAttrNumber;
	column = column_of(events, attno);
	return column->attidentity || (column->atthasdef && !column->attgenerated) ? InvalidAttrNumber : attno;
}

/* The column of the events that says which lead an event is of. */
static AttrNumber
find_event_lead(Relation events, Relation leads, AttrNumber key, const char *given)
{
	Form_pg_attribute key_column = column_of(leads, key);
	AttrNumber	attno = InvalidAttrNumber;
	Oid			type;

	if (given)
		attno = named_column(events, given);
	else
	{
		List	   *keys = RelationGetFKeyList(events);
		ListCell   *lc;
		int			found = 0;

		foreach(lc, keys)
		{
			ForeignKeyCacheInfo *fk = (ForeignKeyCacheInfo *) lfirst(lc);

			if (fk->confrelid == RelationGetRelid(leads) && fk->nkeys == 1 && fk->confkey[0] == key)
			{
				attno = fk->conkey[0];
				found++;
			}
		}
		if (found != 1)
			attno = column_named_as_key(events, NameStr(key_column->attname));
		if (attno <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("cannot tell which column of table \"%s\" is the lead of an event",
							RelationGetRelationName(events)),
					 errdetail(get_attnum(RelationGetRelid(events), NameStr(key_column->attname)) > 0 ?
							   "It has %s to table \"%s\", and its column \"%s\" seems to be its own key." :
							   "It has %s to table \"%s\", and no column \"%s\".",
							   found == 0 ? "no foreign key" : "several foreign keys",
							   RelationGetRelationName(leads), NameStr(key_column->attname)),
					 errhint("Say which column it is: event_lead => '...'.")));
	}
	type = column_of(events, attno)->atttypid;
	/* what other casts make equal, as a numeric and the integer next to it, is not the same */
	if (!can_coerce_type(1, &type, &key_column->atttypid, COERCION_IMPLICIT) &&
		!IsBinaryCoercible(type, key_column->atttypid) &&
		!(ls_is_integer(type) && ls_is_integer(key_column->atttypid)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" cannot refer to leads: it has type %s, their key type %s",
						NameStr(column_of(events, attno)->attname), RelationGetRelationName(events),
						format_type_be(type), format_type_be(key_column->atttypid))));
	return attno;
}

/* The column of the events that says when an event happened. */
static AttrNumber
find_event_at(Relation events, const char *given)
{
	TupleDesc	desc = RelationGetDescr(events);
	AttrNumber	attno = InvalidAttrNumber;
	int			found = 0;

	if (given)
		attno = named_column(events, given);
	else
	{
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute column = TupleDescAttr(desc, i);

			if (!column->attisdropped && column->atttypid == TIMESTAMPTZOID)
			{
				attno = column->attnum;
				found++;
			}
		}
		if (found != 1)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("cannot tell which column of table \"%s\" is the instant of an event",
							RelationGetRelationName(events)),
					 errdetail("It has %d columns of type timestamp with time zone.", found),
					 errhint("Say which column it is: event_at => '...'.")));
	}
	if (column_of(events, attno)->atttypid != TIMESTAMPTZOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" has type %s, not timestamp with time zone",
						NameStr(column_of(events, attno)->attname), RelationGetRelationName(events),
						format_type_be(column_of(events, attno)->atttypid)),
				 errhint("Ageing needs instants. Alter the column's type, or add a column GENERATED ALWAYS AS (%s::timestamp AT TIME ZONE 'UTC') STORED.",
						 quote_identifier(NameStr(column_of(events, attno)->attname)))));
	return attno;
}

/* Type and collation of the lead key, for columns that hold it. */
char *
ls_model_key_declaration(const LsModel *model)
{
	return psprintf("%s%s", ls_type_name(model->key_type),
					model->key_collation == get_typcollation(model->key_type) ? "" : ls_collate(model->key_collation));
}

/* The table of stored scores, empty, readable by the owner of the leads; connected to SPI. */
void
ls_model_create_score_table(const LsModel *model, Oid reader)
{
	char	   *table = psprintf(LS_SCHEMA ".%s", quote_identifier(ls_model_score_table(model->name)));

	/* band, due and later are kept by the live part (live_store.c) */
	ls_catalog_execute(psprintf("CREATE TABLE %s (lead %s PRIMARY KEY, score " LS_SCHEMA ".score NOT NULL, version int NOT NULL,"
								" band text, due timestamptz, later timestamptz)"
								" WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05,"
								" autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)",
								table, ls_model_key_declaration(model)), 0, NULL, NULL, NULL);

	ls_catalog_execute(psprintf("CREATE INDEX ON %s USING gist (score)", table), 0, NULL, NULL, NULL);
	ls_catalog_execute(psprintf("GRANT SELECT ON %s TO %s WITH GRANT OPTION", table,
								quote_identifier(GetUserNameFromId(reader, false))),
					   0, NULL, NULL, NULL);
	ls_catalog_execute(psprintf("COMMENT ON TABLE %s IS %s", table,
								quote_literal_cstr(psprintf("stored scores of model \"%s\"; written by leadscore only", model->name))),
					   0, NULL, NULL, NULL);
	ls_model_tie_table(ls_model_score_relid(model, false));
}

static char *
optional_name(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(argno)));
}

static Datum
name_datum(const char *name)
{
	return DirectFunctionCall1(namein, CStringGetDatum(name));
}

Datum
leadscore_create_model(PG_FUNCTION_ARGS)
{
	LsModel		model = {0};
	Relation	leads;
	Relation	events = NULL;
	Oid			types[6] = {TEXTOID, OIDOID, NAMEOID, OIDOID, NAMEOID, NAMEOID};
	Datum		values[6];
	char		nulls[] = "      ";
	StringInfoData result;

	model.name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	if (model.name[0] == '\0' || strlen(model.name) > LS_MODEL_NAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a model must have 1 to %d bytes", LS_MODEL_NAME_MAX)));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the table of leads must not be null")));
	model.leads = PG_GETARG_OID(1);
	model.events = PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2);
	if (!OidIsValid(model.events) && (!PG_ARGISNULL(3) || !PG_ARGISNULL(4)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_lead and event_at need a table of events"),
				 errhint("Give it: events => '...'.")));

	leads = ls_relation_open(model.leads, AccessShareLock);
	if (leads->rd_rel->relkind != RELKIND_RELATION && leads->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(leads)),
				 errhint("Leads are the rows of a table with a unique key.")));
	ls_model_check_permanent(leads);
	ls_model_check_owner(&model);
	model.lead_attno = find_lead_key(leads, optional_name(fcinfo, 5));
	model.lead_key = pstrdup(NameStr(column_of(leads, model.lead_attno)->attname));
	model.key_type = column_of(leads, model.lead_attno)->atttypid;
	model.key_collation = column_of(leads, model.lead_attno)->attcollation;

	if (OidIsValid(model.events))
	{
		char		relkind;

		events = ls_relation_open(model.events, AccessShareLock);
		relkind = events->rd_rel->relkind;
		if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE && relkind != RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table", RelationGetRelationName(events)),
					 errdetail("Scores follow events by triggers on the table that stores them."),
					 errhint("Name that table; what a view computes can be a generated column, or stand in the rules.")));
		ls_model_check_permanent(events);
		model.event_lead_attno = find_event_lead(events, leads, model.lead_attno, optional_name(fcinfo, 3));
		model.event_lead = pstrdup(NameStr(column_of(events, model.event_lead_attno)->attname));
		model.event_at_attno = find_event_at(events, optional_name(fcinfo, 4));
		model.event_at = pstrdup(NameStr(column_of(events, model.event_at_attno)->attname));
	}

	values[0] = CStringGetTextDatum(model.name);
	values[1] = ObjectIdGetDatum(model.leads);
	values[2] = name_datum(model.lead_key);
	if (events)
	{
		values[3] = ObjectIdGetDatum(model.events);
		values[4] = name_datum(model.event_lead);
		values[5] = name_datum(model.event_at);
	}
	else
		nulls[3] = nulls[4] = nulls[5] = 'n';

	SPI_connect();
	ls_catalog_execute("SELECT 1 FROM leadscore.model WHERE model = $1", 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("model \"%s\" already exists", model.name),
				 errhint("leadscore.drop_model('%s') removes it.", model.name)));
	ls_catalog_execute("INSERT INTO leadscore.model (model, leads, lead_key, events, event_lead, event_at, created_by)"
					   " VALUES ($1, $2, $3, $4, $5, $6, session_user)", 6, types, values, nulls);
	ls_catalog_execute("INSERT INTO leadscore.model_version (model, version) VALUES ($1, 0)",
					   1, types, values, NULL);
	ls_model_create_score_table(&model, leads->rd_rel->relowner);
	SPI_finish();

	initStringInfo(&result);
	appendStringInfo(&result, "model \"%s\": leads %s (key %s)", model.name,
					 ls_relation_name(model.leads), quote_identifier(model.lead_key));
	if (events)
	{
		appendStringInfo(&result, ", events %s (lead %s, at %s)", ls_relation_name(model.events),
						 quote_identifier(model.event_lead), quote_identifier(model.event_at));
		relation_close(events, NoLock);
	}
	relation_close(leads, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text(result.data));
}

Datum
leadscore_drop_model(PG_FUNCTION_ARGS)
{
	char	   *name = ls_model_name_arg(fcinfo, 0, "the name of a model");
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(name)};
	LsModel		model = {0};
	bool		isnull;

	/* not ls_model_load: a model whose tables are gone can be dropped, too */
	SPI_connect();
	ls_catalog_execute("SELECT leads::oid FROM leadscore.model WHERE model = $1 FOR UPDATE",
					   1, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", name)));
	model.name = name;
	model.leads = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (get_rel_name(model.leads) != NULL)
		ls_model_check_owner(&model);
	else if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser can drop a model whose table of leads is gone")));
	ls_catalog_execute("WITH r AS (DELETE FROM leadscore.rule WHERE model = $1),"
					   " b AS (DELETE FROM leadscore.band WHERE model = $1),"
					   " c AS (DELETE FROM leadscore.component WHERE model = $1),"
					   " v AS (DELETE FROM leadscore.model_version WHERE model = $1)"
					   " DELETE FROM leadscore.model WHERE model = $1", 1, types, values, NULL);
	if (OidIsValid(ls_model_score_relid(&model, true)))
		ls_catalog_execute(psprintf("DROP TABLE " LS_SCHEMA ".%s", quote_identifier(ls_model_score_table(name))),
						   0, NULL, NULL, NULL);
	ls_past_drop(&model);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("model \"%s\" dropped", name)));
}
