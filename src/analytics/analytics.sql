-- ---------- analytics: funnels, velocity, cost, attribution, forecast ----------

CREATE FUNCTION leadscore.wilson(successes bigint, total bigint, confidence float8 DEFAULT 0.95,
	OUT low float8, OUT high float8)
RETURNS record AS 'MODULE_PATHNAME', 'leadscore_wilson' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.wilson(bigint, bigint, float8) IS
'Wilson interval of the share successes / total, as fractions from 0 to 1; NULL for a total of 0';

CREATE FUNCTION leadscore.funnel(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL)
RETURNS TABLE (by_value text, stage text, leads_in bigint, reached bigint, moved_on bigint, here_now bigint,
	lost_here bigint, elsewhere bigint,
	step_pct numeric, step_low numeric, step_high numeric,
	decided_pct numeric, decided_low numeric, decided_high numeric,
	overall_pct numeric, overall_low numeric, overall_high numeric,
	q1_days numeric, median_days numeric, q3_days numeric,
	reentries bigint, skipped bigint, negative bigint, bar text)
AS 'MODULE_PATHNAME', 'leadscore_funnel' LANGUAGE C STABLE ROWS 20 COST 100000;
COMMENT ON FUNCTION leadscore.funnel(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb) IS
'funnel of the leads that entered from since (inclusive) to until (exclusive), as it stood at as_of (default now): leads per stage, conversion in per cent with Wilson 95 % intervals, days from entering a stage to moving on; see docs/analytics.md';

CREATE FUNCTION leadscore.journeys(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL, value text DEFAULT NULL)
RETURNS TABLE (lead text, by_value text, entered timestamptz, stage text, stage_since timestamptz, outcome text,
	furthest text, reached timestamptz[], moves bigint, reentries bigint, negative boolean, lead_value float8)
AS 'MODULE_PATHNAME', 'leadscore_journeys' LANGUAGE C STABLE ROWS 10000 COST 100000;
COMMENT ON FUNCTION leadscore.journeys(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text) IS
'one row per lead: when it entered, where it is (outcome open, won, lost or elsewhere), when it first reached each stage of the funnel (NULL: never), and the value of an expression over its row of the lead table; what the other reports are made of';

-- ---------- window_funnel ----------

CREATE FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval, text)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval, text) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval, text, interval[])
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_step(bytea, timestamptz, integer, interval, text, interval[]) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_conditions' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval, text)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_conditions' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval, text) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval, text, interval[])
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_conditions' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_conditions(bytea, timestamptz, boolean[], interval, text, interval[]) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_stage' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval, text)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_stage' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval, text) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval, text, interval[])
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_stage' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_stage(bytea, timestamptz, text, text[], interval, text, interval[]) IS 'internal: adds an event to the state of window_funnel';

CREATE FUNCTION leadscore.window_funnel_combine(bytea, bytea)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_window_funnel_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_combine(bytea, bytea) IS 'internal: joins two states of window_funnel';

