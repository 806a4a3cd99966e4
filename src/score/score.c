/*
 * score.c
 *	  The type leadscore.score in the server: input and output, its errors, and
 *	  the way between Datum and Score.
 *
 * Owns every message about scores; the algebra in SQL is score_ops.c's, the
 * aggregates are score_agg.c's.
 */
#include "score/score.h"

#include <math.h>

#include "common/int.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_score_in);
PG_FUNCTION_INFO_V1(leadscore_score_out);
PG_FUNCTION_INFO_V1(leadscore_score_recv);
PG_FUNCTION_INFO_V1(leadscore_score_send);

/* ----------------------------------------------------------------
 *		Errors
 * ----------------------------------------------------------------
 */

typedef struct ScoreMessage
{
	int			sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
} ScoreMessage;

/* What is wrong, for every status but SCORE_OK. */
static ScoreMessage
score_message(ScoreStatus status)
{
	switch (status)
	{
		case SCORE_OK:
			break;
		case SCORE_BAD_SYNTAX:
			return (ScoreMessage) {
				ERRCODE_INVALID_TEXT_REPRESENTATION, "invalid input syntax for type leadscore.score", NULL,
					"Write components as in \"15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]\"."
			};
		case SCORE_BAD_NUMBER:
			return (ScoreMessage) {
				ERRCODE_DATA_EXCEPTION, "points are not a finite number",
					"Points must be a finite number within the range of double precision.", NULL
			};
		case SCORE_BAD_INSTANT:
			return (ScoreMessage) {
				ERRCODE_DATETIME_FIELD_OVERFLOW, "instant of a score is out of range",
					"An instant must be a finite date and time in the years 1 to 9999.", NULL
			};
		case SCORE_BAD_HALF_LIFE:
			return (ScoreMessage) {
				ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "half-life is out of range",
					"A half-life must be from 1 second to 1000 years.",
					"Leave it away for points that do not age."
			};
		case SCORE_BAD_BOUNDS:
			return (ScoreMessage) {
				ERRCODE_DATA_EXCEPTION, "invalid bounds of a score",
					"The lower bound must not exceed the upper bound, and both must be finite numbers.",
					"Leave a bound away, or pass NULL, where there is none."
			};
		case SCORE_BAD_COUNT:
			return (ScoreMessage) {
				ERRCODE_PROGRAM_LIMIT_EXCEEDED, "wrong number of components in a score",
					"A score has from 1 to 8 components.", NULL
			};
		case SCORE_BAD_FORM:
			return (ScoreMessage) {
				ERRCODE_DATA_CORRUPTED, "invalid stored form of a score",
					"Version, flags or length do not fit together, or the form is not canonical.", NULL
			};
		case SCORE_SHAPES_DIFFER:
			return (ScoreMessage) {
				ERRCODE_INVALID_PARAMETER_VALUE, "scores of different shapes cannot be combined", NULL,
					"Give both the same components, with the same half-lives and bounds, in the same order."
			};
		case SCORE_HAS_TOTAL_BOUNDS:
			return (ScoreMessage) {
				ERRCODE_INVALID_PARAMETER_VALUE, "a score with bounds of its total cannot get more components",
					"The bounds speak of the components it has.",
					"Apply leadscore.bounded() last."
			};
		case SCORE_OVERFLOW:
			return (ScoreMessage) {
				ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "score is out of range",
					"A component of the sum is beyond the range of double precision.", NULL
			};
	}
	elog(ERROR, "unexpected score status %d", (int) status);
}

void
ls_score_check(ScoreStatus status)
{
	ScoreMessage m;

	if (likely(status == SCORE_OK))
		return;
	m = score_message(status);
	ereport(ERROR,
			(errcode(m.sqlstate),
			 errmsg("%s", m.message),
			 m.detail ? errdetail("%s", m.detail) : 0,
			 m.hint ? errhint("%s", m.hint) : 0));
}

static void
append_half_life(StringInfo buf, int64 span)
{
	char		text[SCORE_MAX_HALF_LIFE_TEXT];

	if (span == 0)
	{
		appendStringInfoString(buf, "no half-life");
		return;
	}
	score_print_half_life(span, text);
	appendStringInfo(buf, "half-life %s", text);
}

static void
append_bound(StringInfo buf, const char *name, double bound)
{
	char		text[SCORE_MAX_NUMBER_TEXT];

	if (isinf(bound))
	{
		appendStringInfo(buf, "no %s bound", name);
		return;
	}
	score_print_number(bound, text);
	appendStringInfo(buf, "the %s bound %s", name, text);
}

char *
ls_score_shape_detail(const Score *a, const Score *b, const char *left, const char *right)
{
	const Score *side[] = {a, b};
	const char *name[] = {left, right};
	int			i;
	ScoreDifference difference = score_compare_shape(a, b, &i);
	StringInfoData buf;

	initStringInfo(&buf);
	if (difference == SCORE_DIFFERENT_TOTAL_LO || difference == SCORE_DIFFERENT_TOTAL_HI)
		appendStringInfoString(&buf, "The total has ");
	else if (difference != SCORE_DIFFERENT_COUNT)
		appendStringInfo(&buf, "Component %d has ", i + 1);
	else
		appendStringInfoString(&buf, "Found ");
	for (int k = 0; k < 2; k++)
	{
		switch (difference)
		{
			case SCORE_SAME_SHAPE:
				break;
			case SCORE_DIFFERENT_COUNT:
				appendStringInfo(&buf, side[k]->n == 1 ? "%d component" : "%d components", side[k]->n);
				break;
			case SCORE_DIFFERENT_HALF_LIFE:
				append_half_life(&buf, side[k]->c[i].half_life);
				break;
			case SCORE_DIFFERENT_LO:
				append_bound(&buf, "lower", side[k]->c[i].lo);
				break;
			case SCORE_DIFFERENT_HI:
				append_bound(&buf, "upper", side[k]->c[i].hi);
				break;
			case SCORE_DIFFERENT_TOTAL_LO:
				append_bound(&buf, "lower", side[k]->lo);
				break;
			case SCORE_DIFFERENT_TOTAL_HI:
				append_bound(&buf, "upper", side[k]->hi);
				break;
		}
		appendStringInfo(&buf, " in %s%s", name[k], k == 0 ? ", " : ".");
	}
	return buf.data;
}

