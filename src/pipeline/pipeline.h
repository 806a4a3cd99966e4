/*
 * pipeline.h
 *	  Pipelines inside the backend: the compiled rules of one table, and what
 *	  the files of this part offer each other.
 */
#ifndef LS_PIPELINE_H
#define LS_PIPELINE_H

#include "leadscore.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

/*
 * Our triggers on a table. The row triggers must fire before those of others,
 * which may move the same lead once more: history would be written in the wrong
 * order. Triggers fire in the order of their names; "!" comes first.
 */
#define LS_TRIGGER_STAGE		"!leadscore_stage"		/* INSERT or UPDATE */
#define LS_TRIGGER_DELETE		"!leadscore_delete"
#define LS_TRIGGER_TRUNCATE		"!leadscore_truncate"

/* what "filled" asks of a value that is not NULL */
typedef enum LsFilledAs
{
	LS_FILLED_ANY,
	LS_FILLED_BOOL,				/* true */
	LS_FILLED_TEXT,				/* not blank */
	LS_FILLED_INT2,				/* the rest: greater than 0 */
	LS_FILLED_INT4,
	LS_FILLED_INT8,
	LS_FILLED_FLOAT4,
	LS_FILLED_FLOAT8,
	LS_FILLED_NUMERIC
} LsFilledAs;

typedef struct LsField
{
	char	   *name;			/* as the pipeline calls it */
	char	   *column;			/* NULL: this table does not keep it */
	AttrNumber	attno;
	LsFilledAs	as;
} LsField;

typedef struct LsGuard
{
	char	   *label;
	char	   *condition;		/* as the user wrote it */
	ExprState  *state;
	bool		uses_score;
} LsGuard;

typedef struct LsTransition
{
	int			from;			/* indexes into LsRules.stages */
	int			to;
	int			nguards;
	LsGuard    *guards;
	int			nfields;
	int		   *fields;			/* indexes into LsRules.fields */
	bool		has_min_score;
	double		min_score;
	int			source;			/* index into LsRules.scores; -1: none */
	char	   *role;			/* NULL: anybody */
	bool		reason_required;
} LsTransition;

typedef struct LsStageDef
{
	char	   *name;
	size_t		len;
	Datum		text;			/* name as text, for history */
	Oid			label;			/* enum label, where the column is an enum */
	char		kind;			/* o, w, l: open, won, lost */
	bool		entry;
} LsStageDef;

/* where a score comes from: a model, asked through one SQL expression */
typedef struct LsScoreSource
{
	char	   *model;
	ExprState  *state;
	bool		reported;		/* that the model is broken */
} LsScoreSource;

typedef enum LsStageForm
{
	LS_COLUMN_STAGE,
	LS_COLUMN_ENUM,
	LS_COLUMN_TEXT
} LsStageForm;

/*
 * The rules of one table (or one partition of it), ready to run. Lives in a
 * memory context of its own; see pipeline_cache.c for its life.
 */
typedef struct LsRules
{
	Oid			relid;			/* the table or partition */
	Oid			root;			/* the table that enforce() was called on */
	MemoryContext context;
	ExprContext *econtext;
	bool		running;		/* a guard is being evaluated */

	char	   *pipeline;
	Datum		pipeline_text;
	int			version;
	char	   *owner;
	char	   *override_role;	/* NULL: the owner of the pipeline */
	char	   *import_role;
	bool		history;		/* false: check only */
	bool		runs_code;		/* guards call functions that are neither PostgreSQL's nor ours */

	AttrNumber	stage_attno;
	char	   *stage_column;
	LsStageForm stage_form;
	AttrNumber	key_attno;
	Oid			key_type;
	bool		key_byval;
	int16		key_len;
	FmgrInfo	key_out;

	int			nstages;
	LsStageDef *stages;
	int16		by_code[256];	/* LS_COLUMN_STAGE: code to index; -1: none */

	int			ntransitions;
	LsTransition *transitions;
	int16	   *matrix;			/* nstages * nstages: transition index; -1: none */

	int			nfields;
	LsField    *fields;

	int			nscores;		/* the table's own model first, if it has one */
	LsScoreSource *scores;
	bool		has_model;
	Datum		model_text;
	int			model_version;	/* live when the rules were compiled; 0: unknown */
} LsRules;

#define LS_MAX_SCORES	8

/* A move that is being judged. */
typedef struct LsMove
{
	LsRules    *rules;
	TupleTableSlot *old_slot;	/* NULL on INSERT */
	TupleTableSlot *new_slot;
	Datum		key;
	const char *lead;			/* key as text; NULL until ls_lead() is asked */
	const char *reason;			/* NULL: none given */
	TimestampTz at;				/* 0 until ls_move_time() is asked */
	bool		known[LS_MAX_SCORES];	/* scores fetched so far */
	bool		absent[LS_MAX_SCORES];
	double		score[LS_MAX_SCORES];
} LsMove;

