/*
 * pipeline_ask.c
 *	  Questions about a lead: where it can go, and what is missing.
 *
 * The lead's row is read with the rights of the caller, row security included:
 * who may not see a lead learns nothing about it here.
 */
#include "leadscore.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pipeline/pipeline.h"
#include "stage/stage_core.h"

PG_FUNCTION_INFO_V1(leadscore_next_stages);
PG_FUNCTION_INFO_V1(leadscore_would_refuse);

PG_FUNCTION_INFO_V1(leadscore_pipeline_of);
PG_FUNCTION_INFO_V1(leadscore_pipeline_version_of);

typedef struct Lead
{
	Relation	rel;
	LsRules    *rules;
	char	   *key;
	int			stage;			/* -1: unknown to the pipeline */
	char	   *stage_text;		/* NULL: in none */
	TupleTableSlot *slot;
} Lead;

/* fetch a lead by the text form of its key */
static void
find_lead(Oid relid, const char *key, Lead *lead)
{
	Oid			type = UNKNOWNOID;
	Datum		value;
	const char *column;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext before;
	Oid			stage_type;
	Oid			input;
	Oid			ioparam;
	Datum		stage;
	bool		isnull;
	int			nest;

	lead->rel = ls_relation_open(relid, AccessShareLock);
	lead->rules = ls_rules_get(lead->rel);
	lead->key = pstrdup(key);

	column = quote_identifier(get_attname(relid, lead->rules->key_attno, false));
	type = lead->rules->key_type;
	getTypeInputInfo(type, &input, &ioparam);
	value = OidInputFunctionCall(input, pstrdup(key), ioparam,
								 TupleDescAttr(RelationGetDescr(lead->rel), lead->rules->key_attno - 1)->atttypmod);

	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT (l.*)::%1$s.%2$s FROM %1$s.%2$s l WHERE l.%3$s = $1 LIMIT 1",
									   quote_identifier(get_namespace_name(RelationGetNamespace(lead->rel))),
									   quote_identifier(RelationGetRelationName(lead->rel)), column),
							  1, &type, &value, NULL, true, 1) != SPI_OK_SELECT || SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no lead %s in \"%s\"", key, RelationGetRelationName(lead->rel))));

	before = MemoryContextSwitchTo(caller);
	{
		HeapTupleHeader row = DatumGetHeapTupleHeader(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		HeapTupleData tuple;

		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = relid;
		tuple.t_data = row;
		lead->slot = MakeSingleTupleTableSlot(RelationGetDescr(lead->rel), &TTSOpsHeapTuple);
		ExecForceStoreHeapTuple(heap_copytuple(&tuple), lead->slot, true);
	}
	MemoryContextSwitchTo(before);
	SPI_finish();
	AtEOXact_GUC(true, nest);

	stage = slot_getattr(lead->slot, lead->rules->stage_attno, &isnull);
	stage_type = TupleDescAttr(RelationGetDescr(lead->rel), lead->rules->stage_attno - 1)->atttypid;
	lead->stage = isnull ? -1 : ls_stage_index(lead->rules, stage);
	lead->stage_text = isnull ? NULL : ls_stage_text(lead->rules, stage, stage_type);
}

static void
release_lead(Lead *lead)
{
	ResetExprContext(lead->rules->econtext);
	ExecDropSingleTupleTableSlot(lead->slot);
	table_close(lead->rel, AccessShareLock);
}

/* the row as the move would leave it */
static TupleTableSlot *
moved_row(Lead *lead, int to)
{
	TupleDesc	desc = RelationGetDescr(lead->rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	Form_pg_attribute att = TupleDescAttr(desc, lead->rules->stage_attno - 1);
	Oid			input;
	Oid			ioparam;

	slot_getallattrs(lead->slot);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, lead->slot->tts_values, desc->natts * sizeof(Datum));
	memcpy(slot->tts_isnull, lead->slot->tts_isnull, desc->natts * sizeof(bool));
	getTypeInputInfo(att->atttypid, &input, &ioparam);
	slot->tts_values[lead->rules->stage_attno - 1] =
		OidInputFunctionCall(input, lead->rules->stages[to].name, ioparam, att->atttypmod);
	slot->tts_isnull[lead->rules->stage_attno - 1] = false;
	ExecStoreVirtualTuple(slot);
	return slot;
}

static List *
missing_for(Lead *lead, int to)
{
	LsMove		move;
	List	   *missing;

	memset(&move, 0, sizeof(move));
	move.rules = lead->rules;
	move.old_slot = lead->slot;
	move.new_slot = moved_row(lead, to);
	move.lead = lead->key;
	move.reason = ls_reason();
	missing = ls_missing(&move, lead->stage, to);
	ExecDropSingleTupleTableSlot(move.new_slot);
	return missing;
}

