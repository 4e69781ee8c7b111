# The index survives kill -9 under concurrent writes: after recovery it
# answers like the heap, and its pages are sound.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use Ann;
use Recsys;

my $cycles = $ENV{ANN_CRASH_CYCLES} // 5;
my $node = new_node('crash',
	conf => "fsync = off\nrestart_after_crash = off\nautovacuum = off\n");

make_rows($node, 2000, 8);
make_indexes($node);
# an index that grows from nothing makes new structures under way
$node->safe_psql('postgres', q{
	CREATE TABLE grown (e vector(8));
	CREATE INDEX grown_ip ON grown USING ann (e vector_ip_ops)});

my @files = map { write_script($node, $_, 8) } qw(insert update delete hot);
my $grow = $node->basedir . '/grow.sql';
append_to_file($grow, "INSERT INTO grown SELECT (SELECT array_agg(random() + 0 * (g + i))
	FROM generate_series(1, 8) g)::vector FROM generate_series(1, 40) i;\n");
my $vacuum = write_script($node, 'vacuum', 8);

sub bench
{
	my ($clients, @args) = @_;
	my %b = (out => '', err => '');

	$b{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', 60, '-d', '-d', @args,
			$node->connstr('postgres') ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
	return \%b;
}

sub restart
{
	for (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		# a backend of the old server may still hold the shared memory
		$node->stop('fast', fail_ok => 1);
		usleep(100_000);
	}
	die 'the server does not start';
}

for my $cycle (1 .. $cycles)
{
	my @jobs = (
		bench(4, (map { ('-f', $_) } @files), '-f', $grow),
		bench(1, '-f', $vacuum));

	usleep(500_000 + rand(1_500_000));
	$node->kill9;
	$_->{run}->kill_kill for @jobs;
	restart();
	is(differences($node, 30), 0, "cycle $cycle: answers like the heap");
	check_all($node, "cycle $cycle");
	my ($status, $out, $err) = $node->psql('postgres',
		q{SELECT recsys_index_check('grown_ip', true)});
	is($status, 0, "cycle $cycle: the grown index") || diag($err);
}

# unlogged: empty after a crash, and usable
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE unlogged (id int, e vector(4));
	CREATE INDEX unlogged_l2 ON unlogged USING ann (e vector_l2_ops);
	INSERT INTO unlogged SELECT i, ARRAY[i, 1, 2, 3]::vector
	FROM generate_series(1, 2000) i});
$node->kill9;
restart();
is($node->safe_psql('postgres', q{SET enable_seqscan = off;
	SELECT count(*) FROM (SELECT id FROM unlogged
		ORDER BY e <-> '[1,2,3,4]' LIMIT 10) r}), '0', 'unlogged: empty');
$node->safe_psql('postgres', q{INSERT INTO unlogged
	SELECT i, ARRAY[i, 1, 2, 3]::vector FROM generate_series(1, 100) i});
is($node->safe_psql('postgres', q{SET enable_seqscan = off;
	SELECT count(*) FROM (SELECT id FROM unlogged
		ORDER BY e <-> '[1,2,3,4]') r}), '100', 'unlogged: filled again');
is($node->safe_psql('postgres',
		q{SELECT recsys_index_check('unlogged_l2', true)}), '',
	'unlogged: sound');

# and as good as another one, before it gets its first new structure
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE broad (id int, e vector(64));
	CREATE INDEX broad_ip ON broad USING ann (e vector_ip_ops)});
$node->kill9;
restart();
$node->safe_psql('postgres', q{INSERT INTO broad
	SELECT i, (SELECT array_agg(random() - 0.5 + 0 * (g + i))
		FROM generate_series(1, 64) g)::vector FROM generate_series(1, 900) i});
my $found = $node->safe_psql('postgres', q{
	SET enable_seqscan = off;
	CREATE TEMP TABLE got AS SELECT q.id AS asked, r.id
	FROM broad q, LATERAL (SELECT id FROM broad ORDER BY e <#> q.e LIMIT 10) r
	WHERE q.id <= 50;
	SET enable_seqscan = on; SET enable_indexscan = off;
	SELECT count(*) FROM got, (SELECT q.id AS asked, r.id FROM broad q,
		LATERAL (SELECT id FROM broad ORDER BY e <#> q.e LIMIT 10) r
		WHERE q.id <= 50) best
	WHERE got.asked = best.asked AND got.id = best.id});
cmp_ok($found, '>=', 490, "unlogged: $found of 500 found after a crash");
$node->stop;
done_testing();
