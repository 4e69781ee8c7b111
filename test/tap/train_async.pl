# wait => false: a leader of its own, under the caller's role, with no
# snapshot and no lock while it computes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node('async', "max_worker_processes = 16\n");
my ($rc, $out, $err);

sub finished
{
	my ($model, $version) = @_;
	return wait_until(20, sub {
		return $node->safe_psql('postgres',
			"SELECT count(*) FROM recsys_models WHERE model = '$model' AND version = $version") eq '1';
	});
}

sub problem_of
{
	my ($model) = @_;
	wait_until(10, sub {
		return $node->safe_psql('postgres',
			"SELECT count(*) FROM recsys_progress WHERE model = '$model' AND problem IS NOT NULL") eq '1';
	});
	return $node->safe_psql('postgres',
		"SELECT problem FROM recsys_progress WHERE model = '$model'");
}

# the same as by waiting
$node->safe_psql('postgres', q{
	SELECT recsys_train('ratings', 'sync', preset => 'tfrs', dim => 8)});
is($node->safe_psql('postgres', q{
	SELECT model, version IS NULL, status FROM recsys_train('ratings', 'async',
		preset => 'tfrs', dim => 8, wait => false)}),
	'async|t|training', 'answers at once');
ok(finished('async', 1), 'is there some time later');
is(digest($node, 'async'), digest($node, 'sync'), 'with the same bytes');
ok(leftovers_gone($node, 2), 'and no leader remains');

# who waits hears of a ranking stage that is no better than means
($rc, $out, $err) = $node->psql('postgres', q{
	SELECT recsys_train('ratings', 'worse', stages => '{ranking}', epochs => 1,
		options => '{"ranking_loss": "mse", "max_rating": 1000000}', learning_rate => 0.5)});
like($err, qr/NOTICE:  ranking: held-out RMSE is [0-9.e+]+, that of user and item means [0-9.]+\nHINT/, 'NOTICE');
# and who does not finds what was told with the model, as who does
my $telling = q{SELECT recsys_train('ratings', 'MODEL', stages => '{ranking}', epochs => 1, items => 'things',
	options => '{"ranking_loss": "mse", "max_rating": 1000000, "alpha0": 1}', learning_rate => 0.5, wait => WAIT)};
$node->safe_psql('postgres', q{CREATE TABLE things AS
	SELECT i AS item_id, i % 3 AS kind, 1 AS same, point(i, i) AS place FROM generate_series(0, 700) i});
for my $wait (qw(true false))
{
	$node->safe_psql('postgres', $telling =~ s/MODEL/told_$wait/r =~ s/WAIT/$wait/r);
	ok(finished("told_$wait", 1), "wait => $wait");
}
my $told = q{SELECT string_agg(n, E'\n') FROM recsys_models, unnest(notices) n WHERE model = };
is($node->safe_psql('postgres', "$told 'told_false'"), $node->safe_psql('postgres', "$told 'told_true'"),
	'the same notices');
my $notices = $node->safe_psql('postgres', "$told 'told_false'");
like($notices, qr/$_/, 'among them ' . $_)
  for ('taking users from column "user_id"', 'column "place" of type point is no feature',
	'feature "same" says nothing', 'take no alpha0\. loss and ranking_loss', 'held-out RMSE');
$node->safe_psql('postgres', q{SELECT recsys_drop(m) FROM unnest(ARRAY['worse', 'told_true', 'told_false']) m; DROP TABLE things});
ok(leftovers_gone($node, 2), 'no leader remains');

# it is a session of its own
($rc, $out, $err) = $node->psql('postgres', q{
	BEGIN;
	SELECT status FROM recsys_train('ratings', 'async', preset => 'tfrs', dim => 8, wait => false);
	CREATE TABLE written ();
	SELECT status FROM recsys_train('ratings', 'async2', preset => 'tfrs', dim => 8, wait => false);
	ROLLBACK});
is($out, "training\ntraining", 'starts in a transaction');
my @warnings = $err =~ /WARNING:  the training does not see what this transaction has written/g;
is(scalar(@warnings), 1, 'and warns of what is not committed');
ok(finished('async', 2) && finished('async2', 1), 'ROLLBACK does not undo it');
$node->safe_psql('postgres', q{SELECT recsys_drop('async2')});
ok(leftovers_gone($node, 2), 'no leader remains');

