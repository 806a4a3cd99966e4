/*
 * score_gist.c
 *	  The GiST operator class score_ops: the scores of a table ranked at any
 *	  instant, and those that reach a threshold.
 *
 * Owns the keys, the searches and the check that an index holds one shape. Where
 * a row goes and how pages are split is in score_cluster.c. What a key is and why
 * its bounds hold at every instant is in score_bound.c, how keys are measured and
 * widened in score_place.c, and their bytes are score_form.c's; none knows the server.
 *
 * A leaf key is the score itself, so its distance is exact: nothing is rechecked
 * and index-only scans return the column. An inner key is the span of the scores
 * below it. Keys are compressed by nothing else; there is no decompress function.
 *
 * All scores of an index have one shape (components, half-lives, bounds): only
 * elements with one half-life keep their order for ever. Rows that break this are
 * refused: see compress and check_one_shape.
 */
#include "score/score_rank.h"

#include "access/gist.h"
#include "access/gist_private.h"
#include "access/skey.h"
#include "access/xact.h"
#include "libpq/pqformat.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_score_span_in);
PG_FUNCTION_INFO_V1(leadscore_score_span_out);
PG_FUNCTION_INFO_V1(leadscore_score_span_recv);
PG_FUNCTION_INFO_V1(leadscore_score_span_send);
PG_FUNCTION_INFO_V1(leadscore_score_gist_consistent);
PG_FUNCTION_INFO_V1(leadscore_score_gist_union);
PG_FUNCTION_INFO_V1(leadscore_score_gist_compress);
PG_FUNCTION_INFO_V1(leadscore_score_gist_same);
PG_FUNCTION_INFO_V1(leadscore_score_gist_distance);
PG_FUNCTION_INFO_V1(leadscore_score_gist_fetch);

/* ----------------------------------------------------------------
 *		Keys
 * ----------------------------------------------------------------
 */

void
ls_span_from_datum(Datum datum, ScoreSpan *span)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(datum);

	if (unlikely(!score_span_decode((unsigned char *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), span)))
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("key of an index of class score_ops is damaged"),
				 errhint("Please REINDEX it.")));
	if (unlikely((Pointer) v != DatumGetPointer(datum)))
		pfree(v);
}

static void
check_one_shape(const Score *held, const Score *other)
{
	int			component;

	if (likely(score_compare_shape(held, other, &component) == SCORE_SAME_SHAPE))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("scores of different shapes cannot be in one index"),
			 errdetail_internal("%s", ls_score_shape_detail(held, other, "the index", "the other score")),
			 errhint("Give all scores of the column the same components, half-lives and bounds, or make partial indexes. "
					 "To change the shape of all rows, drop the index, update the rows and create it again; "
					 "if the rows of the old shape are gone already, REINDEX.")));
}

/* A key or score that is not of this shape, or damaged: an error that says which. Does not return. */
void
ls_refuse_key(const ScoreShape *shape, Datum key)
{
	ScoreSpan	span;

	ls_span_from_datum(key, &span);
	check_one_shape(&shape->score, &span.shape);
	elog(ERROR, "key of an index of class score_ops has an unknown form");
}

/* Make this the kind of a key, and of all keys of its shape. */
void
ls_take_kind(LsKeyKind *kind, Datum key)
{
	size_t		len;
	const unsigned char *bytes = ls_key_bytes(key, &len);
	int64		now = GetCurrentTransactionStartTimestamp();

	if (kind->shape.size != 0 && score_shape_matches(&kind->shape, bytes, len))
	{
		kind->scale.now = now;
		return;
	}
	if (!score_shape_decode(bytes, len, &kind->shape))
	{
		ScoreSpan	span;

		ls_span_from_datum(key, &span);	/* fails */
	}
	score_scale_init(&kind->scale, &kind->shape.score, now);
}

/* The kind of the keys that a support function is called with, of which this is the first. */
LsKeyKind *
ls_kind_of_call(FmgrInfo *flinfo, Datum key)
{
	LsKeyKind  *kind = (LsKeyKind *) flinfo->fn_extra;

	if (kind == NULL)
	{
		kind = MemoryContextAlloc(flinfo->fn_mcxt, sizeof(LsKeyKind));
		kind->shape.size = 0;
		flinfo->fn_extra = kind;
	}
	ls_take_kind(kind, key);
	return kind;
}

