/*
 * funnel.c
 *	  funnel(): how many leads reach each stage, where they are now, and how long
 *	  the step takes; journeys(): the same facts lead by lead.
 *
 * Everything is said of leads, not of moves: a lead that comes back to a stage
 * has reached it once. For each stage that a lead has reached there is one
 * answer: it moved on to a higher stage of the funnel, or it is in the stage
 * now, or it is lost, or it is elsewhere. The definitions are in
 * docs/analytics.md; tests check them against plain SQL.
 */
#include "report.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/timestamp.h"

#include <math.h>

PG_FUNCTION_INFO_V1(leadscore_funnel);
PG_FUNCTION_INFO_V1(leadscore_journeys);
PG_FUNCTION_INFO_V1(leadscore_wilson);

/* What one lead did; arrays are by stage of the funnel */
typedef struct Journey
{
	uint64		reached;		/* sets of stages */
	uint64		moved;			/* ... from which it moved on */
	uint64		negative;		/* ... left before they were entered */
	int			highest;		/* -1: never in the funnel */
	uint16		last;			/* stage it is in, of all stages */
	TimestampTz last_at;		/* since when */
	uint32		back;			/* entries to a stage it had been in before */
	TimestampTz first_at[LS_MAX_FUNNEL_STAGES];
	TimestampTz moved_at[LS_MAX_FUNNEL_STAGES];
	uint32		entries[LS_MAX_FUNNEL_STAGES];
} Journey;

static void
follow(const LsJourneys *j, const LsLead *lead, Journey *y)
{
	const LsQuery *q = j->query;
	const LsMove *m = &j->moves[lead->first];
	const int	opening = m->stage;
	uint16		previous = LS_NO_STAGE;
	uint64		wait;
	uint32		i;
	int			s;

	y->reached = y->moved = y->negative = 0;
	y->highest = -1;
	y->back = 0;
	for (i = 0; i < lead->nmoves; i++, m++)
	{
		s = m->stage;
		if (s == previous)
			continue;			/* a row that repeats the stage is no move */

		/*
		 * A move dated before the one it follows (by sequence), or out of a
		 * stage that is entered only later (by the row's own word).
		 */
		if (i > 0 && m->at < m[-1].at && previous < q->nfunnel)
			y->negative |= UINT64CONST(1) << previous;
		if (!q->by_sequence && m->from < q->nfunnel && m->from != s &&
			!(y->reached & (UINT64CONST(1) << m->from)))
		{
			uint32		k;

			for (k = i + 1; k < lead->nmoves; k++)
				if (j->moves[lead->first + k].stage == m->from)
				{
					y->negative |= UINT64CONST(1) << m->from;
					break;
				}
		}

		/* or it opens with an end: then its close is dated before its opening */
		if (i > 0 && s < q->nfunnel && j->stages[s].kind == LS_STAGE_OPEN && !lead->adopted &&
			!(y->reached & (UINT64CONST(1) << s)) &&
			(j->stages[opening].kind == LS_STAGE_WON || j->stages[opening].kind == LS_STAGE_LOST))
			y->negative |= UINT64CONST(1) << s;

		if (s < q->nfunnel)
		{
			uint64		bit = UINT64CONST(1) << s;

			for (wait = y->reached & ~y->moved & (bit - 1); wait != 0; wait &= wait - 1)
			{
				int			k = pg_rightmost_one_pos64(wait);

				y->moved |= UINT64CONST(1) << k;
				y->moved_at[k] = m->at;
			}
			if (!(y->reached & bit))
			{
				y->reached |= bit;
				y->first_at[s] = m->at;
				y->entries[s] = 0;
				y->highest = Max(y->highest, s);
			}
			else
				y->back++;
			y->entries[s]++;
		}
		previous = s;
		y->last_at = m->at;
	}
	y->last = previous;
}

/* ---------- funnel ---------- */

typedef struct StageCount
{
	int64		reached;
	int64		moved;
	int64		here;
	int64		lost;
	int64		reentries;
	int64		skipped;
	int64		negative;
	LsDoubles	days;
} StageCount;

