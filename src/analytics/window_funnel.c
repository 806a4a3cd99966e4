/*
 * window_funnel.c
 *	  The aggregate window_funnel: how many steps of a funnel one lead took, in
 *	  order and within a window of time.
 *
 * The state is a plain bytea: a header with the parameters, then the events
 * (instant, set of steps that the event is). It can be split anywhere and put
 * together again: combining is joining the lists, and the order is made at the
 * end, where it depends on nothing but the events. The transition function adds
 * to the state in place, leaving room as it grows, as any aggregate may do with
 * its own state. Definitions, with the truth table, in docs/analytics.md.
 */
#include "leadscore.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_window_funnel_step);
PG_FUNCTION_INFO_V1(leadscore_window_funnel_conditions);
PG_FUNCTION_INFO_V1(leadscore_window_funnel_stage);
PG_FUNCTION_INFO_V1(leadscore_window_funnel_combine);
PG_FUNCTION_INFO_V1(leadscore_window_funnel_final);

#define MAX_STEPS		64
#define STATE_MAGIC		0x4C57		/* "LW"; another for another layout */
#define FIRST_EVENTS	5			/* header and these fill a cache line */

#define FLAG_UNSORTED	1			/* some event is earlier than the one before it */
#define FLAG_WIDE		2			/* events are FunnelEvent, not one word each */

typedef enum FunnelMode
{
	MODE_ORDERED,
	MODE_STRICT_ORDER,
	MODE_STRICT_INCREASE,
	MODE_REENTRY,
	MODE_ONCE,
	N_MODES
} FunnelMode;

static const char *const mode_names[N_MODES] = {
	"ordered", "strict_order", "strict_increase", "reentry", "once"
};

typedef struct FunnelEvent
{
	int64		at;
	uint64		steps;			/* bit i: the event is step i + 1 */
} FunnelEvent;

/*
 * Most events are one step, at an instant within a thousand years of ours: they
 * take one word, the instant and below it the number of the step less one (or
 * NO_STEP), which sorts as events do. A state that has any other event is wide.
 * With a million groups it is the bytes touched that take the time.
 */
#define STEP_BITS		7
#define NO_STEP			127

typedef struct FunnelState
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint16		magic;
	uint8		mode;
	uint8		flags;
	uint32		nevents;
	uint16		nwindows;		/* step windows: as many words before the events */
	uint16		unused;
	int64		window;			/* microseconds */
	int64		data[FLEXIBLE_ARRAY_MEMBER];
} FunnelState;

#define EVENT_SIZE(flags) (((flags) & FLAG_WIDE) ? sizeof(FunnelEvent) : sizeof(int64))
#define STATE_SIZE(flags, nwindows, nevents) \
	add_size(add_size(offsetof(FunnelState, data), (Size) (nwindows) * sizeof(int64)), \
			 mul_size(EVENT_SIZE(flags), nevents))
#define STATE_ROOM(s) ((VARSIZE(s) - offsetof(FunnelState, data) - (s)->nwindows * sizeof(int64)) >> \
					   (((s)->flags & FLAG_WIDE) ? 4 : 3))
#define STATE_WORDS(s) ((s)->data + (s)->nwindows)
#define STATE_EVENTS(s) ((FunnelEvent *) STATE_WORDS(s))

/* What the parameters say, kept from call to call while they stay the same */
typedef struct FunnelParams
{
	int64		window;
	Interval	interval;
	FunnelMode	mode;
	int			mode_len;
	char		mode_text[32];
	ArrayType  *windows_array;	/* copy, or NULL */
	int			nwindows;
	int64		windows[MAX_STEPS];
	bool		known;

	ArrayType  *steps_array;	/* copy of the names of the steps */
	int			nsteps;
	const char *step_text[MAX_STEPS];
	int			step_len[MAX_STEPS];
} FunnelParams;

/* ---------- parameters ---------- */

