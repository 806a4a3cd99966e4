/*
 * model.h
 *	  Scoring models inside the backend: how a model looks once it is loaded
 *	  from the catalog, and what the files of this part offer each other and the
 *	  parts after it.
 */
#ifndef LS_MODEL_H
#define LS_MODEL_H

#include "leadscore.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/primnodes.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "score/score_core.h"

/* version numbers: the draft, and "whichever is live" */
#define LS_DRAFT			0
#define LS_LIVE				PG_INT32_MIN	/* no number that a user may come by */

/* model names must leave room for the prefix of their score table */
#define LS_SCORE_TABLE_PREFIX	"score_"
#define LS_MODEL_NAME_MAX	(NAMEDATALEN - 1 - (int) sizeof(LS_SCORE_TABLE_PREFIX) + 1)

/* explain takes up to five columns for a rule (see append_limits), a query can have 1664 */
#define LS_MAX_RULES		300

/* Calendar windows of "at_most N per P" start at this Monday, in UTC. */
#define LS_WINDOW_ORIGIN	(INT64CONST(2) * USECS_PER_DAY)	/* 2000-01-03 */

typedef struct LsComponent
{
	char	   *name;
	int64		half_life;		/* microseconds; 0: does not age */
	double		lo;				/* -infinity: none */
	double		hi;				/* infinity: none */
} LsComponent;

typedef struct LsRule
{
	char	   *name;
	int			component;		/* index into LsModel.components */
	bool		event;			/* over the event's row, not the lead's */
	bool		enabled;
	char	   *condition_text; /* as the user wrote it */
	char	   *points_text;
	char	   *condition_sql;	/* as understood, names fully qualified */
	char	   *points_sql;
	int			at_most;		/* 0: no limit */
	int64		per;			/* window in microseconds; 0: ever */
	char	   *per_text;		/* as the user gave it; NULL: ever */
	bool		has_from;
	bool		has_until;
	TimestampTz valid_from;
	TimestampTz valid_until;

	/*
	 * Set by ls_model_analyse: boolean and float8 expressions whose Vars have
	 * varno 1 and the attribute numbers of the leads or the events.
	 */
	Expr	   *condition;
	Expr	   *points;
} LsRule;

typedef struct LsBand
{
	char	   *name;
	double		least;
} LsBand;

/* how queries see the leads: see ls_past_apply */
typedef enum LsPast
{
	LS_PAST_NONE,				/* as they are */
	LS_PAST_PARAMETER,			/* one lead, its old values as a parameter */
	LS_PAST_JOIN				/* all leads, with the table of old values */
} LsPast;

typedef struct LsModel
{
	char	   *name;
	int			version;		/* the one loaded */
	int			live_version;	/* 0: never published */

	Oid			leads;
	char	   *lead_key;
	AttrNumber	lead_attno;
	Oid			key_type;
	Oid			key_collation;

	Oid			events;			/* InvalidOid: none */
	char	   *event_lead;
	AttrNumber	event_lead_attno;
	Oid			event_lead_type;
	Oid			event_lead_collation;
	char	   *event_at;
	AttrNumber	event_at_attno;

	double		lo;				/* bounds of the total */
	double		hi;
	int			ncomponents;
	LsComponent components[SCORE_MAX_COMPONENTS];
	int			nrules;
	LsRule	   *rules;			/* by ordinal, disabled ones included */
	int			nbands;
	LsBand	   *bands;			/* highest least first */
	LsPast		past;

	/* once the scores of all leads were stored: no event is later, as far as known */
	TimestampTz newest_event;
	struct LsJudge *judge;		/* NULL: queries evaluate the rules themselves */
} LsModel;

/* model_catalog.c */
extern LsModel *ls_model_load(const char *name, int version);
extern void ls_model_check_owner(const LsModel *model);
extern void ls_model_check_sees_events(const LsModel *model);
extern void ls_model_lock(const char *name);
extern void ls_model_resolve(LsModel *model);
extern char *ls_model_score_table(const char *name);
extern Oid	ls_model_score_relid(const LsModel *model, bool missing_ok);
extern void ls_model_tie_table(Oid relid);
extern void ls_model_follow_leads(const LsModel *model, Oid relid);
extern const char *ls_model_band(const LsModel *model, double total);
extern void ls_model_shape(const LsModel *model, Score *shape);
extern void ls_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);
struct _SPI_plan;
extern void ls_catalog_execute_kept(struct _SPI_plan **plan, const char *sql, int nargs, Oid *types,
									Datum *values, const char *nulls);
extern char *ls_model_name_arg(FunctionCallInfo fcinfo, int argno, const char *what);

/* model_condition.c */
typedef struct LsParsed
{
	Expr	   *expr;			/* boolean or float8, Vars of varno 1 */
	char	   *sql;			/* deparsed, names fully qualified */
} LsParsed;

extern void ls_condition_parse(const char *text, Oid relid, const char *rule, const char *model,
							   bool numeric, LsParsed *parsed);
extern bool ls_condition_fits(const LsModel *model, Oid relid, Oid other, const char *rule,
							  const char *text, bool numeric, bool *any_column);
extern void ls_model_analyse(LsModel *model);
extern char *ls_expression_sql(Expr *expr, Oid relid, const char *alias);
extern int	ls_portable_settings(void);
extern int	ls_portable_path(void);

/* model_session.c */
extern List *ls_session_clock_words(Node *raw);
extern void ls_session_check(Node *expr, List *words);

/* model_query.c */
typedef enum LsScope
{
	LS_ALL_LEADS,				/* no parameter for the lead */
	LS_ONE_LEAD,				/* $1 = key as text */
	LS_OUTCOMES					/* $1, $2 = arrays of keys as text and of instants */
} LsScope;

