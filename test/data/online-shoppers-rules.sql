-- test on real data: random rules with constants from the data, in C and as SQL
\setenv LEADSCORE_SHOP :data
CREATE TABLE visit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, administrative int, administrative_duration float8, informational int2,
	informational_duration float4, product_related bigint, product_related_duration numeric, bounce_rates numeric, exit_rates float8, page_values numeric,
	special_day numeric(2, 1), month text, operating_systems int, browser int, region int, traffic_type int, visitor_type varchar(40), weekend bool, revenue bool);
\copy visit (administrative, administrative_duration, informational, informational_duration, product_related, product_related_duration, bounce_rates, exit_rates, page_values, special_day, month, operating_systems, browser, region, traffic_type, visitor_type, weekend, revenue) FROM PROGRAM 'zcat "$LEADSCORE_SHOP"/online_shoppers_intention.csv.gz' WITH (FORMAT csv, HEADER)
-- unknown values, as leads have them
UPDATE visit SET page_values = NULLIF(page_values, 0), region = NULLIF(region, 9), visitor_type = NULLIF(visitor_type, 'Other');
CREATE FUNCTION probe(relation regclass, conditions text[], points text[], components int[], how text,
	OUT key text, OUT points float8[], OUT rules int[], OUT failed int[])
RETURNS SETOF record AS '$libdir/leadscore', 'leadscore_eval_probe' LANGUAGE C;
CREATE FUNCTION a_value(col text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	EXECUTE format('SELECT quote_literal(%I) FROM visit WHERE id = 1 + floor(random() * 12000)::int OR id = 1 ORDER BY id DESC LIMIT 1', col) INTO result;
	RETURN coalesce(result, 'NULL');
END $$;
CREATE FUNCTION a_rule() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	col text := (SELECT attname FROM pg_attribute WHERE attrelid = 'visit'::regclass AND attnum = (SELECT 2 + floor(random() * 18)::int));
	k float8 := random();
BEGIN
	RETURN CASE WHEN k < 0.3 THEN format('%I %s %s', col, (ARRAY['=', '<>', '<', '<=', '>', '>='])[1 + floor(random() * 6)::int], a_value(col))
		WHEN k < 0.5 THEN format('%I IN (%s, %s, %s)', col, a_value(col), a_value(col), a_value(col))
		WHEN k < 0.65 THEN format('%I BETWEEN %s AND %s', col, a_value(col), a_value(col))
		WHEN k < 0.7 THEN format('%I IS NULL', col)
		WHEN k < 0.85 THEN format('(%s) AND NOT (%s)', a_rule(), a_rule())
		WHEN k < 0.95 THEN format('(%s) OR (%s)', a_rule(), a_rule())
		ELSE 'exit_rates > bounce_rates AND product_related_duration / product_related > 30' END;
END $$;
\set seed 0.12330
SELECT setseed(:seed) IS NOT NULL AS seeded;
DO $$
DECLARE
	conditions text[] := (SELECT array_agg(a_rule()) FROM generate_series(1, 300));
BEGIN
	EXECUTE format('CREATE TABLE by_sql AS SELECT id::text AS key, %s AS rules FROM visit', (SELECT string_agg(
		format('CASE WHEN product_related <> 0 AND (%s) THEN ARRAY[%s] ELSE ''{}''::int[] END', c, i), ' || ' ORDER BY i) FROM unnest(conditions) WITH ORDINALITY x(c, i)));
	CREATE TABLE in_c AS SELECT way, p.key, p.rules FROM unnest('{slot,args}'::text[]) way,
		LATERAL probe('visit', (SELECT array_agg('product_related <> 0 AND (' || c || ')' ORDER BY i) FROM unnest(conditions) WITH ORDINALITY x(c, i)),
					  array_fill('1'::text, ARRAY[300]), array_fill(1, ARRAY[300]), way) p;
END $$;
SELECT way, count(*) AS visits, count(*) FILTER (WHERE c.rules IS DISTINCT FROM s.rules) AS differ, sum(cardinality(c.rules)) > 100000 AS enough
FROM by_sql s FULL JOIN in_c c USING (key) GROUP BY way ORDER BY way;
