/*
 * score_ops.c
 *	  The algebra of leadscore.score in SQL: making scores, reading them at an
 *	  instant, adding, comparing, hashing, and the cast to jsonb.
 */
#include "score/score.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/sortsupport.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_points);
PG_FUNCTION_INFO_V1(leadscore_bounded);
PG_FUNCTION_INFO_V1(leadscore_score_total);
PG_FUNCTION_INFO_V1(leadscore_parts);
PG_FUNCTION_INFO_V1(leadscore_score_concat);
PG_FUNCTION_INFO_V1(leadscore_score_add);
PG_FUNCTION_INFO_V1(leadscore_score_subtract);
PG_FUNCTION_INFO_V1(leadscore_score_negate);
PG_FUNCTION_INFO_V1(leadscore_score_eq);
PG_FUNCTION_INFO_V1(leadscore_score_ne);
PG_FUNCTION_INFO_V1(leadscore_score_lt);
PG_FUNCTION_INFO_V1(leadscore_score_le);
PG_FUNCTION_INFO_V1(leadscore_score_gt);
PG_FUNCTION_INFO_V1(leadscore_score_ge);
PG_FUNCTION_INFO_V1(leadscore_score_cmp);
PG_FUNCTION_INFO_V1(leadscore_score_sortsupport);
PG_FUNCTION_INFO_V1(leadscore_score_hash);
PG_FUNCTION_INFO_V1(leadscore_score_hash_extended);
PG_FUNCTION_INFO_V1(leadscore_score_to_jsonb);

/* ----------------------------------------------------------------
 *		Making scores
 * ----------------------------------------------------------------
 */

/* A bound as an SQL argument: NULL is none, and only that. */
static double
bound_argument(FunctionCallInfo fcinfo, int arg, double none)
{
	double		bound;

	if (PG_ARGISNULL(arg))
		return none;
	bound = PG_GETARG_FLOAT8(arg);
	if (!isfinite(bound))
		ls_score_check(SCORE_BAD_BOUNDS);
	return bound + 0.0;			/* -0 becomes 0 */
}

/*
 * points(value, at, half_life, lo, hi): one component. NULL points are no
 * score; points that age from an unknown instant are none either.
 */
Datum
leadscore_points(PG_FUNCTION_ARGS)
{
	Score		s;
	ScoreComponent *c = &s.c[0];
	int64		at = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	/* checked also where it does not matter: an infinite instant is a mistake */
	if (!PG_ARGISNULL(1))
		at = ls_score_instant(PG_GETARG_TIMESTAMPTZ(1));

	s.n = 1;
	s.lo = -INFINITY;
	s.hi = INFINITY;
	c->value = PG_GETARG_FLOAT8(0) + 0.0;
	c->at = 0;
	c->half_life = 0;
	if (!PG_ARGISNULL(2))
	{
		c->half_life = ls_score_half_life(PG_GETARG_INTERVAL_P(2));
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		c->at = at;
	}
	c->lo = bound_argument(fcinfo, 3, -INFINITY);
	c->hi = bound_argument(fcinfo, 4, INFINITY);
	ls_score_check(score_check(&s));
	PG_RETURN_SCORE(&s);
}

/* bounded(score, lo, hi): replaces the bounds of the total. */
Datum
leadscore_bounded(PG_FUNCTION_ARGS)
{
	Score		s;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	s.lo = bound_argument(fcinfo, 1, -INFINITY);
	s.hi = bound_argument(fcinfo, 2, INFINITY);
	ls_score_check(score_check(&s));
	PG_RETURN_SCORE(&s);
}

/* ----------------------------------------------------------------
 *		Reading scores
 * ----------------------------------------------------------------
 */

Datum
leadscore_score_total(PG_FUNCTION_ARGS)
{
	Score		s;
	int64		t = ls_score_instant(PG_GETARG_TIMESTAMPTZ(1));

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	PG_RETURN_FLOAT8(score_total(&s, t));
}

