/*
 * pipeline_move.c
 *	  Judges one move of one lead: what is missing for it, and what to say.
 *
 * The trigger, next_stages() and would_refuse() all ask here, so that they
 * cannot disagree.
 */
#include "leadscore.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "pipeline/pipeline.h"
#include "stage/stage.h"

/* digits and sign of the longest int8 */
#define MAX_INT8_LEN	20

/* index of a stage in its pipeline; -1 if the pipeline does not know it */
int
ls_stage_index(const LsRules *rules, Datum stage)
{
	switch (rules->stage_form)
	{
		case LS_COLUMN_STAGE:
			return rules->by_code[DatumGetStage(stage)];

		case LS_COLUMN_ENUM:
			for (int i = 0; i < rules->nstages; i++)
			{
				if (rules->stages[i].label == DatumGetObjectId(stage))
					return i;
			}
			return -1;

		case LS_COLUMN_TEXT:
			{
				text	   *t = DatumGetTextPP(stage);
				size_t		len = VARSIZE_ANY_EXHDR(t);

				for (int i = 0; i < rules->nstages; i++)
				{
					if (rules->stages[i].len == len &&
						memcmp(rules->stages[i].name, VARDATA_ANY(t), len) == 0)
						return i;
				}
				return -1;
			}
	}
	return -1;					/* keep the compiler quiet */
}

/* a stage as text, also one that the pipeline does not know */
char *
ls_stage_text(const LsRules *rules, Datum stage, Oid type)
{
	int			i = ls_stage_index(rules, stage);
	Oid			output;
	bool		varlena;

	if (i >= 0)
		return rules->stages[i].name;
	getTypeOutputInfo(type, &output, &varlena);
	return OidOutputFunctionCall(output, stage);
}

static void
set_param(LsRules *rules, int param, Datum value, bool isnull)
{
	ParamExternData *p = &rules->econtext->ecxt_param_list_info->params[param - 1];

	p->value = value;
	p->isnull = isnull;
}

/*
 * Guards may call functions, and a function that lies about its volatility may
 * change the very table it guards: the compiled expressions are not reentrant.
 */
static bool
run_expression(LsRules *rules, ExprState *state, Datum *value)
{
	bool		isnull;

	if (rules->running)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a guard of pipeline \"%s\" changes the table that it guards", rules->pipeline)));
	PG_TRY();
	{
		rules->running = true;
		*value = ExecEvalExprSwitchContext(state, rules->econtext, &isnull);
	}
	PG_FINALLY();
	{
		rules->running = false;
	}
	PG_END_TRY();
	return !isnull;
}

/*
 * The lead's key as text, and the time of the move: both cost more than the
 * check of a simple transition, so they are made when something needs them.
 */
const char *
ls_lead(LsMove *move)
{
	if (move->lead == NULL)
	{
		LsRules    *rules = move->rules;
		char		buf[MAX_INT8_LEN + 1];

		switch (rules->key_type)
		{
			case INT8OID:
				pg_lltoa(DatumGetInt64(move->key), buf);
				move->lead = pstrdup(buf);
				break;
			case INT4OID:
				pg_ltoa(DatumGetInt32(move->key), buf);
				move->lead = pstrdup(buf);
				break;
			default:
				move->lead = OutputFunctionCall(&rules->key_out, move->key);
				break;
		}
	}
	return move->lead;
}

TimestampTz
ls_move_time(LsMove *move)
{
	if (move->at == 0)
		move->at = GetCurrentTimestamp();
	return move->at;
}

typedef struct ScoreRead
{
	LsRules    *rules;
	LsScoreSource *source;
	Datum	   *value;
	bool		present;
} ScoreRead;

static void
read_as_owner(void *arg)
{
	ScoreRead  *read = arg;
	LsUser		user;

	ls_become_owner(&user);
	read->present = run_expression(read->rules, read->source->state, read->value);
	ls_become_caller(&user);
}

