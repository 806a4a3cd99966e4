/*
 * eval_probe.c
 *	  What the regression tests call to compare the evaluator with plain SQL.
 *
 * The install script does not declare this function; a test does, and only a
 * superuser can.
 */
#include "leadscore.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "model/eval.h"

PG_FUNCTION_INFO_V1(leadscore_eval_probe);

static char **
text_array(ArrayType *array, int *n)
{
	Datum	   *values;
	char	  **texts;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, n);
	texts = palloc_array(char *, Max(*n, 1));
	for (int i = 0; i < *n; i++)
		texts[i] = TextDatumGetCString(values[i]);
	return texts;
}

/*
 * leadscore_eval_probe(relation regclass, conditions text[], points text[], components int[],
 *		how text, OUT key text, OUT points float8[], OUT rules int[], OUT failed int[])
 *
 * how: slot or args, without regard to failures; safe (as a scan or a trigger
 * does), safe args (as a query does); judge: as for an account, where failed has
 * the rules that are undecided, too, as negative numbers; or compile: one row
 * whose key says how the rules are evaluated.
 */
Datum
leadscore_eval_probe(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	char	   *how = text_to_cstring(PG_GETARG_TEXT_PP(4));
	Datum	   *components;
	int			nrules,
				ncomponents = 0;
	char	  **conditions = text_array(PG_GETARG_ARRAYTYPE_P(1), &nrules);
	char	  **points_texts = text_array(PG_GETARG_ARRAYTYPE_P(2), &nrules);
	LsRuleSpec *rules = palloc_array(LsRuleSpec, Max(nrules, 1));
	int			nwords = Max(LS_RULE_WORDS(nrules), 1);
	uint64	   *matched = palloc0_array(uint64, nwords);
	uint64	   *failed = palloc0_array(uint64, nwords);
	double		points[SCORE_MAX_COMPONENTS];
	LsParsed	parsed;
	LsProgram  *program;
	LsEval	   *eval;
	const AttrNumber *attnos;
	int			nattnos;
	NullableDatum *args;
	bool		judge = strcmp(how, "judge") == 0;
	LsVerdict  *verdicts;
	TableScanDesc scan;
	TupleTableSlot *slot;
	Oid			out;
	bool		varlena;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser may call this function, which is for tests")));
	InitMaterializedSRF(fcinfo, 0);

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &components, NULL, &nrules);
	for (int i = 0; i < nrules; i++)
	{
		rules[i].name = psprintf("rule %d", i + 1);
		rules[i].component = DatumGetInt32(components[i]) - 1;
		ls_condition_parse(conditions[i], RelationGetRelid(rel), rules[i].name, "probe", false, &parsed);
		rules[i].condition = parsed.expr;
		ls_condition_parse(points_texts[i], RelationGetRelid(rel), rules[i].name, "probe", true, &parsed);
		rules[i].points = parsed.expr;
		ncomponents = Max(ncomponents, rules[i].component + 1);
	}
	program = (judge ? ls_eval_compile_apart : ls_eval_compile)
		(CurrentMemoryContext, "probe", RelationGetDescr(rel), ncomponents, nrules, rules);
	verdicts = palloc0_array(LsVerdict, Max(nrules, 1));
	if (strcmp(how, "compile") == 0)
	{
		Datum		values[4] = {CStringGetTextDatum(ls_eval_describe(program))};
		bool		nulls[4] = {false, true, true, true};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		table_close(rel, AccessShareLock);
		PG_RETURN_NULL();
	}

	eval = ls_eval_begin(program, CurrentMemoryContext);
	nattnos = ls_eval_columns(program, &attnos);
	args = palloc0_array(NullableDatum, Max(nattnos, 1));
	getTypeOutputInfo(TupleDescAttr(RelationGetDescr(rel), 0)->atttypid, &out, &varlena);

	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Datum		values[4] = {0};
		bool		nulls[4] = {false, false, false, true};
		Datum		sums[SCORE_MAX_COMPONENTS];
		Datum	   *numbers = palloc_array(Datum, Max(nrules, 1));
		int			n = 0;

		if (judge)
		{
			ls_eval_judge(eval, slot, verdicts);
			memset(points, 0, sizeof(points));
			memset(matched, 0, nwords * sizeof(uint64));
			for (int i = 0; i < nrules; i++)
				if (verdicts[i].is == LS_MATCHED)
				{
					points[rules[i].component] += verdicts[i].points;
					matched[i / 64] |= UINT64CONST(1) << (i % 64);
				}
		}
		else if (strcmp(how, "args") == 0 || strcmp(how, "safe args") == 0)
		{
			slot_getallattrs(slot);
			for (int i = 0; i < nattnos; i++)
			{
				args[i].value = slot->tts_values[attnos[i] - 1];
				args[i].isnull = slot->tts_isnull[attnos[i] - 1];
			}
			if (strcmp(how, "args") == 0)
				ls_eval_args(eval, args, points, matched);
			else
				nulls[3] = !ls_eval_args_safe(eval, args, points, matched, failed);
		}
		else if (strcmp(how, "safe") == 0)
			nulls[3] = !ls_eval_slot_safe(eval, slot, points, matched, failed);
		else
			ls_eval_slot(eval, slot, points, matched);

		slot_getallattrs(slot);
		values[0] = CStringGetTextDatum(OidOutputFunctionCall(out, slot->tts_values[0]));
		for (int i = 0; i < ncomponents; i++)
			sums[i] = Float8GetDatum(points[i]);
		values[1] = PointerGetDatum(construct_array(sums, ncomponents, FLOAT8OID, sizeof(float8),
													FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		for (int i = 0; i < nrules; i++)
			if (LS_RULE_IN(matched, i))
				numbers[n++] = Int32GetDatum(i + 1);
		values[2] = PointerGetDatum(construct_array(numbers, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
		if (judge)
		{
			n = 0;
			for (int i = 0; i < nrules; i++)
				if (verdicts[i].is == LS_FAILED || verdicts[i].is == LS_UNDECIDED)
					numbers[n++] = Int32GetDatum(verdicts[i].is == LS_FAILED ? i + 1 : -(i + 1));
			values[3] = PointerGetDatum(construct_array(numbers, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
			nulls[3] = n == 0;
		}
		else if (!nulls[3])
		{
			n = 0;
			for (int i = 0; i < nrules; i++)
				if (LS_RULE_IN(failed, i))
					numbers[n++] = Int32GetDatum(i + 1);
			values[3] = PointerGetDatum(construct_array(numbers, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	ls_eval_end(eval);
	table_close(rel, AccessShareLock);
	PG_RETURN_NULL();
}
