/*
 * score_support.c
 *	  What the planner is told about reaches(score, threshold, at): that an
 *	  index of class score_ops answers it, and how many rows to expect.
 *
 * Row estimates evaluate the function, at the instant asked for, on the values
 * that ANALYZE kept: the most common ones with their frequencies, and the bounds
 * of the histogram. The latter are quantiles in the order of representations,
 * which has nothing to do with totals, and so a fair sample of the column.
 */
#include "score/score_rank.h"

#include "access/stratnum.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(leadscore_reaches_support);
PG_FUNCTION_INFO_V1(leadscore_level_selectivity);

/* An object of ours that the planner needs may be missing only while we are dropped. */
static Oid
type_in_our_schema(const char *name)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(ls_schema_oid()));
}

/* ----------------------------------------------------------------
 *		Row estimates
 * ----------------------------------------------------------------
 */

/* How many of the values in the slot reach the level; false if the slot is not of scores. */
static bool
count_reaching(const AttStatsSlot *slot, Oid score_type, const ScoreLevel *level,
			   double *share, double *all)
{
	*share = 0.0;
	*all = 0.0;
	if (slot->valuetype != score_type)
		return false;
	for (int i = 0; i < slot->nvalues; i++)
	{
		Score		s;
		double		weight = slot->nnumbers == slot->nvalues ? slot->numbers[i] : 1.0;

		ls_score_from_datum(slot->values[i], &s);
		*all += weight;
		if (score_total(&s, level->at) >= level->threshold)
			*share += weight;
	}
	return true;
}

/*
 * The share of the rows whose score (an expression over relation varRelid) is
 * at least level; a default where there are no statistics that the user may see.
 */
static double
selectivity_of_level(PlannerInfo *root, Node *score, int varRelid, Oid function,
					 const ScoreLevel *level)
{
	VariableStatData vardata;
	AttStatsSlot slot;
	double		selectivity = DEFAULT_INEQ_SEL;

	examine_variable(root, score, varRelid, &vardata);

	/* the statistics must be of scores, whatever the expression says it is */
	if (HeapTupleIsValid(vardata.statsTuple) &&
		statistic_proc_security_check(&vardata, function))
	{
		Form_pg_statistic stats = (Form_pg_statistic) GETSTRUCT(vardata.statsTuple);
		Oid			score_type = type_in_our_schema("score");
		double		null_share = stats->stanullfrac;
		double		common = 0.0,
					common_reaching = 0.0;
		double		sampled = 0.0,
					sampled_reaching = 0.0;
		bool		known = false;

		if (get_attstatsslot(&slot, vardata.statsTuple, STATISTIC_KIND_MCV, InvalidOid,
							 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS))
		{
			known |= count_reaching(&slot, score_type, level, &common_reaching, &common);
			free_attstatsslot(&slot);
		}
		if (get_attstatsslot(&slot, vardata.statsTuple, STATISTIC_KIND_HISTOGRAM, InvalidOid,
							 ATTSTATSSLOT_VALUES))
		{
			known |= count_reaching(&slot, score_type, level, &sampled_reaching, &sampled);
			free_attstatsslot(&slot);
		}
		if (known)
		{
			double		rest = Max(0.0, 1.0 - null_share - common);

			selectivity = common_reaching;
			if (sampled > 0.0)
			{
				/* none or all of a sample is not none or all of the rows */
				double		share = sampled_reaching / sampled;
				double		least = 0.5 / sampled;

				selectivity += rest * Min(Max(share, least), 1.0 - least);
			}
		}
	}
	ReleaseVariableStats(vardata);
	CLAMP_PROBABILITY(selectivity);
	return selectivity;
}

/* The value of an expression if it can be known at planning time (now() can), else false. */
static bool
estimate_constant(PlannerInfo *root, Node *expr, Oid type, Datum *value, bool *isnull)
{
	Node	   *estimate = estimate_expression_value(root, expr);

	if (!IsA(estimate, Const) || ((Const *) estimate)->consttype != type)
		return false;
	*value = ((Const *) estimate)->constvalue;
	*isnull = ((Const *) estimate)->constisnull;
	return true;
}

