/*
 * score_core.h
 *	  The ageing score without the server: what it is, how it ages, adds up,
 *	  is parsed, printed, encoded and decoded.
 *
 * No backend header is included here or in the .c files behind it, so that they
 * can be fuzzed with libFuzzer and the sanitizers. Nothing here allocates or
 * throws: failures are returned as ScoreStatus, and the caller reports them.
 *
 * A score is 1..8 components. At an instant t a component contributes
 *
 *		clamp(value * 2 ^ -((t - at) / half_life), lo, hi)
 *
 * (a component without half-life: clamp(value, lo, hi)), and the score's total
 * is clamp(sum of the contributions, total_lo, total_hi).
 *
 * The shape of a score is everything but the values and instants: the number of
 * components, their half-lives and bounds, and the bounds of the total. Scores
 * of one shape can be added; the GiST operator class indexes one shape.
 */
#ifndef LS_SCORE_CORE_H
#define LS_SCORE_CORE_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCORE_MAX_COMPONENTS	8

/* Instants and spans are microseconds; instants count from 2000-01-01 UTC. */
#define SCORE_USEC_PER_SEC		INT64_C(1000000)
#define SCORE_MIN_HALF_LIFE		SCORE_USEC_PER_SEC					/* 1 second */
#define SCORE_MAX_HALF_LIFE		(INT64_C(31557600000) * SCORE_USEC_PER_SEC) /* 1000 Julian years */
#define SCORE_MIN_INSTANT		INT64_C(-63082281600000000)			/* 0001-01-01 */
#define SCORE_END_INSTANT		INT64_C(252455616000000000)			/* 10000-01-01, exclusive */

typedef struct ScoreComponent
{
	double		value;			/* finite; never -0 */
	int64_t		at;				/* instant at which value held; 0 if it does not age */
	int64_t		half_life;		/* 0: does not age */
	double		lo;				/* -INFINITY: none */
	double		hi;				/* +INFINITY: none; lo <= hi */
} ScoreComponent;

typedef struct Score
{
	int			n;				/* 1 .. SCORE_MAX_COMPONENTS */
	double		lo;				/* bounds of the total, infinite: none */
	double		hi;
	ScoreComponent c[SCORE_MAX_COMPONENTS];
} Score;

typedef enum ScoreStatus
{
	SCORE_OK = 0,
	SCORE_BAD_SYNTAX,			/* the text is no score */
	SCORE_BAD_NUMBER,			/* a number that is NaN, infinite or out of range */
	SCORE_BAD_INSTANT,			/* infinite, or not in the years 1 to 9999 */
	SCORE_BAD_HALF_LIFE,		/* not in 1 second .. 1000 years */
	SCORE_BAD_BOUNDS,			/* lo > hi, or NaN */
	SCORE_BAD_COUNT,			/* no component, or more than 8 */
	SCORE_BAD_FORM,				/* bytes: length, version, flags, a form that is not canonical */
	SCORE_SHAPES_DIFFER,
	SCORE_HAS_TOTAL_BOUNDS,		/* || of a score with bounds of the total */
	SCORE_OVERFLOW				/* a sum beyond the range of double */
} ScoreStatus;

/*
 * Ageing (score_core.c). Never NaN or infinite: a value extrapolated backwards
 * beyond the range of double stays at +-DBL_MAX, and so does a total. Instants
 * must be valid (score_instant_is_valid), so that their difference fits.
 */
extern double score_age(double value, int64_t elapsed, int64_t half_life);
extern double score_contribution(const ScoreComponent *c, int64_t t);
extern double score_total(const Score *s, int64_t t);

/*
 * Keep a double finite. Only overflow can bring an infinity here, never a NaN:
 * no caller subtracts infinities or multiplies one with zero.
 */
static inline double
score_saturate(double v)
{
	if (v > DBL_MAX)
		return DBL_MAX;
	if (v < -DBL_MAX)
		return -DBL_MAX;
	return v + 0.0;				/* -0 becomes 0 */
}

static inline double
score_clamp(double v, double lo, double hi)
{
	if (v > hi)
		return hi;
	if (v < lo)
		return lo;
	return v;
}

static inline bool
score_instant_is_valid(int64_t t)
{
	return t >= SCORE_MIN_INSTANT && t < SCORE_END_INSTANT;
}

/* Is this a score at all? Everything below but the readers demands that it is. */
extern ScoreStatus score_check(const Score *s);

/*
 * Algebra. Each writes into its first argument, and leaves it unchanged unless
 * it returns SCORE_OK.
 */
extern ScoreStatus score_add(Score *a, const Score *b);
extern ScoreStatus score_subtract(Score *a, const Score *b);
extern ScoreStatus score_concat(Score *a, const Score *b);
extern void score_negate(Score *a);
extern ScoreStatus score_component_add(ScoreComponent *a, double value, int64_t at);

