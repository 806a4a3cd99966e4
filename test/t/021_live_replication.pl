# What logical replication applies: not seen by the triggers, unless they fire always;
# and the notification of a crossing in a second session.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = new_node('subscriber');
my $tables = q{
	CREATE TABLE lead (lead_id int PRIMARY KEY, sector text);
	CREATE TABLE event (id int PRIMARY KEY, lead_id int, kind text, at timestamptz);};
my $model = q{
	CREATE EXTENSION leadscore;
	SELECT leadscore.create_model('m', 'lead', 'event', event_lead => 'lead_id');
	SELECT leadscore.add_component('m', 'fit'), leadscore.add_component('m', 'engagement', half_life => '10 days');
	SELECT leadscore.add_rule('m', 'fit', 'saas', $$sector = 'saas'$$, 15), leadscore.add_rule('m', 'engagement', 'demo', $$kind = 'demo'$$, 40);
	SELECT leadscore.add_band('m', 'hot', 50);
	SELECT leadscore.publish('m');};
$_->safe_psql('postgres', $tables) for $publisher, $subscriber;
$publisher->safe_psql('postgres', q{INSERT INTO lead SELECT g, 'saas' FROM generate_series(1, 5) g; CREATE PUBLICATION p FOR TABLE lead, event});
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION p");
$subscriber->wait_for_subscription_sync($publisher, 's');
$subscriber->safe_psql('postgres', $model);
is($subscriber->safe_psql('postgres', 'SELECT count(*), sum(score OPERATOR(leadscore.@) now()) FROM leadscore.score_m'), '5|75', 'published on the subscriber');

$publisher->safe_psql('postgres', q{INSERT INTO event VALUES (1, 1, 'demo', now())});
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', q{SELECT lead, problem FROM leadscore.verify('m')}), '1|different', 'what is applied is not seen by default');

$subscriber->safe_psql('postgres', q{SELECT leadscore.live_options('m', always => true); SELECT leadscore.rescore('m')});
$publisher->safe_psql('postgres', q{
	INSERT INTO event SELECT g, 1 + g % 5, 'demo', now() - g * interval '1 hour' FROM generate_series(2, 30) g;
	UPDATE event SET lead_id = 2, kind = 'open' WHERE id % 7 = 0; DELETE FROM event WHERE id % 5 = 0;
	UPDATE lead SET sector = 'x' WHERE lead_id = 4; DELETE FROM lead WHERE lead_id = 3; INSERT INTO lead VALUES (9, 'saas');
	BEGIN; INSERT INTO event VALUES (100, 9, 'demo', now()); SAVEPOINT a; INSERT INTO event VALUES (101, 9, 'demo', now()); ROLLBACK TO a; COMMIT});
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', q{SELECT lead, problem FROM leadscore.verify('m')}), '', 'with always => true it is');
cmp_ok($subscriber->safe_psql('postgres', q{SELECT count(*) FROM leadscore.crossing WHERE cause = 'event'}), '>', 0, 'and crossings are written');
$publisher->safe_psql('postgres', 'TRUNCATE event');
$publisher->wait_for_catchup('s');
is($subscriber->safe_psql('postgres', q{SELECT lead, problem FROM leadscore.verify('m')}), '', 'TRUNCATE too');

# a second session hears of a crossing when it is committed
$subscriber->safe_psql('postgres', q{SELECT leadscore.on_crossing('m', 'hot')});
my ($out, $in) = ('', "LISTEN leadscore_crossing;\n\\echo ready\n");
my $listener = IPC::Run::start([ 'psql', '-XAtq', '-d', $subscriber->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1', IPC::Run::timeout(60));
$listener->pump until $out =~ /ready/;
$subscriber->safe_psql('postgres', q{INSERT INTO event VALUES (200, 2, 'demo', now())});
$in .= "SELECT 1;\n";
$listener->pump until $out =~ /Asynchronous|timeout/;
like($out, qr/Asynchronous notification "leadscore_crossing" with payload .*"to": "hot".*"lead": "2"/, 'another session is notified');
$in .= "\\q\n";
$listener->finish;
$_->stop for $subscriber, $publisher;
done_testing();
