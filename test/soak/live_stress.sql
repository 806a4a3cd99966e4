-- One transaction of the stress on live scores, for pgbench: mostly one lead,
-- sometimes several in one statement.
\set lead random(1, 206)
\set other random(1, 206)
\set what random(1, 100)
\set hours random(0, 900)
\set kind random(1, 4)
\set worth random(0, 12)
\if :what <= 35
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, (ARRAY['open', 'webinar', 'unsubscribe', 'demo'])[:kind], now() - :hours * interval '1 hour', :worth);
\elif :what <= 45
UPDATE st.event SET kind = (ARRAY['open', 'webinar', 'unsubscribe', 'demo'])[:kind], worth = :worth WHERE id = (SELECT id FROM st.event WHERE lead_id = :lead ORDER BY at OFFSET :kind LIMIT 1);
\elif :what <= 58
DELETE FROM st.event WHERE id = (SELECT id FROM st.event WHERE lead_id = :lead ORDER BY at DESC OFFSET :kind LIMIT 1);
\elif :what <= 64
UPDATE st.event SET lead_id = :other, at = at - interval '5 hours' WHERE id = (SELECT id FROM st.event WHERE lead_id = :lead ORDER BY at OFFSET :kind LIMIT 1);
\elif :what <= 70
BEGIN;
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, 'webinar', now() - :hours * interval '1 hour', :worth);
SAVEPOINT a;
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, 'open', now(), 3), (:lead, 'webinar', now() - :hours * interval '1 hour', 5);
ROLLBACK TO SAVEPOINT a;
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, 'unsubscribe', now(), 9);
SAVEPOINT b;
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, 'webinar', now() - :hours * interval '1 hour', 11);
RELEASE SAVEPOINT b;
COMMIT;
\elif :what <= 75
BEGIN;
INSERT INTO st.event (lead_id, kind, at, worth) VALUES (:lead, 'webinar', now(), :worth);
INSERT INTO st.event (lead_id, kind, at, worth) SELECT :lead, 'webinar', now(), g FROM generate_series(1, 20) g;
ROLLBACK;
\elif :what <= 83
UPDATE st.lead SET sector = (ARRAY['saas', 'retail', NULL, 'saas'])[:kind], employees = :worth * 20 WHERE lead_id = :lead;
\elif :what <= 86
DELETE FROM st.lead WHERE lead_id = :lead;
\elif :what <= 90
INSERT INTO st.lead VALUES (:lead, 'saas', :worth * 10) ON CONFLICT (lead_id) DO UPDATE SET employees = st.lead.employees + 1;
\elif :what <= 94
INSERT INTO st.event (lead_id, kind, at, worth) SELECT 1 + (:other * 7 + 37 * g) % 200, 'open', now() - g * interval '1 hour', g FROM generate_series(1, 10) g;
\elif :what <= 97
MERGE INTO st.event e USING (SELECT id FROM st.event WHERE lead_id = :lead ORDER BY at LIMIT 1) v ON e.id = v.id WHEN MATCHED AND e.kind = 'open' THEN DELETE WHEN MATCHED THEN UPDATE SET kind = 'open', worth = :worth;
\else
SELECT count(leadscore.record('st', :lead::text, 'open', now(), (:lead * 1000 + :hours)::text, '{"worth": 4}'));
\endif