CREATE FUNCTION leadscore.window_funnel_final(bytea)
RETURNS integer AS 'MODULE_PATHNAME', 'leadscore_window_funnel_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.window_funnel_final(bytea) IS 'internal: the answer of window_funnel';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, step integer, win interval) (
	SFUNC = leadscore.window_funnel_step, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, integer, interval) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is step number n (from 1 to 64); 0 or NULL is an event that is no step; in mode ordered';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, step integer, win interval, mode text) (
	SFUNC = leadscore.window_funnel_step, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, integer, interval, text) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is step number n (from 1 to 64); 0 or NULL is an event that is no step; in the mode given: ordered, strict_order, strict_increase, reentry or once';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, step integer, win interval, mode text, step_windows interval[]) (
	SFUNC = leadscore.window_funnel_step, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, integer, interval, text, interval[]) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is step number n (from 1 to 64); 0 or NULL is an event that is no step; in the mode given; step_windows[i] is the longest time from step i to step i + 1 (NULL: no limit of its own)';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, conditions boolean[], win interval) (
	SFUNC = leadscore.window_funnel_conditions, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, boolean[], interval) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; element i of the array is true when the event is step i (at most 64); in mode ordered';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, conditions boolean[], win interval, mode text) (
	SFUNC = leadscore.window_funnel_conditions, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, boolean[], interval, text) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; element i of the array is true when the event is step i (at most 64); in the mode given: ordered, strict_order, strict_increase, reentry or once';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, conditions boolean[], win interval, mode text, step_windows interval[]) (
	SFUNC = leadscore.window_funnel_conditions, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, boolean[], interval, text, interval[]) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; element i of the array is true when the event is step i (at most 64); in the mode given; step_windows[i] is the longest time from step i to step i + 1 (NULL: no limit of its own)';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, stage text, steps text[], win interval) (
	SFUNC = leadscore.window_funnel_stage, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, text, text[], interval) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is the steps whose name equals the stage (at most 64); in mode ordered';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, stage text, steps text[], win interval, mode text) (
	SFUNC = leadscore.window_funnel_stage, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, text, text[], interval, text) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is the steps whose name equals the stage (at most 64); in the mode given: ordered, strict_order, strict_increase, reentry or once';