/* As extract(epoch): a month counts 30 days, a year 365.25 */
static int64
interval_usecs(const Interval *i, const char *what)
{
	double		usecs;

	usecs = (double) i->time + i->day * (double) USECS_PER_DAY +
		(i->month / MONTHS_PER_YEAR) * (DAYS_PER_YEAR * USECS_PER_DAY) +
		(i->month % MONTHS_PER_YEAR) * (DAYS_PER_MONTH * (double) USECS_PER_DAY);
	if (!(usecs >= 0) || usecs > 9.2e18)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative, nor longer than 292000 years", what)));
	return (int64) usecs;
}

static FunnelMode
mode_from_text(const char *s, int len)
{
	int			m;

	for (m = 0; m < N_MODES; m++)
		if (strlen(mode_names[m]) == (size_t) len && memcmp(mode_names[m], s, len) == 0)
			return m;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a mode of window_funnel", pnstrdup(s, len)),
			 errhint("The modes are ordered, strict_order, strict_increase, reentry and once.")));
}

static bool
same_array(const ArrayType *a, const ArrayType *b)
{
	return a && b && VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

static ArrayType *
keep_array(FunctionCallInfo fcinfo, ArrayType *old, const ArrayType *a)
{
	ArrayType  *copy = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, VARSIZE(a));

	memcpy(copy, a, VARSIZE(a));
	if (old)
		pfree(old);
	return copy;
}

static void
read_step_windows(FunctionCallInfo fcinfo, FunnelParams *p, const ArrayType *a)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n,
				i;

	p->known = false;
	p->windows_array = keep_array(fcinfo, p->windows_array, a);
	deconstruct_array(p->windows_array, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE,
					  &elems, &nulls, &n);
	if (n >= MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%d windows between steps, where a funnel has at most %d", n, MAX_STEPS - 1)));
	for (i = 0; i < n; i++)
		p->windows[i] = nulls[i] ? PG_INT64_MAX :
			interval_usecs(DatumGetIntervalP(elems[i]), "the window of a step");
	p->nwindows = n;
}

/*
 * The arguments after the event: window [, mode [, step windows]]. They belong
 * to the call of the aggregate, not to the row, so they rarely change.
 */
static FunnelParams *
get_params(FunctionCallInfo fcinfo, int arg)
{
	FunnelParams *p = fcinfo->flinfo->fn_extra;
	Interval   *window;

	if (p == NULL)
		p = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FunnelParams));
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the window of window_funnel must not be NULL")));
	window = PG_GETARG_INTERVAL_P(arg);
	if (!p->known || memcmp(window, &p->interval, sizeof(Interval)) != 0)
	{
		p->known = false;
		p->window = interval_usecs(window, "the window");
		p->interval = *window;
	}
	if (PG_NARGS() > arg + 1)
	{
		if (PG_ARGISNULL(arg + 1))
			p->mode = MODE_ORDERED;
		else
		{
			text	   *mode = PG_GETARG_TEXT_PP(arg + 1);
			int			len = VARSIZE_ANY_EXHDR(mode);

			if (!p->known || len != p->mode_len || memcmp(VARDATA_ANY(mode), p->mode_text, len) != 0)
			{
				p->known = false;
				p->mode = mode_from_text(VARDATA_ANY(mode), len);
				p->mode_len = len;
				memcpy(p->mode_text, VARDATA_ANY(mode), len);
			}
		}
	}
	if (PG_NARGS() > arg + 2)
	{
		if (PG_ARGISNULL(arg + 2))
			p->nwindows = 0;
		else
		{
			ArrayType  *a = PG_GETARG_ARRAYTYPE_P(arg + 2);

			if (!same_array(a, p->windows_array))
				read_step_windows(fcinfo, p, a);
		}
	}
	p->known = true;
	return p;
}

/* ---------- state ---------- */

