# A build with the least maintenance_work_mem, by one process and by teams,
# of many rows and of wide ones: every row is there, recall is what the setting
# says, and the memory of its processes stays small.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use Recsys;

my $node = new_node('memory', conf => q{
	fsync = off
	autovacuum = off
	shared_buffers = 16MB
	max_parallel_maintenance_workers = 2
});
my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');

# Rows around some centres, of different lengths; queries that lie elsewhere.
sub make_table
{
	my ($name, $n, $dim, $queries) = @_;

	$node->safe_psql('postgres', qq{
		SELECT setseed(.25);
		CREATE TABLE $name (id int, e vector($dim));
		INSERT INTO $name SELECT i, (SELECT array_agg((random() - .5
			+ (hashint4((i % 40) * 5000 + g) & 255) / 256.0)
			* (1 + (i % 13) / 13.0)) FROM generate_series(1, $dim) g)::vector
		FROM generate_series(1, $n) i;
		CREATE TABLE ${name}_queries AS SELECT i AS id,
			(SELECT array_agg(random() - .3
			+ (hashint4((i % 40) * 5000 + g) & 255) / 256.0)
			FROM generate_series(1, $dim) g)::vector AS q
		FROM generate_series(1, $queries) i;
		ANALYZE});
	return;
}

# Best 10 of each query: query and row, a line each.
sub answers
{
	my ($table, $op, $settings) = @_;

	return $node->safe_psql('postgres', "$settings
		SELECT q.id, r.id FROM ${table}_queries q, LATERAL (SELECT id
			FROM $table ORDER BY e $op q.q LIMIT 10) r ORDER BY 1, 2");
}

sub recall
{
	my ($truth, $found) = @_;
	my %is = map { $_ => 1 } split /\n/, $truth;

	return (grep { $is{$_} } split /\n/, $found) / keys %is;
}

# Build; highest VmHWM of the backend and of a worker, in MB, and its shared
# part, and how many workers there were.
sub build
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my %peak = (backend => 0, worker => 0);
	my %worker;
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$out, '2>', \$err);

	while ($run->pumpable)
	{
		$run->pump_nb;
		open(my $list, '<', "/proc/$postmaster/task/$postmaster/children") or last;
		for my $pid (split ' ', <$list> // '')
		{
			open(my $f, '<', "/proc/$pid/cmdline") or next;
			my $title = <$f> // '';
			my $who = $title =~ /parallel worker/ ? 'worker'
			  : $title =~ /CREATE INDEX/ ? 'backend' : next;
			open(my $status, '<', "/proc/$pid/status") or next;
			my ($kb) = (join '', <$status>) =~ /VmHWM:\s+(\d+)/;

			$worker{$pid} = 1 if $who eq 'worker';
			$peak{$who} = $kb / 1024 if defined $kb && $kb / 1024 > $peak{$who};
		}
		usleep(2000);
	}
	$run->finish;
	is($err, '', 'built');
	return ($peak{backend}, $peak{worker}, scalar keys %worker);
}

make_table('many', 100000, 64, 30);
make_table('wide', 2500, 1536, 30);
for my $table (qw(many wide))
{
	for my $o ([ ip => '<#>' ], [ cosine => '<=>' ])
	{
		my ($kind, $op) = @$o;
		my $truth = answers($table, $op, 'SET enable_indexscan = off;');

		for my $workers (0, 1, 2)
		{
			my $name = "$table, $kind, $workers workers";
			my ($backend, $worker, $had) = build("
				ALTER TABLE $table SET (parallel_workers = $workers);
				SET maintenance_work_mem = '1MB';
				CREATE INDEX built ON $table USING ann (e vector_${kind}_ops)");
			my ($status, $out, $err) = $node->psql('postgres',
				q{SELECT recsys_index_check('built', true)});
			my $index = 'SET enable_seqscan = off; SET enable_sort = off;';
			my $usual = recall($truth, answers($table, $op, $index));
			my $exact = recall($truth, answers($table, $op,
					"$index SET recsys.target_recall = 1;"));

			note(sprintf '%s: VmHWM %.0f and %.0f MB, recall %.4f, %.4f, %s',
				$name, $backend, $worker, $usual, $exact,
				$node->safe_psql('postgres', q{SELECT pages, cells
					FROM recsys_index_stats('built')}));
			is($had, $workers, "$name took part");
			is($status, 0, "$name: check") || diag($err);
			cmp_ok($usual, '>=', .97, "$name: recall");
			is($exact, 1, "$name: exact answers");
			# of them 16 are shared buffers
			cmp_ok($backend, '<=', 64, "$name: memory of the backend");
			cmp_ok($worker, '<=', 48, "$name: memory of a worker");
			$node->safe_psql('postgres', 'DROP INDEX built');
		}
	}
}
$node->stop;
done_testing();
