# Events in a foreign table (postgres_fdw, to another database of the same server),
# and in a foreign partition: what is written through them is followed row by row,
# what is written at the other end is not, and verify() says so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('foreign', 'client_min_messages = warning');
if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'}) == 0)
{
	$node->stop;
	plan skip_all => 'postgres_fdw is not installed';
}

$node->safe_psql('postgres', 'CREATE DATABASE far');
$node->safe_psql('far', q{
CREATE TABLE event (id int PRIMARY KEY, lead_id int, kind text, at timestamptz);
CREATE TABLE event_old (kind text, at timestamptz, id int, lead_id int)});
my ($host, $port) = ($node->host, $node->port);
$node->safe_psql('postgres', qq{
CREATE EXTENSION leadscore;
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'far');
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE TABLE lead (lead_id int PRIMARY KEY, sector text);
INSERT INTO lead SELECT g, 'saas' FROM generate_series(1, 20) g;
CREATE FOREIGN TABLE event (id int, lead_id int, kind text, at timestamptz) SERVER far;
CREATE TABLE split (id int, lead_id int, kind text, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE split_new PARTITION OF split FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE FOREIGN TABLE split_old (kind text, at timestamptz, id int, lead_id int) SERVER far OPTIONS (table_name 'event_old');
});
foreach my $model ('event', 'split')
{
	$node->safe_psql('postgres', qq{
SELECT leadscore.create_model('$model', 'lead', '$model', event_lead => 'lead_id', event_at => 'at');
SELECT leadscore.add_component('$model', 'fit');
SELECT leadscore.add_component('$model', 'engagement', half_life => '30 days');
SELECT leadscore.add_rule('$model', 'fit', 'saas', \$\$sector = 'saas'\$\$, 10);
SELECT leadscore.add_rule('$model', 'engagement', 'open', \$\$kind = 'open'\$\$, 2);
SELECT leadscore.add_rule('$model', 'engagement', 'demo', \$\$kind = 'demo'\$\$, 30, at_most => 1, per => '1 day');
SELECT leadscore.publish('$model')});
}
sub wrong { return $node->safe_psql('postgres', "SELECT lead, problem FROM leadscore.verify('$_[0]')"); }
sub total { return $node->safe_psql('postgres', "SELECT round(sum(score OPERATOR(leadscore.@) '2026-02-01')) FROM leadscore.score_$_[0]"); }

is($node->safe_psql('postgres', q{SELECT string_agg(trigger || ' ' || form, ', ') FROM leadscore.live_trigger WHERE model = 'event' AND role = 'events'}),
	'leadscore_live_row row', 'a foreign table is followed row by row');

$node->safe_psql('postgres', q{INSERT INTO event VALUES (1, 1, 'open', '2026-01-01')});
$node->safe_psql('postgres', q{INSERT INTO event SELECT g, 1 + g % 20, CASE WHEN g % 3 = 0 THEN 'demo' ELSE 'open' END, '2026-01-01'::timestamptz + g * interval '5 hours' FROM generate_series(2, 120) g});
$node->safe_psql('postgres', qq{COPY event FROM STDIN;\n201\t3\tdemo\t2026-01-02 03:00\n202\t3\tdemo\t2026-01-02 01:00\n203\t99\topen\t2026-01-02\n\\.\n});
is(wrong('event'), '', 'INSERT and COPY');
cmp_ok(total('event'), '>', 500, 'events count');
$node->safe_psql('postgres', q{
UPDATE event SET kind = 'demo' WHERE id % 5 = 0;
UPDATE event SET lead_id = lead_id + 1, at = at - interval '1 day' WHERE id % 7 = 0;
DELETE FROM event WHERE id % 4 = 0;
BEGIN; INSERT INTO event VALUES (301, 5, 'demo', '2026-01-03'); SAVEPOINT a; DELETE FROM event WHERE lead_id = 5; ROLLBACK TO a; UPDATE event SET kind = 'open' WHERE id = 301; COMMIT;
BEGIN; DELETE FROM event; ROLLBACK});
is(wrong('event'), '', 'UPDATE, moves, DELETE, a savepoint, a rollback');

$node->safe_psql('far', q{INSERT INTO event VALUES (401, 6, 'open', '2026-01-03')});
is(wrong('event'), '6|different', 'what is written at the other end is not seen, and verify() says so');
$node->safe_psql('postgres', q{SELECT leadscore.repair('event', '6')});
is(wrong('event'), '', 'repair() puts it right');
$node->safe_psql('postgres', q{TRUNCATE event});
isnt(wrong('event'), '', 'nor is TRUNCATE of a foreign table, which has no triggers for it');
$node->safe_psql('postgres', q{SELECT leadscore.rescore('event')});
is(wrong('event'), '', 'rescore() puts it right');

# a foreign partition, its columns in another order, comes with rows, and goes
$node->safe_psql('far', q{INSERT INTO event_old SELECT CASE WHEN g % 2 = 0 THEN 'demo' ELSE 'open' END, '2025-11-01'::timestamptz + g * interval '7 hours', g, 1 + g % 20 FROM generate_series(1, 100) g});
$node->safe_psql('postgres', q{INSERT INTO split SELECT g, g % 20, 'open', '2026-01-05' FROM generate_series(1, 30) g});
my $before = total('split');
$node->safe_psql('postgres', q{ALTER TABLE split ATTACH PARTITION split_old FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')});
is(wrong('split'), '', 'a foreign partition is attached with its rows');
cmp_ok(total('split'), '>', $before, 'and they count');
$node->safe_psql('postgres', q{
INSERT INTO split VALUES (901, 7, 'demo', '2025-12-31'), (902, 7, 'demo', '2026-01-01');
UPDATE split SET kind = 'demo' WHERE id % 3 = 0;
DELETE FROM split WHERE id % 7 = 0});
is(wrong('split'), '', 'writes by way of the partitioned table');
$node->safe_psql('postgres', q{DELETE FROM split_old WHERE id % 5 = 0});
is(wrong('split'), '', 'and of the partition');
$node->safe_psql('postgres', q{BEGIN; DROP FOREIGN TABLE split_old; ROLLBACK});
is(wrong('split'), '', 'a drop that is taken back');
$node->safe_psql('postgres', q{DROP FOREIGN TABLE split_old});
is(wrong('split'), '', 'and one that is not');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM leadscore.score_split WHERE score OPERATOR(leadscore.@) '2026-02-01' > 10}), 't', 'the rest still counts');

# leads must be found by key: a foreign table has no index to say so
like(psql_out($node, 'postgres', q{
CREATE FOREIGN TABLE far_lead (lead_id int NOT NULL) SERVER far;
SELECT leadscore.create_model('far', 'far_lead', 'event', lead_key => 'lead_id')}), qr/ERROR/, 'leads cannot be a foreign table');
$node->stop;
done_testing();
