-- GiST for stages: so that a stage can stand before a score in one index

CREATE FUNCTION leadscore.stage_gist_consistent(internal, leadscore.stage, int2, oid, internal) RETURNS bool
	AS 'MODULE_PATHNAME', 'leadstage_gist_consistent' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_consistent(internal, leadscore.stage, int2, oid, internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_union(internal, internal) RETURNS int4
	AS 'MODULE_PATHNAME', 'leadstage_gist_union' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_union(internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_compress(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadstage_gist_compress' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_compress(internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_fetch(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadstage_gist_fetch' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_fetch(internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_penalty(internal, internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadstage_gist_penalty' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_penalty(internal, internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_picksplit(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadstage_gist_picksplit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_picksplit(internal, internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_same(int4, int4, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'leadstage_gist_same' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_same(int4, int4, internal) IS 'GiST support';
CREATE FUNCTION leadscore.stage_gist_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME', 'leadstage_gist_sortsupport' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.stage_gist_sortsupport(internal) IS 'GiST support';

CREATE OPERATOR CLASS leadscore.stage_ops DEFAULT FOR TYPE leadscore.stage USING gist AS
	OPERATOR 1 leadscore.<,
	OPERATOR 2 leadscore.<=,
	OPERATOR 3 leadscore.=,
	OPERATOR 4 leadscore.>=,
	OPERATOR 5 leadscore.>,
	FUNCTION 1 leadscore.stage_gist_consistent(internal, leadscore.stage, int2, oid, internal),
	FUNCTION 2 leadscore.stage_gist_union(internal, internal),
	FUNCTION 3 leadscore.stage_gist_compress(internal),
	FUNCTION 5 leadscore.stage_gist_penalty(internal, internal, internal),
	FUNCTION 6 leadscore.stage_gist_picksplit(internal, internal),
	FUNCTION 7 leadscore.stage_gist_same(int4, int4, internal),
	FUNCTION 9 leadscore.stage_gist_fetch(internal),
	FUNCTION 11 leadscore.stage_gist_sortsupport(internal),
	STORAGE int4;
COMMENT ON OPERATOR CLASS leadscore.stage_ops USING gist IS 'stages, to stand before a score in one index: USING gist (stage, score)';
COMMENT ON OPERATOR FAMILY leadscore.stage_ops USING gist IS 'stages, to stand before a score in one index';
