# History in partitions by month: moves are recorded where their date belongs, what
# is read, sealed and audited is the whole; and it survives dump and restore, in all
# the ways that pg_dump writes rows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('parts');
my $dir = $node->basedir;
$node->safe_psql('postgres', 'CREATE DATABASE one');
$node->safe_psql('one', q{
CREATE EXTENSION leadscore;
SELECT leadscore.create_pipeline('p');
SELECT leadscore.add_stage('p', 'a'), leadscore.add_stage('p', 'b'), leadscore.add_stage('p', 'c', 'won');
SELECT leadscore.add_transition('p', 'a', 'b'), leadscore.add_transition('p', 'b', 'c'), leadscore.add_transition('p', 'b', 'a');
SELECT leadscore.publish_pipeline('p');
CREATE TABLE lead (id int PRIMARY KEY, stage text DEFAULT 'a');
SELECT leadscore.enforce('lead', 'stage', 'p');
INSERT INTO lead SELECT g FROM generate_series(1, 100) g;
});

# the recipe of docs/stages.md, in months that moves are backdated to, in a session that has written before and goes on writing
my $session = $node->background_psql('one');
$session->query_safe(q{UPDATE lead SET stage = 'b' WHERE id = 1});
$node->safe_psql('one', q{
DO $$
DECLARE month timestamptz;
BEGIN
	FOR i IN 0 .. 12 LOOP
		month := timestamptz '2000-01-01' + i * interval '1 month';
		PERFORM leadscore.add_history_partition(month, month + interval '1 month', to_char(month, '"stage_history_"YYYY_MM')::name);
	END LOOP;
END $$;
-- one by hand
CREATE TABLE leadscore.stage_history_future PARTITION OF leadscore.stage_history FOR VALUES FROM ('2200-01-01') TO (MAXVALUE);
CREATE TRIGGER protect_truncate BEFORE TRUNCATE ON leadscore.stage_history_future FOR EACH STATEMENT EXECUTE FUNCTION leadscore.protect_history();
ALTER TABLE leadscore.stage_history_future ENABLE ALWAYS TRIGGER protect_truncate;
});
$session->query_safe(q{BEGIN; SELECT leadscore.backdate('2000-03-31 23:59:59.999999+00'); UPDATE lead SET stage = 'b' WHERE id = 2; SELECT leadscore.backdate('2000-04-01 00:00+00'); UPDATE lead SET stage = 'c' WHERE id = 2; COMMIT});
$session->query_safe(q{UPDATE lead SET stage = 'c' WHERE id = 1});
$node->safe_psql('one', q{
DO $$ BEGIN FOR i IN 3 .. 100 LOOP
	PERFORM leadscore.backdate(timestamptz '1999-12-25' + i * interval '3.7 days');
	UPDATE lead SET stage = 'b' WHERE id = i;
END LOOP; END $$;
SELECT leadscore.import_history('lead', '7', NULL, 'x', '2000-02-29');
DELETE FROM lead WHERE id = 100;
});

my $where = q{SELECT h.tableoid::regclass, count(*) FROM leadscore.stage_history h GROUP BY 1 ORDER BY 1};
my $misplaced = q{SELECT count(*) FROM leadscore.stage_history h
	WHERE h.tableoid::regclass::text IS DISTINCT FROM CASE WHEN at >= '2000-01-01' AND at < '2001-02-01' THEN to_char(at, '"leadscore.stage_history_"YYYY_MM') ELSE 'leadscore.stage_history_default' END};
is($node->safe_psql('one', $misplaced), '0', 'every row is in the partition of its date');
is($node->safe_psql('one', "SELECT count(*) FROM ($where) x"), '13', 'and many are used');
is($node->safe_psql('one', q{SELECT string_agg(to_stage || ' ' || tableoid::regclass, ', ' ORDER BY id) FROM leadscore.stage_history WHERE lead = '2'}),
	'a leadscore.stage_history_default, b leadscore.stage_history_2000_03, c leadscore.stage_history_2000_04', 'to the microsecond');
my $replay = q{SELECT count(*) FROM (SELECT DISTINCT ON (lead) lead, to_stage FROM leadscore.stage_history WHERE kind <> 'past' ORDER BY lead, id DESC) h
	FULL JOIN lead l ON l.id::text = h.lead WHERE h.to_stage IS DISTINCT FROM l.stage};
