/*
 * live_model.c
 *	  The live models of a table, compiled and kept per backend.
 *
 * An entry is made when a trigger first fires for a table and is good until a
 * relation it was made from changes: publishing and dropping a model send an
 * invalidation of the tables they are about, and their locks see to it that no
 * writer is under way with the old version when the new one becomes visible.
 *
 * An entry in use is pinned: what an invalidation makes stale meanwhile is put
 * aside and freed at the end of the transaction.
 */
#include "leadscore.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "live/live.h"

static HTAB *tables = NULL;
static LiveTableData *zombies = NULL;
static uint64 invalidations = 0;
static int	pins = 0;			/* of all tables */

static void
free_table(LiveTableData *data)
{
	for (int i = 0; i < data->nmodels; i++)
	{
		LiveModel  *live = data->models[i];

		if (live->lead_plan)
			SPI_freeplan(live->lead_plan);
		if (live->events_plan)
			SPI_freeplan(live->events_plan);
		if (live->window_plan)
			SPI_freeplan(live->window_plan);
		if (live->any_event_plan)
			SPI_freeplan(live->any_event_plan);
		if (live->insert_plan)
			SPI_freeplan(live->insert_plan);
	}
	MemoryContextDelete(data->context);
}

/* A relation changed; InvalidOid: any may have. */
static void
invalidate(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	LiveTable  *entry;

	(void) arg;
	invalidations++;
	if (tables == NULL)
		return;
	hash_seq_init(&status, tables);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		LiveTableData *data = entry->data;

		if (data == NULL || !data->valid)
			continue;
		if (!OidIsValid(relid) || relid == entry->relid)
			data->valid = false;
		for (int i = 0; i < data->ndeps && data->valid; i++)
			if (data->deps[i] == relid)
				data->valid = false;
	}
}

/*
 * A function changed or went; hash 0: any may have. What else a rule names is in
 * the compiled form by its number, and stays what it is under another name; but
 * labels of enums, which rules hold as text, are seldom changed: all is stale.
 */
static void
invalidate_definition(Datum arg, int cacheid, uint32 hash)
{
	HASH_SEQ_STATUS status;
	LiveTable  *entry;

	(void) arg;
	if (cacheid != PROCOID)
		invalidations++;
	if (tables == NULL)
		return;
	hash_seq_init(&status, tables);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->data != NULL &&
			(cacheid != PROCOID || hash == 0 || list_member_int(entry->data->functions, (int) hash)))
			entry->data->valid = false;
}

/* Nothing is in use any more, whatever way the transaction ended. */
static void
transaction_ended(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS status;
	LiveTable  *entry;

	(void) arg;
	if (tables == NULL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	while (zombies != NULL)
	{
		LiveTableData *data = zombies;

		zombies = data->next_zombie;
		free_table(data);
	}
	if (pins == 0)
		return;
	hash_seq_init(&status, tables);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->data != NULL)
			entry->data->pins = 0;
	pins = 0;
}

void
ls_live_model_init(void)
{
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, invalidate_definition, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, invalidate_definition, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
}

void
ls_live_forget(Oid relid)
{
	if (OidIsValid(relid) && get_rel_name(relid) != NULL)
		CacheInvalidateRelcacheByRelid(relid);
}

/* ----------------------------------------------------------------
 *		Whose rights
 * ----------------------------------------------------------------
 */

Oid
ls_live_owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Act as the owner of a table, within the limits that apply to the expressions
 * of its constraints and indexes. portable: with settings on which nothing of
 * what follows can depend, for statements; bare conditions need none.
 */
void
ls_live_become_table_owner(LiveIdentity *saved, Oid owner, bool portable)
{
	GetUserIdAndSecContext(&saved->caller.userid, &saved->caller.sec_context);
	SetUserIdAndSecContext(owner, saved->caller.sec_context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	saved->guc_level = portable ? ls_portable_settings() : NewGUCNestLevel();
}

void
ls_live_become_self(const LiveIdentity *saved)
{
	AtEOXact_GUC(false, saved->guc_level);
	SetUserIdAndSecContext(saved->caller.userid, saved->caller.sec_context);
}

/*
 * Errors that are not about a rule, and must end the statement: cancellation,
 * lack of resources, conflicts, corruption, bugs.
 */
bool
ls_live_is_severe(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return true;
		default:
			return error->sqlerrcode == ERRCODE_DATA_CORRUPTED ||
				error->sqlerrcode == ERRCODE_INDEX_CORRUPTED;
	}
}

