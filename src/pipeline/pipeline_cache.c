/*
 * pipeline_cache.c
 *	  Makes the rules of a table ready to run and keeps them per backend.
 *
 * Invalidation: every statement that changes a configuration table sends a
 * relcache message for it (pipeline_changed, below), and PostgreSQL sends one
 * for each DDL on a table of leads. The callback only marks: it may run at any
 * moment. Rules that are being run when their replacement is compiled stay in
 * memory until the transaction ends.
 */
#include "leadscore.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parse_expr.h"
#include "parser/parse_param.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_pipeline_changed);

typedef struct CacheEntry
{
	Oid			relid;			/* key */
	bool		valid;			/* set last */
	LsRules    *rules;			/* NULL: none compiled */
	Oid			root;
} CacheEntry;

typedef struct RetiredRules
{
	struct RetiredRules *next;
	LsRules    *rules;
} RetiredRules;

static HTAB *cache = NULL;
static RetiredRules *retired = NULL;
static uint64 invalidations = 0;

/* the tables whose rows the rules come from */
static const char *const config_tables[] = {
	"pipeline", "pipeline_stage", "pipeline_field", "pipeline_transition", "pipeline_guard", "enforced", "model"
};
#define N_CONFIG	lengthof(config_tables)
static Oid	config_relids[N_CONFIG];

/* ------------------------------------------------------------------------- */

static void
invalidate_all(void)
{
	HASH_SEQ_STATUS scan;
	CacheEntry *entry;

	invalidations++;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->valid = false;
}

static void
on_relcache_message(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	CacheEntry *entry;

	(void) arg;
	if (!OidIsValid(relid))
	{
		invalidate_all();
		return;
	}
	for (size_t i = 0; i < N_CONFIG; i++)
	{
		if (config_relids[i] == relid)
		{
			invalidate_all();
			return;
		}
	}
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->relid == relid || entry->root == relid)
		{
			invalidations++;
			entry->valid = false;
		}
	}
}

/* a function that a guard calls, or the labels or domain of a stage column */
static void
on_syscache_message(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	invalidate_all();
}

static void
free_rules(LsRules *rules)
{
	if (rules->econtext != NULL)
		FreeExprContext(rules->econtext, false);
	MemoryContextDelete(rules->context);
}

static void
on_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	while (retired != NULL)
	{
		RetiredRules *next = retired->next;

		free_rules(retired->rules);
		pfree(retired);
		retired = next;
	}
}

void
ls_pipeline_init(void)
{
	HASHCTL		ctl;

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CacheEntry);
	cache = hash_create("leadscore stage rules", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(on_relcache_message, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, on_syscache_message, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, on_syscache_message, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, on_syscache_message, (Datum) 0);
	RegisterXactCallback(on_transaction_end, NULL);
	ls_history_init();
	ls_batch_init();
	ls_stored_init();
	ls_session_init();
	ls_partition_init();
}

Datum
leadscore_pipeline_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("pipeline_changed() can only be called as a trigger")));
	CacheInvalidateRelcache(data->tg_relation);
	return PointerGetDatum(NULL);
}

/* ------------------------------------------------------------------------- */
/*
 * A guard that can be true on no row of this table: it asks for what the table
 * does not have.
 */
static bool
never_true(Expr *expr)
{
	return IsA(expr, Const) && (((Const *) expr)->constisnull || !DatumGetBool(((Const *) expr)->constvalue));
}

/* a function that may do anything, such as read history */
static bool
is_foreign(Oid function, void *context)
{
	(void) context;
	return function >= FirstNormalObjectId && get_func_namespace(function) != ls_schema_oid();
}

static bool
calls_foreign(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* whose constraint may call anything */
	if (IsA(node, CoerceToDomain))
		return true;
	if (check_functions_in_node(node, is_foreign, context))
		return true;
	return expression_tree_walker(node, calls_foreign, context);
}

/*
 * A function that a guard calls runs with the rights of whoever moves a lead. So
 * it is only for those who could make the table's writers run code anyhow, as
 * its owner can by a trigger.
 */
static void
check_trusted(const LsRules *rules, Relation rel, const char *what)
{
	Oid			owner = get_role_oid(rules->owner, true);

	if (OidIsValid(owner) && has_privs_of_role(owner, rel->rd_rel->relowner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s calls a function that is neither PostgreSQL's nor leadscore's, which is not allowed on table \"%s\"",
					what, RelationGetRelationName(rel)),
			 errdetail("It would run with the rights of whoever moves a lead, but %s, who owns the pipeline, has not those of %s, who owns the table.",
					   rules->owner, GetUserNameFromId(rel->rd_rel->relowner, false)),
			 errhint("Put the table under a pipeline of its owner's: see leadscore.copy_pipeline().")));
}

static ExprState *
compile_expression(LsRules *rules, Expr *expr)
{
	MemoryContext before = MemoryContextSwitchTo(rules->context);
	ExprState  *state = ExecInitExpr((Expr *) copyObject(expr), NULL);

	MemoryContextSwitchTo(before);
	return state;
}

