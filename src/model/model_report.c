/*
 * model_report.c
 *	  Questions about scores: the hottest leads, the account of one lead's
 *	  score, its score as of an instant, and whether what is stored is right.
 *
 * Everything here runs with the rights of whoever asks: leads and events are
 * read under the user's own privileges and row security.
 */
#include "leadscore.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "model/eval_int.h"
#include "model/model.h"
#include "score/score.h"

PG_FUNCTION_INFO_V1(leadscore_hottest);
PG_FUNCTION_INFO_V1(leadscore_explain);
PG_FUNCTION_INFO_V1(leadscore_score_at);
PG_FUNCTION_INFO_V1(leadscore_score_of);
PG_FUNCTION_INFO_V1(leadscore_current_score);
PG_FUNCTION_INFO_V1(leadscore_verify);

/* Stored and computed scores may differ by this much, relative to their size. */
#define VERIFY_TOLERANCE	1e-9

#define FETCH_ROWS			1000

/* Run a query of the user's own tables as the caller; rows are in SPI_tuptable. */
void
ls_user_query(const char *sql, int nargs, Oid *types, Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	int			level = ls_portable_settings();
	volatile int result = 0;

	PG_TRY();
	{
		result = SPI_execute_with_args(sql, nargs, types, values, NULL, true, 0);
	}
	PG_CATCH();
	{
		ls_rethrow_without(sql, context);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
	ls_spi_expect(result, SPI_OK_SELECT);
}

/*
 * The same for a query of many rows, fetched batch by batch: each row is given
 * to a function, in a memory context that the next batch resets. Connected to SPI.
 */
void
ls_user_cursor(const char *sql, int nargs, Oid *types, Datum *values, LsRowCallback callback, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext batch = AllocSetContextCreate(context, "leadscore rows", ALLOCSET_DEFAULT_SIZES);
	int			level = ls_portable_settings();

	PG_TRY();
	{
		Portal		portal = SPI_cursor_open_with_args(NULL, sql, nargs, types, values, NULL, true, 0);

		for (;;)
		{
			SPI_cursor_fetch(portal, true, FETCH_ROWS);
			if (SPI_processed == 0)
				break;
			MemoryContextSwitchTo(batch);
			for (uint64 i = 0; i < SPI_processed; i++)
			{
				CHECK_FOR_INTERRUPTS();
				callback(arg, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			}
			MemoryContextSwitchTo(context);
			MemoryContextReset(batch);
			SPI_freetuptable(SPI_tuptable);
		}
		SPI_cursor_close(portal);
	}
	PG_CATCH();
	{
		ls_rethrow_without(sql, context);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
	MemoryContextDelete(batch);
}

static void
key_error_callback(void *arg)
{
	const LsModel *model = arg;

	errcontext("key of a lead of model \"%s\": column \"%s\" of table \"%s\"", model->name, model->lead_key,
			   get_rel_name(model->leads));
}

/* Queries cast the key they are asked for: what is no key is an error that says so. */
static void
check_key(LsModel *model, Datum lead)
{
	ErrorContextCallback callback;
	LsSettings	settings;
	Oid			input;
	Oid			ioparam;

	callback.callback = key_error_callback;
	callback.arg = model;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	getTypeInputInfo(model->key_type, &input, &ioparam);
	ls_settings_enter(&settings);
	PG_TRY();
	{
		(void) OidInputFunctionCall(input, TextDatumGetCString(lead), ioparam, -1);
	}
	PG_FINALLY();
	{
		ls_settings_leave(&settings);
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
}

static Datum
result_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/*
 * May the caller see all leads? If row security hides some, what is stored
 * about them must be hidden, too.
 */
char *
ls_visible_leads_clause(const LsModel *model)
{
	if (check_enable_rls(model->leads, InvalidOid, true) != RLS_ENABLED)
		return "";
	return psprintf(" WHERE EXISTS (SELECT FROM %s l WHERE l.%s %s s.lead)",
					ls_relation_name(model->leads), quote_identifier(model->lead_key),
					ls_key_equality(model->key_type));
}

/* "fit 35, engagement 41.2": what the components contribute, rounded for reading. */
static char *
parts_text(const LsModel *model, const Score *score, TimestampTz at)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < score->n && i < model->ncomponents; i++)
	{
		double		part = score_contribution(&score->c[i], at);
		double		rounded = rint(part * 10.0) / 10.0;

		appendStringInfo(&buf, "%s%s %s", i > 0 ? ", " : "", model->components[i].name,
						 float8out_internal(isinf(rounded) ? part : rounded + 0.0));
	}
	return buf.data;
}

Datum
leadscore_hottest(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), LS_LIVE);
	int32		n = PG_GETARG_INT32(1);
	TimestampTz at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[2] = {TIMESTAMPTZOID, INT4OID};
	Datum		values[2] = {TimestampTzGetDatum(at), Int32GetDatum(n)};

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
				 errmsg("the number of leads must not be negative")));
	ls_kept_check(model);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	ls_user_query(psprintf("SELECT s.lead::text, s.score FROM %s s%s"
						" ORDER BY s.score OPERATOR(" LS_SCHEMA ".<~>) $1 LIMIT $2",
						ls_relation_name(ls_model_score_relid(model, false)),
						ls_visible_leads_clause(model)),
			   2, types, values);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		row[4];
		bool		nulls[4] = {false, false, false, false};
		Score		score;
		double		total;
		const char *band;

		row[0] = result_datum(i, 1, &nulls[0]);
		ls_score_from_datum(result_datum(i, 2, &nulls[1]), &score);
		total = score_total(&score, at);
		band = ls_model_band(model, total);
		row[1] = Float8GetDatum(total);
		nulls[2] = band == NULL;
		row[2] = band ? CStringGetTextDatum(band) : (Datum) 0;
		row[3] = CStringGetTextDatum(parts_text(model, &score, at));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

