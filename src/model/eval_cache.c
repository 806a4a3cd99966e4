/*
 * eval_cache.c
 *	  Compiled models, kept per backend: by model, version, which rows its rules
 *	  are about, and who asks.
 *
 * An entry goes stale when the tables it is about change, when anybody writes to
 * the tables of models (a statement trigger on them sends the same message as
 * ALTER TABLE does), and when a function, type, enum label or constraint is defined anew,
 * because conditions may use them. Who asks matters because functions that a
 * condition calls may have been inlined or evaluated on this user's behalf.
 *
 * Stale entries are not freed under those who hold them: a query that began with
 * a version of the rules ends with it.
 */
#include "leadscore.h"

#include "access/relation.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "model/eval.h"

PG_FUNCTION_INFO_V1(leadscore_model_changed);

#define CATALOG_TABLES	5

typedef struct CacheEntry
{
	LsCompiled	pub;			/* first: what callers see */
	struct CacheEntry *next;
	MemoryContext context;
	char	   *name;
	int			version;		/* as asked for: LS_LIVE stays LS_LIVE */
	bool		event;
	Oid			userid;
	Oid			relids[CATALOG_TABLES + 2];
	int			holders;
	bool		transient;		/* seen by this transaction only, maybe */
	bool		valid;
} CacheEntry;

typedef struct Hold
{
	MemoryContextCallback callback;
	CacheEntry *entry;
} Hold;

static CacheEntry *entries = NULL;
static bool any_transient = false;

/* Counts invalidations, to notice those that arrive while an entry is made. */
static uint64 invalidations = 0;

static const char *const catalog_tables[CATALOG_TABLES] = {
	"model", "model_version", "component", "rule", "band"
};

static void
relation_changed(Datum arg, Oid relid)
{
	(void) arg;
	invalidations++;
	for (CacheEntry *entry = entries; entry; entry = entry->next)
	{
		if (!OidIsValid(relid))
			entry->valid = false;
		for (int i = 0; i < (int) lengthof(entry->relids); i++)
			if (entry->relids[i] == relid)
				entry->valid = false;
	}
}

static void
definition_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	invalidations++;
	for (CacheEntry *entry = entries; entry; entry = entry->next)
		entry->valid = false;
}

/* What a transaction saw with a snapshot of its own is not for the next one. */
static void
transaction_ended(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	if (!any_transient)
		return;
	any_transient = false;
	for (CacheEntry *entry = entries; entry; entry = entry->next)
		if (entry->transient)
			entry->valid = false;
}

/* Called once, from _PG_init. */
void
ls_compiled_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, definition_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, definition_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, definition_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(CONSTROID, definition_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, definition_changed, (Datum) 0);
	RegisterXactCallback(transaction_ended, NULL);
}

/* Free entries that are stale and held by nobody. */
static void
sweep(void)
{
	CacheEntry **link = &entries;

	while (*link)
	{
		CacheEntry *entry = *link;

		if (!entry->valid && entry->holders == 0)
		{
			*link = entry->next;
			MemoryContextDelete(entry->context);
		}
		else
			link = &entry->next;
	}
}

static void
release(void *arg)
{
	((Hold *) arg)->entry->holders--;
}

/* The tables a compiled model is read from; plans that contain one depend on them. */
List *
ls_model_catalog_relids(void)
{
	Oid			schema = ls_schema_oid();
	List	   *relids = NIL;

	for (int i = 0; i < CATALOG_TABLES; i++)
		relids = lappend_oid(relids, get_relname_relid(catalog_tables[i], schema));
	return relids;
}

static void
compile(CacheEntry *entry)
{
	LsModel    *model = ls_model_load(entry->name, entry->version);
	LsRuleSpec *specs = palloc_array(LsRuleSpec, Max(model->nrules, 1));
	int		   *rules = palloc_array(int, Max(model->nrules, 1));
	Relation	rel;
	List	   *catalog = ls_model_catalog_relids();
	int			n = 0;

	for (int i = 0; i < CATALOG_TABLES; i++)
		entry->relids[i] = list_nth_oid(catalog, i);
	entry->relids[CATALOG_TABLES] = model->leads;
	entry->relids[CATALOG_TABLES + 1] = model->events;

	if (entry->event && !OidIsValid(model->events))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no table of events", model->name)));
	ls_model_analyse(model);
	for (int i = 0; i < model->nrules; i++)
	{
		if (!model->rules[i].enabled || model->rules[i].event != entry->event)
			continue;
		specs[n].name = model->rules[i].name;
		specs[n].component = model->rules[i].component;
		specs[n].condition = model->rules[i].condition;
		specs[n].points = model->rules[i].points;
		rules[n++] = i;
	}
	rel = relation_open(entry->event ? model->events : model->leads, AccessShareLock);
	entry->pub.program = ls_eval_compile(entry->context, model->name, RelationGetDescr(rel),
										 model->ncomponents, n, specs);
	relation_close(rel, AccessShareLock);
	entry->pub.model = model;
	entry->pub.rules = rules;
}

static CacheEntry *
make_entry(const char *name, int version, bool event)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "leadscore model",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CacheEntry *entry = palloc0(sizeof(CacheEntry));
	uint64		before = invalidations;
	int			level;

	entry->context = context;
	entry->name = pstrdup(name);
	entry->version = version;
	entry->event = event;
	entry->userid = GetUserId();
	entry->transient = IsolationUsesXactSnapshot() || IsInParallelMode();

	/* folded constants must not depend on the settings of who came first */
	level = ls_portable_settings();
	compile(entry);
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(old);

	/* nothing can fail from here on */
	entry->valid = (invalidations == before);
	any_transient |= entry->transient;
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->next = entries;
	entries = entry;
	return entry;
}

/*
 * The rules of a model's version (a number, LS_DRAFT or LS_LIVE) over its leads
 * or its events, compiled. It stays as it is until holder is reset.
 */
const LsCompiled *
ls_compiled_get(const char *model, int version, bool event, MemoryContext holder)
{
	CacheEntry *entry;
	Hold	   *hold = MemoryContextAllocZero(holder, sizeof(Hold));

	for (entry = entries; entry; entry = entry->next)
		if (entry->valid && entry->version == version && entry->event == event &&
			entry->userid == GetUserId() && strcmp(entry->name, model) == 0)
			break;
	if (entry == NULL)
	{
		sweep();
		/* if something changed meanwhile, look again; then take it for this once */
		for (int tries = 0; tries < 3; tries++)
		{
			entry = make_entry(model, version, event);
			if (entry->valid)
				break;
		}
	}
	entry->holders++;
	hold->entry = entry;
	hold->callback.func = release;
	hold->callback.arg = hold;
	MemoryContextRegisterResetCallback(holder, &hold->callback);
	return &entry->pub;
}

/*
 * Statement trigger on the tables of models: tells every backend that what it
 * keeps of models, and plans made from them, is out of date.
 */
Datum
leadscore_model_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("model_changed must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
