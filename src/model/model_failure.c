/*
 * model_failure.c
 *	  Rules that fail where scores are computed for many leads, or asked for:
 *	  they count as not matched, are told of with their name, and are written
 *	  to leadscore.rule_error where something is written anyway.
 *
 * Also the function by which generated queries evaluate rules that may fail.
 * SQL cannot go on after an error; so such a query passes the columns that
 * rules read to leadscore.judge, which evaluates them as triggers do and
 * returns what each rule gives. Rules that cannot fail stay in the query.
 */
#include "leadscore.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "model/eval.h"

PG_FUNCTION_INFO_V1(leadscore_judge);

/* ---- noting and telling ---- */

/* What is told of a rule that failed: message is what PostgreSQL said. */
char *
ls_failure_text(const LsModel *model, const LsRule *rule, const char *message)
{
	return psprintf("rule \"%s\" of model \"%s\": %s", rule->name, model->name, message);
}

/* Append to leadscore.rule_error; rows are only ever inserted, so that nobody waits. */
void
ls_rule_error_store(const LsModel *model, const LsRule *rule, const char *message, int64 rows)
{
	Oid			types[5] = {TEXTOID, INT4OID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[5];

	values[0] = CStringGetTextDatum(model->name);
	values[1] = Int32GetDatum(model->version);
	values[2] = CStringGetTextDatum(rule->name);
	values[3] = CStringGetTextDatum(message);
	values[4] = Int64GetDatum(rows);
	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.rule_error (model, version, rule, message, failures)"
					   " VALUES ($1, $2, $3, $4, $5)", 5, types, values, NULL);
	SPI_finish();
}

/*
 * Was the session told that this rule fails? It is, once this returns. By a hash:
 * should two rules share one, the second goes without its warning.
 */
bool
ls_told_before(const LsModel *model, const LsRule *rule)
{
	static HTAB *told = NULL;
	char	   *name = psprintf("%d %s %s", model->version, quote_identifier(model->name), rule->name);
	uint64		key = hash_bytes_extended((const unsigned char *) name, strlen(name), 0);
	bool		found;

	if (told == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(uint64)};

		told = hash_create("leadscore rules told of", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	(void) hash_search(told, &key, HASH_ENTER, &found);
	pfree(name);
	return found;
}

/* Tell of one rule that failed for a row, once a session. */
void
ls_failure_tell(const LsModel *model, const LsRule *rule, const char *message)
{
	if (!ls_told_before(model, rule))
		ereport(WARNING,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("%s", ls_failure_text(model, rule, message)),
				 errdetail("The rule counts as not matched where it fails. This warning comes once a session.")));
}

LsFailures *
ls_failures_make(const LsModel *model)
{
	LsFailures *failures = palloc0(sizeof(LsFailures));

	failures->model = model;
	failures->context = CurrentMemoryContext;
	failures->rows = palloc0(Max(model->nrules, 1) * sizeof(int64));
	failures->messages = palloc0(Max(model->nrules, 1) * sizeof(char *));
	return failures;
}

void
ls_failures_note(LsFailures *failures, int rule, const char *message)
{
	if (failures->rows[rule]++ == 0)
		failures->messages[rule] = MemoryContextStrdup(failures->context, message);
}

/*
 * Tell of each rule that failed. What is stored is told each time, with where
 * to look; what is only asked for, once a session.
 */
void
ls_failures_report(const LsFailures *failures, bool store)
{
	const LsModel *model = failures->model;

	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];
		char	   *text;

		if (failures->rows[i] == 0)
			continue;
		text = ls_failure_text(model, rule, failures->messages[i]);
		if (store)
			ls_rule_error_store(model, rule, text, failures->rows[i]);
		if (store || !ls_told_before(model, rule))
			ereport(WARNING,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					 errmsg("%s", text),
					 errdetail("The rule counts as not matched where it fails: on " INT64_FORMAT " of the %s.",
							   failures->rows[i], rule->event ? "events" : "leads"),
					 store ? errhint("SELECT * FROM leadscore.rule_errors lists the rules that failed.") : 0));
	}
}

/* ---- judging rows for a query ---- */

typedef struct JudgeSide
{
	int			n;
	int		   *rules;			/* index into the model's, by number in the program */
	LsProgram  *program;
	LsEval	   *eval;			/* made at the first row */
	LsVerdict  *verdicts;
	TupleTableSlot *slot;
	TupleDesc	desc;			/* of the records that come */
	Oid			record_type;
	int32		record_typmod;
	Oid			relid;
} JudgeSide;

typedef struct LsJudge
{
	int64		id;
	MemoryContext context;
	MemoryContextCallback callback;
	LsFailures *failures;
	int			guc_level;
	bool		busy;
	JudgeSide	sides[2];		/* leads, events */
	struct LsJudge *next;
} LsJudge;