/* Points of a row, checked as ageing would; false if the rule does not count here. */
static bool
account_row(LsAccount *account, uint64 row, int column, double *points)
{
	bool		undecided;
	bool		missing;
	int			verdict = DatumGetInt32(result_datum(row, column, &undecided));
	Datum		value = result_datum(row, column + 1, &missing);

	if (!undecided && verdict < 0)
	{
		account->failed++;
		return false;
	}
	if (undecided || (verdict > 0 && missing))
		account->undecided++;
	if (undecided || verdict == 0 || missing)
		return false;
	*points = DatumGetFloat8(value);
	account->occurrences++;
	return true;
}

/*
 * What each rule gives a lead (its key as text) as of an instant, in the order of
 * the rules; NULL if there is no such lead. The model has been analysed.
 */
LsAccount *
ls_take_account(LsModel *model, Datum lead, TimestampTz at)
{
	LsAccount  *accounts = palloc0(Max(model->nrules, 1) * sizeof(LsAccount));
	Oid			lead_types[2] = {TEXTOID, JSONBOID};
	Datum		lead_values[2] = {lead, (Datum) 0};
	Oid			types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[2] = {lead, TimestampTzGetDatum(at)};
	char	   *sql;
	int			column = 2;

	check_key(model, lead);
	ls_past_apply(model, lead, at, &lead_values[1]);
	ls_judge_begin(model);
	SPI_connect();
	ls_user_query(ls_query_lead_account(model), model->past == LS_PAST_NONE ? 1 : 2, lead_types, lead_values);
	if (SPI_processed == 0)
	{
		SPI_finish();
		ls_judge_end(model, false);
		return NULL;
	}
	for (int i = 0; i < model->nrules; i++)
	{
		double		points;

		if (!model->rules[i].enabled || model->rules[i].event)
			continue;
		if (account_row(&accounts[i], 0, column, &points))
			accounts[i].points = score_saturate(accounts[i].points + points);
		column += 2;
	}

	sql = ls_query_event_account(model);
	if (sql)
		ls_user_query(sql, 2, types, values);
	for (uint64 row = 0; sql && row < SPI_processed; row++)
	{
		bool		isnull;
		TimestampTz event_at = DatumGetTimestampTz(result_datum(row, 1, &isnull));

		column = 2;
		for (int i = 0; i < model->nrules; i++)
		{
			const LsRule *rule = &model->rules[i];
			double		points;

			if (!rule->enabled || !rule->event)
				continue;
			if (account_row(&accounts[i], row, column, &points))
			{
				int64		half_life = model->components[rule->component].half_life;

				if (half_life != 0)
					points = score_age(points, at - event_at, half_life);
				accounts[i].points = score_saturate(accounts[i].points + points);
				if (rule->at_most > 0 && DatumGetInt64(result_datum(row, column + 2, &isnull)) > rule->at_most)
				{
					accounts[i].cut++;
					accounts[i].cut_points = score_saturate(accounts[i].cut_points + points);
				}
			}
			column += 3;
		}
	}
	SPI_finish();
	for (int i = 0; i < model->nrules; i++)
		if (accounts[i].failed > 0)
			accounts[i].failure = pstrdup(ls_judge_failure(model, i));
	ls_judge_end(model, false);
	return accounts;
}

