/*
 * score_gist.c
 *	  The GiST operator class score_ops: the scores of a table ranked at any
 *	  instant, and those that reach a threshold.
 *
 * Owns the support functions. What a key is, why its bounds hold at every
 * instant, and how keys are measured is in score_bound.c, which knows no server.
 *
 * A leaf key is the score itself, so its distance is exact: nothing is rechecked
 * and index-only scans return the column. An inner key is the span of the scores
 * below it. Keys are compressed by nothing else; there is no decompress function.
 *
 * All scores of an index have one shape (components, half-lives, bounds): only
 * elements with one half-life keep their order for ever. Rows that break this are
 * refused: see compress and check_shape.
 */
#include "score/score_rank.h"

#include "access/gist.h"
#include "access/gist_private.h"
#include "access/skey.h"
#include "access/xact.h"
#include "libpq/pqformat.h"
#include "score/score_bound.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/sortsupport.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_score_span_in);
PG_FUNCTION_INFO_V1(leadscore_score_span_out);
PG_FUNCTION_INFO_V1(leadscore_score_span_recv);
PG_FUNCTION_INFO_V1(leadscore_score_span_send);
PG_FUNCTION_INFO_V1(leadscore_score_gist_consistent);
PG_FUNCTION_INFO_V1(leadscore_score_gist_union);
PG_FUNCTION_INFO_V1(leadscore_score_gist_compress);
PG_FUNCTION_INFO_V1(leadscore_score_gist_penalty);
PG_FUNCTION_INFO_V1(leadscore_score_gist_picksplit);
PG_FUNCTION_INFO_V1(leadscore_score_gist_same);
PG_FUNCTION_INFO_V1(leadscore_score_gist_distance);
PG_FUNCTION_INFO_V1(leadscore_score_gist_fetch);
PG_FUNCTION_INFO_V1(leadscore_score_gist_sortsupport);

/* ----------------------------------------------------------------
 *		Keys
 * ----------------------------------------------------------------
 */

static void
span_from_datum(Datum datum, ScoreSpan *span)
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

static Datum
span_to_datum(const ScoreSpan *span, int *size)
{
	struct varlena *v = palloc(VARHDRSZ + SCORE_SPAN_MAX_ENCODED);

	*size = VARHDRSZ + (int) score_span_encode(span, (unsigned char *) VARDATA(v));
	SET_VARSIZE(v, *size);
	return PointerGetDatum(v);
}

static void
check_shape(const Score *held, const Score *other)
{
	int			component;

	if (likely(score_compare_shape(held, other, &component) == SCORE_SAME_SHAPE))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("scores of different shapes cannot be in one index"),
			 errdetail_internal("%s", ls_score_shape_detail(held, other, "the index", "the other score")),
			 errhint("Give all scores of the column the same components, half-lives and bounds, or make partial indexes. "
					 "To change the shape of all rows, drop the index, update the rows and create it again.")));
}

static void
extend_checked(ScoreSpan *a, const ScoreSpan *b)
{
	check_shape(&a->shape, &b->shape);
	score_span_extend(a, b);
}

/*
 * The instant at which keys are measured when rows are placed: that of the
 * transaction's now(), which is also the latest instant its rows are likely to
 * carry. It decides how many pages a search reads, never what it finds.
 */