# a role that may not log in trains as itself
$node->safe_psql('postgres', q{
	CREATE ROLE trainer NOLOGIN;
	GRANT SELECT ON ratings TO trainer;
	CREATE SCHEMA trainer AUTHORIZATION trainer;
	CREATE ROLE clerk LOGIN IN ROLE trainer;
	CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	CREATE VIEW mine AS SELECT user_id, item_id, rating FROM ratings;
	GRANT SELECT ON mine TO trainer});
$node->safe_psql('postgres', q{
	SET ROLE trainer;
	SELECT recsys_train('ratings', 'trainer.m', preset => 'tfrs', dim => 8, wait => false)});
ok(finished('m', 1), 'SET ROLE to a role without LOGIN');
is($node->safe_psql('postgres',
		q{SELECT owner FROM recsys_models WHERE model = 'm'}),
	'trainer', 'which owns the model');
is($node->safe_psql('postgres', q{
	SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname ~ '^m_'}),
	'trainer', 'and all its tables');
# what runs in the leader cannot become the session's user
$node->safe_psql('postgres', q{
	CREATE FUNCTION trainer.climb(int) RETURNS int LANGUAGE plpgsql AS
		$$ BEGIN RESET ROLE; RESET SESSION AUTHORIZATION; RETURN $1; END $$;
	ALTER FUNCTION trainer.climb(int) OWNER TO trainer;
	CREATE VIEW trainer.trap AS SELECT trainer.climb(user_id) AS user_id, item_id FROM public.ratings;
	ALTER VIEW trainer.trap OWNER TO trainer});
$node->safe_psql('postgres', q{
	SET ROLE trainer;
	SELECT recsys_train('trainer.trap', 'trainer.t', preset => 'tfrs', dim => 8, wait => false)});
like(problem_of('t'), qr/cannot set parameter "(role|session_authorization)"/,
	'a view cannot reset the role');
# failures are told
$node->safe_psql('postgres', q{REVOKE SELECT ON ratings FROM trainer});
$node->safe_psql('postgres', q{
	SET ROLE trainer;
	SELECT recsys_train('ratings', 'trainer.m', preset => 'tfrs', dim => 8, wait => false)});
like(problem_of('m'), qr/permission denied for table ratings/, 'a failure is shown');
is($node->safe_psql('postgres',
		q{SELECT version FROM recsys_models WHERE model = 'm'}), '1', 'the model stays');
$node->safe_psql('postgres', q{
	CREATE TABLE huge AS SELECT user_id, item_id, 4e30::real AS rating FROM ratings LIMIT 100;
	SELECT recsys_train('huge', 'huge', wait => false)});
like(problem_of('huge'), qr/^training failed: rating .* is too large/, 'with its detail');
$node->safe_psql('postgres', 'DROP TABLE huge');
($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	CREATE TEMP TABLE tr AS SELECT * FROM ratings;
	SELECT recsys_train('tr', wait => false)});
like($err, qr/0A000.*temporary/, 'temporary tables: 0A000');

# a message that does not fit is cut between characters
$node->safe_psql('postgres', q{
	CREATE FUNCTION shout(int) RETURNS int LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION '%', repeat(U&'\00e9', 300); END $$;
	CREATE VIEW loud AS SELECT shout(user_id) AS user_id, item_id FROM ratings;
	SELECT recsys_train('loud', 'loud', preset => 'tfrs', wait => false)});
like(problem_of('loud'), qr/^(\xc3\xa9)+$/, 'whole characters');
is($node->safe_psql('postgres', q{
	SELECT length(convert_from(convert_to(problem, 'UTF8'), 'UTF8')) FROM recsys_progress WHERE model = 'loud'}),
	'199', 'as many as fit');

# where nobody may write unless he asks for it, the leader may as the caller
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET default_transaction_read_only = on});
$node->safe_psql('postgres', q{SET default_transaction_read_only = off;
	SELECT recsys_train('ratings', 'written', preset => 'tfrs', dim => 8, wait => false)});
