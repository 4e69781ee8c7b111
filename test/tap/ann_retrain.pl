# New structures that meet trouble: rows that die under them, attempts that
# are cancelled, a column that has lost its dimension, timeouts of inserts.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $node = new_node('retrain', conf => "fsync = off\nautovacuum = off\n");

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub vectors
{
	my ($dim, $from, $to, $shift) = @_;

	return "SELECT i, (SELECT array_agg($shift + random() + 0 * (g + i))
		FROM generate_series(1, $dim) g)::vector FROM generate_series($from, $to) i";
}

# a session that waits for the pause point that another one holds
sub waits
{
	return wait_until(
		sub {
			sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
				AND NOT granted}) > 0;
		},
		60);
}

# TOAST of rows that are deleted while a structure is made goes away: by
# VACUUM, whose snapshot protects nothing, and by an insert
sql(q{CREATE TABLE wide (id int, e vector(700));
	CREATE INDEX wide_l2 ON wide USING ann (e vector_l2_ops)});
sql('INSERT INTO wide ' . vectors(700, 1, 2200, 0));
my $toast = sql(q{SELECT reltoastrelid::regclass FROM pg_class
	WHERE oid = 'wide'::regclass});
my $holder = $node->background_psql('postgres');
for my $maker ('VACUUM wide', 'INSERT INTO wide ' . vectors(700, 3000, 6000, 5))
{
	my $old = $node->background_psql('postgres');

	$old->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ});
	$old->query(q{SELECT count(*) FROM wide});
	sql(q{DELETE FROM wide WHERE id <= 300}) if $maker =~ /INSERT/;
	$holder->query(q{SELECT pg_advisory_lock(hashtext('ann_retrain_listed'))});
	my $job = start_training($node, $maker);
	ok(waits(), "$maker: listed") or last;
	$old->query('COMMIT');
	$old->quit;
	sql(q{DELETE FROM wide WHERE id <= 200}) if $maker =~ /VACUUM/;
	sql('CREATE TABLE xid_' . length($maker) . ' ()');
	sql("VACUUM $toast");
	$holder->query(q{SELECT pg_advisory_unlock(hashtext('ann_retrain_listed'))});
	is(finish($job), 0, substr($maker, 0, 6) . ' ends well') or diag($job->{err});
	is(sql(q{SELECT recsys_index_check('wide_l2', true)}), '', 'sound');
}
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM (SELECT id FROM wide
	ORDER BY e <-> (SELECT e FROM wide LIMIT 1)) x}),
	sql('SELECT count(*) FROM wide'), 'no row is lost');
sql('DROP TABLE wide');

# structures that are given up leave no pages behind
sql(q{CREATE TABLE tall (id int, e vector(16));
	INSERT INTO tall } . vectors(16, 1, 20000, 0) . q{;
	CREATE INDEX tall_l2 ON tall USING ann (e vector_l2_ops);
	INSERT INTO tall } . vectors(16, 20001, 28000, 3) . '; ANALYZE tall');
my @sizes;
for my $try (1 .. 5)
{
	$holder->query(
		q{SELECT pg_advisory_lock(hashtext('ann_retrain_caught_up'))});
	my $job = start_training($node, 'VACUUM tall');
	waits();
	sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'training'});
	isnt(finish($job), 0, "attempt $try is cancelled");
	$holder->query(
		q{SELECT pg_advisory_unlock(hashtext('ann_retrain_caught_up'))});
	sql('ANALYZE tall');
	push @sizes, sql(q{SELECT pg_relation_size('tall_l2')});
}
note("sizes @sizes");
cmp_ok($sizes[4], '<=', 1.1 * $sizes[0], 'the next one takes their place');
sql('VACUUM tall');
cmp_ok(sql(q{SELECT generation FROM recsys_index_stats('tall_l2')}), '>', 1,
	'and comes through at last');
is(sql(q{SELECT recsys_index_check('tall_l2', true)}), '', 'sound');

# inserts whose attempts fail do not try again and again
sql('INSERT INTO tall ' . vectors(16, 40001, 45000, 60));
my $failed = 0;
$holder->query(q{SELECT pg_advisory_lock(hashtext('ann_retrain_caught_up'))});
for my $n (1 .. 30)
{
	my ($status) = $node->psql('postgres', q{SET statement_timeout = '500ms';
		INSERT INTO tall } . vectors(16, 50000 + 1000 * $n, 50999 + 1000 * $n, 90));
	$failed++ if $status != 0;
}
$holder->query(q{SELECT pg_advisory_unlock(hashtext('ann_retrain_caught_up'))});
note("$failed of 30 inserts failed");
cmp_ok($failed, '<=', 3, 'few inserts fail by a timeout');
cmp_ok($failed, '>=', 1, 'an attempt was made');

# nor do commands that insert many rows
sql(q{CREATE TABLE own (id int, e vector(16));
	INSERT INTO own } . vectors(16, 1, 2500, 0) . q{;
	CREATE INDEX own_l2 ON own USING ann (e vector_l2_ops)});
$holder->query(q{SELECT pg_advisory_lock(hashtext('ann_retrain_caught_up'))});
my @status = map {
	($node->psql('postgres', q{SET statement_timeout = '4s';
		INSERT INTO own } . vectors(16, 10000, 18000, 0), on_error_stop => 1))[0] != 0
} 1 .. 2;
$holder->query(q{SELECT pg_advisory_unlock(hashtext('ann_retrain_caught_up'))});
is("@status", '1 ', 'the second command does without');
is(sql(q{SELECT recsys_index_check('own_l2', true)}), '', 'sound');
$holder->quit;

# a column that has lost its dimension keeps its index
sql(q{CREATE TABLE bare (id int, e vector(4));
	CREATE INDEX bare_l2 ON bare USING ann (e vector_l2_ops);
	INSERT INTO bare } . vectors(4, 1, 100, 0) . q{;
	ALTER TABLE bare ALTER e TYPE vector;
	INSERT INTO bare } . vectors(4, 101, 6000, 0));
sql('VACUUM bare');
cmp_ok(sql(q{SELECT generation FROM recsys_index_stats('bare_l2')}), '>', 1,
	'a new structure without the declared dimension');
is(sql(q{SELECT recsys_index_check('bare_l2', true)}), '', 'sound');
$node->stop;
done_testing();
