# Crashes and shortages around a training: the server comes back by itself,
# the model before is whole, and the next training works.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node('crash', "restart_after_crash = on\nmax_worker_processes = 4\n");
my $train = q{SELECT version FROM recsys_train('ratings', preset => 'tfrs', dim => 8)};
$node->safe_psql('postgres', $train);
my $before = digest($node, 'default');
my ($rc, $out, $err);

# a worker is killed hard, in each phase
for my $phase ('reading', 'retrieval')
{
	my $sql = $phase eq 'reading'
	  ? q{SELECT recsys_train('slow', 'other', rating_col => '')}
	  : long_call();
	$node->safe_psql('postgres', q{
		DROP VIEW IF EXISTS slow;
		CREATE VIEW slow AS SELECT user_id, item_id, pg_sleep(0.01)::text AS s FROM ratings WHERE pg_sleep(0.01) IS NOT NULL});
	my $call = start_call($node, $sql);
	ok(in_phase($node, $phase, $phase eq 'reading' ? 'other' : 'default'), "in $phase");
	ok(wait_until(5, sub { workers_of($node, 'compute worker') == 2 }), 'two workers');
	my @workers = workers_of($node, 'compute worker');
	kill 'KILL', $workers[1];
	($out, $err) = wait_call($call);
	like($err, qr/57P02|server closed|connection/, "kill -9 of a worker in $phase ends the session");
	comes_back($node) or die 'did not come back';
	ok(leftovers_gone($node, 5), 'workers are gone');
	is(digest($node, 'default'), $before, 'the model is whole');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM recsys_progress}), '0',
		'no training is shown');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname ~ '^other_'}),
		'0', 'nothing half-made');
}
is($node->safe_psql('postgres', $train), '2', 'the next training works');

# the leader is killed hard while it publishes: find it by its lock
$node->safe_psql('postgres', q{
	CREATE TABLE gate (x int);
	CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM 1 FROM gate; RETURN NULL; END $$;
	CREATE TRIGGER gate AFTER DELETE ON default_user FOR EACH STATEMENT EXECUTE FUNCTION wait_at_gate();});
$before = digest($node, 'default');
my $gate = $node->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK gate;');
my $call = start_call($node, $train);
ok(in_phase($node, 'publishing'), 'publishes');
$node->poll_query_until('postgres',
	q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'recsys_train'})
  or die 'does not wait';
my $leader = $node->safe_psql('postgres', 'SELECT pid FROM recsys_progress');
kill 'KILL', $leader;
($out, $err) = wait_call($call);
comes_back($node) or die 'did not come back';
is(digest($node, 'default'), $before, 'kill -9 while publishing: the model is whole');
is($node->safe_psql('postgres', q{SELECT version FROM recsys_models}), '2', 'and its row');
ok(leftovers_gone($node, 5), 'nothing is left');
$node->safe_psql('postgres', 'DROP FUNCTION wait_at_gate() CASCADE; DROP TABLE gate');
is($node->safe_psql('postgres', $train), '3', 'the next training works');

# the postmaster is killed
$call = start_call($node, long_call());
ok(in_phase($node, 'retrieval'), 'computes');
my @workers = workers_of($node);
$node->kill9;
ok(wait_until(2, sub { !grep { kill 0, $_ } @workers }), 'workers leave when the postmaster is gone');
wait_call($call);
ok(wait_until(10, sub {
	return 1 if $node->start(fail_ok => 1);
	$node->stop('fast', fail_ok => 1);
	usleep(200_000);
	return 0; }), 'the server starts again');
is($node->safe_psql('postgres', $train), '4', 'and trains');
is(digest($node, 'default') ne '', 1, 'with a model');

# shutdowns
for my $mode ('fast', 'immediate')
{
	$call = start_call($node, long_call());
	ok(in_phase($node, 'retrieval'), 'computes');
	@workers = workers_of($node);
	my $from = time;
	$node->stop($mode);
	cmp_ok(time - $from, '<=', 5, "$mode shutdown within 5 s");
	ok(wait_until(1, sub { !grep { kill 0, $_ } @workers }), 'without workers');
	wait_call($call);
	$node->start;
}

# no worker is free: one of the two slots is the replication launcher's
$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$node->restart;
($rc, $out, $err) = $node->psql('postgres', $train);
like($err, qr/NOTICE.*training with 1 of 2 workers/, 'one worker is enough');
($rc, $out, $err) = $node->psql('postgres',
	q{\set VERBOSITY verbose
	SELECT version FROM recsys_train('ratings', preset => 'tfrs', workers => 2)});
like($err, qr/53400.*max_worker_processes/s, 'but not if two were asked for');
$node->append_conf('postgresql.conf', "max_worker_processes = 1\n");
$node->restart;
for my $wait ('true', 'false')
{
	($rc, $out, $err) = $node->psql('postgres',
		qq{\\set VERBOSITY verbose
		SELECT version FROM recsys_train('ratings', wait => $wait)});
	like($err, qr/53400.*max_worker_processes/s, "no worker: 53400, wait => $wait");
}
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;

# more than the setting for memory
($rc, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SET recsys.train_memory = '1MB';
	SELECT recsys_train('ratings', preset => 'tfrs')});
like($err, qr/53200.*recsys\.train_memory/s, 'recsys.train_memory');
($rc, $out, $err) = $node->psql('postgres',
	q{SELECT users FROM recsys_train('ratings', 'big', preset => 'tfrs',
		stages => '{retrieval}', dim => 15000, epochs => 1)});
is($out, '500', 'great dimensions');
ok(leftovers_gone($node), 'nothing is left');

done_testing();
