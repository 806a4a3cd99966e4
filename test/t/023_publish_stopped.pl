# Long work that is stopped: publish, rescore and backtest, cancelled at many moments
# or killed, leave everything as it was, stop soon, and succeed when repeated. Readers
# see the scores of one version, whole, throughout.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time sleep);

my $leads = $ENV{LS_STOP_LEADS} // 60000;
my $moments = $ENV{LS_STOP_MOMENTS} // 7;
my $longest = 5;	# seconds; a loop that never looks takes longer, a busy machine does not

my $node = new_node('stopped', 'autovacuum = off');
$node->safe_psql('postgres', "CREATE EXTENSION leadscore; ALTER DATABASE postgres SET search_path = public, leadscore;
	ALTER DATABASE postgres SET client_min_messages = warning");
$node->safe_psql('postgres', qq{
	SELECT setseed(0.23);
	CREATE TABLE lead (id int PRIMARY KEY, sector text, size int);
	INSERT INTO lead SELECT g, (ARRAY['saas', 'bank', 'retail', NULL])[1 + floor(random() * 4)::int], floor(random() * 1000)::int FROM generate_series(1, $leads) g;
	CREATE TABLE event (lead int, kind text, at timestamptz);
	INSERT INTO event SELECT floor(random() * $leads)::int + 1, (ARRAY['open', 'click', 'webinar', 'form'])[1 + floor(random() * 4)::int],
		timestamptz '2026-01-01' + random() * interval '300 days' FROM generate_series(1, $leads * 4);
	CREATE INDEX ON event (lead, at);
	-- keys of text: scored by one query instead of by scans
	CREATE TABLE name (id text PRIMARY KEY, size int);
	INSERT INTO name SELECT 'lead ' || id, size FROM lead;
	CREATE TABLE name_event AS SELECT 'lead ' || lead AS lead, kind, at FROM event;
	CREATE TABLE outcome AS SELECT id, timestamptz '2026-06-01' + random() * interval '100 days' AS at, random() < 0.3 AS won FROM lead WHERE id % 3 = 0;
	VACUUM ANALYZE;
	SELECT create_model('m', 'lead', 'event', 'lead', 'at'), create_model('t', 'name', 'name_event', 'lead', 'at');
	SELECT add_component(m, 'fit', lo => 0, hi => 50), add_component(m, 'slow', half_life => '30 days', hi => 100) FROM unnest(ARRAY['m', 't']) m;
	SELECT add_rule(m, 'fit', 'large', 'size > 500', 20), add_rule(m, 'slow', 'webinar', \$\$kind = 'webinar'\$\$, 15),
		add_rule(m, 'slow', 'click', \$\$kind = 'click'\$\$, 3, at_most => 2, per => '1 day') FROM unnest(ARRAY['m', 't']) m;
	SELECT add_band(m, 'hot', 40) FROM unnest(ARRAY['m', 't']) m;
	SELECT publish('m'), publish('t');
	SELECT add_rule(m, 'fit', 'size', 'size BETWEEN 100 AND 500', 'size / 50.0') FROM unnest(ARRAY['m', 't']) m});

# All that must not have changed: relations, triggers, versions, every stored score, what is due.
sub state_of
{
	return $node->safe_psql('postgres', q{
		SELECT md5(string_agg(concat_ws(' ', c.oid, c.relname, c.relkind, c.relfilenode), ',' ORDER BY c.oid)) FROM pg_class c WHERE relnamespace = 'leadscore'::regnamespace OR relname LIKE 'pg_temp_%';
		SELECT md5(string_agg(concat_ws(' ', tgrelid, tgname, tgenabled), ',' ORDER BY tgrelid, tgname)) FROM pg_trigger;
		SELECT model, live_version, (SELECT max(version) FROM model_version v WHERE v.model = m.model) FROM model m ORDER BY 1;
		SELECT count(*), min(version), max(version), md5(string_agg(s::text, chr(10) ORDER BY lead)) FROM leadscore.score_m s;
		SELECT count(*), min(version), max(version), md5(string_agg(s::text, chr(10) ORDER BY lead)) FROM leadscore.score_t s;
		SELECT count(*), md5(string_agg(d::text, chr(10) ORDER BY d::text)) FROM due d;
		SELECT count(*) FROM previous_band; SELECT count(*) FROM crossing;
		SELECT count(*) FROM pg_locks WHERE relation >= 16384;
		SELECT count(*) FROM progress});
}
my $scores = q{SELECT md5(string_agg(lead || ' ' || score || ' ' || version, chr(10) ORDER BY lead)) FROM leadscore.score_};
my $before = state_of();

# begin statements in a session of their own, named so that it can be seen
sub begin
{
	my $session = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') . ' application_name=publisher', map { ('-c', $_) } @_ ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'publisher' AND state = 'active')})
	  or die 'the session did not begin';
	return $session;
}

my %work = (
	"publish('m')" => 'm',
	"rescore('m')" => 'm',
	"publish('t')" => 't',
	"backtest('m', 'SELECT id, at, won FROM outcome', version => 0, against => 1)" => undef);
my %result;
my $taken;
foreach my $call (sort keys %work)
{
	# undisturbed, and taken back: how long it takes, and what comes out
	my $model = $work{$call};
	my $start = time;
	$result{$call} = $node->safe_psql('postgres', "BEGIN; SELECT count(*) FROM $call; " . ($model ? "$scores$model; " : '') . 'ROLLBACK');
	my $whole = time - $start;
	$taken = $whole if $call eq "publish('m')";
	is(state_of(), $before, "$call rolled back leaves everything as it was");

	my ($stopped, $worst) = (0, 0);
	foreach my $moment (1 .. $moments)
	{
		# what was faster this time is taken back, too
		my $timeout = 1 + int(1000 * $whole * $moment / ($moments + 1));
		my ($ret, $out, $err) = $node->psql('postgres', qq{
			BEGIN;
			SELECT clock_timestamp() AS start \\gset
			SET statement_timeout = $timeout;
			SELECT count(*) FROM $call;
			ROLLBACK;
			SELECT extract(epoch FROM clock_timestamp() - :'start') * 1000 - $timeout}, on_error_stop => 0);
		if ($err =~ /ERROR/)
		{
			like($err, qr/canceling statement due to statement timeout/, "$call stopped after $timeout ms");
			my $late = (split /\n/, $out)[-1];
			$worst = $late if $late > $worst;
			$stopped++;
		}
		is(state_of(), $before, '... and nothing has changed');
	}
	cmp_ok($stopped, '>=', 1, "$call was stopped at least once");
	cmp_ok($worst, '<', 1000 * $longest, '... and never long after it was asked to');
	note(sprintf('%s: takes %.0f ms; stopped at %d of %d moments, at most %.0f ms after the cancel', $call, 1000 * $whole, $stopped, $moments, $worst));
}

# a server that dies while it publishes
foreach my $wait (0.2, 0.5, 0.9)
{
	my $session = begin("BEGIN; SELECT publish('m'); SELECT pg_sleep(100)");
	sleep($wait * $taken);
	$node->kill9;
	$session->finish;
	# the orphaned backends have to notice first
	foreach (1 .. 60)
	{
		last if run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]);
		sleep 1;
	}
	$node->_update_pid(1);
	is(state_of(), $before, "the server was killed at about $wait of the time: everything is as it was");
}

