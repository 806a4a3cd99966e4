/*
 * journey.c
 *	  Reading a history in one pass, and putting each lead's moves in order.
 *
 * The rows come in whatever order is cheapest to read. Each is packed into an
 * LsMove of 32 bytes; at the end one radix sort by the key of the lead brings
 * the moves of each lead together, and each lead's few moves are sorted in place.
 * The rows of the lead table are packed and sorted the same way, and merged. All
 * of it walks through memory in order: a hash table of leads would miss the
 * processor's cache at every row, which cost more than all the rest. It takes 64
 * bytes of memory per row of the history and 48 per lead.
 *
 * Owns: keys of leads, stages and groups as numbers, the order of moves.
 */
#include "journey.h"
#include "valuemap.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MAX_BY	8

/* A row of the lead table */
typedef struct LeadRow
{
	int64		key;
	uint32		group;
	float8		value;
} LeadRow;

typedef struct Reader
{
	LsJourneys *j;
	LsQuery    *query;
	MemoryContext context;

	TupleDesc	desc;
	bool		ready;			/* columns set up from desc */

	LsColumn	lead_column;
	LsValueMap	key_map;		/* keys that are no integers */
	uint64		maxmoves;
	int64		last_key;		/* of the rows read, to see whether they are in order */
	bool		sorted;

	LsValueMap	stage_map;
	LsValueMap	from_map;
	uint32		maxstages;

	LeadRow    *rows;
	uint64		nrows;
	uint64		maxrows;
	LsValueMap	by_map[MAX_BY]; /* numbers of the values of each part of BY */
	LsValueMap	by_text[MAX_BY];	/* ... which go by their text */
	uint32		maxgroups;
	uint32	  **group_parts;	/* the numbers that make a group */
	uint32	   *group_slots;
	uint32		group_mask;
	uint32		last_group;
} Reader;

/* ---------- stages ---------- */

/* Number of the stage with this name, which joins the list if it is new. */
static uint16
stage_by_name(Reader *r, const char *name)
{
	LsJourneys *j = r->j;
	int			i;

	for (i = 0; i < j->nstages; i++)
		if (strcmp(j->stages[i].name, name) == 0)
			return (uint16) i;
	if (j->nstages == LS_MAX_STAGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the history has more than %d different stages", LS_MAX_STAGES),
				 errhint("Check which column of the history holds the stage.")));
	if ((uint32) j->nstages == r->maxstages)
	{
		r->maxstages *= 2;
		j->stages = repalloc(j->stages, r->maxstages * sizeof(LsFunnelStage));
	}
	j->stages[j->nstages].name = MemoryContextStrdup(r->context, name);
	j->stages[j->nstages].kind = LS_STAGE_OTHER;
	return (uint16) j->nstages++;
}

static uint16
stage_number(Reader *r, LsValueMap *m, Datum value)
{
	bool		isnew;
	LsValueEntry *e = ls_map_find(m, value, &isnew);

	if (isnew)
		e->number = stage_by_name(r, ls_value_text(&m->column, value));
	return (uint16) e->number;
}

/* ---------- keys of leads ---------- */

/*
 * Keys are compared by their text, so that the history may keep as text what is
 * a bigint in the lead table. An integer, or a text that an integer would print
 * as, is its own key; any other text gets a number at the very bottom of the
 * range, as it turns up. (Integers down there are treated as text, too.)
 */
#define TEXT_KEYS_END	(PG_INT64_MIN + ((int64) 1 << 32))

static bool
text_as_integer(const char *s, uint32 len, int64 *value)
{
	uint32		i = 0;
	int64		v = 0;

	if (len > 0 && s[0] == '-')
		i = 1;
	if (len - i < 1 || len - i > 18 || (s[i] == '0' && len > 1))
		return false;
	for (; i < len; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (s[i] - '0');
	}
	*value = s[0] == '-' ? -v : v;
	return true;
}

