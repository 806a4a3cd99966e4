# pg_upgrade to a new cluster of the same major: every row, index and sequence is
# there, heap and indexes are sound, and the extension works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node('old');
# pg_upgrade tries LOAD of what pg_proc names; PostgreSQL 18 finds a staged library
# (extension_control_path) for CREATE FUNCTION only
if ($old->psql('postgres', q{LOAD '$libdir/leadscore'}) != 0)
{
	$old->stop;
	plan skip_all => "this server cannot LOAD '\$libdir/leadscore' where nothing is installed";
}
crm_database($old, 'crm', 300);
my $before = fingerprint($old, 'crm');
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "timezone = 'UTC'\n");
my $bin = $old->config_data('--bindir');

# pg_upgrade writes into the current folder (up to 14) or below the new cluster
chdir $new->basedir or die;
command_ok(
	[ 'pg_upgrade', '--no-sync', '-b', $bin, '-B', $bin, '-d', $old->data_dir, '-D', $new->data_dir,
	  '-s', $new->host, '-p', $old->port, '-P', $new->port ],
	'pg_upgrade');
$new->start;
is(fingerprint($new, 'crm'), $before, 'every row is there');
is( $new->safe_psql('crm', q{
	SELECT count(*) FROM pg_extension WHERE extname = 'leadscore'}), '1', 'the extension is there');
SKIP:
{
	skip 'amcheck is not installed', 1
	  if $new->safe_psql('crm', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'}) eq '0';
	$new->safe_psql('crm', 'CREATE EXTENSION amcheck');
	is( $new->safe_psql('crm', q{
		SELECT count(*) FROM pg_class c, verify_heapam(c.oid) v
		WHERE c.relnamespace IN ('crm'::regnamespace, 'leadscore'::regnamespace) AND c.relkind = 'r'}), '0', 'heap sound');
}
$new->safe_psql('crm', 'REINDEX DATABASE crm');
is(fingerprint($new, 'crm'), $before, 'and after a REINDEX');
$new->stop;
done_testing();
