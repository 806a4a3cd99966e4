/*
 * live_band.c
 *	  Bands: which one a score is in, when ageing alone will take it out, and
 *	  what happens when a lead goes over or under a threshold: a row in
 *	  leadscore.crossing, messages for consumers, NOTIFY, a move of its stage.
 *
 * All of it happens in the transaction of the change that caused it. A stage
 * move that is refused leaves its reason in the crossing's row; it never fails
 * the writer.
 */
#include "leadscore.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "live/live.h"

#define CHANNEL				"leadscore_crossing"
#define MAX_PAYLOAD			7900	/* what NOTIFY takes, with something to spare */

/* Steps of the search for the instant at which a score leaves its band. */
#define LEAST_STEP			USECS_PER_SEC
#define MOST_STEPS			1000

/* The band a score is in at an instant; NULL: below all of them. */
const char *
ls_live_band_at(const LiveModel *live, const Score *score, TimestampTz at, double *total)
{
	double		value = score_total(score, at);

	if (total)
		*total = value;
	return ls_model_band(live->model, value);
}

/* ----------------------------------------------------------------
 *		Statements on our own tables
 * ----------------------------------------------------------------
 */

/* Statements that are run for many leads, prepared once a session. */
typedef enum Statement
{
	WRITE_CROSSING,
	FIND_EFFECT,
	REGISTER_DUE,
	FORGET_DUE,
	NSTATEMENTS
} Statement;

static const struct
{
	const char *sql;
	int			nargs;
	Oid			types[8];
}			statements[NSTATEMENTS] =
{
	[WRITE_CROSSING] = {
		"WITH x AS (INSERT INTO leadscore.crossing"
		"  (model, lead, from_band, to_band, at, score, cause, version)"
		"  VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id, model),"
		" o AS (INSERT INTO leadscore.outbox (consumer, crossing)"
		"  SELECT c.consumer, x.id FROM x, leadscore.consumer c"
		"  WHERE c.model IS NULL OR c.model = x.model)"
		" SELECT x.id, EXISTS (SELECT FROM leadscore.crossing_effect e WHERE e.model = $1) FROM x",
		8, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, FLOAT8OID, TEXTOID, INT4OID}
	},
	[FIND_EFFECT] = {
		"SELECT stage, notify FROM leadscore.crossing_effect"
		" WHERE model = $1 AND band = $2 AND rising = $3",
		3, {TEXTOID, TEXTOID, BOOLOID}
	},
	[REGISTER_DUE] = {
		"INSERT INTO leadscore.due (model, lead, due) VALUES ($1, $2, $3)"
		" ON CONFLICT (model, hashtextextended(lead, 0), hashtextextended(lead, 1)) DO UPDATE SET due = excluded.due",
		3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	},
	[FORGET_DUE] = {
		"DELETE FROM leadscore.due WHERE model = $1 AND hashtextextended(lead, 0) = hashtextextended($2, 0)"
		" AND hashtextextended(lead, 1) = hashtextextended($2, 1)",
		2, {TEXTOID, TEXTOID}
	}
};

/* Run one of them as the owner of the extension; the caller is connected to SPI. */
static void
run(Statement statement, Datum *values, const char *nulls)
{
	static SPIPlanPtr plans[NSTATEMENTS];
	LsUser		caller;
	int			result;

	ls_become_owner(&caller);
	if (plans[statement] == NULL)
	{
		int			level = ls_portable_settings();
		SPIPlanPtr	plan = ls_spi_prepare(statements[statement].sql, statements[statement].nargs,
										  (Oid *) statements[statement].types);

		AtEOXact_GUC(true, level);
		SPI_keepplan(plan);
		plans[statement] = plan;
	}
	result = SPI_execute_plan(plans[statement], values, nulls, false, 0);
	ls_become_caller(&caller);
	ls_spi_expect(result, 0);
}

/* ----------------------------------------------------------------
 *		When ageing changes the band
 * ----------------------------------------------------------------
 */

static inline double
clamp(double value, double lo, double hi)
{
	return value < lo ? lo : value > hi ? hi : value;
}

/*
 * A bound of the total over [from, until]: components above zero only fall and
 * those below zero only rise, so each end of the interval bounds one of them.
 * until = DT_NOEND: nothing is left of what ages.
 */
