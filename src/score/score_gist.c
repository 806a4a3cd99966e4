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
#include "common/hashfn.h"
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
	score_span_rank(&all);
	for (int i = 1; i < entries->n; i++)
	{
		span_from_datum(entries->vector[i].key, &span);
		score_span_rank(&span);
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
	Score	   *shape = (Score *) fcinfo->flinfo->fn_extra;
	struct varlena *v;
	Score		s;

	if (!entry->leafkey)
		PG_RETURN_POINTER(entry);

	ls_score_from_datum(entry->key, &s);
	if (shape == NULL)
	{
		shape = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(Score));
		if (entry->rel == NULL || !read_shape_from_root(entry->rel, fcinfo->flinfo->fn_oid, shape))
			*shape = s;
		check_shape(shape, &s);
		fcinfo->flinfo->fn_extra = shape;
	}
	else
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

/*
 * The row that is looking for a page, as last seen: it is asked about with every
 * key of every page on its way down, and so read and measured only once.
 */
typedef struct PlacedRow
{
	int64		now;
	int			len;			/* of key; 0: none yet */
	char		key[SCORE_SPAN_MAX_ENCODED];
	ScoreSpan	span;
	ScoreExtent extent;
} PlacedRow;

static const PlacedRow *
placed_row(FunctionCallInfo fcinfo, Datum key)
{
	PlacedRow  *row = (PlacedRow *) fcinfo->flinfo->fn_extra;
	struct varlena *v = PG_DETOAST_DATUM_PACKED(key);
	int			len = VARSIZE_ANY_EXHDR(v);

	if (row == NULL)
	{
		row = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(PlacedRow));
		row->len = 0;
		fcinfo->flinfo->fn_extra = row;
	}
	if (row->len != len || memcmp(row->key, VARDATA_ANY(v), len) != 0)
	{
		row->len = 0;			/* not valid until all of it is */
		span_from_datum(PointerGetDatum(v), &row->span);
		score_span_rank(&row->span);
		row->now = placing_instant();
		score_span_extent(&row->span, row->now, &row->extent);
		memcpy(row->key, VARDATA_ANY(v), len);
		row->len = len;
	}
	return row;
}

/*
 * How much the page's key would have to grow, now; among keys that need not
 * grow now, how much they would at other instants.
 */
Datum
leadscore_score_gist_penalty(PG_FUNCTION_ARGS)
{
	GISTENTRY  *page = (GISTENTRY *) PG_GETARG_POINTER(0);
	GISTENTRY  *added = (GISTENTRY *) PG_GETARG_POINTER(1);
	float	   *penalty = (float *) PG_GETARG_POINTER(2);
	const PlacedRow *row = placed_row(fcinfo, added->key);
	ScoreSpan	held;
	ScoreExtent extent;

	span_from_datum(page->key, &held);
	check_shape(&held.shape, &row->span.shape);
	score_span_extent(&held, row->now, &extent);
	*penalty = score_penalty(&extent, &row->extent, held.shape.n);
	if (*penalty == 0.0f)
	{
		score_span_rank(&held);
		*penalty = score_hidden_penalty(&held, &row->span);
	}
	PG_RETURN_POINTER(penalty);
}

/* An entry to be split. */
typedef struct SplitItem
{
	double		middle;			/* of its contributions, on the axis of the split */
	double		tie;			/* where clamping makes those equal */
	int			index;
} SplitItem;

static inline bool
split_item_before(const SplitItem *a, const SplitItem *b)
{
	if (a->middle != b->middle)
		return a->middle < b->middle;
	if (a->tie != b->tie)
		return a->tie < b->tie;
	return a->index < b->index;
}

/*
 * Bring the k smallest items to the front, in any order: Hoare's selection, with
 * the middle of three as pivot. Items are distinct, since their indexes are.
 */
static void
select_smallest(SplitItem *items, int n, int k)
{
	int			from = 0;
	int			to = n - 1;

	while (from < to)
	{
		int			i = from;
		int			j = to;
		int			m = from + (to - from) / 2;
		SplitItem	pivot;

		if (split_item_before(&items[m], &items[from]))
			m = split_item_before(&items[from], &items[to]) ? from :
				split_item_before(&items[m], &items[to]) ? to : m;
		else if (split_item_before(&items[to], &items[m]))
			m = split_item_before(&items[to], &items[from]) ? from : to;
		pivot = items[m];

		while (i <= j)
		{
			while (split_item_before(&items[i], &pivot))
				i++;
			while (split_item_before(&pivot, &items[j]))
				j--;
			if (i <= j)
			{
				SplitItem	swap = items[i];

				items[i++] = items[j];
				items[j--] = swap;
			}
		}
		/* all of from .. j are before all of i .. to */
		if (k <= j)
			to = j;
		else if (k >= i)
			from = i;
		else
			return;
	}
}

