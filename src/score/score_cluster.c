/*
 * score_cluster.c
 *	  Where the GiST operator class score_ops puts its rows: penalty, picksplit
 *	  and the order of a sorted build.
 *
 * Nothing here changes an answer but the unions of picksplit; it decides how many
 * pages a search reads. All of it measures keys by what they contribute at the
 * placing instant, that of the transaction's now(), with score_place.c: it is
 * also the latest instant that the transaction's rows are likely to carry.
 */
#include "score/score_rank.h"

#include <math.h>

#include "access/gist.h"
#include "common/hashfn.h"
#include "utils/rel.h"
#include "utils/sortsupport.h"

PG_FUNCTION_INFO_V1(leadscore_score_gist_penalty);
PG_FUNCTION_INFO_V1(leadscore_score_gist_picksplit);
PG_FUNCTION_INFO_V1(leadscore_score_gist_sortsupport);

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
	LsKeyKind	kind;
	size_t		len;			/* of key; 0: none yet */
	char		key[SCORE_SPAN_MAX_ENCODED];
	ScoreMeasured measured;

	/* what it was last asked about, and the growth that the best of the page would need */
	Datum		datum;			/* where the row's key was then */
	Page		page;
	OffsetNumber offset;
	bool		only_column;	/* of the index */
	double		enough;
} PlacedRow;

static PlacedRow *
new_placed_row(FunctionCallInfo fcinfo)
{
	PlacedRow  *row = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(PlacedRow));

	row->kind.shape.size = 0;
	row->len = 0;
	row->page = NULL;
	fcinfo->flinfo->fn_extra = row;
	return row;
}

/*
 * The row, asked about with another key. The keys of a page are gone through from
 * the first offset to the last, all with one row. Growth above that of the best
 * one before need not be told in full; but where the index has other columns, ours
 * may not have decided which is the best.
 */
static PlacedRow *
placed_row(FunctionCallInfo fcinfo, const GISTENTRY *entry, Datum key)
{
	PlacedRow  *row = (PlacedRow *) fcinfo->flinfo->fn_extra;
	size_t		len;
	const unsigned char *bytes;

	if (unlikely(row == NULL))
		row = new_placed_row(fcinfo);
	if (likely(entry->page != NULL && entry->page == row->page &&
			   entry->offset > row->offset && key == row->datum))
	{
		row->offset = entry->offset;
		if (!row->only_column)
			row->enough = INFINITY;
		return row;
	}

	bytes = ls_key_bytes(key, &len);
	row->page = NULL;			/* nothing is valid until all of it is */
	if (row->len != len || memcmp(row->key, bytes, len) != 0)
	{
		row->len = 0;
		ls_take_kind(&row->kind, key);
		ls_elements_from_datum(&row->kind, key, &row->measured.e);
		score_measure(&row->kind.scale, &row->measured);
		memcpy(row->key, bytes, len);
		row->len = len;
	}
	row->only_column = entry->rel != NULL && IndexRelationGetNumberOfKeyAttributes(entry->rel) == 1;
	row->enough = INFINITY;
	row->datum = key;
	row->offset = entry->offset;
	row->page = entry->page;
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
	PlacedRow  *row = placed_row(fcinfo, page, added->key);
	size_t		len;
	const unsigned char *bytes = ls_key_bytes(page->key, &len);

	if (unlikely(!score_penalty(&row->kind.shape, &row->kind.scale, bytes, len, &row->measured,
								&row->enough, penalty)))
		ls_refuse_key(&row->kind.shape, page->key);
	PG_RETURN_POINTER(penalty);
}

/* ----------------------------------------------------------------
 *		Splitting
 * ----------------------------------------------------------------
 */

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
 * Where all entries are single scores, as on a leaf page, high is low.
 */
typedef struct SplitTable
{
	const LsKeyKind *kind;
	int			n;
	int			ncomponents;
	double	   *middle;			/* of the contributions, now */
	ScoreElement *low;
	ScoreElement *high;
	double	   *low_log;		/* 0 in components that do not age */
	double	   *high_log;
} SplitTable;

