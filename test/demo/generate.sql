-- A small CRM, made up: leads with names, firms, interactions, costs, BANT fields
-- and the stages they went through in the year before now. Nothing of it is real.
--
-- psql variables: leads (how many, 3000), seed (between -1 and 1, 0.1789). The same
-- seed, number of leads and clock give the same rows. Uses no part of leadscore
-- but the type leadscore.stage.
\if :{?leads} \else \set leads 3000 \endif
\if :{?seed} \else \set seed 0.1789 \endif
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET timezone = 'UTC';
SET search_path = public, leadscore;

CREATE SCHEMA crm;

CREATE TABLE crm.lead (
	lead_id		bigint PRIMARY KEY,
	created_at	timestamptz NOT NULL,
	name		text NOT NULL,
	email		text NOT NULL,
	company		text NOT NULL,
	sector		text NOT NULL,
	employees	int,					-- NULL: not known
	country		text NOT NULL,
	source		text NOT NULL,			-- the marketing action behind the first contact
	stage		leadscore.stage NOT NULL DEFAULT 'lead',
	budget		numeric(12, 2),			-- BANT: what they can spend, EUR
	authority	text,					-- who decides
	need		text,					-- what they need it for
	timeline	date,					-- when they want it
	order_no	text,					-- the order that made them a client
	order_value	numeric(12, 2)
);
CREATE TABLE crm.interaction (
	interaction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	lead_id		bigint NOT NULL REFERENCES crm.lead,
	occurred_at	timestamptz NOT NULL,
	kind		text NOT NULL
);
CREATE TABLE crm.cost (
	source		text NOT NULL,
	month		date NOT NULL,
	amount		numeric(12, 2) NOT NULL,
	currency	text NOT NULL DEFAULT 'EUR',
	PRIMARY KEY (source, month)
);
-- the moves of the year before, as an older CRM would export them
CREATE TABLE crm.stage_change (
	lead_id		bigint NOT NULL REFERENCES crm.lead,
	from_stage	leadscore.stage,
	to_stage	leadscore.stage NOT NULL,
	at			timestamptz NOT NULL
);

SELECT setseed(:seed) \g /dev/null

-- chance, once for each lead
CREATE TEMP TABLE dice AS
SELECT i, random() u1, random() u2, random() u3, random() u4, random() u5, random() u6, random() u7,
	random() u8, random() u9, random() d1, random() d2, random() d3, random() d4,
	random() g1, random() g2, random() g3, random() g4, random() b1, random() b2, random() b3, random() b4
FROM generate_series(1, :leads) i;

-- who they are: a firm has a sector, a size and a country, and the name fits the country
CREATE TEMP TABLE person AS
SELECT i,
	date_trunc('minute', now() - interval '365 days' * u1 ^ 1.15) AS created_at,
	(ARRAY['software', 'software', 'finance', 'manufacturing', 'manufacturing', 'logistics', 'retail', 'health',
		   'education', 'public sector', 'energy', 'media'])[1 + floor(12 * u2)::int] AS sector,
	CASE WHEN u3 < 0.92 THEN greatest(1, round(exp(4.1 + 1.5 * sqrt(-2 * ln(1 - u3 / 0.92 * 0.9999)) * cos(2 * pi() * u4))))::int END AS employees,
	(ARRAY['France', 'France', 'France', 'Belgium', 'Switzerland', 'Canada', 'United Kingdom', 'United Kingdom',
		   'Ireland', 'United States'])[1 + floor(10 * u5)::int] AS country,
	(ARRAY['white paper', 'newsletter', 'trade show', 'webinar', 'search ads', 'search ads', 'referral', 'partner'])[1 + floor(8 * u6)::int] AS source,
	u7, u8, u9
FROM dice;

