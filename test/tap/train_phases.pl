# A cancel ends a training within a second in each of its phases, and
# OpenBLAS is mapped by the compute workers alone. Shared memory that does not
# suffice is an error before anything is computed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('phases');
$node->safe_psql('postgres', q{
	SELECT recsys_train('ratings', preset => 'tfrs', dim => 8, epochs => 1);
	CREATE VIEW slow AS SELECT * FROM ratings WHERE pg_sleep(0.001)::text = ''});
my $before = digest($node, 'default');

sub call
{
	my ($rest, $source) = @_;
	return "SELECT recsys_train('" . ($source // 'ratings') . "', $rest)";
}

# phase, as a pattern => the call
my @phases = (
	[ 'reading', call('epochs => 1', 'slow') ],
	[ 'retrieval', call(q{preset => 'tfrs', stages => '{retrieval}', epochs => 1000000}) ],
	[ 'tuning|retrieval', call(q{stages => '{retrieval}', epochs => 1000000, options => '{"loss": "ials"}'}) ],
	[ 'retrieval', call(q{stages => '{retrieval}', epochs => 1000000, options => '{"loss": "softmax"}'}) ],
	[ 'ranking', call(q{preset => 'tfrs', stages => '{ranking}', epochs => 1000000}) ],
	[ 'ranking|validating', call(q{stages => '{ranking}', epochs => 100000}) ],
	[ 'ranking|validating', call(q{stages => '{ranking}', epochs => 1000000, options => '{"ranking_loss": "sgd", "patience": 1000000}'}) ]);

sub maps
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/maps");
}

sub check_maps
{
	my ($server) = @_;
	my $leader = $node->safe_psql('postgres', 'SELECT pid FROM recsys_progress');
	my @workers = workers_of($node, 'compute worker');

	like(maps($leader), qr/recsys\.so/, 'the leader has recsys.so');
	unlike(maps($leader), qr/openblas|recsys_train\.so/, 'and no OpenBLAS');
	cmp_ok(scalar(@workers), '>', 0, 'there are workers');
	like(maps($_), qr/openblas/, 'a worker has OpenBLAS') for @workers;
	my $pid = $server->query('SELECT pg_backend_pid()');
	like(maps($pid), qr/recsys\.so/, 'a serving backend has recsys.so');
	unlike(maps($pid), qr/openblas|recsys_train\.so/, 'and no OpenBLAS');
	return;
}

my $server = $node->background_psql('postgres');
$server->query($_) for (
	'SELECT count(*) FROM recommend(1, 10)',
	'SELECT predict(1, 1)',
	'SELECT count(*) FROM recommend_all(3)',
	'SELECT count(*) FROM recommend_from(ARRAY[1, 2])',
	q{SELECT count(*) FROM recsys_evaluate('default', 'ratings')});
for my $p (@phases)
{
	my ($phase, $sql) = @$p;
	my $call = start_call($node, $sql);
	ok(in_phase($node, $phase), "in phase $phase");
	check_maps($server) if $phase eq 'retrieval';
	my $from = time;
	$node->safe_psql('postgres', q{SELECT recsys_cancel('default')});
	my ($out, $err) = wait_call($call);
	cmp_ok(time - $from, '<=', 1, 'cancelled within a second');
	like($err, qr/57014/, 'query_canceled');
	ok(leftovers_gone($node), 'no worker and no segment left');
}

# publishing waits for a lock that somebody holds
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('LOCK TABLE default_param IN SHARE MODE');
my $call = start_call($node, call(q{preset => 'tfrs', epochs => 1}));
ok(in_phase($node, 'publishing'), 'in phase publishing');
my $from = time;
$node->safe_psql('postgres', q{SELECT recsys_cancel('default')});
my ($out, $err) = wait_call($call);
cmp_ok(time - $from, '<=', 1, 'cancelled within a second');
like($err, qr/57014/, 'query_canceled');
$holder->query_safe('COMMIT');
$holder->quit;
ok(leftovers_gone($node), 'no worker and no segment left');
is(digest($node, 'default'), $before, 'the model is as it was');
$server->quit;
$node->stop;

# more than /dev/shm has: told before it is taken
my ($free) = `df --output=avail -k /dev/shm` =~ /(\d+)/;
SKIP:
{
	skip 'a /dev/shm too large to exceed', 3
	  if !defined $free || $free > 100_000_000;
	$node->append_conf('postgresql.conf', 'dynamic_shared_memory_type = posix');
	$node->start;
	my ($rc, $answer, $problem) = $node->psql('postgres', q{
		\set VERBOSITY verbose
		SET recsys.train_memory = '2000GB';
		CREATE TABLE wide AS SELECT i AS user_id, i AS item_id FROM generate_series(1, 300000) i;
		SELECT recsys_train('wide', 'default', preset => 'tfrs', dim => 15999)});
	like($problem, qr/53200.*does not fit into \/dev\/shm/s, 'too little shared memory: 53200');
	like($problem, qr/HINT:.*Enlarge \/dev\/shm/s, 'with a hint');
	is(digest($node, 'default'), $before, 'the model is as it was');
	$node->stop;
}
done_testing();