/* Anybody may build an aggregate on our functions: believe no state unseen. */
static FunnelState *
check_state(FunnelState *s)
{
	Size		size = VARSIZE(s);

	/* within a tuple a bytea is aligned for int32 only */
	if ((uintptr_t) s % sizeof(int64) != 0)
	{
		FunnelState *copy = palloc(size);

		memcpy(copy, s, size);
		s = copy;
	}

	if (size < offsetof(FunnelState, data) || s->magic != STATE_MAGIC || s->mode >= N_MODES ||
		s->nwindows >= MAX_STEPS || s->flags > (FLAG_UNSORTED | FLAG_WIDE) || s->window < 0 ||
		size < STATE_SIZE(s->flags, s->nwindows, 0) || s->nevents > STATE_ROOM(s))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the state of window_funnel is damaged")));
	return s;
}

static inline bool
fits_word(int64 at, uint64 steps)
{
	return (steps & (steps - 1)) == 0 &&
		at > -(INT64CONST(1) << (62 - STEP_BITS)) && at < (INT64CONST(1) << (62 - STEP_BITS));
}

static inline int64
event_to_word(int64 at, uint64 steps)
{
	return at * (1 << STEP_BITS) + (steps == 0 ? NO_STEP : pg_rightmost_one_pos64(steps));
}

static inline FunnelEvent
word_to_event(int64 word)
{
	FunnelEvent e;
	int			step = (int) (word & ((1 << STEP_BITS) - 1));

	e.at = word >> STEP_BITS;
	e.steps = step >= MAX_STEPS ? 0 : UINT64CONST(1) << step;
	return e;
}

/* The events as they are in a wide state */
static void
copy_events(FunnelEvent *to, FunnelState *s)
{
	uint32		i;

	if (s->flags & FLAG_WIDE)
		memcpy(to, STATE_EVENTS(s), s->nevents * sizeof(FunnelEvent));
	else
		for (i = 0; i < s->nevents; i++)
			to[i] = word_to_event(STATE_WORDS(s)[i]);
}

static inline int64
event_instant(FunnelState *s, uint32 i)
{
	return (s->flags & FLAG_WIDE) ? STATE_EVENTS(s)[i].at : word_to_event(STATE_WORDS(s)[i]).at;
}

/* A state with room for so many events, made wide if asked, else the same */
static FunnelState *
grown_state(FunnelState *old, uint64 maxevents, bool wide)
{
	uint8		flags = old->flags | (wide ? FLAG_WIDE : 0);
	FunnelState *s;
	Size		size;

	if (maxevents > (MaxAllocSize - 4096) / sizeof(FunnelEvent))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one group of window_funnel")));
	size = STATE_SIZE(flags, old->nwindows, maxevents);
	/* zeroes: bytes that are copied and maybe stored should not be chance */
	s = palloc0(size);
	memcpy(s, old, STATE_SIZE(old->flags, old->nwindows, 0));
	SET_VARSIZE(s, size);
	s->flags = flags;
	if (flags & FLAG_WIDE)
		copy_events(STATE_EVENTS(s), old);
	else
		memcpy(STATE_WORDS(s), STATE_WORDS(old), old->nevents * sizeof(int64));
	return s;
}

static FunnelState *
new_state(const FunnelParams *p)
{
	Size		size = STATE_SIZE(0, p->nwindows, FIRST_EVENTS);
	FunnelState *s = palloc0(size);

	SET_VARSIZE(s, size);
	s->magic = STATE_MAGIC;
	s->mode = p->mode;
	s->window = p->window;
	s->nwindows = p->nwindows;
	memcpy(s->data, p->windows, p->nwindows * sizeof(int64));
	return s;
}

static inline bool
same_params(const FunnelState *a, int64 window, int mode, int nwindows, const int64 *windows)
{
	return a->window == window && a->mode == mode && a->nwindows == nwindows &&
		(nwindows == 0 || memcmp(a->data, windows, nwindows * sizeof(int64)) == 0);
}

static void
params_differ(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the window or the mode of window_funnel changes within a group"),
			 errhint("They must be the same for all rows of a group.")));
}

