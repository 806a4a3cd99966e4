/*
 * eval_run.c
 *	  Rules over one row: the class of each column's value, the points that go
 *	  with it, then the conditions over several columns.
 *
 * Nothing is allocated for a row except by PostgreSQL's expressions, in a
 * context that the next row resets, and to fetch values out of TOAST.
 */
#include "leadscore.h"

#include <math.h>

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "model/eval_int.h"
#include "model/model.h"
#include "score/score.h"

static void
eval_error_callback(void *arg)
{
	const LsEval *eval = arg;

	if (eval->running)
		errcontext("%s of rule \"%s\" of model \"%s\"", eval->running->points ? "points" : "condition",
				   eval->program->names[eval->running->rule], eval->program->model);
}

/* ---- values to classes ---- */

/* The bytes of a text; *copy is to be freed, if not NULL. */
static inline const char *
text_bytes(Datum value, int *len, struct varlena **copy)
{
	struct varlena *text = (struct varlena *) DatumGetPointer(value);

	*copy = NULL;
	if (likely(VARATT_IS_1B(text) && !VARATT_IS_1B_E(text)))
	{
		*len = VARSIZE_1B(text) - VARHDRSZ_SHORT;
		return VARDATA_1B(text);
	}
	if (!VARATT_IS_4B_U(text))
		*copy = text = pg_detoast_datum_packed(text);
	*len = VARSIZE_ANY_EXHDR(text);
	return VARDATA_ANY(text);
}

static inline int
class_of_key(const LsColumn *column, int64 key)
{
	const int64 *keys = column->keys;
	int			n = column->n;
	int			below = 0;

	if (n <= 12)
	{
		/* no branch to mispredict */
		for (int i = 0; i < n; i++)
			below += keys[i] < key;
	}
	else
	{
		while (n > 1)
		{
			int			half = n / 2;

			below = keys[below + half - 1] < key ? below + half : below;
			n -= half;
		}
		below += keys[below] < key;
	}
	return 2 * below + (below < column->n && keys[below] == key);
}

static pg_attribute_always_inline int
class_of_bytes(const LsColumn *column, const char *bytes, int len)
{
	int			found = ls_bytes_find(&column->table, column->texts, bytes, len);

	return found < 0 ? 2 * column->n : 2 * found + 1;
}

static inline bool
matches_pattern(const LsPattern *pattern, const char *bytes, int len)
{
	bool		found;

	if (pattern->len > len)
		found = false;
	else if (pattern->kind == LS_PATTERN_CONTAINS)
		found = pattern->len == 0 || memmem(bytes, len, pattern->bytes, pattern->len) != NULL;
	else
	{
		const char *start = pattern->kind == LS_PATTERN_PREFIX ? bytes : bytes + len - pattern->len;

		if (likely(len >= 8))
		{
			uint64		word;

			memcpy(&word, pattern->kind == LS_PATTERN_PREFIX ? bytes : bytes + len - 8, 8);
			found = ((word ^ pattern->word) & pattern->mask) == 0 &&
				(pattern->len <= 8 || memcmp(start, pattern->bytes, pattern->len) == 0);
		}
		else
			found = memcmp(start, pattern->bytes, pattern->len) == 0;
	}
	return found != pattern->negate;
}

/*
 * One column of the row: remember the class, add what the class and the
 * patterns give.
 */
