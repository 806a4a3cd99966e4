# Objects planted in other schemas: operators and functions that shadow pg_catalog's,
# ahead in search_path while the extension is created and while it is used. The
# extension is the same as without them, and none of them is ever called.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('hostile');

# what the extension is made of, as the server understood it
my $definition = q{
SET search_path = '';
SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE pronamespace = 'leadscore'::regnamespace AND prokind <> 'a' ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class c WHERE relnamespace = 'leadscore'::regnamespace AND relkind = 'v' ORDER BY c.oid::regclass::text COLLATE "C";
SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'leadscore'::regnamespace ORDER BY conrelid::regclass::text COLLATE "C", conname;
SELECT adrelid::regclass, adnum, pg_get_expr(adbin, adrelid) FROM pg_attrdef d JOIN pg_class c ON c.oid = adrelid WHERE relnamespace = 'leadscore'::regnamespace ORDER BY c.relname COLLATE "C", 2;
SELECT what FROM (
	SELECT pg_describe_object(classid, objid, objsubid) || ' needs ' || pg_describe_object(refclassid, refobjid, refobjsubid) AS what
	FROM pg_depend d WHERE (pg_identify_object(classid, objid, 0)).schema = 'leadscore' AND deptype = 'n') x
ORDER BY what COLLATE "C";
};

# for every operator on types that an attacker would try, one of his own that tells,
# and the same for common functions: exact matches win over pg_catalog's
my @types = qw(int4 int8 text name oid regclass float8 bool timestamptz interval jsonb "char" numeric regtype int2);
my $plant = q{
CREATE SCHEMA evil;
CREATE TABLE evil.hit (what text);
GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON evil.hit TO PUBLIC;
};
foreach my $t (@types)
{
	(my $n = $t) =~ s/\W//g;
	foreach my $op ([ '=', 'eq', 'true' ], [ '<>', 'ne', 'true' ], [ '<', 'lt', 'true' ], [ '>', 'gt', 'true' ], [ '<=', 'le', 'true' ], [ '>=', 'ge', 'true' ])
	{
		$plant .= "CREATE FUNCTION evil.$op->[1]_$n($t, $t) RETURNS bool LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO evil.hit VALUES ('$t $op->[0]'); RETURN $op->[2]; END \$\$;\n"
		  . "CREATE OPERATOR evil.$op->[0] (LEFTARG = $t, RIGHTARG = $t, FUNCTION = evil.$op->[1]_$n);\n";
	}
}
foreach my $op ([ '||', 'text', 'text' ], [ '->>', 'jsonb', 'text' ], [ '+', 'int4', 'int4' ], [ '-', 'timestamptz', 'timestamptz' ], [ '+', 'float8', 'float8' ], [ '*', 'float8', 'float8' ], [ '/', 'float8', 'float8' ])
{
	my $n = 'op' . join '', map { sprintf '%02x', ord } split //, "@$op";
	my $r = $op->[0] eq '-' ? 'interval' : $op->[1] eq 'jsonb' ? 'text' : $op->[1];
	$plant .= "CREATE FUNCTION evil.$n($op->[1], $op->[2]) RETURNS $r LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO evil.hit VALUES ('$op->[0]'); RETURN NULL; END \$\$;\n"
	  . "CREATE OPERATOR evil.$op->[0] (LEFTARG = $op->[1], RIGHTARG = $op->[2], FUNCTION = evil.$n);\n";
}
foreach my $f ('now() RETURNS timestamptz', 'lower(text) RETURNS text', 'length(text) RETURNS int', 'format(text, text) RETURNS text', 'quote_ident(text) RETURNS text',
	'round(numeric, int) RETURNS numeric', 'round(float8) RETURNS float8', 'date_bin(interval, timestamptz, timestamptz) RETURNS timestamptz', 'to_regclass(text) RETURNS regclass',
	'generate_series(int, int) RETURNS int', 'abs(float8) RETURNS float8', 'current_setting(text) RETURNS text', 'nextval(regclass) RETURNS bigint', 'array_length(text[], int) RETURNS int',
	'date_part(text, timestamptz) RETURNS float8', 'repeat(text, int) RETURNS text', 'greatest_of(float8, float8) RETURNS float8', 'pg_notify(text, text) RETURNS void')
{
	my ($what) = $f =~ /^(\w+)/;
	my $body = "INSERT INTO evil.hit VALUES ('$what()');" . ($f =~ /void$/ ? '' : ' RETURN NULL;');
	$plant .= "CREATE FUNCTION evil.$f LANGUAGE plpgsql AS \$\$ BEGIN $body END \$\$;\n";
}
$plant .= "CREATE AGGREGATE evil.sum(float8) (SFUNC = float8pl, STYPE = float8, INITCOND = '42');\n"
  . "CREATE AGGREGATE evil.count(int) (SFUNC = int4pl, STYPE = int4, INITCOND = '42');\n"
  . "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evil TO PUBLIC;\n";