/* ----------------------------------------------------------------
 *		Compiling
 * ----------------------------------------------------------------
 */

static bool
is_special(const LsRule *rule)
{
	return rule->at_most > 0 || rule->has_from || rule->has_until;
}

static void
compile_rules(LiveRules *result, MemoryContext context, const LsModel *model, Oid relid,
			  bool event, bool special)
{
	LsRuleSpec *specs = palloc(Max(model->nrules, 1) * sizeof(LsRuleSpec));
	Relation	rel;

	result->rules = MemoryContextAlloc(context, Max(model->nrules, 1) * sizeof(LsRule *));
	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];

		if (!rule->enabled || rule->event != event || is_special(rule) != special)
			continue;
		specs[result->n].name = rule->name;
		specs[result->n].component = rule->component;
		specs[result->n].condition = rule->condition;
		specs[result->n].points = rule->points;
		result->rules[result->n++] = rule;
	}
	if (result->n > 0)
	{
		rel = table_open(relid, AccessShareLock);
		result->program = ls_eval_compile(context, model->name, RelationGetDescr(rel),
										  model->ncomponents, result->n, specs);
		table_close(rel, NoLock);
	}
	pfree(specs);
}

/* Is a value of the type written in one way only, whatever a session's settings? */
static bool
has_plain_text(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case UUIDOID:
			return true;
		default:
			return false;
	}
}

/* How keys are compared, hashed, printed, and read from events. */
static void
prepare_keys(LiveModel *live, MemoryContext context)
{
	const LsModel *model = live->model;
	TypeCacheEntry *type = lookup_type_cache(model->key_type, TYPECACHE_CMP_PROC | TYPECACHE_HASH_PROC |
											 TYPECACHE_EQ_OPR);
	Oid			base = getBaseType(model->key_type);
	bool		varlena;

	get_typlenbyval(model->key_type, &live->key_len, &live->key_byval);
	live->key_is_int = ls_is_integer(base);
	live->key_eq = type->eq_opr;
	live->key_eq_proc = get_opcode(type->eq_opr);
	if (!OidIsValid(type->cmp_proc))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s of the lead key has no btree order", format_type_be(model->key_type))));
	fmgr_info_cxt(type->cmp_proc, &live->key_cmp, context);
	if (OidIsValid(type->hash_proc))
		fmgr_info_cxt(type->hash_proc, &live->key_hash, context);
	getTypeOutputInfo(model->key_type, &live->key_output, &varlena);
	getTypeInputInfo(model->key_type, &live->key_input, &live->key_ioparam);
	live->key_text_plain = has_plain_text(base);

	if (OidIsValid(model->events) && getBaseType(model->event_lead_type) != base &&
		live->key_is_int && ls_is_integer(model->event_lead_type))
		live->event_int_len = get_typlen(model->event_lead_type);
	else if (OidIsValid(model->events) && getBaseType(model->event_lead_type) != base)
	{
		int32		typmod;
		Oid			collation;
		Oid			column_type;
		Node	   *key;

		get_atttypetypmodcoll(model->events, model->event_lead_attno, &column_type, &typmod, &collation);
		key = (Node *) makeVar(1, model->event_lead_attno, column_type, typmod, collation, 0);
		key = coerce_to_target_type(NULL, key, column_type, model->key_type, -1,
									COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
		if (key == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CANNOT_COERCE),
					 errmsg("the lead of an event, of type %s, cannot be cast to the lead key's type %s",
							format_type_be(column_type), format_type_be(model->key_type))));
		if (!IsA(key, RelabelType) && !IsA(key, Var))
			live->event_key = expression_planner((Expr *) key);
	}
}