static pg_attribute_always_inline void
do_column(const LsProgram *program, const LsColumn *column, int *class, Datum value, bool isnull,
		  double *points, uint64 *matched)
{
	int			null_class = 2 * column->n + 1;
	int			found;
	int64		key;

	/* numbers that are passed by value are looked up even if they are NULL: a guess would cost more */
	switch (column->kind)
	{
		case LS_KIND_BOOL:
			found = class_of_key(column, DatumGetBool(value) ? 1 : 0);
			found = isnull ? null_class : found;
			break;
		case LS_KIND_INT2:
			found = class_of_key(column, DatumGetInt16(value));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_INT4:
			found = class_of_key(column, DatumGetInt32(value));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_INT8:
			if (isnull && !FLOAT8PASSBYVAL)
			{
				found = null_class;
				break;
			}
			found = class_of_key(column, DatumGetInt64(value));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_FLOAT4:
			found = class_of_key(column, ls_double_key((double) DatumGetFloat4(value)));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_FLOAT8:
			if (isnull && !FLOAT8PASSBYVAL)
			{
				found = null_class;
				break;
			}
			found = class_of_key(column, ls_double_key(DatumGetFloat8(value)));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_OID:
			found = class_of_key(column, DatumGetObjectId(value));
			found = isnull ? null_class : found;
			break;
		case LS_KIND_NUMERIC:
			if (isnull)
			{
				found = null_class;
				break;
			}
			(void) ls_numeric_key(value, &key);
			found = class_of_key(column, key);
			break;
		case LS_KIND_TEXT:
		case LS_KIND_BPCHAR:
			{
				struct varlena *copy;
				int			len;
				const char *bytes;

				if (isnull)
				{
					found = null_class;
					break;
				}
				bytes = text_bytes(value, &len, &copy);
				if (column->kind == LS_KIND_BPCHAR)
					len = ls_bpchar_length(bytes, len);
				found = column->classify ? class_of_bytes(column, bytes, len) : 0;
				for (int i = 0; i < column->npatterns; i++)
				{
					const LsPattern *pattern = &column->patterns[i];

					if (matches_pattern(pattern, bytes, len))
					{
						points[pattern->component] += pattern->points;
						if (matched)
							matched[pattern->rule / 64] |= UINT64CONST(1) << (pattern->rule % 64);
					}
				}
				if (copy)
					pfree(copy);
				break;
			}
		default:
			found = isnull ? null_class : 0;
			break;
	}
	*class = found;
	if (column->any_points)
	{
		if (likely(column->component >= 0))
			points[column->component] += column->component_points[found];
		else
		{
			const double *add = column->points + (Size) found * program->ncomponents;

			for (int i = 0; i < program->ncomponents; i++)
				points[i] += add[i];
		}
		if (matched)
			for (int i = 0; i < program->nwords; i++)
				matched[i] |= column->rules[(Size) found * program->nwords + i];
	}
}

/* ---- conditions over several columns ---- */

/* Where the values of the current row are: by attribute, or in the program's order. */
typedef struct LsRow
{
	TupleTableSlot *slot;		/* what expressions read */
	const Datum *values;
	const bool *isnull;
	const NullableDatum *args;
} LsRow;

static uint8
node_truth(LsEval *eval, const LsNode *node, const LsRow *row)
{
	uint8		truth;
	uint8		arg;

	switch (node->op)
	{
		case LS_NODE_CLASS:
			return node->truths[eval->classes[node->column]];

		case LS_NODE_CONST:
			return node->truth;

		case LS_NODE_PATTERN:
			{
				const LsColumn *column = &eval->program->columns[node->column];
				struct varlena *copy;
				const char *bytes;
				int			len;

				if (row->args ? row->args[column->arg].isnull : row->isnull[column->attno - 1])
					return LS_UNKNOWN;
				bytes = text_bytes(row->args ? row->args[column->arg].value : row->values[column->attno - 1],
								   &len, &copy);
				truth = matches_pattern(&node->pattern, bytes, len) ? LS_TRUE : LS_FALSE;
				if (copy)
					pfree(copy);
				return truth;
			}

		case LS_NODE_NOT:
			return LS_TRUE - node_truth(eval, node->args[0], row);

		case LS_NODE_TEST:
			return ls_boolean_test(node->test, node_truth(eval, node->args[0], row));

		case LS_NODE_AND:
			truth = LS_TRUE;
			for (int i = 0; i < node->nargs && truth != LS_FALSE; i++)
			{
				/* Min() would evaluate it twice */
				arg = node_truth(eval, node->args[i], row);
				truth = Min(truth, arg);
			}
			return truth;

		case LS_NODE_OR:
			truth = LS_FALSE;
			for (int i = 0; i < node->nargs && truth != LS_TRUE; i++)
			{
				arg = node_truth(eval, node->args[i], row);
				truth = Max(truth, arg);
			}
			return truth;

		case LS_NODE_EXPR:
			{
				bool		isnull;
				Datum		value;

				eval->running = &eval->program->exprs[node->expr];
				value = ExecEvalExprSwitchContext(eval->states[node->expr], eval->econtext, &isnull);
				eval->running = NULL;
				return isnull ? LS_UNKNOWN : DatumGetBool(value) ? LS_TRUE : LS_FALSE;
			}
	}
	pg_unreachable();
}

/* Points that depend on the row; false if they are NULL. */
static bool
expression_points(LsEval *eval, int expr, double *result)
{
	bool		isnull;
	Datum		value;
	double		points;

	eval->running = &eval->program->exprs[expr];
	value = ExecEvalExprSwitchContext(eval->states[expr], eval->econtext, &isnull);
	points = isnull ? 0 : DatumGetFloat8(value);
	if (unlikely(isnan(points) || isinf(points)))
		ls_score_check(SCORE_BAD_NUMBER);
	eval->running = NULL;
	*result = points;
	return !isnull;
}

