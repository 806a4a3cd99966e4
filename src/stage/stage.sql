
-- ---------------------------------------------------------------------------
-- leadscore.stage: the lifecycle of a lead
-- ---------------------------------------------------------------------------

CREATE TYPE leadscore.stage;

CREATE FUNCTION leadscore.stage_in(cstring) RETURNS leadscore.stage
	AS 'MODULE_PATHNAME', 'leadstage_in' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_in(cstring) IS 'text form of a stage: its name or a synonym, in any case';

CREATE FUNCTION leadscore.stage_out(leadscore.stage) RETURNS cstring
	AS 'MODULE_PATHNAME', 'leadstage_out' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_out(leadscore.stage) IS 'canonical lower-case name of a stage';

CREATE FUNCTION leadscore.stage_recv(internal) RETURNS leadscore.stage
	AS 'MODULE_PATHNAME', 'leadstage_recv' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_recv(internal) IS 'binary form of a stage: one byte';

CREATE FUNCTION leadscore.stage_send(leadscore.stage) RETURNS bytea
	AS 'MODULE_PATHNAME', 'leadstage_send' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_send(leadscore.stage) IS 'binary form of a stage: one byte';

-- one byte with gaps between the codes: see stage_core.h
CREATE TYPE leadscore.stage (
	INPUT = leadscore.stage_in,
	OUTPUT = leadscore.stage_out,
	RECEIVE = leadscore.stage_recv,
	SEND = leadscore.stage_send,
	INTERNALLENGTH = 1,
	PASSEDBYVALUE,
	ALIGNMENT = char,
	STORAGE = plain
);
COMMENT ON TYPE leadscore.stage IS 'lifecycle stage: lead < mql < sql < prospect < client, and the exits lost, disqualified';

CREATE CAST (leadscore.stage AS text) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS leadscore.stage) WITH INOUT AS ASSIGNMENT;
CREATE CAST (varchar AS leadscore.stage) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (leadscore.stage AS text) IS 'canonical name of a stage';
COMMENT ON CAST (text AS leadscore.stage) IS 'stage of that name or synonym; an unknown one is an error';
COMMENT ON CAST (varchar AS leadscore.stage) IS 'stage of that name or synonym; an unknown one is an error';

