/*
 * eval_scan.c
 *	  The scores of all leads, from one scan of the events and one of the leads.
 *
 * The query that model_query.c writes says what the scores are; this gives the
 * same for what is common, and says so beforehand when it does not apply: plain
 * tables that the caller may read as a whole (no row security, no views, no
 * partitions), and integer or uuid keys. The caller then runs the query.
 */
#include "leadscore.h"

#include <math.h>

#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "model/eval.h"
#include "model/eval_fold.h"
#include "model/eval_rows.h"
#include "score/score.h"

#define STORE_OPTIONS	(TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN)
#define STORE_ROWS		500		/* written at a time */
#define REPORT_ROWS		8192

/* a program with the model's number of each of its rules, and its state */
typedef struct ScanRules
{
	int			n;
	int		   *rules;
	LsProgram  *program;
	LsEval	   *eval;
	double		points[SCORE_MAX_COMPONENTS];
	uint64	   *matched;
	uint64	   *failed;
} ScanRules;

typedef struct LeadScan
{
	const LsModel *model;
	LsFailures *failures;
	LsScanReport report;
	void	   *report_arg;
	ScanRules	lead;
	ScanRules	event;
	ScanRules	limited;
	LsFold	   *fold;			/* NULL: no rules over events */
	TimestampTz newest;			/* the latest instant of an event */

	/* where the scores go */
	Relation	target;
	BulkInsertState bistate;
	CommandId	cid;
	TupleTableSlot *slots[STORE_ROWS];
	char	   *score;			/* the stored form of one */
	int			nslots;
	uint64		stored;
} LeadScan;

/* ---- does it apply? ---- */

