package Recsys;

# Recsys.pm: what the TAP tests share: a server with the extension and
# ratings, long trainings in the background, and the processes behind them.

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_node load_ratings compute_workers wait_until
  start_training training_began finish answers);

# A running server with the extension created in database postgres. It keeps
# its WAL, so that a standby on a slow machine can catch up. unchecked: its
# pages have no checksums.
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my %init = %{ $options{init} // {} };

	# from 18 on a server checks its pages before we can
	push @{ $init{extra} }, '--no-data-checksums'
	  if $options{unchecked} && $node->pg_version >= 18;
	$node->init(%init);
	$node->append_conf('postgresql.conf',
		"max_worker_processes = 12\nwal_keep_size = 1GB\n" . ($options{conf} // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION recsys');
	return $node;
}

# A table of ratings with three kinds of taste: every third item suits every
# third user.
sub load_ratings
{
	my ($node, $table, $users, $items, $share) = @_;

	$share //= 50;
	$node->safe_psql('postgres', qq{
		CREATE TABLE $table (user_id int, item_id int, rating real,
			rated_at timestamptz);
		INSERT INTO $table
		SELECT u, i, CASE WHEN u % 3 = i % 3 THEN 4 ELSE 2 END + h % 2,
			timestamptz '2024-01-01' + h * interval '1 min'
		  FROM generate_series(1, $users) u, generate_series(1, $items) i,
			LATERAL (SELECT (hashint8(u * 100000::bigint + i) & 1023) * 100
				/ 1024 AS h) x
		 WHERE h < CASE WHEN u % 3 = i % 3 THEN $share ELSE $share / 5 END;
		CREATE INDEX ON $table (user_id);
		ANALYZE $table;
	});
	return;
}

# The pids of the server's processes whose title matches.
sub compute_workers
{
	my ($node, $title) = @_;
	my ($pid) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my @found;

	$title //= 'recsys compute worker';
	open(my $children, '<', "/proc/$pid/task/$pid/children") or return ();
	for my $child (split ' ', <$children> // '')
	{
		open(my $f, '<', "/proc/$child/cmdline") or next;
		my $line = <$f> // '';
		push @found, $child if $line =~ /$title/;
	}
	return @found;
}

# Seconds until the condition holds, or undef after the limit.
sub wait_until
{
	my ($condition, $limit) = @_;
	my $start = time;

	while (1)
	{
		return time - $start if $condition->();
		return undef if time - $start > $limit;
		usleep(10_000);
	}
}

# Begin SQL in a psql of its own; finish() waits for it. With a pid method by
# application_name.
sub start_training
{
	my ($node, $sql) = @_;
	my %job = (out => '', err => '');

	$job{run} = IPC::Run::start(
		[
			'psql', '-XAtq', '-d', $node->connstr('postgres'),
			'-v', 'ON_ERROR_STOP=1', '-c', "SET application_name = 'training'",
			'-c', $sql
		],
		'<', \undef, '>', \$job{out}, '2>', \$job{err});
	return \%job;
}

# Wait until workers compute; the backend's pid.
sub training_began
{
	my ($node) = @_;

	wait_until(
		sub {
			$node->safe_psql('postgres',
				q{SELECT count(*) FROM recsys_progress
				   WHERE epoch > 0 AND phase NOT IN ('reading', 'waiting')})
			  > 0;
		},
		30) // die 'training did not begin';
	return $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE application_name = 'training'}
	);
}

# The exit status of a psql begun by start_training.
sub finish
{
	my ($job) = @_;

	$job->{run}->finish;
	return $job->{run}->result(0);
}

# What a model answers to a few users, as one text.
sub answers
{
	my ($node, $model) = @_;

	$model //= 'default';
	return $node->safe_psql('postgres', qq{
		SELECT u, r.rank, r.item_id, r.score, r.source
		  FROM generate_series(1, 20) u, recommend(u, 5, '$model') r
		 ORDER BY u, r.rank});
}

1;
