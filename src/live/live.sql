-- live scores: triggers that keep the stored scores, crossings of bands, messages

-- Tables. Written by the functions below only, as the owner of the extension.

CREATE TABLE leadscore.crossing (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	model		text NOT NULL,
	lead		text NOT NULL,
	from_band	text,
	to_band		text,
	at			timestamptz NOT NULL,
	score		float8 NOT NULL,
	cause		text NOT NULL,
	version		int NOT NULL,
	stage		text,
	stage_outcome text
);
-- a key may be as long as the index of the user's table takes, which leaves no room for another column
CREATE INDEX crossing_lead ON leadscore.crossing USING hash (lead);
CREATE INDEX crossing_waiting ON leadscore.crossing (model, id) WHERE stage_outcome LIKE 'waiting%';
COMMENT ON TABLE leadscore.crossing IS
'leads that went from one band to another (NULL: below all bands), when, with which score, and why (event, lead, ageing, publish, repair, truncate, attach, detach, deleted); stage and stage_outcome: the move that was set to follow, and what became of it';
ALTER TABLE leadscore.crossing ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers_of_leads ON leadscore.crossing FOR SELECT
	USING ((SELECT leadscore.reads_all(m.leads) FROM leadscore.model m
			WHERE m.model OPERATOR(pg_catalog.=) crossing.model));
GRANT SELECT ON leadscore.crossing TO PUBLIC;

CREATE TABLE leadscore.crossing_effect (
	model		text NOT NULL,
	band		text NOT NULL,
	rising		bool NOT NULL,
	stage		text,
	notify		bool NOT NULL,
	PRIMARY KEY (model, band, rising)
);
COMMENT ON TABLE leadscore.crossing_effect IS 'what happens when a lead goes over (rising) or under the threshold of a band; set by leadscore.on_crossing()';
GRANT SELECT ON leadscore.crossing_effect TO PUBLIC;

CREATE TABLE leadscore.consumer (
	consumer	text PRIMARY KEY,
	model		text,
	since		timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE leadscore.consumer IS 'who reads crossings from the outbox with leadscore.poll(): one model''s, or all';

CREATE TABLE leadscore.outbox (
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	consumer	text NOT NULL,
	crossing	bigint NOT NULL,
	taken_until timestamptz NOT NULL DEFAULT '-infinity',
	deliveries	int NOT NULL DEFAULT 0
);
CREATE INDEX outbox_consumer ON leadscore.outbox (consumer, id);
COMMENT ON TABLE leadscore.outbox IS 'crossings that a consumer has not acknowledged yet';

CREATE TABLE leadscore.due (
	model		text NOT NULL,
	lead		text NOT NULL,
	due			timestamptz NOT NULL
);
-- unique by the lead, however long its key is
CREATE UNIQUE INDEX due_lead ON leadscore.due
	(model, pg_catalog.hashtextextended(lead, 0), pg_catalog.hashtextextended(lead, 1));
CREATE INDEX due_due ON leadscore.due (model, due);
COMMENT ON TABLE leadscore.due IS 'leads that leadscore.cool() must look at, and when: their band ends by ageing, or an event dated in the future comes to count; may be too early, never too late';

CREATE TABLE leadscore.previous_band (
	model		text NOT NULL,
	lead		text NOT NULL,
	band		text NOT NULL
);
COMMENT ON TABLE leadscore.previous_band IS 'the bands leads were in, while their model is being published';

CREATE TABLE leadscore.recorded (
	model		text NOT NULL,
	event_id	text NOT NULL,
	at			timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (model, event_id)
);
COMMENT ON TABLE leadscore.recorded IS 'ids of events taken by leadscore.record(), so that none is taken twice';

CREATE TABLE leadscore.live_option (
	model		text PRIMARY KEY,
	form		text CONSTRAINT live_option_form CHECK (form OPERATOR(pg_catalog.=) 'row'),
	always		bool NOT NULL
);
COMMENT ON TABLE leadscore.live_option IS 'models for which leadscore.live_options() asked for triggers other than those chosen by themselves';

SELECT pg_catalog.pg_extension_config_dump('leadscore.crossing', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.crossing_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.crossing_effect', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.consumer', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.outbox_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.due', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.previous_band', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.recorded', '');
SELECT pg_catalog.pg_extension_config_dump('leadscore.live_option', '');

-- Triggers

CREATE FUNCTION leadscore.live_change()
RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_live_change' LANGUAGE C;
COMMENT ON FUNCTION leadscore.live_change() IS 'trigger: keeps the stored scores of the models over this table; installed by leadscore.publish()';
-- not revoked: PostgreSQL clones the trigger to a new partition as whoever makes that

CREATE FUNCTION leadscore.live_ddl()
RETURNS event_trigger
AS 'MODULE_PATHNAME', 'leadscore_live_ddl' LANGUAGE C;
COMMENT ON FUNCTION leadscore.live_ddl() IS 'event trigger: keeps the stored scores when partitions, or tables that inherit, come with rows or go with them, and when columns are altered';
REVOKE EXECUTE ON FUNCTION leadscore.live_ddl() FROM PUBLIC;
CREATE EVENT TRIGGER leadscore_live_before ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'DROP TABLE', 'DROP FOREIGN TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP SERVER', 'DROP FOREIGN DATA WRAPPER')
	EXECUTE FUNCTION leadscore.live_ddl();
COMMENT ON EVENT TRIGGER leadscore_live_before IS 'adds up what the rows of a partition give before it is dropped; converts old values of leads before a column gets another type';
CREATE EVENT TRIGGER leadscore_live_after ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER TYPE', 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA',
				 'DROP TABLE', 'DROP FOREIGN TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP SERVER', 'DROP FOREIGN DATA WRAPPER')
	EXECUTE FUNCTION leadscore.live_ddl();
