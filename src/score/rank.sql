-- ----------------------------------------------------------------
-- ranking scores at an instant, and the index that does it
-- ----------------------------------------------------------------

CREATE FUNCTION leadscore.score_distance(leadscore.score, timestamptz) RETURNS float8
	AS 'MODULE_PATHNAME', 'leadscore_score_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3;
COMMENT ON FUNCTION leadscore.score_distance(leadscore.score, timestamptz) IS
	'minus the total at an instant, so that ascending order is hottest first';

CREATE OPERATOR leadscore.<~> (
	LEFTARG = leadscore.score, RIGHTARG = timestamptz, FUNCTION = leadscore.score_distance
);
COMMENT ON OPERATOR leadscore.<~> (leadscore.score, timestamptz) IS
	'minus the total at an instant: ORDER BY score <~> now() is hottest first, by an index of class score_ops';

-- A threshold and the instant it is meant for, in one value: the right operand
-- that an index condition needs. The planner makes it from the arguments of
-- reaches(); there is no text input.

CREATE TYPE leadscore.level;

CREATE FUNCTION leadscore.level_in(cstring) RETURNS leadscore.level
	AS 'MODULE_PATHNAME', 'leadscore_level_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level_in(cstring) IS 'refuses: a level is made by level(threshold, at)';

CREATE FUNCTION leadscore.level_out(leadscore.level) RETURNS cstring
	AS 'MODULE_PATHNAME', 'leadscore_level_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level_out(leadscore.level) IS 'text output of level: threshold@instant';

CREATE FUNCTION leadscore.level_recv(internal) RETURNS leadscore.level
	AS 'MODULE_PATHNAME', 'leadscore_level_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level_recv(internal) IS 'refuses: a level is made by level(threshold, at)';

CREATE FUNCTION leadscore.level_send(leadscore.level) RETURNS bytea
	AS 'MODULE_PATHNAME', 'leadscore_level_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level_send(leadscore.level) IS 'binary output of level: threshold (float8), instant (int8)';

CREATE TYPE leadscore.level (
	INPUT = leadscore.level_in,
	OUTPUT = leadscore.level_out,
	RECEIVE = leadscore.level_recv,
	SEND = leadscore.level_send,
	INTERNALLENGTH = 16,
	ALIGNMENT = double
);
COMMENT ON TYPE leadscore.level IS 'internal: a threshold and the instant it is meant for, for index conditions';

CREATE FUNCTION leadscore.level(threshold float8, at timestamptz) RETURNS leadscore.level
	AS 'MODULE_PATHNAME', 'leadscore_level' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level(float8, timestamptz) IS 'internal: the level that reaches(score, threshold, at) asks an index for';

CREATE FUNCTION leadscore.score_reaches_level(leadscore.score, leadscore.level) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_reaches_level' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3;
COMMENT ON FUNCTION leadscore.score_reaches_level(leadscore.score, leadscore.level) IS 'reaches(score, threshold, at) for a level';

CREATE FUNCTION leadscore.level_selectivity(internal, oid, internal, int4) RETURNS float8
	AS 'MODULE_PATHNAME', 'leadscore_level_selectivity' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.level_selectivity(internal, oid, internal, int4) IS
	'share of the scores of a column that reach a level, from its statistics';

CREATE OPERATOR leadscore.@>= (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.level, FUNCTION = leadscore.score_reaches_level,
	RESTRICT = leadscore.level_selectivity, JOIN = pg_catalog.scalargejoinsel
);
COMMENT ON OPERATOR leadscore.@>= (leadscore.score, leadscore.level) IS 'internal: the index condition of reaches(score, threshold, at)';

CREATE FUNCTION leadscore.reaches_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_reaches_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.reaches_support(internal) IS 'planner support of reaches: index condition and row estimate';

CREATE FUNCTION leadscore.reaches(score leadscore.score, threshold float8, at timestamptz) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_reaches' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3
	SUPPORT leadscore.reaches_support;
COMMENT ON FUNCTION leadscore.reaches(leadscore.score, float8, timestamptz) IS
	'whether the total at an instant is at least the threshold; an index of class score_ops finds such scores';

