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
	fold->mask = FIRST_BUCKETS - 1;
	fold->buckets = MemoryContextAllocZero(context, FIRST_BUCKETS * sizeof(LiveDelta *));
	return fold;
}

void
ls_live_fold_end(LiveFold *fold)
{
	MemoryContextDelete(fold->context);
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
	/* without a hash function all keys share a bucket: slow, but right */
	if (!OidIsValid(model->key_hash.fn_oid))
		return 0;
	return DatumGetUInt32(FunctionCall1Coll((FmgrInfo *) &model->key_hash,
											model->model->key_collation, key));
}

static void
grow(LiveFold *fold)
{
	uint64		size = ((uint64) fold->mask + 1) * 4;
	LiveDelta **buckets = MemoryContextAllocExtended(fold->context, size * sizeof(LiveDelta *),
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (uint32 i = 0; i <= fold->mask; i++)
	{
		LiveDelta  *delta = fold->buckets[i];

		while (delta != NULL)
		{
			LiveDelta  *next = delta->next;
			LiveDelta **head = &buckets[delta->hash & (uint32) (size - 1)];

			delta->next = *head;
			*head = delta;
			delta = next;
		}
	}
	pfree(fold->buckets);
	fold->buckets = buckets;
	fold->mask = (uint32) (size - 1);
}

/* The entry of a lead, made when it is not there. */
LiveDelta *
ls_live_fold_lead(LiveFold *fold, Datum key)
{
	const LiveModel *model = fold->model;
	uint32		hash = hash_key(model, key);
	MemoryContext oldcontext;
	LiveDelta  *delta;

	for (delta = fold->buckets[hash & fold->mask]; delta != NULL; delta = delta->next)
		if (delta->hash == hash && ls_live_compare_keys(model, delta->key, key) == 0)
			return delta;

	if ((uint32) fold->n > fold->mask && fold->mask < (1U << 28))
		grow(fold);
	oldcontext = MemoryContextSwitchTo(fold->context);
	delta = palloc0(offsetof(LiveDelta, c) + 2 * model->shape.n * sizeof(ScoreComponent));
	delta->key = datumCopy(key, model->key_byval, model->key_len);
	delta->hash = hash;
	delta->later = DT_NOEND;
	for (int i = 0; i < 2 * model->shape.n; i++)
		delta->c[i].half_life = model->shape.c[i % model->shape.n].half_life;
	delta->next = fold->buckets[hash & fold->mask];
	fold->buckets[hash & fold->mask] = delta;
	fold->n++;
	MemoryContextSwitchTo(oldcontext);
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
	ScoreComponent *c;

	if (points == 0.0)
		return;
	if (!added)
		points = -points;
	c = &delta->c[points > 0 ? component : fold->model->shape.n + component];
	delta->changed = true;
	/* beyond the range of double: only computing it anew says what to do */
	if (score_component_add(c, points, c->half_life != 0 ? at : 0) != SCORE_OK)
		delta->rebuild = true;
}

static int
compare_deltas(const void *a, const void *b, void *arg)
{
	return ls_live_compare_keys(arg, (*(LiveDelta *const *) a)->key, (*(LiveDelta *const *) b)->key);
}

/* The leads in key order: whoever locks several locks them in this order. */
LiveDelta **
ls_live_fold_sorted(LiveFold *fold)
{
	LiveDelta **sorted = MemoryContextAllocExtended(fold->context,
													(Size) Max(fold->n, 1) * sizeof(LiveDelta *),
													MCXT_ALLOC_HUGE);
	int			n = 0;

	for (uint32 i = 0; i <= fold->mask; i++)
		for (LiveDelta *delta = fold->buckets[i]; delta != NULL; delta = delta->next)
			sorted[n++] = delta;
	Assert(n == fold->n);
	if (n > 1)
		qsort_arg(sorted, n, sizeof(LiveDelta *), compare_deltas, fold->model);
	return sorted;
}
