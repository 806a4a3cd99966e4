-- regression test: versions of models: publish, diff, compare, revert
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 0;
CREATE SCHEMA mv;
CREATE TABLE mv.lead (lead_id text PRIMARY KEY, sector text, staff int);
CREATE TABLE mv.event (lead text REFERENCES mv.lead, kind text, at timestamptz);
INSERT INTO mv.lead SELECT 'l' || g, (array['saas', 'retail', NULL])[1 + g % 3], g * 10 FROM generate_series(1, 12) g;
INSERT INTO mv.event SELECT 'l' || 1 + g % 12, (array['mail', 'webinar'])[1 + g % 2], timestamptz '2026-01-01' + g * interval '6 hours' FROM generate_series(1, 60) g;
SELECT create_model('m', 'mv.lead', 'mv.event');
SELECT add_component('m', 'fit', hi => 20), add_component('m', 'engagement', half_life => '7 days', hi => 40);
SELECT add_rule('m', 'fit', 'sector', $$sector = 'saas'$$, 15), add_rule('m', 'fit', 'size', 'staff > 50', 'least(staff / 20, 5)'),
	   add_rule('m', 'engagement', 'webinar', $$kind = 'webinar'$$, 12, at_most => 1, per => '1 day');
SELECT add_band('m', 'hot', 30), add_band('m', 'warm', 15);
SELECT compare('m');	-- nothing is live yet
SELECT publish('m', 'first');
SELECT * FROM describe('m', 1);
SELECT * FROM diff('m');

-- edit the draft: what changed, what it would do
SELECT drop_rule('m', 'size'), add_rule('m', 'engagement', 'mail', $$kind = 'mail'$$, 3);
SELECT enable_rule('m', 'sector', false), add_rule('m', 'fit', 'sector 2', $$sector IN ('saas', 'retail')$$, 15, valid_from => NULL);
SELECT drop_band('m', 'warm'), add_band('m', 'warm', 20), set_bounds('m', NULL, 50);
SELECT * FROM diff('m');
SELECT * FROM compare('m', at => '2026-01-16');
SELECT * FROM compare_bands('m', at => '2026-01-16');
-- and that is what each version says by itself
SELECT count(*) AS leads, count(*) FILTER (WHERE abs(live_score - score_of('m', lead, '2026-01-16', 1)) > 1e-9
											  OR abs(new_score - score_of('m', lead, '2026-01-16', 0)) > 1e-9) AS wrong
FROM compare_scores('m', at => '2026-01-16');
SELECT * FROM curve('m', 'l2', '{2026-01-05, 2026-01-16, 2026-02-16, 2027-01-01}');
SELECT * FROM curve('m', 'l2', '{2026-01-16, 2026-02-16}', 0);
-- nothing stored has changed
SELECT count(*) AS stored, min(version), max(version) FROM leadscore.score_m;
SELECT * FROM verify('m');

SELECT publish('m', 'second');
SELECT model, version, state, components, rules, note FROM leadscore.versions WHERE model = 'm';
SELECT count(*) AS stored, min(version), max(version) FROM leadscore.score_m;
SELECT * FROM diff('m', 1, 2);

-- back to the first, under a new number; the draft stays
SELECT drop_rule('m', 'mail');
SELECT revert('m', 1);
SELECT model, version, state, rules, note FROM leadscore.versions WHERE model = 'm';
SELECT * FROM diff('m', 1, 3);
SELECT count(*) AS stored, min(version), max(version) FROM leadscore.score_m;
SELECT * FROM verify('m');
SELECT count(*) > 0 AS draft_differs FROM diff('m');
SELECT reset_draft('m');
SELECT * FROM diff('m');
SELECT reset_draft('m', 2);
SELECT * FROM diff('m', 2);
-- what does not exist is an error, not nothing; without a published version all is new
SELECT * FROM diff('nix');
SELECT * FROM diff('m', 5, 77);
SELECT * FROM describe('nix');
SELECT * FROM describe('m', 77);
SELECT * FROM describe('m', -1);
SELECT * FROM curve('nix', 'l2', '{2026-01-05}');
SELECT * FROM curve('m', 'l2', '{2026-01-05}', 77);
SELECT create_model('m unpublished', (SELECT leads FROM model WHERE model = 'm')), add_component('m unpublished', 'c') \gset
SELECT * FROM diff('m unpublished');
SELECT * FROM curve('m unpublished', 'l2', '{2026-01-05}');
SELECT drop_model('m unpublished') \gset