/* Add a column, or those that rules read. */
static void
add_columns(LiveColumns *columns, const AttrNumber *attnos, int n)
{
	columns->attnos = columns->attnos == NULL ? palloc((n + 1) * sizeof(AttrNumber)) :
		repalloc(columns->attnos, (columns->n + n + 1) * sizeof(AttrNumber));
	for (int i = 0; i < n; i++)
		columns->attnos[columns->n++] = attnos[i];
}

static void
add_columns_of(LiveColumns *columns, const LiveRules *rules)
{
	const AttrNumber *attnos;
	int			n;

	if (rules->program == NULL)
		return;
	columns->whole_row |= ls_eval_needs_row(rules->program);
	n = ls_eval_columns(rules->program, &attnos);
	add_columns(columns, attnos, n);
}

static LiveModel *
compile_model(const char *name)
{
	LsModel    *model = ls_model_load(name, LS_LIVE);
	LiveModel  *live = palloc0(sizeof(LiveModel));

	ls_model_analyse(model);
	live->model = model;
	live->score_relid = ls_model_score_relid(model, false);
	live->shape_type = get_atttype(live->score_relid, SCORE_TABLE_SCORE);
	if (get_atttype(live->score_relid, SCORE_TABLE_LEAD) != model->key_type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the lead key is now of type %s, and stored scores have keys of type %s",
						format_type_be(model->key_type),
						format_type_be(get_atttype(live->score_relid, SCORE_TABLE_LEAD)))));
	ls_model_shape(model, &live->shape);
	prepare_keys(live, CurrentMemoryContext);
	compile_rules(&live->lead_rules, CurrentMemoryContext, model, model->leads, false, false);
	if (OidIsValid(model->events))
	{
		compile_rules(&live->event_rules, CurrentMemoryContext, model, model->events, true, false);
		compile_rules(&live->special_rules, CurrentMemoryContext, model, model->events, true, true);
	}
	add_columns(&live->lead_columns, &model->lead_attno, 1);
	add_columns_of(&live->lead_columns, &live->lead_rules);
	if (OidIsValid(model->events))
	{
		add_columns(&live->event_columns, &model->event_lead_attno, 1);
		add_columns(&live->event_columns, &model->event_at_attno, 1);
		add_columns_of(&live->event_columns, &live->event_rules);
		add_columns_of(&live->event_columns, &live->special_rules);
	}
	return live;
}

/* ls_attempt, but severe errors go on. */
ErrorData *
ls_live_attempt(void (*work) (void *arg), void *arg, bool keep)
{
	ErrorData  *error = ls_attempt(work, arg, keep);

	if (error && ls_live_is_severe(error))
		ReThrowError(error);
	return error;
}

/*
 * Who writes, or alters, a table is not to suffer for a model that does not fit
 * it. Returns what to mark the model with.
 */
char *
ls_live_warn_not_kept(const char *name, ErrorData *error)
{
	char	   *why = error->context ? psprintf("%s (%s)", error->message, error->context) : pstrdup(error->message);

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("scores of model \"%s\" are not kept: %s", name, error->message),
			 error->context ? errdetail("%s.", error->context) : 0,
			 errhint("Mend the table or the model, then run leadscore.rescore('%s').", name)));
	FreeErrorData(error);
	return why;
}

typedef struct Compiling
{
	const char *name;
	MemoryContext context;
	Oid			owner;
	LiveModel  *result;
} Compiling;

static void
compile_as_owner(void *arg)
{
	Compiling  *compiling = arg;
	LiveIdentity identity;

	MemoryContextSwitchTo(compiling->context);
	ls_live_become_table_owner(&identity, compiling->owner, false);
	compiling->result = compile_model(compiling->name);
	ls_live_become_self(&identity);
}

/*
 * Compile one model, or NULL and a warning if that cannot be done, as when a
 * column that a rule reads was dropped: the writer of the table is not to suffer
 * for it. What was left behind once is not kept either, though it fits again:
 * crossings would be told of wrong scores.
 */
