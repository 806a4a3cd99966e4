-- make demo DATA=../shared/data/maven-crm: the funnel of 8,800 sales opportunities (of a fictitious firm)
-- on one page, from a table that knows nothing of leadscore: a view makes it a history.
\if :fresh
	CREATE SCHEMA maven;
	CREATE TABLE maven.deal (opportunity_id text PRIMARY KEY, sales_agent text, product text, account text, deal_stage text,
		engage_date date, close_date date, close_value numeric);
	\setenv DATA :data
	\copy maven.deal FROM PROGRAM 'gzip -dc "$DATA/sales_pipeline.csv.gz"' (FORMAT csv, HEADER)
	-- the 500 that are only prospected have no date at all, and so no place in time
	CREATE VIEW maven.moves AS
	SELECT opportunity_id AS lead, 'Engaging' AS stage, engage_date AS at FROM maven.deal WHERE engage_date IS NOT NULL
	UNION ALL
	SELECT opportunity_id, deal_stage, close_date FROM maven.deal WHERE close_date IS NOT NULL;
\endif
\set leads maven.deal
\set history maven.moves
\set stages '{Engaging,Won}'
\set lost '{Lost}'
\set by product
\set value close_value
\set as_of 2017-12-31
\ir report.sql
