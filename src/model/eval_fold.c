/*
 * eval_fold.c
 *	  Points of events summed per lead, within a given amount of memory.
 *
 * An entry is the lead's key, the sum of each component that events feed, and,
 * for components that age, the instant at which that sum holds: the latest one
 * added. Keeping the pair, instead of sums relative to one instant, cannot
 * overflow however short the half-life and long the history. Entries lie one
 * after the other in the order in which leads were met, and an index with open
 * addressing leads to them; both reads miss the processor's cache for most
 * events, so that events are taken in batches and memory is asked for ahead.
 *
 * What rules with limits give is collected apart, and what does not count is
 * thrown out when the memory is full and at the end.
 *
 * Where keys are integers and lie so close together that an array over all of
 * them fits, no index is needed: the key says where the entry is, and a scan of
 * the leads in about the order of their keys reads the entries in order.
 *
 * When there is not enough memory for all leads, half of the hash values are
 * put off to a later pass over the events, again and again if need be: a range
 * is the set of keys whose hash starts with given bits.
 */
#include "leadscore.h"

#include <math.h>
#include <sys/mman.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "model/eval_fold.h"
#include "score/score.h"

#define LARGE_PAGE		(2 * 1024 * 1024)
#define BATCH			64
#define FIRST_ENTRIES	1024
#define MAX_RANGE_BITS	32

typedef struct IndexSlot
{
	uint32		hash;
	uint32		entry;			/* number + 1; 0 = empty */
} IndexSlot;

typedef union Word
{
	uint64		u;
	int64		i;
	double		d;
} Word;

typedef struct Pending
{
	uint64		hash;
	LsFoldKey	key;
	TimestampTz at;
	uint32		entry;
	double		points[SCORE_MAX_COMPONENTS];
} Pending;

/* What a rule with a limit gave for an event. */
typedef struct Hit
{
	LsFoldKey	key;
	TimestampTz at;
	double		points;
	int			rule;
} Hit;

typedef struct Range
{
	int			bits;
	uint32		prefix;			/* the first bits of the hash, in the low bits */
} Range;

struct LsFold
{
	MemoryContext context;
	const LsModel *model;
	Size		budget;

	int			key_words;
	int			ncomponents;	/* those that events feed */
	int			components[SCORE_MAX_COMPONENTS];
	double		half_life[SCORE_MAX_COMPONENTS];	/* 0: does not age */
	int			value_word[SCORE_MAX_COMPONENTS];	/* where in an entry */
	int			at_word[SCORE_MAX_COMPONENTS];
	int			entry_words;

	/* keys from first_key on, as many as nkeys; 0: not an array over keys */
	int64		first_key;
	uint64		nkeys;
	Word	   *entries;
	uint32		n;
	uint32		space;
	IndexSlot  *index;
	uint64		mask;

	int			npending;
	Pending		pending[BATCH];

	Hit		   *hits;
	Size		nhits;
	Size		hits_space;

	Range		range;			/* the one being filled */
	int			nlater;
	Range		later[MAX_RANGE_BITS + 1];
	int			passes;
};

static inline uint64
hash_key(LsFoldKey key)
{
	uint64		h = key.word[0] * UINT64CONST(0x9E3779B97F4A7C15);

	h ^= (key.word[1] + (h >> 29)) * UINT64CONST(0xC2B2AE3D27D4EB4F);
	return h ^ (h >> 32);
}

static inline bool
hash_in_range(const Range *range, uint64 hash)
{
	return range->bits == 0 || (uint32) (hash >> (64 - range->bits)) == range->prefix;
}

/* Is the lead one of those that this pass is about? */
bool
ls_fold_in_range(const LsFold *fold, LsFoldKey key)
{
	return hash_in_range(&fold->range, hash_key(key));
}

int
ls_fold_passes(const LsFold *fold)
{
	return fold->passes;
}