/* A rule whose points are NULL gives nothing: it does not match. */
static inline void
do_tree(LsEval *eval, const LsTreeRule *tree, const LsRow *row, double *points, uint64 *matched)
{
	double		given = tree->points;

	if (node_truth(eval, tree->root, row) != LS_TRUE ||
		(tree->points_expr >= 0 && !expression_points(eval, tree->points_expr, &given)))
		return;
	points[tree->component] += given;
	if (matched)
		matched[tree->rule / 64] |= UINT64CONST(1) << (tree->rule % 64);
}

/* ---- rows ---- */

static inline void
start_row(const LsProgram *program, double *points, uint64 *matched)
{
	for (int i = 0; i < program->ncomponents; i++)
		points[i] = program->base[i];
	if (matched)
		for (int i = 0; i < program->nwords; i++)
			matched[i] = program->base_rules[i];
}

static void
do_trees(LsEval *eval, const LsRow *row, double *points, uint64 *matched)
{
	const LsProgram *program = eval->program;
	ErrorContextCallback callback;

	if (eval->econtext == NULL)
	{
		for (int i = 0; i < program->ntrees; i++)
			do_tree(eval, &program->trees[i], row, points, matched);
		return;
	}

	callback.callback = eval_error_callback;
	callback.arg = eval;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	eval->running = NULL;
	ResetExprContext(eval->econtext);
	if (program->by_settings)
	{
		LsSettings	saved;

		ls_settings_enter(&saved);
		PG_TRY();
		{
			for (int i = 0; i < program->ntrees; i++)
				do_tree(eval, &program->trees[i], row, points, matched);
		}
		PG_FINALLY();
		{
			ls_settings_leave(&saved);
		}
		PG_END_TRY();
	}
	else
	{
		for (int i = 0; i < program->ntrees; i++)
			do_tree(eval, &program->trees[i], row, points, matched);
	}
	error_context_stack = callback.previous;
}

static pg_attribute_always_inline void
do_value_columns(LsEval *eval, const LsRow *row, double *points, uint64 *matched)
{
	const LsProgram *program = eval->program;

	start_row(program, points, matched);
	for (int i = 0; i < program->ncolumns; i++)
	{
		const LsColumn *column = &program->columns[i];

		do_column(program, column, &eval->classes[i], row->values[column->attno - 1],
				  row->isnull[column->attno - 1], points, matched);
	}
}

/*
 * The points that a row gives to each component, and, unless matched is NULL,
 * which rules give them. The row must be one of the table the program is for;
 * only the columns of ls_eval_columns are looked at. A program that has
 * expressions needs the slot, others do not look at it.
 */
void
ls_eval_values(LsEval *eval, const Datum *values, const bool *isnull, TupleTableSlot *slot,
			   double *points, uint64 *matched)
{
	LsRow		row = {slot, values, isnull, NULL};

	/* what a scan scores leads with has no rules to note down */
	if (matched == NULL)
		do_value_columns(eval, &row, points, NULL);
	else
		do_value_columns(eval, &row, points, matched);
	if (eval->program->ntrees == 0)
		return;
	if (eval->econtext)
		eval->econtext->ecxt_scantuple = slot;
	do_trees(eval, &row, points, matched);
}

/* The same for a row in a slot. */
void
ls_eval_slot(LsEval *eval, TupleTableSlot *slot, double *points, uint64 *matched)
{
	slot_getsomeattrs(slot, eval->program->last_attno);
	ls_eval_values(eval, slot->tts_values, slot->tts_isnull, slot, points, matched);
}

static inline void
do_args_columns(LsEval *eval, const NullableDatum *args, LsRow *row, double *points, uint64 *matched)
{
	const LsProgram *program = eval->program;

	start_row(program, points, matched);
	if (matched == NULL)
	{
		/* what a query scores leads with: no rules to note down */
		for (int i = 0; i < program->ncolumns; i++)
		{
			const LsColumn *column = &program->columns[i];

			do_column(program, column, &eval->classes[i], args[column->arg].value,
					  args[column->arg].isnull, points, NULL);
		}
	}
	else
	{
		for (int i = 0; i < program->ncolumns; i++)
		{
			const LsColumn *column = &program->columns[i];

			do_column(program, column, &eval->classes[i], args[column->arg].value,
					  args[column->arg].isnull, points, matched);
		}
	}
	row->slot = eval->slot;
	row->values = NULL;
	row->isnull = NULL;
	row->args = args;
	if (eval->econtext)
	{
		TupleTableSlot *slot = eval->slot;

		ExecClearTuple(slot);
		for (int i = 0; i < program->nattnos; i++)
		{
			slot->tts_values[program->attnos[i] - 1] = args[i].value;
			slot->tts_isnull[program->attnos[i] - 1] = args[i].isnull;
		}
		ExecStoreVirtualTuple(slot);
		eval->econtext->ecxt_scantuple = slot;
	}
}

