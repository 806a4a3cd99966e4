# Statements of many leads enter scores into the ranking index a leaf at a time
# (score_enter.c): beside each other, beside writers of single leads and VACUUM,
# and before a kill -9 the index yields what the table holds, in its order.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{LS_SOAK} ? 60 : 6;
my $node = new_node('bulk', 'restart_after_crash = off', 'log_min_messages = error', 'work_mem = 256kB');
$node->safe_psql('postgres', q{
CREATE EXTENSION leadscore;
ALTER DATABASE postgres SET search_path = public, leadscore;
CREATE TABLE lead (id int PRIMARY KEY, fit int);
CREATE TABLE event (lead_id int, points int, at timestamptz);
CREATE INDEX ON event (lead_id);
INSERT INTO lead SELECT g, g % 37 FROM generate_series(1, 20000) g;
SELECT leadscore.create_model('m', 'lead', 'event', event_lead => 'lead_id'), leadscore.add_component('m', 'fit', hi => 30),
	leadscore.add_component('m', 'fast', half_life => '7 days', hi => 100), leadscore.add_component('m', 'slow', half_life => '90 days', lo => -50),
	leadscore.add_rule('m', 'fit', 'fit', 'fit > 0', 'fit'), leadscore.add_rule('m', 'fast', 'up', 'points > 0', 'points', source => 'event'),
	leadscore.add_rule('m', 'slow', 'down', 'points < 0', 'points', source => 'event');
SELECT leadscore.publish('m');
-- what the index yields, against the table; all must be 0
CREATE FUNCTION differences() RETURNS text LANGUAGE plpgsql AS $$
DECLARE t timestamptz; wrong int := 0; n int;
BEGIN
	FOREACH t IN ARRAY ARRAY['2026-01-01', '2026-12-01', '2028-01-01']::timestamptz[] LOOP
		SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;
		CREATE TEMP TABLE by_index AS SELECT row_number() OVER () AS n, * FROM (SELECT lead, score <~> t AS d FROM leadscore.score_m ORDER BY score <~> t) s;
		SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
		CREATE TEMP TABLE by_sort AS SELECT row_number() OVER () AS n, * FROM (SELECT lead, score <~> t AS d FROM leadscore.score_m ORDER BY score <~> t) s;
		SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;
		SELECT count(*) INTO n FROM by_index i FULL JOIN by_sort s USING (n) WHERE i.d IS DISTINCT FROM s.d;
		wrong := wrong + n;
		SELECT count(*) INTO n FROM by_index i FULL JOIN by_sort s USING (lead) WHERE i.d IS DISTINCT FROM s.d;
		wrong := wrong + n;
		SELECT wrong + abs(count(*) - 20000) INTO wrong FROM by_index;
		DROP TABLE by_index, by_sort;
	END LOOP;
	SELECT wrong + count(*) INTO wrong FROM leadscore.verify('m');
	RETURN wrong;
END $$;
});

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/many.sql", q{\set from random(1, 18000)
\set n random(100, 2000)
\set step random(1, 7)
\set points random(-20, 40)
\set hours random(0, 9000)
\set end random(1, 4)
BEGIN;
INSERT INTO event SELECT :from + g / :step, :points, '2026-06-01'::timestamptz - (:hours + g % 50) * interval '1 hour' FROM generate_series(1, :n) g;
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
});
append_to_file("$dir/one.sql", q{\set lead random(1, 20000)
\set points random(-20, 40)
INSERT INTO event VALUES (:lead, :points, '2026-06-01'::timestamptz - :lead % 77 * interval '1 hour');
});
append_to_file("$dir/vacuum.sql", "VACUUM leadscore.score_m;\n\\sleep 200 ms\n");

sub load
{
	my ($time) = @_;
	my @runs;
	foreach my $job ([ 'many', 3 ], [ 'one', 1 ], [ 'vacuum', 1 ])
	{
		my $seed = seed() + @runs;
		my ($out, $err) = ('', '');
		push @runs, [ IPC::Run::start([ 'pgbench', '-n', '-c', $job->[1], '-j', 1, '-T', $time, '--max-tries=1000', "--random-seed=$seed", '-f', "$dir/$job->[0].sql",
			'-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$out, '2>', \$err), $job->[0], \$out, \$err ];
	}
	return @runs;
}

foreach my $run (load($seconds))
{
	$run->[0]->finish;
	my ($done) = ${ $run->[2] } =~ /number of transactions actually processed: (\d+)/;
	cmp_ok($done // 0, '>', 5, "seed " . seed() . ": $run->[1]: transactions were run") or diag(${ $run->[3] });
	unlike(${ $run->[3] }, qr/ERROR/, "$run->[1]: no error");
	note("$run->[1]: $done");
}
is($node->safe_psql('postgres', 'SELECT differences()'), '0', 'index and table agree after the load');

foreach my $round (1 .. ($ENV{LS_SOAK} ? 10 : 2))
{
	my @runs = load(20);
	sleep 2;
	$node->kill9;
	$_->[0]->finish foreach @runs;
	foreach (1 .. 60)
	{
		last if run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]);
		sleep 1;
	}
	$node->_update_pid(1);
	is($node->safe_psql('postgres', 'SELECT differences()'), '0', "index and table agree after kill -9 number $round");
}
$node->stop;
done_testing();
