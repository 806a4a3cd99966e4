# leadscore.cool() run by pg_cron, as docs/live.md shows it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
plan skip_all => 'pg_cron is not installed (apt-get install postgresql-15-cron)' unless -e "$sharedir/extension/pg_cron.control";

my $node = new_node('cron', q{shared_preload_libraries = 'pg_cron'}, q{cron.database_name = 'postgres'}, q{cron.use_background_workers = on}, 'max_worker_processes = 20');
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_cron; CREATE EXTENSION leadscore;
	CREATE TABLE lead (lead_id int PRIMARY KEY);
	CREATE TABLE event (id int PRIMARY KEY, lead_id int, at timestamptz);
	INSERT INTO lead VALUES (1);
	SELECT leadscore.create_model('m', 'lead', 'event', event_lead => 'lead_id');
	SELECT leadscore.add_component('m', 'engagement', half_life => '1 second');
	SELECT leadscore.add_rule('m', 'engagement', 'any', 'id > 0', 40);
	SELECT leadscore.add_band('m', 'hot', 30);
	SELECT leadscore.publish('m');
	INSERT INTO event VALUES (1, 1, now());
	SELECT cron.schedule('leadscore', '* * * * *', 'SELECT leadscore.cool()')});
is($node->safe_psql('postgres', q{SELECT to_band FROM leadscore.crossing}), 'hot', 'the lead is hot');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM leadscore.crossing WHERE from_band = 'hot' AND to_band IS NULL AND cause = 'ageing'}), 'within the next minute pg_cron has found it cooled');
is($node->safe_psql('postgres', q{SELECT abs(score - 30) < 0.01 FROM leadscore.crossing WHERE cause = 'ageing'}), 't', 'at the instant at which it did');
$node->stop;
done_testing();
