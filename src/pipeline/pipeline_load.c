/*
 * pipeline_load.c
 *	  Reads what the catalog says about the pipeline of one table into LsRules:
 *	  stages, fields, transitions, guards as text, models. pipeline_cache.c makes
 *	  them ready to run and keeps them.
 */
#include "leadscore.h"

#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "nodes/primnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "pipeline/pipeline.h"
#include "stage/stage.h"

/* column of the current SPI result, copied into the current context */
static char *
spi_text(HeapTuple tuple, int column)
{
	char	   *value = SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);

	return value;
}

static bool
spi_bool(HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, column, &isnull);

	return !isnull && DatumGetBool(value);
}

static char *
keep(LsRules *rules, const char *string)
{
	return string == NULL ? NULL : MemoryContextStrdup(rules->context, string);
}

#define KEEP_ALLOC(rules, n, type) \
	((type *) MemoryContextAllocZero((rules)->context, Max(n, 1) * sizeof(type)))

static int
run(const char *sql, int nargs, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(sql, nargs, types, values, NULL, true, 0);

	ls_spi_expect(rc, SPI_OK_SELECT);
	return (int) SPI_processed;
}

/*
 * The columns a table's pipeline uses, from the WHEN clause of our DELETE
 * trigger, in which PostgreSQL follows renames: stage, key, then fields.
 */
static int
anchored_columns(Relation rel, AttrNumber *columns, int max)
{
	TriggerDesc *desc = rel->trigdesc;
	const char *stage_trigger = NULL;
	char	   *qual = NULL;
	FuncExpr   *call;
	ListCell   *lc;
	int			n = 0;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		Trigger    *trigger = &desc->triggers[i];

		if (strcmp(trigger->tgname, LS_TRIGGER_DELETE) == 0)
			qual = trigger->tgqual;
		else if (strcmp(trigger->tgname, LS_TRIGGER_STAGE) == 0)
			stage_trigger = trigger->tgname;
		else if (!trigger->tgisinternal && TRIGGER_FOR_ROW(trigger->tgtype) &&
				 TRIGGER_FOR_AFTER(trigger->tgtype) && strcmp(trigger->tgname, LS_TRIGGER_STAGE) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("trigger \"%s\" on \"%s\" would run before the stage rules",
							trigger->tgname, RelationGetRelationName(rel)),
					 errdetail("A stage change made by it would be recorded in the wrong order."),
					 errhint("Rename it to a name that sorts after \"%s\".", LS_TRIGGER_STAGE)));
	}
	if (qual == NULL || stage_trigger == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the stage triggers of \"%s\" are not complete", RelationGetRelationName(rel)),
				 errdetail("A trigger or a column that the pipeline uses was dropped."),
				 errhint("Call leadscore.enforce() again, or leadscore.unenforce().")));

	call = (FuncExpr *) stringToNode(qual);
	if (!IsA(call, FuncExpr))
		elog(ERROR, "unexpected condition in trigger \"%s\"", LS_TRIGGER_DELETE);
	foreach(lc, call->args)
	{
		Node	   *arg = (Node *) lfirst(lc);

		while (IsA(arg, RelabelType))
			arg = (Node *) ((RelabelType *) arg)->arg;
		if (!IsA(arg, Var) || n >= max)
			elog(ERROR, "unexpected condition in trigger \"%s\"", LS_TRIGGER_DELETE);
		columns[n++] = ((Var *) arg)->varattno;
	}
	if (n < 2)
		elog(ERROR, "unexpected condition in trigger \"%s\"", LS_TRIGGER_DELETE);
	return n;
}

/* the column that holds the stage, in a table under a pipeline */
AttrNumber
ls_stage_column(Relation rel)
{
	AttrNumber	columns[2 + MaxHeapAttributeNumber];

	(void) anchored_columns(rel, columns, lengthof(columns));
	return columns[0];
}

static int
find_stage(const LsRules *rules, const char *name)
{
	for (int i = 0; i < rules->nstages; i++)
	{
		if (strcmp(rules->stages[i].name, name) == 0)
			return i;
	}
	elog(ERROR, "pipeline \"%s\" has no stage \"%s\"", rules->pipeline, name);
	return -1;
}

