/*
 * tables.c
 *	  The user's other tables: what was spent (cost_days), which contacts a lead
 *	  had (touches), and which stages a report is about (funnel_stages).
 *
 * Each reads a table that the user names, with the caller's rights, and gives
 * it back in one shape, so that the reports on top can be plain SQL.
 */
#include "report.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(leadscore_cost_days);
PG_FUNCTION_INFO_V1(leadscore_touches);
PG_FUNCTION_INFO_V1(leadscore_funnel_stages);
PG_FUNCTION_INFO_V1(leadscore_stage_numbers);

typedef struct RowSink
{
	LsRow		row;
	int			ncolumns;
	const char *relname;
} RowSink;

/* ---------- cost_days ---------- */

enum
{
	COST_SOURCE,
	COST_CAMPAIGN,
	COST_PERIOD,				/* daterange, the whole of it */
	COST_FROM,					/* first day ... */
	COST_TO,					/* ... and last, included */
	COST_MONTH,					/* any day of the month meant */
	COST_DAY,					/* one day */
	COST_AMOUNT,
	COST_CURRENCY,
	N_COST_COLUMNS
};

static const char *const cost_keys[N_COST_COLUMNS] = {
	"source", "campaign", "period", "from", "to", "month", "day", "amount", "currency"
};

static const char *const cost_defaults[N_COST_COLUMNS][4] = {
	{"source", NULL},
	{"campaign", NULL},
	{"period", NULL},
	{"from_day", "starts", "period_start", NULL},
	{"to_day", "ends", "period_end", NULL},
	{"month", NULL},
	{"day", NULL},
	{"amount", "cost", NULL},
	{"currency", NULL}
};

static void
cost_row(void *arg, Datum *values, bool *isnull)
{
	RowSink    *sink = arg;
	int			i;

	if (isnull[2])
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("a cost in \"%s\" has no bounded period of at least one day", sink->relname),
				 isnull[0] ? errdetail("A cost without a source.") :
				 errdetail("A cost of source %s.", TextDatumGetCString(values[0])),
				 errhint("What is spent is spread over the days of its period.")));
	for (i = 0; i < sink->ncolumns; i++)
	{
		if (isnull[i])
			ls_row_null(&sink->row);
		else
			ls_row_datum(&sink->row, values[i]);
	}
	ls_row_put(&sink->row);
}

/*
 * Every cost, spread evenly over its days. The share of a day is the difference
 * of two rounded running sums, so that the shares add up to the amount exactly.
 */
