-- regression test: forecast
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA fc;
CREATE TABLE fc.lead (id int PRIMARY KEY, amount numeric, source text);
CREATE TABLE fc.h (lead_id int, stage text, at timestamptz);
-- no history: nothing is open, nothing comes
SELECT * FROM forecast(history => 'fc.h', as_of => '2026-03-01', months => 2);
-- by hand. Watched until 27 March: 1 was won after 10 days, 2 lost after 5, 3 won after 20; 4 is open for 7 days.
-- Two leads lasted longer than 7 days: 1 was won 3 days later, 3 after 13. So 4 is won with 1/2 in the next
-- 3 days (March), and else on the 13th day from now (April).
INSERT INTO fc.lead VALUES (1, 100, 'web'), (2, 900, 'web'), (3, 300, 'web'), (4, NULL, 'web'), (5, 70, 'fair');
INSERT INTO fc.h VALUES (1, 'lead', '2026-01-01'), (1, 'client', '2026-01-11'), (2, 'lead', '2026-01-01'), (2, 'lost', '2026-01-06'),
	(3, 'lead', '2026-01-01'), (3, 'client', '2026-01-21'), (4, 'lead', '2026-03-20');
SELECT month, open_leads, beyond, clients, clients_low, clients_high, revenue
FROM forecast('fc.lead', history => 'fc.h', stages => '{lead,client}', as_of => '2026-03-27', months => 3, value => 'amount', resamples => 50);
SELECT month, clients, revenue, clients_low FROM forecast('fc.lead', history => 'fc.h', stages => '{lead,client}', as_of => '2026-03-27', months => 1, resamples => 0);
-- a lead older in its stage than any that was watched: nothing is known of it
SELECT month, open_leads, beyond, clients FROM forecast(history => 'fc.h', stages => '{lead,client}', as_of => '2026-05-20', months => 1);
-- groups learn from themselves: the fair has no past
INSERT INTO fc.h VALUES (5, 'lead', '2026-03-20');
SELECT by_value, month, open_leads, beyond, clients FROM forecast('fc.lead', 'source', history => 'fc.h', stages => '{lead,client}', as_of => '2026-03-27', months => 1);
-- as of a day in the past, later moves are not known
SELECT month, open_leads, clients FROM forecast(history => 'fc.h', stages => '{lead,client}', as_of => '2026-01-08', months => 1);
SELECT * FROM forecast(history => 'fc.h', months => 0);
SELECT * FROM forecast(history => 'fc.h', months => 61);
SELECT * FROM forecast(history => 'fc.h', resamples => -1);

-- the chances against plain SQL (Aalen-Johansen, from the age of each open lead), on random leads of one age
SELECT setseed(0.11);
CREATE TABLE fc.p AS SELECT i, random() * 60 AS won, random() * 80 AS lost, random() * 70 AS seen FROM generate_series(1, 400) i;
CREATE TABLE fc.r AS
SELECT i AS lead, 'lead' AS stage, timestamptz '2026-06-20' - seen * interval '1 day' AS at FROM fc.p WHERE i > 5
UNION ALL SELECT i, CASE WHEN won < lost THEN 'client' ELSE 'lost' END, timestamptz '2026-06-20' + (least(won, lost) - seen) * interval '1 day' FROM fc.p WHERE i > 5 AND least(won, lost) < seen
UNION ALL SELECT i, 'lead', timestamptz '2026-06-20' - interval '12 days' FROM fc.p WHERE i <= 5;
-- only the five of age 12 are asked about: the others who are open are put aside by a later move to an unlisted stage
INSERT INTO fc.r SELECT i, 'parked', '2026-06-20' FROM fc.p WHERE i > 5 AND least(won, lost) >= seen;
WITH f AS (SELECT r.lead, min(r.at) FILTER (WHERE stage = 'lead') AS entered, min(r.at) FILTER (WHERE stage <> 'lead' AND stage <> 'parked') AS done, max(r.stage) FILTER (WHERE stage IN ('client', 'lost')) AS fate FROM fc.r r GROUP BY 1),
t AS (SELECT extract(epoch FROM coalesce(done, '2026-06-20') - entered) / 86400 - 12 AS t, fate FROM f),
x AS (SELECT t, fate, count(*) OVER (ORDER BY t DESC) AS at_risk FROM t WHERE t > 1e-9),
k AS (SELECT t, fate, at_risk, coalesce(exp(sum(CASE WHEN fate IS NULL THEN 0 WHEN at_risk = 1 THEN -100 ELSE ln(1 - 1.0 / at_risk) END) OVER (ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 1) AS s FROM x),
o AS (SELECT sum(s / at_risk) FILTER (WHERE fate = 'client' AND t <= 11) AS june, sum(s / at_risk) FILTER (WHERE fate = 'client' AND t > 11 AND t <= 42) AS july FROM k)
SELECT f.month, f.open_leads, f.clients, round((5 * CASE WHEN f.month = '2026-06-01' THEN june ELSE july END)::numeric, 1) = f.clients AS agrees
FROM o, forecast(history => 'fc.r', stages => '{lead,client}', as_of => '2026-06-20', months => 2, resamples => 0) f WHERE f.month IS NOT NULL;

-- is a 90 % interval one? 60 made-up firms, each forecast once, and what then came
CREATE TABLE fc.sim AS
SELECT firm, i, -ln(1 - random()) * 30 AS won, -ln(1 - random()) * 40 AS lost, random() * 120 AS ago FROM generate_series(1, 60) firm, generate_series(1, 150) i;
CREATE TABLE fc.sh (firm int, lead text, stage text, at timestamptz);
INSERT INTO fc.sh SELECT firm, firm || '-' || i, 'lead', timestamptz '2026-06-01' - ago * interval '1 day' FROM fc.sim
UNION ALL SELECT firm, firm || '-' || i, CASE WHEN won < lost THEN 'client' ELSE 'lost' END, timestamptz '2026-06-01' + (least(won, lost) - ago) * interval '1 day' FROM fc.sim;
CREATE TABLE fc.firm AS SELECT DISTINCT lead, firm FROM fc.sh;
ALTER TABLE fc.firm ADD PRIMARY KEY (lead);
SELECT count(*) AS firms, count(*) FILTER (WHERE came BETWEEN clients_low AND clients_high) BETWEEN 48 AND 60 AS about_nine_in_ten, abs(sum(clients) / sum(came) - 1) < 0.1 AS sum_is_near
FROM forecast('fc.firm', 'firm', history => 'fc.sh', stages => '{lead,client}', as_of => '2026-06-01', months => 1, resamples => 200) f
JOIN (SELECT firm, count(*) FILTER (WHERE won < lost AND won > ago AND won <= ago + 30) AS came FROM fc.sim GROUP BY 1) a ON a.firm = f.by_value::int
WHERE f.month IS NOT NULL;

SET client_min_messages = warning;
DROP SCHEMA fc CASCADE;