static void
read_split_table(SplitTable *table, const LsKeyKind *kind, const GistEntryVector *entries)
{
	const ScoreScale *scale = &kind->scale;
	int			ncomponents = scale->n;
	Size		cells;
	ScoreElements e;

	table->kind = kind;
	table->n = entries->n - FirstOffsetNumber;
	table->ncomponents = ncomponents;
	cells = (Size) table->n * ncomponents;
	table->middle = palloc(sizeof(double) * cells);
	table->low = table->high = palloc(sizeof(ScoreElement) * cells);
	table->low_log = table->high_log = palloc(sizeof(double) * cells);

	for (int i = 0; i < table->n; i++)
	{
		int			cell = i * ncomponents;

		ls_elements_from_datum(kind, entries->vector[FirstOffsetNumber + i].key, &e);
		if (!e.single && table->high == table->low)
		{
			table->high = palloc(sizeof(ScoreElement) * cells);
			table->high_log = palloc(sizeof(double) * cells);
			memcpy(table->high, table->low, sizeof(ScoreElement) * cell);
			memcpy(table->high_log, table->low_log, sizeof(double) * cell);
		}
		for (int k = 0; k < ncomponents; k++, cell++)
		{
			const ScaleComponent *c = &scale->c[k];

			table->low[cell] = e.low[k];
			table->low_log[cell] = score_nearly_log(c, e.low[k], scale->now);
			table->middle[cell] = score_nearly_worth(c, e.low[k], scale->now);
			if (table->high != table->low)
			{
				ScoreElement high = score_elements_high(&e)[k];

				table->high[cell] = high;
				table->high_log[cell] = score_nearly_log(c, high, scale->now);
				table->middle[cell] = table->middle[cell] * 0.5 + score_nearly_worth(c, high, scale->now) * 0.5;
			}
		}
	}
}

/*
 * Where the high element of a cell stands at instants at which no bound clamps
 * it. Logarithms are of a few hundreds: more than 1e5 half-lives ago was nothing.
 */
static inline double
hidden_measure(const SplitTable *table, int cell)
{
	double		v = table->high[cell].value;

	return v > 0.0 ? table->high_log[cell] + 1e5 : v < 0.0 ? -1e5 - table->high_log[cell] : 0.0;
}

/*
 * The component along which to split: that whose contributions are spread widest
 * now. What a bound loses on a page is the sum of the spreads, and halving the
 * widest takes away most. Where all contribute the same now (at their caps, say),
 * the ageing one spread widest in half-lives.
 */
static int
split_axis(const SplitTable *table)
{
	double		widest = 0.0;
	int			axis = -1;

	for (int k = 0; k < table->ncomponents; k++)
	{
		double		least = table->middle[k];
		double		most = table->middle[k];

		for (int cell = k; cell < table->n * table->ncomponents; cell += table->ncomponents)
		{
			least = Min(least, table->middle[cell]);
			most = Max(most, table->middle[cell]);
		}
		/* halves, since a spread of doubles may be beyond them */
		if (most * 0.5 - least * 0.5 > widest)
		{
			widest = most * 0.5 - least * 0.5;
			axis = k;
		}
	}
	if (axis >= 0)
		return axis;

	axis = 0;
	for (int k = 0; k < table->ncomponents; k++)
	{
		double		least = hidden_measure(table, k);
		double		most = least;

		if (table->kind->scale.c[k].half_life == 0)
			continue;
		for (int cell = k; cell < table->n * table->ncomponents; cell += table->ncomponents)
		{
			double		measure = hidden_measure(table, cell);

			least = Min(least, measure);
			most = Max(most, measure);
		}
		if (most - least > widest)
		{
			widest = most - least;
			axis = k;
		}
	}
	return axis;
}

