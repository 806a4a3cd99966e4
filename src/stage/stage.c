/*
 * stage.c
 *	  The type leadscore.stage: text and binary form, comparison, hashing.
 *
 * What the stages are called is stage_core.c's; which moves between them are
 * allowed is the pipeline part's.
 */
#include "leadscore.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/sortsupport.h"

#include "stage/stage.h"

PG_FUNCTION_INFO_V1(leadstage_in);
PG_FUNCTION_INFO_V1(leadstage_out);
PG_FUNCTION_INFO_V1(leadstage_recv);
PG_FUNCTION_INFO_V1(leadstage_send);
PG_FUNCTION_INFO_V1(leadstage_eq);
PG_FUNCTION_INFO_V1(leadstage_ne);
PG_FUNCTION_INFO_V1(leadstage_lt);
PG_FUNCTION_INFO_V1(leadstage_le);
PG_FUNCTION_INFO_V1(leadstage_gt);
PG_FUNCTION_INFO_V1(leadstage_ge);
PG_FUNCTION_INFO_V1(leadstage_cmp);
PG_FUNCTION_INFO_V1(leadstage_sortsupport);
PG_FUNCTION_INFO_V1(leadstage_hash);
PG_FUNCTION_INFO_V1(leadstage_hash_extended);
PG_FUNCTION_INFO_V1(leadstage_smaller);
PG_FUNCTION_INFO_V1(leadstage_larger);

#define ALL_STAGES "lead, mql, sql, prospect, client, lost, disqualified"

Datum
leadstage_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	uint8		code;

	if (!ls_stage_parse(text, strlen(text), GetDatabaseEncoding() == PG_UTF8, &code))
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input value for type stage: \"%s\"", text),
				 errhint("The stages are %s.", ALL_STAGES)));
	PG_RETURN_STAGE(code);
}

Datum
leadstage_out(PG_FUNCTION_ARGS)
{
	LsStage		stage = PG_GETARG_STAGE(0);
	const char *name = ls_stage_name(stage);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored stage has the unknown code %u", stage),
				 errhint("It may have been written by a later version of leadscore.")));
	PG_RETURN_CSTRING(pstrdup(name));
}

Datum
leadstage_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	LsStage		stage = (LsStage) pq_getmsgbyte(buf);

	if (ls_stage_name(stage) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary value for type stage: %u", stage)));
	PG_RETURN_STAGE(stage);
}

Datum
leadstage_send(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, PG_GETARG_STAGE(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
leadstage_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) == PG_GETARG_STAGE(1));
}

Datum
leadstage_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) != PG_GETARG_STAGE(1));
}

Datum
leadstage_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) < PG_GETARG_STAGE(1));
}

Datum
leadstage_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) <= PG_GETARG_STAGE(1));
}

Datum
leadstage_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) > PG_GETARG_STAGE(1));
}

Datum
leadstage_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_STAGE(0) >= PG_GETARG_STAGE(1));
}

Datum
leadstage_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) PG_GETARG_STAGE(0) - (int32) PG_GETARG_STAGE(1));
}

static int
stage_fastcmp(Datum x, Datum y, SortSupport ssup)
{
	(void) ssup;
	return (int) DatumGetStage(x) - (int) DatumGetStage(y);
}

Datum
leadstage_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = stage_fastcmp;
	PG_RETURN_VOID();
}

Datum
leadstage_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(UInt32GetDatum(hash_bytes_uint32(PG_GETARG_STAGE(0))));
}

Datum
leadstage_hash_extended(PG_FUNCTION_ARGS)
{
	uint64		seed = (uint64) PG_GETARG_INT64(1);

	PG_RETURN_DATUM(UInt64GetDatum(hash_bytes_uint32_extended(PG_GETARG_STAGE(0), seed)));
}

Datum
leadstage_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_STAGE(Min(PG_GETARG_STAGE(0), PG_GETARG_STAGE(1)));
}

Datum
leadstage_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_STAGE(Max(PG_GETARG_STAGE(0), PG_GETARG_STAGE(1)));
}