void
ls_elements_from_datum(const LsKeyKind *kind, Datum key, ScoreElements *e)
{
	size_t		len;
	const unsigned char *bytes = ls_key_bytes(key, &len);

	if (unlikely(!score_elements_decode(&kind->shape, bytes, len, e)))
		ls_refuse_key(&kind->shape, key);
}

Datum
ls_elements_to_datum(const LsKeyKind *kind, const ScoreElements *e, int *size)
{
	struct varlena *v = palloc(VARHDRSZ + SCORE_SPAN_MAX_ENCODED);

	*size = VARHDRSZ + (int) score_elements_encode(&kind->shape, e, (unsigned char *) VARDATA(v));
	SET_VARSIZE(v, *size);
	return PointerGetDatum(v);
}

static void
refuse_span(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot accept a value of type %s", "leadscore.score_span")));
}

Datum
leadscore_score_span_in(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	refuse_span();
	PG_RETURN_NULL();			/* not reached */
}

Datum
leadscore_score_span_recv(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	refuse_span();
	PG_RETURN_NULL();			/* not reached */
}

Datum
leadscore_score_span_send(PG_FUNCTION_ARGS)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(leadscore_score_span_out, PG_GETARG_DATUM(0)));
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, text, (int) strlen(text));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* For pageinspect: a leaf key as a score, an inner key as its two corners. */
Datum
leadscore_score_span_out(PG_FUNCTION_ARGS)
{
	ScoreSpan	span;
	char		low[SCORE_MAX_TEXT];
	char		high[SCORE_MAX_TEXT];

	ls_span_from_datum(PG_GETARG_DATUM(0), &span);
	score_print(&span.shape, low);
	if (span.single)
		PG_RETURN_CSTRING(pstrdup(low));
	for (int i = 0; i < span.shape.n; i++)
	{
		span.shape.c[i].value = span.high[i].value;
		span.shape.c[i].at = span.high[i].at;
	}
	score_print(&span.shape, high);
	PG_RETURN_CSTRING(psprintf("%s .. %s", low, high));
}

/* ----------------------------------------------------------------
 *		Searching
 * ----------------------------------------------------------------
 */

/*
 * Distance to an instant: minus the largest total below this key. Never larger
 * than the distance of a key below it, and exact for a leaf.
 */
Datum
leadscore_score_gist_distance(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	int64		t = ls_score_instant(PG_GETARG_TIMESTAMPTZ(1));
	bool	   *recheck = (bool *) PG_GETARG_POINTER(4);
	ScoreSpan	span;

	ls_span_from_datum(entry->key, &span);
	*recheck = false;
	PG_RETURN_FLOAT8(0.0 - score_span_upper(&span, t));	/* as score_distance: not -0 */
}

/* score @>= level: can a score below this key reach it? Exact for a leaf. */
Datum
leadscore_score_gist_consistent(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	ScoreLevel *level = (ScoreLevel *) PG_GETARG_POINTER(1);
	StrategyNumber strategy = (StrategyNumber) PG_GETARG_UINT16(2);
	bool	   *recheck = (bool *) PG_GETARG_POINTER(4);
	ScoreSpan	span;

	if (strategy != LS_REACHES_STRATEGY)
		elog(ERROR, "unexpected strategy number %d", (int) strategy);
	ls_span_from_datum(entry->key, &span);
	*recheck = false;
	PG_RETURN_BOOL(score_span_upper(&span, level->at) >= level->threshold);
}

/* A leaf key is the score: only the label changes. */
Datum
leadscore_score_gist_fetch(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(PG_GETARG_POINTER(0));
}

/* ----------------------------------------------------------------
 *		Making keys
 * ----------------------------------------------------------------
 */