static double
bound_of_total(const Score *score, TimestampTz from, TimestampTz until, bool upper)
{
	double		sum = 0;

	for (int i = 0; i < score->n; i++)
	{
		const ScoreComponent *c = &score->c[i];
		TimestampTz at = (c->value > 0) == upper ? from : until;

		if (c->half_life != 0 && at == DT_NOEND)
			sum += clamp(0, c->lo, c->hi);
		else
			sum += score_contribution(c, at == DT_NOEND ? from : at);
	}
	return clamp(sum, score->lo, score->hi);
}

/*
 * The earliest instant after now at which ageing may take the score out of the
 * band it is in now, never later than it does; DT_NOEND if it never does. Exact
 * to the microsecond if nothing that ages is negative, else to a second.
 */
TimestampTz
ls_live_next_change(const LiveModel *live, const Score *score, TimestampTz now)
{
	double		total = score_total(score, now);
	double		floor = -INFINITY;
	double		ceiling = INFINITY;
	TimestampTz at = now;
	int64		step = USECS_PER_HOUR;

	for (int i = live->model->nbands - 1; i >= 0; i--)
	{
		if (total >= live->model->bands[i].least)
			floor = live->model->bands[i].least;
		else
		{
			ceiling = live->model->bands[i].least;
			break;
		}
	}

	/* walk in steps in which nothing can happen, as wide as can be */
	for (int i = 0; i < MOST_STEPS; i++)
	{
		if (bound_of_total(score, at, DT_NOEND, false) >= floor &&
			bound_of_total(score, at, DT_NOEND, true) < ceiling)
			return DT_NOEND;
		if (at >= SCORE_END_INSTANT - step - 1)
			return DT_NOEND;
		if (bound_of_total(score, at, at + step, false) >= floor &&
			bound_of_total(score, at, at + step, true) < ceiling)
		{
			at += step;
			step *= 2;
		}
		else if (score_total(score, at + step) >= floor && score_total(score, at + step) < ceiling)
		{
			/* nothing at the end of the step, but perhaps within it */
			if (step <= LEAST_STEP)
				at += step;
			else
				step = Max(step / 4, LEAST_STEP);
		}
		else if (step <= 1)
			return at + step;
		else
			step /= 2;
	}
	return at;
}

/* ----------------------------------------------------------------
 *		Crossings
 * ----------------------------------------------------------------
 */

/* Band number: 0 is the highest, nbands is below all. */
static int
band_number(const LsModel *model, const char *band)
{
	for (int i = 0; band != NULL && i < model->nbands; i++)
		if (strcmp(model->bands[i].name, band) == 0)
			return i;
	return model->nbands;
}

static void
set_outcome(int64 id, const char *stage, const char *outcome)
{
	Oid			types[3] = {INT8OID, TEXTOID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(id), CStringGetTextDatum(stage), CStringGetTextDatum(outcome)};

	ls_catalog_execute("UPDATE leadscore.crossing SET stage = $2, stage_outcome = $3 WHERE id = $1",
					   3, types, values, NULL);
}

/* The stage column of the leads, if their stages are enforced. */
static char *
stage_column(Oid leads)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(leads)};

	ls_catalog_execute("SELECT stage_column FROM leadscore.enforced WHERE relation::oid = $1",
					   1, types, values, NULL);
	if (SPI_processed == 0)
		return NULL;
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/*
 * Move a lead to a stage, through the rules of its pipeline, as the owner of the
 * table. Whoever holds the lead's row may be waiting for the stored score that
 * we hold, so it is not waited for: such a move is left to cool(). So is one below
 * a statement that is storing leads (a trigger BEFORE UPDATE writes the event).
 */