CREATE FUNCTION leadscore.stage_eq(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_eq' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_eq(leadscore.stage, leadscore.stage) IS 'implementation of = operator';

CREATE FUNCTION leadscore.stage_ne(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_ne' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_ne(leadscore.stage, leadscore.stage) IS 'implementation of <> operator';

CREATE FUNCTION leadscore.stage_lt(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_lt' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_lt(leadscore.stage, leadscore.stage) IS 'implementation of < operator';

CREATE FUNCTION leadscore.stage_le(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_le' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_le(leadscore.stage, leadscore.stage) IS 'implementation of <= operator';

CREATE FUNCTION leadscore.stage_gt(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_gt' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gt(leadscore.stage, leadscore.stage) IS 'implementation of > operator';

CREATE FUNCTION leadscore.stage_ge(leadscore.stage, leadscore.stage) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'leadstage_ge' LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_ge(leadscore.stage, leadscore.stage) IS 'implementation of >= operator';

CREATE OPERATOR leadscore.= (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_eq,
	COMMUTATOR = OPERATOR(leadscore.=), NEGATOR = OPERATOR(leadscore.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR leadscore.= (leadscore.stage, leadscore.stage) IS 'is the same stage as';

CREATE OPERATOR leadscore.<> (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_ne,
	COMMUTATOR = OPERATOR(leadscore.<>), NEGATOR = OPERATOR(leadscore.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR leadscore.<> (leadscore.stage, leadscore.stage) IS 'is another stage than';

CREATE OPERATOR leadscore.< (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_lt,
	COMMUTATOR = OPERATOR(leadscore.>), NEGATOR = OPERATOR(leadscore.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
COMMENT ON OPERATOR leadscore.< (leadscore.stage, leadscore.stage) IS 'comes before';

CREATE OPERATOR leadscore.<= (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_le,
	COMMUTATOR = OPERATOR(leadscore.>=), NEGATOR = OPERATOR(leadscore.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
COMMENT ON OPERATOR leadscore.<= (leadscore.stage, leadscore.stage) IS 'comes before or is';

CREATE OPERATOR leadscore.> (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_gt,
	COMMUTATOR = OPERATOR(leadscore.<), NEGATOR = OPERATOR(leadscore.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
COMMENT ON OPERATOR leadscore.> (leadscore.stage, leadscore.stage) IS 'comes after';

CREATE OPERATOR leadscore.>= (
	LEFTARG = leadscore.stage, RIGHTARG = leadscore.stage, FUNCTION = leadscore.stage_ge,
	COMMUTATOR = OPERATOR(leadscore.<=), NEGATOR = OPERATOR(leadscore.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);
COMMENT ON OPERATOR leadscore.>= (leadscore.stage, leadscore.stage) IS 'comes after or is';

CREATE FUNCTION leadscore.stage_cmp(leadscore.stage, leadscore.stage) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'leadstage_cmp' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_cmp(leadscore.stage, leadscore.stage) IS 'btree comparison: less than, equal to, or greater than 0';

CREATE FUNCTION leadscore.stage_sortsupport(internal) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'leadstage_sortsupport' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_sortsupport(internal) IS 'btree sort support';

CREATE FUNCTION leadscore.stage_hash(leadscore.stage) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'leadstage_hash' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_hash(leadscore.stage) IS 'hash of a stage';

CREATE FUNCTION leadscore.stage_hash_extended(leadscore.stage, pg_catalog.int8) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'leadstage_hash_extended' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_hash_extended(leadscore.stage, pg_catalog.int8) IS 'hash of a stage with a seed';

CREATE OPERATOR CLASS leadscore.stage_ops DEFAULT FOR TYPE leadscore.stage USING btree AS
	OPERATOR 1 leadscore.<,
	OPERATOR 2 leadscore.<=,
	OPERATOR 3 leadscore.=,
	OPERATOR 4 leadscore.>=,
	OPERATOR 5 leadscore.>,
	FUNCTION 1 leadscore.stage_cmp(leadscore.stage, leadscore.stage),
	FUNCTION 2 leadscore.stage_sortsupport(internal),
	FUNCTION 4 pg_catalog.btequalimage(pg_catalog.oid);
COMMENT ON OPERATOR CLASS leadscore.stage_ops USING btree IS 'order of the lifecycle';

CREATE OPERATOR CLASS leadscore.stage_ops DEFAULT FOR TYPE leadscore.stage USING hash AS
	OPERATOR 1 leadscore.=,
	FUNCTION 1 leadscore.stage_hash(leadscore.stage),
	FUNCTION 2 leadscore.stage_hash_extended(leadscore.stage, pg_catalog.int8);
COMMENT ON OPERATOR CLASS leadscore.stage_ops USING hash IS 'equality of stages';

CREATE FUNCTION leadscore.stage_smaller(leadscore.stage, leadscore.stage) RETURNS leadscore.stage
	AS 'MODULE_PATHNAME', 'leadstage_smaller' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_smaller(leadscore.stage, leadscore.stage) IS 'the earlier of two stages';

CREATE FUNCTION leadscore.stage_larger(leadscore.stage, leadscore.stage) RETURNS leadscore.stage
	AS 'MODULE_PATHNAME', 'leadstage_larger' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_larger(leadscore.stage, leadscore.stage) IS 'the later of two stages';

CREATE AGGREGATE leadscore.min(leadscore.stage) (
	SFUNC = leadscore.stage_smaller, STYPE = leadscore.stage, COMBINEFUNC = leadscore.stage_smaller,
	SORTOP = OPERATOR(leadscore.<), PARALLEL = SAFE
);
COMMENT ON AGGREGATE leadscore.min(leadscore.stage) IS 'the earliest stage';

CREATE AGGREGATE leadscore.max(leadscore.stage) (
	SFUNC = leadscore.stage_larger, STYPE = leadscore.stage, COMBINEFUNC = leadscore.stage_larger,
	SORTOP = OPERATOR(leadscore.>), PARALLEL = SAFE
);
COMMENT ON AGGREGATE leadscore.max(leadscore.stage) IS 'the latest stage';
