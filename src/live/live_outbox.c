/*
 * live_outbox.c
 *	  What the functions for consumers of crossings (live.sql) are asked, checked:
 *	  a misspelt name would look like an empty outbox.
 */
#include "leadscore.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "live/live.h"

PG_FUNCTION_INFO_V1(leadscore_check_consumer);
PG_FUNCTION_INFO_V1(leadscore_check_subscription);

/* check_consumer(consumer, n, lease): somebody subscribed, and can be given messages so */
Datum
leadscore_check_consumer(PG_FUNCTION_ARGS)
{
	char	   *consumer = ls_model_name_arg(fcinfo, 0, "the name of a consumer");
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(consumer)};
	Interval	none = {0};
	bool		exists;

	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of messages must be positive")));
	if (PG_ARGISNULL(2) ||
		DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(2), IntervalPGetDatum(&none))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the lease must not be null or negative"),
				 errdetail("A message is given to nobody else until its lease ends.")));
	SPI_connect();
	ls_catalog_execute("SELECT FROM leadscore.consumer WHERE consumer = $1", 1, types, values, NULL);
	exists = SPI_processed > 0;
	SPI_finish();
	if (!exists)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("consumer \"%s\" does not exist", consumer),
				 errhint("leadscore.subscribe() makes it; leadscore.consumer lists those there are.")));
	PG_RETURN_VOID();
}

/* check_subscription(consumer, model): there can be such a one */
Datum
leadscore_check_subscription(PG_FUNCTION_ARGS)
{
	(void) ls_model_name_arg(fcinfo, 0, "the name of a consumer");
	if (!PG_ARGISNULL(1))
		(void) ls_model_load(text_to_cstring(PG_GETARG_TEXT_PP(1)), LS_DRAFT);
	PG_RETURN_VOID();
}
