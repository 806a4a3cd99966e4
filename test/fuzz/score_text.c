/*
 * Fuzz target: text to score. Whatever is accepted is a valid score, prints
 * within the promised size, and reads back as the same score to the last bit.
 */
#include "score_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = malloc(size + 1);
	char		printed[SCORE_MAX_TEXT];
	char		again[SCORE_MAX_TEXT];
	unsigned char form[SCORE_MAX_ENCODED];
	unsigned char form_again[SCORE_MAX_ENCODED];
	ScoreTextError error;
	Score		s;
	Score		t;

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (score_parse(text, &s, &error) != SCORE_OK)
		MUST(error.offset <= strlen(text));
	else
	{
		MUST(score_check(&s) == SCORE_OK);
		MUST(score_print(&s, printed) == strlen(printed));
		MUST(strlen(printed) < SCORE_MAX_TEXT);
		MUST(score_parse(printed, &t, &error) == SCORE_OK);
		size = score_encode(&s, form, SCORE_NATIVE);
		MUST(score_encode(&t, form_again, SCORE_NATIVE) == size);
		MUST(memcmp(form, form_again, size) == 0);
		score_print(&t, again);
		MUST(strcmp(printed, again) == 0);
	}
	free(text);
	return 0;
}