typedef struct GroupCount
{
	int64		leads;
	StageCount *stages;
} GroupCount;

static void
count_lead(const LsJourneys *j, const LsLead *lead, GroupCount *g)
{
	const LsQuery *q = j->query;
	Journey		y;
	int			s;

	follow(j, lead, &y);
	g->leads++;
	for (s = 0; s < q->nfunnel; s++)
	{
		StageCount *c = &g->stages[s];
		uint64		bit = UINT64CONST(1) << s;

		if (!(y.reached & bit))
		{
			c->skipped += s < y.highest;
			continue;
		}
		c->reached++;
		c->reentries += y.entries[s] - 1;
		c->negative += (y.negative & bit) != 0;
		if (y.moved & bit)
		{
			c->moved++;

			/* the entry of an adopted lead is not known, so its days are not */
			if (!(lead->adopted && y.first_at[s] == j->moves[lead->first].at))
				ls_doubles_add(&c->days, (y.moved_at[s] - y.first_at[s]) / LS_USECS_PER_DAY);
		}
		else if (y.last == s)
			c->here++;
		else if (y.last != LS_NO_STAGE && j->stages[y.last].kind == LS_STAGE_LOST)
			c->lost++;
	}
}

static void
put_share(LsRow *row, int64 part, int64 whole)
{
	if (whole == 0)
	{
		ls_row_null(row);
		ls_row_null(row);
		ls_row_null(row);
	}
	else
	{
		LsInterval	w = ls_wilson(part, whole, LS_Z95);

		ls_row_number(row, 100.0 * part / whole, 2);
		ls_row_number(row, 100.0 * w.low, 2);
		ls_row_number(row, 100.0 * w.high, 2);
	}
}

static void
put_funnel(LsRow *row, const LsJourneys *j, const char *by, GroupCount *g)
{
	int			s;

	for (s = 0; s < j->query->nfunnel; s++)
	{
		StageCount *c = &g->stages[s];
		bool		won = j->stages[s].kind == LS_STAGE_WON;
		int64		decided = c->reached - c->here;
		double		none = get_float8_nan();

		ls_doubles_sort(&c->days);
		ls_row_text(row, by);
		ls_row_text(row, j->stages[s].name);
		ls_row_int(row, g->leads);
		ls_row_int(row, c->reached);
		ls_row_int(row, c->moved);
		ls_row_int(row, c->here);
		ls_row_int(row, c->lost);
		ls_row_int(row, c->reached - c->moved - c->here - c->lost);
		put_share(row, c->moved, won ? 0 : c->reached);
		put_share(row, c->moved, won ? 0 : decided);
		put_share(row, c->reached, g->leads);
		ls_row_number(row, c->days.n ? ls_quantile(c->days.v, c->days.n, 0.25) : none, 2);
		ls_row_number(row, c->days.n ? ls_quantile(c->days.v, c->days.n, 0.50) : none, 2);
		ls_row_number(row, c->days.n ? ls_quantile(c->days.v, c->days.n, 0.75) : none, 2);
		ls_row_int(row, c->reentries);
		ls_row_int(row, c->skipped);
		ls_row_int(row, c->negative);
		ls_row_bar(row, g->leads ? (double) c->reached / g->leads : none);
		ls_row_put(row);
	}
}

Datum
leadscore_funnel(PG_FUNCTION_ARGS)
{
	LsJourneys *j;
	LsRow		row;
	GroupCount *groups;
	uint32		i,
				ngroups;

	ls_row_begin(&row, fcinfo);
	j = ls_read_journeys(ls_query_from_args(fcinfo, NULL));

	/* without BY there is one group, even if no lead is in it */
	ngroups = j->query->nby == 0 ? 1 : j->ngroups;
	groups = palloc_extended(ngroups * sizeof(GroupCount), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < j->nleads; i++)
	{
		const LsLead *lead = &j->leads[i];
		GroupCount *g = &groups[lead->group];

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!ls_lead_counts(j, lead))
			continue;
		if (g->stages == NULL)
			g->stages = palloc0(j->query->nfunnel * sizeof(StageCount));
		count_lead(j, lead, g);
	}
	for (i = 0; i < ngroups; i++)
	{
		uint32		g = j->query->nby == 0 ? 0 : j->group_order[i];

		if (groups[g].leads == 0 && j->query->nby > 0)
			continue;
		if (groups[g].stages == NULL)
			groups[g].stages = palloc0(j->query->nfunnel * sizeof(StageCount));
		put_funnel(&row, j, j->query->nby == 0 ? NULL : j->groups[g], &groups[g]);
	}
	PG_RETURN_NULL();
}

