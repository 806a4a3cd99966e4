# DROP EXTENSION CASCADE leaves nothing: no object, no trigger, no dependency (only
# the schema, empty: PostgreSQL does not let an extension own the schema it lives
# in); and a session that used the extension goes on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('drop');

# everything in the catalogs, by description, that did not come with initdb
my $objects = q{
SELECT string_agg(what, E'\n' ORDER BY what COLLATE "C") FROM (
	SELECT pg_describe_object('pg_class'::regclass, oid, 0) AS what FROM pg_class WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_proc'::regclass, oid, 0) FROM pg_proc WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_type'::regclass, oid, 0) FROM pg_type WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_operator'::regclass, oid, 0) FROM pg_operator WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_opclass'::regclass, oid, 0) FROM pg_opclass WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_opfamily'::regclass, oid, 0) FROM pg_opfamily WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_cast'::regclass, oid, 0) FROM pg_cast WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_trigger'::regclass, oid, 0) FROM pg_trigger WHERE oid >= 16384 AND NOT tgisinternal
	UNION ALL SELECT pg_describe_object('pg_event_trigger'::regclass, oid, 0) FROM pg_event_trigger WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_constraint'::regclass, oid, 0) FROM pg_constraint WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_namespace'::regclass, oid, 0) FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
	UNION ALL SELECT pg_describe_object('pg_rewrite'::regclass, oid, 0) FROM pg_rewrite WHERE oid >= 16384
	UNION ALL SELECT pg_describe_object('pg_policy'::regclass, oid, 0) FROM pg_policy WHERE oid >= 16384) x
WHERE what NOT LIKE '%pg_toast%'};

$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->safe_psql('bare', 'CREATE TABLE public.mine (id int PRIMARY KEY, stage text); CREATE EXTENSION leadscore; DROP EXTENSION leadscore; DROP SCHEMA leadscore');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->safe_psql('plain', 'CREATE TABLE public.mine (id int PRIMARY KEY, stage text)');
is($node->safe_psql('bare', $objects), $node->safe_psql('plain', $objects), 'created and dropped: nothing is left');

crm_database($node, 'crm', 100);
my $used = $node->safe_psql('crm', $objects);
like($used, qr/leadscore/, 'the extension is in use');
$node->safe_psql('crm', 'DROP EXTENSION leadscore CASCADE');
my $left = $node->safe_psql('crm', $objects);
is(join("\n", grep { /leadscore/ } split /\n/, $left), 'schema leadscore', 'DROP EXTENSION CASCADE leaves nothing with our name');
is($node->safe_psql('crm', q{SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal}), '0', 'nor a trigger');
is( $node->safe_psql('crm', q{
	SELECT count(*) FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass
	AND NOT EXISTS (SELECT 1 FROM pg_extension e WHERE e.oid = d.refobjid)}), '0', 'nor a dependency');
$node->safe_psql('crm', q{INSERT INTO crm.lead (lead_id, created_at, name, email, company, sector, country, source)
	VALUES (-1, now(), 'x', 'x', 'x', 'x', 'x', 'x'); UPDATE crm.lead SET name = 'y' WHERE lead_id = -1; DELETE FROM crm.lead WHERE lead_id = -1});
pass('the table can be written');

# drop, create and roll back in one session, with calls in between
my $out = psql_out($node, 'crm', q{
CREATE EXTENSION leadscore; SELECT leadscore.points(1) @ now();
DROP EXTENSION leadscore CASCADE;
CREATE EXTENSION leadscore; SELECT leadscore.points(2) @ now();
BEGIN; DROP EXTENSION leadscore CASCADE; ROLLBACK; SELECT leadscore.points(3) @ now();
DROP EXTENSION leadscore CASCADE;
BEGIN; CREATE EXTENSION leadscore; SELECT leadscore.points(4) @ now(); ROLLBACK;
SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('leadscore');
CREATE EXTENSION leadscore; SELECT leadscore.points(5) @ now();
});
is($out =~ s/\s+/ /gr, '1 2 3 4 0 5 ', 'dropped, created and rolled back in one session');
$node->stop;
done_testing();
