/*
 * report.h
 *	  What the reporting functions share in giving out their rows.
 */
#ifndef LS_REPORT_H
#define LS_REPORT_H

#include "journey.h"
#include "stats.h"

#include "funcapi.h"
#include "nodes/execnodes.h"

#define LS_USECS_PER_DAY	86400000000.0

/* A row under construction: the columns of the result, filled left to right */
#define LS_MAX_COLUMNS	32

typedef struct LsRow
{
	ReturnSetInfo *rsinfo;
	int			n;
	Datum		values[LS_MAX_COLUMNS];
	bool		nulls[LS_MAX_COLUMNS];
} LsRow;

extern void ls_row_begin(LsRow *row, FunctionCallInfo fcinfo);
extern void ls_row_null(LsRow *row);
extern void ls_row_datum(LsRow *row, Datum value);
extern void ls_row_text(LsRow *row, const char *text);	/* NULL gives NULL */
extern void ls_row_int(LsRow *row, int64 value);
extern void ls_row_number(LsRow *row, double value, int digits);	/* NaN gives NULL */
extern void ls_row_bar(LsRow *row, double share);
extern void ls_row_put(LsRow *row);

extern Datum ls_rounded(double value, int digits);

/* A growing list of numbers */
typedef struct LsDoubles
{
	double	   *v;
	size_t		n;
	size_t		max;
} LsDoubles;

typedef struct LsSpans
{
	LsSpan	   *v;
	size_t		n;
	size_t		max;
} LsSpans;

extern void ls_doubles_grow(LsDoubles *d);
extern void ls_doubles_sort(LsDoubles *d);
extern void ls_spans_grow(LsSpans *s);
extern void ls_spans_sort(LsSpans *s);

static inline void
ls_doubles_add(LsDoubles *d, double x)
{
	if (d->n == d->max)
		ls_doubles_grow(d);
	d->v[d->n++] = x;
}

static inline void
ls_spans_add(LsSpans *s, double days, bool ended)
{
	if (s->n == s->max)
		ls_spans_grow(s);
	s->v[s->n].days = days;
	s->v[s->n++].ended = ended;
}

#endif							/* LS_REPORT_H */
