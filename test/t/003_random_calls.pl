# Every function, aggregate and operator of the extension is called with random
# typed arguments: NULL, extremes, NaN, empty, huge, wrong lengths. Whatever they
# answer, it is no internal error (XX000) and the server lives. The calls are made
# from the catalog, so that new functions are tested without being listed here.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = seed();
my $rounds = $ENV{LS_ROUNDS} // 40;		# calls of each function
srand($seed);

my $node = new_node('random', "statement_timeout = '10s'", "lock_timeout = '5s'");
crm_database($node, 'crm', 200);

my @text = ('NULL', map { "'$_'" } '', ' ', '1', '42', '-1', 'lead', 'mql', 'client', 'lifecycle', 'b2b', 'crm.lead', 'stage',
	'2 days', 'true', 'NaN', '{}', '{"a": 1}', 'é', 'a"b', "it''s", 'x; DROP TABLE crm.lead', 'points > 0', '1 = 1', '10', 'SELECT 1', '15 | 3@2026-01-01T00:00:00Z/14d');
push @text, "repeat('x', 100000)", "repeat('(', 5000)", "chr(127)", "E'\\\\x00'", "repeat('a', 64)", "U&'\\20AC\\0301'";
my @times = ('NULL', "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'", "'epoch'", "'2026-01-01 12:00+00'", "now()", "'9999-12-31'", "'0001-01-01'");
my %value = (
	text => \@text, varchar => \@text, name => [ 'NULL', map { "'$_'" } '', 'lead', 'lead_id', 'stage', 'nosuch', 'a"b' ],
	cstring => [ map { "'$_'" } '', 'lead', '1', '15@2026-01-31T10:00:00Z/14d[0,100]', 'x' ],
	bool => [ 'NULL', 'true', 'false' ],
	int2 => [ 'NULL', 0, 1, -1, 32767, -32768 ],
	int4 => [ 'NULL', 0, 1, -1, 2, 5, 64, 100, 2147483647, -2147483648 ],
	int8 => [ 'NULL', 0, 1, -1, 9223372036854775807, '-9223372036854775807' ],
	oid => [ 'NULL', 0, 1, 4294967295 ],
	float4 => [ 'NULL', 0, "'NaN'", "'Infinity'", 1.5 ],
	float8 => [ 'NULL', 0, "'-0'", 1, -1, 0.5, 0.95, 100, "'NaN'", "'Infinity'", "'-Infinity'", '1e308', '-1e308', '5e-324' ],
	numeric => [ 'NULL', 0, 1, "'NaN'", "'Infinity'", '1e300', -5 ],
	date => [ 'NULL', "'infinity'", "'2026-01-01'", "'4713-01-01 BC'" ],
	timestamptz => \@times, timestamp => \@times,
	interval => [ 'NULL', "'0'", "'1 us'", "'1 second'", "'14 days'", "'1 mon'", "'-1 day'", "'1000 years'", "'178000000 years'", "'-178000000 years'", "'1 mon -30 days'", "'90 days'" ],
	json => [ 'NULL', "'{}'", "'[]'", "'null'" ],
	jsonb => [ 'NULL', "'{}'", "'[]'", "'null'", "'1'", "'{\"model\": \"x\"}'", "'{\"stages\": [1]}'", "'{\"budget\": \"nosuch\"}'" ],
	regclass => [ 'NULL', '0', "'crm.lead'", "'crm.interaction'", "'pg_class'", "'pg_class_oid_index'", 4294967295 ],
	regtype => [ 'NULL', '0', "'text'" ], regproc => [ 'NULL', 0 ], regrole => [ 'NULL', 0 ],
	bytea => [ 'NULL', "''", "'\\x00'", "'\\x0101'" ],
	char => [ 'NULL', "'a'" ], tid => [ "'(0,1)'" ], uuid => [ 'NULL', "gen_random_uuid()" ],
	stage => [ 'NULL', map { "'$_'" } qw(lead mql sql prospect client lost disqualified) ],
	score => [ 'NULL', map { "'$_'" } '0', '15[,50]', '-3', '87.5@2026-01-31T10:00:00Z/14d[0,100]', '1e308', '-1e308@2026-01-01T00:00:00Z/1s',
		'15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]', '1 | 2 | 3 | 4 | 5 | 6 | 7 | 8' ],
	record => [ 'NULL', 'ROW(1, 2)', "ROW('a'::text)" ],
);

