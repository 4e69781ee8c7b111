# Killed workers, a killed server: the model before is served after recovery,
# and nothing of the training is left.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('main', conf => "restart_after_crash = on\n");
my $long = q{SELECT * FROM recsys_train('ratings', preset => 'tfrs',
	stages => '{retrieval}', epochs => 1000000)};

load_ratings($node, 'ratings', 600, 300);
$node->safe_psql('postgres',
	q{SELECT * FROM recsys_train('ratings', epochs => 2)});
my $before = answers($node);
my $tables = q{SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid)
	FROM pg_class WHERE relkind = 'r' AND oid > 16383};
my $tables_before = $node->safe_psql('postgres', $tables);

# a server that answers again
sub recovered
{
	return wait_until(
		sub { $node->psql('postgres', 'SELECT 1') == 0 }, 60);
}

# SIGKILL of one worker restarts the server, as that of any backend does.
for my $round (1 .. 3)
{
	my $job = start_training($node, $long);
	training_began($node);
	my ($worker) = compute_workers($node);
	kill 'KILL', $worker;
	ok(finish($job) != 0, "worker killed, round $round: the call failed");
	ok(recovered(), "round $round: the server is back");
	is(answers($node), $before, "round $round: the model before serves on");
	is(scalar(compute_workers($node)), 0, "round $round: no worker is left");
}

# SIGTERM of a worker ends the training, not the server.
my $job = start_training($node, $long);
training_began($node);
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my ($worker) = compute_workers($node);
kill 'TERM', $worker;
ok(finish($job) != 0, 'worker terminated: the call failed');
unlike($job->{err}, qr/server closed the connection/,
	'worker terminated: the session lives');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
	$started, 'worker terminated: the server lives');
ok(defined wait_until(sub { !compute_workers($node) }, 2),
	'worker terminated: all of them are gone');

# kill -9 of the postmaster: its workers notice and end.
$job = start_training($node, $long);
training_began($node);
my @workers = compute_workers($node);
ok(@workers > 0, 'workers compute');
$node->kill9;
my $seconds = wait_until(
	sub { !grep { -d "/proc/$_" } @workers }, 20);
ok(defined $seconds && $seconds < 3, 'postmaster killed: workers gone after '
	  . ($seconds // 'more than 20') . ' s');
finish($job);
ok(defined wait_until(
	sub { $node->stop('fast', fail_ok => 1); $node->start(fail_ok => 1) }, 60),
	'the server starts again');
is(answers($node), $before, 'after the restart: the model before');
is($node->safe_psql('postgres', $tables), $tables_before, 'no tables are left');

# immediate and fast shutdown during a training
for my $mode ('fast', 'immediate')
{
	$job = start_training($node, $long);
	training_began($node);
	my $start = time;
	$node->stop($mode);
	ok(time - $start < 6, "$mode shutdown during a training");
	finish($job);
	$node->start;
	is(answers($node), $before, "$mode shutdown: the model before");
}
$node->stop;
done_testing();