void
ls_live_move_stage(LiveModel *live, int64 id, const char *key, const char *stage)
{
	LsModel    *model = live->model;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *column = stage_column(model->leads);
	const char *volatile outcome = "moved";
	LsUser		caller;

	if (column == NULL)
	{
		set_outcome(id, stage, "refused: the stages of this table are not enforced");
		return;
	}
	/* the statement would find its row changed by what it set off, and fail */
	if (ls_live_is_being_stored(model->leads))
	{
		set_outcome(id, stage, "waiting: a statement that changes leads is under way");
		return;
	}
	GetUserIdAndSecContext(&caller.userid, &caller.sec_context);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		char	   *where = psprintf("%s%s WHERE %s %s %s",
									 get_rel_relkind(model->leads) == RELKIND_RELATION ? "ONLY " : "",
									 ls_relation_name(model->leads), quote_identifier(model->lead_key),
									 ls_key_equality(model->key_type), ls_key_sql(model, quote_literal_cstr(key)));
		int			result;

		SetUserIdAndSecContext(ls_live_owner_of(model->leads),
							   caller.sec_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
		result = SPI_execute(psprintf("SELECT FROM %s FOR NO KEY UPDATE NOWAIT", where), false, 0);
		if (result == SPI_OK_SELECT && SPI_processed > 0)
		{
			char	   *from = strstr(where, " WHERE ");

			result = SPI_execute(psprintf("UPDATE %.*s SET %s = %s%s", (int) (from - where), where,
										  quote_identifier(column), quote_literal_cstr(stage), from),
								 false, 0);
		}
		ls_spi_expect(result, 0);
		if (SPI_processed == 0)
			outcome = "refused: there is no such lead";
		SetUserIdAndSecContext(caller.userid, caller.sec_context);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		waiting;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		waiting = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK;
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		SetUserIdAndSecContext(caller.userid, caller.sec_context);
		if (!waiting && ls_live_is_severe(error))
			ReThrowError(error);
		if (waiting)
			outcome = "waiting: the lead is being changed by another transaction";
		else
			outcome = psprintf("refused: %s%s%s", error->message,
							   error->detail ? "; " : "", error->detail ? error->detail : "");
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	set_outcome(id, stage, outcome);
}

/* The crossing as NOTIFY carries it, or its number alone where it is too long. */
static char *
message(int64 id)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(id)};
	char	   *payload;

	ls_catalog_execute("SELECT leadscore.crossing_message(id, model, lead, from_band, to_band, at, score, cause)::text"
					   " FROM leadscore.crossing WHERE id = $1", 1, types, values, NULL);
	payload = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (strlen(payload) > MAX_PAYLOAD)
		payload = psprintf("{\"id\": " INT64_FORMAT ", \"truncated\": true}", id);
	return payload;
}

/* What is set to happen at the thresholds between two bands. */
static void
run_effects(LiveModel *live, int64 id, const char *key, const char *from, const char *to)
{
	LsModel    *model = live->model;
	int			first = band_number(model, from);
	int			last = band_number(model, to);
	bool		rising = last < first;
	bool		notify = false;
	Datum		values[3];

	values[0] = CStringGetTextDatum(model->name);
	values[2] = BoolGetDatum(rising);
	/* upwards the lowest threshold comes first, downwards the highest */
	for (int i = rising ? first - 1 : first; rising ? i >= last : i < last; rising ? i-- : i++)
	{
		char	   *stage;
		bool		isnull;

		values[1] = CStringGetTextDatum(model->bands[i].name);
		run(FIND_EFFECT, values, NULL);
		if (SPI_processed == 0)
			continue;
		stage = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		notify |= DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		if (stage != NULL)
			ls_live_move_stage(live, id, key, stage);
	}
	if (notify)
		Async_Notify(CHANNEL, message(id));
}

/* Write down that a lead went from one band to another; NULL: below all. */
void
ls_live_crossing(LiveModel *live, Datum key, const char *from, const char *to,
				 TimestampTz at, double score, const char *cause)
{
	Datum		values[8];
	char		nulls[] = "        ";
	char	   *lead = ls_live_key_text(live, key);
	int64		id;
	bool		effects;
	bool		isnull;

	values[0] = CStringGetTextDatum(live->model->name);
	values[1] = CStringGetTextDatum(lead);
	values[2] = from ? CStringGetTextDatum(from) : (Datum) 0;
	values[3] = to ? CStringGetTextDatum(to) : (Datum) 0;
	nulls[2] = from ? ' ' : 'n';
	nulls[3] = to ? ' ' : 'n';
	values[4] = TimestampTzGetDatum(at);
	values[5] = Float8GetDatum(score);
	values[6] = CStringGetTextDatum(cause);
	values[7] = Int32GetDatum(live->model->version);

	SPI_connect();
	run(WRITE_CROSSING, values, nulls);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	effects = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (effects)
		run_effects(live, id, lead, from, to);
	SPI_finish();
}

/*
 * Have cool() look at a lead at an instant; DT_NOEND: no more. The caller holds
 * the lock of the lead's stored score.
 */
void
ls_live_register_due(LiveModel *live, Datum key, TimestampTz due)
{
	Datum		values[3];

	values[0] = CStringGetTextDatum(live->model->name);
	values[1] = CStringGetTextDatum(ls_live_key_text(live, key));
	values[2] = TimestampTzGetDatum(due);
	SPI_connect();
	run(due == DT_NOEND ? FORGET_DUE : REGISTER_DUE, values, NULL);
	SPI_finish();
}
