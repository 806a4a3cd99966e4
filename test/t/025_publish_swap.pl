# Publishing exchanges the files of the table of scores and of its indexes: what is
# there afterwards is whole, by every index, after a rollback, in a savepoint, twice in
# a transaction, after a crash with files that were never logged, on a standby and in a
# dump; the table keeps its identity, and nothing else is left.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $leads = $ENV{LS_SWAP_LEADS} // 20000;

sub make_models
{
	my ($node) = @_;
	$node->safe_psql('postgres', "CREATE EXTENSION leadscore; ALTER DATABASE postgres SET search_path = public, leadscore; ALTER DATABASE postgres SET client_min_messages = warning");
	$node->safe_psql('postgres', 'CREATE EXTENSION amcheck') if amcheck($node);
	$node->safe_psql('postgres', qq{
		SELECT setseed(0.25);
		CREATE TABLE lead (id int PRIMARY KEY, size int);
		INSERT INTO lead SELECT g, floor(random() * 1000)::int FROM generate_series(1, $leads) g;
		CREATE TABLE event (lead int, kind text, at timestamptz);
		INSERT INTO event SELECT floor(random() * $leads)::int + 1, 'open', timestamptz '2026-01-01' + random() * interval '300 days' FROM generate_series(1, $leads * 2) g;
		CREATE INDEX ON event (lead);
		-- keys long enough for the TOAST table, which the primary key has to read
		CREATE TABLE name (id text PRIMARY KEY, size int);
		INSERT INTO name SELECT (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 70) i), g FROM generate_series(1, 300) g;
		CREATE TABLE name_event AS SELECT id AS lead, 'open' AS kind, timestamptz '2026-01-01' + size * interval '1 hour' AS at FROM name;
		CREATE INDEX ON name_event (lead);
		VACUUM ANALYZE;
		SELECT create_model('m', 'lead', 'event', 'lead', 'at'), create_model('t', 'name', 'name_event', 'lead', 'at');
		SELECT add_component(m, 'fit'), add_component(m, 'slow', half_life => '30 days') FROM unnest(ARRAY['m', 't']) m;
		SELECT add_rule(m, 'fit', 'size', 'size > 10', 'size / 50.0'), add_rule(m, 'slow', 'open', \$\$kind = 'open'\$\$, 5) FROM unnest(ARRAY['m', 't']) m;
		CREATE ROLE reader;
		SELECT publish('m'), publish('t');
		GRANT SELECT ON leadscore.score_m TO reader;
		-- a further index comes along; one that is not plain has all of them made the other way
		SELECT add_rule(m, 'fit', 'more', 'size > 500', 100) FROM unnest(ARRAY['m', 't']) m});
	return;
}

sub amcheck
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'});
}

# what is wrong with the stored scores: nothing, one hopes
sub whole
{
	my ($node, $when, $writable) = @_;
	foreach my $model ('m', 't')
	{
		my $score = "leadscore.score_$model";
		my $heap = q{SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;};
		my $index = q{SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off;};
		my $key = "SELECT count(*), md5(string_agg(lead || score::text || version, ',')) FROM (SELECT * FROM $score WHERE lead IS NOT NULL ORDER BY lead) s";
		my $rank = "SELECT count(*), md5(string_agg(d::text, ',')) FROM (SELECT score <~> '2026-11-01' AS d FROM $score ORDER BY score <~> '2026-11-01') s";
		like($node->safe_psql('postgres', "$index EXPLAIN $rank"), qr/score_${model}_score_idx/, "$when: $model is ranked by the index") if $when eq 'published';
		is($node->safe_psql('postgres', "$index $key; $rank"), $node->safe_psql('postgres', "$heap $key; $rank"), "$when: $model is the same by its indexes");
		is($node->safe_psql('postgres', "SELECT count(*) FROM verify('$model')"), '0', '... and agrees with the events') if $writable;
		is($node->safe_psql('postgres', "SELECT bt_index_parent_check('${score}_pkey', true)"), '', '... and the primary key has every row') if amcheck($node) && $writable;
		is($node->safe_psql('postgres', "SELECT count(*) FROM verify_heapam('$score', check_toast => true)"), '0', '... and the heap is sound') if amcheck($node) && $writable;
	}
	is($node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relname LIKE 'pg\_temp\_%' OR relrewrite <> 0}), '', "$when: nothing is left over");
	is($node->safe_psql('postgres', q{SELECT relname FROM pg_class t WHERE relkind = 't' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltoastrelid = t.oid AND t.relname = 'pg_toast_' || c.oid)}),
		'', '... and TOAST tables have the names of their tables');
	return;
}

# all that stays; the columns after the identity say that the files do not
sub identity
{
	my ($node) = @_;
	return $node->safe_psql('postgres', q{
		SELECT c.oid, relname, relowner, relacl, relreplident, reltablespace, relpersistence, indisprimary, indisvalid, indcheckxmin
		FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE relname LIKE 'score\_%' AND relnamespace = 'leadscore'::regnamespace ORDER BY 1;
		SELECT conname, conindid FROM pg_constraint WHERE connamespace = 'leadscore'::regnamespace ORDER BY 1, 2});
}
my $files = q{SELECT string_agg(relfilenode::text, ' ' ORDER BY oid) FROM pg_class WHERE relname LIKE 'score\_m%' AND relnamespace = 'leadscore'::regnamespace};
my $content = q{SELECT md5(string_agg(s::text, ',' ORDER BY lead)) FROM leadscore.score_m s; SELECT md5(string_agg(s::text, ',' ORDER BY lead)) FROM leadscore.score_t s};