/* Those of the calls that are running now. */
static LsJudge *judges = NULL;
static int64 last_id = 0;

static void
forget_judge(void *arg)
{
	for (LsJudge **link = &judges; *link; link = &(*link)->next)
		if (*link == arg)
		{
			*link = (*link)->next;
			return;
		}
}

static void
compile_side(JudgeSide *side, const LsModel *model, bool event)
{
	LsRuleSpec *specs = palloc_array(LsRuleSpec, Max(model->nrules, 1));
	Relation	rel;

	side->relid = event ? model->events : model->leads;
	side->rules = palloc_array(int, Max(model->nrules, 1));
	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];

		if (!rule->enabled || rule->event != event)
			continue;
		specs[side->n].name = rule->name;
		specs[side->n].component = rule->component;
		specs[side->n].condition = rule->condition;
		specs[side->n].points = rule->points;
		side->rules[side->n++] = i;
	}
	if (!OidIsValid(side->relid))
		return;
	rel = table_open(side->relid, AccessShareLock);
	side->program = ls_eval_compile_apart(CurrentMemoryContext, model->name, RelationGetDescr(rel),
										  model->ncomponents, side->n, specs);
	side->verdicts = palloc0_array(LsVerdict, Max(side->n, 1));
	table_close(rel, NoLock);
	pfree(specs);
}

/*
 * Let the queries of this model, which has been analysed, evaluate rules by
 * leadscore.judge if one of them may fail; until ls_judge_end, or the end of the
 * current memory context. What begins last must end first.
 */
void
ls_judge_begin(LsModel *model)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore judge", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LsJudge    *judge = palloc0(sizeof(LsJudge));
	int			level = ls_portable_settings();
	bool		may_fail = false;

	for (int side = 0; side < 2; side++)
	{
		compile_side(&judge->sides[side], model, side == 1);
		may_fail |= judge->sides[side].program && ls_eval_may_fail(judge->sides[side].program);
	}
	AtEOXact_GUC(true, level);
	model->judge = NULL;
	MemoryContextSwitchTo(old);
	if (!may_fail)
	{
		MemoryContextDelete(context);
		return;
	}
	MemoryContextSwitchTo(context);
	judge->context = context;
	judge->failures = ls_failures_make(model);
	judge->id = ++last_id;
	judge->callback.func = forget_judge;
	judge->callback.arg = judge;
	MemoryContextRegisterResetCallback(context, &judge->callback);
	judge->next = judges;
	judges = judge;
	model->judge = judge;
	MemoryContextSwitchTo(old);

	/* equal rows that fail would be judged, and so counted, but once */
	judge->guc_level = NewGUCNestLevel();
	(void) set_config_option("enable_memoize", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Tell of rules that failed since ls_judge_begin. */
void
ls_judge_end(LsModel *model, bool store)
{
	LsJudge    *judge = model->judge;

	if (judge == NULL)
		return;
	AtEOXact_GUC(true, judge->guc_level);
	ls_failures_report(judge->failures, store);
	for (int side = 0; side < 2; side++)
		if (judge->sides[side].eval)
			ls_eval_end(judge->sides[side].eval);
	model->judge = NULL;
	MemoryContextDelete(judge->context);
}

/* Why a rule failed, and NULL if it did not. */
const char *
ls_judge_failure(const LsModel *model, int rule)
{
	return model->judge ? model->judge->failures->messages[rule] : NULL;
}

/*
 * " CROSS JOIN LATERAL (...) j", which has in j.p what each rule gives the row
 * called alias. OFFSET 0: once a row.
 */
void
ls_judge_append_join(StringInfo buf, const LsModel *model, bool event, const char *alias)
{
	const JudgeSide *side = &model->judge->sides[event];
	const AttrNumber *attnos;
	int			n = ls_eval_columns(side->program, &attnos);

	appendStringInfo(buf, " CROSS JOIN LATERAL (SELECT " LS_SCHEMA ".judge(" INT64_FORMAT ", %s, ",
					 model->judge->id, event ? "true" : "false");
	if (ls_eval_needs_row(side->program))
		appendStringInfo(buf, "%s.*", alias);	/* the bare name could be a column's */
	else
	{
		appendStringInfoString(buf, "ROW(");
		for (int i = 0; i < n; i++)
			appendStringInfo(buf, "%s%s.%s", i > 0 ? ", " : "", alias,
							 quote_identifier(get_attname(side->relid, attnos[i], false)));
		appendStringInfoChar(buf, ')');
	}
	appendStringInfoString(buf, ") AS p OFFSET 0) j");
}

/* The element of j.p for a rule. */
char *
ls_judge_element(const LsModel *model, int rule)
{
	const JudgeSide *side = &model->judge->sides[model->rules[rule].event];

	for (int i = 0; i < side->n; i++)
		if (side->rules[i] == rule)
			return psprintf("j.p[%d]", i + 1);
	elog(ERROR, "rule %d of model \"%s\" is not enabled", rule, model->name);
}

/* Make ready for records of this type: rows of the table, or the columns that rules read. */
static void
prepare_side(LsJudge *judge, JudgeSide *side, Oid type, int32 typmod)
{
	MemoryContext old = MemoryContextSwitchTo(judge->context);
	const AttrNumber *attnos;
	int			n = ls_eval_columns(side->program, &attnos);
	bool		fits;

	side->record_type = InvalidOid;
	side->desc = lookup_rowtype_tupdesc_copy(type, typmod);
	if (ls_eval_needs_row(side->program))
		fits = type == get_rel_type_id(side->relid);
	else
	{
		fits = side->desc->natts == n;
		for (int i = 0; fits && i < n; i++)
			fits = TupleDescAttr(side->desc, i)->atttypid == get_atttype(side->relid, attnos[i]);
	}
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("these are not the columns that rules read")));
	if (side->eval == NULL)
	{
		Relation	rel = table_open(side->relid, AccessShareLock);

		side->eval = ls_eval_begin(side->program, judge->context);
		side->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(rel)), &TTSOpsVirtual);
		table_close(rel, NoLock);
	}
	side->record_type = type;
	side->record_typmod = typmod;
	MemoryContextSwitchTo(old);
}

