/*
 * valuemap.c
 *	  Columns of any type, and numbers for their distinct values.
 */
#include "valuemap.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

void
ls_column_setup(LsColumn *c, TupleDesc desc, int i, MemoryContext context)
{
	Form_pg_attribute attr = TupleDescAttr(desc, i);
	Oid			outfunc;
	bool		isvarlena;

	c->type = attr->atttypid;
	c->byval = attr->attbyval;
	c->len = attr->attlen;
	c->is_varlena = attr->attlen == -1;
	c->is_text = (c->type == TEXTOID || c->type == VARCHAROID);
	getTypeOutputInfo(c->type, &outfunc, &isvarlena);
	fmgr_info_cxt(outfunc, &c->output, context);
}

char *
ls_value_text(LsColumn *c, Datum value)
{
	return OutputFunctionCall(&c->output, value);
}

/* The bytes of a value that is not by value; varlenas detoasted, without header. */
const char *
ls_value_bytes(const LsColumn *c, Datum value, uint32 *len)
{
	if (c->is_varlena)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

		*len = VARSIZE_ANY_EXHDR(v);
		return VARDATA_ANY(v);
	}
	*len = c->len == -2 ? strlen(DatumGetCString(value)) : (uint32) c->len;
	return DatumGetPointer(value);
}

static uint64
hash_of_bytes(const char *bytes, uint32 len)
{
	uint64		a = 0,
				b = 0;

	if (len > 16)
		return hash_bytes_extended((const unsigned char *) bytes, (int) len, 0);

	/* two words, which may overlap; long values are rare and take the slow road */
	memcpy(&a, bytes, Min(len, 8));
	if (len > 8)
		memcpy(&b, bytes + len - 8, 8);
	return ls_mix(a ^ ls_mix(b + len));
}

static void
map_grow(LsValueMap *m)
{
	uint32		i;

	if (m->maxentries > PG_UINT32_MAX / 8)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different values to group by")));
	if (m->entries == NULL)
	{
		m->maxentries = 32;
		m->entries = MemoryContextAlloc(m->context, m->maxentries * sizeof(LsValueEntry));
	}
	else
	{
		m->maxentries *= 2;
		m->entries = repalloc_huge(m->entries, (Size) m->maxentries * sizeof(LsValueEntry));
		pfree(m->slots);
	}
	m->mask = m->maxentries * 2 - 1;
	m->slots = MemoryContextAllocExtended(m->context, ((Size) m->mask + 1) * sizeof(uint32),
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < m->nentries; i++)
	{
		uint32		slot = m->entries[i].hash & m->mask;

		while (m->slots[slot] != 0)
			slot = (slot + 1) & m->mask;
		m->slots[slot] = i + 1;
	}
}

static LsValueEntry *
map_add(LsValueMap *m, uint64 hash)
{
	LsValueEntry *e;
	uint32		slot;

	if (m->nentries == m->maxentries)
		map_grow(m);
	slot = hash & m->mask;
	while (m->slots[slot] != 0)
		slot = (slot + 1) & m->mask;
	e = &m->entries[m->nentries++];
	e->hash = hash;
	m->slots[slot] = m->nentries;
	m->last = 0;
	return e;
}

/* The entry of these bytes; a new one if add, else NULL where there is none */
LsValueEntry *
ls_map_find_bytes(LsValueMap *m, const char *bytes, uint32 len, bool add, bool *isnew)
{
	LsValueEntry *e;
	uint64		hash;
	char	   *copy;

	*isnew = false;

	/* few stages, few sources: the one found last is a good guess */
	if (m->last != 0)
	{
		e = &m->entries[m->last - 1];
		if (e->len == len && memcmp(DatumGetPointer(e->value), bytes, len) == 0)
			return e;
	}
	hash = hash_of_bytes(bytes, len);
	if (m->slots != NULL)
	{
		uint32		slot;

		for (slot = hash & m->mask; m->slots[slot] != 0; slot = (slot + 1) & m->mask)
		{
			e = &m->entries[m->slots[slot] - 1];
			if (e->hash == hash && e->len == len &&
				memcmp(DatumGetPointer(e->value), bytes, len) == 0)
			{
				m->last = m->slots[slot];
				return e;
			}
		}
	}
	if (!add)
		return NULL;
	copy = MemoryContextAlloc(m->context, (Size) len + 1);
	memcpy(copy, bytes, len);
	copy[len] = '\0';
	e = map_add(m, hash);
	e->value = PointerGetDatum(copy);
	e->len = len;
	*isnew = true;
	return e;
}

/* The entry of a value of the map's column; the caller numbers a new one. */
LsValueEntry *
ls_map_find(LsValueMap *m, Datum value, bool *isnew)
{
	LsValueEntry *e;
	uint64		hash;

	if (!m->column.byval)
	{
		uint32		len;
		const char *bytes = ls_value_bytes(&m->column, value, &len);

		return ls_map_find_bytes(m, bytes, len, true, isnew);
	}

	*isnew = false;
	if (m->last != 0 && m->entries[m->last - 1].value == value)
		return &m->entries[m->last - 1];
	hash = ls_mix((uint64) value);
	if (m->slots != NULL)
	{
		uint32		slot;

		for (slot = hash & m->mask; m->slots[slot] != 0; slot = (slot + 1) & m->mask)
		{
			e = &m->entries[m->slots[slot] - 1];
			if (e->value == value)
			{
				m->last = m->slots[slot];
				return e;
			}
		}
	}
	e = map_add(m, hash);
	e->value = value;
	e->len = 0;
	*isnew = true;
	return e;
}