CREATE TEMP TABLE firm AS
SELECT i, created_at, sector, employees, country, source,
	CASE WHEN country IN ('United Kingdom', 'Ireland', 'United States') THEN
		(ARRAY['Alice', 'Amelia', 'Ben', 'Charlotte', 'Daniel', 'Eleanor', 'Fiona', 'George', 'Hannah', 'Imogen', 'Jack', 'Kate',
			   'Liam', 'Maeve', 'Niamh', 'Oliver', 'Róisín', 'Rupert', 'Seán', 'Siân', 'Thomas', 'Zoë'])[1 + floor(22 * u7)::int]
		|| ' ' ||
		(ARRAY['Ashworth', 'Barnes', 'Carter', 'Donnelly', 'Ellis', 'Fletcher', 'Gallagher', 'Hughes', 'Irving', 'Jenkins', 'Kennedy',
			   'Lewis', 'Murphy', 'Nolan', 'O''Brien', 'Ó Súilleabháin', 'Parker', 'Quinn', 'Reid', 'Sutton', 'Taylor', 'Whitfield'])[1 + floor(22 * u8)::int]
	ELSE
		(ARRAY['Aurélie', 'Benoît', 'Chloé', 'Cédric', 'Éloïse', 'Étienne', 'François', 'Gaëlle', 'Hélène', 'Inès', 'Jérôme', 'Loïc',
			   'Maëlys', 'Mathieu', 'Noémie', 'Océane', 'Pénélope', 'Raphaël', 'Sébastien', 'Théo', 'Valérie', 'Zoé'])[1 + floor(22 * u7)::int]
		|| ' ' ||
		(ARRAY['Beauchêne', 'Bélanger', 'Chevalier', 'Delacroix', 'Desprès', 'D''Hervé', 'Fournier', 'Garçon', 'Guérin', 'Hébert', 'Lefèvre',
			   'Le Goff', 'Lemaître', 'Marchand', 'Müller', 'Noël', 'Pâris', 'Perrault', 'Rivière', 'Saint-Exupéry', 'Tremblay', 'Vœgtlin'])[1 + floor(22 * u8)::int]
	END AS name,
	(ARRAY['Alizé', 'Bright', 'Cartier', 'Dunmore', 'Élan', 'Fairwater', 'Garonne', 'Harbour', 'Iroise', 'Juniper', 'Kestrel', 'Lumière',
		   'Mistral', 'Northgate', 'Océan', 'Pemberton', 'Quai', 'Rivage', 'Sterling', 'Tilleul', 'Umber', 'Verdon', 'Westwood', 'Zéphyr'])[1 + floor(24 * u9)::int]
	|| ' ' ||
	CASE sector WHEN 'software' THEN 'Logiciels' WHEN 'finance' THEN 'Capital' WHEN 'manufacturing' THEN 'Industries'
		WHEN 'logistics' THEN 'Transport' WHEN 'retail' THEN 'Stores' WHEN 'health' THEN 'Santé' WHEN 'education' THEN 'Academy'
		WHEN 'public sector' THEN 'Council' WHEN 'energy' THEN 'Énergie' ELSE 'Media' END AS company
FROM person;

-- how good the fit is (-2 .. 5) drives everything that follows
CREATE TEMP TABLE fate AS
SELECT f.*, d.d1, d.d2, d.d3, d.d4, d.g1, d.g2, d.g3, d.g4, d.b1, d.b2, d.b3, d.b4,
	(CASE WHEN sector IN ('software', 'finance') THEN 1.5 WHEN sector IN ('manufacturing', 'logistics') THEN 0.7
		WHEN sector IN ('education', 'media') THEN -1 ELSE 0 END
	 + CASE WHEN employees BETWEEN 50 AND 999 THEN 1.2 WHEN employees >= 1000 THEN 0.8 WHEN employees < 10 THEN -0.8 ELSE 0 END
	 + CASE source WHEN 'referral' THEN 1.5 WHEN 'webinar' THEN 0.8 WHEN 'partner' THEN 0.7 WHEN 'newsletter' THEN -0.5 ELSE 0 END
	 + 1.2 * (d.d1 + d.d2 - 1)) AS fit