/* Add one event; steps of 0 matter only where other events can cut the chain. */
static Datum
add_event(FunctionCallInfo fcinfo, const FunnelParams *p, int64 at, uint64 steps)
{
	FunnelState *s;

	if (PG_ARGISNULL(0))
		s = new_state(p);
	else
	{
		s = check_state((FunnelState *) PG_GETARG_BYTEA_P(0));
		if (!same_params(s, p->window, p->mode, p->nwindows, p->windows))
			params_differ();
	}
	if (steps == 0 && s->mode != MODE_STRICT_ORDER)
		PG_RETURN_POINTER(s);

	/* what we return lies in the short-lived context: nodeAgg copies it */
	if (!(s->flags & FLAG_WIDE) && !fits_word(at, steps))
		s = grown_state(s, (uint64) s->nevents * 2 + FIRST_EVENTS, true);
	else if (s->nevents == STATE_ROOM(s))
		s = grown_state(s, (uint64) s->nevents * 2 + 1, false);
	if (s->nevents > 0 && event_instant(s, s->nevents - 1) > at)
		s->flags |= FLAG_UNSORTED;
	if (s->flags & FLAG_WIDE)
	{
		STATE_EVENTS(s)[s->nevents].at = at;
		STATE_EVENTS(s)[s->nevents].steps = steps;
	}
	else
		STATE_WORDS(s)[s->nevents] = event_to_word(at, steps);
	s->nevents++;
	PG_RETURN_POINTER(s);
}

static void
check_context(FunctionCallInfo fcinfo)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function can only be called as part of the aggregate window_funnel")));
}

static Datum
unchanged(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* ---------- transition functions: (state, at, what, window ...) ---------- */

/* ... , step number from 1; anything else is an event that is no step */
Datum
leadscore_window_funnel_step(PG_FUNCTION_ARGS)
{
	FunnelParams *p;
	int32		step;

	check_context(fcinfo);
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	p = get_params(fcinfo, 3);
	step = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	if (step < 0 || step > MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("step %d is not between 0 and %d", step, MAX_STEPS)));
	return add_event(fcinfo, p, PG_GETARG_TIMESTAMPTZ(1),
					 step == 0 ? 0 : UINT64CONST(1) << (step - 1));
}

/* ... , array of conditions: element i is true when the event is step i */
Datum
leadscore_window_funnel_conditions(PG_FUNCTION_ARGS)
{
	FunnelParams *p;
	ArrayType  *a;
	uint64		steps = 0;
	int			n,
				i;

	check_context(fcinfo);
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	p = get_params(fcinfo, 3);
	if (!PG_ARGISNULL(2))
	{
		const bool *v;

		a = PG_GETARG_ARRAYTYPE_P(2);
		n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
		if (ARR_NDIM(a) > 1 || n > MAX_STEPS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the conditions must be an array of one dimension with at most %d elements", MAX_STEPS)));
		v = (const bool *) ARR_DATA_PTR(a);
		if (!ARR_HASNULL(a))
		{
			for (i = 0; i < n; i++)
				steps |= (uint64) (v[i] != 0) << i;
		}
		else
		{
			const bits8 *nulls = ARR_NULLBITMAP(a);

			for (i = 0; i < n; i++)
				if (nulls[i / 8] & (1 << (i % 8)))
					steps |= (uint64) (*v++ != 0) << i;
		}
	}
	return add_event(fcinfo, p, PG_GETARG_TIMESTAMPTZ(1), steps);
}

/* ... , name of a stage, names of the steps */
Datum
leadscore_window_funnel_stage(PG_FUNCTION_ARGS)
{
	FunnelParams *p;
	ArrayType  *a;
	uint64		steps = 0;

	check_context(fcinfo);
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	p = get_params(fcinfo, 4);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the steps of window_funnel must not be NULL")));
	a = PG_GETARG_ARRAYTYPE_P(3);
	if (!same_array(a, p->steps_array))
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		Datum	   *elems;
		bool	   *nulls;
		int			n,
					i;

		p->nsteps = 0;
		p->steps_array = keep_array(fcinfo, p->steps_array, a);
		deconstruct_array(p->steps_array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
		if (n > MAX_STEPS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("window_funnel has at most %d steps, not %d", MAX_STEPS, n)));
		for (i = 0; i < n; i++)
		{
			/* a step of NULL matches nothing */
			p->step_text[i] = nulls[i] ? NULL : VARDATA_ANY(DatumGetPointer(elems[i]));
			p->step_len[i] = nulls[i] ? -1 : (int) VARSIZE_ANY_EXHDR(DatumGetPointer(elems[i]));
		}
		p->nsteps = n;
		pfree(elems);
		pfree(nulls);
		MemoryContextSwitchTo(old);
	}
	if (!PG_ARGISNULL(2))
	{
		text	   *stage = PG_GETARG_TEXT_PP(2);
		int			len = VARSIZE_ANY_EXHDR(stage);
		const char *s = VARDATA_ANY(stage);
		int			i;

		for (i = 0; i < p->nsteps; i++)
			if (len == p->step_len[i] && memcmp(s, p->step_text[i], len) == 0)
				steps |= UINT64CONST(1) << i;
	}
	return add_event(fcinfo, p, PG_GETARG_TIMESTAMPTZ(1), steps);
}

