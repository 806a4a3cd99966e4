# Three writers on partitioned events and leads, while partitions are detached,
# changed, attached, dropped, made anew and emptied beside them. Deadlocks between
# such commands and writers under limits are possible, and tried again; the stored
# scores equal the events at the end. LS_STRESS_SECONDS makes it longer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{LS_STRESS_SECONDS} // 10;
my $seed = seed();
my $node = new_node('partitions', 'client_min_messages = error', 'log_min_messages = fatal', 'deadlock_timeout = 100ms', 'lock_timeout = 20s');
$node->safe_psql('postgres', q{
CREATE EXTENSION leadscore;
CREATE SCHEMA ps;
CREATE TABLE ps.lead (lead_id int PRIMARY KEY, sector text) PARTITION BY RANGE (lead_id);
CREATE TABLE ps.lead_1 PARTITION OF ps.lead FOR VALUES FROM (1) TO (101);
CREATE TABLE ps.lead_2 PARTITION OF ps.lead FOR VALUES FROM (101) TO (201);
CREATE TABLE ps.event (lead_id int, kind text, at timestamptz, n int) PARTITION BY LIST (n);
CREATE TABLE ps.event_1 PARTITION OF ps.event FOR VALUES IN (1);
CREATE TABLE ps.event_2 PARTITION OF ps.event FOR VALUES IN (2);
CREATE TABLE ps.event_3 PARTITION OF ps.event FOR VALUES IN (3);
CREATE TABLE ps.event_4 PARTITION OF ps.event FOR VALUES IN (4, 5, 6);
CREATE INDEX ON ps.event (lead_id);
INSERT INTO ps.lead SELECT g, 'saas' FROM generate_series(1, 200) g;
SELECT leadscore.create_model('ps', 'ps.lead', 'ps.event', lead_key => 'lead_id', event_lead => 'lead_id', event_at => 'at');
SELECT leadscore.add_component('ps', 'fit');
SELECT leadscore.add_component('ps', 'fast', half_life => '7 days');
SELECT leadscore.add_rule('ps', 'fit', 'sector', $$sector = 'saas'$$, 15);
SELECT leadscore.add_rule('ps', 'fit', 'order', $$kind = 'order'$$, 3);
SELECT leadscore.add_rule('ps', 'fast', 'open', $$kind = 'open'$$, 1.5);
SELECT leadscore.add_rule('ps', 'fast', 'webinar', $$kind = 'webinar'$$, 20, at_most => 2, per => '1 day');
SELECT leadscore.add_band('ps', 'warm', 30);
SELECT leadscore.publish('ps');
CREATE FUNCTION ps.write(who int, part int, hour int, what int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	said text := (ARRAY['open', 'webinar', 'order'])[1 + hour % 3];
	instant timestamptz := '2026-11-01'::timestamptz + hour * interval '1 hour';
BEGIN
	IF what <= 6 THEN INSERT INTO ps.event VALUES (who, said, instant, part);
	ELSIF what = 7 THEN DELETE FROM ps.event WHERE lead_id = who AND n = part;
	ELSIF what = 8 THEN UPDATE ps.event SET n = 1 + (n + 1) % 3, kind = said WHERE lead_id = who AND n = part;
	ELSIF what = 9 THEN UPDATE ps.lead SET sector = CASE WHEN sector IS NULL THEN 'saas' END WHERE lead_id = who;
	ELSE INSERT INTO ps.event VALUES (who, 'webinar', instant, part); INSERT INTO ps.event VALUES (who, 'order', instant, part);
	END IF;
EXCEPTION WHEN check_violation THEN NULL;	-- the partition is away
END $$});

my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/write.sql", "\\set lead random(1, 205)\n\\set part random(1, 5)\n\\set hour random(1, 200)\n\\set what random(1, 10)\nSELECT ps.write(:lead, :part, :hour, :what);\n");
my ($out, $err) = ('', '');
my $pgbench = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-T', $seconds, '--max-tries=100', "--random-seed=$seed", '-f', "$dir/write.sql", '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$out, '2>', \$err);

# each of these leaves all partitions in place, or fails as a whole
my @rounds = (
	q{BEGIN; ALTER TABLE ps.event DETACH PARTITION ps.event_3; UPDATE ps.event_3 SET kind = 'order' WHERE kind = 'open'; ALTER TABLE ps.event ATTACH PARTITION ps.event_3 FOR VALUES IN (3); COMMIT},
	q{TRUNCATE ps.event_1},
	q{BEGIN; DROP TABLE ps.event_1; CREATE TABLE ps.event_1 PARTITION OF ps.event FOR VALUES IN (1); COMMIT},
	q{BEGIN; TRUNCATE ps.event; ROLLBACK},
	q{BEGIN; ALTER TABLE ps.lead DETACH PARTITION ps.lead_2; DELETE FROM ps.lead_2 WHERE lead_id > 190; ALTER TABLE ps.lead ATTACH PARTITION ps.lead_2 FOR VALUES FROM (101) TO (201); INSERT INTO ps.lead SELECT generate_series(191, 200), 'saas' ON CONFLICT DO NOTHING; COMMIT},
	q{BEGIN; TRUNCATE ps.event_2, ps.event_3; SAVEPOINT a; DROP TABLE ps.event_4; ROLLBACK TO a; COMMIT},
	q{TRUNCATE ps.event});
my ($done, $failed) = (0, 0);
my $end = time + $seconds;
while (time < $end)
{
	my $said = '';
	my $ok = $node->psql('postgres', $rounds[ ($done + $failed) % @rounds ], stderr => \$said, on_error_stop => 1) == 0;
	$ok ? $done++ : $failed++;
	diag($said) if !$ok && $said !~ /deadlock/;
}
# detached for all to see, while writers go on; a detachment that fails halfway is finished
my $apart = $node->psql('postgres', 'ALTER TABLE ps.event DETACH PARTITION ps.event_2 CONCURRENTLY');
$pgbench->finish;
$node->psql('postgres', 'ALTER TABLE ps.event DETACH PARTITION ps.event_2 FINALIZE') if $apart != 0;

my ($transactions) = $out =~ /number of transactions actually processed: (\d+)/;
cmp_ok($transactions // 0, '>', 50, "seed $seed: $transactions transactions of three writers") or diag("$out\n$err");
cmp_ok($done, '>', 5, "$done times partitions came and went ($failed deadlocks)");
is($err =~ /ERROR/ ? $err : '', '', 'no error reached a writer that tries again');
is($node->safe_psql('postgres', q{SELECT lead, problem FROM leadscore.verify('ps') LIMIT 10}), '', 'scores equal the events');
is($node->safe_psql('postgres', q{
SELECT lead FROM (SELECT lead, from_band, lag(to_band) OVER (PARTITION BY lead ORDER BY id) AS previous, row_number() OVER (PARTITION BY lead ORDER BY id) AS n
	FROM leadscore.crossing WHERE model = 'ps') c WHERE n > 1 AND from_band IS DISTINCT FROM previous LIMIT 10}), '', 'crossings chain from band to band');
$node->safe_psql('postgres', q{ALTER TABLE ps.event ATTACH PARTITION ps.event_2 FOR VALUES IN (2); DROP SCHEMA ps CASCADE});
$node->stop;
done_testing();
