# Laws L6 and L7 under load and after kill -9: four writers move leads at random,
# by every kind of statement, legal or not; then every history, replayed, must
# give the lead's stage, and consist of transitions of the pipeline only.
# LS_SOAK=1: 60 seconds instead of a few, and 20 kills. LS_SEED sets the seed.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;

my $seed = seed();
my $seconds = $ENV{LS_SOAK} ? 60 : 4;
my $kills = $ENV{LS_SOAK} ? 20 : 4;
my $node = new_node('stress', 'restart_after_crash = on', 'deadlock_timeout = 100ms');
$node->safe_psql('postgres', q{
CREATE EXTENSION leadscore;
ALTER DATABASE postgres SET search_path = public, leadscore;
SELECT leadscore.copy_pipeline('lifecycle', 'stress');
SELECT leadscore.add_transition('stress', 'client', 'lead');
SELECT leadscore.publish_pipeline('stress');
CREATE TABLE lead (id int PRIMARY KEY, stage leadscore.stage DEFAULT 'lead', interest bool, budget int, authority bool, need bool, timeline int, order_no int);
SELECT leadscore.enforce('lead', 'stage', 'stress');
INSERT INTO lead SELECT g, 'lead', g % 2 = 0, g % 3, true, true, 1, g % 5 FROM generate_series(1, 40) g;
CREATE FUNCTION pick() RETURNS leadscore.stage LANGUAGE sql VOLATILE AS
	$$SELECT (ARRAY['lead', 'mql', 'sql', 'prospect', 'client', 'lost', 'disqualified'])[1 + floor(random() * 7)]::leadscore.stage$$;
-- refusals are part of the load
CREATE FUNCTION try(statement text) RETURNS void LANGUAGE plpgsql AS
	$$BEGIN EXECUTE statement; EXCEPTION WHEN check_violation OR serialization_failure OR deadlock_detected THEN NULL; END$$;
-- what a wrong history or a wrong stage looks like
CREATE VIEW wrong AS
WITH h AS (SELECT h.*, lag(to_stage) OVER (PARTITION BY lead ORDER BY id) AS before,
				  row_number() OVER (PARTITION BY lead ORDER BY id DESC) AS back
		   FROM leadscore.stage_history h WHERE relation = 'lead'::regclass)
SELECT lead, 'broken' AS why FROM h WHERE from_stage IS DISTINCT FROM before AND NOT (from_stage IS NULL AND before IS NULL)
UNION ALL SELECT lead, 'illegal' FROM h WHERE kind = 'move' AND NOT leadscore.can_move('stress', from_stage, to_stage)
UNION ALL SELECT coalesce(h.lead, l.id::text), 'ends elsewhere' FROM (SELECT * FROM h WHERE back = 1) h FULL JOIN lead l ON l.id::text = h.lead
	WHERE to_stage IS DISTINCT FROM l.stage::text;
});

