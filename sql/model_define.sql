-- regression test: making models, and what is refused on the way
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA md;
CREATE TABLE md.lead (lead_id bigint PRIMARY KEY, email text UNIQUE, sector text, employees int, budget numeric, score float8, "Odd ""name" bool);
CREATE TABLE md.event (id bigint PRIMARY KEY, lead_id bigint REFERENCES md.lead, kind text, at timestamptz, value float8, sector text);
CREATE TABLE md.two_times (lead_id bigint, seen timestamptz, made timestamptz, day date);
CREATE TABLE md.no_key (a int, b int);
CREATE TABLE md.pair_key (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE md.unrelated (who int, at timestamptz);
CREATE TABLE md.twice (first bigint REFERENCES md.lead, second bigint REFERENCES md.lead, at timestamptz);
CREATE TABLE md.odd_type (lead_id point, at timestamptz);
CREATE VIEW md.lead_view AS SELECT * FROM md.lead;
CREATE FUNCTION md.volatile() RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT true';
\set SHOW_CONTEXT errors
\set VERBOSITY default

-- defaults: the primary key, the foreign key, the only timestamptz column
SELECT create_model('b2b', 'md.lead', 'md.event');
SELECT create_model('a "quoted" name', 'md.lead', 'md.two_times', event_at => 'seen');
SELECT create_model('leads only', 'md.lead');
SELECT add_component('b2b', 'fit', hi => 50);
SELECT add_component('b2b', 'engagement', half_life => '14 days', hi => 100);
SELECT add_rule('b2b', 'fit', 'target sector', $$lead.sector IN ('saas', 'fintech')$$, 15);
SELECT add_rule('b2b', 'fit', 'size', 'employees > 10', 'least(employees / 100, 20)');
SELECT add_rule('b2b', 'engagement', 'webinar', $$kind = 'webinar'$$, 20, at_most => 3, per => '1 day');
SELECT add_rule('b2b', 'engagement', 'any', 'true', 0.5);
SELECT add_rule('b2b', 'fit', 'odd', '"Odd ""name"', -5);
SELECT add_band('b2b', 'hot', 80);
SELECT set_bounds('b2b', 0, 120);
SELECT rule, source, condition_sql, points_sql, at_most, per FROM leadscore.rule WHERE model = 'b2b' AND version = 0 ORDER BY ordinal;

-- models that cannot be
\unset SHOW_CONTEXT
\set code '\\echo :LAST_ERROR_SQLSTATE'
SELECT create_model('b2b', 'md.lead');
:code
SELECT create_model('', 'md.lead');
:code
SELECT create_model(repeat('x', 58), 'md.lead');
:code
SELECT create_model(NULL, 'md.lead');
:code
SELECT create_model('x', NULL);
:code
SELECT create_model('x', 'md.nowhere');
:code
SELECT create_model('x', 'md.no_key');
:code
SELECT create_model('x', 'md.pair_key');
:code
SELECT create_model('x', 'md.lead', lead_key => 'sector');
:code
SELECT create_model('x', 'md.lead', lead_key => 'nix');
:code
SELECT create_model('x', 'md.lead_view');
:code
CREATE TABLE md.account (id int PRIMARY KEY);
CREATE TABLE md.call (id bigserial PRIMARY KEY, account_id int, at timestamptz);
SELECT create_model('x', 'md.account', 'md.call');
DROP TABLE md.call, md.account;
SELECT create_model('x', 'md.lead', event_at => 'at');
:code
SELECT create_model('x', 'md.lead', 'md.unrelated');
:code
SELECT create_model('x', 'md.lead', 'md.twice');
:code
SELECT create_model('x', 'md.lead', 'md.two_times');
:code
SELECT create_model('x', 'md.lead', 'md.lead_view', event_lead => 'lead_id');
SELECT create_model('x', 'md.lead', 'md.two_times', event_at => 'day');
:code
SELECT create_model('x', 'md.lead', 'md.odd_type');
:code
SELECT publish('nix');
:code
SELECT publish('leads only');
:code
SELECT * FROM hottest('b2b');
:code
SELECT drop_model('nix');
:code

-- components, bands and bounds that cannot be
SELECT add_component('b2b', 'fit');
:code
SELECT add_component('b2b', '');
:code
SELECT add_component('b2b', 'x', half_life => '0.5 seconds');
:code
SELECT add_component('b2b', 'x', half_life => '-1 day');
:code
SELECT add_component('b2b', 'x', half_life => '1001 years');
:code
SELECT add_component('b2b', 'x', lo => 10, hi => 5);
:code
SELECT add_component('b2b', 'x', hi => 'NaN');
:code
SELECT add_component('b2b', 'x', lo => 'infinity');
:code
SELECT drop_component('b2b', 'x');
:code
SELECT add_band('b2b', 'hot', 90);
:code
SELECT add_band('b2b', 'hotter', 80);
:code
SELECT add_band('b2b', 'x', 'NaN');
:code
SELECT add_band('b2b', 'x', NULL);
:code
SELECT set_bounds('b2b', 5, 1);
:code
SELECT add_component('leads only', 'c1');
SELECT add_component('leads only', 'c' || g) FROM generate_series(2, 9) g;
:code

-- rules that cannot be: PostgreSQL's own message, with the rule's name
\set SHOW_CONTEXT errors
SELECT add_rule('b2b', 'fit', 'r', 'nix = 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > ', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', '', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'true; DROP TABLE md.lead', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'true FROM md.event', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'true, true', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'true AS x', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 10 UNION SELECT true', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > (SELECT 1)', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'max(employees) > 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'row_number() OVER () > employees', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'generate_series(1, employees) > 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'random() < 0.5 AND employees > 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1 AND md.volatile()', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', $$email < now()::text$$, 1);
:code
SELECT add_rule('b2b', 'fit', 'r', $$email = current_user$$, 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > $1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1 AND budget > ''x''', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'md.lead.nix', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'email');
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'ARRAY[1]');
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'NaN'::float8);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', $$'infinity'::float8$$);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'NULL::int');
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', NULL::float8);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'sum(employees)');
:code
SELECT add_rule('b2b', 'fit', 'r', NULL, 1);
:code
SELECT add_rule('b2b', 'fit', 'size', 'employees > 1', 1);
:code
-- what reads the clock or the session; literals that would be read once, and shown as they were written
\set VERBOSITY terse
SELECT add_rule('b2b', 'fit', 'r', $$current_setting('application_name') = email$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$employees > 1 AND pg_has_role('postgres', 'member')$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$employees > 1 AND has_table_privilege('md.lead', 'select')$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$employees > pg_backend_pid()$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$current_database() = email$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$current_schema = email$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$employees > txid_current()$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$inet_client_addr() IS NULL AND employees > 1$$, 1);
SELECT add_rule('b2b', 'fit', 'r', $$to_tsvector(email) @@ 'x'$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at > pg_postmaster_start_time()$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$age(at) > '1 day'$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at > current_date$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at > 'today'$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at > timestamptz(3) ' Now '$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at::date IN ('2026-01-01', 'yesterday')$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at > 'today'::text::timestamptz$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at <@ '[today, tomorrow 12:00)'::tstzrange$$, 1);
SELECT add_rule('b2b', 'engagement', 'r', $$at::date = ANY ('{today}')$$, 1);
\set VERBOSITY default
-- not these
SELECT add_rule('b2b', 'fit', 'r', $$email IN ('now', 'today') AND to_tsvector('english', email) @@ 'x' AND pg_typeof(email)::text <> 'today'$$, 1);
SELECT drop_rule('b2b', 'r');
SELECT add_rule('b2b', 'engagement', 'r', $$at > 'infinity' AND to_char(at, 'Day') = 'today' AND age(at, '2026-01-01') > '1 day'$$, 1);
SELECT drop_rule('b2b', 'r');
-- points that are none
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 'NULL');
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', $$'5 apples'$$);
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', '5 LIMIT 1');
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', '');
-- a column of leads that is called as the table of events is; the row of an event as a whole
ALTER TABLE md.lead ADD COLUMN event text;
SELECT add_rule('b2b', 'fit', 'r', $$event = 'x'$$, 1), drop_rule('b2b', 'r');
SELECT add_rule('b2b', 'fit', 'r', $$event.kind = 'x'$$, 1), drop_rule('b2b', 'r');
ALTER TABLE md.lead DROP COLUMN event;
SELECT add_rule('b2b', 'fit', 'r', $$event IS NOT NULL$$, 1), drop_rule('b2b', 'r');
-- columns of both tables
SELECT add_rule('b2b', 'fit', 'both', $$employees > 1 AND kind = 'demo'$$, 1);
:code
SELECT add_rule('b2b', 'engagement', 'both', $$kind = 'demo'$$, 'least(employees, 10)');
:code
SELECT add_rule('b2b', 'nix', 'r', 'employees > 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', $$sector = 'saas'$$, 1);
:code
SELECT add_rule('b2b', 'fit', 'r', $$kind = sector AND employees > 1$$, 1);
:code
SELECT add_rule('b2b', 'engagement', 'r', 'employees > 1', 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 1, source => 'both');
:code
SELECT add_rule('leads only', 'c1', 'r', 'employees > 1', 1, source => 'event');
:code
SELECT add_rule('b2b', 'fit', 'r', 'employees > 1', 1, at_most => 1);
:code
SELECT add_rule('b2b', 'fit', 'r', 'kind IS NULL', 1, at_most => 0);
:code
SELECT add_rule('b2b', 'fit', 'r', 'kind IS NULL', 1, per => '1 day');
:code
SELECT add_rule('b2b', 'fit', 'r', 'kind IS NULL', 1, at_most => 1, per => '1 month');
:code
SELECT add_rule('b2b', 'fit', 'r', 'kind IS NULL', 1, at_most => 1, per => '-1 day');
:code
SELECT add_rule('b2b', 'fit', 'r', 'kind IS NULL', 1, valid_from => '2026-02-01', valid_until => '2026-01-01');
:code
SELECT drop_rule('b2b', 'r');
:code
SELECT enable_rule('b2b', 'r', false);
:code

-- refused statements changed nothing
SELECT count(*) FROM leadscore.rule WHERE model = 'b2b';

-- what a rule means does not depend on search_path, DateStyle or TimeZone later on
CREATE FUNCTION md.is_big(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 100';
CREATE OPERATOR md.=~= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq);
CREATE TYPE md.size AS ENUM ('s', 'm');
SET search_path = md, public, leadscore;
SET DateStyle = 'SQL, DMY'; SET TimeZone = 'America/New_York'; SET IntervalStyle = 'sql_standard';
SELECT add_rule('b2b', 'fit', 'mine', $$is_big(employees) AND sector =~= 'saas' AND 's'::size < 'm' AND lead.sector <> 'x'$$, 7);
SELECT add_rule('b2b', 'engagement', 'dated', $$at >= '01/02/2026 12:00' AND at - timestamptz '2026-01-01' > interval '1 2:03:04'$$, 7);
RESET DateStyle; RESET TimeZone; RESET IntervalStyle;
SET search_path = public, leadscore;
SELECT rule, condition_sql FROM leadscore.rule WHERE model = 'b2b' AND rule IN ('mine', 'dated') ORDER BY ordinal;
INSERT INTO md.lead VALUES (1, 'a@b', 'saas', 500), (2, 'c@d', 'x', 5);
INSERT INTO md.event VALUES (1, 1, 'webinar', '2026-02-03 12:00+00'), (2, 2, 'mail', '2026-01-01 12:00+00');
SELECT publish('b2b', note => 'first');
SELECT * FROM hottest('b2b', at => '2026-02-03 12:00+00');
SELECT * FROM explain('b2b', '1', '2026-02-03 12:00+00');
SELECT * FROM explain('b2b', '2', '2026-02-03 12:00+00');
SELECT score_at('b2b', '1', '2026-02-03 12:00+00') AS score_1, score_at('b2b', '3', '2026-02-03 12:00+00') AS no_such_lead,
	   current_score('b2b', '1') @ '2026-02-03 12:00+00' AS stored_1, current_score('b2b', '3') IS NULL AS none;
SELECT version, published_at IS NOT NULL AS published, published_by = current_user AS by_me, note FROM leadscore.model_version WHERE model = 'b2b' ORDER BY 1;

-- questions that cannot be answered: the generated SQL does not show in the context
SELECT score_at('b2b', 'abc');
:code
\set SHOW_CONTEXT errors
SELECT score_at('b2b', '99999999999999999999');
SELECT * FROM explain('b2b', 'abc');
SELECT current_score('b2b', 'abc');
SELECT score_at('b2b', '1', 'infinity');
:code
SELECT * FROM explain('b2b', '99');
SELECT * FROM hottest('b2b', -1);
:code
SELECT * FROM hottest('b2b', 0);

DROP VIEW md.lead_view;
\set SHOW_CONTEXT errors
-- tables that change under a live model: it works, or says which model and rule do not
ALTER TABLE md.lead RENAME TO prospect_lead;
SELECT publish('b2b');
:code
ALTER TABLE md.prospect_lead RENAME TO lead;
ALTER SCHEMA md RENAME TO md2;
SELECT publish('b2b');
:code
ALTER SCHEMA md2 RENAME TO md;
ALTER TABLE md.lead RENAME employees TO staff;
SELECT score_at('b2b', '1', '2026-02-03 12:00+00');
:code
SELECT rescore('b2b');
:code
ALTER TABLE md.lead RENAME staff TO employees;
ALTER TABLE md.lead ALTER employees TYPE text;
SELECT rescore('b2b');
:code
ALTER TABLE md.lead ALTER employees TYPE int USING employees::int;
ALTER TABLE md.event RENAME at TO happened;
SELECT rescore('b2b');
:code
ALTER TABLE md.event RENAME happened TO at;
ALTER TABLE md.lead ALTER employees TYPE bigint;
SELECT rescore('b2b');
ALTER TABLE md.lead ALTER employees TYPE smallint;
SELECT rescore('b2b');
SELECT count(*) AS wrong FROM verify('b2b');

-- points that are not finite do not count
UPDATE md.event SET value = 'NaN';
SELECT add_rule('b2b', 'engagement', 'worth', 'value IS NOT NULL', 'value');
SELECT publish('b2b');
SELECT count(*) FROM verify('b2b');

-- privileges: the owner of the leads defines and publishes, others may read
CREATE ROLE md_owner; CREATE ROLE md_reader; CREATE ROLE md_stranger;
GRANT USAGE ON SCHEMA md TO md_owner, md_reader, md_stranger;
GRANT SELECT, TRIGGER ON md.event TO md_owner;
ALTER TABLE md.lead OWNER TO md_owner;
SET ROLE md_stranger;
SELECT publish('b2b');
:code
SELECT add_component('b2b', 'x');
:code
SELECT create_model('x', 'md.lead');
:code
SELECT drop_model('b2b');
:code
SELECT * FROM hottest('b2b');
:code
SELECT score_at('b2b', '1');
:code
INSERT INTO leadscore.band VALUES ('b2b', 0, 'x', 1);
:code
SET ROLE md_owner;
SELECT create_model('own', 'md.lead', 'md.event');
SELECT add_component('own', 'c');
SELECT add_rule('own', 'c', 'all', 'employees > 0 OR employees <= 0', 1);
SELECT publish('own');
SELECT lead, score FROM hottest('own') ORDER BY 1;
DELETE FROM leadscore.score_own;
:code
GRANT SELECT ON leadscore.score_own TO md_reader;
SET ROLE md_reader;
SELECT lead, score FROM hottest('own') ORDER BY 1;
-- row security of the leads hides their scores, too
RESET ROLE;
GRANT SELECT ON md.lead TO md_reader;
ALTER TABLE md.lead ENABLE ROW LEVEL SECURITY;
CREATE POLICY big ON md.lead FOR SELECT TO md_reader USING (lead_id = 1);
SET ROLE md_reader;
SELECT lead, score FROM hottest('own') ORDER BY 1;
RESET ROLE;

-- a hostile search_path changes nothing
CREATE SCHEMA evil;
CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'captured'; END$$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE FUNCTION evil.coalesce_max(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
SET search_path = evil, pg_catalog;
SELECT leadscore.publish('own');
SELECT leadscore.enable_rule('own', 'all', false);
SET search_path = public, leadscore;

-- models go whole, and with the extension
SELECT publish('own');
:code
SELECT drop_model('own');
SELECT count(*) FROM leadscore.model_version WHERE model = 'own';
SELECT to_regclass('leadscore.score_own');
SELECT drop_model('b2b'), drop_model('a "quoted" name'), drop_model('leads only');
SET client_min_messages = warning;
DROP SCHEMA md CASCADE; DROP SCHEMA evil CASCADE;
DROP ROLE md_owner; DROP ROLE md_reader; DROP ROLE md_stranger;
