/*
 * report.c
 *	  Giving out rows, and lists of numbers that grow and are sorted.
 */
#include "report.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include <math.h>

void
ls_row_begin(LsRow *row, FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	row->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	row->n = 0;
	Assert(row->rsinfo->setDesc->natts <= LS_MAX_COLUMNS);
}

void
ls_row_null(LsRow *row)
{
	Assert(row->n < LS_MAX_COLUMNS);
	row->values[row->n] = (Datum) 0;
	row->nulls[row->n++] = true;
}

void
ls_row_datum(LsRow *row, Datum value)
{
	Assert(row->n < LS_MAX_COLUMNS);
	row->values[row->n] = value;
	row->nulls[row->n++] = false;
}

void
ls_row_text(LsRow *row, const char *text)
{
	if (text)
		ls_row_datum(row, CStringGetTextDatum(text));
	else
		ls_row_null(row);
}

void
ls_row_int(LsRow *row, int64 value)
{
	ls_row_datum(row, Int64GetDatum(value));
}

/* A number as people read it: numeric with so many digits after the point */
Datum
ls_rounded(double value, int digits)
{
	return DirectFunctionCall2(numeric_round,
							   DirectFunctionCall1(float8_numeric, Float8GetDatum(value)),
							   Int32GetDatum(digits));
}

void
ls_row_number(LsRow *row, double value, int digits)
{
	if (isnan(value))
		ls_row_null(row);
	else
		ls_row_datum(row, ls_rounded(value, digits));
}

/* A bar of up to 20 characters, for a share of 0 to 1 */
void
ls_row_bar(LsRow *row, double share)
{
	char		buf[21];
	int			n = isnan(share) ? 0 : (int) rint(fmin(fmax(share, 0), 1) * 20);
	int			i;

	for (i = 0; i < n; i++)
		buf[i] = '#';
	buf[n] = '\0';
	ls_row_text(row, buf);
}

void
ls_row_put(LsRow *row)
{
	Assert(row->n == row->rsinfo->setDesc->natts);
	tuplestore_putvalues(row->rsinfo->setResult, row->rsinfo->setDesc, row->values, row->nulls);
	row->n = 0;
}

/* ---------- lists ---------- */

void
ls_doubles_grow(LsDoubles *d)
{
	d->max = d->max == 0 ? 8 : d->max * 2;
	d->v = d->v == NULL ? palloc(d->max * sizeof(double)) :
		repalloc_huge(d->v, d->max * sizeof(double));
}

void
ls_spans_grow(LsSpans *s)
{
	s->max = s->max == 0 ? 8 : s->max * 2;
	s->v = s->v == NULL ? palloc(s->max * sizeof(LsSpan)) :
		repalloc_huge(s->v, s->max * sizeof(LsSpan));
}

#define ST_SORT sort_doubles
#define ST_ELEMENT_TYPE double
#define ST_COMPARE(a, b) ((*(a) > *(b)) - (*(a) < *(b)))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* by days; at ties what ended comes before what is censored */
#define ST_SORT sort_spans
#define ST_ELEMENT_TYPE LsSpan
#define ST_COMPARE(a, b) ((a)->days != (b)->days ? ((a)->days > (b)->days) - ((a)->days < (b)->days) \
						  : (int) (b)->ended - (int) (a)->ended)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

void
ls_doubles_sort(LsDoubles *d)
{
	if (d->n > 1)
		sort_doubles(d->v, d->n);
}

void
ls_spans_sort(LsSpans *s)
{
	if (s->n > 1)
		sort_spans(s->v, s->n);
}
