/*
 * live_partition.c
 *	  Partitions, and tables that inherit, which come with rows or go with them:
 *	  no row trigger fires for these, so event triggers see to the scores.
 *
 * What was attached or detached is taken from what PostgreSQL collects about the
 * command. What is dropped is read before the command, under the locks
 * that the command takes next. A command that is not about partitions or children
 * costs a look at its parse tree.
 */
#include "leadscore.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/deparse_utility.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "live/live.h"

PG_FUNCTION_INFO_V1(leadscore_live_ddl);

/* What became of a table. */
typedef struct Family
{
	Oid			parent;
	Oid			child;
	bool		came;			/* else it went */
	bool		rows;			/* it may hold some */
	bool		concurrently;	/* its rows had gone from sight before */
} Family;

/* ----------------------------------------------------------------
 *		Which commands, which tables
 * ----------------------------------------------------------------
 */

static bool
is_family_command(const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AttachPartition:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
		case AT_AddInherit:
		case AT_DropInherit:
			return true;
		default:
			return false;
	}
}

/* Can the command have made or parted parents and children? */
static bool
is_about_families(Node *command)
{
	ListCell   *cell;

	switch (nodeTag(command))
	{
		case T_AlterTableStmt:
			foreach(cell, castNode(AlterTableStmt, command)->cmds)
				if (is_family_command(lfirst_node(AlterTableCmd, cell)))
					return true;
			return false;
		case T_CreateStmt:
			return castNode(CreateStmt, command)->inhRelations != NIL;
		case T_CreateForeignTableStmt:
			return castNode(CreateForeignTableStmt, command)->base.inhRelations != NIL;
		case T_CreateSchemaStmt:
			return castNode(CreateSchemaStmt, command)->schemaElts != NIL;
		default:
			return false;
	}
}

