/*
 * Fuzz target: the keys of the index. Whatever scores of one shape a span is made
 * of, in whatever order and grouping, no total as computed lies outside its bounds
 * as computed, at any instant; ranks order elements as ageing does.
 */
#include "score_fuzz.h"

#include "score_bound.h"

#define MAX_SCORES	12

static void
span_of(const Score *s, ScoreSpan *span)
{
	unsigned char bytes[SCORE_MAX_ENCODED];
	size_t		size = score_encode(s, bytes, SCORE_NATIVE);

	MUST(score_span_decode(bytes, size, span));
	MUST(span->single);
	score_span_rank(span);
}

/* Through the stored form and back, as the index does between any two unions. */
static void
store(ScoreSpan *span)
{
	unsigned char bytes[SCORE_SPAN_MAX_ENCODED];
	unsigned char again[SCORE_SPAN_MAX_ENCODED];
	size_t		size = score_span_encode(span, bytes);

	MUST(size <= sizeof(bytes));
	MUST(!score_span_decode(bytes, size - 1, span));
	MUST(score_decode(bytes, size, SCORE_NATIVE, &span->shape) == SCORE_BAD_FORM);
	MUST(score_span_decode(bytes, size, span));
	score_span_rank(span);
	MUST(score_span_encode(span, again) == size);
	MUST(memcmp(bytes, again, size) == 0);
}

/* A span has the shape of its scores, and the bytes say so. */
static void
must_share_shape(const ScoreSpan *span, const Score *s)
{
	unsigned char a[SCORE_SPAN_MAX_ENCODED];
	unsigned char b[SCORE_MAX_ENCODED];
	size_t		a_size = score_span_encode(span, a);
	size_t		b_size = score_encode(s, b, SCORE_NATIVE);
	size_t		shape = score_shape_size(a, a_size);

	MUST(shape > 0 && shape == score_shape_size(b, b_size));
	MUST(score_same_shape(a, b, shape) && score_same_shape(b, a, shape));
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes		bytes = {data, size};
	Score		s[MAX_SCORES];
	ScoreSpan	spans[MAX_SCORES];
	ScoreSpan	left;
	ScoreSpan	right;
	ScoreExtent extent;
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

	for (int i = 0; i < n; i++)
		span_of(&s[i], &spans[i]);
	left = spans[0];
	for (int i = 1; i < middle; i++)
		score_span_extend(&left, &spans[i]);
	right = spans[middle];
	for (int i = middle + 1; i < n; i++)
		score_span_extend(&right, &spans[i]);
	left.single = right.single = false;
	store(&left);
	store(&right);
	score_span_extend(&left, &right);
	store(&left);
	MUST(score_span_contains(&left, &right));
	must_share_shape(&left, &s[0]);
	for (int i = 0; i < n; i++)
		MUST(score_span_contains(&left, &spans[i]));

	must_bound(&left, s, n, SCORE_MIN_INSTANT);
	must_bound(&left, s, n, SCORE_END_INSTANT - 1);
	for (int i = 0; i < 6; i++)
		must_bound(&left, s, n, next_instant(&bytes));
	for (int i = 0; i < n && i < 4; i++)
		must_bound(&left, s, n, s[i].c[0].at);

	/* measures are finite, and a span need not grow for what it holds */
	for (int i = 0; i < n; i++)
	{
		ScoreExtent one;
		float		penalty;

		score_span_extent(&left, s[0].c[0].at, &extent);
		score_span_extent(&spans[i], s[0].c[0].at, &one);
		penalty = score_penalty(&extent, &one, s[0].n);
		MUST(isfinite(penalty) && penalty >= 0.0f);
		MUST(score_hidden_penalty(&left, &spans[i]) == 0.0f);
		penalty = score_hidden_penalty(&spans[i], &left);
		MUST(isfinite(penalty) && penalty >= 0.0f);
	}

	/* the prefix on the curve never contradicts the order on it */
	for (int i = 1; i < n; i++)
	{
		ScorePlace	a,
					b;
		uint64_t	pa,
					pb;
		int			order;

		score_place(&s[i - 1], s[0].c[0].at, &a);
		score_place(&s[i], s[0].c[0].at, &b);
		order = score_place_compare(&a, &b);
		MUST(order == -score_place_compare(&b, &a));
		pa = score_place_prefix(&a);
		pb = score_place_prefix(&b);
		MUST(pa == pb || (pa < pb) == (order < 0));
	}
	return 0;
}