/* False if there is no such key and none is to be added */
static bool
lead_key(Reader *r, Datum value, bool add, int64 *key)
{
	LsColumn   *c = &r->lead_column;
	const char *text;
	uint32		len;
	LsValueEntry *e;
	bool		isnew;

	if (c->type == INT8OID || c->type == INT4OID || c->type == INT2OID)
	{
		*key = c->type == INT8OID ? DatumGetInt64(value) :
			c->type == INT4OID ? DatumGetInt32(value) : DatumGetInt16(value);
		if (*key >= TEXT_KEYS_END)
			return true;
		text = psprintf(INT64_FORMAT, *key);
		len = strlen(text);
	}
	else
	{
		if (c->is_text)
			text = ls_value_bytes(c, value, &len);
		else
		{
			text = ls_value_text(c, value);
			len = strlen(text);
		}
		if (text_as_integer(text, len, key))
			return true;
	}
	e = ls_map_find_bytes(&r->key_map, text, len, add, &isnew);
	if (e == NULL)
		return false;
	if (isnew)
		e->number = r->key_map.nentries - 1;
	*key = PG_INT64_MIN + (int64) e->number;
	return true;
}

char *
ls_lead_name(const LsLead *lead)
{
	return lead->textkey ? lead->textkey : psprintf(INT64_FORMAT, lead->intkey);
}

/*
 * Sort by key, keeping the order of equal keys. Keys within a range of 2^33, as
 * sequences give them, take at most three passes over the digits; others go the
 * ordinary way.
 */
#define RADIX_BITS		11
#define RADIX_SIZE		(1 << RADIX_BITS)
#define RADIX_RANGE		((uint64) 1 << (3 * RADIX_BITS))

#define DEFINE_KEY_SORT(name, type, generic) \
static type * \
name(type *v, uint64 n, MemoryContext context) \
{ \
	int64		min = PG_INT64_MAX, \
				max = PG_INT64_MIN; \
	uint64		range, \
				i; \
	type	   *other; \
	int			shift; \
 \
	for (i = 0; i < n; i++) \
	{ \
		min = Min(min, v[i].key); \
		max = Max(max, v[i].key); \
	} \
	range = n == 0 ? 0 : (uint64) max - (uint64) min; \
	if (range >= RADIX_RANGE) \
	{ \
		generic(v, n); \
		return v; \
	} \
	other = MemoryContextAllocHuge(context, Max(n, 1) * sizeof(type)); \
	for (shift = 0; shift == 0 || (range >> shift) != 0; shift += RADIX_BITS) \
	{ \
		uint64		count[RADIX_SIZE] = {0}, \
					sum = 0; \
		type	   *t; \
		int			d; \
 \
		CHECK_FOR_INTERRUPTS(); \
		for (i = 0; i < n; i++) \
			count[(((uint64) v[i].key - (uint64) min) >> shift) & (RADIX_SIZE - 1)]++; \
		for (d = 0; d < RADIX_SIZE; d++) \
		{ \
			uint64		k = count[d]; \
 \
			count[d] = sum; \
			sum += k; \
		} \
		for (i = 0; i < n; i++) \
			other[count[(((uint64) v[i].key - (uint64) min) >> shift) & (RADIX_SIZE - 1)]++] = v[i]; \
		t = v; \
		v = other; \
		other = t; \
	} \
	pfree(other); \
	return v; \
}

#define ST_SORT sort_moves_by_key
#define ST_ELEMENT_TYPE LsMove
#define ST_COMPARE(a, b) (((a)->key > (b)->key) - ((a)->key < (b)->key))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_rows_by_key
#define ST_ELEMENT_TYPE LeadRow
#define ST_COMPARE(a, b) (((a)->key > (b)->key) - ((a)->key < (b)->key))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

DEFINE_KEY_SORT(moves_by_key, LsMove, sort_moves_by_key)
DEFINE_KEY_SORT(rows_by_key, LeadRow, sort_rows_by_key)

/* ---------- the history ---------- */

/*
 * One row of the history: lead, stage, at, and what the query has besides.
 * A row without a lead or an instant says nothing; a stage of NULL is the
 * deletion of the lead.
 */