/* A table itself and all above it, of which a model is live: OIDs. */
static List *
live_roots(Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *roots = NIL;

	SPI_connect();
	ls_catalog_execute("WITH RECURSIVE up (relid) AS (SELECT $1 UNION"
					   " SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.relid)"
					   " SELECT relid FROM up WHERE EXISTS (SELECT FROM leadscore.model m"
					   " WHERE (m.leads::oid = relid OR m.events::oid = relid) AND m.live_version IS NOT NULL)",
					   1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			root = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		roots = lappend_oid(roots, root);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return roots;
}

/* The parents of a table. */
static List *
parents_of(Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	List	   *parents = NIL;

	SPI_connect();
	ls_catalog_execute("SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = $1", 1, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			parent = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		parents = lappend_oid(parents, parent);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return parents;
}

static void
add_family(List **families, Oid parent, Oid child, bool came, bool rows, bool concurrently)
{
	Family	   *family = palloc(sizeof(Family));

	family->parent = parent;
	family->child = child;
	family->came = came;
	family->rows = rows;
	family->concurrently = concurrently;
	*families = lappend(*families, family);
}

static void
families_of_alter(const CollectedCommand *command, List **families)
{
	Oid			relid = command->d.alterTable.objectId;
	ListCell   *cell;

	foreach(cell, command->d.alterTable.subcmds)
	{
		CollectedATSubcmd *sub = lfirst(cell);
		AlterTableCmd *alter = (AlterTableCmd *) sub->parsetree;
		Oid			other = sub->address.objectId;

		if (!IsA(alter, AlterTableCmd) || !is_family_command(alter))
			continue;
		/* not every version collects it */
		if (!OidIsValid(other))
			other = RangeVarGetRelid(IsA(alter->def, PartitionCmd) ? castNode(PartitionCmd, alter->def)->name :
									 castNode(RangeVar, alter->def), NoLock, true);
		if (!OidIsValid(other))
			continue;
		if (alter->subtype == AT_AttachPartition)
		{
			/* of an index there is nothing to see */
			if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
				add_family(families, relid, other, true, true, false);
		}
		else if (alter->subtype == AT_AddInherit || alter->subtype == AT_DropInherit)
			add_family(families, other, relid, alter->subtype == AT_AddInherit, true, false);
		else
			add_family(families, relid, other, false, true,
					   alter->subtype == AT_DetachPartitionFinalize ||
					   castNode(PartitionCmd, alter->def)->concurrent);
	}
}

/* What the command did to parents and children. */
static List *
collected_families(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *families = NIL;
	List	   *created = NIL;
	ListCell   *cell;

	SPI_connect();
	ls_catalog_execute("SELECT objid, command FROM pg_catalog.pg_event_trigger_ddl_commands()"
					   " WHERE classid = 'pg_catalog.pg_class'::regclass AND objsubid = 0", 0, NULL, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		CollectedCommand *command = (CollectedCommand *)
			DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		if (command->type == SCT_AlterTable)
			families_of_alter(command, &families);
		else if (command->type == SCT_Simple &&
				 (IsA(command->parsetree, CreateStmt) || IsA(command->parsetree, CreateForeignTableStmt)))
			created = lappend_oid(created, relid);
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	foreach(cell, created)
	{
		ListCell   *parent;

		foreach(parent, parents_of(lfirst_oid(cell)))
			add_family(&families, lfirst_oid(parent), lfirst_oid(cell), true, false, false);
	}
	return families;
}

/* ----------------------------------------------------------------
 *		Attached and detached
 * ----------------------------------------------------------------
 */

static void
compute_anew(LiveFold *fold)
{
	for (int i = 0; i < fold->n; i++)
		fold->leads[i]->rebuild = true;
}

static void
follow_rows(LiveModel *live, Oid root, const Family *family, int depth)
{
	const char *cause = family->came ? "attach" : "detach";
	bool		events[2] = {false, true};

	for (int i = 0; i < 2; i++)
	{
		LiveFold   *fold;

		/* what inherits from a table of leads is no lead; its partitions' rows are */
		if (events[i] ? live->model->events != root :
			live->model->leads != root || get_rel_relkind(root) != RELKIND_PARTITIONED_TABLE)
			continue;
		fold = ls_live_fold_table(live, events[i], family->child, false, family->came, cause);
		if (family->concurrently)
			compute_anew(fold);
		ls_live_apply(fold, depth);
		ls_live_fold_end(fold);
	}
}

static void
follow(const Family *family, int depth)
{
	List	   *roots = live_roots(family->parent);
	ListCell   *cell;

	if (!family->came)
		ls_live_detach_child(family->child);
	foreach(cell, roots)
	{
		Oid			root = lfirst_oid(cell);
		LiveTableData *table;

		if (family->came)
			ls_live_attach_child(root, family->child);
		if (!family->rows)
			continue;
		table = ls_live_table_pin(root);
		for (int i = 0; i < table->nmodels; i++)
			follow_rows(table->models[i], root, family, depth);
		ls_live_table_unpin(table);
	}
}

/* ----------------------------------------------------------------
 *		Dropped
 * ----------------------------------------------------------------
 */

/* Note, of every model live over a table, that one below it may go. */
static void
note_leaving(Oid root, Oid relid, bool collect)
{
	LiveTableData *table = ls_live_table_pin(root);

	for (int i = 0; i < table->nmodels; i++)
	{
		LsModel    *model = table->models[i]->model;

		/* what inherits from a table of leads is no lead */
		if (model->events == root || get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE)
			(void) ls_live_note_leaving(model->name, root, relid, collect, false, "detach");
	}
	ls_live_table_unpin(table);
}

/*
 * DROP TABLE: the locks that the command takes, in its order, if the user may
 * drop the table at all; then what its rows gave is read.
 */
static void
before_drop_table(List *name)
{
	RangeVar   *range = makeRangeVarFromNameList(name);
	Oid			relid = RangeVarGetRelid(range, NoLock, true);
	List	   *parents;
	List	   *roots = NIL;
	ListCell   *cell;
	bool		owned;

	if (!OidIsValid(relid) || (!get_rel_relispartition(relid) && !has_superclass(relid)))
		return;
	parents = parents_of(relid);
	foreach(cell, parents)
		roots = list_concat_unique_oid(roots, live_roots(lfirst_oid(cell)));
	if (roots == NIL)
		return;
	/* who owns but the schema may drop it, too, but is not to have it locked by us */
	owned = ls_owns_relation(relid, GetUserId());
	if (owned)
	{
		if (get_rel_relispartition(relid))
			LockRelationOid(linitial_oid(parents), AccessExclusiveLock);
		LockRelationOid(relid, AccessExclusiveLock);
		if (RangeVarGetRelid(range, NoLock, true) != relid)
			return;
	}
	foreach(cell, roots)
		note_leaving(lfirst_oid(cell), relid, owned);
}

/* DROP SCHEMA and others that name no table: only note what there is. */
static void
before_drop_many(void)
{
	SPITupleTable *rows;
	uint64		n;

	SPI_connect();
	ls_catalog_execute("WITH RECURSIVE down (root, relid) AS ("
					   "SELECT DISTINCT i.inhparent, i.inhrelid FROM leadscore.model m"
					   " JOIN pg_catalog.pg_inherits i ON i.inhparent = m.leads::oid OR i.inhparent = m.events::oid"
					   " WHERE m.live_version IS NOT NULL"
					   " UNION SELECT root, i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid)"
					   " SELECT root, relid FROM down", 0, NULL, NULL, NULL);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		note_leaving(DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull)),
					 DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull)), false);
	}
	SPI_finish();
}