/*
 * What a split knows of its n entries, component by component: the number k of
 * entry i is at [i * ncomponents + k]. Narrow on purpose: a sorted build splits
 * four pages of entries at a time, and this stays in the processor's cache.
 */
typedef struct SplitTable
{
	int			n;
	int			ncomponents;
	double	   *middle;			/* of the contributions, now */
	ScoreRank  *low;
	ScoreRank  *high;
} SplitTable;

static void
read_split_table(SplitTable *table, const GistEntryVector *entries)
{
	int64		now = placing_instant();
	Score		shape;
	ScoreSpan	span;
	ScoreExtent extent;

	table->n = entries->n - FirstOffsetNumber;
	for (int i = 0; i < table->n; i++)
	{
		span_from_datum(entries->vector[FirstOffsetNumber + i].key, &span);
		if (i == 0)
		{
			Size		cells = (Size) table->n * span.shape.n;

			shape = span.shape;
			table->ncomponents = shape.n;
			table->middle = palloc(sizeof(double) * cells);
			table->low = palloc(sizeof(ScoreRank) * cells);
			table->high = palloc(sizeof(ScoreRank) * cells);
		}
		check_shape(&shape, &span.shape);
		score_span_rank(&span);
		score_span_extent(&span, now, &extent);
		for (int k = 0; k < table->ncomponents; k++)
		{
			int			cell = i * table->ncomponents + k;

			table->middle[cell] = extent.low[k] * 0.5 + extent.high[k] * 0.5;
			table->low[cell] = span.low_rank[k];
			table->high[cell] = span.high_rank[k];
		}
	}
}

/*
 * The component along which to split: that whose contributions are spread widest
 * now. What a bound loses on a page is the sum of the spreads, and halving the
 * widest takes away most. Where all contribute the same now (at their caps, say),
 * the one spread widest in half-lives.
 */
static int
split_axis(const SplitTable *table)
{
	double		widest = 0.0;
	double		widest_hidden = -1.0;
	int			axis = -1;
	int			hidden_axis = 0;

	for (int k = 0; k < table->ncomponents; k++)
	{
		double		least = table->middle[k];
		double		most = table->middle[k];
		double		least_hidden = score_rank_measure(&table->high[k]);
		double		most_hidden = least_hidden;

		for (int i = 1; i < table->n; i++)
		{
			double		middle = table->middle[i * table->ncomponents + k];
			double		hidden = score_rank_measure(&table->high[i * table->ncomponents + k]);

			least = Min(least, middle);
			most = Max(most, middle);
			least_hidden = Min(least_hidden, hidden);
			most_hidden = Max(most_hidden, hidden);
		}
		/* halves, since a spread of doubles may be beyond them */
		if (most * 0.5 - least * 0.5 > widest)
		{
			widest = most * 0.5 - least * 0.5;
			axis = k;
		}
		if (most_hidden - least_hidden > widest_hidden)
		{
			widest_hidden = most_hidden - least_hidden;
			hidden_axis = k;
		}
	}
	return axis >= 0 ? axis : hidden_axis;
}

/* The span of some of the entries: their extremes are found by rank, then read. */
static Datum
span_of_items(const SplitTable *table, const GistEntryVector *entries, const SplitItem *items, int n)
{
	ScoreSpan	all;
	ScoreSpan	one;
	int			size;

	span_from_datum(entries->vector[FirstOffsetNumber + items[0].index].key, &all);
	for (int k = 0; k < table->ncomponents; k++)
	{
		int			low = items[0].index;
		int			high = items[0].index;

		for (int i = 1; i < n; i++)
		{
			int			index = items[i].index;

			if (score_rank_compare(&table->low[index * table->ncomponents + k],
								   &table->low[low * table->ncomponents + k]) < 0)
				low = index;
			if (score_rank_compare(&table->high[index * table->ncomponents + k],
								   &table->high[high * table->ncomponents + k]) > 0)
				high = index;
		}
		span_from_datum(entries->vector[FirstOffsetNumber + low].key, &one);
		all.low[k] = one.low[k];
		span_from_datum(entries->vector[FirstOffsetNumber + high].key, &one);
		all.high[k] = one.high[k];
	}
	return span_to_datum(&all, &size);
}

