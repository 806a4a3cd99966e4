/*
 * receive.c
 *	  Running a query and handing its rows over one by one.
 *
 * SPI would keep the whole result; a cursor would copy every row. A history has
 * millions of rows of which we keep a few words each, so the executor's rows are
 * taken as they pass, through a DestReceiver.
 */
#include "journey.h"

#include "executor/spi.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/memutils.h"

typedef struct RowReceiver
{
	DestReceiver pub;
	LsRowCallback callback;
	void	   *arg;
	TupleDesc  *desc;
	MemoryContext desc_context;
	MemoryContext row_context;
} RowReceiver;

static void
row_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
	RowReceiver *r = (RowReceiver *) self;

	(void) operation;
	if (r->desc)
	{
		MemoryContext old = MemoryContextSwitchTo(r->desc_context);

		*r->desc = CreateTupleDescCopy(typeinfo);
		MemoryContextSwitchTo(old);
	}
}

static bool
row_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row_context);

	slot_getallattrs(slot);
	r->callback(r->arg, slot->tts_values, slot->tts_isnull);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row_context);
	return true;
}

static void
row_nothing(DestReceiver *self)
{
	(void) self;
}

/*
 * Run one SELECT with the rights and the snapshot of the caller. The callback
 * runs in a context that is reset after each row. If desc is given, it gets
 * a copy of the row's shape, before the first row.
 */
void
ls_run_query(const char *sql, LsRowCallback callback, void *arg,
			 TupleDesc *desc, MemoryContext desc_context)
{
	RowReceiver receiver = {0};
	SPIExecuteOptions options = {0};
	int			rc;

	receiver.pub.receiveSlot = row_receive;
	receiver.pub.rStartup = row_startup;
	receiver.pub.rShutdown = row_nothing;
	receiver.pub.rDestroy = row_nothing;
	receiver.pub.mydest = DestTuplestore; /* any but DestNone: rows are wanted */
	receiver.callback = callback;
	receiver.arg = arg;
	receiver.desc = desc;
	receiver.desc_context = desc_context;

	ls_spi_expect(SPI_connect(), SPI_OK_CONNECT);
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "leadscore row", ALLOCSET_SMALL_SIZES);
	options.read_only = true;
	options.dest = &receiver.pub;
	rc = SPI_execute_extended(sql, &options);
	ls_spi_expect(rc, SPI_OK_SELECT);
	SPI_finish();
}