static LiveModel *
try_compile(const char *name, MemoryContext context, Oid owner, char **why)
{
	Compiling	compiling = {name, context, owner, NULL};
	ErrorData  *error = ls_live_attempt(compile_as_owner, &compiling, true);

	if (error != NULL)
	{
		*why = ls_live_warn_not_kept(name, error);
		return NULL;
	}
	*why = ls_kept_mark(name);
	if (*why == NULL)
		return compiling.result;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("scores of model \"%s\" are not kept: they are out of date", name),
			 errdetail("Its tables were changed while it did not fit them: %s.", *why),
			 errhint("Run leadscore.rescore('%s').", name)));
	return NULL;
}

/* The names of the models that are live over a table. */
static List *
model_names(Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *names = NIL;

	SPI_connect();
	ls_catalog_execute("SELECT model FROM leadscore.model"
					   " WHERE (leads::oid = $1 OR events::oid = $1) AND live_version IS NOT NULL"
					   " AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname = 'score_' || model"
					   "   AND c.relnamespace = 'leadscore'::regnamespace)"
					   " ORDER BY model", 1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		names = lappend(names, pstrdup(name));
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return names;
}

/*
 * A table may be a partition of one that has models, or inherit from it. All
 * tables above it are noted, as any of them may get one.
 */
static void
find_above(Oid relid, LiveTableData *data, int more)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};

	SPI_connect();
	ls_catalog_execute("WITH RECURSIVE up (relid, n) AS ("
					   "SELECT inhparent, 1 FROM pg_catalog.pg_inherits WHERE inhrelid = $1 AND NOT inhdetachpending"
					   " UNION ALL SELECT i.inhparent, n + 1 FROM up JOIN pg_catalog.pg_inherits i"
					   " ON i.inhrelid = up.relid AND NOT i.inhdetachpending)"
					   " SELECT relid, EXISTS (SELECT FROM leadscore.model m"
					   " WHERE (m.leads::oid = relid OR m.events::oid = relid) AND m.live_version IS NOT NULL)"
					   " FROM up ORDER BY n", 1, types, values, NULL);
	data->deps = MemoryContextAllocZero(data->context, (SPI_processed + more + 1) * sizeof(Oid));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			above = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		data->deps[data->ndeps++] = above;
		if (!OidIsValid(data->above) &&
			DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull)))
			data->above = above;
	}
	SPI_finish();
}

static bool
note_function(Oid function, void *arg)
{
	List	  **functions = arg;

	if (function >= FirstNormalObjectId)
		*functions = list_append_unique_int(*functions, (int) GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function)));
	return false;
}

static bool
note_functions(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, note_function, arg);
	return expression_tree_walker(node, note_functions, arg);
}

static LiveTableData *
make_table(Oid relid)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore live models",
												  ALLOCSET_SMALL_SIZES);
	LiveTableData *data = MemoryContextAllocZero(context, sizeof(LiveTableData));
	List	   *names;
	ListCell   *cell;
	bool		snapshot = !ActiveSnapshotSet();
	uint64		before = invalidations;

	if (snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	names = model_names(relid);
	data->context = context;
	data->valid = true;
	data->models = MemoryContextAllocZero(context, Max(list_length(names), 1) * sizeof(LiveModel *));
	data->skipped = MemoryContextAllocZero(context, Max(list_length(names), 1) * sizeof(LiveSkipped));
	data->tried_at = GetCurrentStatementStartTimestamp();
	find_above(relid, data, list_length(names) * 3);
	foreach(cell, names)
	{
		MemoryContext oldcontext;
		char	   *why;
		LiveModel  *live = try_compile(lfirst(cell), context, ls_live_owner_of(relid), &why);

		if (live == NULL)
		{
			data->skipped[data->nskipped].model = MemoryContextStrdup(context, lfirst(cell));
			data->skipped[data->nskipped++].why = MemoryContextStrdup(context, why);
			continue;
		}
		data->models[data->nmodels++] = live;
		data->deps[data->ndeps++] = live->model->leads;
		data->deps[data->ndeps++] = live->score_relid;
		if (OidIsValid(live->model->events))
			data->deps[data->ndeps++] = live->model->events;
		oldcontext = MemoryContextSwitchTo(context);
		for (int i = 0; i < live->model->nrules; i++)
		{
			(void) note_functions((Node *) live->model->rules[i].condition, &data->functions);
			(void) note_functions((Node *) live->model->rules[i].points, &data->functions);
		}
		MemoryContextSwitchTo(oldcontext);
	}
	if (snapshot)
		PopActiveSnapshot();
	/* what changed meanwhile may not be in it: good for this statement only */
	if (invalidations != before)
		data->valid = false;
	MemoryContextSetParent(context, CacheMemoryContext);
	return data;
}

