/*
 * score_rank.c
 *	  Ranking scores in SQL: <~>, reaches, falls_below, and the type level that
 *	  index conditions use.
 *
 * The arithmetic is score_core.c's and score_fall.c's; the index is
 * score_gist.c's, what the planner is told is score_support.c's.
 */
#include "score/score_rank.h"

#include <math.h>

#include "libpq/pqformat.h"
#include "score/score_fall.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_score_distance);
PG_FUNCTION_INFO_V1(leadscore_reaches);
PG_FUNCTION_INFO_V1(leadscore_level);
PG_FUNCTION_INFO_V1(leadscore_level_in);
PG_FUNCTION_INFO_V1(leadscore_level_out);
PG_FUNCTION_INFO_V1(leadscore_level_recv);
PG_FUNCTION_INFO_V1(leadscore_level_send);
PG_FUNCTION_INFO_V1(leadscore_score_reaches_level);
PG_FUNCTION_INFO_V1(leadscore_falls_below);

/* score <~> instant: what the index orders by, and so computed as it does. */
Datum
leadscore_score_distance(PG_FUNCTION_ARGS)
{
	Score		s;
	int64		t = ls_score_instant(PG_GETARG_TIMESTAMPTZ(1));

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	PG_RETURN_FLOAT8(0.0 - score_total(&s, t)); /* not -0 */
}

/* An infinite threshold has a meaning (always, never), NaN has none. */
static float8
threshold_argument(float8 threshold)
{
	if (unlikely(isnan(threshold)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("threshold of a score must not be NaN")));
	return threshold;
}

ScoreLevel
ls_score_level(float8 threshold, TimestampTz at)
{
	ScoreLevel	level;

	level.threshold = threshold_argument(threshold);
	level.at = ls_score_instant(at);
	return level;
}

Datum
leadscore_reaches(PG_FUNCTION_ARGS)
{
	Score		s;
	ScoreLevel	level = ls_score_level(PG_GETARG_FLOAT8(1), PG_GETARG_TIMESTAMPTZ(2));

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	PG_RETURN_BOOL(score_total(&s, level.at) >= level.threshold);
}

Datum
leadscore_level(PG_FUNCTION_ARGS)
{
	ScoreLevel *level = palloc(sizeof(ScoreLevel));

	*level = ls_score_level(PG_GETARG_FLOAT8(0), PG_GETARG_TIMESTAMPTZ(1));
	PG_RETURN_POINTER(level);
}

/* No one stores levels: there is nothing to read back. */
static void
refuse_level(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot accept a value of type %s", "leadscore.level"),
			 errhint("Call reaches(score, threshold, instant); the planner makes the level.")));
}

Datum
leadscore_level_in(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	refuse_level();
	PG_RETURN_NULL();			/* not reached */
}

Datum
leadscore_level_recv(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	refuse_level();
	PG_RETURN_NULL();			/* not reached */
}

Datum
leadscore_level_send(PG_FUNCTION_ARGS)
{
	ScoreLevel *level = (ScoreLevel *) PG_GETARG_POINTER(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendfloat8(&buf, level->threshold);
	pq_sendint64(&buf, level->at);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
leadscore_level_out(PG_FUNCTION_ARGS)
{
	ScoreLevel *level = (ScoreLevel *) PG_GETARG_POINTER(0);
	char		instant[SCORE_MAX_INSTANT_TEXT];

	score_print_instant(level->at, instant);
	PG_RETURN_CSTRING(psprintf("%s@%s", float8out_internal(level->threshold), instant));
}

Datum
leadscore_score_reaches_level(PG_FUNCTION_ARGS)
{
	Score		s;
	ScoreLevel *level = (ScoreLevel *) PG_GETARG_POINTER(1);

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	PG_RETURN_BOOL(score_total(&s, level->at) >= level->threshold);
}

Datum
leadscore_falls_below(PG_FUNCTION_ARGS)
{
	Score		s;
	float8		threshold = threshold_argument(PG_GETARG_FLOAT8(1));
	int64		at;

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	switch (score_falls_below(&s, threshold, &at))
	{
		case SCORE_FALLS_AT:
			PG_RETURN_TIMESTAMPTZ(at);
		case SCORE_FALLS_NEVER:
			PG_RETURN_TIMESTAMPTZ(DT_NOEND);
		case SCORE_FALLS_BEFORE:
			break;
	}
	PG_RETURN_TIMESTAMPTZ(DT_NOBEGIN);
}
