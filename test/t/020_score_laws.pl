# The laws of the score (sql/score_laws.sql) on other random cases: the regression
# test has one seed, here the seeds are new in every run and printed.
# LS_SEED=<number> repeats a run.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{LS_SEED} // time() % 1_000_000;
note "LS_SEED=$seed";
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('score_laws');
$node->init;
$node->start;

my $expected = slurp_file('expected/score_laws.out');
$expected =~ s/^seed .*$/seed/m;

for my $round (1 .. 3)
{
	# psql echoes queries and prints results as it does for the regression test
	my $value = sprintf '%.9f', rand() * 2 - 1;
	my ($stdout, $stderr);
	IPC::Run::run(
		[
			'psql', '-X', '-a', '-q', '-d', $node->connstr('postgres'), '-v', 'HIDE_TABLEAM=on',
			'-v', "seed=$value", '-f', 'sql/score_laws.sql'
		],
		'>', \$stdout, '2>', \$stderr);
	$stdout =~ s/^seed .*$/seed/m;
	is($stderr, '', "seed $value: no error");
	is($stdout, $expected, "seed $value: all laws hold");
}
$node->stop;
done_testing();
