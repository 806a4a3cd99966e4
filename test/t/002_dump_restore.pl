# L9: dump and restore, in every mode pg_dump has, give back models, pipelines,
# scores, history and the user's tables; a dump of the restored database equals the
# dump of the first; and what was restored works on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump');
crm_database($node, 'crm', 300);
# values of our own types in the user's tables, indexed, computed and checked
$node->safe_psql(
	'crm', q{
CREATE TABLE crm.kept (
	id int PRIMARY KEY,
	stage leadscore.stage NOT NULL,
	score leadscore.score,
	held leadscore.score[],
	total float8 GENERATED ALWAYS AS (score @ '2026-06-01 00:00+00'::timestamptz) STORED,
	CONSTRAINT hot CHECK (score @ '2026-06-01 00:00+00'::timestamptz > -1e6));
INSERT INTO crm.kept
SELECT i, (enum_range)[1 + i % 7]::leadscore.stage,
	leadscore.points(i * 0.1 - 20, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour', '14 days', -10, 100) || leadscore.points(i),
	ARRAY[leadscore.points(i), NULL]
FROM generate_series(1, 500) i, (SELECT ARRAY['lead', 'mql', 'sql', 'prospect', 'client', 'lost', 'disqualified'] AS enum_range) e;
CREATE INDEX ON crm.kept (stage);
CREATE INDEX ON crm.kept ((score @ '2026-06-01 00:00+00'::timestamptz));
CREATE VIEW crm.ranking AS SELECT id, score @ '2026-06-01 00:00+00'::timestamptz AS now FROM crm.kept WHERE stage < 'client';
CREATE MATERIALIZED VIEW crm.kept_ranking AS SELECT * FROM crm.ranking;
});
if ($node->safe_psql('crm', q{SELECT count(*) FROM pg_opclass WHERE opcname = 'score_ops' AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'gist')}) ne '0')
{
	$node->safe_psql('crm', 'CREATE INDEX kept_score ON crm.kept USING gist (score)');
}

my $before = fingerprint($node, 'crm');
cmp_ok(scalar(split /\n/, $before), '>', 4, 'tables to keep');
my $dir = $node->basedir;
my $conn = $node->connstr('crm');
$node->command_ok([ 'pg_dump', '-d', $conn, '-f', "$dir/first.sql" ], 'pg_dump');

# each mode: what writes the dump, what reads it
my %mode = (
	plain => sub {
		my $db = shift;
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', "$dir/first.sql" ], 'restore with psql');
	},
	custom => sub {
		my $db = shift;
		$node->command_ok([ 'pg_dump', '-Fc', '-d', $conn, '-f', "$dir/first.dump" ], 'pg_dump -Fc');
		$node->command_ok([ 'pg_restore', '-j2', '-e', '-d', $node->connstr($db), "$dir/first.dump" ], 'pg_restore -j2');
	},
	directory => sub {
		my $db = shift;
		$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-d', $conn, '-f', "$dir/first.dir" ], 'pg_dump -Fd -j2');
		$node->command_ok([ 'pg_restore', '-j2', '-e', '-d', $node->connstr($db), "$dir/first.dir" ], 'pg_restore -j2');
	},
	sections => sub {
		my $db = shift;
		foreach my $section (qw(pre-data data post-data))
		{
			$node->command_ok([ 'pg_dump', "--section=$section", '-d', $conn, '-f', "$dir/$section.sql" ], "pg_dump --section=$section");
			$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', "$dir/$section.sql" ], "$section restored");
		}
	},
	schema_then_data => sub {
		my $db = shift;
		$node->command_ok([ 'pg_dump', '-s', '-d', $conn, '-f', "$dir/schema.sql" ], 'pg_dump -s');
		$node->command_ok([ 'pg_dump', '-a', '--disable-triggers', '-d', $conn, '-f', "$dir/data.sql" ], 'pg_dump -a');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', "$dir/schema.sql", '-f', "$dir/data.sql" ], 'both restored');
		$node->safe_psql($db, 'REFRESH MATERIALIZED VIEW crm.kept_ranking');
	});
foreach my $mode (sort keys %mode)
{
	my $db = "crm_$mode";
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$mode{$mode}->($db);
	is(fingerprint($node, $db), $before, "$mode: every row is back");
	is($node->safe_psql($db, q{SELECT count(*) FROM crm.kept k WHERE total IS DISTINCT FROM score OPERATOR(leadscore.@) '2026-06-01 00:00+00'::timestamptz}),
		'0', "$mode: scores mean the same");
	works($db);
}

# the dump of what was restored is the same text, but for the database's own name
$node->command_ok([ 'pg_dump', '-d', $node->connstr('crm_plain'), '-f', "$dir/second.sql" ], 'pg_dump of the restored database');
is(dump_text("$dir/second.sql"), dump_text("$dir/first.sql"), 'the two dumps are equal');

$node->stop;
done_testing();

sub dump_text
{
	my $text = slurp_file(shift);
	$text =~ s/^\\(un)?restrict .*$//mg;	# a random key, from 15.14 on
	return $text;
}

# the restored database is not only equal, it works
sub works
{
	my $db = shift;
	foreach my $model (split /\n/, $node->safe_psql($db, 'SELECT model FROM leadscore.model WHERE live_version > 0'))
	{
		is($node->safe_psql($db, "SELECT count(*) FROM leadscore.verify('$model')"), '0', "$db: the scores of $model are those of the events");
	}
}