/* Spread a record over the slot of the table. */
static void
store_record(JudgeSide *side, HeapTupleHeader record)
{
	TupleTableSlot *slot = side->slot;
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = side->relid;
	tuple.t_data = record;
	ExecClearTuple(slot);
	if (ls_eval_needs_row(side->program))
		heap_deform_tuple(&tuple, side->desc, slot->tts_values, slot->tts_isnull);
	else
	{
		const AttrNumber *attnos;
		int			n = ls_eval_columns(side->program, &attnos);
		Datum	   *values = palloc_array(Datum, Max(n, 1));
		bool	   *nulls = palloc_array(bool, Max(n, 1));

		heap_deform_tuple(&tuple, side->desc, values, nulls);
		memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
		for (int i = 0; i < n; i++)
		{
			slot->tts_values[attnos[i] - 1] = values[i];
			slot->tts_isnull[attnos[i] - 1] = nulls[i];
		}
		pfree(values);
		pfree(nulls);
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * judge(judge bigint, event bool, columns record) -> float8[]
 *
 * Per enabled rule over leads or events, in order: NULL, it does not match; NaN,
 * it is undecided; -Infinity, it failed; else its points.
 */
Datum
leadscore_judge(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);
	HeapTupleHeader record = PG_GETARG_HEAPTUPLEHEADER(2);
	LsJudge    *judge = judges;
	JudgeSide  *side;
	Datum	   *elements;
	bool	   *nulls;
	int			lower = 1;

	while (judge && judge->id != id)
		judge = judge->next;
	if (judge == NULL || judge->busy)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("leadscore.judge can be called by the queries of leadscore only")));
	side = &judge->sides[PG_GETARG_BOOL(1)];
	if (side->program == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no table of events", judge->failures->model->name)));
	if (side->record_type != HeapTupleHeaderGetTypeId(record) ||
		side->record_typmod != HeapTupleHeaderGetTypMod(record))
		prepare_side(judge, side, HeapTupleHeaderGetTypeId(record), HeapTupleHeaderGetTypMod(record));
	store_record(side, record);

	judge->busy = true;
	ls_eval_judge(side->eval, side->slot, side->verdicts);
	judge->busy = false;

	elements = palloc0_array(Datum, Max(side->n, 1));
	nulls = palloc0_array(bool, Max(side->n, 1));
	for (int i = 0; i < side->n; i++)
		switch (side->verdicts[i].is)
		{
			case LS_NOT_MATCHED:
				nulls[i] = true;
				break;
			case LS_MATCHED:
				elements[i] = Float8GetDatum(side->verdicts[i].points);
				break;
			case LS_UNDECIDED:
				elements[i] = Float8GetDatum(get_float8_nan());
				break;
			case LS_FAILED:
				elements[i] = Float8GetDatum(-INFINITY);
				ls_failures_note(judge->failures, side->rules[i], ls_eval_failure(side->eval, i));
				break;
		}
	ExecClearTuple(side->slot);
	PG_RETURN_ARRAYTYPE_P(construct_md_array(elements, nulls, 1, &side->n, &lower, FLOAT8OID,
											 sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
