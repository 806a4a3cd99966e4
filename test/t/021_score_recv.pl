# The binary input of score against hostile bytes. A client may send anything;
# COPY BINARY does so here, with crafted files: every truncation of a set of
# values, every other value of every single byte, bytes too many, random bytes.
# Each must be refused with 22P03, or be the one binary form of another valid
# score: then it must come back as the same bytes, and its text as the same score.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{LS_SEED} // time() % 1_000_000;
note "LS_SEED=$seed";
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('score_recv');
$node->init;
$node->append_conf('postgresql.conf', 'fsync = off');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION leadscore');

# the binary forms to start from, as the server sends them
my @start = map { pack 'H*', $_ } split /\n/, $node->safe_psql(
	'postgres', q{
	SELECT encode(leadscore.score_send(s::leadscore.score), 'hex') FROM (VALUES
		('1'), ('-2.5[0,]'), ('0@2026-01-31/14d'),
		('15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]'),
		('1.7976931348623157e308@0001-01-01/1s | 5e-324@9999-12-31T23:59:59.999999Z/365250d[-1,1] total[-5,]')) AS x(s)});
is(scalar @start, 5, 'binary forms to start from');

my @cases;
for my $bytes (@start)
{
	push @cases, substr($bytes, 0, $_) for 0 .. length($bytes) - 1;
	push @cases, $bytes . chr($_) for 0, 1, 255;
	push @cases, $bytes . ("\0" x 8), $bytes . $bytes;
	for my $i (0 .. length($bytes) - 1)
	{
		# every other value of the byte; in the last, which is like the one before, every bit
		for my $flip ($bytes eq $start[-1] ? map { 1 << $_ } 0 .. 7 : 1 .. 255)
		{
			my $copy = $bytes;
			substr($copy, $i, 1) = chr(ord(substr($copy, $i, 1)) ^ $flip);
			push @cases, $copy;
		}
	}
}
# random heads with random bodies of the length that the head implies, or not
for (1 .. 3000)
{
	my $n = 1 + int rand 8;
	my ($head, $fields) = (($n | int(rand 4) << 4), 0);
	$fields += ($head >> 4 & 1) + ($head >> 5 & 1);
	my $bytes = chr(1) . chr($head);
	for (1 .. $n)
	{
		my $flags = int rand 8;
		$bytes .= chr $flags;
		$fields += 1 + ($flags & 1 ? 2 : 0) + ($flags >> 1 & 1) + ($flags >> 2 & 1);
	}
	$fields += int(rand 3) - 1 if rand() < 0.1;
	$bytes .= pack 'd>', (rand() - 0.5) * 10**int(rand 300) for 1 .. $fields;
	push @cases, $bytes;
}
note scalar(@cases) . ' crafted values';

# one COPY BINARY file for each: signature, flags, extension, a row of one field, trailer
my $dir = PostgreSQL::Test::Utils::tempdir();
my $list = "$dir/list";
open my $out, '>', $list or die;
for my $i (0 .. $#cases)
{
	open my $file, '>:raw', "$dir/$i" or die;
	print $file "PGCOPY\n\xff\r\n\0", pack('NN', 0, 0), pack('n', 1), pack('N', length $cases[$i]), $cases[$i], pack('n', 0xffff);
	close $file;
	print $out "$i\t\\\\x", unpack('H*', $cases[$i]), "\n";
}
close $out;

my $pid = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $answer = $node->safe_psql(
	'postgres', qq{
	CREATE TABLE crafted (id int PRIMARY KEY, bytes bytea, refusal text);
	COPY crafted (id, bytes) FROM '$list';
	CREATE TABLE accepted (s leadscore.score, id int DEFAULT current_setting('crafted.id')::int);
	DO \$\$
	DECLARE c record;
	BEGIN
		FOR c IN SELECT id FROM crafted ORDER BY id LOOP
			BEGIN
				PERFORM set_config('crafted.id', c.id::text, true);
				EXECUTE format('COPY accepted (s) FROM %L (FORMAT binary)', '$dir/' || c.id);
			EXCEPTION WHEN others THEN
				UPDATE crafted SET refusal = SQLSTATE || ' ' || SQLERRM WHERE id = c.id;
			END;
		END LOOP;
	END \$\$;
	SELECT count(*) = ${\scalar @cases} FROM crafted;
	SELECT count(*) FROM crafted c WHERE (refusal IS NULL) <> EXISTS (SELECT 1 FROM accepted a WHERE a.id = c.id);
	SELECT coalesce(string_agg(DISTINCT refusal, ', '), '') FROM crafted WHERE refusal <> '22P03 invalid binary form of type leadscore.score';
	SELECT count(*) FROM accepted JOIN crafted USING (id) WHERE leadscore.score_send(s) <> bytes;
	SELECT count(*) FROM accepted WHERE s::text::leadscore.score OPERATOR(leadscore.<>) s OR (s OPERATOR(leadscore.@) '2026-01-01') IS NULL;
	SELECT count(*) > 5000, min(octet_length(bytes)) FROM accepted JOIN crafted USING (id);
	SELECT count(*) > 3000 FROM crafted WHERE refusal IS NOT NULL;});
is($answer, "t\n0\n\n0\n0\nt|11\nt",
	'every crafted value is refused with 22P03, or is the form of a valid score');

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
	$pid, 'the server did not go down');
my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC|TRAP/, 'nor did any backend');

is( $node->safe_psql(
		'postgres', q{
	SELECT count(*) FROM crafted WHERE refusal IS NULL AND octet_length(bytes) < 11}),
	'0', 'nothing shorter than the shortest score was accepted');
$node->stop;
done_testing();
