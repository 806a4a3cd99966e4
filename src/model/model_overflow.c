/*
 * model_overflow.c
 *	  Points too large to add up. The query that scores all leads fails as a whole
 *	  then, and does not know of whom: here the lead is found.
 */
#include "leadscore.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/model.h"
#include "score/score.h"

/* a sum overflows only if it has a term of this size, for less than 10^18 terms */
#define LARGE_POINTS	"1e290"

#define TRIED_MAX		1000	/* leads that are looked at one by one */

static bool
is_overflow(int code)
{
	return code == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
}

static char *
overflow_hint(const LsModel *model)
{
	return psprintf("leadscore.explain('%s', lead) shows the points of a lead.", model->name);
}

/* ----------------------------------------------------------------
 *		One lead
 * ----------------------------------------------------------------
 */

typedef struct Asking
{
	LsModel    *model;
	Datum		lead;			/* its key as text */
} Asking;

static void
asking_error_callback(void *arg)
{
	const Asking *asking = arg;

	if (!is_overflow(geterrcode()))
		return;
	errhint("%s", overflow_hint(asking->model));
	errcontext("score of lead \"%s\" of model \"%s\"", TextDatumGetCString(asking->lead), asking->model->name);
}

/*
 * The score of one lead (its key as text) as of an instant, from its row as it was
 * and its events; false if there is none. The model has been analysed.
 */
bool
ls_score_one(LsModel *model, Datum lead, TimestampTz at, Score *score)
{
	Asking		asking = {model, lead};
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = asking_error_callback,
		.arg = &asking
	};
	Oid			types[3] = {TEXTOID, TIMESTAMPTZOID, JSONBOID};
	Datum		values[3] = {lead, TimestampTzGetDatum(at)};
	bool		isnull = true;

	error_context_stack = &callback;
	ls_past_apply(model, lead, at, &values[2]);
	ls_judge_begin(model);
	SPI_connect();
	ls_user_query(ls_query_scores(model, LS_ONE_LEAD, true), model->past == LS_PAST_NONE ? 2 : 3, types, values);
	if (SPI_processed > 0)
		ls_score_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull), score);
	SPI_finish();
	ls_judge_end(model, false);
	error_context_stack = callback.previous;
	return !isnull;
}

/* ----------------------------------------------------------------
 *		All leads
 * ----------------------------------------------------------------
 */

static void
try_lead(void *arg)
{
	Asking	   *asking = arg;
	Score		score;

	/* with the events still to come, which publishing has read, too */
	(void) ls_score_one(asking->model, asking->lead, SCORE_END_INSTANT - 1, &score);
}

typedef struct Search
{
	LsModel    *model;			/* one that no failed query has left traces in */
	List	   *leads;			/* with large points, char * */
} Search;

static void
find_large(void *arg)
{
	Search	   *search = arg;
	MemoryContext context = CurrentMemoryContext;

	search->model = ls_model_load(search->model->name, search->model->version);
	ls_model_analyse(search->model);
	ls_judge_begin(search->model);
	SPI_connect();
	ls_user_query(ls_query_large_points(search->model, LARGE_POINTS), 0, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed && i < TRIED_MAX; i++)
	{
		char	   *lead = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		if (lead)
		{
			MemoryContext spi = MemoryContextSwitchTo(context);

			search->leads = lappend(search->leads, pstrdup(lead));
			MemoryContextSwitchTo(spi);
		}
	}
	SPI_finish();
	ls_judge_end(search->model, false);
}

/* A lead whose points cannot be added up; NULL: none is found. */
static const char *
overflowing_lead(LsModel *model)
{
	Search		search = {model, NIL};
	ListCell   *cell;
	ErrorData  *error = ls_attempt(find_large, &search, false);

	if (error)
		return NULL;			/* what is to be told is the error that we came for */
	foreach(cell, search.leads)
	{
		Asking		asking = {search.model, CStringGetTextDatum(lfirst(cell))};

		CHECK_FOR_INTERRUPTS();
		error = ls_attempt(try_lead, &asking, false);
		if (error && is_overflow(error->sqlerrcode))
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Do something that computes the scores of all leads of a model, which has been
 * analysed. If it fails since points are too large, the error names a lead.
 */
void
ls_score_all(LsModel *model, void (*work) (void *arg), void *arg)
{
	ErrorData  *error = ls_attempt(work, arg, true);
	const char *lead;

	if (error == NULL)
		return;
	if (is_overflow(error->sqlerrcode))
	{
		lead = overflowing_lead(model);
		error->context = psprintf("%s%s%s",
								  lead ? psprintf("score of lead \"%s\" of model \"%s\"", lead, model->name) :
								  psprintf("scores of the leads of model \"%s\"", model->name),
								  error->context ? "\n" : "", error->context ? error->context : "");
		error->hint = overflow_hint(model);
	}
	ReThrowError(error);
}