static void
put_account(ReturnSetInfo *rsinfo, const char *component, const char *rule, const char *source,
			int64 occurrences, double points, const char *note)
{
	Datum		row[6];
	bool		nulls[6];

	nulls[0] = component == NULL;
	row[0] = component ? CStringGetTextDatum(component) : (Datum) 0;
	nulls[1] = rule == NULL;
	row[1] = rule ? CStringGetTextDatum(rule) : (Datum) 0;
	nulls[2] = source == NULL;
	row[2] = source ? CStringGetTextDatum(source) : (Datum) 0;
	nulls[3] = occurrences < 0;
	row[3] = Int64GetDatum(occurrences);
	nulls[4] = false;
	row[4] = Float8GetDatum(points + 0.0);	/* not -0 */
	nulls[5] = note == NULL;
	row[5] = note ? CStringGetTextDatum(note) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
}

/* What keeps a rule from being decided on some rows, or NULL. */
static char *
account_note(const LsRule *rule, const LsAccount *account)
{
	StringInfoData buf;

	if (account->undecided == 0 && account->failed == 0)
		return NULL;
	initStringInfo(&buf);
	if (account->undecided > 0)
	{
		if (rule->event)
			appendStringInfo(&buf, INT64_FORMAT " ", account->undecided);
		appendStringInfoString(&buf, "undecided: data missing");
	}
	if (account->failed > 0)
	{
		if (buf.len > 0)
			appendStringInfoString(&buf, "; ");
		if (rule->event)
			appendStringInfo(&buf, INT64_FORMAT " ", account->failed);
		appendStringInfo(&buf, "failed: %s", account->failure);
	}
	return buf.data;
}

/* The row, if any, for what bounds add or take; returns the value within them. */
static double
put_bounds(ReturnSetInfo *rsinfo, const char *component, double value, double lo, double hi)
{
	double		clamped = Min(Max(value, lo), hi);

	if (clamped != value)
		put_account(rsinfo, component, NULL, "bound", -1, score_saturate(clamped - value),
					psprintf(value > hi ? "at most %s" : "at least %s",
							 float8out_internal(value > hi ? hi : lo)));
	return clamped;
}

Datum
leadscore_explain(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), LS_LIVE);
	TimestampTz at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LsAccount  *accounts;
	double		total = 0;
	List	   *unknown = NIL;

	ls_model_analyse(model);
	InitMaterializedSRF(fcinfo, 0);
	accounts = ls_take_account(model, PG_GETARG_DATUM(1), at);
	if (accounts == NULL)
		return (Datum) 0;
	for (int c = 0; c < model->ncomponents; c++)
	{
		LsComponent *component = &model->components[c];
		double		sum = 0;

		for (int i = 0; i < model->nrules; i++)
		{
			LsRule	   *rule = &model->rules[i];
			LsAccount  *account = &accounts[i];

			if (rule->component != c ||
				(account->occurrences == 0 && account->undecided == 0 && account->failed == 0))
				continue;
			put_account(rsinfo, component->name, rule->name, rule->event ? "event" : "lead",
						account->occurrences, account->points, account_note(rule, account));
			sum = score_saturate(sum + account->points);
			if (account->cut > 0)
			{
				put_account(rsinfo, component->name, rule->name, "limit", account->cut, -account->cut_points,
							rule->per_text ? psprintf("at most %d per %s", rule->at_most, rule->per_text) :
							psprintf("at most %d", rule->at_most));
				sum = score_saturate(sum - account->cut_points);
			}
		}
		total = score_saturate(total + put_bounds(rsinfo, component->name, sum, component->lo, component->hi));
	}
	total = put_bounds(rsinfo, NULL, total, model->lo, model->hi);
	(void) ls_past_since(model, at, &unknown);
	if (unknown != NIL)
		put_account(rsinfo, NULL, NULL, "lead", -1, 0, ls_past_note(unknown));
	put_account(rsinfo, NULL, NULL, "total", -1, total, ls_model_band(model, total));
	return (Datum) 0;
}

/*
 * The score of one lead as of an instant, from its row as it was and its
 * events; NULL if it is not there.
 */
static Datum
score_as_of(FunctionCallInfo fcinfo, LsModel *model)
{
	TimestampTz at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	Score		score;

	check_key(model, PG_GETARG_DATUM(1));
	ls_model_analyse(model);
	if (!ls_score_one(model, PG_GETARG_DATUM(1), at, &score))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(score_total(&score, at));
}

Datum
leadscore_score_at(PG_FUNCTION_ARGS)
{
	return score_as_of(fcinfo, ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), LS_LIVE));
}