/* An empty table for the components that the model's events feed. */
LsFold *
ls_fold_create(const LsModel *model, int key_words, Size budget)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore sums per lead",
												  ALLOCSET_DEFAULT_SIZES);
	LsFold	   *fold = MemoryContextAllocZero(context, sizeof(LsFold));
	int			words = key_words;

	fold->context = context;
	fold->model = model;
	fold->budget = budget;
	fold->key_words = key_words;
	for (int c = 0; c < model->ncomponents; c++)
	{
		bool		fed = false;

		for (int i = 0; i < model->nrules; i++)
			fed |= model->rules[i].enabled && model->rules[i].event && model->rules[i].component == c;
		if (!fed)
			continue;
		fold->components[fold->ncomponents] = c;
		fold->half_life[fold->ncomponents] = (double) model->components[c].half_life;
		fold->value_word[fold->ncomponents] = words++;
		if (model->components[c].half_life != 0)
			fold->at_word[fold->ncomponents] = words++;
		fold->ncomponents++;
	}
	fold->entry_words = words;
	fold->nlater = 1;			/* everything */
	return fold;
}

void
ls_fold_free(LsFold *fold)
{
	MemoryContextDelete(fold->context);
}

/*
 * Room for an array that is read in any order. In pages of 4 kB nearly every read
 * misses the processor's table of pages too, which costs more than the read
 * itself; so the kernel is asked for large ones, where it knows such a thing.
 */
static void *
allocate(MemoryContext context, Size size)
{
	char	   *memory = MemoryContextAllocHuge(context, size);

#ifdef MADV_HUGEPAGE
	char	   *from = (char *) TYPEALIGN(LARGE_PAGE, memory);
	char	   *until = (char *) TYPEALIGN_DOWN(LARGE_PAGE, memory + size);

	if (from < until)
		(void) madvise(from, until - from, MADV_HUGEPAGE);
#endif
	return memory;
}

static void
make_index(LsFold *fold, uint64 size)
{
	fold->index = allocate(fold->context, size * sizeof(IndexSlot));
	memset(fold->index, 0, size * sizeof(IndexSlot));
	fold->mask = size - 1;
}

/*
 * The least and the largest key of a lead, known before the first pass: other
 * keys need no entry. Not for models that have rules with limits.
 */
void
ls_fold_know_keys(LsFold *fold, int64 least, int64 largest)
{
	uint64		nkeys = (uint64) largest - (uint64) least + 1;
	Size		entry = (fold->entry_words - 1) * sizeof(Word);

	Assert(fold->entries == NULL && fold->key_words == 1 && least <= largest);
	if (nkeys == 0 || nkeys > fold->budget / entry || nkeys > PG_UINT32_MAX)
		return;

	/* the key need not be stored */
	for (int i = 0; i < fold->ncomponents; i++)
	{
		fold->value_word[i]--;
		fold->at_word[i]--;
	}
	fold->entry_words--;
	fold->first_key = least;
	fold->nkeys = nkeys;
	fold->entries = allocate(fold->context, nkeys * entry);
	memset(fold->entries, 0, nkeys * entry);
}

/*
 * Empty the table for the next range of keys; false if there is none left. To
 * be called before the first pass too.
 */
bool
ls_fold_next_range(LsFold *fold)
{
	if (fold->nlater == 0)
		return false;
	fold->range = fold->later[--fold->nlater];
	fold->passes++;
	fold->n = 0;
	fold->nhits = 0;
	fold->npending = 0;
	if (fold->nkeys > 0)
		Assert(fold->passes == 1);
	else if (fold->entries == NULL)
	{
		fold->space = FIRST_ENTRIES;
		fold->entries = allocate(fold->context, (Size) fold->space * fold->entry_words * sizeof(Word));
		make_index(fold, 2 * FIRST_ENTRIES);
	}
	else
		memset(fold->index, 0, (fold->mask + 1) * sizeof(IndexSlot));
	return true;
}

static inline Word *
entry_at(const LsFold *fold, uint32 number)
{
	return fold->entries + (Size) number * fold->entry_words;
}

static inline bool
entry_is(const LsFold *fold, const Word *entry, LsFoldKey key)
{
	return entry[0].u == key.word[0] && (fold->key_words == 1 || entry[1].u == key.word[1]);
}

static inline LsFoldKey
entry_key(const LsFold *fold, const Word *entry)
{
	LsFoldKey	key = {{entry[0].u, fold->key_words == 1 ? 0 : entry[1].u}};

	return key;
}

