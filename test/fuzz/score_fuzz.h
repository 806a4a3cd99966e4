/*
 * score_fuzz.h
 *	  What the fuzz targets of the score share: checks that stop the fuzzer, and
 *	  valid scores made of its bytes.
 */
#ifndef SCORE_FUZZ_H
#define SCORE_FUZZ_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "score_core.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* The fuzzer's bytes, eight at a time; zeros when they run out. */
typedef struct Bytes
{
	const uint8_t *p;
	size_t		left;
} Bytes;

static inline uint64_t
next_bits(Bytes *b)
{
	uint64_t	bits = 0;
	size_t		n = b->left < 8 ? b->left : 8;

	if (n > 0)
		memcpy(&bits, b->p, n);
	b->p += n;
	b->left -= n;
	return bits;
}

/*
 * Any finite double, the extreme ones included; often one that a narrower type
 * holds, or the one next to it.
 */
static inline double
next_double(Bytes *b)
{
	uint64_t	bits = next_bits(b);
	double		v;
	float		f;

	switch (bits & 7)
	{
		case 1:
			return (double) (int16_t) (bits >> 8);
		case 2:
			return (double) (int8_t) (bits >> 8);
		case 3:
			return (double) (bits >> 8 & 0x1FF);
		case 4:
			bits >>= 8;
			memcpy(&f, &bits, 4);
			return isfinite(f) ? (double) f + 0.0 : 0.0;
		case 5:
			return (double) ((int64_t) (bits >> 8 & 0x3FFFF) - 0x20000) * 0.5;
	}
	memcpy(&v, &bits, 8);
	return isfinite(v) ? v + 0.0 : (double) (int8_t) bits;
}

static inline int64_t
next_in(Bytes *b, int64_t lo, int64_t hi)
{
	return lo + (int64_t) (next_bits(b) % (uint64_t) (hi - lo + 1));
}

static inline int64_t
next_instant(Bytes *b)
{
	return next_in(b, SCORE_MIN_INSTANT, SCORE_END_INSTANT - 1);
}

static inline void
next_bounds(Bytes *b, unsigned kind, double *lo, double *hi)
{
	*lo = kind & 1 ? next_double(b) : -INFINITY;
	*hi = kind & 2 ? next_double(b) : INFINITY;
	if (*lo > *hi)
	{
		double		swap = *lo;

		*lo = *hi;
		*hi = swap;
	}
}

static inline void
next_values(Bytes *b, Score *s)
{
	for (int i = 0; i < s->n; i++)
	{
		s->c[i].value = next_double(b);
		s->c[i].at = s->c[i].half_life != 0 ? next_instant(b) : 0;
		if (s->c[i].value == 0.0 && s->c[i].at % 3 == 0)
			s->c[i].at = 0;
	}
}

static inline void
next_score(Bytes *b, Score *s)
{
	uint64_t	kinds = next_bits(b);

	s->n = 1 + (int) (kinds % SCORE_MAX_COMPONENTS);
	next_bounds(b, (kinds >> 4) & 3, &s->lo, &s->hi);
	for (int i = 0; i < s->n; i++)
	{
		unsigned	kind = (kinds >> (8 + 4 * i)) & 15;

		next_bounds(b, kind & 3, &s->c[i].lo, &s->c[i].hi);
		s->c[i].half_life = kind & 4 ? next_in(b, SCORE_MIN_HALF_LIFE, SCORE_MAX_HALF_LIFE) : 0;
		/* short half-lives are where the extremes are */
		if ((kind & 12) == 12)
			s->c[i].half_life = SCORE_MIN_HALF_LIFE + s->c[i].half_life % (SCORE_MIN_HALF_LIFE * 100);
		/* whole seconds and hours, up to and beyond what two and four bytes hold */
		else if (s->c[i].half_life % 4 == 1)
			s->c[i].half_life = (1 + (s->c[i].half_life >> 2) % (UINT32_MAX + INT64_C(10))) * SCORE_USEC_PER_SEC;
		else if (s->c[i].half_life % 4 == 2)
			s->c[i].half_life = (1 + (s->c[i].half_life >> 2) % (UINT16_MAX + INT64_C(10))) * 3600 * SCORE_USEC_PER_SEC;
	}
	next_values(b, s);
}

#endif							/* SCORE_FUZZ_H */
