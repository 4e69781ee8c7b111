# An index built by several processes is the one that one process builds,
# byte for byte; with little memory, without workers, beside writers, after a
# crash and when it is cancelled.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $rows = $ENV{ANN_PARALLEL_ROWS} // 20000;
my $node = new_node('parallel', conf => "autovacuum = off\n");

make_rows($node, $rows, 8);
# two workers whatever the table's size and the memory
$node->safe_psql('postgres', 'ALTER TABLE items SET (parallel_workers = 2)');

# Build an index; how many workers took part.
sub build
{
	my ($name, $settings, $on) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "$settings
		SET client_min_messages = debug1;
		CREATE INDEX $name ON items USING ann $on");

	is($status, 0, "$name is built") || diag($err);
	return $err =~ /building index "$name" with (\d) parallel workers/ ? $1 : 0;
}

# The pages of an index without their LSN.
sub pages
{
	my ($name) = @_;

	$node->safe_psql('postgres', 'CHECKPOINT');
	my $file = $node->data_dir . '/' . $node->safe_psql('postgres',
		"SELECT pg_relation_filepath('$name')");
	my $bytes = slurp_file($file);

	for (my $at = 0; $at < length($bytes); $at += 8192)
	{
		substr($bytes, $at, 10) = "\0" x 10;
	}
	return $bytes;
}

my $serial = 'SET max_parallel_maintenance_workers = 0;';
my $team = 'SET max_parallel_maintenance_workers = 2;';

for my $o ([ ip => '' ], [ l2 => '' ], [ cosine => '' ],
	[ ip => q{ WHERE keep < 50} ])
{
	my ($kind, $where) = @$o;
	my $on = "(e vector_${kind}_ops)$where";

	is(build("a_$kind", $serial, $on), 0, "$kind: one process");
	is(build("b_$kind", $team, $on), 2, "$kind: two workers");
	# but for the sums of floats in the metapage, in another order
	my ($a, $b) = map { substr(pages($_ . "_$kind"), 8192) } qw(a b);
	ok($a eq $b, "$kind$where: the same pages");
	$node->safe_psql('postgres', "DROP INDEX a_$kind; DROP INDEX b_$kind");
}

my $little = "SET maintenance_work_mem = '1MB'; $team";
is(build('items_ip', $little, '(e vector_ip_ops)'), 2, 'in 1 MB');
is(build('items_l2', $team . ' SET max_parallel_workers = 0;',
		'(e vector_l2_ops)'), 0, 'no worker to be had');
is(build('items_cosine', $team, '((e::vector(8)) vector_cosine_ops)'), 2,
	'an expression');
check_all($node, 'built by a team');
is(differences($node, 40), 0, 'answers like the heap');

$node->stop('immediate');
$node->start;
check_all($node, 'after a crash');

# CONCURRENTLY beside writers
my @files = map { ('-f', write_script($node, $_, 8)) } qw(insert update delete);
my %job = (out => '', err => '');
$job{run} = IPC::Run::start(
	[ 'pgbench', '-n', '-T', 6, '-c', 3, @files, $node->connstr('postgres') ],
	'<', \undef, '>', \$job{out}, '2>', \$job{err});
for my $i (1 .. 3)
{
	my ($status, $out, $err) = $node->psql('postgres', "$team
		SET client_min_messages = debug1;
		REINDEX INDEX CONCURRENTLY items_ip");

	is($status, 0, "REINDEX CONCURRENTLY $i") || diag($err);
	like($err, qr/with 2 parallel workers/, 'by a team');
}
$job{run}->finish;
unlike($job{err}, qr/ERROR/, 'no error of a writer');
check_all($node, 'built beside writers');
is(differences($node, 40), 0, 'answers like the heap');

# cancelled: an error at once, and no worker stays
$node->safe_psql('postgres', qq{
	INSERT INTO items SELECT nextval('new_id'), 1, e FROM items,
		generate_series(1, 4)});
my ($status, $out, $err) = $node->psql('postgres', "$team
	SET statement_timeout = '150ms';
	CREATE INDEX never ON items USING ann (e vector_l2_ops)");
like($err, qr/statement timeout/, 'cancelled');
ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'parallel worker'}), 'no worker is left');
$node->stop;
done_testing();
