/*
 * score_rank.h
 *	  What ranking, the index and its planner support share in the server.
 */
#ifndef LS_SCORE_RANK_H
#define LS_SCORE_RANK_H

#include "score/score.h"
#include "score/score_place.h"

/*
 * leadscore.level: a threshold and the instant it is meant for, as an index
 * condition needs them in one value. Fixed length, passed by reference.
 */
typedef struct ScoreLevel
{
	float8		threshold;		/* not NaN; may be infinite */
	int64		at;				/* a valid instant */
} ScoreLevel;

#define LS_LEVEL_TYPE			"level"
#define LS_LEVEL_FUNCTION		"level"

/* strategies of the operator class score_ops */
#define LS_REACHES_STRATEGY		1
#define LS_DISTANCE_STRATEGY	15

/* The arguments of reaches() and level(), checked; an error if they are not valid. */
extern ScoreLevel ls_score_level(float8 threshold, TimestampTz at);

/*
 * Keys of the index (score_gist.c). A damaged key is an error, and so are two
 * keys of different shapes; the size of a new key includes its header.
 */
typedef struct LsKeyKind
{
	ScoreShape	shape;			/* of the keys; size 0: not known yet */
	ScoreScale	scale;
} LsKeyKind;

extern void ls_span_from_datum(Datum datum, ScoreSpan *span);
extern void ls_take_kind(LsKeyKind *kind, Datum key);
extern LsKeyKind *ls_kind_of_call(FmgrInfo *flinfo, Datum key);
extern void ls_elements_from_datum(const LsKeyKind *kind, Datum key, ScoreElements *e);
extern Datum ls_elements_to_datum(const LsKeyKind *kind, const ScoreElements *e, int *size);
extern void ls_refuse_key(const ScoreShape *shape, Datum key);

/* The bytes of a key or a score. Index tuples hold neither compressed nor external ones. */
static inline const unsigned char *
ls_key_bytes(Datum key, size_t *len)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(key);

	if (unlikely(VARATT_IS_EXTERNAL(v) || VARATT_IS_COMPRESSED(v)))
		v = PG_DETOAST_DATUM_PACKED(key);
	*len = VARSIZE_ANY_EXHDR(v);
	return (const unsigned char *) VARDATA_ANY(v);
}

#endif							/* LS_SCORE_RANK_H */
