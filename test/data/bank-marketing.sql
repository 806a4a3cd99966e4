-- test on real data: the point model of the demo, and what it must achieve
\set fresh 1
\i :tree/test/demo/bank-marketing.sql
\echo
\echo 'The best tenth converts at least 2.5 times as well as all, and no tenth does worse than the next by more than chance:'
WITH decile AS (
	SELECT ntile(10) OVER (ORDER BY score <~> now(), lead) AS decile, lead FROM leadscore."score_term deposit"),
rate AS (
	SELECT d.decile, avg((c.y = 'yes')::int) AS rate FROM decile d JOIN bank.client c ON c.client_id = d.lead GROUP BY 1)
SELECT (SELECT count(*) >= 12 FROM leadscore.rule WHERE model = 'term deposit' AND version = 1) AS "12 rules or more",
	   max(rate) FILTER (WHERE decile = 1) / (SELECT avg((y = 'yes')::int) FROM bank.client) >= 2.5 AS "lift 2.5 or more",
	   bool_and(rate >= next) AS "falls from tenth to tenth"
FROM (SELECT *, lead(rate) OVER (ORDER BY decile) - 0.01 AS next FROM rate) r;
SELECT count(*) AS "stored scores that are wrong" FROM verify('term deposit');

-- the same rules as one expression, written by hand
\echo 'Scores that differ from the same rules as one SQL expression:'
SELECT count(*) AS differ FROM bank.client c JOIN leadscore."score_term deposit" s ON s.lead = c.client_id
WHERE abs((s.score @ now()) - (
	least(60, CASE WHEN poutcome = 'success' THEN 50 ELSE 0 END + CASE WHEN previous BETWEEN 1 AND 10 THEN 8 ELSE 0 END
			  + CASE WHEN pdays BETWEEN 0 AND 99 THEN 10 ELSE 0 END + CASE WHEN poutcome = 'other' THEN 3 ELSE 0 END)
	+ greatest(-20, least(50, CASE WHEN job = 'student' THEN 15 ELSE 0 END + CASE WHEN job = 'retired' OR age >= 60 THEN 18 ELSE 0 END
			  + CASE WHEN job IN ('management', 'admin.', 'unemployed', 'self-employed') THEN 3
					 WHEN job IN ('blue-collar', 'housemaid', 'entrepreneur', 'services') THEN -3 ELSE 0 END
			  + CASE WHEN education = 'tertiary' THEN 4 ELSE 0 END + CASE WHEN housing = 'no' THEN 10 ELSE 0 END
			  + CASE WHEN loan = 'yes' THEN -8 ELSE 0 END + CASE WHEN balance > 0 THEN least(balance / 500, 6) ELSE 0 END
			  + CASE WHEN balance < 0 OR "default" = 'yes' THEN -6 ELSE 0 END + CASE WHEN marital = 'single' THEN 3 ELSE 0 END))
	+ greatest(-20, least(20, CASE WHEN contact IN ('cellular', 'telephone') THEN 10 ELSE 0 END
			  + CASE WHEN campaign > 2 THEN greatest(-2.0 * (campaign - 2), -15) ELSE 0 END)))) > 1e-9;
