# Four writers at once, doing all that can be done to leads and events, while a new
# version is published; then the server is killed under the same load. At the end
# and after each restart the stored scores equal the scores from the events, and
# crossings and outbox agree with them. test/soak/run runs the long form.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{LS_STRESS_SECONDS} // 8;
my $kills = $ENV{LS_STRESS_KILLS} // 3;
my $load_before_kill = $ENV{LS_STRESS_BEFORE_KILL} // 2;
my $seed = seed();
# how many statements that write are to be counted at least (the long form); counted
# by pg_stat_statements, the clients' own only
my $wanted = $ENV{LS_STRESS_STATEMENTS} // 0;
my $node = new_node('stress', 'synchronous_commit = on', 'log_min_messages = error', 'client_min_messages = error', 'restart_after_crash = off',
	$wanted ? "shared_preload_libraries = 'pg_stat_statements'" : ());
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements') if $wanted;
my $soak = tree() . '/test/soak';

$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$soak/live_setup.sql" ], 'set up');

sub load
{
	my ($time) = @_;
	my ($out, $err) = ('', '');
	my @run = ('pgbench', '-n', '-c', 4, '-j', 2, '-T', $time, "--random-seed=$seed", '-f', "$soak/live_stress.sql", '-h', $node->host, '-p', $node->port, 'postgres');
	$seed++;
	return (IPC::Run::start(\@run, '>', \$out, '2>', \$err), \$out, \$err);
}

# the stress, and in its middle a version is published
my ($pgbench, $out, $err) = load($seconds);
sleep $seconds / 2;
$node->safe_psql('postgres', q{SELECT leadscore.add_rule('st', 'fast', 'any', 'worth < 3', 0.5); SELECT leadscore.publish('st')});
$pgbench->finish;
my ($transactions) = $$out =~ /number of transactions actually processed: (\d+)/;
ok(($transactions // 0) > 100, "seed " . seed() . ": transactions were run") or diag("$$out\n$$err");
note("$transactions transactions in $seconds seconds");
my $errors = $$err;
if ($wanted)
{
	my $count = sub { return $node->safe_psql('postgres', q{SELECT sum(calls) FROM pg_stat_statements WHERE query ~ '^(INSERT|UPDATE|DELETE|MERGE|SELECT count.leadscore.record)'}) };
	my $statements;
	while (($statements = $count->()) < $wanted)
	{
		($pgbench, $out, $err) = load(20);
		$pgbench->finish;
		$errors .= $$err;
		$seconds += 20;
		last if $seconds > 1200;
	}
	cmp_ok($statements, '>=', $wanted, "$statements statements that write, in $seconds seconds");
}
unlike($errors, qr/deadlock/, 'no deadlock reached a writer');
unlike($errors, qr/ERROR/, 'no error reached a writer');
is($node->safe_psql('postgres', 'SELECT * FROM st.wrong LIMIT 10'), '', 'scores, bands, crossings and outbox agree after the stress');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM leadscore.crossing WHERE model = 'st'}), '>', 50, 'leads crossed');

foreach my $round (1 .. $kills)
{
	($pgbench, $out, $err) = load(30);
	sleep $load_before_kill;
	$node->kill9;
	$pgbench->finish;
	# the orphaned backends have to notice first
	foreach (1 .. 60)
	{
		last if run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]);
		sleep 1;
	}
	$node->_update_pid(1);
	is($node->safe_psql('postgres', 'SELECT * FROM st.wrong LIMIT 10'), '', "all agree after kill -9 number $round");
}

# a consumer gets every message once
my $expected = $node->safe_psql('postgres', q{SELECT count(*) FROM leadscore.outbox WHERE consumer = 'reader'});
my (%seen, $twice);
while (1)
{
	my @ids = split /\n/, $node->safe_psql('postgres', q{SELECT id FROM leadscore.poll('reader', 1000)});
	last unless @ids;
	$twice += grep { $seen{$_}++ } @ids;
	$node->safe_psql('postgres', "SELECT leadscore.acknowledge('reader', ARRAY[" . join(',', @ids) . '])');
}
is(scalar(keys %seen), $expected, 'a consumer that acknowledges gets every message');
is($twice // 0, 0, 'and none twice');
$node->stop;
done_testing();
