/*
 * journey.c
 *	  Reading a history in one pass, and putting each lead's moves in order.
 *
 * The rows come in whatever order is cheapest to read. Each is packed into an
 * LsMove of 24 bytes; leads are numbered as they turn up, through a hash table
 * of our own; at the end one counting sort brings the moves of each lead
 * together, and each lead's few moves are sorted in place. That costs less than
 * an index scan or a sort in lead order, at about 50 bytes of memory per row
 * and 60 per lead.
 *
 * Owns: the hash table of leads, the mapping of stages and of groups to numbers.
 */
#include "journey.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How to read one column of whatever type */
typedef struct Column
{
	Oid			type;
	bool		byval;
	bool		is_text;		/* text or varchar: the bytes are the text */
	bool		is_int;			/* int2, int4, int8 */
	bool		is_varlena;
	int16		len;
	FmgrInfo	output;
} Column;

/*
 * Numbers for the distinct values of a column, looked up by the bytes of the
 * value first and by its text the first time these bytes are seen.
 */
typedef struct ValueEntry
{
	uint64		hash;
	Datum		value;			/* by value, or a copy of the bytes */
	uint32		len;			/* bytes, when not by value */
	uint32		number;
} ValueEntry;

typedef struct ValueMap
{
	Column		column;
	ValueEntry *entries;
	uint32		nentries;
	uint32		maxentries;
	uint32	   *slots;			/* open addressing; 0 is empty, else index + 1 */
	uint32		mask;
	uint32		last;			/* index of the entry found last, + 1 */
} ValueMap;

#define MAX_BY	8

typedef struct Reader
{
	LsJourneys *j;
	LsQuery    *query;
	MemoryContext context;

	uint64		maxmoves;
	uint32		maxleads;
	uint32	   *lead_slots;		/* as ValueMap.slots */
	uint32		lead_mask;

	TupleDesc	desc;
	bool		ready;			/* columns set up from desc */
	Column		lead_column;
	ValueMap	stage_map;
	ValueMap	from_map;
	uint32		maxstages;

	ValueMap	by_map[MAX_BY]; /* numbers of the values of each part of BY */
	char	  **by_text[MAX_BY];
	uint32		nby_text[MAX_BY];
	uint32		maxgroups;
	uint32	  **group_parts;	/* the numbers that make a group */
	uint32	   *group_slots;
	uint32		group_mask;
	uint32		last_group;
} Reader;

static void
setup_column(Column *c, TupleDesc desc, int i)
{
	Form_pg_attribute attr = TupleDescAttr(desc, i);
	Oid			outfunc;
	bool		isvarlena;

	c->type = attr->atttypid;
	c->byval = attr->attbyval;
	c->len = attr->attlen;
	c->is_varlena = attr->attlen == -1;
	c->is_text = (c->type == TEXTOID || c->type == VARCHAROID);
	c->is_int = (c->type == INT2OID || c->type == INT4OID || c->type == INT8OID);
	getTypeOutputInfo(c->type, &outfunc, &isvarlena);
	fmgr_info(outfunc, &c->output);
}

static inline uint64
mix(uint64 h)
{
	/* the 64-bit finalizer of MurmurHash3 (public domain) */
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

static inline uint64
hash_bytes64(const char *p, size_t len)
{
	return hash_bytes_extended((const unsigned char *) p, (int) len, 0);
}

/* The bytes of a value that is not by value; varlenas detoasted, without header. */
static inline const char *
value_bytes(const Column *c, Datum value, uint32 *len)
{
	if (c->is_varlena)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		*len = VARSIZE_ANY_EXHDR(v);
		return VARDATA_ANY(v);
	}
	*len = c->len == -2 ? strlen(DatumGetCString(value)) : (uint32) c->len;
	return DatumGetPointer(value);
}

static char *
value_text(Column *c, Datum value)
{
	return OutputFunctionCall(&c->output, value);
}

static inline bool
entry_matches(const ValueEntry *e, bool byval, uint64 hash, Datum value,
			  const char *bytes, uint32 len)
{
	if (byval)
		return e->value == value;
	return e->hash == hash && e->len == len &&
		memcmp(DatumGetPointer(e->value), bytes, len) == 0;
}

/*
 * The number of a value, or false with *entry set to a new entry whose number
 * the caller must fill in.
 */