CREATE AGGREGATE leadscore.window_funnel(at timestamptz, stage text, steps text[], win interval, mode text, step_windows interval[]) (
	SFUNC = leadscore.window_funnel_stage, STYPE = bytea, SSPACE = 80,
	FINALFUNC = leadscore.window_funnel_final, COMBINEFUNC = leadscore.window_funnel_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.window_funnel(timestamptz, text, text[], interval, text, interval[]) IS
'number of steps (0 to 64) that were taken in order within the window, counted from the first step; the event is the steps whose name equals the stage (at most 64); in the mode given; step_windows[i] is the longest time from step i to step i + 1 (NULL: no limit of its own)';

-- ---------- velocity ----------

CREATE FUNCTION leadscore.velocity(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL, at_days float8[] DEFAULT '{30,90,180,365}')
RETURNS TABLE (by_value text, span text, n bigint, ended bigint, censored bigint, negative bigint,
	q1_days numeric, median_days numeric, median_low numeric, median_high numeric, q3_days numeric,
	going_on_pct numeric[], going_on_low numeric[], going_on_high numeric[])
AS 'MODULE_PATHNAME', 'leadscore_velocity' LANGUAGE C STABLE ROWS 20 COST 100000;
COMMENT ON FUNCTION leadscore.velocity(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, float8[]) IS
'time in each stage and from the entry to won and to the end, in days, with what is still going on at as_of counted as censored (Kaplan-Meier): median and quartiles, 95 % interval of the median, per cent still going on after at_days with intervals (Greenwood)';

CREATE FUNCTION leadscore.survival(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL, span text DEFAULT NULL)
RETURNS TABLE (by_value text, of_span text, days float8, at_risk bigint, ended bigint, censored bigint,
	survival float8, std_error float8, low float8, high float8)
AS 'MODULE_PATHNAME', 'leadscore_survival' LANGUAGE C STABLE ROWS 1000 COST 100000;
COMMENT ON FUNCTION leadscore.survival(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text) IS
'the Kaplan-Meier curves behind velocity, step by step: share still going on after so many days (0 to 1), Greenwood standard error and 95 % interval';

CREATE FUNCTION leadscore.kaplan_meier(days float8[], ended boolean[])
RETURNS TABLE (at_days float8, at_risk bigint, n_ended bigint, n_censored bigint,
	survival float8, std_error float8, low float8, high float8)
AS 'MODULE_PATHNAME', 'leadscore_kaplan_meier' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 100 COST 100;
COMMENT ON FUNCTION leadscore.kaplan_meier(float8[], boolean[]) IS
'Kaplan-Meier curve of spans of so many days, each ended or only watched so long; Greenwood standard error; 95 % interval on the log scale';

-- ---------- path, time_in_state ----------

CREATE FUNCTION leadscore.timeline_add(bytea, text, timestamptz)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_timeline_add' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.timeline_add(bytea, text, timestamptz) IS 'internal: adds a stage to the state of path';

CREATE FUNCTION leadscore.timeline_add(bytea, leadscore.stage, timestamptz)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_timeline_add_stage' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.timeline_add(bytea, leadscore.stage, timestamptz) IS 'internal: adds a stage to the state of path';

CREATE FUNCTION leadscore.timeline_add(bytea, text, timestamptz, timestamptz)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_timeline_add_until' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.timeline_add(bytea, text, timestamptz, timestamptz) IS 'internal: adds a stage to the state of time_in_state';

CREATE FUNCTION leadscore.timeline_combine(bytea, bytea)
RETURNS bytea AS 'MODULE_PATHNAME', 'leadscore_timeline_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.timeline_combine(bytea, bytea) IS 'internal: joins two states of path or time_in_state';

CREATE FUNCTION leadscore.path_final(bytea)
RETURNS text[] AS 'MODULE_PATHNAME', 'leadscore_path_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.path_final(bytea) IS 'internal: the answer of path';

CREATE FUNCTION leadscore.path_stage_final(bytea)
RETURNS leadscore.stage[] AS 'MODULE_PATHNAME', 'leadscore_path_stage_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.path_stage_final(bytea) IS 'internal: the answer of path of the stage type';

CREATE FUNCTION leadscore.time_in_state_final(bytea)
RETURNS jsonb AS 'MODULE_PATHNAME', 'leadscore_time_in_state_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.time_in_state_final(bytea) IS 'internal: the answer of time_in_state';

CREATE AGGREGATE leadscore.path(stage text, at timestamptz) (
	SFUNC = leadscore.timeline_add, STYPE = bytea, SSPACE = 160,
	FINALFUNC = leadscore.path_final, COMBINEFUNC = leadscore.timeline_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.path(text, timestamptz) IS
'the stages in order of time (at one instant in order of their names), repeats included; rows with a NULL are left out; NULL of no rows';

CREATE AGGREGATE leadscore.path(stage leadscore.stage, at timestamptz) (
	SFUNC = leadscore.timeline_add, STYPE = bytea, SSPACE = 160,
	FINALFUNC = leadscore.path_stage_final, COMBINEFUNC = leadscore.timeline_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.path(leadscore.stage, timestamptz) IS
'the stages in order of time (at one instant in the order of the lifecycle), repeats included; rows with a NULL are left out; NULL of no rows';

CREATE AGGREGATE leadscore.time_in_state(stage text, at timestamptz, until timestamptz) (
	SFUNC = leadscore.timeline_add, STYPE = bytea, SSPACE = 160,
	FINALFUNC = leadscore.time_in_state_final, COMBINEFUNC = leadscore.timeline_combine, PARALLEL = SAFE);
COMMENT ON AGGREGATE leadscore.time_in_state(text, timestamptz, timestamptz) IS
'days spent in each stage up to until, as a jsonb object of numbers; the last stage lasts to until (NULL: counts nothing)';

-- ---------- forecast ----------

CREATE FUNCTION leadscore.forecast(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	value text DEFAULT NULL, months integer DEFAULT 6, resamples integer DEFAULT 200, seed bigint DEFAULT 1)
RETURNS TABLE (by_value text, month date, open_leads bigint, beyond bigint,
	clients numeric, clients_low numeric, clients_high numeric, revenue numeric, revenue_low numeric, revenue_high numeric)
AS 'MODULE_PATHNAME', 'leadscore_forecast' LANGUAGE C STABLE ROWS 20 COST 100000;
COMMENT ON FUNCTION leadscore.forecast(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text, integer, integer, bigint) IS
'expected clients and revenue (value) of the leads open at as_of, by month, the first being the rest of the month of as_of, and in all (month NULL): from what became of the leads that were as long in the same stage; 90 % interval by resampling, repeatable by seed; beyond: open leads older than any that was watched, of which nothing is expected';