is($node->safe_psql('one', $replay), '0', 'history, replayed, gives the stages');
like($node->safe_psql('one', 'SELECT leadscore.attest()'), qr/^\d+:[0-9a-f]{64}$/, 'sealed');
is($node->safe_psql('one', 'SELECT * FROM leadscore.audit()'), '', 'audit finds nothing');
is($node->safe_psql('one', q{SELECT count(*) FROM leadscore.history WHERE lead = '2'}), '3', 'the view shows all partitions');

# a partition is barred as the whole is; what is missing in a sealed one is seen
foreach my $sql (q{UPDATE leadscore.stage_history_2000_03 SET reason = 'x'}, 'DELETE FROM leadscore.stage_history_2000_03', 'TRUNCATE leadscore.stage_history', 'TRUNCATE leadscore.stage_history_2000_03',
	'TRUNCATE leadscore.stage_history_default', 'UPDATE leadscore.stage_history SET id = DEFAULT',
	'INSERT INTO leadscore.stage_history_2000_03 OVERRIDING SYSTEM VALUE SELECT * FROM leadscore.stage_history',
	'INSERT INTO leadscore.stage_history OVERRIDING SYSTEM VALUE SELECT * FROM leadscore.stage_history')
{
	like(psql_out($node, 'one', $sql), qr/written by leadscore alone/, "refused: $sql");
}
is($node->safe_psql('one', q{BEGIN; DROP TABLE leadscore.stage_history_2000_03; SELECT DISTINCT finding FROM leadscore.audit() WHERE relation IS NULL; ROLLBACK}),
	'a sealed row of history was deleted', 'a partition that was dropped is seen');
like($node->safe_psql('one', q{BEGIN; ALTER TABLE leadscore.stage_history DISABLE TRIGGER ALL; SELECT count(*) FROM leadscore.audit() WHERE finding ~ 'protects'; ALTER TABLE leadscore.stage_history ENABLE TRIGGER ALL; SELECT count(*) FROM leadscore.audit(); ROLLBACK}),
	qr/^16\n0$/, 'ENABLE TRIGGER ALL makes them fire always again');
is($node->safe_psql('one', q{BEGIN; ALTER TABLE leadscore.stage_history_2000_03 DISABLE TRIGGER protect; SELECT finding FROM leadscore.audit(); ROLLBACK}),
	'the trigger that protects leadscore.stage_history_2000_03 is missing or disabled', 'and one that is not protected');

# without a default partition, a date that none takes is refused; a partition of another shape too
like(psql_out($node, 'one', q{BEGIN; DELETE FROM lead WHERE id = 1; DROP TABLE leadscore.stage_history_default; DELETE FROM lead WHERE id = 2}),
	qr/cannot drop table leadscore.stage_history_default/, 'the default partition belongs to the extension');
like(psql_out($node, 'one', q{BEGIN; ALTER TABLE leadscore.stage_history DETACH PARTITION leadscore.stage_history_default; DELETE FROM lead WHERE id = 2}),
	qr/no partition of leadscore.stage_history takes a move at/, 'no partition: refused');
like(psql_out($node, 'one', q{BEGIN; CREATE TABLE odd (LIKE leadscore.stage_history); ALTER TABLE odd DROP COLUMN reason; ALTER TABLE odd ADD reason text;
	ALTER TABLE leadscore.stage_history ATTACH PARTITION odd FOR VALUES FROM ('2190-01-01') TO ('2200-01-01'); DELETE FROM lead WHERE id = 2}),
	qr/must be an ordinary table with the same columns/, 'columns in another order: refused');

