/*
 * Fuzz target: bytes to score. Whatever is accepted is a valid score, and its
 * encoding is those bytes and no other: a score has one form.
 */
#include "score_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ScoreByteOrder order;
	unsigned char *exact;
	unsigned char form[SCORE_MAX_ENCODED];
	char		printed[SCORE_MAX_TEXT];
	ScoreTextError error;
	Score		s;
	Score		t;

	if (size == 0)
		return 0;
	order = data[0] & 1 ? SCORE_NETWORK : SCORE_NATIVE;
	data++;
	size--;
	/* a block of exactly this size, so that reading beyond it is seen */
	exact = malloc(size);
	if (size > 0)
		memcpy(exact, data, size);
	if (score_decode(exact, size, order, &s) == SCORE_OK)
	{
		MUST(score_check(&s) == SCORE_OK);
		MUST(score_encoded_size(&s) == size);
		MUST(score_encode(&s, form, order) == size);
		MUST(memcmp(form, exact, size) == 0);
		/* every score has a text */
		MUST(score_print(&s, printed) < SCORE_MAX_TEXT);
		MUST(score_parse(printed, &t, &error) == SCORE_OK);
		MUST(score_encode(&t, form, order) == size);
		MUST(memcmp(form, exact, size) == 0);
	}
	free(exact);
	return 0;
}
