# A model is trained again and again, with vectors of another length every time,
# while it is read: every statement sees one version of the catalog's row and of all tables, whole.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;

my $node = new_node('swap', "autovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE TABLE a AS SELECT i % 40 AS user_id, i * 7 % 53 AS item_id FROM generate_series(1, 1500) i;
	CREATE TABLE b AS SELECT i % 50 AS user_id, i * 7 % 59 AS item_id FROM generate_series(1, 1500) i;
	SELECT recsys_train('a', 'm', preset => 'tfrs', dim => 4, epochs => 1, test_fraction => 0)});

my $script = $node->basedir . '/read.sql';
append_to_file($script, q{
SELECT 1 / (SELECT (users, items) IN ((40, 53), (50, 59)) AND (version % 2 = 1) = (users = 40)
	AND users = (SELECT count(*) FROM m_user) AND items = (SELECT count(*) FROM m_item)
	FROM recsys_models WHERE model = 'm')::int;
SELECT 1 / (count(*) = 10)::int FROM recommend(1, 10, 'm', false) r JOIN m_item i ON i.item_id = r.item_id
	WHERE abs(r.score + (i.embedding <#> (SELECT embedding FROM m_user WHERE user_id = 1))) < 1e-5;
});
my $h = start_call($node, q{
	DO $$ BEGIN
		FOR i IN 1 .. 50 LOOP
			PERFORM recsys_train(CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, 'm', preset => 'tfrs',
				dim => 4 + i % 2 * 3, epochs => 1, test_fraction => 0, seed => i);
			COMMIT;
		END LOOP;
	END $$});
my ($stdout, $stderr) = run_command([
	'pgbench', '-n', '-c', '2', '-t', '500', '-f', $script,
	'-h', $node->host, '-p', $node->port, 'postgres' ]);
unlike($stderr, qr/ERROR|aborted/, 'no reader saw a mixture');
like($stdout, qr{processed: 1000/1000}, '1,000 reads');
my ($out, $err) = wait_call($h);
unlike($err, qr/ERROR/, '50 trainings');
is($node->safe_psql('postgres', q{SELECT version FROM recsys_models WHERE model = 'm'}),
	'51', 'of one model');

# a large model has an index, which a reader in a transaction of its own keeps
# using while trainings come and go
$node->safe_psql('postgres', q{
	CREATE TABLE c AS SELECT i % 300 AS user_id, i * 11 % 21000 AS item_id FROM generate_series(1, 63000) i;
	SELECT recsys_train('c', 'big', preset => 'tfrs', dim => 4, epochs => 1, test_fraction => 0)});
my $reader = $node->background_psql('postgres');
my $ask = q{SET enable_seqscan = off; SET recsys.target_recall = 1; SELECT string_agg(item_id || ' ' || (embedding <#> user_embedding(7, 'big')), ',')
	FROM (SELECT * FROM big_item ORDER BY embedding <#> user_embedding(7, 'big') LIMIT 30) x};
my $before = $reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $ask");
my $train = q{SELECT version FROM recsys_train('c', 'big', preset => 'tfrs', dim => 4, epochs => 1, test_fraction => 0,};
my $check = q{SELECT count(recsys_index_check('big_item_ann', true)) FROM recsys_models WHERE model = 'big'};
for my $n (1, 2)
{
	is($node->safe_psql('postgres', "SET lock_timeout = '3s'; $train seed => $n)"), $n + 1,
		"training $n waits for no reader");
	is($node->safe_psql('postgres', $check), '1', 'every row is in the index');
	ok($reader->query($ask) eq $before, 'the reader has the answers of its version');
	isnt($node->safe_psql('postgres', $ask), $before, 'others have new ones');
}
$node->safe_psql('postgres', "BEGIN; $train seed => 3); ROLLBACK");
is($node->safe_psql('postgres', $check), '1', 'also after a training that was undone');
ok($reader->query($ask) eq $before, 'the reader as before');
$reader->query_safe('COMMIT');

# a dump holds every table, those of the version before too: neither trainings
# nor a rollback wait for it, and it reads what its snapshot sees
my $dump = $node->background_psql('postgres');
my $held = q{SELECT md5(string_agg(t::text, ',' ORDER BY t)) FROM big_item_old t};
my $dumped = $dump->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ;
	LOCK TABLE big_user, big_item, big_param, big_user_old, big_item_old, big_param_old IN ACCESS SHARE MODE; $held");
is($node->safe_psql('postgres', "SET lock_timeout = '3s'; $train seed => 4)"), 4,
	'a training beside a dump');
my $version = q{SELECT version, coalesce(version_before, 0) FROM recsys_models WHERE model = 'big'};
is($node->safe_psql('postgres', $version), '4|3', 'with a version before');
my $answer = $node->safe_psql('postgres', $ask);
is($node->safe_psql('postgres', "SET lock_timeout = '3s'; $train seed => 5)"), 5, 'another one');
isnt($node->safe_psql('postgres', $ask), $answer, 'with other answers');
is($node->safe_psql('postgres', q{SET lock_timeout = '3s'; SELECT recsys_rollback('big')}), 4,
	'a rollback beside a dump');
is($node->safe_psql('postgres', $version), '4|0', 'no version before is left');
is($node->safe_psql('postgres', $check), '1', 'every row is in the index');
is($node->safe_psql('postgres', $ask), $answer, 'the answers of that version');
my ($rc, $text, $none) = $node->psql('postgres', q{SELECT recsys_rollback('big')});
like($none, qr/has no version before 4/, 'which is said');
is($node->safe_psql('postgres', "SET lock_timeout = '3s'; $train seed => 6)"), 5, 'the next training');
is($node->safe_psql('postgres', $version), '5|4', 'keeps the one before');
is($dump->query_safe($held), $dumped, 'the dump read its own');
$dump->quit;

# an index must go, for another dimension: who reads one table and comes to the
# other one is in no deadlock with the training
$node->safe_psql('postgres', q{
	CREATE TABLE d AS SELECT i % 21000 AS user_id, i * 11 % 21000 AS item_id FROM generate_series(1, 63000) i;
	SELECT recsys_train('d', 'both', preset => 'tfrs', dim => 4, epochs => 1, test_fraction => 0)});
for my $first (qw(user item))
{
	my ($other) = grep { $_ ne $first } qw(user item);
	my $dim = $first eq 'user' ? 5 : 6;

	$reader->query_safe("BEGIN; SELECT count(*) FROM both_$first");
	my $call = start_call($node, qq{SELECT version FROM recsys_train('d', 'both', preset => 'tfrs',
		dim => $dim, epochs => 1, test_fraction => 0)});
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted
		AND relation IN ('both_user'::regclass, 'both_item'::regclass)}) or die;
	is($reader->query_safe("SELECT min(vector_dims(embedding)) FROM both_$other"),
		$first eq 'user' ? 4 : 5, "$first, then $other: read as before");
	$reader->query_safe('SELECT pg_sleep(2); COMMIT');
	my ($done, $problem) = wait_call($call);
	unlike($problem, qr/ERROR/, 'and the training ends');
	is($node->safe_psql('postgres', 'SELECT min(vector_dims(embedding)) FROM both_item'), $dim, 'with its dimension');
	is($node->safe_psql('postgres', q{SELECT count(recsys_index_check(i, true)) FROM unnest('{both_user_ann,both_item_ann}'::regclass[]) i}), '2', 'and every row in the index');
}
$reader->quit;

# another dimension: an index of somebody's own is not for older snapshots
$node->safe_psql('postgres', 'CREATE INDEX mine ON m_item USING ann (embedding vector_ip_ops)');
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM a; SET enable_seqscan = off; SET enable_sort = off');
$node->safe_psql('postgres', q{SELECT recsys_train('a', 'm', preset => 'tfrs', dim => 9, epochs => 1, test_fraction => 0)});
my $nearest = q{SELECT count(*) || ' ' || min(vector_dims(embedding)) FROM
	(SELECT embedding FROM m_item ORDER BY embedding <#> user_embedding(1, 'm') LIMIT 3) x};
is($old->query_safe($nearest), '3 4', 'the older snapshot reads its rows');
$old->quit;
is($node->safe_psql('postgres', $nearest), '3 9', 'others the new ones');

# REINDEX CONCURRENTLY would wait for the training, and that for it at the end
$h = start_call($node, q{SELECT version FROM recsys_train('a', 'm', preset => 'tfrs', dim => 11,
	epochs => 1000000, test_fraction => 0, options => '{"max_seconds": 4}')});
ok(in_phase($node, 'retrieval', 'm'), 'a training goes on');
my $reindex = start_call($node, 'REINDEX INDEX CONCURRENTLY mine');
($out, $err) = wait_call($h);
unlike($err, qr/ERROR/, 'it comes to its end');
($out, $err) = wait_call($reindex);
unlike($err, qr/ERROR/, 'and so does REINDEX CONCURRENTLY');
is($node->safe_psql('postgres', $nearest), '3 11', 'the index is of the new version');

# nor is one in the background lost, whose publishing finds it at work
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT count(*) FROM m_item');
$reindex = start_call($node, 'REINDEX INDEX CONCURRENTLY mine');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ '^REINDEX' AND wait_event_type = 'Lock'}), 'REINDEX waits for a reader');
$node->safe_psql('postgres', q{SELECT recsys_train('a', 'm', preset => 'tfrs', dim => 13, epochs => 1,
	test_fraction => 0, wait => false)});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks
	WHERE relation IN ('m_user'::regclass, 'm_item'::regclass) AND NOT granted}), 'and waits');
$holder->quit;
($out, $err) = wait_call($reindex);
unlike($err, qr/ERROR/, 'REINDEX ends');
ok($node->poll_query_until('postgres', q{SELECT dim = 13 FROM recsys_models WHERE model = 'm'}),
	'and the version is published');
is($node->safe_psql('postgres', $nearest), '3 13', 'with its index');

my $now = $node->safe_psql('postgres', $ask);
$node->safe_psql('postgres', 'VACUUM big_item');
$node->safe_psql('postgres', 'VACUUM big_item');
is($node->safe_psql('postgres', $ask), $now, 'VACUUM changes no answer');
is($node->safe_psql('postgres', $check), '1', 'nor does it lose a row');
my $size = $node->safe_psql('postgres', q{SELECT pg_relation_size('big_item_ann')});
for my $n (4 .. 7)
{
	$node->safe_psql('postgres', "$train seed => $n)");
	$node->safe_psql('postgres', 'VACUUM big_item');
}
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('big_item_ann')}), '<=', 1.5 * $size,
	'the index does not grow from training to training');
ok(leftovers_gone($node), 'nothing is left');
$node->stop;
done_testing();
