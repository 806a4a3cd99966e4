/*
 * eval_rows.c
 *	  The rows of a table, one after the other, with the columns that are asked for.
 *
 * A scan into a slot pays for each row for the slot's own bookkeeping, and takes
 * every column apart up to the last one. Where only some columns are looked at,
 * and the table is a heap, tuples are taken apart here: columns before which all
 * have a fixed length are where they always are, and what nobody asked for is
 * stepped over.
 */
#include "leadscore.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "model/eval_rows.h"

typedef struct Column
{
	int32		offset;			/* in rows without NULLs; -1: depends on the row */
	int16		len;			/* as attlen */
	uint8		align;			/* in bytes */
	bool		byval;
	bool		wanted;
} Column;

typedef struct Rows
{
	LsRows		pub;			/* first: what callers see */
	TableScanDesc scan;
	TupleDesc	desc;
	int			last;			/* columns up to here */
	int			first;			/* where to begin in rows without NULLs */
	Datum	   *values;
	bool	   *isnull;
	Column		columns[FLEXIBLE_ARRAY_MEMBER];
} Rows;

static uint8
alignment(char typalign)
{
	switch (typalign)
	{
		case TYPALIGN_CHAR:
			return 1;
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT;
		case TYPALIGN_INT:
			return ALIGNOF_INT;
		default:
			return ALIGNOF_DOUBLE;
	}
}

/*
 * Begin to read all rows that the active snapshot sees, in the current memory
 * context. Of columns (a set of attribute numbers) every row yields the values,
 * valid until the next row; whole: in a slot, from which the others can be had.
 */
LsRows *
ls_rows_begin(Relation rel, const Bitmapset *columns, bool whole)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Rows	   *rows = palloc0(offsetof(Rows, columns) + desc->natts * sizeof(Column));
	int32		offset = 0;

	rows->desc = desc;
	rows->scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	for (int i = 0; i < desc->natts; i++)
		if (bms_is_member(i + 1, columns))
			rows->last = i + 1;
	if (whole || rel->rd_tableam != GetHeapamTableAmRoutine())
	{
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		rows->pub.slot = slot;
		rows->pub.values = slot->tts_values;
		rows->pub.isnull = slot->tts_isnull;
		return &rows->pub;
	}

	rows->pub.values = rows->values = palloc0_array(Datum, desc->natts);
	rows->pub.isnull = rows->isnull = palloc_array(bool, desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Column	   *column = &rows->columns[i];

		rows->isnull[i] = true;
		column->len = att->attlen;
		column->align = alignment(att->attalign);
		column->byval = att->attbyval;
		column->wanted = bms_is_member(i + 1, columns);
		/* a varlena that comes first after fixed ones may still be padded, or not */
		if (offset >= 0 && (column->len > 0 || (int32) TYPEALIGN(column->align, offset) == offset))
			column->offset = TYPEALIGN(column->align, offset);
		else
			column->offset = -1;
		offset = column->offset >= 0 && column->len > 0 ? column->offset + column->len : -1;
	}
	for (int i = 0; i < rows->last; i++)
	{
		if (rows->columns[i].offset >= 0)
			rows->first = i;
		if (rows->columns[i].wanted)
			break;
	}
	return &rows->pub;
}

static inline Datum
fetch(const Column *column, const char *at)
{
	if (!column->byval)
		return PointerGetDatum(at);
	switch (column->len)
	{
		case sizeof(int64):
			return Int64GetDatum(*(const int64 *) at);
		case sizeof(int32):
			return Int32GetDatum(*(const int32 *) at);
		case sizeof(int16):
			return Int16GetDatum(*(const int16 *) at);
		default:
			return CharGetDatum(*at);
	}
}

/* Where a column's value begins, and where it ends. */
static inline uint32
begin_of(const Column *column, const char *data, uint32 offset)
{
	/* a varlena with a short header is not aligned, and a pad byte is 0 */
	if (column->len == -1 && VARATT_NOT_PAD_BYTE(data + offset))
		return offset;
	return TYPEALIGN(column->align, offset);
}

static inline uint32
end_of(const Column *column, const char *data, uint32 offset)
{
	if (column->len > 0)
		return offset + column->len;
	if (column->len == -1)
		return offset + VARSIZE_ANY(data + offset);
	return offset + strlen(data + offset) + 1;
}

static inline void
deform(Rows *rows, HeapTuple tuple)
{
	HeapTupleHeader header = tuple->t_data;
	const char *data = (const char *) header + header->t_hoff;
	int			natts = HeapTupleHeaderGetNatts(header);
	int			last = Min(rows->last, natts);
	uint32		offset = 0;

	if (likely(!HeapTupleHasNulls(tuple)))
	{
		for (int i = rows->first; i < last; i++)
		{
			const Column *column = &rows->columns[i];

			offset = column->offset >= 0 ? (uint32) column->offset : begin_of(column, data, offset);
			if (column->wanted)
			{
				rows->values[i] = fetch(column, data + offset);
				rows->isnull[i] = false;
			}
			offset = end_of(column, data, offset);
		}
	}
	else
	{
		for (int i = 0; i < last; i++)
		{
			const Column *column = &rows->columns[i];

			if (att_isnull(i, header->t_bits))
			{
				rows->isnull[i] = true;
				continue;
			}
			offset = begin_of(column, data, offset);
			if (column->wanted)
			{
				rows->values[i] = fetch(column, data + offset);
				rows->isnull[i] = false;
			}
			offset = end_of(column, data, offset);
		}
	}
	/* columns that were added after the row */
	for (int i = last; i < rows->last; i++)
		if (rows->columns[i].wanted)
			rows->values[i] = heap_getattr(tuple, i + 1, rows->desc, &rows->isnull[i]);
}

/* The next row; false at the end. */
bool
ls_rows_next(LsRows *self)
{
	Rows	   *rows = (Rows *) self;

	if (self->slot == NULL)
	{
		HeapTuple	tuple = heap_getnext(rows->scan, ForwardScanDirection);

		if (tuple == NULL)
			return false;
		deform(rows, tuple);
		return true;
	}
	if (!table_scan_getnextslot(rows->scan, ForwardScanDirection, self->slot))
		return false;
	slot_getsomeattrs(self->slot, rows->last);
	return true;
}

void
ls_rows_end(LsRows *self)
{
	Rows	   *rows = (Rows *) self;

	table_endscan(rows->scan);
	if (self->slot)
		ExecDropSingleTupleTableSlot(self->slot);
	else
	{
		pfree(rows->values);
		pfree(rows->isnull);
	}
	pfree(rows);
}
