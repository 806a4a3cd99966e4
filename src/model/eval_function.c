/*
 * eval_function.c
 *	  Scoring in a query: leadscore.fit(model, lead).
 *
 * Written with the row of the table, fit would make the executor build a
 * composite value for every lead. The planner support function here replaces
 *
 *		fit('b2b', l)
 * by
 *		fit_columns('b2b', 3, '{2,3,7}', l.id, l.sector, l.employees, l.country)
 *
 * where 3 is the live version, and the columns are the ones its rules read. A
 * version's rules are frozen, so the number stands for them; the plan is made
 * again when another version goes live or a table changes.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "model/eval.h"

PG_FUNCTION_INFO_V1(leadscore_fit);
PG_FUNCTION_INFO_V1(leadscore_fit_columns);
PG_FUNCTION_INFO_V1(leadscore_fit_support);

/* positions of the arguments of fit_columns */
#define ARG_MODEL		0
#define ARG_VERSION		1
#define ARG_ATTNOS		2
#define ARG_KEY			3
#define ARG_COLUMNS		4

typedef struct FitState
{
	char	   *name;
	const LsCompiled *compiled;
	LsEval	   *eval;
	uint64	   *failed;
	/* fit: rows as they come */
	Oid			row_type;
	TupleTableSlot *slot;
} FitState;

/* The score of a lead that has these points and no events. */
static float8
fit_total(const LsModel *model, const double *points)
{
	double		total = 0;

	for (int i = 0; i < model->ncomponents; i++)
		total += score_clamp(points[i], model->components[i].lo, model->components[i].hi);
	return score_saturate(score_clamp(total, model->lo, model->hi));
}

static FitState *
begin_fit(FunctionCallInfo fcinfo, const char *name, int version)
{
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	FitState   *state = MemoryContextAllocZero(context, sizeof(FitState));

	state->name = MemoryContextStrdup(context, name);
	state->compiled = ls_compiled_get(name, version, false, context);
	state->eval = ls_eval_begin(state->compiled->program, context);
	state->failed = MemoryContextAllocZero(context, Max(LS_RULE_WORDS(state->compiled->model->nrules), 1) *
										   sizeof(uint64));
	return state;
}

/* A query that asks cannot write down which rules failed: it tells, once a session. */
static pg_noinline void
tell_failures(const FitState *state)
{
	const LsModel *model = state->compiled->model;

	for (int i = 0; i < model->nrules; i++)
		if (LS_RULE_IN(state->failed, i))
			ls_failure_tell(model, &model->rules[state->compiled->rules[i]], ls_eval_failure(state->eval, i));
}

static bool
same_name(const FitState *state, text *name)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	return strncmp(state->name, VARDATA_ANY(name), len) == 0 && state->name[len] == '\0';
}

/* A slot for rows of the type given, which must be rows of the model's leads. */
static void
prepare_rows(FitState *state, Oid row_type, int32 typmod, MemoryContext context)
{
	const LsModel *model = state->compiled->model;
	MemoryContext old;
	TupleDesc	desc;

	if (row_type != get_rel_type_id(model->leads))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the leads of model \"%s\" are rows of %s, not of %s", model->name,
						get_rel_name(model->leads), format_type_be(row_type)),
				 errhint("Write SELECT leadscore.fit('%s', l) FROM %s l.", model->name,
						 get_rel_name(model->leads))));
	old = MemoryContextSwitchTo(context);
	desc = lookup_rowtype_tupdesc_copy(row_type, typmod);
	if (state->slot)
		ExecDropSingleTupleTableSlot(state->slot);
	state->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	state->row_type = row_type;
	MemoryContextSwitchTo(old);
}

/*
 * fit(model text, lead record) -> float8
 */
Datum
leadscore_fit(PG_FUNCTION_ARGS)
{
	FitState   *state = (FitState *) fcinfo->flinfo->fn_extra;
	text	   *name = PG_GETARG_TEXT_PP(0);
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(1);
	double		points[SCORE_MAX_COMPONENTS];
	HeapTupleData tuple;
	bool		isnull;

	if (state == NULL || !same_name(state, name))
	{
		state = begin_fit(fcinfo, text_to_cstring(name), LS_LIVE);
		fcinfo->flinfo->fn_extra = state;
	}
	if (state->row_type != HeapTupleHeaderGetTypeId(row))
		prepare_rows(state, HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row),
					 fcinfo->flinfo->fn_mcxt);

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = state->compiled->model->leads;
	tuple.t_data = row;
	ExecStoreHeapTuple(&tuple, state->slot, false);
	(void) slot_getattr(state->slot, state->compiled->model->lead_attno, &isnull);
	if (!isnull && ls_eval_slot_safe(state->eval, state->slot, points, NULL, state->failed))
		tell_failures(state);
	ExecClearTuple(state->slot);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(fit_total(state->compiled->model, points));
}

/* Are these the columns that the program reads? */
static bool
same_columns(const LsCompiled *compiled, ArrayType *attnos, int nargs)
{
	const AttrNumber *needed;
	int			n = ls_eval_columns(compiled->program, &needed);

	if (nargs != ARG_COLUMNS + n || ARR_HASNULL(attnos) || ARR_ELEMTYPE(attnos) != INT2OID ||
		ArrayGetNItems(ARR_NDIM(attnos), ARR_DIMS(attnos)) != n)
		return false;
	return n == 0 || memcmp((char *) attnos + ARR_OVERHEAD_NONULLS(ARR_NDIM(attnos)), needed,
							n * sizeof(AttrNumber)) == 0;
}