static inline int64
placing_instant(void)
{
	return GetCurrentTransactionStartTimestamp();
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

	span_from_datum(PG_GETARG_DATUM(0), &span);
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

	span_from_datum(entry->key, &span);
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
	span_from_datum(entry->key, &span);
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
	ScoreSpan	all;
	ScoreSpan	span;

	span_from_datum(entries->vector[0].key, &all);
	for (int i = 1; i < entries->n; i++)
	{
		span_from_datum(entries->vector[i].key, &span);
		extend_checked(&all, &span);
		Assert(score_span_contains(&all, &span));
	}
	PG_RETURN_DATUM(span_to_datum(&all, size));
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
read_shape_from_root(Relation index, Oid compress, Score *shape)
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
		ScoreSpan	span;

		if (ItemIdIsDead(iid))
			continue;
		key = index_getattr((IndexTuple) PageGetItem(page, iid), column,
							RelationGetDescr(index), &isnull);
		if (isnull)
			continue;
		span_from_datum(key, &span);
		*shape = span.shape;
		found = true;
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/*
 * Called for each row that enters the index. Other keys meet the row's score
 * only where pages are chosen and split, which on an index of a single page is
 * never: so its shape is compared here, with what the root page holds when the
 * statement (or build) inserts its first row, and with that row from then on.
 *
 * What remains open: two transactions that each insert the first row of an empty
 * index at the same moment. Answers are right as long as there are leaf keys
 * only, and the split of the page, which would make an inner key, fails.
 */
Datum
leadscore_score_gist_compress(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	Score	   *shape = (Score *) fcinfo->flinfo->fn_extra;
	struct varlena *v;
	Score		s;

	if (!entry->leafkey)
		PG_RETURN_POINTER(entry);

	ls_score_from_datum(entry->key, &s);
	if (shape == NULL && entry->rel != NULL)
	{
		Score		held;

		if (read_shape_from_root(entry->rel, fcinfo->flinfo->fn_oid, &held))
		{
			shape = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Score));
			*shape = held;
			fcinfo->flinfo->fn_extra = shape;
		}
	}
	if (shape != NULL)
		check_shape(shape, &s);

	/* keys are stored as they are, so a toasted score must be fetched here */
	v = PG_DETOAST_DATUM_PACKED(entry->key);
	if ((Pointer) v != DatumGetPointer(entry->key))
	{
		GISTENTRY  *detoasted = palloc(sizeof(GISTENTRY));

		gistentryinit(*detoasted, PointerGetDatum(v), entry->rel, entry->page,
					  entry->offset, entry->leafkey);
		PG_RETURN_POINTER(detoasted);
	}
	PG_RETURN_POINTER(entry);
}

/* ----------------------------------------------------------------
 *		Placing
 * ----------------------------------------------------------------
 */

/* How much the page's key would grow: see score_span_penalty. */
Datum
leadscore_score_gist_penalty(PG_FUNCTION_ARGS)
{
	GISTENTRY  *page = (GISTENTRY *) PG_GETARG_POINTER(0);
	GISTENTRY  *row = (GISTENTRY *) PG_GETARG_POINTER(1);
	float	   *penalty = (float *) PG_GETARG_POINTER(2);
	ScoreSpan	held;
	ScoreSpan	added;

	span_from_datum(page->key, &held);
	span_from_datum(row->key, &added);
	check_shape(&held.shape, &added.shape);
	*penalty = score_span_penalty(&held, &added, placing_instant());
	PG_RETURN_POINTER(penalty);
}

/* An entry to be split: the middle of its span per component, and where it came from. */
typedef struct SplitItem
{
	double		at_axis;		/* on the axis of the split */
	double		tie;			/* where clamping makes those equal */
	OffsetNumber offset;
} SplitItem;

static int
compare_split_items(const void *pa, const void *pb)
{
	const SplitItem *a = pa;
	const SplitItem *b = pb;

	if (a->at_axis != b->at_axis)
		return a->at_axis > b->at_axis ? 1 : -1;
	if (a->tie != b->tie)
		return a->tie > b->tie ? 1 : -1;
	return (int) a->offset - (int) b->offset;
}

/*
 * Split in two halves of equal size along the component whose contributions are
 * spread widest at the placing instant: what a bound loses on a page is the sum
 * of the spreads, and halving the widest takes away most.
 */