/* how the stage column is compared with the stages of the pipeline */
static void
set_stage_form(LsRules *rules, Form_pg_attribute att)
{
	Oid			type = getBaseType(att->atttypid);
	Oid			stage_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
											 CStringGetDatum("stage"),
											 ObjectIdGetDatum(ls_schema_oid()));

	memset(rules->by_code, -1, sizeof(rules->by_code));
	if (type == stage_type)
	{
		rules->stage_form = LS_COLUMN_STAGE;
		for (int i = 0; i < rules->nstages; i++)
		{
			const char *name = rules->stages[i].name;
			uint8		code;

			if (ls_stage_parse(name, strlen(name), true, &code) &&
				strcmp(ls_stage_name(code), name) == 0)
				rules->by_code[code] = i;
			else
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("stage \"%s\" of pipeline \"%s\" is no value of the type leadscore.stage",
								name, rules->pipeline),
						 errhint("Use a column of type text, or an enum with all stages of the pipeline.")));
		}
	}
	else if (get_typtype(type) == TYPTYPE_ENUM)
	{
		rules->stage_form = LS_COLUMN_ENUM;
		for (int i = 0; i < rules->nstages; i++)
		{
			rules->stages[i].label = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
													 ObjectIdGetDatum(type),
													 CStringGetDatum(rules->stages[i].name));
			if (!OidIsValid(rules->stages[i].label))
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("stage \"%s\" of pipeline \"%s\" is no label of the enum %s",
								rules->stages[i].name, rules->pipeline, format_type_be(type)),
						 errhint("Add it with ALTER TYPE %s ADD VALUE.", format_type_be(type))));
		}
	}
	else if (type == TEXTOID || type == VARCHAROID)
		rules->stage_form = LS_COLUMN_TEXT;
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" cannot hold stages: it is of type %s",
						NameStr(att->attname), format_type_be(att->atttypid)),
				 errhint("Use leadscore.stage, an enum, text, varchar, or a domain over one of them.")));
}

static void
load_stages(LsRules *rules, Oid *types, Datum *args)
{
	rules->nstages = run("SELECT stage, kind, entry FROM leadscore.pipeline_stage"
						 " WHERE pipeline = $1 AND version = $2 ORDER BY ordinal, stage",
						 2, types, args);
	rules->stages = KEEP_ALLOC(rules, rules->nstages, LsStageDef);
	for (int i = 0; i < rules->nstages; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		LsStageDef *stage = &rules->stages[i];
		MemoryContext before = MemoryContextSwitchTo(rules->context);

		stage->name = pstrdup(spi_text(tuple, 1));
		stage->len = strlen(stage->name);
		stage->text = CStringGetTextDatum(stage->name);
		stage->kind = spi_text(tuple, 2)[0];
		stage->entry = spi_bool(tuple, 3);
		MemoryContextSwitchTo(before);
	}
	rules->matrix = KEEP_ALLOC(rules, rules->nstages * rules->nstages, int16);
	for (int i = 0; i < rules->nstages * rules->nstages; i++)
		rules->matrix[i] = -1;
}

/*
 * Fields: where enforce() found each; a field that a later version of the
 * pipeline added is looked up by name. columns[] are the anchored ones.
 */
static void
load_fields(LsRules *rules, Relation rel, Oid *types, Datum *args, const AttrNumber *columns, int ncolumns)
{
	int			next = 2;
	StringInfoData absent;

	/* in the order in which enforce() named them in the WHEN clause */
	rules->nfields = run("SELECT f.field, m.key IS NOT NULL, m.value,"
						 " (SELECT a.attname FROM unnest(f.columns) WITH ORDINALITY c(name, n)"
						 "  JOIN pg_attribute a ON a.attrelid = $4 AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped"
						 "  ORDER BY c.n LIMIT 1), f.optional"
						 " FROM leadscore.pipeline_field f LEFT JOIN jsonb_each_text($3) WITH ORDINALITY m(key, value, n)"
						 " ON m.key = f.field"
						 " WHERE f.pipeline = $1 AND f.version = $2 ORDER BY m.n, f.field",
						 4, types, args);
	rules->fields = KEEP_ALLOC(rules, rules->nfields, LsField);
	initStringInfo(&absent);
	for (int i = 0; i < rules->nfields; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		LsField    *field = &rules->fields[i];
		bool		mapped = spi_bool(tuple, 2);
		const char *column = spi_text(tuple, mapped ? 3 : 4);

		field->name = keep(rules, spi_text(tuple, 1));
		if (column == NULL)
		{
			if (!mapped && !spi_bool(tuple, 5))
				appendStringInfo(&absent, "%s\"%s\"", absent.len > 0 ? ", " : "", field->name);
			continue;
		}
		if (mapped)
		{
			if (next >= ncolumns)
				elog(ERROR, "trigger \"%s\" does not name all fields", LS_TRIGGER_DELETE);
			field->attno = columns[next++];
		}
		else
			field->attno = get_attnum(RelationGetRelid(rel), column);
		field->column = keep(rules, NameStr(TupleDescAttr(RelationGetDescr(rel), field->attno - 1)->attname));
		field->as = ls_filled_as(TupleDescAttr(RelationGetDescr(rel), field->attno - 1)->atttypid);
	}
	if (absent.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("pipeline \"%s\" version %d asks for fields that \"%s\" does not have: %s",
						rules->pipeline, rules->version, RelationGetRelationName(rel), absent.data),
				 errhint("Call leadscore.enforce() again with fields => '{\"field\": \"column\"}', or with null for a field that is not kept.")));
}