extern TimestampTz ls_rule_window(const LsRule *rule, TimestampTz at);
extern char *ls_query_scores(const LsModel *model, LsScope scope, bool as_of);
extern char *ls_query_lead_account(const LsModel *model);
extern void ls_model_check_permanent(Relation rel);
extern char *ls_model_key_declaration(const LsModel *model);
extern void ls_model_create_score_table(const LsModel *model, Oid reader);
extern char *ls_query_event_account(const LsModel *model);
extern char *ls_query_large_points(const LsModel *model, const char *least);
extern char *ls_query_matches(const LsModel *model);
extern void ls_rethrow_without(const char *sql, MemoryContext context);
extern char *ls_type_name(Oid type);
extern char *ls_collate(Oid collation);
extern char *ls_key_equality(Oid type);
extern char *ls_key_sql(const LsModel *model, const char *text);
extern char *ls_event_is_of(const LsModel *model, const char *alias, const char *key);
extern bool ls_is_integer(Oid type);
extern char *ls_relation_name(Oid relid);
extern char *ls_whole_row(const char *alias, Oid relid);

/*
 * model_failure.c
 *
 * Which rules failed, on how many rows, while scores were computed.
 */
typedef struct LsFailures
{
	const LsModel *model;
	MemoryContext context;
	int64	   *rows;			/* by rule */
	char	  **messages;		/* by rule: what PostgreSQL said, the first time */
} LsFailures;

extern char *ls_failure_text(const LsModel *model, const LsRule *rule, const char *message);
extern bool ls_told_before(const LsModel *model, const LsRule *rule);
extern void ls_rule_error_store(const LsModel *model, const LsRule *rule, const char *message, int64 rows);
extern void ls_failure_tell(const LsModel *model, const LsRule *rule, const char *message);
extern LsFailures *ls_failures_make(const LsModel *model);
extern void ls_failures_note(LsFailures *failures, int rule, const char *message);
extern void ls_failures_report(const LsFailures *failures, bool store);

/* model_kept.c */
extern char *ls_kept_mark(const char *model);
extern bool ls_kept_set(const char *model, const char *why);
extern void ls_kept_clear(const char *model);
extern void ls_kept_check(const LsModel *model);

/* model_failure.c: rules that may fail, in queries */
extern void ls_judge_begin(LsModel *model);
extern void ls_judge_end(LsModel *model, bool store);
extern const char *ls_judge_failure(const LsModel *model, int rule);
extern void ls_judge_append_join(StringInfo buf, const LsModel *model, bool event, const char *alias);
extern char *ls_judge_element(const LsModel *model, int rule);

/* model_overflow.c */
extern bool ls_score_one(LsModel *model, Datum lead, TimestampTz at, Score *score);
extern void ls_score_all(LsModel *model, void (*work) (void *arg), void *arg);

/* model_publish.c */

/* Told before and after the scores of all leads are stored (the live part). */
typedef enum LsScoresEvent
{
	LS_SCORES_BEGIN,
	LS_SCORES_END
} LsScoresEvent;

typedef void (*LsScoresHook) (const LsModel *model, LsScoresEvent event);

extern LsScoresHook ls_scores_hook;

extern uint64 ls_model_store_scores(LsModel *model);
extern void ls_model_check_complete(const LsModel *model);
extern int	ls_model_freeze(const char *name, int from, text *note);
extern void ls_model_copy_version(const char *name, int from, int to);

/* model_swap.c */
extern void ls_model_swap_heap(Oid relid, Oid heap, char persistence);

/* model_version.c */
extern void ls_model_clear_draft(const char *name);

/* model_past.c */
extern void ls_past_keep(const LsModel *model);
extern void ls_past_drop(const LsModel *model);
extern Oid	ls_past_relid(const char *model);
extern bool ls_past_takes_key(const char *model, Oid type);
extern void ls_past_check_key(const char *model, Oid leads);
extern void ls_past_interrupted(const char *model);
extern void ls_past_rename(const char *model, Oid leads, const char *from, const char *to);
extern bool ls_past_convert(const LsModel *model, List *columns, List *expressions, int64 *after, int limit);
extern void ls_past_apply(LsModel *model, Datum lead, TimestampTz at, Datum *old);
extern char *ls_leads_from(const LsModel *model, const char *at, const char *old);
extern char *ls_outcomes_from(const LsModel *model);
extern TimestampTz ls_past_since(const LsModel *model, TimestampTz at, List **unknown);
extern char *ls_past_names(const List *names);
extern char *ls_past_note(const List *unknown);

/* model_report.c */

typedef void (*LsRowCallback) (void *arg, HeapTuple tuple, TupleDesc desc);

extern void ls_user_cursor(const char *sql, int nargs, Oid *types, Datum *values, LsRowCallback callback, void *arg);
extern void ls_user_query(const char *sql, int nargs, Oid *types, Datum *values);

/* What one rule gives a lead as of an instant. */
typedef struct LsAccount
{
	int64		occurrences;	/* times the rule matched */
	double		points;			/* aged to the instant, before its limit */
	int64		cut;			/* occurrences beyond the limit */
	double		cut_points;
	int64		undecided;		/* rows on which the condition, or the points, are NULL */
	int64		failed;			/* rows on which they raised an error */
	char	   *failure;		/* why, the first time */
} LsAccount;

extern LsAccount *ls_take_account(LsModel *model, Datum lead, TimestampTz at);
extern char *ls_visible_leads_clause(const LsModel *model);

#endif							/* LS_MODEL_H */
