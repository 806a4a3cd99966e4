-- old values of the columns of leads that rules use (law L5)

CREATE FUNCTION leadscore.keep_past()
RETURNS trigger
AS 'MODULE_PATHNAME', 'leadscore_keep_past' LANGUAGE C;
COMMENT ON FUNCTION leadscore.keep_past() IS
'trigger on a table of leads, made by publish: keeps the old values of the columns that rules use, so that scores as of an earlier instant do not know later values';
REVOKE ALL ON FUNCTION leadscore.keep_past() FROM PUBLIC;