-- two axes
SELECT grade, count(*), round(min(fit_points)) AS least_fit, round(min(engagement_points)) AS least_engagement
FROM grades('m', at => '2026-01-16') GROUP BY grade ORDER BY grade;
SELECT grade, count(*) FROM grades('m', fit_steps => '{18, 4, 1}', engagement_steps => '{10, 5, 2}', at => '2026-01-16') GROUP BY grade ORDER BY grade;
-- as a view: of models with two bounded axes, whose scores one may read
SELECT component, half_life, hi FROM leadscore.component c JOIN leadscore.model USING (model) WHERE model = 'm' AND version = live_version ORDER BY ordinal;
SELECT create_model('m axisless', 'mv.lead') IS NOT NULL, add_component('m axisless', 'fit') IS NOT NULL, add_rule('m axisless', 'fit', 'all', 'staff > 0', 1) IS NOT NULL, publish('m axisless');
SELECT count(*), count(*) FILTER (WHERE grade <> expected) AS wrong, count(DISTINCT grade) > 1 AS several FROM (
	SELECT g.grade, (CASE WHEN p[1] >= 0.75 * f.hi THEN 'A' WHEN p[1] >= 0.5 * f.hi THEN 'B' WHEN p[1] >= 0.25 * f.hi THEN 'C' ELSE 'D' END) ||
		(CASE WHEN p[2] >= 0.75 * e.hi THEN 1 WHEN p[2] >= 0.5 * e.hi THEN 2 WHEN p[2] >= 0.25 * e.hi THEN 3 ELSE 4 END) AS expected
	FROM leadscore.grade g JOIN (SELECT lead, parts(score, now()) AS p FROM leadscore.score_m) s USING (lead),
		(SELECT hi FROM leadscore.component WHERE model = 'm' AND version = 0 AND component = 'fit') f,
		(SELECT hi FROM leadscore.component WHERE model = 'm' AND version = 0 AND component = 'engagement') e
	WHERE g.model = 'm') x;
SELECT DISTINCT model FROM leadscore.grade WHERE model LIKE 'm%';
CREATE ROLE mv_nobody; SET ROLE mv_nobody;
SELECT count(*) FROM leadscore.grade;
RESET ROLE; DROP ROLE mv_nobody;
SELECT drop_model('m axisless');

-- what is refused
SELECT revert('m', 0);
SELECT revert('m', 99);
SELECT revert('m', NULL);
SELECT revert('nix', 1);
SELECT reset_draft('m', -1);
SELECT score_of('m', 'l1', '2026-01-16', 7);
SELECT * FROM grades('m', fit => 'nix');
SELECT * FROM grades('m', fit_steps => '{1, 2, 3}');
SELECT * FROM grades('m', fit_steps => '{2, 1}');
SELECT publish('m', note => 'x') FROM leadscore.score_m LIMIT 1;
CREATE ROLE mv_stranger;
SET ROLE mv_stranger;
SELECT revert('m', 1);
SELECT reset_draft('m');
RESET ROLE;
DROP ROLE mv_stranger;

-- while it runs, the view progress says how far it is (here seen by the rule itself)
INSERT INTO mv.lead SELECT 'm' || g, NULL, 1 FROM generate_series(1, 6000) g;
ANALYZE mv.lead; ANALYZE mv.event;
CREATE FUNCTION mv.look(text) RETURNS bool LANGUAGE plpgsql STABLE AS $$
DECLARE p leadscore.progress;
BEGIN
	IF $1 = 'm5000' THEN
		SELECT * INTO p FROM leadscore.progress WHERE pid = pg_backend_pid();
		IF FOUND THEN RAISE NOTICE 'model %, version %: some of % leads stored: %', p.model, p.version, p.leads_estimated, p.leads_stored BETWEEN 1000 AND 5012; END IF;
	END IF;
	RETURN true;
END $$;
SELECT reset_draft('m');
SELECT add_rule('m', 'fit', 'look', 'mv.look(lead_id)', 1);
SELECT publish('m');
SELECT count(*) AS running FROM leadscore.progress;

-- a failed publish leaves what is live alone
SELECT add_rule('m', 'fit', 'huge', 'staff = 50', 1e308), add_rule('m', 'fit', 'too huge', 'staff = 50', 1e308);
\set SHOW_CONTEXT never
SELECT publish('m');
SELECT state FROM leadscore.versions WHERE model = 'm' AND state = 'live';
SELECT * FROM verify('m');

SET client_min_messages = warning;
SELECT drop_model('m');
DROP SCHEMA mv CASCADE;