static void
history_row(void *arg, Datum *values, bool *isnull)
{
	Reader	   *r = arg;
	LsJourneys *j = r->j;
	const LsQuery *q = r->query;
	TimestampTz at;
	LsMove	   *m;

	if (!r->ready)
	{
		ls_column_setup(&r->lead_column, r->desc, 0, r->context);
		ls_column_setup(&r->stage_map.column, r->desc, 1, r->context);
		if (q->from_col >= 0)
			ls_column_setup(&r->from_map.column, r->desc, q->from_col, r->context);
		r->ready = true;
	}
	if (isnull[0] || isnull[2])
		return;
	at = DatumGetTimestampTz(values[2]);
	if (at > q->as_of || TIMESTAMP_NOT_FINITE(at))
		return;

	if (j->nmoves == r->maxmoves)
	{
		r->maxmoves *= 2;
		j->moves = repalloc_huge(j->moves, r->maxmoves * sizeof(LsMove));
	}
	m = &j->moves[j->nmoves];
	(void) lead_key(r, values[0], true, &m->key);
	m->at = at;
	m->stage = isnull[1] ? stage_by_name(r, LS_DELETED) : stage_number(r, &r->stage_map, values[1]);
	m->from = q->from_col < 0 || isnull[q->from_col] ? LS_NO_STAGE :
		stage_number(r, &r->from_map, values[q->from_col]);
	m->order = q->order_col < 0 || isnull[q->order_col] ? 0 : DatumGetInt64(values[q->order_col]);
	m->adopted = q->adopted_col >= 0 && !isnull[q->adopted_col] && DatumGetBool(values[q->adopted_col]);
	r->sorted &= j->nmoves == 0 || m->key >= r->last_key;
	r->last_key = m->key;
	j->nmoves++;
}

/*
 * Order of moves: the sequence if the user's table has one; else the instant,
 * then the tie breaker, then the order of the stages.
 */
static inline bool
move_before(const LsQuery *q, const LsMove *a, const LsMove *b)
{
	if (q->by_sequence && a->order != b->order)
		return a->order < b->order;
	if (a->at != b->at)
		return a->at < b->at;
	if (a->order != b->order)
		return a->order < b->order;
	return q->order_col < 0 && a->stage < b->stage;
}

static int
compare_moves(const void *a, const void *b, void *arg)
{
	const LsQuery *q = arg;

	if (move_before(q, a, b))
		return -1;
	if (move_before(q, b, a))
		return 1;
	return 0;
}

static void
sort_moves(const LsQuery *q, LsMove *m, uint32 n)
{
	uint32		i,
				k;

	if (n > 64)
	{
		qsort_arg(m, n, sizeof(LsMove), compare_moves, unconstify(LsQuery *, q));
		return;
	}
	for (i = 1; i < n; i++)
	{
		LsMove		x;

		if (!move_before(q, &m[i], &m[i - 1]))
			continue;
		x = m[i];
		for (k = i; k > 0 && move_before(q, &x, &m[k - 1]); k--)
			m[k] = m[k - 1];
		m[k] = x;
	}
}