void
ls_score_shape_error(const Score *a, const Score *b, const char *left, const char *right)
{
	ScoreMessage m = score_message(SCORE_SHAPES_DIFFER);

	ereport(ERROR,
			(errcode(m.sqlstate),
			 errmsg("%s", m.message),
			 errdetail_internal("%s", ls_score_shape_detail(a, b, left, right)),
			 errhint("%s", m.hint)));
}

/* ----------------------------------------------------------------
 *		From and to Datum
 * ----------------------------------------------------------------
 */

void
ls_score_from_datum(Datum datum, Score *s)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(datum);
	ScoreStatus status;

	status = score_decode((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), SCORE_NATIVE, s);
	if (unlikely((Pointer) v != DatumGetPointer(datum)))
		pfree(v);
	if (unlikely(status != SCORE_OK))
	{
		const char *detail = score_message(status).detail;

		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored score is damaged"),
				 detail ? errdetail("%s", detail) : 0));
	}
}

Datum
ls_score_to_datum(const Score *s)
{
	unsigned char bytes[SCORE_MAX_ENCODED];
	Size		size;
	struct varlena *v;

	Assert(score_check(s) == SCORE_OK);
	size = score_encode(s, bytes, SCORE_NATIVE);
	v = palloc(VARHDRSZ + size);
	SET_VARSIZE(v, VARHDRSZ + size);
	memcpy(VARDATA(v), bytes, size);
	return PointerGetDatum(v);
}

int64
ls_score_instant(TimestampTz t)
{
	/* infinite timestamps are the extremes of int64 */
	if (unlikely(!score_instant_is_valid(t)))
		ls_score_check(SCORE_BAD_INSTANT);
	return t;
}

int64
ls_score_half_life(const Interval *interval)
{
	int64		years = interval->month / MONTHS_PER_YEAR;
	int64		days;
	int64		span;

	/* as extract(epoch from interval), in microseconds and without rounding */
	days = (int64) (interval->month % MONTHS_PER_YEAR) * DAYS_PER_MONTH + interval->day;
	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &span) ||
		pg_add_s64_overflow(span, interval->time, &span) ||
		pg_mul_s64_overflow(years, SCORE_MAX_HALF_LIFE / 1000, &years) ||
		pg_add_s64_overflow(span, years, &span) ||
		span < SCORE_MIN_HALF_LIFE || span > SCORE_MAX_HALF_LIFE)
		ls_score_check(SCORE_BAD_HALF_LIFE);
	return span;
}

/* ----------------------------------------------------------------
 *		Input and output
 * ----------------------------------------------------------------
 */

Datum
leadscore_score_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	Score		s;
	ScoreTextError where;
	ScoreStatus status = score_parse(text, &s, &where);

	if (status != SCORE_OK)
	{
		ScoreMessage m = score_message(status);
		int			character = pg_mbstrlen_with_len(text, (int) where.offset) + 1;

		/* in text there is no NaN: what is no finite number is too large or too small */
		if (status == SCORE_BAD_NUMBER)
		{
			m.sqlstate = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
			m.message = "number is out of range for type leadscore.score";
			m.detail = "A number must be within the range of double precision.";
		}
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(m.sqlstate),
				 errmsg("%s: \"%s\"", m.message, text),
				 where.expected ? errdetail("Expected %s at character %d.", where.expected, character) :
				 errdetail("%s See character %d.", m.detail, character),
				 m.hint ? errhint("%s", m.hint) : 0));
	}
	PG_RETURN_SCORE(&s);
}

Datum
leadscore_score_out(PG_FUNCTION_ARGS)
{
	Score		s;
	char		text[SCORE_MAX_TEXT];

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	score_print(&s, text);
	PG_RETURN_CSTRING(pstrdup(text));
}

/*
 * The bytes come from a client, who may send anything: the decoder demands the
 * exact length that the head implies and every rule that text input demands.
 */
Datum
leadscore_score_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;
	const char *bytes = pq_getmsgbytes(buf, len);
	Score		s;
	ScoreStatus status = score_decode((const unsigned char *) bytes, (size_t) len, SCORE_NETWORK, &s);

	if (status != SCORE_OK)
	{
		const char *detail = score_message(status).detail;

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type leadscore.score"),
				 detail ? errdetail("%s", detail) : 0));
	}
	PG_RETURN_SCORE(&s);
}

Datum
leadscore_score_send(PG_FUNCTION_ARGS)
{
	Score		s;
	unsigned char bytes[SCORE_MAX_ENCODED];
	StringInfoData buf;

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	pq_begintypsend(&buf);
	pq_sendbytes(&buf, (char *) bytes, (int) score_encode(&s, bytes, SCORE_NETWORK));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
