/*
 * live.h
 *	  Scores that follow the data: what the files of this part share.
 *
 * A change to a table of leads or events goes through these steps, a file each:
 *
 *	live_trigger.c	evaluates the rules over the changed rows,
 *	live_fold.c		adds up what they give and take, per lead,
 *	live_statement.c	for the whole statement, where that can be,
 *	live_store.c	applies that to the stored scores, lead by lead in key order,
 *	live_row.c		whose rows it finds, locks and writes,
 *	live_index.c	and enters these into the indexes,
 *	live_band.c		writes down who went over or under a band's threshold.
 *
 * live_model.c keeps the models of a table compiled, live_rebuild.c computes
 * one lead from its rows and events where adding and subtracting is not exact,
 * live_truncate.c and live_partition.c follow rows that come or go with a table,
 * live_alter.c columns that are altered.
 */
#ifndef LS_LIVE_H
#define LS_LIVE_H

#include "leadscore.h"

#include "access/attnum.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/bitmapset.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "model/eval.h"
#include "model/model.h"
#include "score/score_core.h"

/* The rules of one model over one table. */
typedef struct LiveRules
{
	LsProgram  *program;		/* NULL: there are none */
	int			n;
	const LsRule **rules;		/* as numbered in the program */
} LiveRules;

/* What the rules over a table read of its rows, their key included. */
typedef struct LiveColumns
{
	bool		whole_row;
	int			n;
	AttrNumber *attnos;			/* unless it is the whole row */
} LiveColumns;

/* A published model as the triggers need it; read only once it is made. */
typedef struct LiveModel
{
	LsModel    *model;
	Oid			score_relid;
	Oid			shape_type;		/* type leadscore.score */
	Score		shape;
	LiveRules	lead_rules;
	LiveRules	event_rules;	/* those that only add up ... */
	LiveRules	special_rules;	/* ... and those with a limit or a period of validity */
	LiveColumns lead_columns;
	LiveColumns event_columns;

	/* the key: how it is compared, and read from an event */
	int16		key_len;
	bool		key_byval;
	bool		key_is_int;			/* int2, int4, int8: compared as such */
	FmgrInfo	key_cmp;
	FmgrInfo	key_hash;			/* fn_oid invalid: not hashable */
	Oid			key_output;
	Oid			key_input;
	Oid			key_ioparam;
	bool		key_text_plain;		/* no setting changes how it is written */
	Oid			key_eq;				/* operator */
	RegProcedure key_eq_proc;
	int16		event_int_len;		/* an integer of another width; else 0 */
	Expr	   *event_key;			/* key of an event's lead; NULL: the column as it is, or an integer */

	/* plans of live_rebuild.c and live_store.c, made when first used */
	SPIPlanPtr	lead_plan;
	SPIPlanPtr	events_plan;
	SPIPlanPtr	window_plan;
	SPIPlanPtr	any_event_plan;
	SPIPlanPtr	insert_plan;
} LiveModel;

/* A model over a table whose scores are not kept. */
typedef struct LiveSkipped
{
	char	   *model;
	char	   *why;
} LiveSkipped;

/* What a backend knows about one table: the live models over it. */
typedef struct LiveTable
{
	Oid			relid;			/* hash key, must be first */
	struct LiveTableData *data;
} LiveTable;

typedef struct LiveTableData
{
	MemoryContext context;
	bool		valid;
	int			pins;
	Oid			owner;
	int			nmodels;
	LiveModel **models;
	int			nskipped;
	LiveSkipped *skipped;
	TimestampTz tried_at;		/* the client's statement in which these did not fit */
	Oid			above;			/* the nearest table with models that it is a partition or a child of */
	int			ndeps;
	Oid		   *deps;			/* relations whose change makes this stale */
	List	   *functions;		/* and functions of users', by the hash of PROCOID: integers */
	struct LiveTableData *next_zombie;
} LiveTableData;

/* live_model.c */
extern void ls_live_model_init(void);
extern LiveTableData *ls_live_table_pin(Oid relid);
extern void ls_live_table_hold(LiveTableData *table);
extern void ls_live_table_unpin(LiveTableData *table);
extern LiveTableData *ls_live_model_pin(const char *name, LiveModel **model);
extern void ls_live_forget(Oid relid);
extern Oid	ls_live_owner_of(Oid relid);
extern bool ls_live_is_severe(const ErrorData *error);
extern ErrorData *ls_live_attempt(void (*work) (void *arg), void *arg, bool keep);
extern char *ls_live_warn_not_kept(const char *name, ErrorData *error);

/*
 * An identity to read a user's tables and evaluate a user's conditions with:
 * the owner of the table, able to do no more than an expression of a CHECK
 * constraint could.
 */
