-- versions of models: what they hold, what changed, what a change would do

CREATE VIEW leadscore.versions AS
SELECT v.model, v.version,
	   CASE WHEN v.version OPERATOR(pg_catalog.=) 0 THEN 'draft'
			WHEN v.version OPERATOR(pg_catalog.=) m.live_version THEN 'live'
			ELSE 'old' END AS state,
	   v.published_at, v.published_by,
	   (SELECT pg_catalog.count(*) FROM leadscore.component c
		WHERE c.model OPERATOR(pg_catalog.=) v.model AND c.version OPERATOR(pg_catalog.=) v.version) AS components,
	   (SELECT pg_catalog.count(*) FROM leadscore.rule r
		WHERE r.model OPERATOR(pg_catalog.=) v.model AND r.version OPERATOR(pg_catalog.=) v.version AND r.enabled) AS rules,
	   v.note
FROM leadscore.model_version v JOIN leadscore.model m ON m.model OPERATOR(pg_catalog.=) v.model
ORDER BY v.model, v.version;
COMMENT ON VIEW leadscore.versions IS 'versions of scoring models: state (draft, live, old), who published them when, and how many components and enabled rules they have';
GRANT SELECT ON leadscore.versions TO PUBLIC;

CREATE FUNCTION leadscore.known_version(model text, version int, published bool)
RETURNS int
AS 'MODULE_PATHNAME', 'leadscore_known_version' LANGUAGE C STABLE;
COMMENT ON FUNCTION leadscore.known_version(text, int, bool) IS
'internal: the version, or an error if the model has none of that number; NULL: the live one, and NULL, or an error if it must be published, if there is none';

CREATE FUNCTION leadscore.describe(model text, version int DEFAULT 0,
	OUT what text, OUT name text, OUT description text)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT i.what, i.name, i.description
	FROM leadscore.known_version(describe.model, describe.version, false) AS k(version),
		LATERAL (
		SELECT 1 AS part, 0 AS ordinal, 'total' AS what, NULL::text AS name,
			   pg_catalog.concat_ws(', ', 'at least ' || v.lo, 'at most ' || v.hi) AS description
		FROM leadscore.model_version v
		WHERE v.model = describe.model AND v.version = k.version AND (v.lo IS NOT NULL OR v.hi IS NOT NULL)
		UNION ALL
		SELECT 2, c.ordinal, 'component', c.component,
			   pg_catalog.concat_ws(', ', CASE WHEN c.half_life IS NULL THEN 'does not age' ELSE 'half-life ' || c.half_life::text END,
									'at least ' || c.lo, 'at most ' || c.hi)
		FROM leadscore.component c
		WHERE c.model = describe.model AND c.version = k.version
		UNION ALL
		SELECT 3, r.ordinal, 'rule', r.rule,
			   pg_catalog.concat(r.component, ', ', r.source, ': ', r.condition, ' gives ', r.points,
								 ', at most ' || r.at_most, ' per ' || r.per::text,
								 ', from ' || r.valid_from::text, ', until ' || r.valid_until::text,
								 CASE WHEN NOT r.enabled THEN ' (disabled)' END)
		FROM leadscore.rule r
		WHERE r.model = describe.model AND r.version = k.version
		UNION ALL
		SELECT 4, (pg_catalog.row_number() OVER (ORDER BY b.least DESC))::int, 'band', b.band, 'from ' || b.least
		FROM leadscore.band b
		WHERE b.model = describe.model AND b.version = k.version) i
	ORDER BY i.part, i.ordinal;
END;
COMMENT ON FUNCTION leadscore.describe(text, int) IS
'what a version of a model (0: the draft; NULL: the live one) holds, a line for the bounds of the total, each component, rule and band';

CREATE FUNCTION leadscore.diff(model text, from_version int DEFAULT NULL, to_version int DEFAULT 0,
	OUT change text, OUT what text, OUT name text, OUT before text, OUT after text)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN a.what IS NULL THEN 'added' WHEN b.what IS NULL THEN 'removed' ELSE 'changed' END,
		   coalesce(a.what, b.what), coalesce(a.name, b.name), a.description, b.description
	FROM leadscore.describe(diff.model, diff.from_version) a
	FULL JOIN leadscore.describe(diff.model, diff.to_version) b
		ON (b.what || ' ' || coalesce(b.name, '')) = (a.what || ' ' || coalesce(a.name, ''))
	WHERE a.description IS DISTINCT FROM b.description
	ORDER BY pg_catalog.array_position(ARRAY['total', 'component', 'rule', 'band'], coalesce(a.what, b.what)), 3;
END;
COMMENT ON FUNCTION leadscore.diff(text, int, int) IS
'what changed between two versions of a model: by default from the live one (from nothing, if there is none) to the draft (version 0)';