Datum
leadscore_parts(PG_FUNCTION_ARGS)
{
	Score		s;
	int64		t = ls_score_instant(PG_GETARG_TIMESTAMPTZ(1));
	Datum		parts[SCORE_MAX_COMPONENTS];

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	for (int i = 0; i < s.n; i++)
		parts[i] = Float8GetDatum(score_contribution(&s.c[i], t));
	PG_RETURN_ARRAYTYPE_P(construct_array(parts, s.n, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* ----------------------------------------------------------------
 *		Algebra
 * ----------------------------------------------------------------
 */

Datum
leadscore_score_concat(PG_FUNCTION_ARGS)
{
	Score		a;
	Score		b;

	ls_score_from_datum(PG_GETARG_DATUM(0), &a);
	ls_score_from_datum(PG_GETARG_DATUM(1), &b);
	ls_score_check(score_concat(&a, &b));
	PG_RETURN_SCORE(&a);
}

static Datum
combine(FunctionCallInfo fcinfo, ScoreStatus (*operation) (Score *, const Score *))
{
	Score		a;
	Score		b;
	ScoreStatus status;

	ls_score_from_datum(PG_GETARG_DATUM(0), &a);
	ls_score_from_datum(PG_GETARG_DATUM(1), &b);
	status = operation(&a, &b);
	if (status == SCORE_SHAPES_DIFFER)
		ls_score_shape_error(&a, &b, "the left score", "the right one");
	ls_score_check(status);
	PG_RETURN_SCORE(&a);
}

Datum
leadscore_score_add(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, score_add);
}

Datum
leadscore_score_subtract(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, score_subtract);
}

Datum
leadscore_score_negate(PG_FUNCTION_ARGS)
{
	Score		s;

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	score_negate(&s);
	PG_RETURN_SCORE(&s);
}

/* ----------------------------------------------------------------
 *		Comparison and hash, of representations
 * ----------------------------------------------------------------
 *
 * Equal scores have equal bytes, so all of this works on the bytes, and on
 * nothing else: neither the order nor the hash says anything about ranking.
 */

static int
compare_bytes(Datum a, Datum b)
{
	struct varlena *x = PG_DETOAST_DATUM_PACKED(a);
	struct varlena *y = PG_DETOAST_DATUM_PACKED(b);
	Size		x_len = VARSIZE_ANY_EXHDR(x);
	Size		y_len = VARSIZE_ANY_EXHDR(y);
	int			cmp = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(x_len, y_len));

	if (cmp == 0 && x_len != y_len)
		cmp = x_len < y_len ? -1 : 1;
	/* sorts compare within one context for long: leave no copies in it */
	if ((Pointer) x != DatumGetPointer(a))
		pfree(x);
	if ((Pointer) y != DatumGetPointer(b))
		pfree(y);
	return cmp;
}

Datum
leadscore_score_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) == 0);
}

Datum
leadscore_score_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) != 0);
}

Datum
leadscore_score_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) < 0);
}

Datum
leadscore_score_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) <= 0);
}

Datum
leadscore_score_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) > 0);
}

Datum
leadscore_score_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) >= 0);
}

Datum
leadscore_score_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_bytes(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

static int
sort_compare(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return compare_bytes(a, b);
}

Datum
leadscore_score_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = sort_compare;
	PG_RETURN_VOID();
}

Datum
leadscore_score_hash(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_VARLENA_PP(0);
	Datum		hash = hash_any((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}

Datum
leadscore_score_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_VARLENA_PP(0);
	Datum		hash = hash_any_extended((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v),
										 PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}

/* ----------------------------------------------------------------
 *		Cast to jsonb
 * ----------------------------------------------------------------
 */

static void
append_json_bounds(StringInfo json, double lo, double hi)
{
	char		number[SCORE_MAX_NUMBER_TEXT];

	if (!isinf(lo))
	{
		score_print_number(lo, number);
		appendStringInfo(json, ", \"lo\": %s", number);
	}
	if (!isinf(hi))
	{
		score_print_number(hi, number);
		appendStringInfo(json, ", \"hi\": %s", number);
	}
}

/*
 * {"components": [{"value": 87.5, "at": "2026-01-31T10:00:00Z",
 *				    "half_life_seconds": 1209600, "lo": 0, "hi": 100}],
 *	"total": {"lo": 0, "hi": 120}}
 *
 * What a component does not have is absent. Numbers are those of the text form,
 * so nothing is lost; none of this needs escaping.
 */
Datum
leadscore_score_to_jsonb(PG_FUNCTION_ARGS)
{
	Score		s;
	StringInfoData json;
	char		text[SCORE_MAX_NUMBER_TEXT];

	ls_score_from_datum(PG_GETARG_DATUM(0), &s);
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"components\": [");
	for (int i = 0; i < s.n; i++)
	{
		const ScoreComponent *c = &s.c[i];

		score_print_number(c->value, text);
		appendStringInfo(&json, "%s{\"value\": %s", i > 0 ? ", " : "", text);
		if (c->half_life != 0)
		{
			score_print_instant(c->at, text);
			appendStringInfo(&json, ", \"at\": \"%s\", \"half_life_seconds\": " INT64_FORMAT, text,
							 c->half_life / SCORE_USEC_PER_SEC);
			if (c->half_life % SCORE_USEC_PER_SEC != 0)
			{
				appendStringInfo(&json, ".%06d", (int) (c->half_life % SCORE_USEC_PER_SEC));
				while (json.data[json.len - 1] == '0')
					json.data[--json.len] = '\0';
			}
		}
		append_json_bounds(&json, c->lo, c->hi);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, ']');
	if (!isinf(s.lo) || !isinf(s.hi))
	{
		/* the first bound follows a brace, not another key */
		StringInfoData bounds;

		initStringInfo(&bounds);
		append_json_bounds(&bounds, s.lo, s.hi);
		appendStringInfo(&json, ", \"total\": {%s}", bounds.data + strlen(", "));
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