/* Split into two halves, as equal in number as can be, so that pages stay full. */
Datum
leadscore_score_gist_picksplit(PG_FUNCTION_ARGS)
{
	GistEntryVector *entries = (GistEntryVector *) PG_GETARG_POINTER(0);
	GIST_SPLITVEC *v = (GIST_SPLITVEC *) PG_GETARG_POINTER(1);
	SplitTable	table;
	SplitItem  *items;
	int			axis;
	int			nleft;

	read_split_table(&table, entries);
	axis = split_axis(&table);
	items = palloc(sizeof(SplitItem) * table.n);
	for (int i = 0; i < table.n; i++)
	{
		int			cell = i * table.ncomponents + axis;

		items[i].middle = table.middle[cell];
		items[i].tie = score_rank_measure(&table.high[cell]);
		items[i].index = i;
	}
	nleft = table.n / 2;
	select_smallest(items, table.n, nleft);

	v->spl_left = palloc(sizeof(OffsetNumber) * table.n);
	v->spl_right = palloc(sizeof(OffsetNumber) * table.n);
	v->spl_nleft = nleft;
	v->spl_nright = table.n - nleft;
	for (int i = 0; i < nleft; i++)
		v->spl_left[i] = FirstOffsetNumber + items[i].index;
	for (int i = nleft; i < table.n; i++)
		v->spl_right[i - nleft] = FirstOffsetNumber + items[i].index;
	v->spl_ldatum = span_of_items(&table, entries, items, nleft);
	v->spl_rdatum = span_of_items(&table, entries, items + nleft, table.n - nleft);
	PG_RETURN_POINTER(v);
}

/* ----------------------------------------------------------------
 *		Sorted build
 * ----------------------------------------------------------------
 */

/* A key's prefix on the curve, remembered by the hash of the key. */
typedef struct PlaceMemo
{
	uint64		hash;			/* 0: empty */
	uint64		prefix;
} PlaceMemo;

#define PLACE_MEMOS		(1 << 16)

/* Kept in SortSupport for the length of a build. */
typedef struct BuildState
{
	int64		now;			/* instant of the curve */
	bool		have_shape;
	Score		shape;			/* of the first row */
	PlaceMemo  *memos;			/* where tuplesort keeps no abbreviated keys */
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
		ScoreRank	ra = score_element_rank(ea, a.c[i].half_life);
		ScoreRank	rb = score_element_rank(eb, b.c[i].half_life);

		result = score_rank_compare(&ra, &rb);
	}
	return result;
}

static uint64
place_prefix(Datum datum, BuildState *state)
{
	Score		s;
	ScorePlace	place;

	place_datum(datum, state, &s, &place);
	return score_place_prefix(&place);
}

static Datum
abbreviate_place(Datum original, SortSupport ssup)
{
	return UInt64GetDatum(place_prefix(original, (BuildState *) ssup->ssup_extra));
}

/*
 * After another column tuplesort abbreviates nothing, and would have us compute
 * two places at each comparison. A sort works on ever smaller parts, so the
 * prefixes of the last keys seen are remembered. (Two keys of one hash would be
 * out of place, and no answer wrong.)
 */
static uint64
remembered_prefix(Datum datum, BuildState *state)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(datum);
	uint64		hash = DatumGetUInt64(hash_any_extended((unsigned char *) VARDATA_ANY(v),
														VARSIZE_ANY_EXHDR(v), 0)) | 1;
	PlaceMemo  *memo = &state->memos[(hash >> 1) % PLACE_MEMOS];

	if (memo->hash != hash)
	{
		memo->prefix = place_prefix(PointerGetDatum(v), state);
		memo->hash = hash;
	}
	return memo->prefix;
}

static int
compare_remembered_places(Datum x, Datum y, SortSupport ssup)
{
	BuildState *state = (BuildState *) ssup->ssup_extra;
	uint64		px = remembered_prefix(x, state);
	uint64		py = remembered_prefix(y, state);

	if (px != py)
		return px > py ? 1 : -1;
	return compare_places(x, y, ssup);
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
	state->memos = MemoryContextAllocZero(ssup->ssup_cxt, sizeof(PlaceMemo) * PLACE_MEMOS);
	ssup->comparator = compare_remembered_places;
	PG_RETURN_VOID();
}
