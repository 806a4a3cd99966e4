# What others may do: PUBLIC writes nothing of the extension, whoever has no right on
# a CRM learns and changes nothing through our functions, and the functions that
# change a model or a pipeline ask for a right on the table they are about.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('privileges');
crm_database($node, 'crm', 100);
$node->safe_psql('crm', 'CREATE ROLE nobody_special LOGIN');

# tables, views and sequences, those made at run time included
is( $node->safe_psql(
		'crm', q{
SELECT c.oid::regclass || ' ' || p
FROM pg_class c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
WHERE c.relnamespace = 'leadscore'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
  AND has_table_privilege('nobody_special', c.oid, p)
UNION ALL
SELECT c.oid::regclass || ' ' || p
FROM pg_class c, unnest(ARRAY['USAGE', 'UPDATE']) p
WHERE c.relnamespace = 'leadscore'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege('nobody_special', c.oid, p)
UNION ALL
SELECT 'schema CREATE' WHERE has_schema_privilege('nobody_special', 'leadscore', 'CREATE')
ORDER BY 1}), '', 'PUBLIC can write no table, view or sequence, and create nothing in the schema');

# security definer functions: a short list, each with a search_path of its own
is( $node->safe_psql(
		'crm', q{
SELECT oid::regprocedure FROM pg_proc
WHERE pronamespace = 'leadscore'::regnamespace AND prosecdef
  AND (proconfig IS NULL OR NOT EXISTS (SELECT 1 FROM unnest(proconfig) c WHERE c LIKE 'search_path=%pg_temp'))}),
	'', 'every SECURITY DEFINER function fixes its search_path, pg_temp last');

# every function that writes, called with good arguments by somebody without rights:
# a refusal (or, for what only computes, an answer), and nothing has changed
my $before = fingerprint($node, 'crm');
my $list = $node->safe_psql(
	'crm', q{
SELECT p.oid::regprocedure, p.proname, p.proretset,
	coalesce((SELECT string_agg(format_type(a.oid, NULL), ',' ORDER BY a.n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a(oid, n)), ''),
	coalesce(array_to_string(p.proargnames[1:p.pronargs], ','), '')
FROM pg_proc p
WHERE p.pronamespace = 'leadscore'::regnamespace AND p.provolatile = 'v' AND p.prokind = 'f'
  AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND NOT 'internal'::regtype = ANY (p.proargtypes)
ORDER BY 1});
# arguments that mean something in the demo's CRM, by the parameter's name, else its type
my %by_name = (model => 'b2b', leads => 'crm.lead', relation => 'crm.lead', "table" => 'crm.lead', lead => '1', key => '1',
	pipeline => 'lifecycle', component => 'fit', rule => 'x', band => 'hot', stage_column => 'stage', stage => 'mql', condition => 'true',
	from_stage => 'lead', to_stage => 'mql', to => 'mql', reason => 'test', points => '1', source => 'lead');
my %by_type = (integer => 1, bigint => 1, 'double precision' => 1, interval => '1 day', 'timestamp with time zone' => '2026-01-01', boolean => 'true',
	text => 'x', name => 'x', jsonb => '{}', regclass => 'crm.lead', 'character varying' => 'x');
my @done;
foreach (split /\n/, $list)
{
	my ($sig, $name, $set, $types, $names) = split /\|/, $_, -1;
	my @types = split /,/, $types;
	my @names = split /,/, $names;
	my @args = map {
		my $type = $types[$_];
		my $v = $by_name{ $names[$_] // '' };
		$v = $by_type{$type} if !defined $v || ($v !~ /^\d+$/ && $type =~ /^(integer|bigint|double|interval|timestamp|boolean|jsonb)/);
		defined $v ? "'$v'::$type" : "NULL::$type"
	} 0 .. $#types;
	my $out = psql_out($node, 'crm', "SET ROLE nobody_special;\n\\set VERBOSITY verbose\nSELECT * FROM leadscore.$name(" . join(', ', @args) . ");");
	push @done, "$sig: $out" unless $out =~ /ERROR:  (42501|42P01|42704|22023|23503|22P02|55000|42703|23514|42804|22004|P0002|0A000|23502|22000|42883|22003|23505|42710)/;
}
note('volatile functions that answered: ', join("\n", @done));
is(fingerprint($node, 'crm'), $before, 'nothing changed, whatever was called without rights');

$node->stop;
done_testing();
