# recsys_tune in the background: done, cancelled, or with a worker killed; the
# model before serves on, locks and workers are gone.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_node("tune", "restart_after_crash = on\n");
$node->safe_psql('postgres',
	q{SELECT recsys_train('ratings', stages => '{retrieval}', dim => 8, epochs => 2, workers => 2)});

sub version { $node->safe_psql('postgres', 'SELECT max(version) FROM recsys_models'); }
sub running { $node->safe_psql('postgres', 'SELECT count(pid) FROM recsys_progress'); }

# no training of the name runs, nobody holds its lock, no worker is left
sub all_free
{
	return wait_until(5, sub {
		!workers_of($node, 'compute worker') && $node->safe_psql('postgres',
			q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) eq '0';
	});
}

my $tune = q{SELECT count(*) FROM recsys_tune('default', '{"dim": [4, 8, 16], "regularization": [0.003, 0.03]}', trials => 3, wait => false)};
my $long = q{SELECT count(*) FROM recsys_tune('default', '{"dim": [64], "epochs": [20000, 30000]}', trials => 2, wait => false)};

# done
my $from = time;
is($node->safe_psql('postgres', $tune), '0', 'returns without rows');
cmp_ok(time - $from, '<', 5, 'and soon');
ok($node->poll_query_until('postgres', 'SELECT max(version) = 2 FROM recsys_models'), 'a new version comes');
ok($node->safe_psql('postgres', q{SELECT count(*) > 3 FROM recsys_training_log WHERE version = 2 AND stage LIKE 'tune%'}) eq 't',
	'the trials are in the log');
ok(all_free(), 'all is free afterwards');

# wrong arguments are told at once
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT * FROM recsys_tune('default', '{"dimm": [4]}', wait => false)});
like($err, qr/dimm/, 'an unknown option');
($rc, $out, $err) = $node->psql('postgres', q{BEGIN; SELECT count(*) FROM recsys_tune('default', '{"loss": "ials", "regularization": [0.01, 0.1], "negatives": [1, 2]}', trials => 3); ROLLBACK});
like($err, qr/NOTICE:  tuning: the learners that were tried take no negatives\n/, 'options that no trial knew are told of, and no others');
($rc, $out, $err) = $node->psql('postgres', q{SELECT * FROM recsys_tune('default', wait => NULL)});
like($err, qr/wait must not be NULL/, 'wait NULL');

# trials without room come to nothing, and when all do, that is told
$node->safe_psql('postgres', q{UPDATE recsys_model SET config = config || '{"dim": 15999}'});
$node->safe_psql('postgres', q{SET recsys.train_memory = '64MB'; SELECT count(*) FROM recsys_tune('default', '{"dim": [15998]}', wait => false)});
ok($node->poll_query_until('postgres', q{SELECT phase || ', ' || problem
	LIKE 'failed, every trial came to nothing: training does not fit into recsys.train_memory%' FROM recsys_progress}), 'no trial works');
is(version(), '2', 'no version more');
ok(all_free(), 'workers are gone');
$node->safe_psql('postgres', q{UPDATE recsys_model SET config = config - 'dim'});

# cancelled
my $before = digest($node, 'default');
$node->safe_psql('postgres', $long);
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM recsys_progress WHERE phase IN ('retrieval', 'refit')}), 'computes');
($rc, $out, $err) = $node->psql('postgres', $tune);
like($err, qr/default/, 'one tuning of a name at a time');
usleep(300_000);
$from = time;
ok(wait_until(5, sub { $node->safe_psql('postgres', q{SELECT recsys_cancel('default')}) eq 't' }), 'cancelled');
ok(all_free(), 'locks and workers are gone');
cmp_ok(time - $from, '<', 3, 'soon');
is(version(), '2', 'no version more');
is(digest($node, 'default'), $before, 'the model is as it was');

# a worker is killed: the server restarts, the model is there
$node->safe_psql('postgres', $long);
ok(wait_until(20, sub { scalar(workers_of($node, 'compute worker')) }), 'computes again');
usleep(300_000);
# between two trials there are none
ok(wait_until(20, sub { my ($worker) = workers_of($node, 'compute worker'); $worker && kill('KILL', $worker) }),
	'a worker is killed');
ok(comes_back($node), 'the server comes back');
is(version(), '2', 'no version more');
is(digest($node, 'default'), $before, 'the model is as it was');
ok(all_free(), 'locks and workers are gone');

# and the next one works
$node->safe_psql('postgres', $tune);
ok($node->poll_query_until('postgres', 'SELECT max(version) = 3 FROM recsys_models'), 'tuned again');
ok(all_free(), 'all is free');
is($node->safe_psql('postgres', 'SELECT count(*) FROM recommend(1, 5)'), '5', 'it answers');
$node->stop;
done_testing();
