-- old values of the columns of leads that rules use (law L5)

CREATE FUNCTION leadscore.keep_past()
RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_keep_past' LANGUAGE C;
COMMENT ON FUNCTION leadscore.keep_past() IS
'trigger on a table of leads, made by publish: keeps the old values of the columns that rules use, so that scores as of an earlier instant do not know later values';
-- not revoked: PostgreSQL clones the trigger to a new partition as whoever makes that

CREATE FUNCTION leadscore.changes(model text, lead text, from_at timestamptz, to_at timestamptz DEFAULT pg_catalog.now(),
	OUT component text, OUT cause text, OUT rule text, OUT occurrences bigint, OUT points float8, OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'leadscore_changes' LANGUAGE C STABLE STRICT ROWS 20;
COMMENT ON FUNCTION leadscore.changes(text, text, timestamptz, timestamptz) IS
'why a lead''s score moved between two instants: events that counted since, ageing, lead data that changed, bounds, and rules that were published in between; the last row is the total, the sum of all others';