/*
 * Read a stored score, as the extension's owner: whoever may write leads need not
 * be allowed to read their scores. A model that is broken, as when its table of
 * events was dropped, must not keep leads from coming and going: it is as if
 * the lead had no score, and told once a session.
 */
static bool
read_score(LsRules *rules, LsScoreSource *source, Datum *value)
{
	ScoreRead	read = {rules, source, value, false};
	ErrorData  *error;
	int			category;

	if (IsInParallelMode())		/* would_refuse() and the like: no subtransaction there */
	{
		read_as_owner(&read);
		return read.present;
	}
	error = ls_attempt(read_as_owner, &read, true);
	if (error == NULL)
		return read.present;
	category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
	if (category != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
		category != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		ReThrowError(error);
	if (!source->reported)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("stage rules cannot see scores: %s", error->message),
				 errdetail("It is as if the leads had none. This warning comes once a session."),
				 error->hint ? errhint("%s", error->hint) : 0));
	source->reported = true;
	FreeErrorData(error);
	return false;
}

/* the lead's score in a model at the moment of the move; false: it has none */
bool
ls_move_score(LsMove *move, int source, double *score)
{
	LsRules    *rules = move->rules;

	if (!move->known[source])
	{
		MemoryContext before = MemoryContextSwitchTo(rules->econtext->ecxt_per_tuple_memory);
		Datum		value;

		set_param(rules, LS_PARAM_MODEL, CStringGetTextDatum(rules->scores[source].model), false);
		set_param(rules, LS_PARAM_LEAD, CStringGetTextDatum(ls_lead(move)), false);
		set_param(rules, LS_PARAM_AT, TimestampTzGetDatum(ls_move_time(move)), false);
		MemoryContextSwitchTo(before);
		move->absent[source] = !read_score(rules, &rules->scores[source], &value);
		move->score[source] = move->absent[source] ? 0 : DatumGetFloat8(value);
		move->known[source] = true;
	}
	*score = move->score[source];
	return !move->absent[source];
}

static bool
guard_holds(LsMove *move, const LsTransition *t, const LsGuard *guard)
{
	LsRules    *rules = move->rules;
	ExprContext *econtext = rules->econtext;
	Datum		value;

	if (guard->uses_score)
	{
		double		score;
		bool		present = ls_move_score(move, t->source, &score);

		set_param(rules, LS_PARAM_SCORE, Float8GetDatum(score), !present);
	}
	econtext->ecxt_innertuple = move->old_slot;
	econtext->ecxt_outertuple = move->new_slot;
	return run_expression(rules, guard->state, &value) && DatumGetBool(value);
}

static bool
field_is_filled(LsMove *move, const LsField *field)
{
	bool		isnull;
	Datum		value = slot_getattr(move->new_slot, field->attno, &isnull);

	return !isnull && ls_filled(value, field->as);
}

static bool
score_is_enough(LsMove *move, const LsTransition *t)
{
	double		score;

	return ls_move_score(move, t->source, &score) && score >= t->min_score;
}

static bool
has_role(const char *role)
{
	Oid			oid = get_role_oid(role, true);

	return OidIsValid(oid) && has_privs_of_role(GetUserId(), oid);
}

/* whether a move is allowed; the quick way, which says nothing */
bool
ls_allowed(LsMove *move, int from, int to)
{
	LsRules    *rules = move->rules;
	int			index = from < 0 || to < 0 ? -1 : rules->matrix[from * rules->nstages + to];
	const LsTransition *t;

	if (index < 0)
		return false;
	t = &rules->transitions[index];
	if (t->reason_required && move->reason == NULL)
		return false;
	for (int i = 0; i < t->nfields; i++)
	{
		if (!field_is_filled(move, &rules->fields[t->fields[i]]))
			return false;
	}
	if (t->role != NULL && !has_role(t->role))
		return false;
	if (t->has_min_score && !score_is_enough(move, t))
		return false;
	for (int i = 0; i < t->nguards; i++)
	{
		if (!guard_holds(move, t, &t->guards[i]))
			return false;
	}
	return true;
}