foreach my $level ('minimal', 'replica')
{
	my $node = PostgreSQL::Test::Cluster->new($level);
	$node->init(allows_streaming => $level eq 'replica');
	$node->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off\nwal_level = $level\n" . ($level eq 'minimal' ? "max_wal_senders = 0\n" : ''));
	$node->start;
	make_models($node);
	whole($node, 'first', 1);
	my $standby;
	if ($level eq 'replica')
	{
		$node->backup('base');
		$standby = PostgreSQL::Test::Cluster->new('standby');
		$standby->init_from_backup($node, 'base', has_streaming => 1);
		$standby->start;
	}
	my ($identity, $before, $old) = map { $node->safe_psql('postgres', $_) } ('SELECT 1', $files, $content);
	$identity = identity($node);

	$node->safe_psql('postgres', q{BEGIN; SELECT publish('m'), publish('t'); ROLLBACK});
	$node->safe_psql('postgres', q{BEGIN; SAVEPOINT s; SELECT publish('m'), publish('t'); ROLLBACK TO s; SELECT count(*) FROM hottest('m'); COMMIT});
	is($node->safe_psql('postgres', "$files; $content"), "$before\n$old", 'rolled back: the same files with the same scores');
	whole($node, 'rolled back', 1);

	my $hold = q{BEGIN; DECLARE c CURSOR FOR SELECT * FROM leadscore.score_m; FETCH c; SELECT publish('m')};
	my ($ret, $out, $err) = $node->psql('postgres', $hold);
	like($err, qr/because it is being used by active queries in this session/, 'not under a cursor of its own');

	$node->safe_psql('postgres', q{SELECT publish('m'), publish('t')});
	$node->kill9;
	foreach (1 .. 60)
	{
		last if run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start' ]);
		sleep 1;
	}
	$node->_update_pid(1);
	isnt($node->safe_psql('postgres', $content), $old, "wal_level = $level, killed at once: what was published is there");
	isnt($node->safe_psql('postgres', $files), $before, '... in other files');
	is(identity($node), $identity, '... of the same tables and indexes');
	whole($node, 'published', 1);

	# several exchanges in a transaction, one of them taken back, with writes between
	$node->safe_psql('postgres', q{
		BEGIN; SELECT publish('m'); INSERT INTO event SELECT id, 'open', '2026-10-01' FROM lead WHERE id < 50;
		SAVEPOINT s; SELECT publish('m'); SELECT rescore('t'); INSERT INTO event SELECT id, 'open', '2026-10-02' FROM lead WHERE id < 60; ROLLBACK TO s;
		UPDATE lead SET size = 700 WHERE id < 20; SELECT rescore('m'); SELECT rescore('m'); SELECT rescore('t');
		INSERT INTO event SELECT id, 'open', '2026-10-03' FROM lead WHERE id < 70; COMMIT});
	$node->stop('immediate');
	$node->start;
	whole($node, 'several times in a transaction', 1);

	# indexes of others: a plain one comes along, any other has all made anew
	$node->safe_psql('postgres', q{CREATE INDEX plain ON leadscore.score_m (version) INCLUDE (lead) WITH (fillfactor = 50); SELECT rescore('m')});
	is($node->safe_psql('postgres', q{SET enable_seqscan = off; SELECT count(*) = (SELECT count(*) FROM lead) FROM leadscore.score_m WHERE version > 0}), 't', 'a further index');
	$node->safe_psql('postgres', q{CREATE INDEX odd ON leadscore.score_m ((lead % 7)) WHERE lead > 100; SELECT rescore('m')});
	is($node->safe_psql('postgres', q{SET enable_seqscan = off; SELECT count(*) = (SELECT count(*) FROM lead WHERE id > 100 AND id % 7 = 3) FROM leadscore.score_m WHERE lead % 7 = 3 AND lead > 100}), 't', 'a partial one');
	whole($node, 'further indexes', 1);
	if (amcheck($node))
	{
		is($node->safe_psql('postgres', q{SELECT bt_index_parent_check(c, true) FROM unnest(ARRAY['leadscore.plain', 'leadscore.odd']::regclass[]) c}), "\n", 'all rows are in them');
	}
	$node->safe_psql('postgres', q{VACUUM (FREEZE, ANALYZE); INSERT INTO event SELECT id, 'open', '2026-10-04' FROM lead WHERE id < 80});
	whole($node, 'after vacuum', 1);

	if ($standby)
	{
		$node->wait_for_catchup($standby);
		whole($standby, 'standby', 0);
		is($standby->safe_psql('postgres', $content), $node->safe_psql('postgres', $content), 'the standby has the same scores');
		$standby->stop;
		my $dump = $node->basedir . '/dump.sql';
		$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'it can be dumped');
		$node->safe_psql('postgres', 'CREATE DATABASE again');
		$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('again'), '-f', $dump ], '... and restored');
		is($node->safe_psql('again', $content), $node->safe_psql('postgres', $content), '... with the same scores');
	}
	$node->stop;
}
done_testing();