/*
 * Mark a model whose scores are left behind, and let others know who have it
 * compiled: what they would add to wrong scores is wrong.
 */
static void
leave_behind(const LiveSkipped *skipped)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(skipped->model)};
	bool		isnull;

	if (!ls_kept_set(skipped->model, skipped->why))
		return;
	SPI_connect();
	ls_catalog_execute("SELECT leads::oid, coalesce(events::oid, 0) FROM leadscore.model WHERE model = $1", 1, types, values, NULL);
	for (int i = 1; SPI_processed > 0 && i <= 2; i++)
		ls_live_forget(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i, &isnull)));
	SPI_finish();
}

/*
 * What is known of a table is good until it is invalidated; that a model does
 * not fit, until the client's next statement: a type or a schema may have got
 * its name back.
 */
static bool
is_good(const LiveTableData *data)
{
	return data != NULL && data->valid &&
		(data->nskipped == 0 || data->tried_at == GetCurrentStatementStartTimestamp());
}

/*
 * The live models over a table, kept from being freed until they are unpinned
 * or the transaction ends. For who changes rows of it: models whose scores are
 * not kept are marked.
 */
LiveTableData *
ls_live_table_pin(Oid relid)
{
	LiveTable  *entry;
	LiveTableData *data;
	bool		found;

	if (tables == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(LiveTable)};

		tables = hash_create("leadscore live tables", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	}

	entry = hash_search(tables, &relid, HASH_FIND, NULL);
	if (entry == NULL || !is_good(entry->data))
	{
		/* loading may look at this cache again, and may fail: store it last */
		data = make_table(relid);
		entry = hash_search(tables, &relid, HASH_ENTER, &found);
		if (found && entry->data != NULL)
		{
			if (entry->data->pins > 0)
			{
				entry->data->next_zombie = zombies;
				zombies = entry->data;
			}
			else
				free_table(entry->data);
		}
		entry->data = data;
	}
	data = entry->data;
	data->pins++;
	pins++;
	/* each time: the mark of a subtransaction before may have been rolled back with it */
	for (int i = 0; i < data->nskipped; i++)
		leave_behind(&data->skipped[i]);
	return data;
}

/* Pinned once more, as it is. */
void
ls_live_table_hold(LiveTableData *table)
{
	table->pins++;
	pins++;
}

void
ls_live_table_unpin(LiveTableData *table)
{
	Assert(table->pins > 0);
	table->pins--;
	pins--;
}

/* One model by name, through the table of its leads; an error if it is not live. */
LiveTableData *
ls_live_model_pin(const char *name, LiveModel **model)
{
	LsModel    *loaded = ls_model_load(name, LS_LIVE);
	LiveTableData *table = ls_live_table_pin(loaded->leads);

	for (int i = 0; i < table->nmodels; i++)
		if (strcmp(table->models[i]->model->name, name) == 0)
		{
			*model = table->models[i];
			return table;
		}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("model \"%s\" cannot be used: see the warning before", name)));
	return NULL;
}

/*
 * A key as text, as crossings name leads and cool() is told of them: the same
 * whatever settings a session has.
 */
char *
ls_live_key_text(const LiveModel *live, Datum key)
{
	int			level = live->key_text_plain ? 0 : ls_portable_settings();
	char	   *text = OidOutputFunctionCall(live->key_output, key);

	if (level)
		AtEOXact_GUC(true, level);
	return text;
}

/* The key that was written so. */
Datum
ls_live_key_of_text(const LiveModel *live, char *text)
{
	int			level = live->key_text_plain ? 0 : ls_portable_settings();
	Datum		key = OidInputFunctionCall(live->key_input, text, live->key_ioparam, -1);

	if (level)
		AtEOXact_GUC(true, level);
	return key;
}
