/*
 * Fuzz target: ageing and adding, over the whole range of doubles, instants and
 * half-lives. Nothing is ever NaN or infinite, and the laws that hold exactly
 * hold exactly.
 */
#include "score_fuzz.h"

static void
same(const Score *a, const Score *b)
{
	unsigned char x[SCORE_MAX_ENCODED];
	unsigned char y[SCORE_MAX_ENCODED];
	size_t		size = score_encode(a, x, SCORE_NATIVE);

	MUST(score_encode(b, y, SCORE_NATIVE) == size);
	MUST(memcmp(x, y, size) == 0);
}

static void
must_read(const Score *s, int64_t t)
{
	double		total = score_total(s, t);

	MUST(isfinite(total));
	MUST(total >= s->lo && total <= s->hi);
	for (int i = 0; i < s->n; i++)
	{
		double		part = score_contribution(&s->c[i], t);

		MUST(isfinite(part));
		MUST(part >= s->c[i].lo && part <= s->c[i].hi);
		MUST(!(part == 0 && signbit(part)));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes		bytes = {data, size};
	Score		a;
	Score		b;
	Score		ab;
	Score		ba;
	Score		other;
	int64_t		t;
	int			component;
	unsigned char form[SCORE_MAX_ENCODED];
	ScoreStatus status;

	next_score(&bytes, &a);
	b = a;
	next_values(&bytes, &b);
	t = next_instant(&bytes);
	MUST(score_check(&a) == SCORE_OK && score_check(&b) == SCORE_OK);
	MUST(score_compare_shape(&a, &b, &component) == SCORE_SAME_SHAPE);
	must_read(&a, t);
	must_read(&a, SCORE_MIN_INSTANT);
	must_read(&a, SCORE_END_INSTANT - 1);

	/* addition: commutative to the last bit, and refused only for overflow */
	ab = a;
	ba = b;
	if (score_add(&ab, &b) == SCORE_OK)
	{
		MUST(score_check(&ab) == SCORE_OK);
		MUST(score_add(&ba, &a) == SCORE_OK);
		same(&ab, &ba);
		must_read(&ab, t);
	}
	else
	{
		same(&ab, &a);
		MUST(score_add(&ba, &a) == SCORE_OVERFLOW);
	}

	/* in place, on the stored form of one component: the same sum, or the same refusal; zero has another form */
	ab = a;
	ab.n = 1;
	ab.lo = ab.c[0].lo = -INFINITY;
	ab.hi = ab.c[0].hi = INFINITY;
	size = score_encode(&ab, form, SCORE_NATIVE);
	status = score_add_in_place(form, size, b.c[0].value, b.c[0].at, a.c[0].half_life);
	ba = ab;
	if (a.c[0].half_life == 0 || a.c[0].value == 0.0)
		MUST(status == SCORE_SHAPES_DIFFER);
	else
	{
		ScoreStatus added = score_component_add(&ba.c[0], b.c[0].value, b.c[0].at);

		MUST(status == (added == SCORE_OK && ba.c[0].value == 0.0 ? SCORE_SHAPES_DIFFER : added));
		if (status == SCORE_OK)
			ab = ba;
	}
	MUST(score_decode(form, size, SCORE_NATIVE, &ba) == SCORE_OK);
	same(&ab, &ba);
	MUST(score_add_in_place(form, size, 1.0, 0, a.c[0].half_life + 1) == SCORE_SHAPES_DIFFER);

	/* a - b = a + -b; a - a = 0; --a = a */
	ab = a;
	ba = a;
	other = b;
	score_negate(&other);
	MUST(score_check(&other) == SCORE_OK);
	MUST(score_subtract(&ab, &b) == score_add(&ba, &other));
	same(&ab, &ba);
	score_negate(&other);
	same(&other, &b);
	MUST(score_subtract(&other, &b) == SCORE_OK);
	for (int i = 0; i < other.n; i++)
		MUST(other.c[i].value == 0.0);

	/* side by side, with a score of any other shape */
	next_score(&bytes, &other);
	ab = a;
	if (score_concat(&ab, &other) == SCORE_OK)
	{
		MUST(ab.n == a.n + other.n);
		MUST(score_check(&ab) == SCORE_OK);
		must_read(&ab, t);
	}
	else
		MUST(ab.n == a.n);
	if (score_compare_shape(&a, &other, &component) != SCORE_SAME_SHAPE)
		MUST(score_add(&ab, &other) != SCORE_OK || ab.n != a.n);
	return 0;
}