static int
add_score_source(LsRules *rules, const char *model)
{
	LsScoreSource *source;

	for (int i = 0; i < rules->nscores; i++)
	{
		if (strcmp(rules->scores[i].model, model) == 0)
			return i;
	}
	if (rules->nscores >= LS_MAX_SCORES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("pipeline \"%s\" asks for scores of more than %d models", rules->pipeline, LS_MAX_SCORES)));
	source = &rules->scores[rules->nscores];
	source->model = keep(rules, model);
	return rules->nscores++;
}

static void
load_transitions(LsRules *rules, Oid *types, Datum *args)
{
	rules->ntransitions = run("SELECT from_stage, to_stage, min_score, model, role, reason_required,"
							  " (SELECT count(*) FROM unnest(fields))"
							  " FROM leadscore.pipeline_transition"
							  " WHERE pipeline = $1 AND version = $2 ORDER BY from_stage, to_stage",
							  2, types, args);
	rules->transitions = KEEP_ALLOC(rules, rules->ntransitions, LsTransition);
	for (int i = 0; i < rules->ntransitions; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		LsTransition *t = &rules->transitions[i];
		const char *model = spi_text(tuple, 4);
		Datum		value;
		bool		isnull;

		t->from = find_stage(rules, spi_text(tuple, 1));
		t->to = find_stage(rules, spi_text(tuple, 2));
		rules->matrix[t->from * rules->nstages + t->to] = i;
		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull);
		t->has_min_score = !isnull;
		t->min_score = isnull ? 0 : DatumGetFloat8(value);
		t->source = -1;
		if (model != NULL)
			t->source = add_score_source(rules, model);
		else if (rules->has_model)
			t->source = 0;
		if (t->has_min_score && t->source < 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the transition from %s to %s of pipeline \"%s\" needs a score, and the table has no model",
							rules->stages[t->from].name, rules->stages[t->to].name, rules->pipeline),
					 errhint("Call leadscore.enforce() with model => 'name of a scoring model'.")));
		t->role = keep(rules, spi_text(tuple, 5));
		t->reason_required = spi_bool(tuple, 6);
		t->fields = KEEP_ALLOC(rules, atoi(spi_text(tuple, 7)), int);
	}

	/* the fields each transition wants filled */
	if (run("SELECT t.from_stage, t.to_stage, f.field FROM leadscore.pipeline_transition t, unnest(t.fields) WITH ORDINALITY f(field, n)"
			" WHERE pipeline = $1 AND version = $2 ORDER BY 1, 2, f.n", 2, types, args) > 0)
	{
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			LsTransition *t = &rules->transitions[rules->matrix[find_stage(rules, spi_text(tuple, 1)) * rules->nstages +
																 find_stage(rules, spi_text(tuple, 2))]];
			const char *name = spi_text(tuple, 3);

			for (int f = 0; f < rules->nfields; f++)
			{
				if (strcmp(rules->fields[f].name, name) == 0 && rules->fields[f].column != NULL)
					t->fields[t->nfields++] = f;
			}
		}
	}
}

static void
load_guards(LsRules *rules, Oid *types, Datum *args)
{
	int			n = run("SELECT from_stage, to_stage, label, condition FROM leadscore.pipeline_guard"
						" WHERE pipeline = $1 AND version = $2 ORDER BY from_stage, to_stage, ordinal, label",
						2, types, args);
	LsGuard    *guards = KEEP_ALLOC(rules, n, LsGuard);

	for (int i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		LsTransition *t = &rules->transitions[rules->matrix[find_stage(rules, spi_text(tuple, 1)) * rules->nstages +
															 find_stage(rules, spi_text(tuple, 2))]];

		if (t->nguards++ == 0)
			t->guards = &guards[i];
		guards[i].label = keep(rules, spi_text(tuple, 3));
		guards[i].condition = keep(rules, spi_text(tuple, 4));
	}
}

