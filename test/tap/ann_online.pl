# VACUUM makes a new structure of more rows than an insert would, with little
# memory, while others insert: they are not held up, and nothing is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $rows = $ENV{ANN_ONLINE_ROWS} // 60000;
my $node = new_node('online', conf => q{
	fsync = off
	autovacuum = off
	maintenance_work_mem = 1MB
	log_temp_files = 0
});

make_rows($node, $rows, 8);
make_indexes($node);

sub generations
{
	return join ' ', map {
		$node->safe_psql('postgres',
			"SELECT generation FROM recsys_index_stats('items_$_')")
	} qw(ip l2 cosine);
}

is(generations(), '1 1 1', 'as built');
# rows that no cell takes in, by length or by direction
$node->safe_psql('postgres', qq{
	INSERT INTO items SELECT nextval('new_id'), 1, (SELECT array_agg(
		(random() - 0.9) * 20 + 0 * (g + i)) FROM generate_series(1, 8) g)::vector
	FROM generate_series(1, $rows) i});

my $insert = write_script($node, 'insert', 8);
my %job = (out => '', err => '');
$job{run} = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-T', 8, '-f', $insert,
		$node->connstr('postgres') ],
	'<', \undef, '>', \$job{out}, '2>', \$job{err});
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM items');
$node->safe_psql('postgres', 'VACUUM items');
my $after = $node->safe_psql('postgres', 'SELECT count(*) FROM items');
$job{run}->finish;
note("$before rows before VACUUM, $after after; " . generations());
is($job{err} =~ /(ERROR|FATAL|aborted)[^\n]*/ ? $& : '', '', 'no insert failed');
cmp_ok($after, '>', $before, 'inserts went on');
like(generations(), qr/[2-9] [2-9]/, 'new structures were made');
like(slurp_file($node->logfile), qr/temporary file/, 'the sort spilled');
check_all($node, 'afterwards');
is(differences($node, 20), 0, 'answers like the heap');
$node->stop;
done_testing();