static void
index_insert(LsFold *fold, uint64 hash, uint32 number)
{
	uint64		at = hash & fold->mask;

	while (fold->index[at].entry != 0)
		at = (at + 1) & fold->mask;
	fold->index[at].hash = (uint32) hash;
	fold->index[at].entry = number + 1;
}

static Size
memory_used(const LsFold *fold, uint64 space, uint64 index_size)
{
	return space * fold->entry_words * sizeof(Word) + index_size * sizeof(IndexSlot) +
		fold->hits_space * sizeof(Hit);
}

/*
 * Put the second half of the range off to a later pass, and forget what is
 * there of it.
 */
static void
split_range(LsFold *fold)
{
	Range	   *later;
	uint32		n = 0;
	Size		nhits = 0;

	if (fold->range.bits == MAX_RANGE_BITS || fold->nlater == lengthof(fold->later))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while adding up the points of events"),
				 errhint("Increase maintenance_work_mem.")));
	later = &fold->later[fold->nlater++];
	fold->range.bits++;
	fold->range.prefix <<= 1;
	*later = fold->range;
	later->prefix |= 1;

	memset(fold->index, 0, (fold->mask + 1) * sizeof(IndexSlot));
	for (uint32 i = 0; i < fold->n; i++)
	{
		Word	   *entry = entry_at(fold, i);
		uint64		hash = hash_key(entry_key(fold, entry));

		CHECK_FOR_INTERRUPTS();
		if (!hash_in_range(&fold->range, hash))
			continue;
		memmove(entry_at(fold, n), entry, fold->entry_words * sizeof(Word));
		index_insert(fold, hash, n++);
	}
	fold->n = n;
	for (Size i = 0; i < fold->nhits; i++)
		if (ls_fold_in_range(fold, fold->hits[i].key))
			fold->hits[nhits++] = fold->hits[i];
	fold->nhits = nhits;
}

/* Room for one more entry: twice the table, or half of the keys. */
static void
make_room(LsFold *fold)
{
	uint64		space = (uint64) fold->space * 2;
	Word	   *entries;

	if (memory_used(fold, space, space * 2) > fold->budget || space > PG_UINT32_MAX / 2)
	{
		split_range(fold);
		return;
	}
	entries = allocate(fold->context, space * fold->entry_words * sizeof(Word));
	memcpy(entries, fold->entries, (Size) fold->n * fold->entry_words * sizeof(Word));
	pfree(fold->entries);
	fold->entries = entries;
	fold->space = (uint32) space;
	pfree(fold->index);
	make_index(fold, space * 2);
	for (uint32 i = 0; i < fold->n; i++)
		index_insert(fold, hash_key(entry_key(fold, entry_at(fold, i))), i);
}

/* The number of a lead's entry, or -1. */
static inline int64
find_entry(const LsFold *fold, uint64 hash, LsFoldKey key)
{
	for (uint64 at = hash & fold->mask;; at = (at + 1) & fold->mask)
	{
		const IndexSlot *slot = &fold->index[at];

		if (slot->entry == 0)
			return -1;
		if (slot->hash == (uint32) hash && entry_is(fold, entry_at(fold, slot->entry - 1), key))
			return slot->entry - 1;
	}
}

static inline void
add_to_entry(const LsFold *fold, Word *entry, int i, double points, TimestampTz at)
{
	Word	   *value = &entry[fold->value_word[i]];
	Word	   *when;
	double		elapsed;

	if (fold->half_life[i] == 0)
	{
		value->d += points;
		return;
	}
	when = &entry[fold->at_word[i]];
	if (value->d == 0)
	{
		/* nothing yet, or nothing left: nothing to age */
		value->d = points;
		when->i = at;
		return;
	}
	/* instants are of the years 1 to 9999, so that the difference fits */
	elapsed = (double) (at - when->i) / fold->half_life[i];
	if (elapsed >= 0)
	{
		value->d = value->d * exp2(-elapsed) + points;
		when->i = at;
	}
	else
		value->d += points * exp2(elapsed);
}

/* The place in an array over keys; beyond nkeys: no lead has this key. */
static inline uint64
key_place(const LsFold *fold, LsFoldKey key)
{
	return key.word[0] - (uint64) fold->first_key;
}

