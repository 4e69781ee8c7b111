# However a training is ended, its workers are gone within a second, nothing
# half-made remains, and the model before serves on.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(time usleep);

my $cancels = $ENV{RECSYS_CANCELS} // 40;
my $node = new_node('cancel');
$node->safe_psql('postgres',
	q{SELECT recsys_train('ratings', preset => 'tfrs', dim => 8)});
my $before = digest($node, 'default');
my $relations = $node->safe_psql('postgres', 'SELECT count(*) FROM pg_class');

# recsys_cancel at random moments
srand(42);
my (@took, $wrong);
$wrong = 0;
for my $i (1 .. $cancels)
{
	my $call = start_call($node, long_call());
	$node->poll_query_until('postgres',
		'SELECT count(*) > 0 FROM recsys_progress') or die 'never began';
	usleep(int rand 300_000);
	my $from = time;
	$node->safe_psql('postgres', q{SELECT recsys_cancel('default')});
	my ($out, $err) = wait_call($call);
	push @took, time - $from;
	$wrong++ unless $err =~ /57014/;
	$wrong++ unless leftovers_gone($node);
}
@took = sort { $a <=> $b } @took;
my $p99 = $took[ int($#took * 0.99) ];
note sprintf('cancel: median %.0f ms, worst %.0f ms', $took[ $#took / 2 ] * 1000,
	$took[-1] * 1000);
cmp_ok($p99, '<=', 1, 'p99 of cancelling is at most a second');
is($wrong, 0, "$cancels cancels: all with 57014, no worker or segment left");
is(digest($node, 'default'), $before, 'the model is as it was');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_class'),
	$relations, 'no table more than before');
is($node->safe_psql('postgres', q{SELECT recsys_cancel('default')}),
	'f', 'nothing to cancel now');

# a timeout of the caller
my $from = time;
my ($rc, $out, $err) = $node->psql('postgres',
	"SET statement_timeout = '100ms'; " . long_call());
like($err, qr/statement timeout/, 'statement_timeout');
cmp_ok(time - $from, '<=', 1.5, 'at once');
ok(leftovers_gone($node), 'and its workers are gone');

# the setting for it
($rc, $out, $err) = $node->psql('postgres',
	"SET recsys.max_train_time = 1; " . long_call());
like($err, qr/longer than allowed/, 'recsys.max_train_time');
ok(leftovers_gone($node), 'and its workers are gone');

# the leader's session ends
my $call = start_call($node, long_call());
ok(in_phase($node, 'retrieval'), 'computes');
$node->safe_psql('postgres',
	'SELECT pg_terminate_backend(pid) FROM recsys_progress');
($out, $err) = wait_call($call);
like($err, qr/57P01/, 'pg_terminate_backend');
ok(leftovers_gone($node), 'and its workers are gone');

# the client dies
$call = start_call($node, long_call());
ok(in_phase($node, 'retrieval'), 'computes');
$call->{run}->kill_kill(grace => 0);
ok(leftovers_gone($node, 1.5), 'a killed client: workers are gone');

# a worker is told to end
$call = start_call($node, long_call());
ok(in_phase($node, 'retrieval'), 'computes');
my @workers = workers_of($node, 'compute worker');
is(scalar(@workers), 2, 'two workers');
kill 'TERM', $workers[0];
($out, $err) = wait_call($call);
like($err, qr/57014.*cancelled/s, 'a worker got SIGTERM');
ok(leftovers_gone($node), 'and all workers are gone');

# signals that mean nothing to it
$call = start_call($node, long_call());
ok(in_phase($node, 'retrieval'), 'computes');
@workers = workers_of($node, 'compute worker');
for (1 .. 50)
{
	kill $_ % 3 == 0 ? 'HUP' : $_ % 3 == 1 ? 'USR1' : 'INT', $workers[ $_ % 2 ];
	usleep(2_000);
}
is(scalar(workers_of($node, 'compute worker')), 2, 'SIGHUP, SIGUSR1, SIGINT are borne');
$node->safe_psql('postgres', q{SELECT recsys_cancel('default')});
wait_call($call);

# a subtransaction is enough to clean up
$node->safe_psql('postgres', q{
	DO $$ BEGIN
		SET LOCAL recsys.max_train_time = 1;
		PERFORM recsys_train('ratings', preset => 'tfrs', stages => '{retrieval}', epochs => 1000000);
	EXCEPTION WHEN query_canceled THEN
		IF EXISTS (SELECT FROM recsys_progress) THEN RAISE 'still there'; END IF;
	END $$});
ok(leftovers_gone($node), 'caught by an exception block: workers are gone');

is(digest($node, 'default'), $before, 'the model is still as it was');
$node->safe_psql('postgres',
	q{SELECT recsys_train('ratings', preset => 'tfrs', dim => 8)});
is(digest($node, 'default'), $before, 'and the same training gives the same');
$node->stop;
done_testing();
