# What the TAP tests of leadscore share (found by -I test/perl).
package LeadscoreTest;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
our @EXPORT = qw(new_node psql_out crm_database fingerprint tree seed);

my $top = dirname(dirname(dirname(abs_path(__FILE__))));

# the top of the tree that is tested
sub tree { return $top; }

# a seed for random tests: LS_SEED, else a fixed one; say it in the test's name
sub seed { return $ENV{LS_SEED} // shift // 20261123; }

# a running server with settings that suit the tests
sub new_node
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join("\n", "timezone = 'UTC'", @conf) . "\n");
	$node->start;
	return $node;
}

# run SQL in one psql session and return all it printed, errors included
sub psql_out
{
	my ($node, $db, $sql, %opt) = @_;
	my ($out, $err) = ('', '');
	$node->psql($db, $sql, stdout => \$out, stderr => \$err, on_error_stop => 0, %opt);
	return "$out\n$err";
}

# the demo's CRM in a database of its own: leads, interactions and, as far as the
# parts are there, a published model and an enforced pipeline
sub crm_database
{
	my ($node, $db, $leads) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($db, "CREATE EXTENSION leadscore; ALTER DATABASE $db SET search_path = public, leadscore");
	foreach my $script ('generate', 'setup')
	{
		my $file = tree() . "/test/demo/$script.sql";
		next unless -e $file;
		$node->command_ok(
			[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', "leads=$leads", '-d', $node->connstr($db), '-f', $file ],
			"$script.sql runs in $db");
	}
	return;
}

# every table of the extension and of the CRM with its number of rows and a digest of
# them, and every sequence with its value: what a dump has to carry
sub fingerprint
{
	my ($node, $db) = @_;
	my $relations = $node->safe_psql(
		$db, q{
SET search_path = '';
SELECT c.oid::regclass, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('leadscore', 'crm') AND c.relkind IN ('r', 'm', 'S')
ORDER BY c.oid::regclass::text COLLATE "C"});
	my $sql = "SET search_path = '';";
	foreach (split /\n/, $relations)
	{
		my ($name, $kind) = split /\|/;
		$sql .= $kind eq 'S'
		  ? "SELECT '$name', last_value, is_called FROM $name;"
		  : "SELECT '$name', count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE \"C\")) FROM $name t;";
	}
	return $node->safe_psql($db, $sql);
}

1;