static FitState *
begin_fit_columns(FunctionCallInfo fcinfo)
{
	FitState   *state;
	const AttrNumber *attnos;
	int			n;
	bool		fits;

	if (PG_ARGISNULL(ARG_MODEL) || PG_ARGISNULL(ARG_VERSION) || PG_ARGISNULL(ARG_ATTNOS))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("model, version and columns must not be null")));
	state = begin_fit(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODEL)), PG_GETARG_INT32(ARG_VERSION));
	n = ls_eval_columns(state->compiled->program, &attnos);
	fits = same_columns(state->compiled, PG_GETARG_ARRAYTYPE_P(ARG_ATTNOS), PG_NARGS()) &&
		!ls_eval_needs_row(state->compiled->program);
	for (int i = 0; fits && i < n; i++)
		fits = get_fn_expr_argtype(fcinfo->flinfo, ARG_COLUMNS + i) ==
			get_atttype(state->compiled->model->leads, attnos[i]);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("these are not the columns that version %d of model \"%s\" reads",
						state->compiled->model->version, state->name),
				 errhint("Run the query again; fit_columns is called by way of leadscore.fit.")));
	return state;
}

/*
 * fit_columns(model text, version int, attnos int2[], VARIADIC key and columns "any") -> float8
 *
 * The first three are constants of the plan, looked at once.
 */
Datum
leadscore_fit_columns(PG_FUNCTION_ARGS)
{
	FitState   *state = (FitState *) fcinfo->flinfo->fn_extra;
	double		points[SCORE_MAX_COMPONENTS];

	if (unlikely(state == NULL))
	{
		state = begin_fit_columns(fcinfo);
		fcinfo->flinfo->fn_extra = state;
	}
	/* a lead without a key is no lead, but the empty side of an outer join */
	if (PG_ARGISNULL(ARG_KEY))
		PG_RETURN_NULL();
	if (unlikely(ls_eval_args_safe(state->eval, &fcinfo->args[ARG_COLUMNS], points, NULL, state->failed)))
		tell_failures(state);
	PG_RETURN_FLOAT8(fit_total(state->compiled->model, points));
}

/* A column of the same table reference as a whole-row Var. */
static Var *
column_var(Var *row, Oid relid, AttrNumber attno)
{
	Var		   *var = copyObject(row);

	var->varattno = attno;
	var->varattnosyn = attno;
	get_atttypetypmodcoll(relid, attno, &var->vartype, &var->vartypmod, &var->varcollid);
	return var;
}

static Node *
simplify_fit(SupportRequestSimplify *request)
{
	FuncExpr   *call = request->fcall;
	Const	   *name;
	Var		   *row;
	RangeTblEntry *rte;
	const LsCompiled *compiled;
	const AttrNumber *attnos;
	Datum	   *elements;
	Oid			argtypes[4] = {TEXTOID, INT4OID, INT2ARRAYOID, ANYOID};
	Oid			func;
	List	   *args;
	int			n;

	if (request->root == NULL || list_length(call->args) != 2 || !ActiveSnapshotSet())
		return NULL;
	name = linitial(call->args);
	row = lsecond(call->args);
	if (!IsA(name, Const) || name->constisnull)
		return NULL;

	/* from here on even if the call stays: planning a query loads the model */
	compiled = ls_compiled_get(TextDatumGetCString(name->constvalue), LS_LIVE, false, CurrentMemoryContext);
	/* rules whose failure needs a subtransaction: no parallel plan, where that cannot have one */
	if (ls_eval_not_parallel(compiled->program))
		request->root->glob->parallelModeOK = false;
	if (!IsA(row, Var) || row->varattno != InvalidAttrNumber || row->varlevelsup != 0)
		return NULL;
	rte = planner_rt_fetch(row->varno, request->root);
	if (rte->rtekind != RTE_RELATION || rte->relid != compiled->model->leads ||
		ls_eval_needs_row(compiled->program))
		return NULL;
	n = ls_eval_columns(compiled->program, &attnos);
	if (n > FUNC_MAX_ARGS - ARG_COLUMNS)
		return NULL;
	func = LookupFuncName(list_make2(makeString(LS_SCHEMA), makeString("fit_columns")), 4, argtypes, true);
	if (!OidIsValid(func))
		return NULL;

	elements = palloc_array(Datum, Max(n, 1));
	for (int i = 0; i < n; i++)
		elements[i] = Int16GetDatum(attnos[i]);
	args = list_make4(name,
					  makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
								Int32GetDatum(compiled->model->version), false, true),
					  makeConst(INT2ARRAYOID, -1, InvalidOid, -1,
								PointerGetDatum(construct_array(elements, n, INT2OID, sizeof(int16),
																true, TYPALIGN_SHORT)), false, false),
					  column_var(row, rte->relid, compiled->model->lead_attno));
	for (int i = 0; i < n; i++)
		args = lappend(args, column_var(row, rte->relid, attnos[i]));

	/* a cached plan is made again when a model changes */
	request->root->glob->relationOids = list_concat_unique_oid(request->root->glob->relationOids,
															   ls_model_catalog_relids());
	return (Node *) makeFuncExpr(func, call->funcresulttype, args, call->funccollid,
								 call->inputcollid, COERCE_EXPLICIT_CALL);
}

Datum
leadscore_fit_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	Node	   *result = NULL;

	if (IsA(request, SupportRequestSimplify))
		result = simplify_fit((SupportRequestSimplify *) request);
	PG_RETURN_POINTER(result);
}
