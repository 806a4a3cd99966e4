-- demo on real input: BPI Challenge 2020, domestic declarations (55,628 stage
-- events of 10,357 travel-expense declarations). The transitions that occur are
-- declared as a pipeline, and every event is replayed as an UPDATE; then one
-- transition is taken away, and exactly the cases that use it are refused.
--
-- psql variables: data = the folder of the log, fresh = 1 to load it first.
SET search_path = public, leadscore;
SET client_min_messages = warning;
\if :fresh
\o /dev/null
\set file :data /domestic_declarations_events.csv.gz
\set unpack 'gzip -dc ' :'file'
CREATE SCHEMA bpi;
CREATE TABLE bpi.event (
	case_id text, event_no int, activity text, ts timestamptz, resource text, role text,
	amount numeric, budget_no text, step_id text, PRIMARY KEY (case_id, event_no)
);
COPY bpi.event FROM PROGRAM :'unpack' WITH (FORMAT csv, HEADER);
CREATE VIEW bpi.step AS
	SELECT case_id, event_no, ts, activity AS to_stage, lag(activity) OVER (PARTITION BY case_id ORDER BY event_no) AS from_stage
	FROM bpi.event;

-- the pipeline: stages in the order of their first use, the transitions that occur
SELECT create_pipeline('declaration', note => 'mined from the log of BPI Challenge 2020');
SELECT count(add_stage('declaration', s.activity,
					   CASE WHEN s.activity LIKE '%Payment Handled%' THEN 'won' WHEN s.activity LIKE '%REJECTED%' OR s.activity LIKE '%SAVED%' THEN 'lost' ELSE 'open' END,
					   entry => EXISTS (SELECT FROM bpi.step e WHERE e.from_stage IS NULL AND e.to_stage = s.activity)))
FROM (SELECT activity, min(event_no) AS first, count(*) AS n FROM bpi.event GROUP BY 1 ORDER BY 2, 3 DESC) s;
SELECT count(add_transition('declaration', from_stage, to_stage))
FROM (SELECT DISTINCT from_stage, to_stage FROM bpi.step WHERE from_stage <> to_stage ORDER BY 1, 2) t;
SELECT publish_pipeline('declaration');

CREATE TABLE bpi.declaration (case_id text PRIMARY KEY, stage text);
INSERT INTO bpi.declaration (case_id) SELECT DISTINCT case_id FROM bpi.event;
SELECT enforce('bpi.declaration', 'stage', 'declaration');
DO $$
DECLARE
	e record;
BEGIN
	FOR e IN SELECT case_id, activity, ts FROM bpi.event ORDER BY ts, case_id, event_no LOOP
		PERFORM leadscore.backdate(e.ts);
		UPDATE bpi.declaration SET stage = e.activity WHERE case_id = e.case_id;
	END LOOP;
END
$$;

-- the same without the loop of resubmission, each case until its first refusal
SELECT copy_pipeline('declaration', 'no resubmission');
SELECT drop_transition('no resubmission', 'Declaration REJECTED by EMPLOYEE', 'Declaration SUBMITTED by EMPLOYEE');
SELECT publish_pipeline('no resubmission');
CREATE TABLE bpi.strict (case_id text PRIMARY KEY, stage text);
INSERT INTO bpi.strict (case_id) SELECT DISTINCT case_id FROM bpi.event;
SELECT enforce('bpi.strict', 'stage', 'no resubmission');
CREATE TABLE bpi.refused (case_id text, message text, detail text, hint text);
DO $$
DECLARE
	c record;
	e record;
	d text;
	h text;
BEGIN
	FOR c IN SELECT case_id FROM bpi.strict LOOP
		BEGIN
			FOR e IN SELECT activity FROM bpi.event WHERE case_id = c.case_id ORDER BY event_no LOOP
				UPDATE bpi.strict SET stage = e.activity WHERE case_id = c.case_id;
			END LOOP;
		EXCEPTION WHEN check_violation THEN
			GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
			INSERT INTO bpi.refused VALUES (c.case_id, SQLERRM, d, h);
		END;
	END LOOP;
END
$$;
ANALYZE;
\o
\endif
\pset footer off
\echo 'A real log: every event of every declaration, replayed as an UPDATE under the pipeline mined from it.'
SELECT (SELECT count(*) FROM bpi.event) AS events, (SELECT count(*) FROM bpi.declaration) AS cases,
	   (SELECT count(*) FROM pipeline_transition WHERE pipeline = 'declaration' AND version = 1) AS transitions,
	   (SELECT count(*) FROM stage_history WHERE relation = 'bpi.declaration'::regclass) AS "recorded moves";

\echo 'The history, with the true dates, against the input (events that repeat the stage are no moves):'
WITH input AS (
	SELECT case_id, row_number() OVER (PARTITION BY case_id ORDER BY event_no) AS n, ts, from_stage, to_stage
	FROM bpi.step WHERE from_stage IS DISTINCT FROM to_stage),
history AS (
	SELECT lead, row_number() OVER (PARTITION BY lead ORDER BY id) AS n, at, from_stage, to_stage
	FROM stage_history WHERE relation = 'bpi.declaration'::regclass)
SELECT (SELECT count(*) FROM (SELECT * FROM input EXCEPT ALL SELECT * FROM history) x) AS "in the input only",
	   (SELECT count(*) FROM (SELECT * FROM history EXCEPT ALL SELECT * FROM input) x) AS "in the history only",
	   (SELECT count(*) FROM bpi.event a WHERE NOT EXISTS (SELECT FROM bpi.step s WHERE s.case_id = a.case_id AND s.event_no = a.event_no AND s.from_stage IS DISTINCT FROM s.to_stage)) AS "repeated stages";

\echo 'How many cases ever reached each stage:'
SELECT replace(to_stage, 'Declaration ', '') AS stage, count(DISTINCT lead) AS cases
FROM stage_history WHERE relation = 'bpi.declaration'::regclass GROUP BY 1 ORDER BY 2 DESC, 1;

\echo 'Without the transition "REJECTED by EMPLOYEE -> SUBMITTED by EMPLOYEE":'
WITH uses AS (SELECT DISTINCT case_id FROM bpi.step
			  WHERE from_stage = 'Declaration REJECTED by EMPLOYEE' AND to_stage = 'Declaration SUBMITTED by EMPLOYEE')
SELECT (SELECT count(*) FROM uses) AS "cases that use it", (SELECT count(*) FROM bpi.refused) AS "cases refused",
	   (SELECT count(*) FROM uses FULL JOIN bpi.refused USING (case_id) WHERE uses.case_id IS NULL OR refused.case_id IS NULL) AS "in one of them only";
\echo 'One of the refusals:'
\pset format wrapped
\pset expanded on
SELECT message, detail, hint FROM bpi.refused ORDER BY case_id LIMIT 1;
\pset expanded off
\pset format aligned
\pset footer on