FROM firm f JOIN dice d USING (i);

-- where they went: a chance to move on at each stage, after some days; who does not is lost after a while, or still open
CREATE TEMP TABLE journey AS
WITH chance AS (
	SELECT *,
		1 / (1 + exp(0.8 - 0.75 * fit)) AS p_mql, 1 / (1 + exp(0.9 - 0.45 * fit)) AS p_sql,
		1 / (1 + exp(0.1 - 0.35 * fit)) AS p_prospect, 1 / (1 + exp(0.7 - 0.35 * fit)) AS p_client,
		interval '1 day' * (1 + 12 * -ln(1 - g1 * 0.9999)) AS days1, interval '1 day' * (2 + 18 * -ln(1 - g2 * 0.9999)) AS days2,
		interval '1 day' * (2 + 14 * -ln(1 - g3 * 0.9999)) AS days3, interval '1 day' * (5 + 28 * -ln(1 - g4 * 0.9999)) AS days4
	FROM fate),
step AS (
	SELECT i, 1 AS n, 'lead'::leadscore.stage AS from_stage,
		CASE WHEN d1 < p_mql THEN 'mql' WHEN b1 < 0.25 THEN 'disqualified' WHEN b1 < 0.6 THEN 'lost' END::leadscore.stage AS to_stage,
		CASE WHEN d1 < p_mql THEN created_at + days1 ELSE created_at + days1 * 3 END AS at FROM chance
	UNION ALL
	SELECT i, 2, 'mql',
		CASE WHEN d2 < p_sql THEN 'sql' WHEN b2 < 0.12 THEN 'disqualified' WHEN b2 < 0.55 THEN 'lost' END::leadscore.stage,
		created_at + days1 + CASE WHEN d2 < p_sql THEN days2 ELSE days2 * 2.5 END FROM chance WHERE d1 < p_mql
	UNION ALL
	SELECT i, 3, 'sql',
		CASE WHEN d3 < p_prospect THEN 'prospect' WHEN b3 < 0.8 THEN 'lost' END::leadscore.stage,
		created_at + days1 + days2 + CASE WHEN d3 < p_prospect THEN days3 ELSE days3 * 2 END FROM chance WHERE d1 < p_mql AND d2 < p_sql
	UNION ALL
	SELECT i, 4, 'prospect',
		CASE WHEN d4 < p_client THEN 'client' WHEN b4 < 0.8 THEN 'lost' END::leadscore.stage,
		created_at + days1 + days2 + days3 + CASE WHEN d4 < p_client THEN days4 ELSE days4 * 1.5 END
	FROM chance WHERE d1 < p_mql AND d2 < p_sql AND d3 < p_prospect)
SELECT * FROM step WHERE to_stage IS NOT NULL AND at < now() - interval '1 hour';

INSERT INTO crm.lead
SELECT f.i, f.created_at, f.name,
	lower(translate(replace(replace(f.name, 'œ', 'oe'), ' ', '.'), 'ÉéèêëâäçîïôöùûüúíóáÓ''', 'Eeeeeaaciioouuuuioao'))
	|| '@' || lower(translate(replace(f.company, ' ', '-'), 'Ééèêëâç', 'Eeeeeac')) || '.example',
	f.company, f.sector, f.employees, f.country, f.source, coalesce(j.stage, 'lead'),
	-- a qualified lead has all four; an MQL what its forms and calls brought so far
	CASE WHEN j.step >= 2 OR (j.step = 1 AND f.b1 < 0.6) OR f.b1 < 0.08
		THEN (round((2000 + 60000 * f.b2 ^ 3) / 500) * 500)::numeric END,
	CASE WHEN j.step >= 2 OR (j.step = 1 AND f.b3 < 0.5) OR f.b3 < 0.05
		THEN (ARRAY['director', 'head of sales', 'owner', 'purchasing'])[1 + floor(4 * f.b4)::int] END,
	CASE WHEN j.step >= 2 OR (j.step = 1 AND f.b4 < 0.7) OR f.b4 < 0.15
		THEN (ARRAY['replace a spreadsheet', 'one view of clients', 'faster follow-up', 'reporting'])[1 + floor(4 * f.b3)::int] END,
	CASE WHEN j.step >= 2 OR (j.step = 1 AND f.d4 < 0.45) OR f.d4 < 0.04
		THEN (f.created_at + interval '1 day' * (60 + 200 * f.g4))::date END,
	CASE WHEN j.stage = 'client' THEN 'SO-' || 10000 + f.i END,
	CASE WHEN j.stage = 'client' THEN (round((1800 + 55000 * f.b2 ^ 3) / 100) * 100)::numeric END