CREATE FUNCTION leadscore.falls_below(score leadscore.score, threshold float8) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'leadscore_falls_below' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 50;
COMMENT ON FUNCTION leadscore.falls_below(leadscore.score, float8) IS
	'the earliest instant, not before the score''s own latest, at which ageing has taken the total below the threshold; infinity if it never does (before the year 10000), -infinity if it is below already, for good';

-- The key of the index: for a row its score, for a page the smallest and the
-- largest element of each component below it.

CREATE TYPE leadscore.score_span;

CREATE FUNCTION leadscore.score_span_in(cstring) RETURNS leadscore.score_span
	AS 'MODULE_PATHNAME', 'leadscore_score_span_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_span_in(cstring) IS 'refuses: spans are made by the index only';

CREATE FUNCTION leadscore.score_span_out(leadscore.score_span) RETURNS cstring
	AS 'MODULE_PATHNAME', 'leadscore_score_span_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_span_out(leadscore.score_span) IS 'text output of score_span, as pageinspect shows it: lowest .. highest';

CREATE FUNCTION leadscore.score_span_recv(internal) RETURNS leadscore.score_span
	AS 'MODULE_PATHNAME', 'leadscore_score_span_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_span_recv(internal) IS 'refuses: spans are made by the index only';

CREATE FUNCTION leadscore.score_span_send(leadscore.score_span) RETURNS bytea
	AS 'MODULE_PATHNAME', 'leadscore_score_span_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_span_send(leadscore.score_span) IS 'binary output of score_span: its text form';

CREATE TYPE leadscore.score_span (
	INPUT = leadscore.score_span_in,
	OUTPUT = leadscore.score_span_out,
	RECEIVE = leadscore.score_span_recv,
	SEND = leadscore.score_span_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = plain
);
COMMENT ON TYPE leadscore.score_span IS 'internal: key of an index of class score_ops';

CREATE FUNCTION leadscore.score_gist_consistent(internal, leadscore.score, int2, oid, internal) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_consistent' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_consistent(internal, leadscore.score, int2, oid, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_union(internal, internal) RETURNS leadscore.score_span
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_union' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_union(internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_compress(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_compress' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_compress(internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_penalty(internal, internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_penalty' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_penalty(internal, internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_picksplit(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_picksplit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_picksplit(internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_same(leadscore.score_span, leadscore.score_span, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_same' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_same(leadscore.score_span, leadscore.score_span, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_distance(internal, leadscore.score, int2, oid, internal) RETURNS float8
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_distance(internal, leadscore.score, int2, oid, internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_fetch(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_fetch' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_fetch(internal) IS 'GiST support';
CREATE FUNCTION leadscore.score_gist_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME', 'leadscore_score_gist_sortsupport' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_gist_sortsupport(internal) IS 'GiST support';

CREATE OPERATOR CLASS leadscore.score_ops DEFAULT FOR TYPE leadscore.score USING gist AS
	OPERATOR 1 leadscore.@>= (leadscore.score, leadscore.level),
	OPERATOR 15 leadscore.<~> (leadscore.score, timestamptz) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 leadscore.score_gist_consistent(internal, leadscore.score, int2, oid, internal),
	FUNCTION 2 leadscore.score_gist_union(internal, internal),
	FUNCTION 3 leadscore.score_gist_compress(internal),
	FUNCTION 5 leadscore.score_gist_penalty(internal, internal, internal),
	FUNCTION 6 leadscore.score_gist_picksplit(internal, internal),
	FUNCTION 7 leadscore.score_gist_same(leadscore.score_span, leadscore.score_span, internal),
	FUNCTION 8 leadscore.score_gist_distance(internal, leadscore.score, int2, oid, internal),
	FUNCTION 9 leadscore.score_gist_fetch(internal),
	FUNCTION 11 leadscore.score_gist_sortsupport(internal),
	STORAGE leadscore.score_span;
COMMENT ON OPERATOR CLASS leadscore.score_ops USING gist IS
	'ranking of scores at any instant: ORDER BY score <~> instant, and reaches(score, threshold, instant); all scores of one shape';
COMMENT ON OPERATOR FAMILY leadscore.score_ops USING gist IS 'ranking of scores at any instant';
