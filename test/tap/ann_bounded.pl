# The file stays bounded: through new structures for rows that drift, and
# under updates beside autovacuum. An index that began empty is as good as a
# fresh one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $seconds = $ENV{ANN_BOUNDED_SECONDS} // 15;
my $node = new_node('bounded', conf => "fsync = off\nautovacuum = off\n");

sub number
{
	return $node->safe_psql('postgres', $_[0]);
}

# drift: every cycle moves the rows to where no cell takes them in
make_rows($node, 6000, 8);
make_indexes($node);
my %fresh = map { $_ => number("SELECT pg_relation_size('items_$_')") }
  qw(ip l2 cosine);
my @generations;
for my $cycle (1 .. 12)
{
	$node->safe_psql('postgres', qq{
		UPDATE items SET e = (SELECT array_agg(x * 1.7 + ($cycle * 7 + n) % 3
				ORDER BY n) FROM unnest(l2_normalize(e)::real[])
			WITH ORDINALITY u (x, n))::vector;
		VACUUM items; CREATE TABLE xid_$cycle (); VACUUM items});
	push @generations,
	  number(q{SELECT generation FROM recsys_index_stats('items_l2')});
}
note("generations @generations");
cmp_ok($generations[-1], '>=', 6, 'new structures were made');
for my $kind (qw(ip l2 cosine))
{
	my $size = number("SELECT pg_relation_size('items_$kind')");

	# twice the rows (the dead of one cycle), in an old and a new structure,
	# with smaller cells than the fresh one; appended 13 times it would be 25
	cmp_ok($size, '<=', 10 * $fresh{$kind},
		"items_$kind is bounded: $size, fresh $fresh{$kind}");
}
check_all($node, 'after drift');
is(differences($node, 40), 0, 'answers like the heap');

# updates beside autovacuum
$node->append_conf('postgresql.conf', q{
	autovacuum = on
	autovacuum_naptime = 1
	autovacuum_vacuum_cost_delay = 0});
$node->reload;
$node->safe_psql('postgres', q{
	ALTER TABLE items SET (autovacuum_enabled = on,
		autovacuum_vacuum_scale_factor = 0.1);
	REINDEX TABLE items});
my $before = number("SELECT pg_relation_size('items_ip')");
my %job = (out => '', err => '');
$job{run} = IPC::Run::start(
	[ 'pgbench', '-n', '-T', $seconds, '-c', 3,
		'-f', write_script($node, 'update', 8), $node->connstr('postgres') ],
	'<', \undef, '>', \$job{out}, '2>', \$job{err});
$job{run}->finish;
unlike($job{err}, qr/ERROR/, 'no error of an update');
my ($updates) = $job{out} =~ /actually processed: (\d+)/;
my $after = number("SELECT pg_relation_size('items_ip')");
note("$updates updates, $before to $after bytes");
cmp_ok($updates, '>', 3000, 'many updates');
cmp_ok($after, '<=', 4 * $before, 'the index is bounded under them');
check_all($node, 'after updates');
is(differences($node, 40), 0, 'answers like the heap');

# from nothing, by INSERT and COPY; then as fast as one made at once
$node->safe_psql('postgres', q{
	CREATE TABLE grown (id int, e vector(8)) WITH (autovacuum_enabled = off);
	CREATE INDEX grown_ip ON grown USING ann (e vector_ip_ops);
	COPY (SELECT id, e FROM items) TO '/tmp/} . $node->name . q{.rows';
	INSERT INTO grown SELECT id, e FROM items WHERE id % 2 = 0;
	COPY grown FROM '/tmp/} . $node->name . q{.rows';
	VACUUM grown;
	CREATE INDEX grown_again ON grown USING ann (e vector_ip_ops)});
unlink '/tmp/' . $node->name . '.rows';
my ($cells, $log, $cells_again) = split /\|/, number(q{
	SELECT a.cells, a.log_rows, b.cells FROM recsys_index_stats('grown_ip') a,
		recsys_index_stats('grown_again') b});
cmp_ok($cells, '>=', $cells_again / 4, "as many cells: $cells, $cells_again");
cmp_ok($log, '<=', 1500, "few rows in the log: $log");

# one command that inserts far more rows than an insert makes structures of
$node->safe_psql('postgres', q{
	CREATE TABLE bulk (id int, e vector(4)) WITH (autovacuum_enabled = off);
	CREATE INDEX bulk_l2 ON bulk USING ann (e vector_l2_ops);
	INSERT INTO bulk SELECT i, ARRAY[sin(i), cos(i * 1.7), sin(i * 2.3),
		cos(i * 0.9)]::vector FROM generate_series(1, 200000) i;
	CREATE INDEX bulk_again ON bulk USING ann (e vector_l2_ops)});
($cells, $log, $cells_again) = split /\|/, number(q{
	SELECT a.cells, a.log_rows, b.cells FROM recsys_index_stats('bulk_l2') a,
		recsys_index_stats('bulk_again') b});
cmp_ok($cells, '>=', $cells_again / 2, "as many cells: $cells, $cells_again");
cmp_ok($log, '<=', 10000, "few rows in the log: $log");
is($node->psql('postgres', q{SELECT recsys_index_check('bulk_l2', true)}), 0,
	'and every row');
$node->stop;
done_testing();