/* Bring the moves of each lead together, then each lead's into order. */
static void
gather_moves(Reader *r)
{
	LsJourneys *j = r->j;
	uint32		maxleads = 1024;
	uint64		i,
				n;

	if (j->nmoves > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the history has more than %u rows", PG_UINT32_MAX)));
	if (!r->sorted)
		j->moves = moves_by_key(j->moves, j->nmoves, r->context);
	j->leads = palloc(maxleads * sizeof(LsLead));
	for (i = 0; i < j->nmoves; i += n)
	{
		LsMove	   *m = &j->moves[i];
		LsLead	   *lead;

		for (n = 1; i + n < j->nmoves && m[n].key == m->key; n++)
			;
		if ((j->nleads & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (j->nleads == maxleads)
		{
			maxleads *= 2;
			j->leads = repalloc_huge(j->leads, (Size) maxleads * sizeof(LsLead));
		}
		sort_moves(j->query, m, n);
		lead = &j->leads[j->nleads++];
		lead->intkey = m->key;
		lead->textkey = m->key >= TEXT_KEYS_END ? NULL :
			DatumGetPointer(r->key_map.entries[m->key - PG_INT64_MIN].value);
		lead->first = (uint32) i;
		lead->nmoves = (uint32) n;
		lead->adopted = m->adopted;
		lead->group = 0;
		lead->value = get_float8_nan();
	}
}

/* ---------- groups ---------- */

/* Number of the group made of these values of the parts of BY */
static uint32
group_number(Reader *r, const uint32 *parts)
{
	LsJourneys *j = r->j;
	int			nby = r->query->nby;
	uint64		hash = 0;
	uint32		slot;
	int			i;

	if (r->last_group < j->ngroups &&
		memcmp(r->group_parts[r->last_group], parts, nby * sizeof(uint32)) == 0)
		return r->last_group;
	for (i = 0; i < nby; i++)
		hash = ls_mix(hash + parts[i] + 1);
	for (slot = hash & r->group_mask; r->group_slots[slot] != 0; slot = (slot + 1) & r->group_mask)
		if (memcmp(r->group_parts[r->group_slots[slot] - 1], parts, nby * sizeof(uint32)) == 0)
			return r->last_group = r->group_slots[slot] - 1;

	if (j->ngroups == r->maxgroups)
	{
		uint32		g;

		if (r->maxgroups > PG_UINT32_MAX / 16)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many different values to group by")));
		r->maxgroups *= 2;
		r->group_parts = repalloc_huge(r->group_parts, (Size) r->maxgroups * sizeof(uint32 *));
		pfree(r->group_slots);
		r->group_mask = r->maxgroups * 2 - 1;
		r->group_slots = MemoryContextAllocExtended(r->context,
													((Size) r->group_mask + 1) * sizeof(uint32),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (g = 0; g < j->ngroups; g++)
		{
			for (hash = 0, i = 0; i < nby; i++)
				hash = ls_mix(hash + r->group_parts[g][i] + 1);
			slot = hash & r->group_mask;
			while (r->group_slots[slot] != 0)
				slot = (slot + 1) & r->group_mask;
			r->group_slots[slot] = g + 1;
		}
		return group_number(r, parts);
	}
	r->group_parts[j->ngroups] = MemoryContextAlloc(r->context, nby * sizeof(uint32));
	memcpy(r->group_parts[j->ngroups], parts, nby * sizeof(uint32));
	r->group_slots[slot] = ++j->ngroups;
	return r->last_group = j->ngroups - 1;
}

/* The group of leads that are in the history only: every part of BY is NULL. */
static uint32
null_group(Reader *r)
{
	uint32		parts[MAX_BY];
	int			i;

	for (i = 0; i < MAX_BY; i++)
		parts[i] = PG_UINT32_MAX;
	return group_number(r, parts);
}

/* Values that print alike are one value, whatever their bytes. */
static uint32
by_value_number(Reader *r, int part, Datum value)
{
	LsValueMap *m = &r->by_map[part];
	bool		isnew;
	LsValueEntry *e = ls_map_find(m, value, &isnew);

	if (isnew)
	{
		char	   *text = ls_value_text(&m->column, value);
		LsValueEntry *t = ls_map_find_bytes(&r->by_text[part], text, strlen(text), true, &isnew);

		if (isnew)
			t->number = r->by_text[part].nentries - 1;
		e->number = t->number;
	}
	return e->number;
}

/* One row of the lead table: key, the parts of BY, the value */
static void
lead_row(void *arg, Datum *values, bool *isnull)
{
	Reader	   *r = arg;
	const LsQuery *q = r->query;
	uint32		parts[MAX_BY];
	LeadRow    *row;
	int64		key;
	int			i;

	if (!r->ready)
	{
		ls_column_setup(&r->lead_column, r->desc, 0, r->context);
		for (i = 0; i < q->nby; i++)
			ls_column_setup(&r->by_map[i].column, r->desc, 1 + i, r->context);
		r->ready = true;
	}
	if (isnull[0] || !lead_key(r, values[0], false, &key))
		return;
	if (r->nrows == r->maxrows)
	{
		r->maxrows *= 2;
		r->rows = repalloc_huge(r->rows, r->maxrows * sizeof(LeadRow));
	}
	row = &r->rows[r->nrows];
	row->key = key;
	row->value = q->has_value && !isnull[1 + q->nby] ? DatumGetFloat8(values[1 + q->nby]) :
		get_float8_nan();
	row->group = 0;
	if (q->nby > 0)
	{
		for (i = 0; i < q->nby; i++)
			parts[i] = isnull[1 + i] ? PG_UINT32_MAX : by_value_number(r, i, values[1 + i]);
		row->group = group_number(r, parts);
	}
	r->sorted &= r->nrows == 0 || key >= r->last_key;
	r->last_key = key;
	r->nrows++;
}

/* Give the leads what their rows say; both are in order of their keys. */
static void
merge_rows(Reader *r)
{
	LsJourneys *j = r->j;
	uint64		i = 0;
	uint32		l;

	if (!r->sorted)
		r->rows = rows_by_key(r->rows, r->nrows, r->context);
	for (l = 0; l < j->nleads; l++)
	{
		LsLead	   *lead = &j->leads[l];

		while (i < r->nrows && r->rows[i].key < lead->intkey)
			i++;
		if (i < r->nrows && r->rows[i].key == lead->intkey)
		{
			lead->group = r->rows[i].group;
			lead->value = r->rows[i].value;
		}
		else
			lead->group = null_group(r);
	}
	pfree(r->rows);
}

static int
compare_groups(const void *a, const void *b, void *arg)
{
	const LsJourneys *j = arg;
	const char *x = j->groups[*(const uint32 *) a];
	const char *y = j->groups[*(const uint32 *) b];

	if (x == NULL || y == NULL)
		return (x == NULL) - (y == NULL);
	return strcmp(x, y);
}

/* Names of the groups, and their order for output: by text, as in the C locale. */
static void
name_groups(Reader *r)
{
	LsJourneys *j = r->j;
	int			nby = r->query->nby;
	uint32		g;
	int			i;

	j->groups = palloc_extended(Max(j->ngroups, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	j->group_order = palloc_extended(Max(j->ngroups, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	for (g = 0; g < j->ngroups; g++)
	{
		j->group_order[g] = g;
		j->groups[g] = NULL;
		if (nby == 1)
		{
			if (r->group_parts[g][0] != PG_UINT32_MAX)
				j->groups[g] = DatumGetPointer(r->by_text[0].entries[r->group_parts[g][0]].value);
		}
		else if (nby > 1)
		{
			StringInfoData buf;

			initStringInfo(&buf);
			for (i = 0; i < nby; i++)
			{
				uint32		part = r->group_parts[g][i];

				appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
								 part == PG_UINT32_MAX ? "-" :
								 DatumGetPointer(r->by_text[i].entries[part].value));
			}
			j->groups[g] = buf.data;
		}
	}
	qsort_arg(j->group_order, j->ngroups, sizeof(uint32), compare_groups, j);
}

LsJourneys *
ls_read_journeys(LsQuery *query)
{
	Reader		reader = {0};
	Reader	   *r = &reader;
	LsJourneys *j = palloc0(sizeof(LsJourneys));
	int			i;

	Assert(query->nby <= MAX_BY);
	r->j = j;
	r->query = query;
	r->context = CurrentMemoryContext;
	r->last_group = LS_NO_GROUP;
	r->key_map.context = r->stage_map.context = r->from_map.context = r->context;
	j->query = query;

	r->maxstages = Max(16, query->nstages * 2);
	j->stages = palloc(r->maxstages * sizeof(LsFunnelStage));
	memcpy(j->stages, query->stages, query->nstages * sizeof(LsFunnelStage));
	j->nstages = query->nstages;

	r->maxmoves = 1024;
	j->moves = palloc(r->maxmoves * sizeof(LsMove));
	r->sorted = true;
	ls_run_query(query->history_sql, history_row, r, &r->desc, r->context);
	gather_moves(r);

	r->maxgroups = 64;
	r->group_parts = palloc(r->maxgroups * sizeof(uint32 *));
	r->group_mask = r->maxgroups * 2 - 1;
	r->group_slots = palloc0((r->group_mask + 1) * sizeof(uint32));
	if (query->leads_sql)
	{
		for (i = 0; i < query->nby; i++)
			r->by_map[i].context = r->by_text[i].context = r->context;
		r->maxrows = 1024;
		r->rows = palloc(r->maxrows * sizeof(LeadRow));
		r->sorted = true;
		r->ready = false;
		ls_run_query(query->leads_sql, lead_row, r, &r->desc, r->context);
		merge_rows(r);
	}
	name_groups(r);
	j->deleted = -1;
	for (i = 0; i < j->nstages; i++)
		if (strcmp(j->stages[i].name, LS_DELETED) == 0)
			j->deleted = i;
	return j;
}
