/*
 * score_cluster.c
 *	  Where the GiST operator class score_ops puts its rows: penalty, picksplit
 *	  and the order of a sorted build.
 *
 * Nothing here changes an answer; it decides how many pages a search reads. All
 * of it measures keys by what they contribute at the placing instant, with the
 * functions of score_bound.c.
 */
#include "score/score_rank.h"

#include "access/gist.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/sortsupport.h"

PG_FUNCTION_INFO_V1(leadscore_score_gist_penalty);
PG_FUNCTION_INFO_V1(leadscore_score_gist_picksplit);
PG_FUNCTION_INFO_V1(leadscore_score_gist_sortsupport);

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
		ls_span_from_datum(PointerGetDatum(v), &row->span);
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

	ls_span_from_datum(page->key, &held);
	ls_check_one_shape(&held.shape, &row->span.shape);
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
		ls_span_from_datum(entries->vector[FirstOffsetNumber + i].key, &span);
		if (i == 0)
		{
			Size		cells = (Size) table->n * span.shape.n;

			shape = span.shape;
			table->ncomponents = shape.n;
			table->middle = palloc(sizeof(double) * cells);
			table->low = palloc(sizeof(ScoreRank) * cells);
			table->high = palloc(sizeof(ScoreRank) * cells);
		}
		ls_check_one_shape(&shape, &span.shape);
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

	ls_span_from_datum(entries->vector[FirstOffsetNumber + items[0].index].key, &all);
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
		ls_span_from_datum(entries->vector[FirstOffsetNumber + low].key, &one);
		all.low[k] = one.low[k];
		ls_span_from_datum(entries->vector[FirstOffsetNumber + high].key, &one);
		all.high[k] = one.high[k];
	}
	return ls_span_to_datum(&all, &size);
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
	ls_check_one_shape(&state->shape, s);
	score_place(s, state->now, place);
}

static inline bool
same_bytes(Datum x, Datum y)
{
	struct varlena *a = PG_DETOAST_DATUM_PACKED(x);
	struct varlena *b = PG_DETOAST_DATUM_PACKED(y);
	Size		len = VARSIZE_ANY_EXHDR(a);

	return len == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), len) == 0;
}

/*
 * Order of two rows on the curve. Where their contributions are the same now,
 * they are ordered by their elements, so that pages stay narrow at instants at
 * which the contributions differ. Many leads have the very same score, which
 * takes no decoding to see.
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

	if (same_bytes(x, y))
		return 0;
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
