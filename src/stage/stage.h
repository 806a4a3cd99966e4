/*
 * stage.h
 *	  The type leadscore.stage as other parts see it: one byte, passed by value.
 */
#ifndef LS_STAGE_H
#define LS_STAGE_H

#include "postgres.h"
#include "fmgr.h"

#include "stage/stage_core.h"

typedef uint8 LsStage;

#define DatumGetStage(d)	((LsStage) DatumGetUInt8(d))
#define StageGetDatum(s)	UInt8GetDatum(s)
#define PG_GETARG_STAGE(n)	DatumGetStage(PG_GETARG_DATUM(n))
#define PG_RETURN_STAGE(s)	return StageGetDatum(s)

#endif							/* LS_STAGE_H */
