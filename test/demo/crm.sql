-- The demo: a made-up CRM, scored, its stages enforced, its funnel shown.
-- Run by test/demo/run; "fresh" is 0 when the data is there from an earlier run.
\if :fresh
	\set leads 3000
	\set seed 0.1789
	\echo Made-up data: :leads leads with their interactions, costs and moves of a year, from the seed :seed.
	\i :demo/generate.sql
\endif
SELECT count(*) FROM crm.lead;
