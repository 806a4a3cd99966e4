/*
 * live_fold.c
 *	  What a statement changes, folded per lead: a hash table from keys to what
 *	  is added to and taken from each component, and the order of keys in which
 *	  the stored scores are then locked.
 *
 * Server memory only; nothing here reads or writes a table.
 */
#include "leadscore.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "live/live.h"

#define FIRST_BUCKETS	16
#define FIRST_ROOM		((Size) 1024)
#define MOST_ROOM		((Size) 1024 * 1024)

LiveFold *
ls_live_fold_begin(LiveModel *model, TimestampTz now, const char *cause)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore fold",
												  ALLOCSET_DEFAULT_SIZES);
	LiveFold   *fold = MemoryContextAllocZero(context, sizeof(LiveFold));

	fold->context = context;
	fold->model = model;
	fold->now = now;
	fold->cause = cause;
	fold->lead_cause = cause;
	fold->mask = FIRST_BUCKETS - 1;
	fold->buckets = MemoryContextAllocZero(context, FIRST_BUCKETS * sizeof(LiveBucket));
	fold->max = FIRST_BUCKETS / 2;
	fold->leads = MemoryContextAlloc(context, fold->max * sizeof(LiveDelta *));
	fold->next_room = FIRST_ROOM;
	return fold;
}

void
ls_live_fold_end(LiveFold *fold)
{
	MemoryContextDelete(fold->context);
}

/* Zeroed memory until the end of the fold, without the overhead of palloc. */
static void *
take_room(LiveFold *fold, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (fold->left < size)
	{
		fold->left = Max(fold->next_room, size);
		fold->next_room = Min(fold->next_room * 2, MOST_ROOM);
		fold->room = MemoryContextAllocZero(fold->context, fold->left);
	}
	result = fold->room;
	fold->room += size;
	fold->left -= size;
	return result;
}

/* Integer keys of any width, in their own order. */
static inline int64
int_key(const LiveModel *model, Datum key)
{
	switch (model->key_len)
	{
		case 2:
			return DatumGetInt16(key);
		case 4:
			return DatumGetInt32(key);
		default:
			return DatumGetInt64(key);
	}
}

int
ls_live_compare_keys(const LiveModel *model, Datum a, Datum b)
{
	if (model->key_is_int)
	{
		int64		x = int_key(model, a);
		int64		y = int_key(model, b);

		return x < y ? -1 : x > y;
	}
	return DatumGetInt32(FunctionCall2Coll((FmgrInfo *) &model->key_cmp,
										   model->model->key_collation, a, b));
}

static uint32
hash_key(const LiveModel *model, Datum key)
{
	if (model->key_is_int)
	{
		uint64		mixed = (uint64) int_key(model, key) * UINT64CONST(0x9E3779B97F4A7C15);

		return (uint32) (mixed >> 32);
	}
	/* without a hash function all keys are compared: slow, but right */
	if (!OidIsValid(model->key_hash.fn_oid))
		return 0;
	return DatumGetUInt32(FunctionCall1Coll((FmgrInfo *) &model->key_hash,
											model->model->key_collation, key));
}

/* Twice the leads, and a hash table that is half empty again. */
static void
grow(LiveFold *fold)
{
	uint64		size = ((uint64) fold->mask + 1) * 2;
	LiveBucket *buckets;

	if (size > (uint64) 1 << 31)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many leads in one statement")));
	buckets = MemoryContextAllocExtended(fold->context, size * sizeof(LiveBucket),
										 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i <= fold->mask; i++)
	{
		uint32		place = fold->buckets[i].hash & (uint32) (size - 1);

		if (fold->buckets[i].lead == NULL)
			continue;
		while (buckets[place].lead != NULL)
			place = (place + 1) & (uint32) (size - 1);
		buckets[place] = fold->buckets[i];
	}
	pfree(fold->buckets);
	fold->buckets = buckets;
	fold->mask = (uint32) (size - 1);
	fold->max = (int) (size / 2);
	fold->leads = repalloc_huge(fold->leads, fold->max * sizeof(LiveDelta *));
}

static inline void
set_key(LiveFold *fold, LiveDelta *delta, Datum key)
{
	if (fold->model->key_byval)
		delta->key = key;
	else
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(fold->context);

		delta->key = datumCopy(key, false, fold->model->key_len);
		MemoryContextSwitchTo(oldcontext);
	}
}