Datum
leadscore_next_stages(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Lead		lead;

	InitMaterializedSRF(fcinfo, 0);
	find_lead(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)), &lead);
	for (int to = 0; to < lead.rules->nstages; to++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};
		List	   *missing = NIL;

		if (lead.stage_text == NULL ? !lead.rules->stages[to].entry :
			lead.stage < 0 || lead.rules->matrix[lead.stage * lead.rules->nstages + to] < 0)
			continue;
		if (lead.stage_text != NULL)
			missing = missing_for(&lead, to);
		values[0] = lead.rules->stages[to].text;
		values[1] = BoolGetDatum(missing == NIL);
		nulls[2] = missing == NIL;
		values[2] = missing == NIL ? (Datum) 0 : CStringGetTextDatum(ls_join(missing, ", ", ", "));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	release_lead(&lead);
	return (Datum) 0;
}

Datum
leadscore_would_refuse(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *to_text = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Lead		lead;
	List	   *missing = NIL;
	ListCell   *lc;
	uint8		code;
	int			to;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	find_lead(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)), &lead);
	/* a column of type stage reads synonyms, and so do we */
	if (lead.rules->stage_form == LS_COLUMN_STAGE &&
		ls_stage_parse(to_text, strlen(to_text), GetDatabaseEncoding() == PG_UTF8, &code))
		to_text = pstrdup(ls_stage_name(code));
	for (to = 0; to < lead.rules->nstages; to++)
	{
		if (strcmp(lead.rules->stages[to].name, to_text) == 0)
			break;
	}
	if (to == lead.rules->nstages)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pipeline \"%s\" has no stage \"%s\"", lead.rules->pipeline, to_text)));

	if (lead.stage_text == NULL)
	{
		if (!lead.rules->stages[to].entry)
			missing = list_make1(psprintf("%s is not an entry stage", to_text));
	}
	else if (lead.stage < 0)
		missing = list_make1(psprintf("stage %s is not in the pipeline", lead.stage_text));
	else if (lead.stage != to)
	{
		if (lead.rules->matrix[lead.stage * lead.rules->nstages + to] < 0)
			missing = list_make1(psprintf("a transition from %s to %s", lead.stage_text, to_text));
		else
			missing = missing_for(&lead, to);
	}
	foreach(lc, missing)
	{
		Datum		value = CStringGetTextDatum((char *) lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	release_lead(&lead);
	return (Datum) 0;
}

/* pipeline_of(relation): the pipeline that a table is under. */
Datum
leadscore_pipeline_of(PG_FUNCTION_ARGS)
{
	Relation	rel = ls_relation_open(PG_GETARG_OID(0), AccessShareLock);
	Oid			type = OIDOID;
	Datum		relid = PG_GETARG_DATUM(0);
	LsOwnerSection section;
	MemoryContext caller = CurrentMemoryContext;
	char	   *pipeline;

	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("SELECT pipeline FROM leadscore.enforced WHERE relation::oid = $1",
										1, &type, &relid, NULL, true, 1), SPI_OK_SELECT);
	if (SPI_processed == 0)
		ls_under_no_pipeline(rel);
	pipeline = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	ls_owner_end(&section);
	table_close(rel, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text(pipeline));
}

/* pipeline_version_of(pipeline, version): the one given, else the live one, else the draft. */
Datum
leadscore_pipeline_version_of(PG_FUNCTION_ARGS)
{
	Oid			type = TEXTOID;
	Datum		name;
	LsOwnerSection section;
	Datum		live;
	bool		isnull;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	name = PG_GETARG_DATUM(0);
	ls_owner_begin(&section);
	ls_spi_expect(SPI_execute_with_args("SELECT live_version FROM leadscore.pipeline WHERE pipeline = $1",
										1, &type, &name, NULL, true, 1), SPI_OK_SELECT);
	if (SPI_processed == 0)
		ls_no_such_pipeline(TextDatumGetCString(name));
	live = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!PG_ARGISNULL(1) && PG_GETARG_INT32(1) != 0)
	{
		Oid			types[2] = {TEXTOID, INT4OID};
		Datum		values[2] = {name, PG_GETARG_DATUM(1)};

		ls_spi_expect(SPI_execute_with_args("SELECT FROM leadscore.pipeline_version WHERE pipeline = $1 AND version = $2",
											2, types, values, NULL, true, 1), SPI_OK_SELECT);
		if (SPI_processed == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("pipeline \"%s\" has no version %d", TextDatumGetCString(name), PG_GETARG_INT32(1)),
					 errhint("SELECT version, published_at, note FROM leadscore.pipeline_version shows those there are.")));
	}
	ls_owner_end(&section);
	PG_RETURN_INT32(PG_ARGISNULL(1) ? (isnull ? 0 : DatumGetInt32(live)) : PG_GETARG_INT32(1));
}