sub literal
{
	my $type = shift;
	if ($type =~ /^(.*)\[\]$/ || $type =~ /^_(.*)$/)
	{
		my $of = $1;
		my $kind = int(rand(6));
		return "NULL::$of\[]" if $kind == 0;
		return "'{}'::$of\[]" if $kind == 1;
		my $n = $kind == 2 ? 70 : 1 + int(rand(4));
		my $list = join(', ', map { literal($of) } 1 .. $n);
		return "ARRAY[[$list], [$list]]::$of\[]" if $kind == 3;
		return "ARRAY[$list]::$of\[]";
	}
	my $set = $value{$type} // [ 'NULL' ];
	my $v = $set->[ int(rand(@$set)) ];
	return "($v)::" . ($type =~ /^(stage|score)$/ ? "leadscore.$type" : $type eq 'char' ? '"char"' : $type);
}
my @any = qw(int4 text float8 timestamptz stage bool);
sub concrete
{
	my ($type, $any) = @_;
	return $any if $type =~ /^any(element|nonarray|enum|compatible|)$/;
	return "$any\[]" if $type =~ /^any(compatible)?array$/;
	return $type;
}

# what may be called, with its argument types
my $list = $node->safe_psql(
	'crm', q{
SELECT p.oid::regprocedure, p.prokind, p.proretset, p.provariadic <> 0, p.proname,
	coalesce((SELECT string_agg(t.typname, ',' ORDER BY a.n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a(oid, n) JOIN pg_type t ON t.oid = a.oid), '')
FROM pg_proc p
WHERE p.pronamespace = 'leadscore'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND NOT 'internal'::regtype = ANY (p.proargtypes)
ORDER BY 1});
my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, $list;
cmp_ok(scalar(@functions), '>', 10, 'functions to call: ' . scalar(@functions));

my ($calls, $answers) = (0, 0);
my @bad;
foreach my $f (@functions)
{
	my ($sig, $kind, $set, $variadic, $name, $types) = @$f;
	my $sql = "\\set VERBOSITY verbose\n";
	foreach (1 .. $rounds)
	{
		my $any = $any[ int(rand(@any)) ];
		my @args = map { literal(concrete($_, $any)) } split /,/, $types;
		$args[-1] = "VARIADIC $args[-1]" if $variadic eq 't' && @args;
		my $call = "leadscore.$name(" . join(', ', @args) . ")";
		if ($kind eq 'a')
		{
			my @c = map { "a$_" } 1 .. @args;
			my @rows = map { '(' . join(', ', map { literal(concrete($_, $any)) } split /,/, $types) . ')' } 1 .. 3;
			$call = "SELECT leadscore.$name(" . ($variadic eq 't' && @c ? join(', ', @c[ 0 .. $#c - 1 ], "VARIADIC $c[-1]") : join(', ', @c))
			  . ") FROM (VALUES " . join(', ', @rows) . ") v(" . join(', ', @c) . ")";
		}
		elsif ($kind eq 'p') { $call = "CALL $call"; }
		elsif ($set eq 't') { $call = "SELECT count(*) FROM (SELECT * FROM $call LIMIT 50) x"; }
		else { $call = "SELECT $call IS NULL"; }
		$calls++;
		$sql .= "BEGIN;\n$call;\nROLLBACK;\n";
	}
	my $out = psql_out($node, 'crm', $sql);
	$answers++ while $out =~ /^(?!ERROR)\S/mg;
	push @bad, "$sig: $1" while $out =~ /((?:ERROR:  XX000|FATAL:|PANIC:|server closed the|was lost)[^\n]*)/g;
	last if $out =~ /server closed|connection to server was lost/;
}
is(join("\n", @bad), '', "$calls random calls of " . scalar(@functions) . " functions (seed $seed): no internal error");
cmp_ok($answers, '>', 0, 'some calls were answered');

# functions of "internal" cannot be called from SQL at all
my $internal = $node->safe_psql(
	'crm', q{
SELECT p.proname, p.pronargs FROM pg_proc p
WHERE p.pronamespace = 'leadscore'::regnamespace AND 'internal'::regtype = ANY (p.proargtypes)});
my @refused;
foreach (split /\n/, $internal)
{
	my ($name, $n) = split /\|/;
	my $out = psql_out($node, 'crm', "SELECT leadscore.$name(" . join(', ', ('NULL') x $n) . ")");
	push @refused, $name unless $out =~ /ERROR/ || $out =~ /^\s*$/;
}
is("@refused", '', 'functions that take "internal" answer nothing when called from SQL');

is($node->safe_psql('crm', 'SELECT count(*) FROM crm.lead'), '200', 'the server lives and the data is there');
$node->stop;
done_testing();
