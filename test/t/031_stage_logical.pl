# Stage rules on a subscriber of logical replication: our triggers are ENABLE
# ALWAYS, so a table that is enforced on the subscriber is checked there too and
# has a history of its own; with ordinary triggers it takes stages over unchecked.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;

my $pub = new_node('publisher', 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5');
my $sub = new_node('subscriber', 'wal_retrieve_retry_interval = 200ms');
foreach my $node ($pub, $sub)
{
	$node->safe_psql('postgres', q{
CREATE EXTENSION leadscore;
CREATE TABLE lead (id int PRIMARY KEY, stage leadscore.stage DEFAULT 'lead', interest bool, budget int, authority int, need int, timeline int, order_no int);
SELECT leadscore.enforce('lead', 'stage');});
}
$pub->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE lead');
$sub->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION \$c\$" . $pub->connstr('postgres') . "\$c\$ PUBLICATION p");
$sub->wait_for_subscription_sync($pub, 's');

$pub->safe_psql('postgres', q{
INSERT INTO lead (id, interest) VALUES (1, true), (2, true);
UPDATE lead SET stage = 'mql' WHERE id = 1;
UPDATE lead SET stage = 'lost' WHERE id = 2;
DELETE FROM lead WHERE id = 2;});
$pub->wait_for_catchup('s');
my $history = q{SELECT lead, coalesce(from_stage, '-'), coalesce(to_stage, '-'), kind FROM leadscore.stage_history ORDER BY id};
is($sub->safe_psql('postgres', $history), $pub->safe_psql('postgres', $history),
	'moves that are replicated are recorded on the subscriber as well');
is($sub->safe_psql('postgres', 'SELECT id, stage FROM lead'), '1|mql', 'and made');

# an override at the publisher is none at the subscriber: its rules refuse it
$pub->safe_psql('postgres', q{BEGIN; SELECT leadscore.override('contract on paper'); UPDATE lead SET stage = 'client' WHERE id = 1; COMMIT;});
my $log = 0;
for (1 .. 100)
{
	$log = slurp_file($sub->logfile) =~ /lead 1 cannot move from mql to client/;
	last if $log;
	select(undef, undef, undef, 0.2);
}
ok($log, 'a move that the rules of the subscriber do not allow stops there');

# triggers that fire at the origin only: the publisher's word counts
$sub->safe_psql('postgres', q{ALTER TABLE lead ENABLE TRIGGER "!leadscore_stage", ENABLE TRIGGER "!leadscore_delete", ENABLE TRIGGER "!leadscore_truncate"});
$pub->wait_for_catchup('s');
is($sub->safe_psql('postgres', 'SELECT id, stage FROM lead'), '1|client', 'with ENABLE TRIGGER it is taken over unchecked');
like($sub->safe_psql('postgres', 'SELECT finding FROM leadscore.audit()'), qr/not enabled ALWAYS/, 'which audit() shows');
like(psql_out($sub, 'postgres', q{UPDATE lead SET stage = 'lead' WHERE id = 1}), qr/cannot move from client to lead/,
	'and local writers are checked all the same');

$sub->stop;
$pub->stop;
done_testing();