FROM fate f
LEFT JOIN (SELECT i, max(n) FILTER (WHERE to_stage <= 'client') AS step, (array_agg(to_stage ORDER BY n DESC))[1] AS stage
		   FROM journey GROUP BY i) j USING (i)
ORDER BY f.i;

INSERT INTO crm.stage_change
SELECT i, NULL AS from_stage, 'lead' AS to_stage, created_at AS at FROM fate
UNION ALL
SELECT i, from_stage, to_stage, at FROM journey
ORDER BY at, i;

-- what they did: the further they get and the better the fit, the more; the first contact is the source's
WITH visits AS (
	SELECT f.i, f.created_at, f.fit, f.source, coalesce(j.last_at, f.created_at + interval '45 days') AS until,
		1 + floor((2 + 2.2 * greatest(f.fit, 0) + 4 * coalesce(j.steps, 0)) * -ln(1 - f.g2 * 0.99)) AS n
	FROM fate f LEFT JOIN (SELECT i, max(at) + interval '20 days' AS last_at, count(*) AS steps FROM journey GROUP BY i) j USING (i)),
each AS (
	SELECT i, v.fit, k, random() AS w1, random() AS w2, created_at, least(until, now()) AS until, source
	FROM visits v, generate_series(1, v.n::int) k)
INSERT INTO crm.interaction (lead_id, occurred_at, kind)
SELECT i, at, kind
FROM (SELECT i,
		CASE WHEN k = 1 THEN created_at ELSE date_trunc('second', created_at + (until - created_at) * w1 ^ 0.8) END AS at,
		CASE WHEN k = 1 THEN CASE source WHEN 'search ads' THEN 'form' WHEN 'referral' THEN 'call' WHEN 'partner' THEN 'call'
								 WHEN 'newsletter' THEN 'email opened' ELSE source END
			 WHEN w2 < 0.34 THEN 'email opened' WHEN w2 < 0.50 THEN 'pricing page' WHEN w2 < 0.62 THEN 'email clicked'
			 WHEN w2 < 0.72 THEN 'form' WHEN w2 < 0.80 THEN 'white paper' WHEN w2 < 0.87 THEN 'webinar'
			 WHEN w2 < 0.93 THEN 'call' WHEN w2 < 0.93 + 0.01 * greatest(fit, 0) THEN 'demo request'
			 WHEN w2 > 0.985 THEN 'unsubscribed' ELSE 'email opened' END AS kind
	  FROM each) e
ORDER BY at, i;

INSERT INTO crm.cost (source, month, amount)
SELECT s.source, m::date, round((s.base * (0.8 + 0.4 * random()))::numeric, 2)
FROM generate_series(date_trunc('month', now() - interval '365 days'), date_trunc('month', now()), '1 month') m,
	(VALUES ('white paper', 900), ('newsletter', 250), ('trade show', 4200), ('webinar', 1100), ('search ads', 2600),
			('referral', 300), ('partner', 800)) s(source, base)
ORDER BY 2, 1;

CREATE INDEX ON crm.interaction (lead_id, occurred_at);
ANALYZE crm.lead, crm.interaction, crm.cost, crm.stage_change;
DROP TABLE dice, person, firm, fate, journey;
RESET max_parallel_workers_per_gather;
RESET client_min_messages;
