
-- ---------------------------------------------------------------------------
-- The built-in pipeline: lead -> mql -> sql -> prospect -> client
-- ---------------------------------------------------------------------------

INSERT INTO leadscore.pipeline (pipeline, live_version, owner, builtin, note)
VALUES ('lifecycle', 1, CURRENT_USER, true, 'From first contact to client. Read-only: copy_pipeline() makes one to edit.');
INSERT INTO leadscore.pipeline_version (pipeline, version, published_at, published_by, note)
VALUES ('lifecycle', 1, '2026-11-23 00:00:00+00', CURRENT_USER, 'as shipped');

INSERT INTO leadscore.pipeline_stage (pipeline, version, ordinal, stage, kind, entry, service_level) VALUES
	('lifecycle', 1, 1, 'lead', 'open', true, '30 days'),
	('lifecycle', 1, 2, 'mql', 'open', false, '30 days'),
	('lifecycle', 1, 3, 'sql', 'open', false, '14 days'),
	('lifecycle', 1, 4, 'prospect', 'open', false, '90 days'),
	('lifecycle', 1, 5, 'client', 'won', false, NULL),
	('lifecycle', 1, 6, 'lost', 'lost', false, NULL),
	('lifecycle', 1, 7, 'disqualified', 'lost', false, NULL);

INSERT INTO leadscore.pipeline_field (pipeline, version, field, columns, optional) VALUES
	('lifecycle', 1, 'interest', '{interest,interested,shown_interest,interest_shown,interested_at,interest_at}', true),
	('lifecycle', 1, 'budget', '{budget,has_budget,budget_amount,est_budget}', false),
	('lifecycle', 1, 'authority', '{authority,has_authority,decision_maker}', false),
	('lifecycle', 1, 'need', '{need,has_need,needs}', false),
	('lifecycle', 1, 'timeline', '{timeline,has_timeline,timeline_days,timeframe}', false),
	('lifecycle', 1, 'order', '{order_id,order_no,order_number,order_ref,ordered_at,order_date,order_value,order_amount,has_order,order,ordered}', false);

INSERT INTO leadscore.pipeline_transition (pipeline, version, from_stage, to_stage, reason_required, fields) VALUES
	('lifecycle', 1, 'lead', 'mql', false, '{}'),
	('lifecycle', 1, 'mql', 'sql', false, '{budget,authority,need,timeline}'),
	('lifecycle', 1, 'sql', 'prospect', false, '{}'),
	('lifecycle', 1, 'prospect', 'client', false, '{order}'),
	('lifecycle', 1, 'lead', 'lost', false, '{}'),
	('lifecycle', 1, 'mql', 'lost', false, '{}'),
	('lifecycle', 1, 'sql', 'lost', false, '{}'),
	('lifecycle', 1, 'prospect', 'lost', false, '{}'),
	('lifecycle', 1, 'lead', 'disqualified', false, '{}'),
	('lifecycle', 1, 'mql', 'disqualified', false, '{}'),
	('lifecycle', 1, 'sql', 'disqualified', false, '{}'),
	-- recycling: back to nurturing, and back from the exits
	('lifecycle', 1, 'sql', 'mql', true, '{}'),
	('lifecycle', 1, 'lost', 'lead', true, '{}'),
	('lifecycle', 1, 'disqualified', 'lead', true, '{}');

INSERT INTO leadscore.pipeline_guard (pipeline, version, from_stage, to_stage, label, ordinal, condition) VALUES
	('lifecycle', 1, 'lead', 'mql', 'shown interest, or a score of at least 50', 1, 'leadscore.filled(interest) OR score >= 50');