Datum
leadscore_cost_days(PG_FUNCTION_ARGS)
{
	RowSink		sink;
	char	   *c[N_COST_COLUMNS] = {0};
	StringInfoData sql;
	Oid			relid;
	int			i;

	ls_row_begin(&sink.row, fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();		/* no table, no costs */
	relid = PG_GETARG_OID(0);
	ls_check_relation(relid);
	if (!PG_ARGISNULL(1))
		ls_read_mapping(PG_GETARG_JSONB_P(1), "cost_columns", cost_keys, N_COST_COLUMNS, c);

	/* a period that the user has named rules out the others' defaults */
	for (i = 0; i < N_COST_COLUMNS; i++)
	{
		bool		named = c[COST_PERIOD] || c[COST_FROM] || c[COST_MONTH] || c[COST_DAY];

		if (c[i] == NULL && !(named && i >= COST_PERIOD && i <= COST_DAY && i != COST_TO))
			c[i] = ls_first_column(relid, cost_defaults[i]);
	}
	if (c[COST_AMOUNT] == NULL ||
		(!c[COST_PERIOD] && !(c[COST_FROM] && c[COST_TO]) && !c[COST_MONTH] && !c[COST_DAY]))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("cannot tell which columns of \"%s\" are the amount and the period", get_rel_name(relid)),
				 errhint("Name them, for example cost_columns => '{\"amount\": \"eur\", \"from\": \"first_day\", \"to\": \"last_day\"}'; the period may also be one column: period (a daterange), month or day.")));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT s.source, s.campaign, (s.first_day OPERATOR(pg_catalog.+) d.i) AS day, "
						   "pg_catalog.round((s.amount OPERATOR(pg_catalog.*) (d.i OPERATOR(pg_catalog.+) 1)) OPERATOR(pg_catalog./) s.n, s.digits) "
						   "OPERATOR(pg_catalog.-) pg_catalog.round((s.amount OPERATOR(pg_catalog.*) d.i) OPERATOR(pg_catalog./) s.n, s.digits), s.currency "
						   "FROM (SELECT x.*, CASE WHEN pg_catalog.isfinite(x.first_day) AND pg_catalog.isfinite(x.end_day) "
						   "THEN (x.end_day OPERATOR(pg_catalog.-) x.first_day) END AS n, "
						   "GREATEST(2, pg_catalog.scale(x.amount)) AS digits FROM (SELECT ");
	for (i = COST_SOURCE; i <= COST_CAMPAIGN; i++)
	{
		if (c[i])
			appendStringInfo(&sql, "t.%s::pg_catalog.text AS %s, ", ls_quoted_column(relid, c[i], cost_keys[i]), cost_keys[i]);
		else
			appendStringInfo(&sql, "NULL::pg_catalog.text AS %s, ", cost_keys[i]);
	}
	if (c[COST_PERIOD])
	{
		const char *col = ls_quoted_column(relid, c[COST_PERIOD], "period");

		appendStringInfo(&sql, "pg_catalog.lower(t.%s)::pg_catalog.date AS first_day, pg_catalog.upper(t.%s)::pg_catalog.date AS end_day, ", col, col);
	}
	else if (c[COST_FROM] && c[COST_TO])
		appendStringInfo(&sql, "t.%s::pg_catalog.date AS first_day, (t.%s::pg_catalog.date OPERATOR(pg_catalog.+) 1) AS end_day, ",
						 ls_quoted_column(relid, c[COST_FROM], "from"), ls_quoted_column(relid, c[COST_TO], "to"));
	else if (c[COST_MONTH])
	{
		const char *col = ls_quoted_column(relid, c[COST_MONTH], "month");

		appendStringInfo(&sql, "pg_catalog.date_trunc('month', t.%s::pg_catalog.timestamp)::pg_catalog.date AS first_day, "
						 "(pg_catalog.date_trunc('month', t.%s::pg_catalog.timestamp) OPERATOR(pg_catalog.+) '1 mon'::pg_catalog.interval)::pg_catalog.date AS end_day, ",
						 col, col);
	}
	else
	{
		const char *col = ls_quoted_column(relid, c[COST_DAY], "day");

		appendStringInfo(&sql, "t.%s::pg_catalog.date AS first_day, (t.%s::pg_catalog.date OPERATOR(pg_catalog.+) 1) AS end_day, ", col, col);
	}
	appendStringInfo(&sql, "t.%s::pg_catalog.numeric AS amount, ", ls_quoted_column(relid, c[COST_AMOUNT], "amount"));
	if (c[COST_CURRENCY])
		appendStringInfo(&sql, "t.%s::pg_catalog.text AS currency", ls_quoted_column(relid, c[COST_CURRENCY], "currency"));
	else
		appendStringInfoString(&sql, "NULL::pg_catalog.text AS currency");

	/* an infinite date has no difference to another: no days, which cost_row refuses */
	appendStringInfo(&sql, " FROM %s t) x WHERE x.amount IS NOT NULL) s LEFT JOIN LATERAL "
					 "pg_catalog.generate_series(0, (s.n OPERATOR(pg_catalog.-) 1)) d(i) ON true",
					 ls_qualified_name(relid));
	sink.ncolumns = 5;
	sink.relname = get_rel_name(relid);
	ls_run_query(sql.data, cost_row, &sink, NULL, NULL);
	PG_RETURN_NULL();
}

