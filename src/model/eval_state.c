/*
 * eval_state.c
 *	  What an evaluation of a program keeps from row to row: the executor's state
 *	  of its expressions, memory for one row, why rules failed.
 */
#include "leadscore.h"

#include "executor/executor.h"
#include "utils/memutils.h"

#include "model/eval_int.h"

static void
make_states(LsEval *eval)
{
	const LsProgram *program = eval->program;
	MemoryContext old;

	eval->states_context = AllocSetContextCreate(eval->context, "leadscore expressions", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(eval->states_context);
	eval->econtext = CreateStandaloneExprContext();
	eval->states = palloc_array(ExprState *, program->nexprs);
	for (int i = 0; i < program->nexprs; i++)
		eval->states[i] = ExecInitExpr(program->exprs[i].expr, NULL);
	MemoryContextSwitchTo(old);
}

/*
 * After a subtransaction in which they ran was rolled back: what functions keep
 * between calls, such as a query half done, may be gone.
 */
void
ls_eval_remake_states(LsEval *eval)
{
	FreeExprContext(eval->econtext, false);
	MemoryContextDelete(eval->states_context);
	make_states(eval);
}

/*
 * State for evaluating a program, until ls_eval_end or the end of parent. The
 * permission to execute the functions of its expressions is checked here, for
 * the current user.
 */
LsEval *
ls_eval_begin(const LsProgram *program, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "leadscore evaluation", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LsEval	   *eval = palloc0(sizeof(LsEval));

	eval->program = program;
	eval->context = context;
	eval->classes = palloc0_array(int, Max(program->ncolumns, 1));
	eval->failures = palloc0_array(char *, Max(program->nrules, 1));
	if (program->nexprs > 0)
	{
		make_states(eval);
		eval->slot = MakeTupleTableSlot(program->desc, &TTSOpsVirtual);
		for (int i = 0; i < program->desc->natts; i++)
			eval->slot->tts_isnull[i] = true;
	}
	MemoryContextSwitchTo(old);
	return eval;
}

void
ls_eval_end(LsEval *eval)
{
	if (eval->econtext)
		FreeExprContext(eval->econtext, true);
	MemoryContextDelete(eval->context);
}

/* The message with which this rule failed last, by ls_eval_slot_safe and its kin. */
const char *
ls_eval_failure(const LsEval *eval, int rule)
{
	return eval->failures[rule];
}
