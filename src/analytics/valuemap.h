/*
 * valuemap.h
 *	  Columns of any type, and numbers for their distinct values.
 */
#ifndef LS_VALUEMAP_H
#define LS_VALUEMAP_H

#include "leadscore.h"

#include "access/tupdesc.h"

/* How to read one column of whatever type */
typedef struct LsColumn
{
	Oid			type;
	bool		byval;
	bool		is_text;		/* text or varchar: the bytes are the text */
	bool		is_varlena;
	int16		len;
	FmgrInfo	output;
} LsColumn;

typedef struct LsValueEntry
{
	uint64		hash;
	Datum		value;			/* by value, or a copy of the bytes and a zero byte */
	uint32		len;			/* bytes, when not by value */
	uint32		number;			/* the caller's */
} LsValueEntry;

/*
 * Numbers for the distinct values of a column, looked up by the bytes of the
 * value. Zeroed memory with the context set is an empty map.
 */
typedef struct LsValueMap
{
	MemoryContext context;
	LsColumn	column;
	LsValueEntry *entries;
	uint32		nentries;
	uint32		maxentries;
	uint32	   *slots;			/* open addressing; 0 is empty, else index + 1 */
	uint32		mask;
	uint32		last;			/* index of the entry found last, + 1 */
} LsValueMap;

extern void ls_column_setup(LsColumn *c, TupleDesc desc, int i, MemoryContext context);
extern char *ls_value_text(LsColumn *c, Datum value);
extern const char *ls_value_bytes(const LsColumn *c, Datum value, uint32 *len);
extern LsValueEntry *ls_map_find(LsValueMap *m, Datum value, bool *isnew);
extern LsValueEntry *ls_map_find_bytes(LsValueMap *m, const char *bytes, uint32 len,
									   bool add, bool *isnew);

/* The 64-bit finalizer of MurmurHash3 (public domain) */
static inline uint64
ls_mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

#endif							/* LS_VALUEMAP_H */