/* parameters of our compiled expressions */
#define LS_PARAM_MODEL	1
#define LS_PARAM_LEAD	2
#define LS_PARAM_AT		3
#define LS_PARAM_SCORE	4
#define LS_NPARAMS		4

/* pipeline_catalog.c */
typedef struct LsOwnerSection
{
	LsUser		user;
	int			nest;
} LsOwnerSection;

extern void ls_owner_begin(LsOwnerSection *section);
extern void ls_owner_end(LsOwnerSection *section);
extern void ls_path_begin(int *nest);
extern uint64 ls_owner_sql(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);

/* pipeline_load.c */
extern bool ls_rules_load(LsRules *rules, Relation rel);
extern AttrNumber ls_stage_column(Relation rel);

/* pipeline_cache.c */
extern void ls_pipeline_init(void);
extern LsRules *ls_rules_get(Relation rel);
pg_noreturn extern void ls_under_no_pipeline(Relation rel);
pg_noreturn extern void ls_no_such_pipeline(const char *pipeline);
extern LsRules *ls_rules_find(Relation rel);

/* pipeline_guard.c */
typedef struct LsGuardScope
{
	Relation	rel;
	const LsField *fields;
	int			nfields;
	bool		has_model;
	bool		uses_score;		/* out */
} LsGuardScope;

extern Expr *ls_guard_parse(const char *condition, LsGuardScope *scope, const char *what);
extern LsFilledAs ls_filled_as(Oid type);
extern bool ls_filled(Datum value, LsFilledAs as);

/* pipeline_check.c */
extern void ls_refuse_findings(const char *pipeline);
extern void ls_compile_all(const char *pipeline);
extern void ls_check_guard_on_tables(const char *pipeline, const char *condition, const char *what);

/* pipeline_move.c */
extern int	ls_stage_index(const LsRules *rules, Datum stage);
extern char *ls_stage_text(const LsRules *rules, Datum stage, Oid type);
extern List *ls_missing(LsMove *move, int from, int to);
extern bool ls_allowed(LsMove *move, int from, int to);
extern const char *ls_lead(LsMove *move);
extern TimestampTz ls_move_time(LsMove *move);
extern bool ls_move_score(LsMove *move, int source, double *score);
extern char *ls_list_stages(const LsRules *rules, int from);
extern char *ls_way(const LsRules *rules, int from, int to, int *next);
extern char *ls_join(List *strings, const char *separator, const char *last);

/* pipeline_history.c */
typedef enum LsHistoryColumn
{
	LS_H_ID, LS_H_AT, LS_H_XACT_AT, LS_H_SCORE, LS_H_RELATION, LS_H_PIPELINE_VERSION, LS_H_MODEL_VERSION,
	LS_H_LEAD, LS_H_KIND, LS_H_FROM, LS_H_TO, LS_H_PIPELINE, LS_H_SESSION, LS_H_USER, LS_H_REASON, LS_H_MODEL,
	LS_H_NATTS
} LsHistoryColumn;

typedef enum LsHistoryKind
{
	LS_KIND_ENTRY, LS_KIND_MOVE, LS_KIND_OVERRIDE, LS_KIND_ADOPTED, LS_KIND_IMPORTED, LS_KIND_PAST,
	LS_KIND_REKEYED, LS_KIND_DELETED, LS_KIND_TRUNCATED
} LsHistoryKind;

extern void ls_history_write(LsRules *rules, EState *statement, LsHistoryKind kind, const char *lead,
							 Datum from, bool from_null, Datum to, bool to_null,
							 TimestampTz at, const char *reason, bool has_score, double score);
extern void ls_history_init(void);

/* pipeline_batch.c */
extern bool ls_batch_begin(const LsRules *rules, EState *statement);
extern bool ls_batch_waits(void);
extern bool ls_finishing_update(void);
extern void ls_batch_init(void);

/* pipeline_stored.c */
extern void ls_stored_finish(EState *statement);
extern void ls_stored_init(void);

/* pipeline_trigger.c */
extern bool ls_keeps_key(const LsRules *rules, TupleTableSlot *old_slot, TupleTableSlot *new_slot);
extern bool ls_judge_stored(LsRules *rules, Relation rel, EState *statement,
							TupleTableSlot *old_slot, TupleTableSlot *new_slot);
extern void ls_leave(LsRules *rules, Relation rel, EState *statement, TupleTableSlot *slot, LsHistoryKind kind);

/* pipeline_partition.c */
extern void ls_partition_init(void);
extern bool ls_departs(const LsRules *rules, Relation rel, HeapTuple tuple);
extern TupleTableSlot *ls_arrival(const LsRules *rules, Relation rel, HeapTuple tuple, TupleTableSlot *arrived);

/* pipeline_session.c */
extern void ls_session_init(void);
extern const char *ls_reason(void);
extern bool ls_overridden(const LsRules *rules);
extern const char *ls_override_reason(void);
extern bool ls_backdated(const LsRules *rules, TimestampTz *at);
extern void ls_check_importer(const LsRules *rules);
extern void ls_check_true_date(TimestampTz at);

#endif							/* LS_PIPELINE_H */
