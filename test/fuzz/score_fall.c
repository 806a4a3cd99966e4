/*
 * Fuzz target: falls_below. Where it names an instant, the total there is below
 * the threshold and a microsecond earlier it is not; and no other instant tried
 * contradicts the answer.
 */
#include "score_fuzz.h"

#include "score_fall.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Bytes		bytes = {data, size};
	Score		s;
	double		threshold;
	int64_t		latest = SCORE_MIN_INSTANT;
	int64_t		at;
	ScoreFall	answer;
	bool		ages = false;

	next_score(&bytes, &s);
	threshold = next_double(&bytes);
	for (int i = 0; i < s.n; i++)
	{
		if (s.c[i].half_life != 0 && s.c[i].at >= latest)
		{
			latest = s.c[i].at;
			ages = true;
		}
	}
	/* half of the thresholds near where something happens */
	if (bytes.left & 1)
		threshold = score_total(&s, next_in(&bytes, latest, SCORE_END_INSTANT - 1));

	answer = score_falls_below(&s, threshold, &at);
	switch (answer)
	{
		case SCORE_FALLS_AT:
			MUST(ages && at >= latest && at < SCORE_END_INSTANT);
			MUST(score_total(&s, at) < threshold);
			if (at > latest)
				MUST(score_total(&s, at - 1) >= threshold);
			break;
		case SCORE_FALLS_NEVER:
			MUST(score_total(&s, latest) >= threshold);
			MUST(score_total(&s, SCORE_END_INSTANT - 1) >= threshold);
			break;
		case SCORE_FALLS_BEFORE:
			MUST(score_total(&s, latest) < threshold);
			MUST(score_total(&s, SCORE_END_INSTANT - 1) < threshold);
			break;
	}
	return 0;
}