Datum
leadscore_window_funnel_combine(PG_FUNCTION_ARGS)
{
	FunnelState *a,
			   *b,
			   *s;
	bool		wide;

	check_context(fcinfo);
	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	b = check_state((FunnelState *) PG_GETARG_BYTEA_P(1));
	if (PG_ARGISNULL(0))
		PG_RETURN_POINTER(b);
	a = check_state((FunnelState *) PG_GETARG_BYTEA_P(0));
	if (!same_params(a, b->window, b->mode, b->nwindows, b->data))
		params_differ();
	if (b->nevents == 0)
		PG_RETURN_POINTER(a);
	s = a;
	wide = ((a->flags | b->flags) & FLAG_WIDE) != 0;
	if ((wide && !(a->flags & FLAG_WIDE)) || (uint64) a->nevents + b->nevents > STATE_ROOM(a))
		s = grown_state(a, ((uint64) a->nevents + b->nevents) * 2, wide);
	s->flags |= b->flags & FLAG_UNSORTED;
	if (s->nevents > 0 && event_instant(s, s->nevents - 1) > event_instant(b, 0))
		s->flags |= FLAG_UNSORTED;
	if (wide)
		copy_events(STATE_EVENTS(s) + s->nevents, b);
	else
		memcpy(STATE_WORDS(s) + s->nevents, STATE_WORDS(b), b->nevents * sizeof(int64));
	s->nevents += b->nevents;
	PG_RETURN_POINTER(s);
}

/* ---------- the answer ---------- */

/*
 * Order of events: by instant; at one instant by the first step they are, those
 * that are none last; then by the set of steps. Nothing is left to chance.
 */
static inline int
event_order(const FunnelEvent *a, const FunnelEvent *b)
{
	uint64		la = a->steps & (~a->steps + 1),
				lb = b->steps & (~b->steps + 1);

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (la != lb)
		return la - 1 < lb - 1 ? -1 : 1;	/* 0 - 1 is the largest */
	return (a->steps > b->steps) - (a->steps < b->steps);
}

#define ST_SORT sort_events
#define ST_ELEMENT_TYPE FunnelEvent
#define ST_COMPARE(a, b) event_order(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * The chains under way: for each number of steps taken, the one that started
 * last. It also took its last step last, so where it is too old for a window,
 * so is every other: no chain has to be remembered but this.
 */
typedef struct Chains
{
	uint64		have;
	int64		start[MAX_STEPS];
	int64		last[MAX_STEPS];
	int			best;
} Chains;