typedef struct LiveIdentity
{
	LsUser		caller;
	int			guc_level;
} LiveIdentity;

extern void ls_live_become_table_owner(LiveIdentity *saved, Oid owner, bool portable);
extern void ls_live_become_self(const LiveIdentity *saved);

/* ----------------------------------------------------------------
 *		What a statement changes, per lead
 * ----------------------------------------------------------------
 */

/* A change that falls under a rule's limit. */
typedef struct LiveTouch
{
	int			rule;			/* of special_rules */
	TimestampTz at;
	double		points;
	bool		added;			/* else removed */
	struct LiveTouch *next;
} LiveTouch;

/* Points of one component, at the instant at which they hold. */
typedef struct LiveTerm
{
	double		value;
	TimestampTz at;
} LiveTerm;

/* Kept narrow: a large COPY has one of each lead, in random order. */
typedef struct LiveDelta
{
	Datum		key;
	uint32		hash;
	bool		rebuild;		/* compute the lead anew */
	bool		appeared;		/* its row was inserted */
	bool		vanished;		/* its row was deleted */
	bool		changed;		/* some component below is not empty */
	bool		settle;			/* only see to its band and what is due */
	bool		of_lead;		/* the lead itself changed, not only its events */
	TimestampTz later;			/* the earliest instant yet to come; else DT_NOEND */
	struct LiveComputed *preset;	/* what it comes to, unless somebody else changed it */
	LiveTouch  *touches;
	LiveTerm   *minus;			/* per component: what is taken away; NULL: nothing */
	LiveTerm	plus[FLEXIBLE_ARRAY_MEMBER];	/* per component: what is added */
} LiveDelta;

/* A place of the fold's hash table. */
typedef struct LiveBucket
{
	LiveDelta  *lead;			/* NULL: empty */
	uint32		hash;
} LiveBucket;

typedef struct LiveFold
{
	MemoryContext context;
	LiveModel  *model;
	TimestampTz now;
	const char *cause;
	const char *lead_cause;		/* of changes of a lead itself */
	bool		put_off;		/* to the end of the statement: live_statement.c */
	bool		silent;			/* write no crossings */
	bool		no_events;		/* there are none left: see ls_live_preset */
	bool		no_leads;
	int64		ncrossings;		/* written */
	int64		nstored;		/* scores written */
	int			n;				/* leads */
	int			max;
	LiveDelta **leads;			/* in order of arrival */
	uint32		mask;
	LiveBucket *buckets;
	char	   *room;			/* for leads to come */
	Size		left;
	Size		next_room;
} LiveFold;

extern LiveFold *ls_live_fold_begin(LiveModel *model, TimestampTz now, const char *cause);
extern LiveDelta *ls_live_fold_lead(LiveFold *fold, Datum key);
extern void ls_live_fold_rename(LiveFold *fold, LiveDelta *delta, Datum key);
extern void ls_live_fold_add(LiveFold *fold, LiveDelta *delta, int component,
							 double points, TimestampTz at, bool added);
extern LiveDelta **ls_live_fold_sorted(LiveFold *fold);
extern void ls_live_fold_end(LiveFold *fold);
extern int	ls_live_compare_keys(const LiveModel *model, Datum a, Datum b);

/* live_trigger.c */
extern LiveFold *ls_live_fold_to_come(LiveModel *live, const char *cause);
extern LiveFold *ls_live_fold_table(LiveModel *live, bool events, Oid relid, bool only,
									bool added, const char *cause);

/* live_statement.c */
extern void ls_live_statement_init(void);
extern LiveFold *ls_live_statement_fold(Relation rel, LiveTableData *table, LiveModel *live, int depth);
extern void ls_live_statement_end(LiveFold *fold, int depth);
extern bool ls_live_only_checks(Oid function);
extern bool ls_live_is_being_stored(Oid relid);

/* live_truncate.c */

/* A table that is about to lose all its rows. */
typedef struct LiveLeaving
{
	struct LiveLeaving *next;
	SubTransactionId subid;
	char	   *model;
	Oid			relid;
	Oid			root;			/* the model's table that it is a partition or child of, or itself */
	bool		whole;			/* no row of the model's table is left after it */
	bool		covered;		/* the model's table goes as a whole with it */
	bool		collected;		/* what the rows gave is below; else the model is computed anew */
	LiveFold   *events;
	LiveFold   *leads;
} LiveLeaving;

extern void ls_live_leaving_init(void);
extern LiveLeaving *ls_live_note_leaving(const char *model, Oid root, Oid relid, bool collect,
										 bool only, const char *cause);
