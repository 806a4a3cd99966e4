-- ----------------------------------------------------------------
-- score: a value that ages by itself
-- ----------------------------------------------------------------

CREATE TYPE leadscore.score;

CREATE FUNCTION leadscore.score_in(cstring) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_in(cstring) IS 'text input of score';

CREATE FUNCTION leadscore.score_out(leadscore.score) RETURNS cstring
	AS 'MODULE_PATHNAME', 'leadscore_score_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_out(leadscore.score) IS 'text output of score';

CREATE FUNCTION leadscore.score_recv(internal) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_recv(internal) IS 'binary input of score';

CREATE FUNCTION leadscore.score_send(leadscore.score) RETURNS bytea
	AS 'MODULE_PATHNAME', 'leadscore_score_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_send(leadscore.score) IS 'binary output of score';

CREATE TYPE leadscore.score (
	INPUT = leadscore.score_in,
	OUTPUT = leadscore.score_out,
	RECEIVE = leadscore.score_recv,
	SEND = leadscore.score_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);
COMMENT ON TYPE leadscore.score IS
	'lead score of 1 to 8 components, each with its half-life and bounds; exact at any instant';

-- making scores

CREATE FUNCTION leadscore.points(value float8, at timestamptz DEFAULT pg_catalog.now(), half_life interval DEFAULT NULL,
								 lo float8 DEFAULT NULL, hi float8 DEFAULT NULL) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_points' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.points(float8, timestamptz, interval, float8, float8) IS
	'score of one component: points that held at an instant, halving every half_life (1 second to 1000 years; NULL: they do not age), contributing no less than lo and no more than hi (NULL: no bound); NULL points, or a half-life with a NULL instant, give NULL';

CREATE FUNCTION leadscore.bounded(score leadscore.score, lo float8, hi float8) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_bounded' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.bounded(leadscore.score, float8, float8) IS
	'the score with these bounds of its total, in place of those it had (NULL: no bound)';

CREATE FUNCTION leadscore.score_concat(leadscore.score, leadscore.score) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_concat' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.score_concat(leadscore.score, leadscore.score) IS
	'the components of both scores side by side, at most 8; neither may have bounds of its total';

CREATE OPERATOR leadscore.|| (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_concat
);
COMMENT ON OPERATOR leadscore.|| (leadscore.score, leadscore.score) IS 'components side by side';

-- reading scores

CREATE FUNCTION leadscore.score_total(leadscore.score, timestamptz) RETURNS float8
	AS 'MODULE_PATHNAME', 'leadscore_score_total' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3;
COMMENT ON FUNCTION leadscore.score_total(leadscore.score, timestamptz) IS
	'the total at an instant of the years 1 to 9999: contributions aged to it and clamped, added, clamped; never NaN or infinite';

CREATE OPERATOR leadscore.@ (
	LEFTARG = leadscore.score, RIGHTARG = timestamptz, FUNCTION = leadscore.score_total
);
COMMENT ON OPERATOR leadscore.@ (leadscore.score, timestamptz) IS 'total at an instant';

CREATE FUNCTION leadscore.parts(leadscore.score, timestamptz) RETURNS float8[]
	AS 'MODULE_PATHNAME', 'leadscore_parts' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION leadscore.parts(leadscore.score, timestamptz) IS
	'what each component contributes at an instant, aged and clamped by its own bounds (those of the total are not applied)';

-- adding

CREATE FUNCTION leadscore.score_add(leadscore.score, leadscore.score) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_add' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.score_add(leadscore.score, leadscore.score) IS
	'sum of two scores of one shape, component by component, whatever their instants';

CREATE OPERATOR leadscore.+ (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_add,
	COMMUTATOR = OPERATOR(leadscore.+)
);
COMMENT ON OPERATOR leadscore.+ (leadscore.score, leadscore.score) IS 'sum of two scores of one shape';

CREATE FUNCTION leadscore.score_subtract(leadscore.score, leadscore.score) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_subtract' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.score_subtract(leadscore.score, leadscore.score) IS
	'difference of two scores of one shape, component by component, whatever their instants';