/* The span of some of the entries. */
static Datum
span_of_items(const SplitTable *table, const SplitItem *items, int n)
{
	ScoreElements all;
	int			size;

	all.single = false;
	for (int k = 0; k < table->ncomponents; k++)
	{
		const ScaleComponent *c = &table->kind->scale.c[k];
		int			low = items[0].index * table->ncomponents + k;
		int			high = low;

		if (c->half_life == 0)
		{
			all.low[k] = table->low[low];
			all.high[k] = table->high[high];
			for (int i = 1; i < n; i++)
			{
				int			cell = items[i].index * table->ncomponents + k;

				all.low[k].value = Min(all.low[k].value, table->low[cell].value);
				all.high[k].value = Max(all.high[k].value, table->high[cell].value);
			}
			continue;
		}
		for (int i = 1; i < n; i++)
		{
			int			cell = items[i].index * table->ncomponents + k;

			if (score_element_order(c, &table->low[cell], table->low_log[cell],
									&table->low[low], table->low_log[low]) < 0)
				low = cell;
			if (score_element_order(c, &table->high[cell], table->high_log[cell],
									&table->high[high], table->high_log[high]) > 0)
				high = cell;
		}
		all.low[k] = table->low[low];
		all.high[k] = table->high[high];
	}
	return ls_elements_to_datum(table->kind, &all, &size);
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

	read_split_table(&table, ls_kind_of_call(fcinfo->flinfo, entries->vector[FirstOffsetNumber].key), entries);
	axis = split_axis(&table);
	items = palloc(sizeof(SplitItem) * table.n);
	for (int i = 0; i < table.n; i++)
	{
		int			cell = i * table.ncomponents + axis;

		items[i].middle = table.middle[cell];
		items[i].tie = hidden_measure(&table, cell);
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
	v->spl_ldatum = span_of_items(&table, items, nleft);
	v->spl_rdatum = span_of_items(&table, items + nleft, table.n - nleft);
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

/*
 * Where nothing ages, this many bits of an abbreviated key are the place on the
 * curve, which is enough; those below are a number that tells ties apart.
 */
#define CURVE_BITS(n)	((n) <= 5 ? 44 : 50)

/* Kept in SortSupport for the length of a build. */
typedef struct BuildState
{
	LsKeyKind	kind;			/* of the first row */
	ScoreCurve	curve;
	uint64		tie_mask;
	uint64		ties;
	PlaceMemo  *memos;			/* where tuplesort keeps no abbreviated keys */
} BuildState;

static void
place_datum(Datum datum, BuildState *state, ScoreElements *e, ScorePlace *place)
{
	if (unlikely(state->kind.shape.size == 0))
	{
		int			prefix_bits = 64;

		ls_take_kind(&state->kind, datum);
		if (state->kind.scale.nages == 0 && state->memos == NULL)
		{
			prefix_bits = CURVE_BITS(state->kind.scale.n);
			state->tie_mask = (UINT64CONST(1) << (64 - prefix_bits)) - 1;
		}
		score_curve_init(&state->curve, state->kind.scale.n, prefix_bits);
	}
	ls_elements_from_datum(&state->kind, datum, e);
	score_place(&state->kind.scale, e, place);
}

static inline bool
same_bytes(Datum x, Datum y)
{
	size_t		xlen,
				ylen;
	const unsigned char *a = ls_key_bytes(x, &xlen);
	const unsigned char *b = ls_key_bytes(y, &ylen);

	return xlen == ylen && memcmp(a, b, xlen) == 0;
}

/*
 * Order of two rows on the curve. Where their contributions are the same now,
 * they are ordered by their elements, so that pages stay narrow at instants at
 * which the contributions differ; if ever they do. Many leads have the very same
 * score, which takes no decoding to see.
 */
static int
compare_places(Datum x, Datum y, SortSupport ssup)
{
	BuildState *state = (BuildState *) ssup->ssup_extra;
	ScoreElements a,
				b;
	ScorePlace	pa,
				pb;
	int			result;

	if (same_bytes(x, y))
		return 0;
	place_datum(x, state, &a, &pa);
	place_datum(y, state, &b, &pb);
	result = score_place_compare(&pa, &pb);
	for (int i = 0; result == 0 && i < pa.n; i++)
	{
		const ScaleComponent *c = &state->kind.scale.c[i];

		if (c->half_life != 0)
			result = score_element_order_by_rank(c, &a.low[i], &b.low[i]);
	}
	return result;
}

static uint64
place_prefix(Datum datum, BuildState *state)
{
	ScoreElements e;
	ScorePlace	place;

	place_datum(datum, state, &e, &place);
	return score_place_prefix(&state->curve, &place);
}

/*
 * Where nothing ages, rows of one place are equal for ever, and there are many of
 * them: a model without events has some thousands of scores for millions of leads.
 * A running number below the prefix keeps tuplesort from fetching the keys to see
 * that, and leaves equal rows in the order of the table.
 */
static Datum
abbreviate_place(Datum original, SortSupport ssup)
{
	BuildState *state = (BuildState *) ssup->ssup_extra;
	uint64		prefix = place_prefix(original, state);

	return UInt64GetDatum(prefix | (state->ties++ & state->tie_mask));
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
	size_t		len;
	const unsigned char *bytes = ls_key_bytes(datum, &len);
	uint64		hash = DatumGetUInt64(hash_any_extended(bytes, (int) len, 0)) | 1;
	PlaceMemo  *memo = &state->memos[(hash >> 1) % PLACE_MEMOS];

	if (memo->hash != hash)
	{
		memo->prefix = place_prefix(datum, state);
		memo->hash = hash;
	}
	return memo->prefix;
}

static int
compare_remembered_places(Datum x, Datum y, SortSupport ssup)
{
	BuildState *state = (BuildState *) ssup->ssup_extra;
	uint64		px,
				py;

	if (same_bytes(x, y))
		return 0;
	px = remembered_prefix(x, state);
	py = remembered_prefix(y, state);
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
