/*
 * eval.h
 *	  Many rules over one row, fast: what the other files of this part, and the
 *	  parts after it, may use of the evaluator.
 *
 * A list of rules over one table is compiled once into an LsProgram, which is
 * read only and may be kept as long as the definitions it was made from hold.
 * Whoever evaluates makes an LsEval from it for the duration of a query or a
 * statement: the state of those conditions that PostgreSQL's own expression
 * machinery runs, whose function permissions are checked at that moment.
 */
#ifndef LS_EVAL_H
#define LS_EVAL_H

#include "leadscore.h"

#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "nodes/primnodes.h"

#include "model/model.h"
#include "score/score_core.h"

typedef struct LsRuleSpec
{
	const char *name;			/* for error messages */
	int			component;		/* which component the points go to, from 0 */
	Expr	   *condition;		/* boolean, analysed; Vars have varno 1 */
	Expr	   *points;			/* float8, analysed, over the same row */
} LsRuleSpec;

/* What a rule says of a row, where its reason matters. */
typedef struct LsVerdict
{
	enum
	{
		LS_NOT_MATCHED,
		LS_MATCHED,
		LS_UNDECIDED,			/* condition or points are NULL */
		LS_FAILED				/* they raised an error */
	}			is;
	double		points;			/* of a rule that matched */
} LsVerdict;

typedef struct LsProgram LsProgram;
typedef struct LsEval LsEval;

/* sets of rules, by number in the list that was compiled */
#define LS_RULE_WORDS(nrules)	(((nrules) + 63) / 64)
#define LS_RULE_IN(set, i)		(((set)[(i) / 64] >> ((i) % 64)) & 1)

/* eval_compile.c */
extern LsProgram *ls_eval_compile(MemoryContext parent, const char *model, TupleDesc desc,
								  int ncomponents, int nrules, const LsRuleSpec *rules);
extern LsProgram *ls_eval_compile_apart(MemoryContext parent, const char *model, TupleDesc desc,
										int ncomponents, int nrules, const LsRuleSpec *rules);
extern void ls_eval_free(LsProgram *program);
extern int	ls_eval_columns(const LsProgram *program, const AttrNumber **attnos);
extern bool ls_eval_needs_row(const LsProgram *program);
extern bool ls_eval_may_fail(const LsProgram *program);
extern bool ls_eval_not_parallel(const LsProgram *program);
extern bool ls_eval_has_expressions(const LsProgram *program);
extern char *ls_eval_describe(const LsProgram *program);

/* eval_run.c */
extern LsEval *ls_eval_begin(const LsProgram *program, MemoryContext parent);
extern void ls_eval_end(LsEval *eval);
extern void ls_eval_values(LsEval *eval, const Datum *values, const bool *isnull, TupleTableSlot *slot,
						   double *points, uint64 *matched);
extern void ls_eval_slot(LsEval *eval, TupleTableSlot *slot, double *points, uint64 *matched);
extern void ls_eval_args(LsEval *eval, const NullableDatum *args, double *points, uint64 *matched);
extern double ls_eval_rule_points(LsEval *eval, TupleTableSlot *slot, int rule);
extern bool ls_eval_values_safe(LsEval *eval, const Datum *values, const bool *isnull, TupleTableSlot *slot,
								double *points, uint64 *matched, uint64 *failed);
extern bool ls_eval_slot_safe(LsEval *eval, TupleTableSlot *slot, double *points,
							  uint64 *matched, uint64 *failed);
extern bool ls_eval_args_safe(LsEval *eval, const NullableDatum *args, double *points,
							  uint64 *matched, uint64 *failed);
extern void ls_eval_judge(LsEval *eval, TupleTableSlot *slot, LsVerdict *verdicts);
extern const char *ls_eval_failure(const LsEval *eval, int rule);

/*
 * eval_cache.c: a version of a model with the compiled form of its enabled rules
 * over leads or over events. Kept for the backend, read only, and replaced when
 * anything it was made from changes; whoever holds it keeps the one it got.
 */
typedef struct LsCompiled
{
	const LsModel *model;
	const LsProgram *program;
	const int  *rules;			/* rule of the program -> index into model->rules */
} LsCompiled;

extern const LsCompiled *ls_compiled_get(const char *model, int version, bool event,
										 MemoryContext holder);
extern void ls_compiled_init(void);
extern List *ls_model_catalog_relids(void);

/*
 * eval_scan.c: the scores of all leads without a query, where that is possible.
 * Now and then it reports how many events it has read, or leads it has stored.
 */
typedef void (*LsScanReport) (void *arg, uint64 rows, bool events);

extern bool ls_scan_scores(LsModel *model, Relation target, LsScanReport report, void *report_arg,
						   uint64 *rows);

#endif							/* LS_EVAL_H */
