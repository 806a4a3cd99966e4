/*
 * Fuzz target: bytes to score, and score to bytes. Whatever is accepted is a valid
 * score, and its encoding is those bytes and no other: a score has one form. And
 * any score comes back from its bytes, from all of them only.
 */
#include "score_fuzz.h"

/* Bytes that may be a score. */
static void
read_bytes(const uint8_t *data, size_t size, ScoreForm form)
{
	unsigned char *exact;
	unsigned char bytes[SCORE_MAX_ENCODED];
	char		printed[SCORE_MAX_TEXT];
	ScoreTextError error;
	Score		s;
	Score		t;

	/* a block of exactly this size, so that reading beyond it is seen */
	exact = malloc(size);
	if (size > 0)
		memcpy(exact, data, size);
	if (score_decode(exact, size, form, &s) == SCORE_OK)
	{
		MUST(score_check(&s) == SCORE_OK);
		MUST(score_encode(&s, bytes, form) == size);
		MUST(memcmp(bytes, exact, size) == 0);
		/* every score has a text */
		MUST(score_print(&s, printed) < SCORE_MAX_TEXT);
		MUST(score_parse(printed, &t, &error) == SCORE_OK);
		MUST(score_encode(&t, bytes, form) == size);
		MUST(memcmp(bytes, exact, size) == 0);
	}
	else if (form == SCORE_NATIVE)
		MUST(score_shape_size(exact, size) <= size);
	free(exact);
}

/* A score, and another of its shape: to bytes and back, in both forms. */
static void
write_scores(Bytes *bytes)
{
	unsigned char a[SCORE_MAX_ENCODED];
	unsigned char b[SCORE_MAX_ENCODED];
	unsigned char again[SCORE_MAX_ENCODED];
	unsigned char *exact;
	Score		s;
	Score		t;
	Score		back;
	size_t		size;
	size_t		shape;
	int			component;

	next_score(bytes, &s);
	t = s;
	next_values(bytes, &t);
	for (int form = SCORE_NATIVE; form <= SCORE_NETWORK; form++)
	{
		size = score_encode(&s, a, form);
		MUST(size <= sizeof(a));
		MUST(score_decode(a, size, form, &back) == SCORE_OK);
		MUST(score_compare_shape(&s, &back, &component) == SCORE_SAME_SHAPE);
		for (int i = 0; i < s.n; i++)
			MUST(s.c[i].value == back.c[i].value && s.c[i].at == back.c[i].at);
		MUST(score_encode(&back, again, form) == size);
		MUST(memcmp(a, again, size) == 0);
		for (size_t less = 0; less < size; less++)
		{
			exact = malloc(less);
			memcpy(exact, a, less);
			MUST(score_decode(exact, less, form, &back) != SCORE_OK);
			free(exact);
		}
	}

	/* the shape can be told from the bytes, whatever the values */
	size = score_encode(&s, a, SCORE_NATIVE);
	shape = score_shape_size(a, size);
	size = score_encode(&t, b, SCORE_NATIVE);
	MUST(shape > 0 && shape <= size);
	MUST(score_shape_size(b, size) == shape);
	MUST(score_same_shape(a, b, shape) && score_same_shape(b, a, shape));
	next_score(bytes, &t);
	size = score_encode(&t, b, SCORE_NATIVE);
	MUST((size >= shape && score_same_shape(a, b, shape)) ==
		 (score_compare_shape(&s, &t, &component) == SCORE_SAME_SHAPE));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes		bytes;

	if (size == 0)
		return 0;
	bytes = (Bytes) {data + 1, size - 1};
	if (data[0] & 2)
		write_scores(&bytes);
	else
		read_bytes(bytes.p, bytes.left, data[0] & 1 ? SCORE_NETWORK : SCORE_NATIVE);
	return 0;
}