/* The entry of a lead, made when it is not there; NULL if its range is put off. */
static Word *
get_entry(LsFold *fold, uint64 hash, LsFoldKey key)
{
	int64		number;
	Word	   *entry;

	if (fold->nkeys > 0)
		return key_place(fold, key) < fold->nkeys ? entry_at(fold, (uint32) key_place(fold, key)) : NULL;
	number = find_entry(fold, hash, key);
	if (number >= 0)
		return entry_at(fold, (uint32) number);
	while (fold->n == fold->space)
	{
		make_room(fold);
		if (!hash_in_range(&fold->range, hash))
			return NULL;
	}
	index_insert(fold, hash, fold->n);
	entry = entry_at(fold, fold->n++);
	memset(entry, 0, fold->entry_words * sizeof(Word));
	for (int i = 0; i < fold->key_words; i++)
		entry[i].u = key.word[i];
	return entry;
}

/* Add the batch, memory asked for ahead. */
static void
flush(LsFold *fold)
{
	if (fold->nkeys > 0)
	{
		for (int p = 0; p < fold->npending; p++)
		{
			const Pending *pending = &fold->pending[p];
			Word	   *entry = entry_at(fold, pending->entry);

			for (int i = 0; i < fold->ncomponents; i++)
				if (pending->points[i] != 0)
					add_to_entry(fold, entry, i, pending->points[i], pending->at);
		}
		fold->npending = 0;
		return;
	}

	/* the index was asked for when the event came: where does it lead? */
	for (int p = 0; p < fold->npending; p++)
	{
		Pending    *pending = &fold->pending[p];
		uint64		at = pending->hash & fold->mask;

		pending->entry = 0;
		while (fold->index[at].entry != 0)
		{
			if (fold->index[at].hash == (uint32) pending->hash)
			{
				pending->entry = fold->index[at].entry;
				__builtin_prefetch(entry_at(fold, pending->entry - 1), 1);
				break;
			}
			at = (at + 1) & fold->mask;
		}
	}
	for (int p = 0; p < fold->npending; p++)
	{
		Pending    *pending = &fold->pending[p];
		Word	   *entry = NULL;

		/* a split renumbers entries, so that what was found is looked at again */
		if (pending->entry != 0 && pending->entry <= fold->n)
		{
			entry = entry_at(fold, pending->entry - 1);
			if (!entry_is(fold, entry, pending->key))
				entry = NULL;
		}
		if (entry == NULL)
		{
			if (!hash_in_range(&fold->range, pending->hash))
				continue;
			entry = get_entry(fold, pending->hash, pending->key);
			if (entry == NULL)
				continue;
		}
		for (int i = 0; i < fold->ncomponents; i++)
			if (pending->points[i] != 0)
				add_to_entry(fold, entry, i, pending->points[i], pending->at);
	}
	fold->npending = 0;
}

/* Add what an event gives to each of the model's components. */
void
ls_fold_add(LsFold *fold, LsFoldKey key, TimestampTz at, const double *points)
{
	Pending    *pending = &fold->pending[fold->npending];
	bool		any = false;

	for (int i = 0; i < fold->ncomponents; i++)
	{
		pending->points[i] = points[fold->components[i]];
		any |= pending->points[i] != 0;
	}
	if (!any)
		return;
	pending->at = at;
	if (fold->nkeys > 0)
	{
		uint64		place = key_place(fold, key);

		if (place >= fold->nkeys)
			return;
		pending->entry = (uint32) place;
		__builtin_prefetch(entry_at(fold, pending->entry), 1);
	}
	else
	{
		pending->hash = hash_key(key);
		if (!hash_in_range(&fold->range, pending->hash))
			return;
		pending->key = key;
		__builtin_prefetch(&fold->index[pending->hash & fold->mask]);
	}
	if (++fold->npending == BATCH)
		flush(fold);
}

/* ---- rules with limits ---- */

/* By lead, rule and instant; of those at one instant the larger points first. */
static int
compare_hits(const void *a, const void *b)
{
	const Hit  *x = a;
	const Hit  *y = b;

	CHECK_FOR_INTERRUPTS();		/* there may be many to sort */
	for (int i = 0; i < LS_FOLD_KEY_WORDS; i++)
		if (x->key.word[i] != y->key.word[i])
			return x->key.word[i] < y->key.word[i] ? -1 : 1;
	if (x->rule != y->rule)
		return x->rule - y->rule;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->points > y->points ? -1 : x->points < y->points;
}