ok(finished('written', 1), 'default_transaction_read_only');
$node->safe_psql('postgres', q{SET default_transaction_read_only = off;
	ALTER DATABASE postgres RESET default_transaction_read_only; SELECT recsys_drop('written')});

# while it computes: no snapshot, no lock, cancellable, one a name
$node->safe_psql('postgres', q{
	SELECT recsys_train('ratings', 'long', preset => 'tfrs', stages => '{retrieval}',
		epochs => 1000000, wait => false)});
ok(in_phase($node, 'retrieval', 'long'), 'computes');
my ($samples, $idle) = (0, 0);
for (1 .. 20)
{
	$samples++;
	$idle++ if $node->safe_psql('postgres', q{
		SELECT count(*) FROM recsys_progress p JOIN pg_stat_activity a USING (pid)
		WHERE p.model = 'long' AND a.backend_xmin IS NULL AND a.backend_xid IS NULL
			AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation')}) eq '1';
	usleep(50_000);
}
cmp_ok($idle, '>=', 0.95 * $samples, 'holds no snapshot and no lock');
my $from = time;
$node->safe_psql('postgres', q{
	SET lock_timeout = '1s'; ALTER TABLE ratings ADD COLUMN extra int; ALTER TABLE ratings DROP COLUMN extra});
cmp_ok(time - $from, '<=', 1, 'ALTER TABLE need not wait');
($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SELECT recsys_train('ratings', 'long', wait => false)});
like($err, qr/55006.*being trained/, 'a second training of the name: 55006');
like($err, qr/HINT:  Wait for it, or stop it with recsys_cancel/, 'with its hint');
($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SET lock_timeout = '100ms';
	SELECT recsys_train('ratings', 'long')});
like($err, qr/55P03/, 'or waits, as long as lock_timeout says');
is($node->safe_psql('postgres', q{
	SELECT epoch > 0, epochs, batches > 0, loss > 0, rate > 0, seconds > 0, eta > 0
	FROM recsys_progress WHERE model = 'long'}),
	't|1000000|t|t|t|t|t', 'progress');
$node->safe_psql('postgres', q{GRANT trainer TO clerk});
($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SET SESSION AUTHORIZATION clerk;
	SELECT count(*) FROM recsys_progress WHERE model = 'long';
	SELECT recsys_cancel('long')});
is($out, '0', 'others do not see it');
like($err, qr/42501/, 'nor cancel it');
$from = time;
is($node->safe_psql('postgres', q{SELECT recsys_cancel('long')}), 't', 'cancelled');
ok(leftovers_gone($node), 'and gone within a second');
like(problem_of('long'), qr/canceling/, 'shown as cancelled');
is($node->safe_psql('postgres', q{SELECT phase, pid IS NULL FROM recsys_progress WHERE model = 'long'}),
	'cancelled|t', 'that is its phase');

# a leader that is terminated is not forgotten
$node->safe_psql('postgres', q{
	SELECT recsys_train('ratings', 'ended', preset => 'tfrs', stages => '{retrieval}',
		epochs => 1000000, wait => false)});
ok(in_phase($node, 'retrieval', 'ended'), 'computes');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM recsys_progress WHERE model = 'ended'});
ok(leftovers_gone($node), 'gone within a second');
like(problem_of('ended'), qr/terminated/, 'and it is said');
is($node->safe_psql('postgres', q{SELECT phase, pid IS NULL FROM recsys_progress WHERE model = 'ended'}),
	'cancelled|t', 'that is its phase');