COMMENT ON EVENT TRIGGER leadscore_live_after IS 'keeps the stored scores when partitions, or tables that inherit, come with rows or go with them, and when columns are altered';

CREATE FUNCTION leadscore.live_dropped()
RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_live_dropped' LANGUAGE C;
COMMENT ON FUNCTION leadscore.live_dropped() IS 'trigger: takes away what was kept for a model that is dropped';
REVOKE EXECUTE ON FUNCTION leadscore.live_dropped() FROM PUBLIC;

CREATE TRIGGER live_dropped AFTER DELETE ON leadscore.model
	FOR EACH ROW EXECUTE FUNCTION leadscore.live_dropped();

CREATE FUNCTION leadscore.live_options(model text, form text DEFAULT NULL, always bool DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'leadscore_live_options' LANGUAGE C;
COMMENT ON FUNCTION leadscore.live_options(text, text, bool) IS
'how the triggers of a model fire: form ''row'' for each row, NULL as the extension chooses; always: also for what logical replication applies (for each row then)';

CREATE VIEW leadscore.live_trigger AS
SELECT m.model, CASE WHEN c.oid OPERATOR(pg_catalog.=) m.leads::oid THEN 'leads' ELSE 'events' END AS role,
	   c.oid::pg_catalog.regclass AS relation, t.tgname AS trigger,
	   CASE WHEN (t.tgtype::int OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN 'row' ELSE 'statement' END AS form,
	   CASE WHEN t.tgenabled OPERATOR(pg_catalog.=) 'A' THEN 'always'
			WHEN t.tgenabled OPERATOR(pg_catalog.=) 'O' THEN 'origin'
			WHEN t.tgenabled OPERATOR(pg_catalog.=) 'R' THEN 'replica'
			ELSE 'disabled' END AS fires
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
JOIN leadscore.model m ON c.oid OPERATOR(pg_catalog.=) m.leads::oid OR c.oid OPERATOR(pg_catalog.=) m.events::oid
WHERE t.tgfoid OPERATOR(pg_catalog.=) 'leadscore.live_change()'::pg_catalog.regprocedure::oid
  AND m.live_version IS NOT NULL;
COMMENT ON VIEW leadscore.live_trigger IS 'the triggers that keep scores: on which table, for each row or for whole statements, and when they fire (origin: not for what logical replication applies)';
GRANT SELECT ON leadscore.live_trigger TO PUBLIC;

-- Time, and repair

CREATE FUNCTION leadscore.cool(model text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'leadscore_cool' LANGUAGE C;
COMMENT ON FUNCTION leadscore.cool(text) IS
'writes the crossings of leads that aged out of their band since the last look, each at its own instant, counts events whose instant has come, makes stage moves that had to wait; NULL = all models of the caller; returns the number of crossings';

CREATE FUNCTION leadscore.repair(model text, lead text)
RETURNS bool
AS 'MODULE_PATHNAME', 'leadscore_repair' LANGUAGE C STRICT;
COMMENT ON FUNCTION leadscore.repair(text, text) IS
'computes the stored score of a lead anew from its row and its events; false if there is no such lead';

CREATE FUNCTION leadscore.may_rise(score leadscore.score)
RETURNS bool
AS 'MODULE_PATHNAME', 'leadscore_may_rise' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.may_rise(leadscore.score) IS
'internal: does a component that ages hold negative points, so that the score rises by ageing';

-- Intake

CREATE FUNCTION leadscore.record(model text, lead text, kind text DEFAULT NULL,
	at timestamptz DEFAULT pg_catalog.now(), event_id text DEFAULT NULL, fields jsonb DEFAULT NULL)
RETURNS bool
AS 'MODULE_PATHNAME', 'leadscore_record' LANGUAGE C;
COMMENT ON FUNCTION leadscore.record(text, text, text, timestamptz, text, jsonb) IS
'inserts an event into the model''s table of events, with the rights of the caller: kind goes to the column kind, fields to the columns of their names; an event_id is taken once, also under concurrent writers: false if it was there before';

CREATE FUNCTION leadscore.forget_recorded(model text, before timestamptz)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, leadscore, pg_temp
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM leadscore.recorded r
		WHERE r.model OPERATOR(pg_catalog.=) forget_recorded.model AND r.at OPERATOR(pg_catalog.<) forget_recorded.before
		RETURNING 1)
	SELECT pg_catalog.count(*) FROM gone;
END;
COMMENT ON FUNCTION leadscore.forget_recorded(text, timestamptz) IS
'forgets the ids of events recorded before an instant, which could then be recorded again; returns how many';
REVOKE EXECUTE ON FUNCTION leadscore.forget_recorded(text, timestamptz) FROM PUBLIC;

-- Crossings: effects, messages

CREATE FUNCTION leadscore.on_crossing(model text, band text, stage text DEFAULT NULL,
	notify bool DEFAULT true, rising bool DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'leadscore_on_crossing' LANGUAGE C;
COMMENT ON FUNCTION leadscore.on_crossing(text, text, text, bool, bool) IS
'what happens when a lead goes over a band''s threshold (rising => false: under it): a move to a stage, through the rules of its pipeline, and NOTIFY leadscore_crossing with the crossing as jsonb; stage NULL and notify false: nothing any more';

CREATE FUNCTION leadscore.crossing_message(id bigint, model text, lead text, from_band text, to_band text,
	at timestamptz, score float8, cause text)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_build_object('id', id, 'model', model, 'lead', lead, 'from', from_band, 'to', to_band,
		'at', at, 'score', score, 'cause', cause);
END;
COMMENT ON FUNCTION leadscore.crossing_message(bigint, text, text, text, text, timestamptz, float8, text) IS
'internal: a crossing as NOTIFY and leadscore.poll() give it';

CREATE FUNCTION leadscore.check_consumer(consumer text, n int DEFAULT 1, lease interval DEFAULT '1 minute')
RETURNS void
AS 'MODULE_PATHNAME', 'leadscore_check_consumer' LANGUAGE C;
COMMENT ON FUNCTION leadscore.check_consumer(text, int, interval) IS
'internal: an error if there is no such consumer, or it cannot be given n messages for a lease';
REVOKE EXECUTE ON FUNCTION leadscore.check_consumer(text, int, interval) FROM PUBLIC;

CREATE FUNCTION leadscore.check_subscription(consumer text, model text)
RETURNS void
AS 'MODULE_PATHNAME', 'leadscore_check_subscription' LANGUAGE C;
COMMENT ON FUNCTION leadscore.check_subscription(text, text) IS
'internal: an error if there is no such model, or the consumer has no name';
REVOKE EXECUTE ON FUNCTION leadscore.check_subscription(text, text) FROM PUBLIC;

CREATE FUNCTION leadscore.subscribe(consumer text, model text DEFAULT NULL)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, leadscore, pg_temp
BEGIN ATOMIC
	SELECT leadscore.check_subscription(subscribe.consumer, subscribe.model);
	INSERT INTO leadscore.consumer (consumer, model) VALUES (subscribe.consumer, subscribe.model)
	ON CONFLICT (consumer) DO UPDATE SET model = excluded.model;
END;
COMMENT ON FUNCTION leadscore.subscribe(text, text) IS
'crossings of a model (NULL: of all) are kept for this consumer from now on, until it acknowledges them; those that publishing causes are among them';
REVOKE EXECUTE ON FUNCTION leadscore.subscribe(text, text) FROM PUBLIC;

CREATE FUNCTION leadscore.unsubscribe(consumer text)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, leadscore, pg_temp
BEGIN ATOMIC
	SELECT leadscore.check_consumer(unsubscribe.consumer);
	DELETE FROM leadscore.consumer c WHERE c.consumer OPERATOR(pg_catalog.=) unsubscribe.consumer;
	WITH gone AS (
		DELETE FROM leadscore.outbox o WHERE o.consumer OPERATOR(pg_catalog.=) unsubscribe.consumer RETURNING 1)
	SELECT pg_catalog.count(*) FROM gone;
END;
COMMENT ON FUNCTION leadscore.unsubscribe(text) IS
'nothing is kept for this consumer any more; returns the number of messages it had not acknowledged';
REVOKE EXECUTE ON FUNCTION leadscore.unsubscribe(text) FROM PUBLIC;

CREATE FUNCTION leadscore.poll(consumer text, n int DEFAULT 100, lease interval DEFAULT '1 minute',
	OUT id bigint, OUT message jsonb, OUT deliveries int)
RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, leadscore, pg_temp
BEGIN ATOMIC
	SELECT leadscore.check_consumer(poll.consumer, poll.n, poll.lease);
	WITH next AS (
		SELECT o.id FROM leadscore.outbox o
		WHERE o.consumer OPERATOR(pg_catalog.=) poll.consumer
		  AND o.taken_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()
		ORDER BY o.id LIMIT poll.n
		FOR UPDATE SKIP LOCKED),
	taken AS (
		UPDATE leadscore.outbox o
		SET taken_until = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) poll.lease,
			deliveries = o.deliveries OPERATOR(pg_catalog.+) 1
		FROM next WHERE o.id OPERATOR(pg_catalog.=) next.id
		RETURNING o.id, o.crossing, o.deliveries)
	SELECT t.id, leadscore.crossing_message(c.id, c.model, c.lead, c.from_band, c.to_band, c.at, c.score, c.cause),
		   t.deliveries
	FROM taken t JOIN leadscore.crossing c ON c.id OPERATOR(pg_catalog.=) t.crossing
	ORDER BY t.id;
END;
COMMENT ON FUNCTION leadscore.poll(text, int, interval) IS
'the next n messages of a consumer, oldest first: each is given to one caller at a time, and again after the lease unless leadscore.acknowledge() was called; deliveries: how often it was given';
REVOKE EXECUTE ON FUNCTION leadscore.poll(text, int, interval) FROM PUBLIC;

CREATE FUNCTION leadscore.acknowledge(consumer text, ids bigint[])
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, leadscore, pg_temp
BEGIN ATOMIC
	SELECT leadscore.check_consumer(acknowledge.consumer);
	WITH done AS (
		DELETE FROM leadscore.outbox o
		WHERE o.consumer OPERATOR(pg_catalog.=) acknowledge.consumer AND o.id OPERATOR(pg_catalog.=) ANY (acknowledge.ids)
		RETURNING 1)
	SELECT pg_catalog.count(*) FROM done;
END;
COMMENT ON FUNCTION leadscore.acknowledge(text, bigint[]) IS
'these messages are dealt with and are not given again; returns how many there were';
REVOKE EXECUTE ON FUNCTION leadscore.acknowledge(text, bigint[]) FROM PUBLIC;
