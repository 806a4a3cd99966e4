/*
 * live_eval.c
 *	  The rules of a live model over rows, and what becomes of rules that fail:
 *	  they count as not matched, are reported once a backend with their name,
 *	  and are counted in leadscore.rule_errors.
 *
 * The caller has taken the identity of the table's owner (live_model.c).
 */
#include "leadscore.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
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
			eval->messages[i] = MemoryContextStrdup(eval->context, ls_eval_failure(eval->eval));
}

/*
 * A row in leadscore.rule_error for a statement in which a rule failed. Only
 * ever inserted: a counter would have writers wait for each other.
 */
static void
count_failure(const LiveModel *live, const LsRule *rule, const char *message, int64 n)
{
	Oid			types[5] = {TEXTOID, INT4OID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[5];

	values[0] = CStringGetTextDatum(live->model->name);
	values[1] = Int32GetDatum(live->model->version);
	values[2] = CStringGetTextDatum(rule->name);
	values[3] = CStringGetTextDatum(message);
	values[4] = Int64GetDatum(n);
	SPI_connect();
	ls_catalog_execute("INSERT INTO leadscore.rule_error (model, version, rule, message, failures)"
					   " VALUES ($1, $2, $3, $4, $5)", 5, types, values, NULL);
	SPI_finish();
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
		count_failure(eval->model, rule, eval->messages[i], eval->failures[i]);
		if (!eval->rules->reported[i])
		{
			eval->rules->reported[i] = true;
			ereport(WARNING,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					 errmsg("%s", eval->messages[i]),
					 errdetail("The rule counts as not matched. This warning comes once a session; leadscore.rule_errors counts the failures.")));
		}
	}
	ls_eval_end(eval->eval);
	eval->eval = NULL;
}