/*
 * Everything that is missing for a declared transition, as readable strings;
 * NIL if nothing is. Of the same mind as ls_allowed.
 */
List *
ls_missing(LsMove *move, int from, int to)
{
	LsRules    *rules = move->rules;
	const LsTransition *t = &rules->transitions[rules->matrix[from * rules->nstages + to]];
	List	   *missing = NIL;

	for (int i = 0; i < t->nfields; i++)
	{
		const LsField *field = &rules->fields[t->fields[i]];

		if (field_is_filled(move, field))
			continue;
		if (strcmp(field->name, field->column) == 0)
			missing = lappend(missing, pstrdup(field->name));
		else
			missing = lappend(missing, psprintf("%s (column %s)", field->name, field->column));
	}
	for (int i = 0; i < t->nguards; i++)
	{
		if (!guard_holds(move, t, &t->guards[i]))
			missing = lappend(missing, pstrdup(t->guards[i].label));
	}
	if (t->has_min_score && !score_is_enough(move, t))
	{
		double		score;

		if (ls_move_score(move, t->source, &score))
			missing = lappend(missing, psprintf("a score of at least %g in model %s (it is %.1f)", t->min_score,
												rules->scores[t->source].model, score));
		else
			missing = lappend(missing, psprintf("a score of at least %g in model %s (it has none)", t->min_score,
												rules->scores[t->source].model));
	}
	if (t->role != NULL && !has_role(t->role))
		missing = lappend(missing, psprintf("membership in role %s", quote_identifier(t->role)));
	if (t->reason_required && move->reason == NULL)
		missing = lappend(missing, pstrdup("a reason (SET LOCAL leadscore.reason = '...')"));
	return missing;
}

/* strings with a separator, the last one joined differently: "a, b or c" */
char *
ls_join(List *strings, const char *separator, const char *last)
{
	StringInfoData buf;
	int			n = 0;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, strings)
	{
		if (n > 0)
			appendStringInfoString(&buf, n == list_length(strings) - 1 ? last : separator);
		appendStringInfoString(&buf, (char *) lfirst(lc));
		n++;
	}
	return buf.data;
}

/* the stages that can follow a stage, "a, b or c"; those of entry if from < 0 */
char *
ls_list_stages(const LsRules *rules, int from)
{
	List	   *names = NIL;

	for (int to = 0; to < rules->nstages; to++)
	{
		if (from < 0 ? rules->stages[to].entry : rules->matrix[from * rules->nstages + to] >= 0)
			names = lappend(names, rules->stages[to].name);
	}
	return names == NIL ? NULL : ls_join(names, ", ", " or ");
}

/*
 * The shortest way from one stage to another, "a, then b", without the first;
 * NULL if there is none. next is the first step.
 */
char *
ls_way(const LsRules *rules, int from, int to, int *next)
{
	int		   *previous;
	int		   *queue;
	int			head = 0;
	int			tail = 0;
	List	   *way = NIL;

	if (from < 0 || to < 0 || from == to)
		return NULL;
	previous = palloc(rules->nstages * sizeof(int));
	queue = palloc(rules->nstages * sizeof(int));
	for (int i = 0; i < rules->nstages; i++)
		previous[i] = -1;
	queue[tail++] = from;
	while (head < tail && previous[to] < 0)
	{
		int			at = queue[head++];

		for (int i = 0; i < rules->nstages; i++)
		{
			if (i != from && previous[i] < 0 && rules->matrix[at * rules->nstages + i] >= 0)
			{
				previous[i] = at;
				queue[tail++] = i;
			}
		}
	}
	if (previous[to] < 0)
		return NULL;
	for (int at = to; at != from; at = previous[at])
	{
		way = lcons(rules->stages[at].name, way);
		*next = at;
	}
	return ls_join(way, ", ", ", ");
}
