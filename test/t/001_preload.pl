# Listed in shared_preload_libraries, the library starts with the server, where
# no database is open yet; LOAD of it can be repeated.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('preload');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'leadscore'");
$node->start;

is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'),
	'leadscore', 'the server runs with the library preloaded');
is( $node->safe_psql(
		'postgres', q{
	LOAD 'leadscore';
	CREATE EXTENSION leadscore;
	LOAD 'leadscore';
	SELECT extversion <> '' FROM pg_extension WHERE extname = 'leadscore'}),
	't', 'LOAD twice, and the extension works');
is( $node->safe_psql(
		'postgres', q{
	DROP EXTENSION leadscore;
	CREATE EXTENSION leadscore;
	SELECT count(*) FROM pg_extension WHERE extname = 'leadscore'}),
	'1', 'dropped and created again in one session');
$node->stop;
done_testing();
