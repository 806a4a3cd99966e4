/*
 * score_agg.c
 *	  sum(score) and decayed_sum(points, at, half_life).
 *
 * The state of both is a score itself, never "internal": any system that can
 * carry a value of the type from one node to another can split the aggregate,
 * and combining two states is the addition of two scores. Nothing is kept in
 * fn_extra and nothing is asked of the call site.
 *
 * The first row makes the state; the executor copies it into the aggregate's
 * memory and nearly every later row changes it there, in place: what ages has one
 * width, unless it is zero. Where the new sum takes more or fewer bytes than the
 * old, the functions return a new state. What may be changed in place is a plain varlena that the
 * executor owns, which AggCheckCallContext vouches for; called by hand, with
 * somebody else's value, the functions return a new one.
 */
#include "score/score.h"

#include <math.h>

#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_score_accum);
PG_FUNCTION_INFO_V1(leadscore_decayed_accum);

/* The state's own bytes if they may be changed in place, else NULL. */
static unsigned char *
own_state(FunctionCallInfo fcinfo, Size *len)
{
	struct varlena *state = (struct varlena *) PG_GETARG_POINTER(0);

	if (!VARATT_IS_4B_U(state) || !AggCheckCallContext(fcinfo, NULL))
		return NULL;
	*len = VARSIZE(state) - VARHDRSZ;
	return (unsigned char *) VARDATA(state);
}

/* The state with a term added: written over the old one where that is ours. */
static Datum
add_term(FunctionCallInfo fcinfo, const Score *term, const char *name)
{
	Score		sum;
	ScoreStatus status;
	unsigned char bytes[SCORE_MAX_ENCODED];
	unsigned char *state;
	Size		len;

	ls_score_from_datum(PG_GETARG_DATUM(0), &sum);
	status = score_add(&sum, term);
	if (unlikely(status == SCORE_SHAPES_DIFFER))
		ls_score_shape_error(&sum, term, "the sum so far", name);
	ls_score_check(status);

	state = own_state(fcinfo, &len);
	if (state == NULL || len != score_encode(&sum, bytes, SCORE_NATIVE))
		return ls_score_to_datum(&sum);
	memcpy(state, bytes, len);
	return PG_GETARG_DATUM(0);
}

/*
 * score_accum(state, score): transition and combine function of sum, combine
 * function of decayed_sum. NULL adds nothing, and a sum of nothing is NULL.
 */
Datum
leadscore_score_accum(PG_FUNCTION_ARGS)
{
	Score		term;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	ls_score_from_datum(PG_GETARG_DATUM(1), &term);
	if (PG_ARGISNULL(0))
		PG_RETURN_SCORE(&term);

	return add_term(fcinfo, &term, "the next score");
}

/*
 * decayed_accum(state, points, at, half_life): adds what
 * points(points, at, half_life) would make, without making it.
 */
Datum
leadscore_decayed_accum(PG_FUNCTION_ARGS)
{
	Score		term;
	ScoreComponent *c = &term.c[0];
	ScoreStatus status;
	unsigned char *state;
	Size		len;

	/* points() of these is NULL: nothing to add */
	if (PG_ARGISNULL(1) || (PG_ARGISNULL(2) && !PG_ARGISNULL(3)))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}

	c->value = PG_GETARG_FLOAT8(1) + 0.0;
	c->at = PG_ARGISNULL(2) ? 0 : ls_score_instant(PG_GETARG_TIMESTAMPTZ(2));
	c->half_life = PG_ARGISNULL(3) ? 0 : ls_score_half_life(PG_GETARG_INTERVAL_P(3));
	if (unlikely(!isfinite(c->value)))
		ls_score_check(SCORE_BAD_NUMBER);

	/* nearly every row ends here */
	if (likely(!PG_ARGISNULL(0) && (state = own_state(fcinfo, &len)) != NULL))
	{
		status = score_add_in_place(state, len, c->value, c->at, c->half_life);
		if (likely(status == SCORE_OK))
			PG_RETURN_DATUM(PG_GETARG_DATUM(0));
		if (status != SCORE_SHAPES_DIFFER)
			ls_score_check(status);
	}

	/* the first row, points that do not age, sums of zero, and shapes that do differ */
	term.n = 1;
	term.lo = c->lo = -INFINITY;
	term.hi = c->hi = INFINITY;
	if (c->half_life == 0)
		c->at = 0;
	if (PG_ARGISNULL(0))
		PG_RETURN_SCORE(&term);
	return add_term(fcinfo, &term, "the next row");
}