/* ---------- journeys ---------- */

static Datum
instants_array(const Journey *y, int n)
{
	Datum		values[LS_MAX_FUNNEL_STAGES];
	bool		nulls[LS_MAX_FUNNEL_STAGES];
	int			dims[1] = {n};
	int			lbs[1] = {1};
	int			s;

	for (s = 0; s < n; s++)
	{
		nulls[s] = !(y->reached & (UINT64CONST(1) << s));
		values[s] = nulls[s] ? (Datum) 0 : TimestampTzGetDatum(y->first_at[s]);
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs, TIMESTAMPTZOID,
											  sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

Datum
leadscore_journeys(PG_FUNCTION_ARGS)
{
	const char *outcomes[] = {"open", "won", "lost", "elsewhere"};
	LsJourneys *j;
	LsRow		row;
	MemoryContext rowcontext;
	char	   *value = NULL;
	uint32		i;

	ls_row_begin(&row, fcinfo);
	if (!PG_ARGISNULL(LS_N_QUERY_ARGS))
		value = text_to_cstring(PG_GETARG_TEXT_PP(LS_N_QUERY_ARGS));
	j = ls_read_journeys(ls_query_from_args(fcinfo, value));
	rowcontext = AllocSetContextCreate(CurrentMemoryContext, "leadscore journeys",
									   ALLOCSET_SMALL_SIZES);
	for (i = 0; i < j->nleads; i++)
	{
		const LsLead *lead = &j->leads[i];
		const LsQuery *q = j->query;
		Journey		y;
		MemoryContext old;
		LsStageKind kind;

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!ls_lead_counts(j, lead))
			continue;
		old = MemoryContextSwitchTo(rowcontext);
		follow(j, lead, &y);
		kind = j->stages[y.last].kind;
		ls_row_text(&row, ls_lead_name(lead));
		ls_row_text(&row, q->nby ? j->groups[lead->group] : NULL);
		ls_row_datum(&row, TimestampTzGetDatum(j->moves[lead->first].at));
		ls_row_text(&row, j->stages[y.last].name);
		ls_row_datum(&row, TimestampTzGetDatum(y.last_at));
		ls_row_text(&row, outcomes[kind]);
		ls_row_text(&row, y.highest >= 0 ? j->stages[y.highest].name : NULL);
		ls_row_datum(&row, instants_array(&y, q->nfunnel));
		ls_row_int(&row, lead->nmoves);
		ls_row_int(&row, y.back);
		ls_row_datum(&row, BoolGetDatum(y.negative != 0));
		if (isnan(lead->value))
			ls_row_null(&row);
		else
			ls_row_datum(&row, Float8GetDatum(lead->value));
		ls_row_put(&row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(rowcontext);
	}
	PG_RETURN_NULL();
}

/* ---------- wilson ---------- */

Datum
leadscore_wilson(PG_FUNCTION_ARGS)
{
	int64		successes = PG_GETARG_INT64(0);
	int64		total = PG_GETARG_INT64(1);
	float8		confidence = PG_GETARG_FLOAT8(2);
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (successes < 0 || total < successes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("successes must be between 0 and the total"),
				 errdetail("There are " INT64_FORMAT " successes of " INT64_FORMAT ".", successes, total)));
	if (!(confidence > 0 && confidence < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("confidence must be between 0 and 1")));
	if (total == 0)
		nulls[0] = nulls[1] = true;
	else
	{
		LsInterval	w = ls_wilson(successes, total,
								  confidence == 0.95 ? LS_Z95 : ls_normal_quantile(confidence));

		values[0] = Float8GetDatum(w.low);
		values[1] = Float8GetDatum(w.high);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
