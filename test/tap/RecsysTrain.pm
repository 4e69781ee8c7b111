# What the tests of training share: a node with ratings, sessions that train
# in the background, and who is left of the workers.
package RecsysTrain;
use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Recsys qw(compute_workers);
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_node long_call start_call wait_call wait_until workers_of
  leftovers_gone in_phase digest comes_back);

# a node whose dynamic shared memory can be counted as files
sub new_node
{
	my ($name, $extra) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf',
		"dynamic_shared_memory_type = mmap\nfsync = off\nwal_keep_size = 1GB\n" . ($extra // ''));
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE EXTENSION recsys;
		CREATE TABLE ratings AS SELECT i % 500 AS user_id,
			(i * 7919 + i / 500 * 31) % 701 AS item_id, 1 + i % 5 AS rating
			FROM generate_series(1, 60000) i;});
	# the server's own, and one that its statistics may come to need
	$node->{recsys_segments} = segments($node) + 1;
	return $node;
}

# a training that does not end by itself
sub long_call
{
	my ($rest) = @_;
	return "SELECT recsys_train('ratings', preset => 'tfrs', "
	  . "stages => '{retrieval}', epochs => 1000000"
	  . ($rest ? ", $rest" : '') . ')';
}

# psql in the background
sub start_call
{
	my ($node, $sql, %opt) = @_;
	my $h = { out => '', err => '' };
	my $timeout = IPC::Run::timeout(120);
	$h->{run} = IPC::Run::start(
		[
			'psql', '-X', '-A', '-t', '-q',
			'-v', 'VERBOSITY=verbose',
			'-d', $node->connstr($opt{db} // 'postgres'),
			'-c', $sql
		],
		'>', \$h->{out}, '2>', \$h->{err}, $timeout);
	return $h;
}

# its answer and errors, and how long it took from now
sub wait_call
{
	my ($h) = @_;
	my $from = time;
	$h->{run}->finish;
	return ($h->{out}, $h->{err}, time - $from);
}

# true as soon as the test is; false after some seconds
sub wait_until
{
	my ($seconds, $test) = @_;
	my $end = time + $seconds;
	while (time < $end)
	{
		return 1 if $test->();
		usleep(5_000);
	}
	return $test->() ? 1 : 0;
}

# The server answers again after a crash. Nothing is written to psql: one that
# is refused at once would break the pipe, and the test with it.
sub comes_back
{
	my ($node) = @_;
	my $connection = $node->connstr('postgres');
	return wait_until(60, sub {
		system("psql -XAtq -d '$connection' -c 'SELECT 1' >/dev/null 2>&1 </dev/null") == 0;
	});
}

# processes of trainings below a node's postmaster
sub workers_of
{
	my ($node, $what) = @_;
	return compute_workers($node, $what // 'recsys');
}

# no worker and no segment of shared memory is left, within a second
sub leftovers_gone
{
	my ($node, $seconds) = @_;
	return wait_until($seconds // 1,
		sub { return !workers_of($node) && segments($node) <= $node->{recsys_segments}; });
}

sub segments
{
	my ($node) = @_;
	my @files = glob($node->data_dir . '/pg_dynshmem/mmap.*');
	return scalar @files;
}

sub in_phase
{
	my ($node, $phase, $model, $db) = @_;
	$model //= 'default';
	return wait_until(
		20,
		sub {
			return $node->safe_psql($db // 'postgres',
				"SELECT count(*) FROM recsys_progress WHERE model = '$model' "
				  . "AND phase ~ '$phase'") > 0;
		});
}

# of a model's tables
sub digest
{
	my ($node, $model) = @_;
	return join ' ', map {
		$node->safe_psql('postgres',
			"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ${model}_$_ t")
	} qw(user item param);
}

1;