Datum
leadscore_score_of(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(3));

	ls_model_check_complete(model);
	return score_as_of(fcinfo, model);
}

Datum
leadscore_current_score(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), LS_LIVE);
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {PG_GETARG_DATUM(1)};
	Score		score;
	bool		isnull = true;

	check_key(model, values[0]);
	ls_kept_check(model);
	SPI_connect();
	ls_user_query(psprintf("SELECT s.score FROM (SELECT * FROM %s s%s) s WHERE s.lead %s %s",
						ls_relation_name(ls_model_score_relid(model, false)), ls_visible_leads_clause(model),
						ls_key_equality(model->key_type), ls_key_sql(model, "$1")),
			   1, types, values);
	if (SPI_processed > 0)
		ls_score_from_datum(result_datum(0, 1, &isnull), &score);
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_SCORE(&score);
}

static bool
close_enough(double a, double b)
{
	return fabs(a - b) <= VERIFY_TOLERANCE * Max(1.0, Max(fabs(a), fabs(b)));
}

/*
 * Do two scores stand for the same points? The instants of their components may
 * differ: values are compared at the later one, unclamped.
 */
static bool
same_points(const Score *a, const Score *b)
{
	int			component;

	if (score_compare_shape(a, b, &component) != SCORE_SAME_SHAPE)
		return false;
	for (int i = 0; i < a->n; i++)
	{
		const ScoreComponent *x = &a->c[i];
		const ScoreComponent *y = &b->c[i];
		int64		later = Max(x->at, y->at);

		if (x->half_life == 0 ? !close_enough(x->value, y->value) :
			!close_enough(score_age(x->value, later - x->at, x->half_life),
						  score_age(y->value, later - y->at, y->half_life)))
			return false;
	}
	return true;
}

typedef struct Verifying
{
	LsModel    *model;
	ReturnSetInfo *rsinfo;
} Verifying;

/* A row of lead, stored score, computed score, version stored, is an event due. */
static void
verify_row(void *arg, HeapTuple tuple, TupleDesc desc)
{
	const Verifying *verifying = arg;
	Datum		row[4];
	bool		nulls[4] = {false, false, false, false};
	Datum		version;
	bool		isnull;
	const char *problem = NULL;

	row[0] = SPI_getbinval(tuple, desc, 1, &nulls[0]);
	row[1] = SPI_getbinval(tuple, desc, 2, &nulls[1]);
	row[2] = SPI_getbinval(tuple, desc, 3, &nulls[2]);
	version = SPI_getbinval(tuple, desc, 4, &isnull);
	if (nulls[1])
		problem = "not stored";
	else if (nulls[2])
		problem = "no such lead";
	else if (DatumGetInt32(version) != verifying->model->version)
		problem = psprintf("of version %d, not %d", DatumGetInt32(version), verifying->model->version);
	else
	{
		Score		stored;
		Score		computed;

		ls_score_from_datum(row[1], &stored);
		ls_score_from_datum(row[2], &computed);
		/* an event that was still to come has come: it counts from the next look on */
		if (!same_points(&stored, &computed) &&
			!DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull)))
			problem = "different";
	}
	if (problem == NULL)
		return;
	row[3] = CStringGetTextDatum(problem);
	tuplestore_putvalues(verifying->rsinfo->setResult, verifying->rsinfo->setDesc, row, nulls);
}

static void
verify_all(void *arg)
{
	Verifying  *verifying = arg;
	LsModel    *model = verifying->model;
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		values[1] = {TimestampTzGetDatum(GetCurrentTimestamp())};

	ls_judge_begin(model);
	SPI_connect();
	ls_user_cursor(psprintf("SELECT coalesce(s.lead, c.lead)::text, s.score, c.score, s.version, s.later <= $1"
							" FROM (SELECT * FROM %s s%s) s FULL JOIN (%s) c ON s.lead %s c.lead",
							ls_relation_name(ls_model_score_relid(model, false)),
							ls_visible_leads_clause(model),
							ls_query_scores(model, LS_ALL_LEADS, true), ls_key_equality(model->key_type)),
				   1, types, values, verify_row, verifying);
	SPI_finish();
	ls_judge_end(model, false);
}

Datum
leadscore_verify(PG_FUNCTION_ARGS)
{
	LsModel    *model = ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), LS_LIVE);
	Verifying	verifying = {model, (ReturnSetInfo *) fcinfo->resultinfo};

	ls_model_check_sees_events(model);
	ls_model_analyse(model);
	InitMaterializedSRF(fcinfo, 0);
	ls_score_all(model, verify_all, &verifying);
	return (Datum) 0;
}