/* ---------- touches ---------- */

static const char *const touch_keys[] = {"lead", "at", "channel"};

static const char *const touch_defaults[][5] = {
	{"lead", "lead_id", NULL},
	{"at", "occurred_at", "touched_at", NULL},
	{"channel", "source", "kind", NULL}
};

static void
touch_row(void *arg, Datum *values, bool *isnull)
{
	RowSink    *sink = arg;

	/* a touch of nobody, at no time, is none */
	if (isnull[0] || isnull[1])
		return;
	ls_row_datum(&sink->row, values[0]);
	ls_row_datum(&sink->row, values[1]);
	if (isnull[2])
		ls_row_text(&sink->row, "(unknown)");
	else
		ls_row_datum(&sink->row, values[2]);
	ls_row_put(&sink->row);
}

Datum
leadscore_touches(PG_FUNCTION_ARGS)
{
	RowSink		sink;
	char	   *c[lengthof(touch_keys)] = {0};
	Oid			relid;
	int			i;

	ls_row_begin(&sink.row, fcinfo);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the table of touches must not be NULL")));
	relid = PG_GETARG_OID(0);
	ls_check_relation(relid);
	if (!PG_ARGISNULL(1))
		ls_read_mapping(PG_GETARG_JSONB_P(1), "touch_columns", touch_keys, lengthof(touch_keys), c);
	for (i = 0; i < (int) lengthof(touch_keys); i++)
	{
		if (c[i] == NULL)
			c[i] = ls_first_column(relid, touch_defaults[i]);
		if (c[i] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("cannot tell which column of \"%s\" is the %s of a touch", get_rel_name(relid), touch_keys[i]),
					 errhint("Name it, for example touch_columns => '{\"%s\": \"...\"}'.", touch_keys[i])));
	}
	sink.ncolumns = 3;
	sink.relname = get_rel_name(relid);
	ls_run_query(psprintf("SELECT t.%s::pg_catalog.text, t.%s::pg_catalog.timestamptz, t.%s::pg_catalog.text FROM %s t",
						  ls_quoted_column(relid, c[0], touch_keys[0]), ls_quoted_column(relid, c[1], touch_keys[1]),
						  ls_quoted_column(relid, c[2], touch_keys[2]), ls_qualified_name(relid)),
				 touch_row, &sink, NULL, NULL);
	PG_RETURN_NULL();
}

/* ---------- the stages a report would use ---------- */

Datum
leadscore_funnel_stages(PG_FUNCTION_ARGS)
{
	const char *kinds[] = {"open", "won", "lost", "elsewhere"};
	LsRow		row;
	LsQuery    *q;
	int			i;

	ls_row_begin(&row, fcinfo);
	q = ls_query_from_args(fcinfo, NULL);
	for (i = 0; i < q->nstages; i++)
	{
		ls_row_datum(&row, Int32GetDatum(i + 1));
		ls_row_text(&row, q->stages[i].name);
		ls_row_text(&row, kinds[q->stages[i].kind]);
		ls_row_put(&row);
	}
	PG_RETURN_NULL();
}

/* int[]: places in journeys.reached of one stage, or of the won stages */
Datum
leadscore_stage_numbers(PG_FUNCTION_ARGS)
{
	LsQuery    *q = ls_query_from_args(fcinfo, NULL);
	char	   *stage = PG_ARGISNULL(LS_N_QUERY_ARGS) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(LS_N_QUERY_ARGS));
	Datum	   *elems = palloc(q->nfunnel * sizeof(Datum));
	int		   *numbers,
				n,
				i;

	numbers = ls_stage_numbers(q, stage, &n);
	for (i = 0; i < n; i++)
		elems[i] = Int32GetDatum(numbers[i] + 1);
	PG_RETURN_ARRAYTYPE_P(construct_array(elems, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