extern LiveLeaving *ls_live_take_leaving(Oid relid, const char *model);
extern LiveLeaving *ls_live_take_dropped(void);
extern void ls_live_apply_leaving(LiveLeaving *entry, int depth);
extern void ls_live_truncating(LiveModel *live, Oid root, Relation rel);
extern void ls_live_truncated(LiveModel *live, Oid root, Relation rel, int depth);
extern void ls_live_preset(LiveFold *fold);

/* live_alter.c */
extern void ls_live_before_alter(Node *command);
extern void ls_live_after_alter(Node *command, int depth);

/* live_attach.c: triggers on what has become a partition or child, or is none any more */
extern void ls_live_attach_child(Oid root, Oid relid);
extern void ls_live_detach_child(Oid relid);

/* live_store.c */
extern void ls_live_apply(LiveFold *fold, int depth);

/* live_index.c */
typedef struct LiveIndexes LiveIndexes;

extern LiveIndexes *ls_live_indexes_open(MemoryContext context, Relation rel, int nleads);
extern Relation ls_live_indexes_primary(const LiveIndexes *indexes);
extern void ls_live_indexes_enter(LiveIndexes *indexes, TupleTableSlot *slot, LsUpdateIndexes which);
extern void ls_live_indexes_flush(LiveIndexes *indexes);
extern void ls_live_indexes_close(LiveIndexes *indexes);

/* live_rebuild.c */
typedef struct LiveComputed
{
	bool		exists;			/* there is a row of the lead */
	Datum		key;			/* as that row has it; not set by ls_live_preset */
	Score		score;
	TimestampTz later;			/* the earliest event yet to come, not counted */
} LiveComputed;

extern void ls_live_compute(LiveModel *model, Datum key, TimestampTz now, LiveComputed *result);
extern bool ls_live_window_change(LiveFold *fold, LiveDelta *delta);
extern void ls_live_forget_rebuilt(int depth);
extern bool ls_live_was_rebuilt(const LiveModel *model, const LiveDelta *delta);
extern void ls_live_remember_rebuilt(const LiveModel *model, const LiveDelta *delta);
extern bool ls_live_has_events(LiveModel *model, Datum key);
extern void ls_live_store_row(TupleTableSlot *slot, HeapTuple row, TupleDesc desc, HeapTupleData *tuple);

/* Evaluates rules over rows, and reports those that fail. */
typedef struct LiveEval
{
	LiveModel  *model;
	const LiveRules *rules;
	MemoryContext context;		/* where it was begun */
	LsEval	   *eval;			/* NULL: no rules */
	uint64	   *matched;
	uint64	   *failed;
	int64	   *failures;		/* per rule */
	char	  **messages;
	bool		any_failure;
	double		points[SCORE_MAX_COMPONENTS];
} LiveEval;

extern void ls_live_eval_begin(LiveEval *eval, LiveModel *model, const LiveRules *rules);
extern void ls_live_eval_row(LiveEval *eval, TupleTableSlot *slot);
extern void ls_live_eval_end(LiveEval *eval);

/* live_band.c */
extern TimestampTz ls_live_next_change(const LiveModel *model, const Score *score, TimestampTz now);
extern void ls_live_crossing(LiveModel *model, Datum key, const char *from, const char *to,
							 TimestampTz at, double score, const char *cause);
extern void ls_live_register_due(LiveModel *model, Datum key, TimestampTz due);
extern void ls_live_move_stage(LiveModel *model, int64 id, const char *key, const char *stage);
extern const char *ls_live_band_at(const LiveModel *model, const Score *score,
								   TimestampTz at, double *total);

/* live_eval.c */
extern bool ls_live_counts(const LiveModel *model, const LsRule *rule, TimestampTz at);
/* live_cool.c */
extern void ls_live_recompute_all(LiveModel *model, const char *cause, int depth);
extern void ls_live_recompute_emptied(LiveModel *model, bool no_leads, const char *cause, int depth);
extern void ls_live_settle_all(LiveModel *model, TimestampTz newest_event);

/* live_attach.c */
extern void ls_live_init(void);

extern char *ls_live_key_text(const LiveModel *model, Datum key);
extern Datum ls_live_key_of_text(const LiveModel *model, char *text);

/* Columns of a score table; the first three are the model part's. */
#define SCORE_TABLE_LEAD	1
#define SCORE_TABLE_SCORE	2
#define SCORE_TABLE_VERSION	3
#define SCORE_TABLE_BAND	4
#define SCORE_TABLE_DUE		5
#define SCORE_TABLE_LATER	6
#define SCORE_TABLE_COLUMNS	6

#endif							/* LS_LIVE_H */