# dump and restore: whole, as INSERTs, parallel, schema and data apart
my $before = content('one');
my %how = (
	plain => [ [ 'pg_dump' ], [ 'psql' ] ],
	inserts => [ [ 'pg_dump', '--inserts' ], [ 'psql' ] ],
	column_inserts => [ [ 'pg_dump', '--column-inserts', '--rows-per-insert=7' ], [ 'psql' ] ],
	parallel => [ [ 'pg_dump', '-Fc' ], [ 'pg_restore', '-j4', '-e' ] ],
	root => [ [ 'pg_dump', '--load-via-partition-root' ], [ 'psql' ] ],
	apart => [ [ 'pg_dump', '-s' ], [ 'psql' ], [ 'pg_dump', '-a', '--disable-triggers' ], [ 'psql' ] ],
	apart_inserts => [ [ 'pg_dump', '-s' ], [ 'psql' ], [ 'pg_dump', '-a', '--disable-triggers', '--inserts' ], [ 'psql' ] ],
);
foreach my $mode (sort keys %how)
{
	my $db = "to_$mode";
	my @steps = @{ $how{$mode} };
	my $n = 0;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	while (my ($dump, $restore) = splice @steps, 0, 2)
	{
		my $file = "$dir/$mode" . $n++;
		my @to = ('-d', $node->connstr($db));
		$node->command_ok([ @$dump, '-d', $node->connstr('one'), '-f', $file ], "$mode: @$dump");
		$node->command_ok($restore->[0] eq 'psql' ? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', @to, '-f', $file ] : [ @$restore, @to, $file ], "$mode: @$restore");
	}
	is(content($db), $before, "$mode: partitions, rows and seals are back");
	is($node->safe_psql($db, 'SELECT * FROM leadscore.audit()'), '', "$mode: nothing to audit: every trigger fires always, every seal holds");
	like(psql_out($node, $db, q{INSERT INTO leadscore.stage_history OVERRIDING SYSTEM VALUE SELECT * FROM leadscore.stage_history}), qr/written by leadscore alone/, "$mode: and the history is closed");
	$node->safe_psql($db, q{UPDATE lead SET stage = 'a' WHERE id = 50});
	like(psql_out($node, $db, q{UPDATE lead SET stage = 'c' WHERE id = 50}), qr/cannot move from a to c/, "$mode: rules hold");
	is($node->safe_psql($db, $replay), '0', "$mode: moves go on where they were");
}
# rows of leads alone, with the triggers on: refused, not half taken
$node->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-s', '-d', $node->connstr('one'), '-f', "$dir/s" ], 'pg_dump -s');
$node->command_ok([ 'pg_dump', '-a', '-d', $node->connstr('one'), '-f', "$dir/a" ], 'pg_dump -a');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('bare'), '-f', "$dir/s" ], 'schema');
$node->command_fails([ 'psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('bare'), '-f', "$dir/a" ], 'data without --disable-triggers is refused');
is($node->safe_psql('bare', 'SELECT count(*) FROM lead'), '0', 'and nothing of it stays');

# a partition that is detached keeps its rows; the writer goes on
$node->safe_psql('one', 'ALTER TABLE leadscore.stage_history DETACH PARTITION leadscore.stage_history_2000_05');
$session->query_safe(q{UPDATE lead SET stage = 'a' WHERE id = 51});
$session->query_safe(q{BEGIN; SELECT leadscore.backdate('2000-05-05'); UPDATE lead SET stage = 'b' WHERE id = 51; COMMIT});
is($node->safe_psql('one', q{SELECT tableoid::regclass FROM leadscore.stage_history WHERE lead = '51' ORDER BY id DESC LIMIT 1}), 'leadscore.stage_history_default', 'rows then go to the default partition');
$session->quit;
$node->safe_psql('one', 'DROP EXTENSION leadscore CASCADE');
is($node->safe_psql('one', q{SELECT count(*) FROM pg_class WHERE relname LIKE 'stage_history%' AND relkind IN ('r', 'p')}), '1', 'partitions go with the extension, the detached one stays');
$node->stop;
done_testing();

sub content
{
	my $db = shift;
	return $node->safe_psql($db, q{SELECT h.tableoid::regclass, h.* FROM leadscore.stage_history h ORDER BY id, at}) . "\n" .
	  $node->safe_psql($db, 'SELECT * FROM leadscore.history_seal ORDER BY id') . "\n" . $node->safe_psql($db, 'SELECT * FROM lead ORDER BY id') . "\n" .
	  $node->safe_psql($db, q{SELECT i.indrelid::regclass, count(*) FROM pg_index i JOIN pg_inherits p ON p.inhrelid = i.indrelid WHERE p.inhparent = 'leadscore.stage_history'::regclass GROUP BY 1 ORDER BY 1});
}
