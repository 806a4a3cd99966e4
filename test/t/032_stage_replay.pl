# Law L7 on a long log: moves of leads made at random, replayed one UPDATE each in the
# order of the log, must leave a history equal to the log, and every lead in its last stage.
# LS_SOAK=1: 1,000,000 moves instead of 20,000. LS_SEED sets the seed.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use LeadscoreTest;

my $seed = seed();
my $leads = $ENV{LS_SOAK} ? 10000 : 200;
my $random = $seed % 1000 / 1000;
my $node = new_node('replay');

# eight stages in a ring; from each, one, two or three steps ahead are allowed
$node->safe_psql('postgres', qq{
CREATE EXTENSION leadscore;
ALTER DATABASE postgres SET search_path = public, leadscore;
ALTER DATABASE postgres SET synchronous_commit = off;
SET search_path = public, leadscore;
SELECT create_pipeline('ring');
SELECT add_stage('ring', 's' || i, entry => true) FROM generate_series(0, 7) i;
SELECT add_transition('ring', 's' || i, 's' || (i + step) % 8) FROM generate_series(0, 7) i, generate_series(1, 3) step;
SELECT publish_pipeline('ring');

-- the log: for each lead where it begins and 100 moves, then all shuffled together in time
SELECT setseed($random);
CREATE TABLE log AS
SELECT row_number() OVER (ORDER BY k, random()) AS n, lead, k, 's' || place % 8 AS stage
FROM (SELECT lead, k, sum(CASE WHEN k = 0 THEN floor(random() * 8) ELSE 1 + floor(random() * 3) END::int)
				OVER (PARTITION BY lead ORDER BY k) AS place
	  FROM generate_series(1, $leads) lead, generate_series(0, 100) k) walk;
CREATE TABLE lead (id int PRIMARY KEY, stage text);
SELECT enforce('lead', 'stage', 'ring');
INSERT INTO lead SELECT lead, stage FROM log WHERE k = 0 ORDER BY n;
});

my $start = time;
$node->safe_psql('postgres', q{
DO $$
DECLARE move record;
BEGIN
	FOR move IN SELECT lead, stage FROM log WHERE k > 0 ORDER BY n LOOP
		UPDATE lead SET stage = move.stage WHERE id = move.lead;
	END LOOP;
END $$});
note sprintf("%d moves in %.1f s, seed %d", $leads * 100, time - $start, $seed);

my $expected = q{SELECT lead::text AS lead, lag(stage) OVER (PARTITION BY lead ORDER BY k) AS from_stage, stage AS to_stage,
	row_number() OVER (PARTITION BY lead ORDER BY k) AS nth FROM log};
my $history = q{SELECT lead, from_stage, to_stage, row_number() OVER (PARTITION BY lead ORDER BY id) AS nth
	FROM leadscore.stage_history WHERE relation = 'lead'::regclass};
is($node->safe_psql('postgres', "SELECT count(*) FROM ($history) h"), $leads * 101, 'every move is in the history');
is($node->safe_psql('postgres', "SELECT count(*) FROM ($expected EXCEPT $history) x"), 0, 'log minus history: nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM ($history EXCEPT $expected) x"), 0, 'history minus log: nothing');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM lead l
	JOIN (SELECT DISTINCT ON (lead) lead, stage FROM log ORDER BY lead, k DESC) last ON last.lead = l.id WHERE last.stage <> l.stage}),
	0, 'every lead is where its log ends');

# a step the ring does not have is refused in the middle of it all
my ($ret, $out, $err) = $node->psql('postgres', q{UPDATE lead SET stage = 's' || (substr(stage, 2)::int + 4) % 8 WHERE id = 1});
like($err, qr/lead 1 cannot move/, 'four steps at once are refused');
is($node->safe_psql('postgres', "SELECT count(*) FROM ($history) h"), $leads * 101, 'and leave no history');
$node->stop;
done_testing();
