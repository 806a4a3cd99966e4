/*
 * live_eval.c
 *	  The rules of a live model over rows, and what becomes of rules that fail:
 *	  they count as not matched, are reported once a backend with their name,
 *	  and are counted in leadscore.rule_errors.
 *
 * The caller has taken the identity of the table's owner (live_model.c).
 */
#include "leadscore.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "live/live.h"

/* Does the rule's period of validity hold at an instant? */
bool
ls_live_counts(const LiveModel *model, const LsRule *rule, TimestampTz at)
{
	(void) model;
	return (!rule->has_from || at >= rule->valid_from) &&
		(!rule->has_until || at < rule->valid_until);
}

void
ls_live_eval_begin(LiveEval *eval, LiveModel *model, const LiveRules *rules)
{
	memset(eval, 0, sizeof(*eval));
	eval->model = model;
	eval->rules = rules;
	eval->context = CurrentMemoryContext;
	if (rules->program == NULL)
		return;
	eval->matched = palloc0(LS_RULE_WORDS(rules->n) * sizeof(uint64));
	eval->failed = palloc0(LS_RULE_WORDS(rules->n) * sizeof(uint64));
	eval->eval = ls_eval_begin(rules->program, CurrentMemoryContext);
}

/* Leaves the points per component and the rules that matched in *eval. */
void
ls_live_eval_row(LiveEval *eval, TupleTableSlot *slot)
{
	const LiveRules *rules = eval->rules;

	if (eval->eval == NULL)
	{
		memset(eval->points, 0, sizeof(eval->points));
		return;
	}
	if (likely(!ls_eval_slot_safe(eval->eval, slot, eval->points, eval->matched, eval->failed)))
		return;

	/* the caller's context does not outlive the row */
	if (!eval->any_failure)
	{
		eval->failures = MemoryContextAllocZero(eval->context, rules->n * sizeof(int64));
		eval->messages = MemoryContextAllocZero(eval->context, rules->n * sizeof(char *));
		eval->any_failure = true;
	}
	for (int i = 0; i < rules->n; i++)
		if (LS_RULE_IN(eval->failed, i) && eval->failures[i]++ == 0)
		{
			MemoryContext old = MemoryContextSwitchTo(eval->context);

			eval->messages[i] = ls_failure_text(eval->model->model, rules->rules[i],
												ls_eval_failure(eval->eval, i));
			MemoryContextSwitchTo(old);
		}
}

void
ls_live_eval_end(LiveEval *eval)
{
	if (eval->eval == NULL)
		return;
	for (int i = 0; eval->any_failure && i < eval->rules->n; i++)
	{
		const LsRule *rule = eval->rules->rules[i];

		if (eval->failures[i] == 0)
			continue;
		ls_rule_error_store(eval->model->model, rule, eval->messages[i], eval->failures[i]);
		if (!ls_told_before(eval->model->model, rule))
			ereport(WARNING,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					 errmsg("%s", eval->messages[i]),
					 errdetail("The rule counts as not matched. This warning comes once a session; leadscore.rule_errors counts the failures.")));
	}
	ls_eval_end(eval->eval);
	eval->eval = NULL;
}