my @scripts = (
	q{\set l random(1, 40)
SELECT try('UPDATE lead SET stage = pick() WHERE id = :l');
},
	q{\set l random(1, 40)
\set m random(1, 40)
BEGIN;
SET LOCAL leadscore.reason = 'again';
SELECT try($$UPDATE lead SET stage = CASE WHEN stage IN ('lost', 'disqualified') THEN 'lead' ELSE 'lost' END::leadscore.stage WHERE id = :l$$);
SAVEPOINT s;
SELECT try($$UPDATE lead SET interest = true, stage = 'mql' WHERE id = :m AND stage = 'lead'$$);
ROLLBACK TO s;
SELECT try($$UPDATE lead SET interest = true, budget = 9, stage = (CASE stage WHEN 'lead' THEN 'mql' WHEN 'mql' THEN 'sql' WHEN 'sql' THEN 'prospect' ELSE stage::text END)::leadscore.stage WHERE id = :m$$);
COMMIT;
},
	q{\set l random(1, 40)
SELECT try($$INSERT INTO lead (id, stage) VALUES (:l, 'lead') ON CONFLICT (id) DO UPDATE SET stage = pick()$$);
},
	q{\set l random(1, 40)
\set m random(1, 100)
DELETE FROM lead WHERE id = :l AND :m < 10;
},
	q{\set l random(1, 40)
\set m random(1, 40)
SELECT try($$UPDATE lead SET id = 1000 - id WHERE id = :l AND :m = 1$$);
SELECT try($$UPDATE lead SET stage = pick() WHERE id > 900$$);
},
	# many at once, some of them refused as a whole
	q{\set m random(0, 4)
SELECT try($$UPDATE lead SET stage = CASE WHEN stage IN ('lost', 'disqualified') THEN 'lead' ELSE 'lost' END::leadscore.stage WHERE id % 5 = :m AND stage <> 'client'$$);
SELECT try($$UPDATE lead SET interest = true, stage = 'mql' WHERE stage = 'lead'$$);
},
	q{\set l random(1, 40)
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT stage FROM lead WHERE id = :l;
SELECT try($$UPDATE lead SET order_no = 1, stage = 'client' WHERE id = :l AND stage = 'prospect'$$);
SELECT try($$UPDATE lead SET stage = 'lead' WHERE id = :l AND stage = 'client'$$);
COMMIT;
});
my @files;
foreach my $i (0 .. $#scripts)
{
	my $file = $node->basedir . "/script$i.sql";
	append_to_file($file, $scripts[$i]);
	push @files, $file;
}

# A COMMIT that fails to serialise ends a client, so each is a loop of short runs.
sub start_writers
{
	my ($time) = @_;
	my @children;
	my $connect = $node->connstr('postgres');
	my $end = time() + $time;
	foreach my $w (1 .. 4)
	{
		my $pid = fork();
		die "fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			my $round = 0;
			open STDOUT, '>', '/dev/null';
			open STDERR, '>', '/dev/null';
			$ENV{PGAPPNAME} = 'writer';
			while (time() < $end)
			{
				system('pgbench', '-n', '-c', '1', '-t', '40', '--random-seed=' . ($seed + 1000 * $w + $round++),
					(map { ('-f', $_) } @files), $connect) == 0 or select(undef, undef, undef, 0.02);
			}
			# no END blocks of the test framework in the child
			exec 'true';
		}
		push @children, $pid;
	}
	$seed += 7919;
	return @children;
}

my @children = start_writers($seconds);
waitpid($_, 0) foreach @children;
my $moves = $node->safe_psql('postgres', q{SELECT count(*) FROM leadscore.stage_history WHERE kind = 'move'});
cmp_ok($moves, '>', 100, "4 writers for $seconds s (seed " . seed() . "): $moves moves were made");
is($node->safe_psql('postgres', 'SELECT lead, why FROM wrong ORDER BY 1, 2 LIMIT 20'), '', 'every history is legal and ends where the lead is');
is($node->safe_psql('postgres', 'SELECT finding FROM leadscore.audit()'), '', 'audit finds nothing');

# kill -9 in the middle of writing, again and again: in turn of the postmaster, and
# of one writing backend, after which the server throws out the others and recovers
foreach my $round (1 .. $kills)
{
	my $what = $round % 2 ? 'the postmaster' : 'a backend';

	@children = start_writers(3);
	select(undef, undef, undef, 1 + rand(1));
	$moves = $node->safe_psql('postgres', q{SELECT count(*) FROM leadscore.stage_history WHERE kind = 'move'});
	if ($round % 2)
	{
		$node->kill9;
		waitpid($_, 0) foreach @children;
		# the orphaned backends have to notice first
		foreach (1 .. 60)
		{
			last if run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]);
			sleep 1;
		}
		$node->_update_pid(1);
	}
	else
	{
		my $victim = '';
		foreach (1 .. 200)
		{
			$victim = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
				WHERE application_name = 'writer' ORDER BY state = 'active' DESC, random() LIMIT 1});
			last if $victim ne '' && kill('KILL', $victim);
		}
		waitpid($_, 0) foreach @children;
		$node->poll_query_until('postgres', 'SELECT true', 't');
		like(slurp_file($node->logfile), qr/\(PID $victim\) was terminated by signal 9/, "kill -9 number $round hit a writer");
	}
	is($node->safe_psql('postgres', 'SELECT lead, why FROM wrong ORDER BY 1, 2 LIMIT 20'), '', "history, replayed, gives the stages after kill -9 number $round, of $what");
	cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM leadscore.stage_history WHERE kind = 'move'}), '>=', $moves, 'and no recorded move is lost');
}
is($node->safe_psql('postgres', 'SELECT finding FROM leadscore.audit()'), '', 'audit finds nothing');
$node->stop;

done_testing();
