/*
 * Fuzz target: the keys of the index. Whatever scores of one shape a span is made
 * of, in whatever order and grouping, no total as computed lies outside its bounds
 * as computed, at any instant; ranks order elements as ageing does.
 */
#include "score_fuzz.h"

#include "score_place.h"

#define MAX_SCORES	12

/* of the scores at hand; the values of the first are in it */
static ScoreShape shape;
static ScoreScale scale;

static void
elements_of(const Score *s, ScoreElements *e)
{
	unsigned char bytes[SCORE_MAX_ENCODED];
	unsigned char part[SCORE_MAX_ENCODED];
	size_t		size = score_encode(s, bytes, SCORE_NATIVE);
	int			component;

	if (shape.size == 0)
	{
		MUST(score_shape_decode(bytes, size, &shape));
		score_scale_init(&scale, &shape.score, s->c[0].at);
	}
	MUST(score_compare_shape(s, &shape.score, &component) == SCORE_SAME_SHAPE);
	MUST(score_elements_decode(&shape, bytes, size, e));
	MUST(e->single);
	for (int i = 0; i < s->n; i++)
		MUST(e->low[i].value == s->c[i].value && e->low[i].at == s->c[i].at);

	/* the sanitizer watches that nothing is read beyond the end, wherever it is */
	for (size_t n = 0; n < size; n++)
	{
		memcpy(part + sizeof(part) - n, bytes, n);
		MUST(!score_elements_decode(&shape, part + sizeof(part) - n, n, e));
	}
	MUST(score_elements_decode(&shape, bytes, size, e));
}

/* Through the stored form and back, as the index does between any two unions. */
static void
store(ScoreElements *e)
{
	unsigned char bytes[SCORE_SPAN_MAX_ENCODED];
	unsigned char again[SCORE_SPAN_MAX_ENCODED];
	size_t		size = score_elements_encode(&shape, e, bytes);
	ScoreSpan	span;

	MUST(size <= sizeof(bytes));
	MUST(!score_span_decode(bytes, size - 1, &span));
	MUST(!score_elements_decode(&shape, bytes, size - 1, e));
	MUST(score_decode(bytes, size, SCORE_NATIVE, &span.shape) == SCORE_BAD_FORM);
	MUST(score_elements_decode(&shape, bytes, size, e));
	MUST(!e->single);
	MUST(score_elements_encode(&shape, e, again) == size);
	MUST(memcmp(bytes, again, size) == 0);
}

/* As searches read it. */
static void
span_of(const ScoreElements *e, ScoreSpan *span)
{
	unsigned char bytes[SCORE_SPAN_MAX_ENCODED];
	size_t		size = score_elements_encode(&shape, e, bytes);

	MUST(score_span_decode(bytes, size, span));
	MUST(!span->single);
	for (int i = 0; i < span->shape.n; i++)
		MUST(span->low[i].value == e->low[i].value && span->low[i].at == e->low[i].at &&
			 span->high[i].value == e->high[i].value && span->high[i].at == e->high[i].at);
}

/* A span has the shape of its scores, and the bytes say so. */
static void
must_share_shape(const ScoreElements *e, const Score *s)
{
	unsigned char a[SCORE_SPAN_MAX_ENCODED];
	unsigned char b[SCORE_MAX_ENCODED];
	size_t		a_size = score_elements_encode(&shape, e, a);
	size_t		b_size = score_encode(s, b, SCORE_NATIVE);
	size_t		size = score_shape_size(a, a_size);
	ScoreShape	of_span;

	MUST(size > 0 && size == score_shape_size(b, b_size));
	MUST(score_same_shape(a, b, size) && score_same_shape(b, a, size));
	MUST(score_shape_decode(a, a_size, &of_span));
	MUST(score_shape_matches(&of_span, b, b_size) && score_shape_matches(&shape, a, a_size));

	/* and of another shape it says so, too */
	for (size_t i = 0; i < size; i++)
	{
		unsigned char bit = i == 0 ? 1 : i <= (size_t) s->n ? 32 : 128;

		b[i] ^= bit;
		MUST(!score_shape_matches(&of_span, b, b_size));
		b[i] ^= bit;
	}
}

/* Logarithms are as near as they say, and the order they give is that of ranks. */
static void
must_order(const ScoreElements *a, const ScoreElements *b)
{
	for (int i = 0; i < scale.n; i++)
	{
		const ScaleComponent *c = &scale.c[i];
		ScoreRank	ra = score_element_rank(a->low[i], c->half_life);
		ScoreRank	rb = score_element_rank(b->low[i], c->half_life);
		double		la = score_nearly_log(c, a->low[i], scale.now);
		double		lb = score_nearly_log(c, b->low[i], scale.now);
		double		worth = score_nearly_worth(c, a->low[i], scale.now);

		MUST(score_element_order(c, &a->low[i], la, &b->low[i], lb) == score_rank_compare(&ra, &rb));
		MUST(isfinite(worth) && worth >= shape.score.c[i].lo && worth <= shape.score.c[i].hi);
		if (c->half_life != 0 && ra.sign != 0 && rb.sign != 0)
		{
			double		truth = (double) (ra.whole - rb.whole) + (ra.fraction - rb.fraction);

			MUST(fabs(la - lb - truth) < SCORE_NEARLY);
		}
	}
}