Datum
leadscore_score_gist_picksplit(PG_FUNCTION_ARGS)
{
	GistEntryVector *entries = (GistEntryVector *) PG_GETARG_POINTER(0);
	GIST_SPLITVEC *v = (GIST_SPLITVEC *) PG_GETARG_POINTER(1);
	OffsetNumber last = entries->n - 1;
	int			nitems = last - FirstOffsetNumber + 1;
	int64		now = placing_instant();
	ScoreSpan  *spans = palloc(sizeof(ScoreSpan) * nitems);
	double	   *middles = palloc(sizeof(double) * nitems * SCORE_MAX_COMPONENTS);
	SplitItem  *items = palloc(sizeof(SplitItem) * nitems);
	double		least[SCORE_MAX_COMPONENTS];
	double		most[SCORE_MAX_COMPONENTS];
	ScoreSpan	left,
				right;
	int			axis = 0;
	int			size;

	for (int i = 0; i < nitems; i++)
	{
		double		low[SCORE_MAX_COMPONENTS];
		double		high[SCORE_MAX_COMPONENTS];

		span_from_datum(entries->vector[FirstOffsetNumber + i].key, &spans[i]);
		check_shape(&spans[0].shape, &spans[i].shape);
		score_span_extent(&spans[i], now, low, high);
		for (int k = 0; k < spans[i].shape.n; k++)
		{
			double		middle = low[k] * 0.5 + high[k] * 0.5;

			middles[i * SCORE_MAX_COMPONENTS + k] = middle;
			if (i == 0 || middle < least[k])
				least[k] = middle;
			if (i == 0 || middle > most[k])
				most[k] = middle;
		}
	}
	for (int k = 1; k < spans[0].shape.n; k++)
	{
		if (most[k] * 0.5 - least[k] * 0.5 > most[axis] * 0.5 - least[axis] * 0.5)
			axis = k;
	}

	for (int i = 0; i < nitems; i++)
	{
		items[i].at_axis = middles[i * SCORE_MAX_COMPONENTS + axis];
		items[i].tie = score_element_measure(spans[i].high[axis], spans[i].shape.c[axis].half_life);
		items[i].offset = FirstOffsetNumber + i;
	}
	qsort(items, nitems, sizeof(SplitItem), compare_split_items);

	v->spl_left = palloc(sizeof(OffsetNumber) * (nitems + 1));
	v->spl_right = palloc(sizeof(OffsetNumber) * (nitems + 1));
	v->spl_nleft = 0;
	v->spl_nright = 0;
	left = spans[items[0].offset - FirstOffsetNumber];
	right = spans[items[nitems - 1].offset - FirstOffsetNumber];
	for (int i = 0; i < nitems; i++)
	{
		OffsetNumber offset = items[i].offset;

		if (i < nitems / 2)
		{
			v->spl_left[v->spl_nleft++] = offset;
			score_span_extend(&left, &spans[offset - FirstOffsetNumber]);
		}
		else
		{
			v->spl_right[v->spl_nright++] = offset;
			score_span_extend(&right, &spans[offset - FirstOffsetNumber]);
		}
	}
	v->spl_ldatum = span_to_datum(&left, &size);
	v->spl_rdatum = span_to_datum(&right, &size);
	PG_RETURN_POINTER(v);
}

/* ----------------------------------------------------------------
 *		Sorted build
 * ----------------------------------------------------------------
 */

/* Kept in SortSupport for the length of a build. */
typedef struct BuildState
{
	int64		now;			/* instant of the curve */
	bool		have_shape;
	Score		shape;			/* of the first row */
} BuildState;

static void
place_datum(Datum datum, BuildState *state, Score *s, ScorePlace *place)
{
	ls_score_from_datum(datum, s);
	if (!state->have_shape)
	{
		state->shape = *s;
		state->have_shape = true;
	}
	check_shape(&state->shape, s);
	score_place(s, state->now, place);
}

/*
 * Order of two rows on the curve. Where their contributions are the same now,
 * they are ordered by their elements, so that pages stay narrow at instants at
 * which the contributions differ.
 */
static int
compare_places(Datum x, Datum y, SortSupport ssup)
{
	BuildState *state = (BuildState *) ssup->ssup_extra;
	Score		a,
				b;
	ScorePlace	pa,
				pb;
	int			result;

	place_datum(x, state, &a, &pa);
	place_datum(y, state, &b, &pb);
	result = score_place_compare(&pa, &pb);
	for (int i = 0; result == 0 && i < a.n; i++)
	{
		ScoreElement ea = {a.c[i].value, a.c[i].at};
		ScoreElement eb = {b.c[i].value, b.c[i].at};

		result = score_element_compare(ea, eb, a.c[i].half_life);
	}
	return result;
}

static Datum
abbreviate_place(Datum original, SortSupport ssup)
{
	Score		s;
	ScorePlace	place;

	place_datum(original, (BuildState *) ssup->ssup_extra, &s, &place);
	return UInt64GetDatum(score_place_prefix(&place));
}

/* Computing a prefix costs less than comparing once without it: never give up. */
static bool
never_abort_abbreviation(int memtupcount, SortSupport ssup)
{
	(void) memtupcount;
	(void) ssup;
	return false;
}

Datum
leadscore_score_gist_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);
	BuildState *state = MemoryContextAllocZero(ssup->ssup_cxt, sizeof(BuildState));

	state->now = placing_instant();
	ssup->ssup_extra = state;
#if SIZEOF_DATUM >= 8
	if (ssup->abbreviate)
	{
		ssup->comparator = ssup_datum_unsigned_cmp;
		ssup->abbrev_converter = abbreviate_place;
		ssup->abbrev_abort = never_abort_abbreviation;
		ssup->abbrev_full_comparator = compare_places;
		PG_RETURN_VOID();
	}
#endif
	ssup->comparator = compare_places;
	PG_RETURN_VOID();
}