# things that change while it computes
my $n = 1;
for my $case (
	[ 'DROP TABLE r2',                                 qr/dropped/ ],
	[ 'DROP TABLE f2',                                 qr/dropped/ ],
	[ 'ALTER TABLE r2 ALTER user_id TYPE text',        qr/^$/ ],
	[ 'TRUNCATE r2',                                   qr/^$/ ],
	[ 'DROP SCHEMA s2 CASCADE',                        qr/dropped/ ],
	[ 'ALTER SCHEMA s2 OWNER TO clerk; ALTER TABLE r2 OWNER TO clerk', qr/^$/ ])
{
	my ($sql, $want) = @$case;
	my $m = 'm' . ++$n;
	$node->safe_psql('postgres', qq{
		DROP TABLE IF EXISTS r2, f2; DROP SCHEMA IF EXISTS s2 CASCADE;
		CREATE SCHEMA s2; CREATE TABLE r2 AS SELECT * FROM ratings;
		CREATE TABLE f2 AS SELECT DISTINCT user_id, user_id % 2 AS kind FROM ratings;
		SELECT recsys_train('r2', 's2.$m', users => 'f2', preset => 'tfrs', stages => '{retrieval}',
			epochs => 800, dim => 8, wait => false)});
	ok(in_phase($node, 'retrieval|publishing', $m), 'computes');
	$node->safe_psql('postgres', $sql);
	wait_until(30, sub { !workers_of($node) });
	like($node->safe_psql('postgres', qq{
		SELECT problem FROM recsys_progress WHERE model = '$m'}), $want, $sql);
	is($node->safe_psql('postgres', qq{
		SELECT phase FROM recsys_progress WHERE model = '$m'}),
		$want =~ /dropped/ ? 'failed' : '', 'its phase');
	is($node->safe_psql('postgres', qq{
		SELECT count(*) FROM recsys_models WHERE model = '$m'}),
		$want =~ /dropped/ ? 0 : 1, 'the model is there, or not');
	$node->safe_psql('postgres', qq{DELETE FROM recsys_model WHERE name = '$m'});
}

# the database goes
$node->safe_psql('postgres', 'CREATE DATABASE other');
for my $try (1 .. 5)
{
	$node->safe_psql('postgres', 'CREATE DATABASE other') if $try > 1;
	$node->safe_psql('other', q{
		CREATE EXTENSION recsys;
		CREATE TABLE ratings AS SELECT i % 500 AS user_id, i * 7919 % 701 AS item_id FROM generate_series(1, 60000) i;
		SELECT recsys_train('ratings', preset => 'tfrs', epochs => 1000000, wait => false)});
	usleep(int rand 300_000);
	$from = time;
	$node->safe_psql('postgres', 'DROP DATABASE other WITH (FORCE)');
	cmp_ok(time - $from, '<=', 5, 'DROP DATABASE WITH (FORCE)');
	ok(leftovers_gone($node), 'ends the training');
}

# the model's role goes only after its model
($rc, $out, $err) = $node->psql('postgres', 'DROP SCHEMA trainer CASCADE; DROP OWNED BY trainer; DROP ROLE trainer');
is($rc, 0, 'the role can be dropped with what it owns');
is($node->safe_psql('postgres', q{SELECT status FROM recsys_models WHERE model = 'm'}),
	'broken', 'the row that is left says so');

# dump and restore, and a standby
$node->safe_psql('postgres', q{DELETE FROM recsys_model WHERE name = 'm'});
my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('postgres', q{SELECT recsys_train('ratings', 'sync', preset => 'tfrs', dim => 16);
	GRANT SELECT ON sync_item TO clerk});
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], 'restore');
my $all = q{SELECT model, version, version_before, ratings, metrics, (SELECT md5(string_agg(t::text, ',' ORDER BY item_id)) FROM sync_item t),
	(SELECT count(*) FROM recsys_training_log), has_table_privilege('clerk', 'sync_item', 'SELECT')
	FROM recsys_models WHERE model = 'sync'};
is($node->safe_psql('copy', $all), $node->safe_psql('postgres', $all), 'the same model');
my $top = q{SELECT string_agg(item || ' ' || score, ',') FROM generate_series(1, 100) u, recommend(u, 10, 'sync')};
is($node->safe_psql('copy', $top), $node->safe_psql('postgres', $top), 'the same recommendations');
is($node->safe_psql('copy', q{SELECT recsys_rollback('sync')}), '1', 'and the version before');
is($node->safe_psql('copy', q{SELECT version FROM recsys_train('ratings', 'sync', preset => 'tfrs', dim => 8)}), '2', 'training goes on');

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
($rc, $out, $err) = $standby->psql('postgres', q{\set VERBOSITY verbose
	SELECT recsys_train('ratings')});
like($err, qr/25006/, 'on a standby: 25006');
is($standby->safe_psql('postgres', $top), $node->safe_psql('postgres', $top), 'which serves the same');
$standby->stop;
$node->stop;
done_testing();