foreach my $db ('clean', 'trapped')
{
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
}
$node->safe_psql('trapped', $plant);
$node->safe_psql('trapped', 'ALTER DATABASE trapped SET search_path = evil, pg_catalog');
# the trap works: an unqualified operator is his
is($node->safe_psql('trapped', 'SELECT 1::int4 = 2::int4; SELECT count(*) > 0 FROM evil.hit'), "t\nt", 'the trap is set');
$node->safe_psql('trapped', 'DELETE FROM evil.hit');

$node->safe_psql($_, 'CREATE EXTENSION leadscore') foreach 'clean', 'trapped';
is($node->safe_psql('trapped', $definition), $node->safe_psql('clean', $definition), 'the extension is the same');
is($node->safe_psql('trapped', 'SELECT what FROM evil.hit GROUP BY 1'), '', 'CREATE EXTENSION called nothing that was planted');

# the demo's CRM, made with a plain search_path, then used with the hostile one and
# with none: the same answers
my $use = join "\n", map { "$_;" } questions();
my %answer;
foreach my $path ('"$user", public', '', 'evil, pg_catalog', 'evil, public, leadscore, pg_catalog')
{
	state_db() unless %answer;
	my $set = $path eq '' ? "''" : $path;
	my $out = psql_out($node, 'crm', "SET search_path = $set;\n$use");
	$answer{$path} = $out;
	unlike($out, qr/ERROR/, "every question is answered with search_path = $set");
	is($out, $answer{'"$user", public'}, "and answered the same with search_path = $set");
}
is($node->safe_psql('crm', 'SELECT what FROM evil.hit GROUP BY 1'), '', 'nothing planted was called');
$node->stop;
done_testing();

sub state_db
{
	crm_database($node, 'crm', 150);
	$node->safe_psql('crm', $plant);
	return;
}

# every name qualified by us, as a careful client does; an instant in the past, so that
# the answers can be compared. What is written is rolled back.
sub questions
{
	my $t = q{'2026-01-01 00:00+00'::timestamptz};
	return (
		qq{SELECT leadscore.parts(leadscore.points(3, $t, '1 day', 0::float8, 100::float8), '2026-01-03')},
		qq{SELECT (leadscore.points(3) OPERATOR(leadscore.||) leadscore.points(4)) OPERATOR(leadscore.@) $t},
		q{SELECT pg_catalog.count(*) FROM crm.lead WHERE stage OPERATOR(leadscore.>) 'mql'::leadscore.stage},
		# (leads with the same score come in any order)
		qq{SELECT score, band FROM leadscore.hottest('b2b', 5, $t)},
		qq{SELECT * FROM leadscore.explain('b2b', '17', $t)},
		qq{SELECT leadscore.score_at('b2b', '42', $t)},
		q{SELECT leadscore.fit('b2b', l) FROM crm.lead l WHERE lead_id OPERATOR(pg_catalog.<=) 3 ORDER BY lead_id},
		q{SELECT pg_catalog.count(*) FROM leadscore.verify('b2b')},
		q{SELECT * FROM leadscore.next_stages('crm.lead', '42')},
		q{SELECT * FROM leadscore.would_refuse('crm.lead', '42', 'client')},
		q{SELECT stage, reached, moved_on, median_days, bar FROM leadscore.funnel('crm.lead', history => 'crm.stage_change')},
		q{BEGIN},
		# a model, a move and an event, all through the planted path
		q{SELECT leadscore.create_model('other', leads => 'crm.lead', events => 'crm.interaction')},
		q{SELECT leadscore.add_component('other', 'all', half_life => '7 days')},
		q{SELECT leadscore.add_rule('other', 'all', 'call', 'kind OPERATOR(pg_catalog.=) ''call''::text', 10, at_most => 2, per => '1 day')},
		q{SELECT leadscore.publish('other')},
		qq{SELECT score FROM leadscore.hottest('other', 3, $t)},
		q{INSERT INTO crm.interaction (lead_id, occurred_at, kind) VALUES (42, '2026-01-01 00:00+00', 'call'::text)},
		q{UPDATE crm.lead SET stage = 'lost'::leadscore.stage WHERE lead_id OPERATOR(pg_catalog.=) ANY (SELECT lead_id FROM crm.lead WHERE stage OPERATOR(leadscore.=) 'mql'::leadscore.stage)},
		q{SELECT pg_catalog.count(*), pg_catalog.max(to_stage COLLATE "C") FROM leadscore.history},
		q{SELECT pg_catalog.count(*) FROM leadscore.verify('b2b')},
		q{ROLLBACK});
}
