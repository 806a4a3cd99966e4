/*
 * timeline.c
 *	  The aggregates path and time_in_state: the stages of one lead in order, and
 *	  how long it was in each.
 *
 * The state is a plain bytea, a list of (instant, name), so that it can be split
 * anywhere; order is made at the end: by instant, at one instant by name (for
 * the stage type: in the order of the lifecycle).
 */
#include "leadscore.h"
#include "stage/stage.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_timeline_add);
PG_FUNCTION_INFO_V1(leadscore_timeline_add_until);
PG_FUNCTION_INFO_V1(leadscore_timeline_add_stage);
PG_FUNCTION_INFO_V1(leadscore_timeline_combine);
PG_FUNCTION_INFO_V1(leadscore_path_final);
PG_FUNCTION_INFO_V1(leadscore_path_stage_final);
PG_FUNCTION_INFO_V1(leadscore_time_in_state_final);

#define TIMELINE_MAGIC	0x4C540001	/* "LT", version 1 */

typedef struct Timeline
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint32		magic;
	uint32		used;			/* bytes of data */
	uint32		nentries;
	int64		until;			/* of time_in_state; DT_NOEND: none */
	char		data[FLEXIBLE_ARRAY_MEMBER];	/* instant (8), length (4), name; unaligned */
} Timeline;

#define ENTRY_HEADER	(sizeof(int64) + sizeof(uint32))
#define FIRST_ROOM		104

typedef struct Entry
{
	int64		at;
	uint32		len;
	const char *name;
} Entry;