static inline bool
take_step(const FunnelState *s, Chains *c, int step, int64 at)
{
	if (step == 0)
		c->start[0] = at;
	else
	{
		if (!(c->have & (UINT64CONST(1) << (step - 1))))
			return false;
		/* unsigned: instants may be further apart than an int64 can tell */
		if ((uint64) at - (uint64) c->start[step - 1] > (uint64) s->window)
			return false;
		if (step <= s->nwindows &&
			(uint64) at - (uint64) c->last[step - 1] > (uint64) s->data[step - 1])
			return false;
		c->start[step] = c->start[step - 1];
	}
	c->last[step] = at;
	c->have |= UINT64CONST(1) << step;
	c->best = Max(c->best, step + 1);
	return true;
}

static inline void
take_steps(const FunnelState *s, Chains *c, uint64 steps, int64 at, bool downward)
{
	while (steps != 0)
	{
		int			step = downward ? pg_leftmost_one_pos64(steps) : pg_rightmost_one_pos64(steps);

		steps &= ~(UINT64CONST(1) << step);
		(void) take_step(s, c, step, at);
	}
}

/*
 * Strict order: an event must be the next step of a chain or repeat one that it
 * has taken; any other event cuts it. Here a chain stands only at the last step
 * it has taken. A chain that started later is never ahead of one that started
 * before it, and replaces it where it catches up.
 */
static void
strict_event(const FunnelState *s, Chains *c, uint64 steps, int64 at)
{
	uint64		have = c->have;
	int			level;

	while (have != 0)
	{
		uint64		bit;

		level = pg_leftmost_one_pos64(have);
		bit = UINT64CONST(1) << level;
		have &= ~bit;
		if (level + 1 < MAX_STEPS && (steps & (bit << 1)))
		{
			c->have &= ~bit;
			while (level + 1 < MAX_STEPS && (steps & (UINT64CONST(1) << (level + 1))))
			{
				bool		taken;

				/* the chain stands at this level for the length of the call */
				c->have |= UINT64CONST(1) << level;
				taken = take_step(s, c, level + 1, at);
				c->have &= ~(UINT64CONST(1) << level);
				if (!taken)
					break;
				level++;
			}
		}
		else if (steps & bit)
			c->last[level] = at;
		else if ((steps & (bit - 1)) == 0)
			c->have &= ~bit;
	}
	if (steps & 1)
	{
		(void) take_step(s, c, 0, at);
		for (level = 0; level + 1 < MAX_STEPS && (steps & (UINT64CONST(1) << (level + 1))); level++)
		{
			(void) take_step(s, c, level + 1, at);
			c->have &= ~(UINT64CONST(1) << level);
		}
	}
}

Datum
leadscore_window_funnel_final(PG_FUNCTION_ARGS)
{
	FunnelState *s;
	FunnelEvent few[16];
	FunnelEvent *e;
	Chains		c;
	uint32		i;

	check_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	s = check_state((FunnelState *) PG_GETARG_BYTEA_P(0));

	/* a copy, since other aggregates may share the state */
	e = s->nevents <= lengthof(few) ? few : palloc(s->nevents * sizeof(FunnelEvent));
	copy_events(e, s);
	if (s->nevents > 1 && ((s->flags & FLAG_UNSORTED) || s->mode != MODE_ORDERED))
		sort_events(e, s->nevents);

	c.have = 0;
	c.best = 0;
	for (i = 0; i < s->nevents;)
	{
		int64		at = e[i].at;
		uint64		steps = e[i++].steps;

		switch ((FunnelMode) s->mode)
		{
			case MODE_ONCE:
				/* downward, a step cannot build on the one just taken */
				take_steps(s, &c, steps, at, true);
				break;
			case MODE_STRICT_ORDER:
				strict_event(s, &c, steps, at);
				break;
			case MODE_ORDERED:
			case MODE_STRICT_INCREASE:
			case MODE_REENTRY:
			case N_MODES:
				/* all that happens at one instant together */
				while (i < s->nevents && e[i].at == at)
					steps |= e[i++].steps;
				if (s->mode == MODE_REENTRY && (steps & 1))
					c.have = 0;
				take_steps(s, &c, steps, at, s->mode == MODE_STRICT_INCREASE);
				break;
		}
	}
	PG_RETURN_INT32(c.best);
}