static LiveModel *
find_model(LiveTableData *table, const char *name)
{
	for (int i = 0; i < table->nmodels; i++)
		if (strcmp(table->models[i]->model->name, name) == 0)
			return table->models[i];
	return NULL;
}

/* After: whatever went takes its points along. */
static void
after_drop(int depth)
{
	LiveLeaving *entry;
	List	   *done = NIL;		/* entries whose models were computed anew */

	while ((entry = ls_live_take_dropped()) != NULL)
	{
		LiveTableData *table;
		LiveModel  *live;
		ListCell   *cell;
		bool		again = false;

		foreach(cell, done)
			again |= strcmp(((LiveLeaving *) lfirst(cell))->model, entry->model) == 0;
		/* the model's own table may have gone with it */
		if (again || get_rel_name(entry->root) == NULL)
			continue;
		table = ls_live_table_pin(entry->root);
		live = find_model(table, entry->model);
		if (live != NULL && get_rel_name(live->model->leads) != NULL)
		{
			if (entry->collected)
				ls_live_apply_leaving(entry, depth);
			else
			{
				ls_live_recompute_all(live, "detach", depth);
				done = lappend(done, entry);
			}
		}
		ls_live_table_unpin(table);
	}
}

/* ----------------------------------------------------------------
 *		The event trigger
 * ----------------------------------------------------------------
 */

static void
before_command(Node *command)
{
	ListCell   *cell;

	if (IsA(command, DropStmt) && (castNode(DropStmt, command)->removeType == OBJECT_TABLE ||
								   castNode(DropStmt, command)->removeType == OBJECT_FOREIGN_TABLE))
	{
		foreach(cell, castNode(DropStmt, command)->objects)
			before_drop_table(lfirst_node(List, cell));
	}
	else if (IsA(command, AlterTableStmt) || IsA(command, RenameStmt))
		ls_live_before_alter(command);
	else if (IsA(command, DropStmt) || IsA(command, DropOwnedStmt))
		before_drop_many();
}

static void
after_command(Node *command)
{
	int			depth = DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
	ListCell   *cell;

	if (IsA(command, DropStmt) || IsA(command, DropOwnedStmt))
		after_drop(depth);
	else if (is_about_families(command))
	{
		foreach(cell, collected_families())
			follow(lfirst(cell), depth);
	}
	ls_live_after_alter(command, depth);
}

Datum
leadscore_live_ddl(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;
	MemoryContext context;
	MemoryContext oldcontext;
	bool		snapshot;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("leadscore.live_ddl() can only be called as an event trigger")));
	/* somebody renamed our schema: nothing works, but DDL goes on */
	if (!OidIsValid(get_namespace_oid(LS_SCHEMA, true)))
		return PointerGetDatum(NULL);
	context = AllocSetContextCreate(CurrentMemoryContext, "leadscore live", ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	/* a command that commits on its way leaves none */
	snapshot = !ActiveSnapshotSet();
	if (snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	if (strcmp(trigger->event, "ddl_command_start") == 0)
		before_command(trigger->parsetree);
	else
		after_command(trigger->parsetree);
	if (snapshot)
		PopActiveSnapshot();
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