/* Shape: the first difference, for messages and for indexes of one shape. */
typedef enum ScoreDifference
{
	SCORE_SAME_SHAPE = 0,
	SCORE_DIFFERENT_COUNT,
	SCORE_DIFFERENT_HALF_LIFE,
	SCORE_DIFFERENT_LO,
	SCORE_DIFFERENT_HI,
	SCORE_DIFFERENT_TOTAL_LO,
	SCORE_DIFFERENT_TOTAL_HI
} ScoreDifference;

extern ScoreDifference score_compare_shape(const Score *a, const Score *b, int *component);

/*
 * The forms of a score in bytes. A score has one encoding in each, and a decoder
 * accepts exactly what the encoder makes: equal scores have equal bytes.
 *
 * The native form (score_form.c) is what lies in tables and indexes, in the
 * machine's byte order and at any alignment. First comes the shape, then values:
 *
 *	byte 0		bits 0-2 number of components - 1, bit 3 a span (score_bound.h),
 *				bit 4 the total has bounds, bits 5-7 version of the form, 1
 *	then		one byte per component: bits 0-1 form of the half-life, bits 2-3
 *				of lo, bits 4-5 of hi, bits 6-7 of the value
 *	then		[a byte for the total, with bits 2-5 as above]
 *	then		[total lo] [total hi], and per component [half-life] [lo] [hi]
 *	then		per component its value and instant
 *
 *	half-life	0 none			1 hours, 2 bytes	2 seconds, 4	3 microseconds, 8
 *	lo			0 none			1 it is 0: 0 bytes	2 an integer, 2	3 a double, 8
 *	hi			0 none			1 0 .. 255, 1 byte	2 an integer, 2	3 a double, 8
 *	value		0 an integer, 1	1 an integer, 2		2 a float, 4	3 a double, 8
 *	 if it ages	0 both are 0: 0	1 it is 0: at, 8	2 unused		3 a double, at: 16
 *
 * Each number has the first form that can hold it. What ages has one width
 * whatever its value (unless that is 0), so that it can be summed up in place.
 *
 * Two scores are of one shape if score_shape_size bytes of them are the same but
 * for bits 6-7 of the components' bytes; score_same_shape compares them so.
 *
 * The network form (score_network.c) is what send and recv exchange:
 *
 *	byte 0		version of the form, 1
 *	byte 1		bits 0-3 number of components, bit 4 total lo, bit 5 total hi
 *	then		one byte per component: bit 0 ages, bit 1 lo, bit 2 hi
 *	then		fields of 8 bytes: [total lo] [total hi], and per component
 *				value [at half_life] [lo] [hi]
 */
typedef enum ScoreForm
{
	SCORE_NATIVE,
	SCORE_NETWORK
} ScoreForm;

/* of either form */
#define SCORE_MAX_ENCODED		(2 + SCORE_MAX_COMPONENTS + 8 * (2 + 5 * SCORE_MAX_COMPONENTS))

extern size_t score_encode(const Score *s, unsigned char *buf, ScoreForm form);
extern ScoreStatus score_decode(const unsigned char *buf, size_t len, ScoreForm form, Score *s);

/* the network form itself; score_encode and score_decode call them */
extern size_t score_send(const Score *s, unsigned char *buf);
extern ScoreStatus score_receive(const unsigned char *buf, size_t len, Score *s);

/*
 * The bytes of the shape at the beginning of a native form, that of a span
 * included: 0 if there is no complete one. Given the size of a's shape, are a
 * and b, which has at least as many bytes, of one shape? Neither is decoded.
 */
extern size_t score_shape_size(const unsigned char *buf, size_t len);
extern bool score_same_shape(const unsigned char *a, const unsigned char *b, size_t size);

/*
 * Add value at an instant to the native form of a score of one component that
 * ages by half_life and has no bounds, in place: what score_add does, without
 * unpacking the whole. The arguments must be valid. SCORE_SHAPES_DIFFER when the
 * bytes are of any other form, or the sum's would be (it is 0, or was); they are
 * unchanged unless it returns SCORE_OK.
 */
extern ScoreStatus score_add_in_place(unsigned char *buf, size_t len, double value,
									  int64_t at, int64_t half_life);

/*
 * The text form (score_text.c):
 *
 *		15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]
 *
 * score_print needs SCORE_MAX_TEXT bytes and returns the length.
 */
#define SCORE_MAX_TEXT			1280
#define SCORE_MAX_NUMBER_TEXT	32
#define SCORE_MAX_INSTANT_TEXT	32
#define SCORE_MAX_HALF_LIFE_TEXT 24

typedef struct ScoreTextError
{
	size_t		offset;			/* byte at which it went wrong */
	const char *expected;		/* for SCORE_BAD_SYNTAX: what should have stood there */
} ScoreTextError;

extern ScoreStatus score_parse(const char *text, Score *s, ScoreTextError *error);
extern size_t score_print(const Score *s, char *buf);
extern size_t score_print_number(double v, char *buf);
extern size_t score_print_instant(int64_t t, char *buf);
extern size_t score_print_half_life(int64_t span, char *buf);

#endif							/* LS_SCORE_CORE_H */