/* A table whose rows a scan by this user yields as a query would. */
static bool
plain_table(Oid relid, bool with_children)
{
	bool		plain;
	Relation	rel;

	if (get_rel_relkind(relid) != RELKIND_RELATION ||
		(with_children && has_subclass(relid) && find_inheritance_children(relid, AccessShareLock) != NIL) ||
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	rel = table_open(relid, AccessShareLock);
	plain = !LS_HAS_VIRTUAL_COLUMNS(RelationGetDescr(rel)) &&
		!RELATION_IS_OTHER_TEMP(rel);
	table_close(rel, NoLock);
	return plain;
}

static bool
applies(const LsModel *model)
{
	Oid			key = getBaseType(model->key_type);
	bool		events = false;

	for (int i = 0; i < model->nrules; i++)
		events |= model->rules[i].enabled && model->rules[i].event;
	if (model->past != LS_PAST_NONE || !plain_table(model->leads, false) || (!ls_is_integer(key) && key != UUIDOID))
		return false;
	if (events)
	{
		Oid			event_key = getBaseType(model->event_lead_type);

		/* a cast from a wider integer could fail, which is for SQL to say */
		if (!plain_table(model->events, true) ||
			!(event_key == key || (ls_is_integer(key) && ls_is_integer(event_key) &&
								   get_typlen(event_key) <= get_typlen(key))))
			return false;
	}
	return true;
}

/* ---- rules ---- */

/* condition AND at >= from, or at < until, on the instant of the event */
static Expr *
limit_instant(const LsModel *model, Expr *condition, int strategy, TimestampTz bound)
{
	TypeCacheEntry *type = lookup_type_cache(TIMESTAMPTZOID, TYPECACHE_BTREE_OPFAMILY);
	Oid			op = get_opfamily_member(type->btree_opf, TIMESTAMPTZOID, TIMESTAMPTZOID, strategy);
	Expr	   *comparison;

	comparison = make_opclause(op, BOOLOID, false,
							   (Expr *) makeVar(1, model->event_at_attno, TIMESTAMPTZOID, -1, InvalidOid, 0),
							   (Expr *) makeConst(TIMESTAMPTZOID, -1, InvalidOid, sizeof(TimestampTz),
												  TimestampTzGetDatum(bound), false, FLOAT8PASSBYVAL),
							   InvalidOid, InvalidOid);
	return makeBoolExpr(AND_EXPR, list_make2(comparison, condition), -1);
}

static void
compile_rules(ScanRules *result, const LsModel *model, Relation rel, bool event, bool limited)
{
	LsRuleSpec *specs = palloc_array(LsRuleSpec, Max(model->nrules, 1));

	result->rules = palloc_array(int, Max(model->nrules, 1));
	for (int i = 0; i < model->nrules; i++)
	{
		const LsRule *rule = &model->rules[i];
		LsRuleSpec *spec = &specs[result->n];

		if (!rule->enabled || rule->event != event || (rule->at_most > 0) != limited)
			continue;
		spec->name = rule->name;
		spec->component = rule->component;
		spec->condition = rule->condition;
		spec->points = rule->points;
		if (rule->has_until)
			spec->condition = limit_instant(model, spec->condition, BTLessStrategyNumber, rule->valid_until);
		if (rule->has_from)
			spec->condition = limit_instant(model, spec->condition, BTGreaterEqualStrategyNumber,
											rule->valid_from);
		result->rules[result->n++] = i;
	}
	result->program = ls_eval_compile(CurrentMemoryContext, model->name, RelationGetDescr(rel),
									  model->ncomponents, result->n, specs);
	result->eval = ls_eval_begin(result->program, CurrentMemoryContext);
	result->matched = palloc0_array(uint64, Max(LS_RULE_WORDS(result->n), 1));
	result->failed = palloc0_array(uint64, Max(LS_RULE_WORDS(result->n), 1));
	pfree(specs);
}

/* Add the columns that rules read; true if they need the whole row. */
static bool
columns_of(const ScanRules *rules, Bitmapset **columns)
{
	const AttrNumber *attnos;
	int			n;

	if (rules->n == 0)
		return false;
	n = ls_eval_columns(rules->program, &attnos);
	for (int i = 0; i < n; i++)
		*columns = bms_add_member(*columns, attnos[i]);
	return ls_eval_has_expressions(rules->program);
}

/* Evaluate the rules; those that fail count as not matched, and are noted. */
static inline void
eval_row(LeadScan *scan, ScanRules *rules, const LsRows *row, uint64 *matched)
{
	if (likely(!ls_eval_values_safe(rules->eval, row->values, row->isnull, row->slot,
									rules->points, matched, rules->failed)))
		return;
	for (int i = 0; i < rules->n; i++)
		if (LS_RULE_IN(rules->failed, i))
			ls_failures_note(scan->failures, rules->rules[i], ls_eval_failure(rules->eval, i));
}

static inline LsFoldKey
read_key(Datum value, Oid type)
{
	LsFoldKey	key = {{0, 0}};

	switch (type)
	{
		case INT2OID:
			key.word[0] = (uint64) (int64) DatumGetInt16(value);
			break;
		case INT4OID:
			key.word[0] = (uint64) (int64) DatumGetInt32(value);
			break;
		case INT8OID:
			key.word[0] = (uint64) DatumGetInt64(value);
			break;
		default:
			memcpy(key.word, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
	}
	return key;
}

/* ---- the events ---- */

static void
scan_events(LeadScan *scan)
{
	const LsModel *model = scan->model;
	Relation	rel = table_open(model->events, NoLock);
	Oid			key_type = getBaseType(model->event_lead_type);
	int			key_place = model->event_lead_attno - 1;
	int			at_place = model->event_at_attno - 1;
	Bitmapset  *columns = bms_add_member(bms_make_singleton(key_place + 1), at_place + 1);
	bool		whole = columns_of(&scan->event, &columns);
	LsRows	   *rows;
	uint64		n = 0;
	TimestampTz newest = DT_NOBEGIN;

	whole |= columns_of(&scan->limited, &columns);
	rows = ls_rows_begin(rel, columns, whole);
	while (ls_rows_next(rows))
	{
		TimestampTz at;
		LsFoldKey	key;

		if (unlikely(++n % REPORT_ROWS == 0))
		{
			CHECK_FOR_INTERRUPTS();
			scan->report(scan->report_arg, n, true);
		}
		if (rows->isnull[key_place] || rows->isnull[at_place])
			continue;
		at = DatumGetTimestampTz(rows->values[at_place]);
		if (!score_instant_is_valid(at))
			continue;
		newest = Max(newest, at);
		key = read_key(rows->values[key_place], key_type);

		if (scan->event.n > 0)
		{
			eval_row(scan, &scan->event, rows, NULL);
			ls_fold_add(scan->fold, key, at, scan->event.points);
		}
		if (scan->limited.n > 0)
		{
			eval_row(scan, &scan->limited, rows, scan->limited.matched);
			for (int i = 0; i < scan->limited.n; i++)
				if (LS_RULE_IN(scan->limited.matched, i))
					ls_fold_add_limited(scan->fold, key, at, scan->limited.rules[i],
										ls_eval_rule_points(scan->limited.eval, rows->slot, i));
		}
	}
	ls_rows_end(rows);
	bms_free(columns);
	table_close(rel, NoLock);
	ls_fold_finish(scan->fold);
	scan->newest = newest;
}

/* ---- the leads ---- */

/* The least and the largest integer key; false if there are no leads. */
static bool
scan_keys(LeadScan *scan, int64 *least, int64 *largest)
{
	const LsModel *model = scan->model;
	Relation	rel = table_open(model->leads, NoLock);
	Oid			key_type = getBaseType(model->key_type);
	int			place = model->lead_attno - 1;
	LsRows	   *rows = ls_rows_begin(rel, bms_make_singleton(place + 1), false);
	uint64		n = 0;

	*least = PG_INT64_MAX;
	*largest = PG_INT64_MIN;
	while (ls_rows_next(rows))
	{
		if (unlikely(++n % REPORT_ROWS == 0))
			CHECK_FOR_INTERRUPTS();
		if (!rows->isnull[place])
		{
			int64		key = (int64) read_key(rows->values[place], key_type).word[0];

			*least = Min(*least, key);
			*largest = Max(*largest, key);
		}
	}
	ls_rows_end(rows);
	table_close(rel, NoLock);
	return *least <= *largest;
}

static void
write_slots(LeadScan *scan)
{
	if (scan->nslots == 0)
		return;
	table_multi_insert(scan->target, scan->slots, scan->nslots, scan->cid, STORE_OPTIONS, scan->bistate);
	for (int i = 0; i < scan->nslots; i++)
		ExecClearTuple(scan->slots[i]);
	scan->nslots = 0;
}

static void
store_score(LeadScan *scan, Datum lead, const Score *score)
{
	TupleTableSlot *slot = scan->slots[scan->nslots];
	char	   *datum = scan->score;

	SET_VARSIZE(datum, VARHDRSZ + score_encode(score, (unsigned char *) VARDATA(datum), SCORE_NATIVE));
	for (int i = 3; i < slot->tts_tupleDescriptor->natts; i++)
		slot->tts_isnull[i] = true;
	slot->tts_values[0] = lead;
	slot->tts_isnull[0] = false;
	slot->tts_values[1] = PointerGetDatum(datum);
	slot->tts_isnull[1] = false;
	slot->tts_values[2] = Int32GetDatum(scan->model->version);
	slot->tts_isnull[2] = false;
	ExecStoreVirtualTuple(slot);
	/* key and score lie in memory that the next row takes */
	ExecMaterializeSlot(slot);
	scan->stored++;
	if (++scan->nslots == STORE_ROWS)
		write_slots(scan);
}

static void
scan_leads(LeadScan *scan)
{
	const LsModel *model = scan->model;
	Relation	rel = table_open(model->leads, NoLock);
	Oid			key_type = getBaseType(model->key_type);
	int			place = model->lead_attno - 1;
	Bitmapset  *columns = bms_make_singleton(place + 1);
	bool		whole = columns_of(&scan->lead, &columns);
	LsRows	   *rows = ls_rows_begin(rel, columns, whole);
	Score		shape;
	uint64		n = 0;

	ls_model_shape(model, &shape);
	while (ls_rows_next(rows))
	{
		Score		score = shape;
		Datum		lead = rows->values[place];

		if (unlikely(++n % REPORT_ROWS == 0))
		{
			CHECK_FOR_INTERRUPTS();
			scan->report(scan->report_arg, scan->stored, false);
		}
		if (rows->isnull[place])
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("the key of a lead must not be null"),
					 errdetail("Column \"%s\" of table \"%s\" is the key of the leads of model \"%s\".",
							   model->lead_key, RelationGetRelationName(rel), model->name)));
		if (scan->fold)
		{
			LsFoldKey	key = read_key(lead, key_type);

			if (!ls_fold_in_range(scan->fold, key))
				continue;
			ls_fold_get(scan->fold, key, &score);
		}
		eval_row(scan, &scan->lead, rows, NULL);
		for (int i = 0; i < score.n; i++)
		{
			double		value = score.c[i].value + scan->lead.points[i];

			if (unlikely(isinf(value) || isnan(value)))
				ls_score_check(SCORE_OVERFLOW);
			/* + 0 so that -0 becomes 0; a component without points has no instant */
			score.c[i].value = value + 0.0;
		}
		store_score(scan, lead, &score);
	}
	write_slots(scan);
	ls_rows_end(rows);
	bms_free(columns);
	table_close(rel, NoLock);
}