/* The same for a row of which only the columns of ls_eval_columns are given. */
void
ls_eval_args(LsEval *eval, const NullableDatum *args, double *points, uint64 *matched)
{
	LsRow		row;

	do_args_columns(eval, args, &row, points, matched);
	if (eval->program->ntrees > 0)
		do_trees(eval, &row, points, matched);
}

static pg_noinline void
points_by_settings(LsEval *eval, int rule, double *points)
{
	LsSettings	saved;

	ls_settings_enter(&saved);
	PG_TRY();
	{
		(void) expression_points(eval, eval->program->points_exprs[rule], points);
	}
	PG_FINALLY();
	{
		ls_settings_leave(&saved);
	}
	PG_END_TRY();
}

/* The points that a rule which matched the row in slot gives by itself. */
double
ls_eval_rule_points(LsEval *eval, TupleTableSlot *slot, int rule)
{
	const LsProgram *program = eval->program;
	ErrorContextCallback callback;
	double		points;
	int			path = 0;

	if (program->points_exprs[rule] < 0)
		return program->constants[rule];

	callback.callback = eval_error_callback;
	callback.arg = eval;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	eval->econtext->ecxt_scantuple = slot;
	if (program->fails == LS_FAILS_ANYHOW)
		path = ls_portable_path();
	if (program->by_settings)
		points_by_settings(eval, rule, &points);
	else
		(void) expression_points(eval, program->points_exprs[rule], &points);
	if (path)
		AtEOXact_GUC(true, path);
	error_context_stack = callback.previous;
	return points;
}

/* ---- rows whose rules may fail ---- */

static inline void
judge_tree(LsEval *eval, const LsTreeRule *tree, const LsRow *row, LsVerdict *verdict)
{
	uint8		truth = node_truth(eval, tree->root, row);

	verdict->points = tree->points;
	if (truth == LS_TRUE && tree->points_expr >= 0 &&
		!expression_points(eval, tree->points_expr, &verdict->points))
		truth = LS_UNKNOWN;
	verdict->is = truth == LS_TRUE ? LS_MATCHED : truth == LS_FALSE ? LS_NOT_MATCHED : LS_UNDECIDED;
}

/*
 * Note down why a rule failed; or go on with the error, if it is not about the
 * rule or could not be caught here. undone: a subtransaction has been rolled back.
 */
static void
take_failure(LsEval *eval, int rule, ErrorData *error, bool caught, bool undone)
{
	eval->running = NULL;
	if (!caught && error->hint == NULL)
		error->hint = "Set max_parallel_workers_per_gather to 0: rules that call functions such as this one and fail cannot be passed over in a parallel query.";
	if (!caught || !ls_error_is_of_rule(error, undone))
		ReThrowError(error);
	if (eval->failures[rule])
		pfree(eval->failures[rule]);
	eval->failures[rule] = MemoryContextStrdup(eval->context, error->message);
	FreeErrorData(error);
}

