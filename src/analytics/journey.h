/*
 * journey.h
 *	  What a report asks for (LsQuery), and the journeys it gets (LsJourneys):
 *	  for each lead its moves in order, read in one pass over a history table.
 *
 * query.c turns the arguments of a reporting function into an LsQuery, journey.c
 * runs it; the reports (funnel.c, velocity.c, ...) walk over the journeys.
 */
#ifndef LS_JOURNEY_H
#define LS_JOURNEY_H

#include "leadscore.h"

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Stages of the funnel proper, so that a set of them fits a 64-bit mask. */
#define LS_MAX_FUNNEL_STAGES	64

/* Room for stages that only the history knows; stage numbers are uint16. */
#define LS_MAX_STAGES			10000

/* The stage of a lead whose row is gone (a history row with stage NULL) */
#define LS_DELETED				"(deleted)"

#define LS_NO_STAGE				PG_UINT16_MAX
#define LS_NO_GROUP				PG_UINT32_MAX

typedef enum LsStageKind
{
	LS_STAGE_OPEN,
	LS_STAGE_WON,
	LS_STAGE_LOST,
	LS_STAGE_OTHER				/* in the history, but in no list */
} LsStageKind;

typedef struct LsFunnelStage
{
	char	   *name;
	LsStageKind kind;
} LsFunnelStage;

/*
 * The first arguments of every reporting function, in this order; what follows
 * them is the function's own.
 */
typedef enum LsQueryArg
{
	LS_ARG_LEADS,
	LS_ARG_BY,
	LS_ARG_SINCE,
	LS_ARG_UNTIL,
	LS_ARG_AS_OF,
	LS_ARG_HISTORY,
	LS_ARG_STAGES,
	LS_ARG_WON,
	LS_ARG_LOST,
	LS_ARG_COLUMNS,
	LS_N_QUERY_ARGS
} LsQueryArg;

typedef struct LsQuery
{
	Oid			leads;			/* lead table, or InvalidOid */
	Oid			history;		/* history table or view */
	bool		own_history;	/* it is leadscore.stage_history */

	TimestampTz since;			/* entry of the lead: since <= entry < until */
	TimestampTz until;
	TimestampTz as_of;			/* nothing later counts */

	/* SQL that yields (lead, stage, at [, from] [, order] [, adopted]) */
	char	   *history_sql;
	int			from_col;		/* positions in that row, or -1 */
	int			order_col;
	int			adopted_col;
	bool		by_sequence;	/* order column rules, not merely breaks ties */

	/* SQL that yields (lead, by ..., value), or NULL when nothing asks for it */
	char	   *leads_sql;
	int			nby;
	bool		has_value;

	int			nfunnel;		/* stages[0 .. nfunnel-1] are the funnel */
	int			nstages;		/* then those of kind lost */
	LsFunnelStage    *stages;
} LsQuery;

typedef struct LsMove
{
	int64		key;			/* of the lead, see journey.c */
	TimestampTz at;
	int64		order;			/* sequence or tie breaker, 0 without one */
	uint16		stage;
	uint16		from;			/* LS_NO_STAGE: not told */
	uint32		adopted;		/* the lead was there already: when it entered is not known */
} LsMove;

typedef struct LsLead
{
	int64		intkey;			/* the key, if it is an integer ... */
	char	   *textkey;		/* ... else its text, else NULL */
	uint32		group;			/* 0 without BY */
	uint32		nmoves;
	uint32		first;			/* index of its first move */
	uint32		adopted;		/* its first move is an adoption, not an entry */
	float8		value;			/* NaN if there is none */
} LsLead;

typedef struct LsJourneys
{
	const LsQuery *query;
	int			nstages;		/* all, those found in the history included */
	int			deleted;		/* the number of LS_DELETED, or -1 */
	LsFunnelStage    *stages;
	uint32		nleads;
	LsLead	   *leads;
	uint64		nmoves;
	LsMove	   *moves;			/* by lead; within a lead in order */
	uint32		ngroups;
	char	  **groups;			/* text of BY; the entry may be NULL */
	uint32	   *group_order;	/* groups sorted for output, NULL last */
} LsJourneys;

/* query.c */
extern LsQuery *ls_query_from_args(FunctionCallInfo fcinfo, const char *value);
extern void ls_check_expressions(const char *what, const char *text, Oid relid,
								 bool many, int *count);

extern int *ls_stage_numbers(const LsQuery *query, const char *stage, int *count);

/* columns.c */
extern void ls_read_mapping(Jsonb *mapping, const char *what, const char *const *keys,
							int nkeys, char **columns);
extern char *ls_first_column(Oid relid, const char *const *names);
extern const char *ls_quoted_column(Oid relid, const char *name, const char *key);
extern char *ls_qualified_name(Oid relid);
extern void ls_check_relation(Oid relid);

/* journey.c */
extern LsJourneys *ls_read_journeys(LsQuery *query);
extern char *ls_lead_name(const LsLead *lead);

/* receive.c: run a query, hand each row to a callback, keep nothing */
typedef void (*LsRowCallback) (void *arg, Datum *values, bool *isnull);
extern void ls_run_query(const char *sql, LsRowCallback callback, void *arg,
						 TupleDesc *desc, MemoryContext desc_context);

/* Is the lead one the report asks for? Its moves must be in order. */
static inline bool
ls_lead_counts(const LsJourneys *j, const LsLead *lead)
{
	TimestampTz entry;

	if (lead->nmoves == 0)
		return false;
	entry = j->moves[lead->first].at;
	return entry >= j->query->since && entry < j->query->until;
}

#endif							/* LS_JOURNEY_H */