/* Keep of the hits only those that count. */
static void
apply_limits(LsFold *fold)
{
	Size		n = 0;
	TimestampTz window = 0;
	int			counted = 0;

	if (fold->nhits == 0)
		return;
	qsort(fold->hits, fold->nhits, sizeof(Hit), compare_hits);
	for (Size i = 0; i < fold->nhits; i++)
	{
		const Hit  *hit = &fold->hits[i];
		const LsRule *rule = &fold->model->rules[hit->rule];
		TimestampTz mine = rule->per != 0 ? ls_rule_window(rule, hit->at) : 0;

		/* the one before was kept, or is of the same window as one that was */
		if (n == 0 || mine != window || hit->rule != fold->hits[n - 1].rule ||
			memcmp(&hit->key, &fold->hits[n - 1].key, sizeof(LsFoldKey)) != 0)
		{
			window = mine;
			counted = 0;
		}
		if (counted++ < rule->at_most)
			fold->hits[n++] = *hit;
	}
	fold->nhits = n;
}

/* Collect what a rule with a limit gives; ls_fold_finish adds what counts. */
void
ls_fold_add_limited(LsFold *fold, LsFoldKey key, TimestampTz at, int rule, double points)
{
	Hit		   *hit;

	Assert(fold->nkeys == 0);
	if (!ls_fold_in_range(fold, key))
		return;
	if (fold->nhits == fold->hits_space)
	{
		Size		space = Max(fold->hits_space * 2, FIRST_ENTRIES);
		uint64		index_size = fold->mask + 1;

		if (fold->hits_space == 0)
		{
			fold->hits = MemoryContextAllocHuge(fold->context, space * sizeof(Hit));
			fold->hits_space = space;
		}
		else
		{
			apply_limits(fold);
			if (fold->nhits > fold->hits_space / 2)
			{
				/* most of them count */
				if (memory_used(fold, fold->space, index_size) + fold->hits_space * sizeof(Hit) <= fold->budget)
				{
					fold->hits = repalloc_huge(fold->hits, space * sizeof(Hit));
					fold->hits_space = space;
				}
				else
				{
					flush(fold);
					while (fold->nhits > fold->hits_space / 2)
						split_range(fold);
					if (!ls_fold_in_range(fold, key))
						return;
				}
			}
		}
	}
	hit = &fold->hits[fold->nhits++];
	hit->key = key;
	hit->at = at;
	hit->rule = rule;
	hit->points = points;
}

/* All events of this pass were added: the sums are complete. */
void
ls_fold_finish(LsFold *fold)
{
	Size		nhits;

	flush(fold);
	apply_limits(fold);

	/* making an entry may put some of them off, but is not to move them */
	nhits = fold->nhits;
	fold->nhits = 0;
	for (Size i = 0; i < nhits; i++)
	{
		const Hit  *hit = &fold->hits[i];
		const LsRule *rule = &fold->model->rules[hit->rule];
		Word	   *entry;

		CHECK_FOR_INTERRUPTS();
		if (hit->points == 0)
			continue;
		entry = ls_fold_in_range(fold, hit->key) ? get_entry(fold, hash_key(hit->key), hit->key) : NULL;
		if (entry == NULL)
			continue;
		for (int c = 0; c < fold->ncomponents; c++)
			if (fold->components[c] == rule->component)
				add_to_entry(fold, entry, c, hit->points, hit->at);
	}
}

/* Add what a lead's events gave to a score of the model's shape. */
void
ls_fold_get(LsFold *fold, LsFoldKey key, Score *score)
{
	int64		number;
	const Word *entry;

	if (fold->nkeys > 0)
		number = key_place(fold, key) < fold->nkeys ? (int64) key_place(fold, key) : -1;
	else
		number = find_entry(fold, hash_key(key), key);
	if (number < 0)
		return;
	entry = entry_at(fold, (uint32) number);
	for (int i = 0; i < fold->ncomponents; i++)
	{
		ScoreComponent *c = &score->c[fold->components[i]];

		c->value += entry[fold->value_word[i]].d;
		if (fold->half_life[i] != 0 && entry[fold->value_word[i]].d != 0)
			c->at = entry[fold->at_word[i]].i;
	}
}