/*
 * Score all leads into target, a table of stored scores that nobody else sees
 * yet, as of the active snapshot and with the caller's rights. False, and
 * nothing done, if only the query can do it. Notes the latest event's instant.
 */
bool
ls_scan_scores(LsModel *model, Relation target, LsScanReport report, void *report_arg, uint64 *rows)
{
	MemoryContext context;
	MemoryContext old;
	LeadScan   *scan;
	Relation	leads;

	if (!applies(model))
		return false;

	context = AllocSetContextCreate(CurrentMemoryContext, "leadscore scan", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	scan = palloc0(sizeof(LeadScan));
	scan->model = model;
	scan->failures = ls_failures_make(model);
	scan->report = report;
	scan->report_arg = report_arg;
	scan->target = target;
	scan->bistate = GetBulkInsertState();
	scan->cid = GetCurrentCommandId(true);
	scan->score = palloc(VARHDRSZ + SCORE_MAX_ENCODED);
	for (int i = 0; i < STORE_ROWS; i++)
		scan->slots[i] = table_slot_create(target, NULL);

	leads = table_open(model->leads, NoLock);
	compile_rules(&scan->lead, model, leads, false, false);
	if (OidIsValid(model->events))
	{
		Relation	events = table_open(model->events, AccessShareLock);

		compile_rules(&scan->event, model, events, true, false);
		compile_rules(&scan->limited, model, events, true, true);
		table_close(events, NoLock);
	}
	table_close(leads, NoLock);

	if (scan->event.n + scan->limited.n == 0)
		scan_leads(scan);
	else
	{
		bool		ints = ls_is_integer(getBaseType(model->key_type));
		int64		least,
					largest;

		scan->fold = ls_fold_create(model, ints ? 1 : 2, (Size) maintenance_work_mem * 1024);
		if (ints && scan->limited.n == 0 && scan_keys(scan, &least, &largest))
			ls_fold_know_keys(scan->fold, least, largest);
		while (ls_fold_next_range(scan->fold))
		{
			scan_events(scan);
			scan_leads(scan);
		}
		model->newest_event = scan->newest;
		ereport(DEBUG1,
				(errmsg_internal("model \"%s\": events read %d times", model->name,
								 ls_fold_passes(scan->fold))));
	}

	for (int i = 0; i < STORE_ROWS; i++)
		ExecDropSingleTupleTableSlot(scan->slots[i]);
	FreeBulkInsertState(scan->bistate);
	table_finish_bulk_insert(target, STORE_OPTIONS);
	*rows = scan->stored;
	ls_failures_report(scan->failures, true);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return true;
}