static void
check_models(LsRules *rules)
{
	if (rules->nscores > 0 && !OidIsValid(get_relname_relid("model", ls_schema_oid())))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this version of leadscore has no scoring models")));
	for (int i = 0; i < rules->nscores; i++)
	{
		Oid			type = TEXTOID;
		Datum		value = CStringGetTextDatum(rules->scores[i].model);
		char	   *version;

		if (run("SELECT coalesce(live_version, 0) FROM leadscore.model WHERE model = $1", 1, &type, &value) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("there is no scoring model \"%s\", and pipeline \"%s\" needs its scores",
							rules->scores[i].model, rules->pipeline),
					 errhint("Make it with leadscore.create_model(), or name another one.")));
		version = spi_text(SPI_tuptable->vals[0], 1);
		if (i == 0 && rules->has_model)
			rules->model_version = atoi(version);
	}
}

/* the table, then its partition ancestors, as an oid[] */
static Datum
candidates(Relation rel)
{
	List	   *oids = list_make1_oid(RelationGetRelid(rel));
	Datum	   *datums;
	ListCell   *lc;
	int			n = 0;

	if (rel->rd_rel->relispartition)
		oids = list_concat(oids, get_partition_ancestors(RelationGetRelid(rel)));
	datums = palloc(list_length(oids) * sizeof(Datum));
	foreach(lc, oids)
		datums[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(datums, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* false if the table is under no pipeline */
bool
ls_rules_load(LsRules *rules, Relation rel)
{
	Oid			types[4] = {OIDARRAYOID, INT4OID, JSONBOID, OIDOID};
	Datum		args[4];
	HeapTuple	tuple;
	AttrNumber	columns[2 + MaxHeapAttributeNumber];
	int			ncolumns;
	bool		isnull;
	Form_pg_attribute att;
	char	   *model;
	bool		varlena;
	Oid			output;

	args[0] = candidates(rel);
	if (run("SELECT e.relation::oid, e.fields, e.model, e.history, p.pipeline, p.live_version, p.owner, p.override_role, p.import_role"
			" FROM leadscore.enforced e JOIN leadscore.pipeline p USING (pipeline)"
			" WHERE e.relation = ANY ($1) ORDER BY array_position($1, e.relation::oid) LIMIT 1", 1, types, args) == 0)
		return false;

	tuple = SPI_tuptable->vals[0];
	rules->root = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
	args[2] = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull);
	model = spi_text(tuple, 3);
	rules->history = spi_bool(tuple, 4);
	rules->pipeline = keep(rules, spi_text(tuple, 5));
	rules->version = DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 6, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" is not published", rules->pipeline),
				 errhint("Publish it with leadscore.publish_pipeline('%s').", rules->pipeline)));
	rules->owner = keep(rules, spi_text(tuple, 7));
	rules->override_role = keep(rules, spi_text(tuple, 8));
	rules->import_role = keep(rules, spi_text(tuple, 9));

	rules->scores = KEEP_ALLOC(rules, LS_MAX_SCORES, LsScoreSource);
	if (model != NULL)
	{
		add_score_source(rules, model);
		rules->has_model = true;
	}

	ncolumns = anchored_columns(rel, columns, lengthof(columns));
	rules->stage_attno = columns[0];
	rules->key_attno = columns[1];
	att = TupleDescAttr(RelationGetDescr(rel), rules->key_attno - 1);
	rules->key_type = att->atttypid;
	rules->key_byval = att->attbyval;
	rules->key_len = att->attlen;
	getTypeOutputInfo(rules->key_type, &output, &varlena);
	fmgr_info_cxt(output, &rules->key_out, rules->context);

	att = TupleDescAttr(RelationGetDescr(rel), rules->stage_attno - 1);
	rules->stage_column = keep(rules, NameStr(att->attname));

	types[0] = TEXTOID;
	args[0] = CStringGetTextDatum(rules->pipeline);
	args[1] = Int32GetDatum(rules->version);
	args[3] = ObjectIdGetDatum(RelationGetRelid(rel));
	load_stages(rules, types, args);
	set_stage_form(rules, att);
	load_fields(rules, rel, types, args, columns, ncolumns);
	load_transitions(rules, types, args);
	load_guards(rules, types, args);
	check_models(rules);
	return true;
}
