-- test on real data: every event of a real log, replayed under a pipeline
\set fresh 1
\i :tree/test/demo/bpi2020.sql
-- replaying the history gives every lead's stage (L7)
SELECT * FROM audit();