static bool
map_lookup(Reader *r, ValueMap *m, Datum value, uint32 *number, ValueEntry **entry)
{
	bool		byval = m->column.byval;
	const char *bytes = NULL;
	uint32		len = 0;
	uint64		hash;
	uint32		slot;
	ValueEntry *e;

	if (!byval)
		bytes = value_bytes(&m->column, value, &len);

	/* few stages, few sources: the one found last is a good guess */
	if (m->last != 0)
	{
		e = &m->entries[m->last - 1];
		if (byval ? e->value == value :
			(e->len == len && memcmp(DatumGetPointer(e->value), bytes, len) == 0))
		{
			*number = e->number;
			return true;
		}
	}

	if (byval)
		hash = mix((uint64) value);
	else if (len <= 16)
	{
		/* two overlapping words; long values are rare and take the slow road */
		uint64		a = len,
					b = 0;

		memcpy(&a, bytes, Min(len, 8));
		if (len > 8)
			memcpy(&b, bytes + len - 8, 8);
		hash = mix(a ^ mix(b + len));
	}
	else
		hash = hash_bytes64(bytes, len);

	if (m->slots == NULL)
	{
		m->slots = MemoryContextAllocZero(r->context, 64 * sizeof(uint32));
		m->mask = 63;
		m->maxentries = 32;
		m->entries = MemoryContextAlloc(r->context, m->maxentries * sizeof(ValueEntry));
	}
	for (slot = hash & m->mask; m->slots[slot] != 0; slot = (slot + 1) & m->mask)
	{
		e = &m->entries[m->slots[slot] - 1];
		if (entry_matches(e, byval, hash, value, bytes, len))
		{
			m->last = m->slots[slot];
			*number = e->number;
			return true;
		}
	}

	if (m->nentries == m->maxentries)
	{
		uint32		i;

		if (m->maxentries > PG_UINT32_MAX / 8)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many different values to group by")));
		m->maxentries *= 2;
		m->entries = repalloc_huge(m->entries, (Size) m->maxentries * sizeof(ValueEntry));
		pfree(m->slots);
		m->mask = m->maxentries * 2 - 1;
		m->slots = MemoryContextAllocExtended(r->context,
											  ((Size) m->mask + 1) * sizeof(uint32),
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (i = 0; i < m->nentries; i++)
		{
			slot = m->entries[i].hash & m->mask;
			while (m->slots[slot] != 0)
				slot = (slot + 1) & m->mask;
			m->slots[slot] = i + 1;
		}
		slot = hash & m->mask;
		while (m->slots[slot] != 0)
			slot = (slot + 1) & m->mask;
	}
	e = &m->entries[m->nentries++];
	e->hash = hash;
	e->len = len;
	if (byval)
		e->value = value;
	else
	{
		char	   *copy = MemoryContextAlloc(r->context, len + 1);

		memcpy(copy, bytes, len);
		e->value = PointerGetDatum(copy);
	}
	m->slots[slot] = m->nentries;
	m->last = 0;
	*entry = e;
	return false;
}

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
stage_number(Reader *r, ValueMap *m, Datum value)
{
	uint32		number;
	ValueEntry *e;

	if (!map_lookup(r, m, value, &number, &e))
		e->number = number = stage_by_name(r, value_text(&m->column, value));
	return (uint16) number;
}

/*
 * Keys of leads are compared by their text, so that the history may keep as text
 * what is a bigint in the lead table. Integers, and texts that an integer would
 * print as, are kept as integers.
 */
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

static void
grow_leads(Reader *r)
{
	LsJourneys *j = r->j;
	uint32		i;

	if (r->maxleads > PG_UINT32_MAX / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many leads in the history")));
	r->maxleads *= 2;
	j->leads = repalloc_huge(j->leads, (Size) r->maxleads * sizeof(LsLead));
	pfree(r->lead_slots);
	r->lead_mask = r->maxleads * 2 - 1;
	r->lead_slots = MemoryContextAllocExtended(r->context,
											   ((Size) r->lead_mask + 1) * sizeof(uint32),
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < j->nleads; i++)
	{
		const LsLead *l = &j->leads[i];
		uint64		hash = l->textkey ? hash_bytes64(l->textkey, strlen(l->textkey)) :
			mix((uint64) l->intkey);
		uint32		slot = hash & r->lead_mask;

		while (r->lead_slots[slot] != 0)
			slot = (slot + 1) & r->lead_mask;
		r->lead_slots[slot] = i + 1;
	}
}

/* Index of the lead with this key; a new one is made if add, else UINT32_MAX. */
static uint32
find_lead(Reader *r, Datum key, bool add)
{
	LsJourneys *j = r->j;
	const Column *c = &r->lead_column;
	int64		intkey = 0;
	const char *text = NULL;
	uint32		len = 0;
	uint64		hash;
	uint32		slot;
	LsLead	   *l;

	if (c->type == INT8OID)
		intkey = DatumGetInt64(key);
	else if (c->type == INT4OID)
		intkey = DatumGetInt32(key);
	else if (c->type == INT2OID)
		intkey = DatumGetInt16(key);
	else
	{
		if (c->is_text)
			text = value_bytes(c, key, &len);
		else
		{
			text = value_text(&r->lead_column, key);
			len = strlen(text);
		}
		if (text_as_integer(text, len, &intkey))
			text = NULL;
	}
	hash = text ? hash_bytes64(text, len) : mix((uint64) intkey);

	for (slot = hash & r->lead_mask; r->lead_slots[slot] != 0; slot = (slot + 1) & r->lead_mask)
	{
		l = &j->leads[r->lead_slots[slot] - 1];
		if (text == NULL ? (l->textkey == NULL && l->intkey == intkey) :
			(l->textkey != NULL && strncmp(l->textkey, text, len) == 0 &&
			 l->textkey[len] == '\0'))
			return r->lead_slots[slot] - 1;
	}
	if (!add)
		return PG_UINT32_MAX;
	if (j->nleads == r->maxleads)
	{
		grow_leads(r);
		slot = hash & r->lead_mask;
		while (r->lead_slots[slot] != 0)
			slot = (slot + 1) & r->lead_mask;
	}
	l = &j->leads[j->nleads++];
	memset(l, 0, sizeof(*l));
	l->intkey = intkey;
	l->group = LS_NO_GROUP;
	l->value = get_float8_nan();
	if (text)
	{
		l->textkey = MemoryContextAlloc(r->context, len + 1);
		memcpy(l->textkey, text, len);
		l->textkey[len] = '\0';
	}
	r->lead_slots[slot] = j->nleads;
	return j->nleads - 1;
}

char *
ls_lead_name(const LsLead *lead)
{
	return lead->textkey ? lead->textkey : psprintf(INT64_FORMAT, lead->intkey);
}

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
	uint32		lead;
	LsMove	   *m;

	if (!r->ready)
	{
		setup_column(&r->lead_column, r->desc, 0);
		setup_column(&r->stage_map.column, r->desc, 1);
		if (q->from_col >= 0)
			setup_column(&r->from_map.column, r->desc, q->from_col);
		r->ready = true;
	}
	if (isnull[0] || isnull[2])
		return;
	at = DatumGetTimestampTz(values[2]);
	if (at > q->as_of || TIMESTAMP_NOT_FINITE(at))
		return;

	lead = find_lead(r, values[0], true);
	if (j->nmoves == r->maxmoves)
	{
		r->maxmoves *= 2;
		j->moves = repalloc_huge(j->moves, r->maxmoves * sizeof(LsMove));
	}
	m = &j->moves[j->nmoves++];
	m->at = at;
	m->lead = lead;
	m->stage = isnull[1] ? stage_by_name(r, LS_DELETED) : stage_number(r, &r->stage_map, values[1]);
	m->from = q->from_col < 0 || isnull[q->from_col] ? LS_NO_STAGE :
		stage_number(r, &r->from_map, values[q->from_col]);
	m->order = q->order_col < 0 || isnull[q->order_col] ? 0 : DatumGetInt64(values[q->order_col]);
	j->leads[lead].nmoves++;
	if (q->adopted_col >= 0 && !isnull[q->adopted_col] && DatumGetBool(values[q->adopted_col]))
		j->leads[lead].adopted = 1;
}

/*
 * Order of moves: the sequence if the user's table has one; else the instant,
 * then the tie breaker, then the order of the stages. The sort is stable, so
 * what is equal in all of them stays as read.
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
	LsMove	   *sorted;
	uint64		i;
	uint32		l,
				sum = 0;

	if (j->nmoves > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the history has more than %u rows", PG_UINT32_MAX)));
	for (l = 0; l < j->nleads; l++)
	{
		j->leads[l].first = sum;
		sum += j->leads[l].nmoves;
	}
	sorted = MemoryContextAllocHuge(r->context, Max(j->nmoves, 1) * sizeof(LsMove));
	for (i = 0; i < j->nmoves; i++)
		sorted[j->leads[j->moves[i].lead].first++] = j->moves[i];
	pfree(j->moves);
	j->moves = sorted;
	for (l = 0; l < j->nleads; l++)
	{
		LsLead	   *lead = &j->leads[l];

		if ((l & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		lead->first -= lead->nmoves;
		sort_moves(j->query, &sorted[lead->first], lead->nmoves);
	}
}

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
		hash = mix(hash + parts[i] + 1);
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
				hash = mix(hash + r->group_parts[g][i] + 1);
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

/* Values that print alike are one value, whatever their bytes. */
static uint32
by_value_number(Reader *r, int part, Datum value)
{
	ValueMap   *m = &r->by_map[part];
	uint32		number;
	ValueEntry *e;
	char	   *text;
	uint32		i;

	if (map_lookup(r, m, value, &number, &e))
		return number;
	text = value_text(&m->column, value);

	/*
	 * Only types whose equal values can differ in bytes need the search: the
	 * others would make it quadratic in the number of groups for nothing.
	 */
	if (!m->column.byval && !m->column.is_text)
	{
		for (i = 0; i < r->nby_text[part]; i++)
			if (strcmp(r->by_text[part][i], text) == 0)
				return e->number = i;
	}
	number = r->nby_text[part]++;
	if (number == 0)
		r->by_text[part] = MemoryContextAlloc(r->context, 64 * sizeof(char *));
	else if (number >= 64 && (number & (number - 1)) == 0)
		r->by_text[part] = repalloc_huge(r->by_text[part], (Size) number * 2 * sizeof(char *));
	r->by_text[part][number] = MemoryContextStrdup(r->context, text);
	e->number = number;
	return number;
}

/* One row of the lead table: key, the parts of BY, the value */
static void
lead_row(void *arg, Datum *values, bool *isnull)
{
	Reader	   *r = arg;
	const LsQuery *q = r->query;
	uint32		lead;
	uint32		parts[MAX_BY];
	int			i;

	if (!r->ready)
	{
		setup_column(&r->lead_column, r->desc, 0);
		for (i = 0; i < q->nby; i++)
			setup_column(&r->by_map[i].column, r->desc, 1 + i);
		r->ready = true;
	}
	if (isnull[0])
		return;
	lead = find_lead(r, values[0], false);
	if (lead == PG_UINT32_MAX)
		return;
	if (q->has_value && !isnull[1 + q->nby])
		r->j->leads[lead].value = DatumGetFloat8(values[1 + q->nby]);
	if (q->nby == 0)
		return;
	for (i = 0; i < q->nby; i++)
		parts[i] = isnull[1 + i] ? PG_UINT32_MAX : by_value_number(r, i, values[1 + i]);
	r->j->leads[lead].group = group_number(r, parts);
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
				j->groups[g] = r->by_text[0][r->group_parts[g][0]];
		}
		else if (nby > 1)
		{
			StringInfoData buf;

			initStringInfo(&buf);
			for (i = 0; i < nby; i++)
			{
				uint32		part = r->group_parts[g][i];

				appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
								 part == PG_UINT32_MAX ? "-" : r->by_text[i][part]);
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
	uint32		l;
	int			i;

	Assert(query->nby <= MAX_BY);
	r->j = j;
	r->query = query;
	r->context = CurrentMemoryContext;
	r->last_group = LS_NO_GROUP;
	j->query = query;

	r->maxstages = Max(16, query->nstages * 2);
	j->stages = palloc(r->maxstages * sizeof(LsFunnelStage));
	memcpy(j->stages, query->stages, query->nstages * sizeof(LsFunnelStage));
	j->nstages = query->nstages;

	r->maxmoves = 1024;
	j->moves = palloc(r->maxmoves * sizeof(LsMove));
	r->maxleads = 1024;
	j->leads = palloc(r->maxleads * sizeof(LsLead));
	r->lead_mask = r->maxleads * 2 - 1;
	r->lead_slots = palloc0((r->lead_mask + 1) * sizeof(uint32));

	ls_run_query(query->history_sql, history_row, r, &r->desc, r->context);
	gather_moves(r);

	r->maxgroups = 64;
	r->group_parts = palloc(r->maxgroups * sizeof(uint32 *));
	r->group_mask = r->maxgroups * 2 - 1;
	r->group_slots = palloc0((r->group_mask + 1) * sizeof(uint32));
	if (query->leads_sql)
	{
		r->ready = false;
		ls_run_query(query->leads_sql, lead_row, r, &r->desc, r->context);
	}
	for (l = 0; l < j->nleads; l++)
		if (j->leads[l].group == LS_NO_GROUP)
			j->leads[l].group = null_group(r);
	name_groups(r);
	j->deleted = -1;
	for (i = 0; i < j->nstages; i++)
		if (strcmp(j->stages[i].name, LS_DELETED) == 0)
			j->deleted = i;
	return j;
}
