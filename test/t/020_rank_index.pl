# Law L3: what the index answers is what a sequential scan answers: the same rows in
# the same order (ties aside), for ORDER BY score <~> t and for reaches, at 20
# instants past and future, after inserts, updates, deletes and vacuum, on a standby,
# and after a crash. LS_SEED repeats a run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
srand($seed);
diag("seed $seed");

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off\nmax_wal_senders = 4\n");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION leadscore; ALTER DATABASE postgres SET search_path = public, leadscore');

# name => rows, a random score at about 2026, thresholds worth asking for
my %tables = (
	one => [ 20_000, q{points(round(random() ^ 3 * 1000), $at, '14 days')}, [ 1, 400 ] ],
	three => [
		100_000,
		q{points((random() * 70)::int, hi => 60)
		  || points(round(random() ^ 4 * 600), $at, '14 days', 0, 100)
		  || points(round(random() * 80) - 30, $at, '90 days', -20, 40)},
		[ 60, 150 ]
	],
	negative => [
		10_000,
		q{points(round(random() * 400 - 300), $at, '7 days') || points(-(random() * 50)::int, $at, '7 days')
		  || points((random() * 60 - 50)::int)},
		[ -20, 10 ]
	],
	total => [
		10_000,
		q{bounded(points(random() * 200 - 50, $at, '3 hours') || points(random() ^ 8 * 1e9, $at, '1 year'), -10, 120)},
		[ 0, 119.5 ]
	],
	eight => [
		8_000,
		join(' || ', map { "points(round(random() * 40 - 10), \$at, '$_ days', -5, 25)" } 1, 2, 3, 5, 8, 13, 21, 34),
		[ 30, 80 ]
	]);

sub random_score
{
	my ($name) = @_;
	my $score = $tables{$name}[1];
	$score =~ s/\$at/timestamptz '2025-06-01' + random() * interval '300 days'/g;
	return $score;
}

# instants: some near the data, some far before and after it
my @instants = map {
	my $days = $_ < 12 ? rand(500) - 100 : $_ < 16 ? -rand(4000) : rand(6000);
	sprintf("timestamptz '2025-06-01' + interval '%.6f days'", $days)
} 1 .. 20;

# The questions; with the index and without they must have the same answers. Rows
# that tie with the last of a LIMIT may differ, so rows are compared above it.
sub questions
{
	my $sql = '';
	foreach my $name (sort keys %tables)
	{
		foreach my $i (0 .. $#instants)
		{
			my $t = $instants[$i];
			$sql .= qq{
WITH r AS MATERIALIZED (SELECT id, score <~> ($t) AS d FROM $name ORDER BY score <~> ($t) LIMIT 300)
SELECT '$name', $i, 'top', count(*), md5(string_agg(d::text, ',')),
	   (SELECT md5(string_agg(id::text, ',' ORDER BY id)) FROM r WHERE d < (SELECT max(d) FROM r)) FROM r;
};
			foreach my $threshold (@{ $tables{$name}[2] })
			{
				$sql .= qq{
SELECT '$name', $i, 'reaches', $threshold, count(*), sum(id), sum(id::numeric ^ 2) FROM $name WHERE reaches(score, $threshold, $t);
};
			}
		}
		# the whole order, once
		$sql .= qq{
WITH r AS MATERIALIZED (SELECT score <~> ($instants[0]) AS d FROM $name ORDER BY score <~> ($instants[0]))
SELECT '$name', 'all', count(*), md5(string_agg(d::text, ',')) FROM r;
};
	}
	return $sql;
}

my $sql = questions();
my $without = 'SET max_parallel_workers_per_gather = 0; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;';
my $with = 'SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_sort = off;';

sub same_answers
{
	my ($node, $when) = @_;
	my @expected = split /\n/, $node->safe_psql('postgres', "$without\n$sql");
	my @got = split /\n/, $node->safe_psql('postgres', "$with\n$sql");
	my @differ = grep { $expected[$_] ne ($got[$_] // '') } 0 .. $#expected;
	is(scalar(@got), scalar(@expected), "$when: as many answers");
	is(scalar(@differ), 0, "$when: " . @expected . ' answers, the same by index and by sequential scan')
	  or diag(join "\n", map { "expected $expected[$_]\ngot      " . ($got[$_] // '') } @differ[ 0 .. ($#differ < 5 ? $#differ : 5) ]);
	return;
}

foreach my $name (sort keys %tables)
{
	my $score = random_score($name);
	$primary->safe_psql('postgres', qq{
		CREATE TABLE $name (id int PRIMARY KEY, score score);
		SELECT setseed(0.$seed);
		INSERT INTO $name SELECT n, CASE WHEN random() > 0.001 THEN $score END FROM generate_series(1, $tables{$name}[0]) n;
		CREATE INDEX ON $name USING gist (score);
		ANALYZE $name;});
}

# the questions do use the index
foreach my $query (
	'SELECT id FROM three ORDER BY score <~> now() LIMIT 300',
	'SELECT id FROM three WHERE reaches(score, 90, now())')
{
	like($primary->safe_psql('postgres', "$with EXPLAIN $query"), qr/three_score_idx/, "by index: $query");
	unlike($primary->safe_psql('postgres', "$without EXPLAIN $query"), qr/three_score_idx/, "not by index: $query");
}
same_answers($primary, 'bulk built');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub some_writes
{
	my ($round) = @_;
	foreach my $name (sort keys %tables)
	{
		my $score = random_score($name);
		my $n = $tables{$name}[0];
		$primary->safe_psql('postgres', qq{
			SELECT setseed(0.$round$seed);
			INSERT INTO $name SELECT (SELECT max(id) FROM $name) + n, $score FROM generate_series(1, $n / 10) n;
			DELETE FROM $name WHERE random() < 0.1;
			UPDATE $name SET score = $score WHERE random() < 0.2;
			UPDATE $name SET score = score + score WHERE random() < 0.05;
			BEGIN; INSERT INTO $name SELECT -n, $score FROM generate_series(1, 500) n; ROLLBACK;});
	}
	return;
}

some_writes(1);
same_answers($primary, 'after writes');
$primary->safe_psql('postgres', 'VACUUM ' . join(', ', sort keys %tables));
same_answers($primary, 'after vacuum');

# most rows gone, so that pages are emptied and taken out of the tree, then refilled
foreach my $name (sort keys %tables)
{
	$primary->safe_psql('postgres', "DELETE FROM $name WHERE reaches(score, $tables{$name}[2][0], '2026-01-01') AND id % 3 <> 0");
}
$primary->safe_psql('postgres', 'VACUUM ' . join(', ', sort keys %tables));
some_writes(2);
same_answers($primary, 'after deleting the upper part, vacuum and writes');

$primary->wait_for_catchup($standby);
same_answers($standby, 'on a standby');

some_writes(3);
$primary->stop('immediate');
$primary->start;
same_answers($primary, 'after a crash');
$primary->wait_for_catchup($standby);
same_answers($standby, 'on the standby after the crash');

foreach my $name (sort keys %tables)
{
	$primary->safe_psql('postgres', "REINDEX TABLE $name");
}
same_answers($primary, 'after REINDEX');

$standby->stop;
$primary->stop;
done_testing();