static void
must_bound(const ScoreSpan *span, const Score *s, int n, int64_t t)
{
	double		lower = score_span_lower(span, t);
	double		upper = score_span_upper(span, t);

	MUST(isfinite(lower) && isfinite(upper));
	for (int i = 0; i < n; i++)
	{
		double		total = score_total(&s[i], t);

		MUST(lower <= total && total <= upper);
	}
}

/* Does one of the worths lie where few digits are none: beyond 2^1000, or back? */
static bool
far_away(const ScoreElements *e)
{
	for (int i = 0; i < scale.n; i++)
	{
		for (int k = 0; k < 2; k++)
		{
			ScoreElement x = k == 0 ? e->low[i] : e->high[i];
			double		age = (double) (x.at - scale.now) * scale.c[i].per_usec;

			if (fabs(age) > 900.0 || (x.value != 0.0 && fabs(log2(fabs(x.value)) + age) > 900.0))
				return true;
		}
	}
	return false;
}

static float
penalty_of(const ScoreElements *held, const ScoreMeasured *added, double *enough)
{
	unsigned char bytes[SCORE_SPAN_MAX_ENCODED];
	size_t		size = score_elements_encode(&shape, held, bytes);
	float		penalty;

	MUST(!score_penalty(&shape, &scale, bytes, size - 1, added, enough, &penalty));
	MUST(score_penalty(&shape, &scale, bytes, size, added, enough, &penalty));
	return penalty;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes		bytes = {data, size};
	Score		s[MAX_SCORES];
	ScoreElements spans[MAX_SCORES];
	ScoreElements left;
	ScoreElements right;
	ScoreSpan	span;
	ScoreCurve	curve;
	int			n;
	int			middle;
	uint64_t	how;

	next_score(&bytes, &s[0]);
	how = next_bits(&bytes);
	n = 2 + (int) (how % (MAX_SCORES - 1));
	middle = 1 + (int) (how >> 8) % (n - 1);
	if (middle < 1)
		middle = 1;
	for (int i = 1; i < n; i++)
	{
		s[i] = s[0];
		next_values(&bytes, &s[i]);
		/* nearly the same worth is where rounding decides: one value, carried along */
		if (how >> (16 + i) & 1)
		{
			for (int k = 0; k < s[i].n; k++)
			{
				ScoreComponent *c = &s[i].c[k];

				c->value = s[i - 1].c[k].value;
				if (c->half_life != 0)
					c->value = score_age(c->value, c->at - s[i - 1].c[k].at, c->half_life);
			}
		}
		MUST(score_check(&s[i]) == SCORE_OK);
	}

	shape.size = 0;
	for (int i = 0; i < n; i++)
		elements_of(&s[i], &spans[i]);
	left = spans[0];
	for (int i = 1; i < middle; i++)
		score_elements_extend(&scale, &left, &spans[i]);
	right = spans[middle];
	for (int i = middle + 1; i < n; i++)
		score_elements_extend(&scale, &right, &spans[i]);
	store(&left);
	store(&right);
	score_elements_extend(&scale, &left, &right);
	store(&left);
	must_share_shape(&left, &s[0]);
	MUST(score_elements_contain(&scale, &left, &right));
	for (int i = 0; i < n; i++)
		MUST(score_elements_contain(&scale, &left, &spans[i]));
	for (int i = 1; i < n; i++)
		must_order(&spans[i - 1], &spans[i]);

	span_of(&left, &span);
	must_bound(&span, s, n, SCORE_MIN_INSTANT);
	must_bound(&span, s, n, SCORE_END_INSTANT - 1);
	for (int i = 0; i < 6; i++)
		must_bound(&span, s, n, next_instant(&bytes));
	for (int i = 0; i < n && i < 4; i++)
		must_bound(&span, s, n, s[i].c[0].at);

	/* measures are finite, and a span need not grow for what it holds */
	for (int i = 0; i < n; i++)
	{
		ScoreMeasured one;
		double		enough = INFINITY;
		float		penalty;
		float		at_most;

		one.e = spans[i];
		score_measure(&scale, &one);
		penalty = penalty_of(&left, &one, &enough);
		MUST(penalty == 0.0f || (isfinite(penalty) && penalty > 0.0f && (far_away(&left) || far_away(&spans[i]))));
		one.e = left;
		score_measure(&scale, &one);
		enough = INFINITY;
		penalty = penalty_of(&spans[i], &one, &enough);
		MUST(isfinite(penalty) && penalty >= 0.0f);

		/* told in part, it is no less than what is enough, nor more than the whole */
		enough *= 0.5;
		at_most = penalty_of(&spans[i], &one, &enough);
		MUST(at_most <= penalty && (penalty == 0.0f) == (at_most == 0.0f));
	}

	/* the prefix on the curve never contradicts the order on it */
	score_curve_init(&curve, s[0].n, how & 1 ? 64 : 44);
	for (int i = 1; i < n; i++)
	{
		ScorePlace	a,
					b;
		uint64_t	pa,
					pb;
		int			order;

		score_place(&scale, &spans[i - 1], &a);
		score_place(&scale, &spans[i], &b);
		order = score_place_compare(&a, &b);
		MUST(order == -score_place_compare(&b, &a));
		pa = score_place_prefix(&curve, &a);
		pb = score_place_prefix(&curve, &b);
		MUST(pa == pb || (pa < pb) == (order < 0));
	}
	return 0;
}