/*
 * The lead has its key in another form than what was folded so far, as 1.0 is
 * for 1. Its row is looked at for the one that is stored.
 */
void
ls_live_fold_rename(LiveFold *fold, LiveDelta *delta, Datum key)
{
	set_key(fold, delta, key);
	delta->rebuild = true;
}

/* The entry of a lead, made when it is not there. */
LiveDelta *
ls_live_fold_lead(LiveFold *fold, Datum key)
{
	const LiveModel *model = fold->model;
	uint32		hash = hash_key(model, key);
	uint32		place;
	LiveDelta  *delta;

	for (place = hash & fold->mask; fold->buckets[place].lead != NULL; place = (place + 1) & fold->mask)
	{
		if (fold->buckets[place].hash != hash)
			continue;
		delta = fold->buckets[place].lead;
		if (ls_live_compare_keys(model, delta->key, key) == 0)
			return delta;
	}

	if (fold->n == fold->max)
	{
		grow(fold);
		for (place = hash & fold->mask; fold->buckets[place].lead != NULL; place = (place + 1) & fold->mask)
			 /* look for a free one */ ;
	}
	delta = take_room(fold, offsetof(LiveDelta, plus) + model->shape.n * sizeof(LiveTerm));
	set_key(fold, delta, key);
	delta->hash = hash;
	delta->later = DT_NOEND;
	fold->leads[fold->n++] = delta;
	fold->buckets[place].hash = hash;
	fold->buckets[place].lead = delta;
	return delta;
}

/*
 * Add points that held at an instant, or take them away. What is added and what
 * is taken away is kept apart, both by sign, so that whoever applies it can see
 * how much was lost by cancellation.
 */
void
ls_live_fold_add(LiveFold *fold, LiveDelta *delta, int component,
				 double points, TimestampTz at, bool added)
{
	ScoreComponent sum = {.half_life = fold->model->shape.c[component].half_life};
	LiveTerm   *term;

	if (points == 0.0)
		return;
	if (!added)
		points = -points;
	if (points > 0)
		term = &delta->plus[component];
	else
	{
		if (delta->minus == NULL)
			delta->minus = take_room(fold, fold->model->shape.n * sizeof(LiveTerm));
		term = &delta->minus[component];
	}
	sum.value = term->value;
	sum.at = term->at;
	/* beyond the range of double: only computing it anew says what to do */
	if (score_component_add(&sum, points, sum.half_life != 0 ? at : 0) != SCORE_OK)
		delta->rebuild = true;
	term->value = sum.value;
	term->at = sum.at;
	delta->changed = true;
}

static int
compare_deltas(const void *a, const void *b, void *arg)
{
	return ls_live_compare_keys(arg, (*(LiveDelta *const *) a)->key, (*(LiveDelta *const *) b)->key);
}

/* Integer keys are sorted beside their leads, which then are not read for it. */
typedef struct SortedLead
{
	int64		key;
	LiveDelta  *delta;
} SortedLead;

#define ST_SORT sort_by_number
#define ST_ELEMENT_TYPE SortedLead
#define ST_COMPARE(a, b) ((a)->key < (b)->key ? -1 : (a)->key > (b)->key)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The leads in key order: whoever locks several locks them in this order. */
LiveDelta **
ls_live_fold_sorted(LiveFold *fold)
{
	LiveDelta **sorted;

	if (fold->n <= 1)
		return fold->leads;
	sorted = MemoryContextAllocExtended(fold->context, (Size) fold->n * sizeof(LiveDelta *), MCXT_ALLOC_HUGE);
	if (fold->model->key_is_int)
	{
		SortedLead *leads = MemoryContextAllocExtended(fold->context, (Size) fold->n * sizeof(SortedLead),
													   MCXT_ALLOC_HUGE);

		for (int i = 0; i < fold->n; i++)
		{
			leads[i].key = int_key(fold->model, fold->leads[i]->key);
			leads[i].delta = fold->leads[i];
		}
		sort_by_number(leads, fold->n);
		for (int i = 0; i < fold->n; i++)
			sorted[i] = leads[i].delta;
		pfree(leads);
	}
	else
	{
		memcpy(sorted, fold->leads, (Size) fold->n * sizeof(LiveDelta *));
		qsort_arg(sorted, fold->n, sizeof(LiveDelta *), compare_deltas, fold->model);
	}
	return sorted;
}