/* As do_trees, or with verdicts for judging; true if some rule failed. */
static bool
do_trees_safe(LsEval *eval, const LsRow *row, double *points, uint64 *matched,
			  LsVerdict *verdicts, uint64 *failed)
{
	const LsProgram *program = eval->program;
	bool		subtransactions = program->fails == LS_FAILS_ANYHOW &&
		(LS_MAY_CATCH_IN_PARALLEL || !IsInParallelMode());
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LsSettings	saved;
	ErrorContextCallback callback;
	volatile int path = 0;
	volatile int next = 0;
	volatile bool any = false;

	callback.callback = eval_error_callback;
	callback.arg = eval;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	eval->running = NULL;
	ResetExprContext(eval->econtext);
	if (program->fails == LS_FAILS_ANYHOW)	/* functions that may look up names are called */
		path = ls_portable_path();
	while (next < program->ntrees)
	{
		if (subtransactions)
		{
			BeginInternalSubTransaction(NULL);
			MemoryContextSwitchTo(context);
		}
		if (program->by_settings)
			ls_settings_enter(&saved);
		PG_TRY();
		{
			for (; next < program->ntrees; next++)
			{
				const LsTreeRule *tree = &program->trees[next];

				if (verdicts)
					judge_tree(eval, tree, row, &verdicts[tree->rule]);
				else
					do_tree(eval, tree, row, points, matched);
			}
			if (program->by_settings)
				ls_settings_leave(&saved);
			if (subtransactions)
			{
				/* what functions keep for their next call must not outlive it */
				ReScanExprContext(eval->econtext);
				ReleaseCurrentSubTransaction();
			}
		}
		PG_CATCH();
		{
			int			rule = program->trees[next].rule;
			ErrorData  *error;

			if (program->by_settings)
				ls_settings_leave(&saved);
			MemoryContextSwitchTo(eval->context);
			error = CopyErrorData();
			FlushErrorState();
			if (subtransactions)
			{
				RollbackAndReleaseCurrentSubTransaction();
				MemoryContextSwitchTo(context);
				CurrentResourceOwner = owner;
			}
			take_failure(eval, rule, error, subtransactions || program->fails == LS_FAILS_PLAINLY, subtransactions);
			if (subtransactions)
			{
				ls_eval_remake_states(eval);
				eval->econtext->ecxt_scantuple = row->slot;
			}
			if (verdicts)
				verdicts[rule].is = LS_FAILED;
			else
				failed[rule / 64] |= UINT64CONST(1) << (rule % 64);
			any = true;
			next++;
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	if (path)
		AtEOXact_GUC(true, path);
	error_context_stack = callback.previous;
	return any;
}

/*
 * As ls_eval_values, but a rule whose evaluation fails is recorded in failed and
 * gives no points, and the others go on; true if there was such a rule. Errors
 * that are not about the row (a cancel, no memory, a conflict, damage) are thrown
 * all the same. See eval_fail.c for what it costs.
 */
bool
ls_eval_values_safe(LsEval *eval, const Datum *values, const bool *isnull, TupleTableSlot *slot,
					double *points, uint64 *matched, uint64 *failed)
{
	LsRow		row = {slot, values, isnull, NULL};

	if (eval->program->fails == LS_FAILS_NEVER)
	{
		ls_eval_values(eval, values, isnull, slot, points, matched);
		return false;
	}
	for (int i = 0; i < eval->program->nwords; i++)
		failed[i] = 0;
	do_value_columns(eval, &row, points, matched);
	eval->econtext->ecxt_scantuple = slot;
	return do_trees_safe(eval, &row, points, matched, NULL, failed);
}

/* The same for a row in a slot. */
bool
ls_eval_slot_safe(LsEval *eval, TupleTableSlot *slot, double *points, uint64 *matched, uint64 *failed)
{
	slot_getsomeattrs(slot, eval->program->last_attno);
	return ls_eval_values_safe(eval, slot->tts_values, slot->tts_isnull, slot, points, matched, failed);
}

/* As ls_eval_args, in the same way. */
bool
ls_eval_args_safe(LsEval *eval, const NullableDatum *args, double *points, uint64 *matched, uint64 *failed)
{
	LsRow		row;

	do_args_columns(eval, args, &row, points, matched);
	if (eval->program->fails != LS_FAILS_NEVER)
	{
		for (int i = 0; i < eval->program->nwords; i++)
			failed[i] = 0;
		return do_trees_safe(eval, &row, points, matched, NULL, failed);
	}
	if (eval->program->ntrees > 0)
		do_trees(eval, &row, points, matched);
	return false;
}

/*
 * What each rule says of a row. For programs of ls_eval_compile_apart, which
 * leave no rule to the classes of a column.
 */
void
ls_eval_judge(LsEval *eval, TupleTableSlot *slot, LsVerdict *verdicts)
{
	const LsProgram *program = eval->program;
	double		points[SCORE_MAX_COMPONENTS];
	LsRow		row = {slot, slot->tts_values, slot->tts_isnull, NULL};

	Assert(program->ntrees == program->nrules);
	slot_getsomeattrs(slot, program->last_attno);
	do_value_columns(eval, &row, points, NULL);
	if (eval->econtext)
		eval->econtext->ecxt_scantuple = slot;
	if (program->nexprs > 0)
		(void) do_trees_safe(eval, &row, points, NULL, verdicts, NULL);
	else
		for (int i = 0; i < program->ntrees; i++)
			judge_tree(eval, &program->trees[i], &row, &verdicts[program->trees[i].rule]);
}