/* guards, analysed against the table as the caller, not as our owner */
static void
compile_guards(LsRules *rules, Relation rel)
{
	LsGuardScope scope;

	scope.rel = rel;
	scope.fields = rules->fields;
	scope.nfields = rules->nfields;
	for (int i = 0; i < rules->ntransitions; i++)
	{
		LsTransition *t = &rules->transitions[i];

		scope.has_model = t->source >= 0;
		for (int g = 0; g < t->nguards; g++)
		{
			LsGuard    *guard = &t->guards[g];
			char	   *what = psprintf("guard \"%s\" of the transition from %s to %s in pipeline \"%s\"",
										guard->label, rules->stages[t->from].name,
										rules->stages[t->to].name, rules->pipeline);
			Expr	   *expr = ls_guard_parse(guard->condition, &scope, what);

			if (never_true(expr))
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("%s can never be met by \"%s\"", what, RelationGetRelationName(rel)),
						 errdetail("It is %s, and the table has none of what it asks for.", guard->condition),
						 errhint("Call leadscore.enforce() with fields => '{\"field\": \"column\"}', or with model => 'name of a scoring model'.")));
			if (calls_foreign((Node *) expr, NULL))
			{
				check_trusted(rules, rel, what);
				rules->runs_code = true;
			}
			guard->uses_score = scope.uses_score;
			guard->state = compile_expression(rules, expr);
		}
	}
}

/* one SQL expression per model: the lead's score, aged to the moment */
static void
compile_scores(LsRules *rules)
{
	static Oid	types[LS_NPARAMS] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, FLOAT8OID};

	if (rules->nscores == 0)
		return;
	if (!OidIsValid(LookupFuncName(list_make2(makeString(LS_SCHEMA), makeString("current_score")), 2, types, true)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this version of leadscore has no scoring models")));

	for (int i = 0; i < rules->nscores; i++)
	{
		ParseState *pstate = make_parsestate(NULL);
		const char *text = "leadscore.current_score($1, $2) OPERATOR(leadscore.@) $3";
		SelectStmt *select = (SelectStmt *)
			linitial_node(RawStmt, raw_parser(text, RAW_PARSE_PLPGSQL_EXPR))->stmt;
		Node	   *node;

		pstate->p_sourcetext = text;
		setup_parse_fixed_parameters(pstate, types, LS_NPARAMS);
		node = transformExpr(pstate, linitial_node(ResTarget, select->targetList)->val, EXPR_KIND_OTHER);
		free_parsestate(pstate);
		rules->scores[i].state = compile_expression(rules, expression_planner((Expr *) node));
	}
}

static LsRules *
compile(Relation rel)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore stage rules",
												  ALLOCSET_SMALL_SIZES);
	LsRules    *rules = MemoryContextAllocZero(context, sizeof(LsRules));
	MemoryContext before;
	LsOwnerSection section;
	bool		found;

	rules->relid = RelationGetRelid(rel);
	rules->context = context;

	for (size_t i = 0; i < N_CONFIG; i++)
		config_relids[i] = get_relname_relid(config_tables[i], ls_schema_oid());

	/* the rules of this moment, whatever the isolation level */
	ls_owner_begin(&section);
	PushActiveSnapshot(GetLatestSnapshot());
	found = ls_rules_load(rules, rel);
	PopActiveSnapshot();
	ls_owner_end(&section);
	if (!found)
	{
		MemoryContextDelete(context);
		return NULL;
	}

	before = MemoryContextSwitchTo(context);
	rules->pipeline_text = CStringGetTextDatum(rules->pipeline);
	if (rules->has_model)
		rules->model_text = CStringGetTextDatum(rules->scores[0].model);
	MemoryContextSwitchTo(before);

	compile_guards(rules, rel);
	compile_scores(rules);

	MemoryContextSetParent(context, CacheMemoryContext);
	before = MemoryContextSwitchTo(context);
	rules->econtext = CreateStandaloneExprContext();
	rules->econtext->ecxt_param_list_info = makeParamList(LS_NPARAMS);
	for (int i = 0; i < LS_NPARAMS; i++)
	{
		static const Oid types[LS_NPARAMS] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, FLOAT8OID};

		rules->econtext->ecxt_param_list_info->params[i].ptype = types[i];
	}
	MemoryContextSwitchTo(before);
	return rules;
}

static void
retire(LsRules *rules)
{
	RetiredRules *item = MemoryContextAlloc(TopMemoryContext, sizeof(RetiredRules));

	item->rules = rules;
	item->next = retired;
	retired = item;
}

/*
 * The rules of a table, or NULL if it is under no pipeline. They stay in place
 * until the transaction ends, even if they are invalidated meanwhile.
 */
LsRules *
ls_rules_find(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	CacheEntry *entry = hash_search(cache, &relid, HASH_FIND, NULL);
	LsRules    *rules;
	uint64		before;
	bool		found;

	if (entry != NULL && entry->valid)
		return entry->rules;

	before = invalidations;
	rules = compile(rel);
	entry = hash_search(cache, &relid, HASH_ENTER, &found);
	if (found && entry->rules != NULL)
	{
		LsRules    *old = entry->rules;

		entry->rules = NULL;
		retire(old);
	}
	entry->valid = false;
	entry->rules = rules;
	entry->root = rules ? rules->root : relid;
	/* "no pipeline" is not remembered: nothing would tell us of a new one on an ancestor */
	entry->valid = rules != NULL && before == invalidations;
	return rules;
}

void
ls_under_no_pipeline(Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is under no pipeline", RelationGetRelationName(rel)),
			 errhint("Put it under one with leadscore.enforce('%s', 'stage column').",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)))));
}

LsRules *
ls_rules_get(Relation rel)
{
	LsRules    *rules = ls_rules_find(rel);

	if (rules == NULL)
		ls_under_no_pipeline(rel);
	return rules;
}
