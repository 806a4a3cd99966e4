/*
 * score.h
 *	  The ageing score for other parts: from and to Datum, and its errors.
 */
#ifndef LS_SCORE_H
#define LS_SCORE_H

#include "leadscore.h"

#include "datatype/timestamp.h"

#include "score/score_core.h"

/*
 * Read a score from a Datum, whatever its header. Allocates only when the value
 * is toasted, and frees that again. A damaged value is an error.
 */
extern void ls_score_from_datum(Datum datum, Score *s);

/* A new Datum in the current memory context; s must be valid (score_check). */
extern Datum ls_score_to_datum(const Score *s);

/* Raise the error that a status stands for; returns when it is SCORE_OK. */
extern void ls_score_check(ScoreStatus status);

/*
 * Instants and half-lives as they come from SQL: checked, an error if they are
 * infinite or out of range. A half-life counts as extract(epoch from interval)
 * does: a month is 30 days, a year 365.25.
 */
extern int64 ls_score_instant(TimestampTz t);
extern int64 ls_score_half_life(const Interval *interval);

/*
 * Raise the error for two scores whose shapes differ: which component, and how.
 * "left" and "right" name the two in the message, as in "the first score".
 */
extern void ls_score_shape_error(const Score *a, const Score *b,
								 const char *left, const char *right);

/* The same as a sentence, for errors with a message of their own. */
extern char *ls_score_shape_detail(const Score *a, const Score *b,
								   const char *left, const char *right);

#define PG_RETURN_SCORE(s) return ls_score_to_datum(s)

#endif							/* LS_SCORE_H */
