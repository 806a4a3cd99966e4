/*
 * pipeline_history.h
 *	  How rows get into history: what pipeline_history.c, which knows the table,
 *	  and pipeline_batch.c, which writes many rows at once, have in common.
 */
#ifndef LS_PIPELINE_HISTORY_H
#define LS_PIPELINE_HISTORY_H

#include "leadscore.h"

#include "nodes/execnodes.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "pipeline/pipeline.h"

/* What we know about one partition of the history table. */
typedef struct HistoryLeaf
{
	Oid			relid;
	int			nindexes;
	Oid		   *indexes;
	IndexInfo **infos;
} HistoryLeaf;

/* pipeline_history.c */
extern Relation ls_history_open(void);
extern HistoryLeaf *ls_history_open_leaf(Relation root, TimestampTz at, Relation *rel);
extern bool ls_history_same_leaf(Relation root, const HistoryLeaf *leaf, TimestampTz at);
extern void ls_history_index(const HistoryLeaf *leaf, Relation rel, HeapTuple tuple,
							 const Datum *values, const bool *nulls);

/* pipeline_batch.c */
extern void ls_batch_add(const Datum *values, const bool *nulls);

#endif							/* LS_PIPELINE_HISTORY_H */