CREATE OPERATOR leadscore.- (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_subtract
);
COMMENT ON OPERATOR leadscore.- (leadscore.score, leadscore.score) IS 'difference of two scores of one shape';

CREATE FUNCTION leadscore.score_negate(leadscore.score) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_negate' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.score_negate(leadscore.score) IS
	'the score with the sign of every value changed; its bounds stay as they are';

CREATE OPERATOR leadscore.- (
	RIGHTARG = leadscore.score, FUNCTION = leadscore.score_negate
);
COMMENT ON OPERATOR leadscore.- (NONE, leadscore.score) IS 'values with their sign changed, same bounds';

-- aggregates: the state is a score

CREATE FUNCTION leadscore.score_accum(leadscore.score, leadscore.score) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_score_accum' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION leadscore.score_accum(leadscore.score, leadscore.score) IS
	'transition and combine function of sum(score): as +, but NULL adds nothing';

CREATE AGGREGATE leadscore.sum(leadscore.score) (
	SFUNC = leadscore.score_accum,
	STYPE = leadscore.score,
	COMBINEFUNC = leadscore.score_accum,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE leadscore.sum(leadscore.score) IS
	'sum of scores of one shape; NULLs are ignored, and the sum of nothing is NULL';

CREATE FUNCTION leadscore.decayed_accum(leadscore.score, points float8, at timestamptz, half_life interval) RETURNS leadscore.score
	AS 'MODULE_PATHNAME', 'leadscore_decayed_accum' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 3;
COMMENT ON FUNCTION leadscore.decayed_accum(leadscore.score, float8, timestamptz, interval) IS
	'transition function of decayed_sum';

CREATE AGGREGATE leadscore.decayed_sum(points float8, at timestamptz, half_life interval) (
	SFUNC = leadscore.decayed_accum,
	STYPE = leadscore.score,
	COMBINEFUNC = leadscore.score_accum,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE leadscore.decayed_sum(float8, timestamptz, interval) IS
	'one-component score of many events, the same as sum(points(points, at, half_life)): rows with NULL points, or with a half-life and a NULL instant, are ignored; points with a NULL half-life do not age; the sum of nothing is NULL';

-- equality and a total order of representations, for DISTINCT, GROUP BY and
-- UNIQUE; not a ranking

CREATE FUNCTION leadscore.score_eq(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_eq(leadscore.score, leadscore.score) IS 'same representation: shape, values and instants';
CREATE FUNCTION leadscore.score_ne(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_ne(leadscore.score, leadscore.score) IS 'different representation';
CREATE FUNCTION leadscore.score_lt(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_lt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_lt(leadscore.score, leadscore.score) IS 'before in the order of representations (not a ranking)';
CREATE FUNCTION leadscore.score_le(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_le' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_le(leadscore.score, leadscore.score) IS 'before or equal in the order of representations (not a ranking)';
CREATE FUNCTION leadscore.score_gt(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_gt' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_gt(leadscore.score, leadscore.score) IS 'after in the order of representations (not a ranking)';
CREATE FUNCTION leadscore.score_ge(leadscore.score, leadscore.score) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadscore_score_ge' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_ge(leadscore.score, leadscore.score) IS 'after or equal in the order of representations (not a ranking)';
CREATE FUNCTION leadscore.score_cmp(leadscore.score, leadscore.score) RETURNS int4
	AS 'MODULE_PATHNAME', 'leadscore_score_cmp' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_cmp(leadscore.score, leadscore.score) IS 'less than, equal to or greater than 0: the order of representations (not a ranking)';
CREATE FUNCTION leadscore.score_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME', 'leadscore_score_sortsupport' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.score_sortsupport(internal) IS 'btree sort support of score';
CREATE FUNCTION leadscore.score_hash(leadscore.score) RETURNS int4
	AS 'MODULE_PATHNAME', 'leadscore_score_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_hash(leadscore.score) IS 'hash of the representation';
CREATE FUNCTION leadscore.score_hash_extended(leadscore.score, int8) RETURNS int8
	AS 'MODULE_PATHNAME', 'leadscore_score_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION leadscore.score_hash_extended(leadscore.score, int8) IS '64-bit hash of the representation, with a seed';

CREATE OPERATOR leadscore.= (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_eq,
	COMMUTATOR = OPERATOR(leadscore.=), NEGATOR = OPERATOR(leadscore.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR leadscore.= (leadscore.score, leadscore.score) IS 'same representation';
CREATE OPERATOR leadscore.<> (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_ne,
	COMMUTATOR = OPERATOR(leadscore.<>), NEGATOR = OPERATOR(leadscore.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR leadscore.<> (leadscore.score, leadscore.score) IS 'different representation';
CREATE OPERATOR leadscore.< (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_lt,
	COMMUTATOR = OPERATOR(leadscore.>), NEGATOR = OPERATOR(leadscore.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
COMMENT ON OPERATOR leadscore.< (leadscore.score, leadscore.score) IS 'before in the order of representations (not a ranking)';
CREATE OPERATOR leadscore.<= (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_le,
	COMMUTATOR = OPERATOR(leadscore.>=), NEGATOR = OPERATOR(leadscore.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
COMMENT ON OPERATOR leadscore.<= (leadscore.score, leadscore.score) IS 'before or equal in the order of representations (not a ranking)';
CREATE OPERATOR leadscore.> (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_gt,
	COMMUTATOR = OPERATOR(leadscore.<), NEGATOR = OPERATOR(leadscore.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
COMMENT ON OPERATOR leadscore.> (leadscore.score, leadscore.score) IS 'after in the order of representations (not a ranking)';
CREATE OPERATOR leadscore.>= (
	LEFTARG = leadscore.score, RIGHTARG = leadscore.score, FUNCTION = leadscore.score_ge,
	COMMUTATOR = OPERATOR(leadscore.<=), NEGATOR = OPERATOR(leadscore.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);
COMMENT ON OPERATOR leadscore.>= (leadscore.score, leadscore.score) IS 'after or equal in the order of representations (not a ranking)';

CREATE OPERATOR CLASS leadscore.score_btree_ops DEFAULT FOR TYPE leadscore.score USING btree AS
	OPERATOR 1 leadscore.<,
	OPERATOR 2 leadscore.<=,
	OPERATOR 3 leadscore.=,
	OPERATOR 4 leadscore.>=,
	OPERATOR 5 leadscore.>,
	FUNCTION 1 leadscore.score_cmp(leadscore.score, leadscore.score),
	FUNCTION 2 leadscore.score_sortsupport(internal),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS leadscore.score_btree_ops USING btree IS 'order of representations, for UNIQUE and DISTINCT (not a ranking)';
COMMENT ON OPERATOR FAMILY leadscore.score_btree_ops USING btree IS 'order of representations of score';

CREATE OPERATOR CLASS leadscore.score_hash_ops DEFAULT FOR TYPE leadscore.score USING hash AS
	OPERATOR 1 leadscore.=,
	FUNCTION 1 leadscore.score_hash(leadscore.score),
	FUNCTION 2 leadscore.score_hash_extended(leadscore.score, int8);
COMMENT ON OPERATOR CLASS leadscore.score_hash_ops USING hash IS 'equality of representations';
COMMENT ON OPERATOR FAMILY leadscore.score_hash_ops USING hash IS 'equality of representations of score';

-- casts; to and from text the type's own text form serves

CREATE FUNCTION leadscore.score_to_jsonb(leadscore.score) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'leadscore_score_to_jsonb' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION leadscore.score_to_jsonb(leadscore.score) IS
	'{"components": [{"value", "at", "half_life_seconds", "lo", "hi"}], "total": {"lo", "hi"}}; what is not there is absent';

CREATE CAST (leadscore.score AS jsonb) WITH FUNCTION leadscore.score_to_jsonb(leadscore.score);
COMMENT ON CAST (leadscore.score AS jsonb) IS 'components, instants, half-lives in seconds and bounds';