# and now to the end, with somebody reading all the while
foreach my $model ('m', 't')
{
	my $session = begin("SELECT publish('$model')", "SELECT rescore('$model')");
	my ($reads, $wrong, $busy) = (0, '', 't');
	while ($busy eq 't')
	{
		my $seen = $node->safe_psql('postgres', "SELECT count(*), min(version), max(version) FROM leadscore.score_$model");
		$wrong .= "$seen\n" unless $seen eq "$leads|1|1" || $seen eq "$leads|2|2";
		$reads++;
		$busy = $node->safe_psql('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'publisher')});
	}
	$session->finish;
	is($wrong, '', "who reads the scores of $model meanwhile sees all of one version");
	note("$reads reads while $model was published and rescored");
	my ($count, $digest) = split /\n/, $result{"publish('$model')"};
	is($node->safe_psql('postgres', "$scores$model"), $digest, 'what comes out is what came out undisturbed');
	is($node->safe_psql('postgres', "SELECT count(*) FROM verify('$model')"), '0', 'and agrees with the events');
}
$node->safe_psql('postgres', q{INSERT INTO event SELECT id, 'webinar', now() FROM lead WHERE id < 100; UPDATE lead SET size = 600 WHERE id < 50; DELETE FROM event WHERE lead = 7});
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify('m')}), '0', 'scores follow the data as before');

$node->stop;
done_testing();
