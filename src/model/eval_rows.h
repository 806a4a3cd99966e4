/*
 * eval_rows.h
 *	  The rows of a table, one after the other, with the columns that are asked for.
 */
#ifndef LS_EVAL_ROWS_H
#define LS_EVAL_ROWS_H

#include "leadscore.h"

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

typedef struct LsRows
{
	/* of the current row, by attribute number - 1; only those asked for */
	const Datum *values;
	const bool *isnull;
	TupleTableSlot *slot;		/* the whole row; may be NULL if that was not asked for */
} LsRows;

extern LsRows *ls_rows_begin(Relation rel, const Bitmapset *columns, bool whole);
extern bool ls_rows_next(LsRows *rows);
extern void ls_rows_end(LsRows *rows);

#endif							/* LS_EVAL_ROWS_H */
