/*
 * stage_gist.c
 *	  A GiST operator class for leadscore.stage, so that a stage can stand before
 *	  a score in one index: USING gist (stage, score).
 *
 * btree_gist does this for the types it knows. A key is the range of the stages
 * below it, smallest and largest code, in an int4; a leaf's range is its stage.
 */
#include "leadscore.h"

#include "access/gist.h"
#include "access/stratnum.h"
#include "utils/sortsupport.h"

#include "stage/stage.h"

PG_FUNCTION_INFO_V1(leadstage_gist_consistent);
PG_FUNCTION_INFO_V1(leadstage_gist_union);
PG_FUNCTION_INFO_V1(leadstage_gist_compress);
PG_FUNCTION_INFO_V1(leadstage_gist_fetch);
PG_FUNCTION_INFO_V1(leadstage_gist_penalty);
PG_FUNCTION_INFO_V1(leadstage_gist_picksplit);
PG_FUNCTION_INFO_V1(leadstage_gist_same);
PG_FUNCTION_INFO_V1(leadstage_gist_sortsupport);

typedef struct StageRange
{
	LsStage		low;
	LsStage		high;
} StageRange;

static inline StageRange
range_from_datum(Datum key)
{
	int32		bits = DatumGetInt32(key);
	StageRange	range = {bits & 0xFF, (bits >> 8) & 0xFF};

	return range;
}

static inline Datum
range_to_datum(StageRange range)
{
	return Int32GetDatum(range.low | range.high << 8);
}

static inline StageRange
range_union(StageRange a, StageRange b)
{
	StageRange	range = {Min(a.low, b.low), Max(a.high, b.high)};

	return range;
}

static GISTENTRY *
new_entry(const GISTENTRY *entry, Datum key)
{
	GISTENTRY  *result = palloc(sizeof(GISTENTRY));

	gistentryinit(*result, key, entry->rel, entry->page, entry->offset, entry->leafkey);
	return result;
}

Datum
leadstage_gist_compress(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	StageRange	range;

	if (!entry->leafkey)
		PG_RETURN_POINTER(entry);
	range.low = range.high = DatumGetStage(entry->key);
	PG_RETURN_POINTER(new_entry(entry, range_to_datum(range)));
}

Datum
leadstage_gist_fetch(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);

	PG_RETURN_POINTER(new_entry(entry, StageGetDatum(range_from_datum(entry->key).low)));
}

/* Can a stage below this key satisfy the operator? Exact for a leaf. */
Datum
leadstage_gist_consistent(PG_FUNCTION_ARGS)
{
	GISTENTRY  *entry = (GISTENTRY *) PG_GETARG_POINTER(0);
	LsStage		query = PG_GETARG_STAGE(1);
	StrategyNumber strategy = (StrategyNumber) PG_GETARG_UINT16(2);
	bool	   *recheck = (bool *) PG_GETARG_POINTER(4);
	StageRange	range = range_from_datum(entry->key);

	*recheck = false;
	switch (strategy)
	{
		case BTLessStrategyNumber:
			PG_RETURN_BOOL(range.low < query);
		case BTLessEqualStrategyNumber:
			PG_RETURN_BOOL(range.low <= query);
		case BTEqualStrategyNumber:
			PG_RETURN_BOOL(range.low <= query && query <= range.high);
		case BTGreaterEqualStrategyNumber:
			PG_RETURN_BOOL(range.high >= query);
		case BTGreaterStrategyNumber:
			PG_RETURN_BOOL(range.high > query);
	}
	elog(ERROR, "unexpected strategy number %d", (int) strategy);
	PG_RETURN_BOOL(false);		/* keep compiler quiet */
}

Datum
leadstage_gist_union(PG_FUNCTION_ARGS)
{
	GistEntryVector *entries = (GistEntryVector *) PG_GETARG_POINTER(0);
	int		   *size = (int *) PG_GETARG_POINTER(1);
	StageRange	range = range_from_datum(entries->vector[0].key);

	for (int i = 1; i < entries->n; i++)
		range = range_union(range, range_from_datum(entries->vector[i].key));
	*size = sizeof(int32);
	PG_RETURN_DATUM(range_to_datum(range));
}