/* reaches(score, threshold, at) in WHERE */
static bool
reaches_selectivity(SupportRequestSelectivity *req)
{
	Datum		threshold,
				at;
	bool		threshold_null,
				at_null;
	ScoreLevel	level;

	if (req->is_join || list_length(req->args) != 3)
		return false;
	if (!estimate_constant(req->root, lsecond(req->args), FLOAT8OID, &threshold, &threshold_null) ||
		!estimate_constant(req->root, lthird(req->args), TIMESTAMPTZOID, &at, &at_null))
		return false;
	if (threshold_null || at_null)
	{
		req->selectivity = 0.0;
		return true;
	}
	/* arguments that the function would refuse are its to report, not ours */
	level.threshold = DatumGetFloat8(threshold);
	level.at = DatumGetTimestampTz(at);
	if (!score_instant_is_valid(level.at))
		return false;
	req->selectivity = selectivity_of_level(req->root, linitial(req->args), req->varRelid,
											req->funcid, &level);
	return true;
}

/* score @>= level: restriction estimator of the operator that index conditions use */
Datum
leadscore_level_selectivity(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid			operator = PG_GETARG_OID(1);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	Datum		level;
	bool		isnull;

	if (list_length(args) != 2 ||
		!estimate_constant(root, lsecond(args), type_in_our_schema(LS_LEVEL_TYPE), &level, &isnull))
		PG_RETURN_FLOAT8(DEFAULT_INEQ_SEL);
	if (isnull)
		PG_RETURN_FLOAT8(0.0);
	PG_RETURN_FLOAT8(selectivity_of_level(root, linitial(args), varRelid, get_opcode(operator),
										  (ScoreLevel *) DatumGetPointer(level)));
}

/* ----------------------------------------------------------------
 *		Index conditions
 * ----------------------------------------------------------------
 */

/*
 * reaches(column, threshold, at) becomes column @>= level(threshold, at), if the
 * index's operator family has that operator and the arguments do not change
 * during the scan. The index answers it exactly, so there is no recheck.
 */
static List *
reaches_index_condition(SupportRequestIndexCondition *req)
{
	FuncExpr   *call = (FuncExpr *) req->node;
	Oid			argtypes[] = {FLOAT8OID, TIMESTAMPTZOID};
	Oid			level_type;
	Oid			score_type;
	Oid			operator;
	Oid			function;
	Node	   *threshold;
	Node	   *at;
	Expr	   *level;

	if (!IsA(call, FuncExpr) || req->indexarg != 0 || list_length(call->args) != 3)
		return NIL;
	threshold = lsecond(call->args);
	at = lthird(call->args);
	if (!is_pseudo_constant_for_index(req->root, threshold, req->index) ||
		!is_pseudo_constant_for_index(req->root, at, req->index))
		return NIL;

	score_type = exprType(linitial(call->args));
	level_type = type_in_our_schema(LS_LEVEL_TYPE);
	operator = get_opfamily_member(req->opfamily, score_type, level_type, LS_REACHES_STRATEGY);
	if (!OidIsValid(operator) || get_op_rettype(operator) != BOOLOID)
		return NIL;
	function = LookupFuncName(list_make2(makeString(pstrdup(LS_SCHEMA)), makeString(pstrdup(LS_LEVEL_FUNCTION))),
							  2, argtypes, true);
	if (!OidIsValid(function) || get_func_rettype(function) != level_type)
		return NIL;

	level = (Expr *) makeFuncExpr(function, level_type, list_make2(threshold, at),
								  InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	req->lossy = false;
	return list_make1(make_opclause(operator, BOOLOID, false, linitial(call->args), level,
									InvalidOid, InvalidOid));
}

Datum
leadscore_reaches_support(PG_FUNCTION_ARGS)
{
	Node	   *req = (Node *) PG_GETARG_POINTER(0);

	if (IsA(req, SupportRequestSelectivity) &&
		reaches_selectivity((SupportRequestSelectivity *) req))
		PG_RETURN_POINTER(req);
	if (IsA(req, SupportRequestIndexCondition))
		PG_RETURN_POINTER(reaches_index_condition((SupportRequestIndexCondition *) req));
	PG_RETURN_POINTER(NULL);
}