CREATE FUNCTION leadscore.revert(model text, version int, note text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'leadscore_revert' LANGUAGE C;
COMMENT ON FUNCTION leadscore.revert(text, int, text) IS
'publishes an earlier version again, under the next number; the draft stays as it is; returns the new version number';

CREATE FUNCTION leadscore.reset_draft(model text, version int DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'leadscore_reset_draft' LANGUAGE C;
COMMENT ON FUNCTION leadscore.reset_draft(text, int) IS
'replaces the draft by a published version, by default the live one';

CREATE FUNCTION leadscore.compare_scores(model text, version int DEFAULT 0, at timestamptz DEFAULT pg_catalog.now(),
	OUT lead text, OUT live_score float8, OUT new_score float8, OUT live_band text, OUT new_band text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_compare_scores' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION leadscore.compare_scores(text, int, timestamptz) IS
'score and band of every lead under the live version and under another (0: the draft), both computed as of an instant, of columns not known as of then (a notice names them) from the oldest known value; stores nothing';

CREATE FUNCTION leadscore.compare(model text, version int DEFAULT 0, at timestamptz DEFAULT pg_catalog.now(),
	OUT lead text, OUT live_score float8, OUT new_score float8, OUT change float8, OUT live_band text, OUT new_band text)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT c.lead, c.live_score, c.new_score, c.new_score - c.live_score, c.live_band, c.new_band
	FROM leadscore.compare_scores(compare.model, compare.version, compare.at) c
	WHERE pg_catalog.abs(c.new_score - c.live_score) > 1e-9
	   OR c.live_band IS DISTINCT FROM c.new_band
	ORDER BY c.live_band IS NOT DISTINCT FROM c.new_band, pg_catalog.abs(c.new_score - c.live_score) DESC, c.lead;
END;
COMMENT ON FUNCTION leadscore.compare(text, int, timestamptz) IS
'the leads whose score or band another version (0: the draft) would change: those that change band first, the largest changes first';

CREATE FUNCTION leadscore.compare_bands(model text, version int DEFAULT 0, at timestamptz DEFAULT pg_catalog.now(),
	OUT band text, OUT live_leads bigint, OUT new_leads bigint, OUT stay bigint, OUT come bigint, OUT leave bigint)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH scored AS (
		SELECT c.live_band, c.new_band, pg_catalog.count(*) AS n,
			   pg_catalog.max(c.live_score) AS live_top, pg_catalog.max(c.new_score) AS new_top
		FROM leadscore.compare_scores(compare_bands.model, compare_bands.version, compare_bands.at) c
		GROUP BY c.live_band, c.new_band),
	side AS (
		SELECT s.live_band AS band, s.n AS live_n, 0 AS new_n, CASE WHEN s.live_band IS NOT DISTINCT FROM s.new_band THEN s.n ELSE 0 END AS stay, s.live_top AS top
		FROM scored s
		UNION ALL
		SELECT s.new_band, 0, s.n, 0, s.new_top
		FROM scored s)
	SELECT s.band, pg_catalog.sum(s.live_n)::bigint, pg_catalog.sum(s.new_n)::bigint, pg_catalog.sum(s.stay)::bigint,
		   (pg_catalog.sum(s.new_n) - pg_catalog.sum(s.stay))::bigint, (pg_catalog.sum(s.live_n) - pg_catalog.sum(s.stay))::bigint
	FROM side s
	GROUP BY s.band
	ORDER BY pg_catalog.max(s.top) DESC;
END;
COMMENT ON FUNCTION leadscore.compare_bands(text, int, timestamptz) IS
'leads in each band under the live version and under another (0: the draft): how many stay, come and leave; band NULL: below all bands';

CREATE FUNCTION leadscore.score_of(model text, lead text, at timestamptz DEFAULT pg_catalog.now(), version int DEFAULT 0)
RETURNS float8
AS 'MODULE_PATHNAME', 'leadscore_score_of' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION leadscore.score_of(text, text, timestamptz, int) IS
'as score_at, under any version of the model (0: the draft)';

CREATE FUNCTION leadscore.curve(model text, lead text, instants timestamptz[], version int DEFAULT NULL,
	OUT at timestamptz, OUT score float8, OUT band text)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT p.at, p.score,
		   (SELECT b.band FROM leadscore.band b
			WHERE b.model = curve.model AND b.version = p.version AND b.least <= p.score
			ORDER BY b.least DESC LIMIT 1)
	FROM (SELECT i.at, i.n, v.version, leadscore.score_of(curve.model, curve.lead, i.at, v.version) AS score
		  FROM pg_catalog.unnest(curve.instants) WITH ORDINALITY i(at, n),
			   leadscore.known_version(curve.model, curve.version, true) AS v(version)) p
	ORDER BY p.n;
END;
COMMENT ON FUNCTION leadscore.curve(text, text, timestamptz[], int) IS
'a lead''s score and band at given instants, past or to come: how it would fall with no further event; under the live version or another (0: the draft)';

CREATE FUNCTION leadscore.grades(model text, fit text DEFAULT 'fit', engagement text DEFAULT 'engagement',
	fit_steps float8[] DEFAULT NULL, engagement_steps float8[] DEFAULT NULL, at timestamptz DEFAULT pg_catalog.now(),
	OUT lead text, OUT grade text, OUT fit_points float8, OUT engagement_points float8)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_grades' LANGUAGE C STABLE;
COMMENT ON FUNCTION leadscore.grades(text, text, text, float8[], float8[], timestamptz) IS
'two-axis grade A1 .. D4 of every stored score: the letter from what one component contributes at the instant, the digit from another; steps are the least points for A, B, C and for 1, 2, 3, by default 75, 50 and 25 % of the component''s upper bound; an error while stored scores are out of date (leadscore.not_kept)';

CREATE VIEW leadscore.grade AS
SELECT m.model, g.lead, g.grade, g.fit_points, g.engagement_points
FROM (SELECT o.model,
			 (SELECT c.component FROM leadscore.component c
			  WHERE c.model OPERATOR(pg_catalog.=) o.model AND c.version OPERATOR(pg_catalog.=) o.live_version
				AND c.half_life IS NULL AND c.hi OPERATOR(pg_catalog.>) 0 AND c.hi OPERATOR(pg_catalog.<) 'infinity'
			  ORDER BY c.ordinal LIMIT 1) AS fit,
			 (SELECT c.component FROM leadscore.component c
			  WHERE c.model OPERATOR(pg_catalog.=) o.model AND c.version OPERATOR(pg_catalog.=) o.live_version
				AND c.half_life IS NOT NULL AND c.hi OPERATOR(pg_catalog.>) 0 AND c.hi OPERATOR(pg_catalog.<) 'infinity'
			  ORDER BY c.ordinal LIMIT 1) AS engagement
	  FROM leadscore.model o
	  WHERE pg_catalog.has_table_privilege(pg_catalog.to_regclass('leadscore.' OPERATOR(pg_catalog.||)
				pg_catalog.quote_ident('score_' OPERATOR(pg_catalog.||) o.model)), 'SELECT')) m,
	 LATERAL leadscore.grades(m.model, m.fit, m.engagement) g
WHERE m.fit IS NOT NULL AND m.engagement IS NOT NULL;
COMMENT ON VIEW leadscore.grade IS
'two-axis grade A1 .. D4 of every stored score as of now, in all models whose scores one may read: the letter from the first component that does not age and has an upper bound, the digit from the first that ages and has one; steps as in leadscore.grades';
GRANT SELECT ON leadscore.grade TO PUBLIC;

CREATE FUNCTION leadscore.backtest(model text, outcomes text, version int DEFAULT NULL, against int DEFAULT NULL, before interval DEFAULT '0',
	OUT measure text, OUT part text, OUT leads bigint, OUT won bigint, OUT value float8, OUT low float8, OUT high float8, OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_backtest' LANGUAGE C ROWS 50;
COMMENT ON FUNCTION leadscore.backtest(text, text, int, int, interval) IS
'how well scores told outcomes before they were known: outcomes is a query of (lead, instant, won bool); each lead is scored as of the last microsecond before its instant less before (not negative), with what was known then, except that columns whose old values were not kept yet are the oldest known, of which a row and a warning say how many outcomes they concern; gives conversion, AUC, conversion of each tenth, precision and recall from each band and conversion per rule, with 95 % intervals (low, high); against another version of the model also the difference of the AUCs, and whether it is more than chance';

CREATE VIEW leadscore.progress AS
SELECT p.pid, pg_catalog.substr(c.relname::text, 7) AS model, p.param19::int AS version,
	   p.param16 AS events_read, NULLIF(p.param17, 0) AS events_estimated,
	   p.param3 AS leads_stored, NULLIF(p.param18, 0) AS leads_estimated
FROM pg_catalog.pg_stat_get_progress_info('COPY') p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid
JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.datid AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
WHERE p.param20 OPERATOR(pg_catalog.=) 7810756212804513650;
COMMENT ON VIEW leadscore.progress IS 'publishing and rescoring under way: how many events are read and leads stored, of about how many; others'' are seen by members of pg_read_all_stats';
GRANT SELECT ON leadscore.progress TO PUBLIC;