Datum
leadstage_gist_same(PG_FUNCTION_ARGS)
{
	bool	   *result = (bool *) PG_GETARG_POINTER(2);

	*result = PG_GETARG_INT32(0) == PG_GETARG_INT32(1);
	PG_RETURN_POINTER(result);
}

/*
 * By how much the range would grow. A range of several stages costs a little even
 * where it need not grow, so that a page of the one stage is preferred.
 */
Datum
leadstage_gist_penalty(PG_FUNCTION_ARGS)
{
	GISTENTRY  *page = (GISTENTRY *) PG_GETARG_POINTER(0);
	GISTENTRY  *row = (GISTENTRY *) PG_GETARG_POINTER(1);
	float	   *penalty = (float *) PG_GETARG_POINTER(2);
	StageRange	held = range_from_datum(page->key);
	StageRange	grown = range_union(held, range_from_datum(row->key));

	*penalty = (float) ((grown.high - grown.low) - (held.high - held.low)) +
		(float) (grown.high - grown.low) / 1024.0f;
	PG_RETURN_POINTER(penalty);
}

/* An entry to be split, by the middle of its range. */
typedef struct StageItem
{
	int			middle;			/* twice that, to stay whole */
	OffsetNumber offset;
} StageItem;

static int
compare_stage_items(const void *a, const void *b)
{
	const StageItem *x = a;
	const StageItem *y = b;

	if (x->middle != y->middle)
		return x->middle > y->middle ? 1 : -1;
	return (int) x->offset - (int) y->offset;
}

/*
 * Split between two stages, at the place nearest to the middle, even where that
 * leaves a page of few rows: each stage then has pages of its own, which the
 * columns that follow split. There are few stages, and so few such pages. Where
 * all entries are the same the halves are too, and GiST turns to the next column.
 */
Datum
leadstage_gist_picksplit(PG_FUNCTION_ARGS)
{
	GistEntryVector *entries = (GistEntryVector *) PG_GETARG_POINTER(0);
	GIST_SPLITVEC *v = (GIST_SPLITVEC *) PG_GETARG_POINTER(1);
	int			n = entries->n - FirstOffsetNumber;
	int			nleft = n / 2;
	StageItem  *items = palloc(sizeof(StageItem) * n);
	StageRange	left,
				right;

	for (int i = 0; i < n; i++)
	{
		StageRange	range = range_from_datum(entries->vector[FirstOffsetNumber + i].key);

		items[i].middle = range.low + range.high;
		items[i].offset = FirstOffsetNumber + i;
	}
	qsort(items, n, sizeof(StageItem), compare_stage_items);
	for (int away = 0; away < n; away++)
	{
		int			below = n / 2 - away;
		int			above = n / 2 + away;

		if (below > 0 && items[below - 1].middle != items[below].middle)
		{
			nleft = below;
			break;
		}
		if (above > 0 && above < n && items[above - 1].middle != items[above].middle)
		{
			nleft = above;
			break;
		}
	}

	v->spl_left = palloc(sizeof(OffsetNumber) * n);
	v->spl_right = palloc(sizeof(OffsetNumber) * n);
	v->spl_nleft = nleft;
	v->spl_nright = n - nleft;
	left = range_from_datum(entries->vector[items[0].offset].key);
	right = range_from_datum(entries->vector[items[n - 1].offset].key);
	for (int i = 0; i < n; i++)
	{
		StageRange	range = range_from_datum(entries->vector[items[i].offset].key);

		if (i < nleft)
		{
			v->spl_left[i] = items[i].offset;
			left = range_union(left, range);
		}
		else
		{
			v->spl_right[i - nleft] = items[i].offset;
			right = range_union(right, range);
		}
	}
	v->spl_ldatum = range_to_datum(left);
	v->spl_rdatum = range_to_datum(right);
	PG_RETURN_POINTER(v);
}

/* Leaf keys, in a sorted build: their low bytes are the stages. */
static int
compare_stage_keys(Datum x, Datum y, SortSupport ssup)
{
	(void) ssup;
	return (int) range_from_datum(x).low - (int) range_from_datum(y).low;
}

Datum
leadstage_gist_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = compare_stage_keys;
	PG_RETURN_VOID();
}