static Timeline *
check_timeline(Timeline *t)
{
	Size		size = VARSIZE(t);

	if (size < offsetof(Timeline, data) || t->magic != TIMELINE_MAGIC ||
		t->used > size - offsetof(Timeline, data) || t->nentries > t->used / ENTRY_HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the state of path or time_in_state is damaged")));
	return t;
}

/* With room for so many more bytes; a new one if there is none */
static Timeline *
timeline_with_room(Timeline *old, uint64 more)
{
	uint64		used = old ? old->used : 0;
	Size		room = old ? VARSIZE(old) - offsetof(Timeline, data) : 0;
	Timeline   *t;

	if (old && used + more <= room)
		return old;
	if (used + more > MaxAllocSize / 2 - 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many stages in one group")));
	room = Max(FIRST_ROOM, (used + more) * 2);
	t = palloc0(offsetof(Timeline, data) + room);
	if (old)
		memcpy(t, old, offsetof(Timeline, data) + used);
	SET_VARSIZE(t, offsetof(Timeline, data) + room);
	t->magic = TIMELINE_MAGIC;
	if (!old)
		t->until = DT_NOEND;
	return t;
}

static void
check_context(FunctionCallInfo fcinfo)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can only be called as part of an aggregate")));
}

static Timeline *
append_entry(Timeline *t, int64 at, const char *name, uint32 len)
{
	char	   *p;

	t = timeline_with_room(t, ENTRY_HEADER + len);
	p = t->data + t->used;
	memcpy(p, &at, sizeof(at));
	memcpy(p + sizeof(at), &len, sizeof(len));
	memcpy(p + ENTRY_HEADER, name, len);
	t->used += ENTRY_HEADER + len;
	t->nentries++;
	return t;
}

static Timeline *
state_arg(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? NULL : check_timeline((Timeline *) PG_GETARG_BYTEA_P(0));
}

/* (state, stage, at): a row without a stage or an instant says nothing */
static Timeline *
add_entry(FunctionCallInfo fcinfo)
{
	Timeline   *t = state_arg(fcinfo);
	text	   *name;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return t;
	name = PG_GETARG_TEXT_PP(1);
	return append_entry(t, PG_GETARG_TIMESTAMPTZ(2), VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

Datum
leadscore_timeline_add(PG_FUNCTION_ARGS)
{
	Timeline   *t;

	check_context(fcinfo);
	t = add_entry(fcinfo);
	if (t == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(t);
}

/* (state, stage of the type, at): its one byte, which sorts as the stages do */
Datum
leadscore_timeline_add_stage(PG_FUNCTION_ARGS)
{
	Timeline   *t;

	check_context(fcinfo);
	t = state_arg(fcinfo);
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
	{
		char		stage = (char) PG_GETARG_STAGE(1);

		t = append_entry(t, PG_GETARG_TIMESTAMPTZ(2), &stage, 1);
	}
	if (t == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(t);
}

/* (state, stage, at, until) */
Datum
leadscore_timeline_add_until(PG_FUNCTION_ARGS)
{
	Timeline   *t;
	int64		until = PG_ARGISNULL(3) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(3);

	check_context(fcinfo);
	t = add_entry(fcinfo);
	if (t == NULL)
		PG_RETURN_NULL();
	if (t->nentries > 1 && !PG_ARGISNULL(0) && t->until != until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"until\" of time_in_state changes within a group"),
				 errhint("It must be the same for all rows of a group.")));
	t->until = until;
	PG_RETURN_POINTER(t);
}

Datum
leadscore_timeline_combine(PG_FUNCTION_ARGS)
{
	Timeline   *a,
			   *b;

	check_context(fcinfo);
	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	b = check_timeline((Timeline *) PG_GETARG_BYTEA_P(1));
	if (PG_ARGISNULL(0))
		PG_RETURN_POINTER(b);
	a = check_timeline((Timeline *) PG_GETARG_BYTEA_P(0));
	if (a->until != b->until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"until\" of time_in_state changes within a group")));
	a = timeline_with_room(a, b->used);
	memcpy(a->data + a->used, b->data, b->used);
	a->used += b->used;
	a->nentries += b->nentries;
	PG_RETURN_POINTER(a);
}

static int
entry_order(const Entry *a, const Entry *b)
{
	int			c;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	c = memcmp(a->name, b->name, Min(a->len, b->len));
	return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE Entry
#define ST_COMPARE(a, b) entry_order(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static Entry *
sorted_entries(const Timeline *t)
{
	Entry	   *e = palloc_extended(Max(t->nentries, 1) * sizeof(Entry), MCXT_ALLOC_HUGE);
	uint32		pos = 0,
				i;

	for (i = 0; i < t->nentries; i++)
	{
		if (pos + ENTRY_HEADER > t->used)
			break;
		memcpy(&e[i].at, t->data + pos, sizeof(int64));
		memcpy(&e[i].len, t->data + pos + sizeof(int64), sizeof(uint32));
		e[i].name = t->data + pos + ENTRY_HEADER;
		if (e[i].len > t->used - pos - ENTRY_HEADER)
			break;
		pos += ENTRY_HEADER + e[i].len;
	}
	if (i < t->nentries || pos != t->used)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the state of path or time_in_state is damaged")));
	sort_entries(e, t->nentries);
	return e;
}

/* text[]: the stages in order, repeats and all; NULL of nothing */
Datum
leadscore_path_final(PG_FUNCTION_ARGS)
{
	Timeline   *t;
	Entry	   *e;
	Datum	   *elems;
	uint32		i;

	check_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = check_timeline((Timeline *) PG_GETARG_BYTEA_P(0));
	e = sorted_entries(t);
	elems = palloc_extended(Max(t->nentries, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	for (i = 0; i < t->nentries; i++)
		elems[i] = PointerGetDatum(cstring_to_text_with_len(e[i].name, e[i].len));
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, t->nentries, TEXTOID, -1, false, TYPALIGN_INT));
}

/* leadscore.stage[] */
Datum
leadscore_path_stage_final(PG_FUNCTION_ARGS)
{
	Oid			stage_type = get_element_type(get_fn_expr_rettype(fcinfo->flinfo));
	Timeline   *t;
	Entry	   *e;
	Datum	   *elems;
	uint32		i;

	check_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = check_timeline((Timeline *) PG_GETARG_BYTEA_P(0));
	e = sorted_entries(t);
	elems = palloc_extended(Max(t->nentries, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	for (i = 0; i < t->nentries; i++)
	{
		if (e[i].len != 1)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the state of path is damaged")));
		elems[i] = StageGetDatum((uint8) e[i].name[0]);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, t->nentries, stage_type, 1, true, TYPALIGN_CHAR));
}

typedef struct StateTime
{
	const Entry *entry;
	int64		usecs;
} StateTime;

/*
 * jsonb: days in each state. The last state lasts until "until"; without one, or
 * with one before it began, it has lasted 0 days. What begins after "until" is
 * left out, and what goes on then is cut there.
 */
Datum
leadscore_time_in_state_final(PG_FUNCTION_ARGS)
{
	Timeline   *t;
	Entry	   *e;
	StateTime  *states;
	uint32		nstates = 0,
				i,
				k;
	JsonbParseState *parse = NULL;
	JsonbValue *result;

	check_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = check_timeline((Timeline *) PG_GETARG_BYTEA_P(0));
	e = sorted_entries(t);
	states = palloc_extended(Max(t->nentries, 1) * sizeof(StateTime), MCXT_ALLOC_HUGE);
	for (i = 0; i < t->nentries; i++)
	{
		int64		from = e[i].at,
					to = i + 1 < t->nentries ? e[i + 1].at : t->until == DT_NOEND ? from : t->until;

		if (from > t->until)
			break;
		to = Min(to, t->until);
		if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("time_in_state cannot count to or from infinity")));
		for (k = 0; k < nstates; k++)
			if (states[k].entry->len == e[i].len && memcmp(states[k].entry->name, e[i].name, e[i].len) == 0)
				break;
		if (k == nstates)
		{
			states[nstates].entry = &e[i];
			states[nstates++].usecs = 0;
		}
		states[k].usecs += to - from;
	}
	pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	for (k = 0; k < nstates; k++)
	{
		JsonbValue	key,
					value;

		key.type = jbvString;
		key.val.string.val = unconstify(char *, states[k].entry->name);
		key.val.string.len = states[k].entry->len;
		pushJsonbValue(&parse, WJB_KEY, &key);
		value.type = jbvNumeric;
		value.val.numeric = DatumGetNumeric(DirectFunctionCall2(numeric_round,
			DirectFunctionCall1(float8_numeric, Float8GetDatum(states[k].usecs / (double) USECS_PER_DAY)),
			Int32GetDatum(6)));
		pushJsonbValue(&parse, WJB_VALUE, &value);
	}
	result = pushJsonbValue(&parse, WJB_END_OBJECT, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(result));
}
