# Stage changes on 200,000 leads: checked and recorded, against no trigger at all.
# The peers' W5 (PL/pgSQL look-up and history) is beside it, made here.
next="CASE stage WHEN 'lead' THEN 'mql' WHEN 'mql' THEN 'sql' WHEN 'sql' THEN 'prospect' WHEN 'prospect' THEN 'client' ELSE 'lead' END"
prepare "
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS stages CASCADE;
CREATE SCHEMA stages;
SELECT create_pipeline('bench'), create_pipeline('bench five');
SELECT add_stage(p, s) FROM unnest(ARRAY['bench', 'bench five']) p, unnest(ARRAY['lead', 'mql', 'sql', 'prospect', 'client']) WITH ORDINALITY u(s, n) ORDER BY n;
SELECT add_transition(p, f, t) FROM unnest(ARRAY['bench', 'bench five']) p,
	(VALUES ('lead', 'mql'), ('mql', 'sql'), ('sql', 'prospect'), ('prospect', 'client'), ('client', 'lead')) v(f, t);
SELECT add_guard('bench five', t.from_stage, t.to_stage, g) FROM pipeline_transition t,
	unnest(ARRAY['lead_id > 0', 'owner IS NOT NULL', 'length(owner) > 2', 'updated_at > ''2000-01-01''', 'new.lead_id = old.lead_id']) g
	WHERE pipeline = 'bench five' AND version = 0;
SELECT publish_pipeline('bench'), publish_pipeline('bench five');
CREATE TABLE stages.none (lead_id bigint PRIMARY KEY, stage text NOT NULL, owner text, updated_at timestamptz DEFAULT now());
INSERT INTO stages.none SELECT g, (ARRAY['lead', 'mql', 'sql', 'prospect', 'client'])[1 + g % 5], 'owner' || g % 50 FROM generate_series(1, 200000) g;"
for t in checked recorded five plpgsql; do
	prepare "CREATE TABLE stages.$t (LIKE stages.none INCLUDING ALL); INSERT INTO stages.$t SELECT * FROM stages.none"
done
# entry stages do not matter to what is there already
prepare "
SELECT enforce('stages.checked', 'stage', 'bench', history => false), enforce('stages.recorded', 'stage', 'bench'), enforce('stages.five', 'stage', 'bench five', history => false);
CREATE TABLE stages.allowed (f text, t text, PRIMARY KEY (f, t));
INSERT INTO stages.allowed SELECT from_stage, to_stage FROM pipeline_transition WHERE pipeline = 'bench' AND version = 1;
CREATE TABLE stages.hist (id bigserial PRIMARY KEY, lead_id bigint, from_stage text, to_stage text, at timestamptz);
CREATE FUNCTION stages.lookup() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
	IF NEW.stage IS DISTINCT FROM OLD.stage AND NOT EXISTS (SELECT FROM stages.allowed WHERE f = OLD.stage AND t = NEW.stage) THEN RAISE EXCEPTION ''no''; END IF;
	RETURN NEW; END';
CREATE FUNCTION stages.log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
	INSERT INTO stages.hist (lead_id, from_stage, to_stage, at) VALUES (NEW.lead_id, OLD.stage, NEW.stage, now()); RETURN NULL; END';
CREATE TRIGGER b BEFORE UPDATE ON stages.plpgsql FOR EACH ROW EXECUTE FUNCTION stages.lookup();
CREATE TRIGGER a AFTER UPDATE ON stages.plpgsql FOR EACH ROW EXECUTE FUNCTION stages.log();"

# a session of its own each time, which has loaded leadscore: the first statement of one that has not takes another way (docs/stages.md)
ready="SELECT leadscore.filled(1)"
bulk() { echo "BEGIN; UPDATE stages.$1 SET stage = $next; ROLLBACK"; }
table 'One UPDATE of the stage of 200,000 leads'
BEFORE="$ready; VACUUM stages.none" floor 'no trigger' "$(bulk none)"
BEFORE="$ready; VACUUM stages.checked" REACH='<= 1.15' variant 'leadscore, checked' "$(bulk checked)"
BEFORE="$ready; VACUUM stages.recorded" REACH='<= 2.0' variant 'leadscore, checked and recorded' "$(bulk recorded)"
BEFORE="$ready; VACUUM stages.five" REACH='<= 1.15' FLOOR='leadscore, checked' variant 'a guard of 5 conditions, against none' "$(bulk five)"
BEFORE="$ready; VACUUM stages.plpgsql" variant 'PL/pgSQL look-up and history' "$(bulk plpgsql)"
measure

dir=$(mktemp -d)
for t in none recorded plpgsql; do
	printf '%s\n' '\set l random(1,200000)' "UPDATE stages.$t SET stage = $next WHERE lead_id = :l;" >"$dir/$t.sql"
done
table 'Single-row stage updates, 2 clients, synchronous_commit off (x = rate against no trigger)'
SET='synchronous_commit = off' BEFORE='VACUUM stages.none' rate 'no trigger' "$dir/none.sql" -M prepared
SET='synchronous_commit = off' BEFORE='VACUUM stages.recorded' REACH='>= 0.8' rate 'leadscore, checked and recorded' "$dir/recorded.sql" -M prepared
SET='synchronous_commit = off' BEFORE='VACUUM stages.plpgsql' rate 'PL/pgSQL look-up and history' "$dir/plpgsql.sql" -M prepared
measure
rm -rf "$dir"
prepare "SET client_min_messages = warning; DROP SCHEMA stages CASCADE; SELECT drop_pipeline('bench'), drop_pipeline('bench five')"