/* The smallest span that holds all entries; they must be of one shape. */
Datum
leadscore_score_gist_union(PG_FUNCTION_ARGS)
{
	GistEntryVector *entries = (GistEntryVector *) PG_GETARG_POINTER(0);
	int		   *size = (int *) PG_GETARG_POINTER(1);
	const LsKeyKind *kind = ls_kind_of_call(fcinfo->flinfo, entries->vector[0].key);
	ScoreElements all;
	ScoreElements one;

	ls_elements_from_datum(kind, entries->vector[0].key, &all);
	for (int i = 1; i < entries->n; i++)
	{
		ls_elements_from_datum(kind, entries->vector[i].key, &one);
		score_elements_extend(&kind->scale, &all, &one);
		Assert(score_elements_contain(&kind->scale, &all, &one));
	}
	PG_RETURN_DATUM(ls_elements_to_datum(kind, &all, size));
}

/*
 * One set of scores has one span, whatever the order of its unions (ties
 * excepted, where one may be kept for the other), so equal bytes are equal keys.
 */
Datum
leadscore_score_gist_same(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	struct varlena *b = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(1));
	bool	   *result = (bool *) PG_GETARG_POINTER(2);

	*result = VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
	PG_RETURN_POINTER(result);
}

/*
 * The shape of the scores in the index, read from any key on its root page:
 * false if there is none yet, or if it has several columns of this class and the
 * key's column cannot be told (the entry does not say which one it is for).
 */
static bool
read_shape_from_root(Relation index, Oid compress, ScoreShape *shape)
{
	int			column = 0;
	Buffer		buffer;
	Page		page;
	bool		found = false;

	for (int i = 1; i <= IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		if (index_getprocid(index, i, GIST_COMPRESS_PROC) != compress)
			continue;
		if (column != 0)
			return false;
		column = i;
	}
	/* a sorted build has no page yet while it collects rows */
	if (column == 0 || RelationGetNumberOfBlocks(index) <= GIST_ROOT_BLKNO)
		return false;

	buffer = ReadBuffer(index, GIST_ROOT_BLKNO);
	LockBuffer(buffer, GIST_SHARE);
	gistcheckpage(index, buffer);
	page = BufferGetPage(buffer);
	for (OffsetNumber i = FirstOffsetNumber; !found && i <= PageGetMaxOffsetNumber(page); i++)
	{
		ItemId		iid = PageGetItemId(page, i);
		bool		isnull;
		Datum		key;
		const unsigned char *bytes;
		size_t		len;

		if (ItemIdIsDead(iid))
			continue;
		key = index_getattr((IndexTuple) PageGetItem(page, iid), column,
							RelationGetDescr(index), &isnull);
		if (isnull)
			continue;
		bytes = ls_key_bytes(key, &len);
		found = score_shape_decode(bytes, len, shape);
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/*
 * Called for each row that enters the index. Keys meet where pages are chosen
 * and split, which on an index of a single page is never: so the row's shape is
 * compared here. The first row of a statement (or build) is compared with what
 * the root page holds, and the others with that row.
 *
 * What remains open: two transactions that each insert the first row of an empty
 * index at the same moment. Answers are right as long as there are leaf keys
 * only, and the split of the page, which would make an inner key, fails.
 */
Datum
leadscore_score_gist_compress(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	ScoreShape *shape = (ScoreShape *) fcinfo->flinfo->fn_extra;
	const unsigned char *bytes;
	size_t		len;

	if (!entry->leafkey)
		PG_RETURN_POINTER(entry);

	bytes = ls_key_bytes(entry->key, &len);
	if (shape == NULL)
	{
		shape = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(ScoreShape));
		if (entry->rel == NULL || !read_shape_from_root(entry->rel, fcinfo->flinfo->fn_oid, shape))
		{
			if (!score_shape_decode(bytes, len, shape))
			{
				Score		s;

				ls_score_from_datum(entry->key, &s);	/* fails */
			}
		}
		fcinfo->flinfo->fn_extra = shape;
	}
	if (unlikely(!score_shape_matches(shape, bytes, len)))
		ls_refuse_key(shape, entry->key);

	/* keys are stored as they are, so a toasted score must be fetched here */
	if (unlikely((const char *) bytes != VARDATA_ANY(DatumGetPointer(entry->key))))
	{
		GISTENTRY  *detoasted = palloc(sizeof(GISTENTRY));

		gistentryinit(*detoasted, PointerGetDatum(PG_DETOAST_DATUM_PACKED(entry->key)), entry->rel,
					  entry->page, entry->offset, entry->leafkey);
		PG_RETURN_POINTER(detoasted);
	}
	PG_RETURN_POINTER(entry);
}
