# An index of an older or a newer format: whatever reads it says 55000 and
# REINDEX, the table's other uses go on, and REINDEX or a training mends it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $version_at = 24 + 4; # in block 0: behind the page header and the magic
my $node = new_node('version',
	unchecked => 1,
	conf => "fsync = off\nautovacuum = off\n");

make_rows($node, 2500, 8);
make_indexes($node);
$node->safe_psql('postgres', q{
	-- room in its page for a new version of row 9
	DELETE FROM items WHERE id BETWEEN 10 AND 14;
	VACUUM items;
	CREATE TABLE deleted AS SELECT * FROM items;
	CREATE INDEX deleted_l2 ON deleted USING ann (e vector_l2_ops)});
# so many users that a training makes an index on their vectors
my $train = q{SET client_min_messages = warning;
	SELECT recsys_train('ratings', stages => '{retrieval}', dim => 8, epochs => 1,
		test_fraction => 0, options => '{"loss": "ials"}')};
$node->safe_psql('postgres', q{
	CREATE TABLE ratings AS SELECT u AS user_id, (u * g) % 40 AS item_id
	FROM generate_series(1, 20100) u, generate_series(1, 3, 2) g});
$node->safe_psql('postgres', $train);
my @indexes = split /\n/, $node->safe_psql('postgres', q{
	SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam
	WHERE amname = 'ann' ORDER BY 1::text});
cmp_ok(scalar(grep { /^default_/ } @indexes), '>=', 1,
	'one of a model among them');
my %path = map {
	$_ => $node->data_dir . '/' . $node->safe_psql('postgres',
		"SELECT pg_relation_filepath('$_')")
} @indexes;
my $right;

# All indexes get a version that is off by so much; returns what they had.
sub set_version
{
	my ($off) = @_;
	my $had;

	$node->stop;
	for my $index (@indexes)
	{
			open(my $f, '+<:raw', $path{$index}) || die;
		seek($f, $version_at, 0);
		read($f, my $bytes, 4) == 4 || die;
		$had = unpack('L', $bytes);
		seek($f, $version_at, 0);
		print $f pack('L', $had + $off);
		close($f);
	}
	$node->start;
	return $had;
}

sub refused
{
	my ($name, $sql, $index) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET enable_seqscan = off;\n$sql");

	like($err,
		qr/ERROR:\s+55000:\ index\ "$index"\ has\ format\ version\ \d+,
			\ expected\ $right\n.*HINT:\s+REINDEX\ the\ index/xs, $name)
	  || diag($out);
	return;
}

sub works
{
	my ($name, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	is("$status $err", '0 ', $name);
	return $out;
}

my %operator = (ip => '<#>', l2 => '<->', cosine => '<=>');
my $count = q{SELECT count(*), count(e) FROM items};
my $rows = $node->safe_psql('postgres', $count);

$right = set_version(0);
cmp_ok($right, '>=', 2, 'a version where it is looked for');
for my $off (-1, 1, 1000)
{
	my $name = 'version ' . ($right + $off);

	works('before', 'DELETE FROM deleted WHERE id % 4 = 0');
	set_version($off);
	for my $kind (sort keys %operator)
	{
		my $part = "ORDER BY e $operator{$kind} '[1,1,1,1,0,0,0,1]' LIMIT 3";

		refused("$name: a scan by $kind", "SELECT id FROM items $part",
			"items_$kind");
		refused("$name: check of $kind",
			"SELECT recsys_index_check('items_$kind')", "items_$kind");
		refused("$name: statistics of $kind",
			"SELECT recsys_index_stats('items_$kind')", "items_$kind");
	}
	my $vector = "'[1,2,3,4,5,6,7,8]'";
	refused("$name: INSERT", "INSERT INTO items VALUES (-1, 1, $vector)",
		'items_\w+');
	refused("$name: UPDATE", "UPDATE items SET e = $vector WHERE id = 7",
		'items_\w+');
	refused("$name: COPY", "COPY items FROM STDIN;\n-1\t1\t[1,2,3,4,5,6,7,8]\n\\.\n",
		'items_\w+');
	refused("$name: VACUUM", 'VACUUM deleted', 'deleted_l2');
	refused("$name: VACUUM without dead rows",
		'VACUUM (INDEX_CLEANUP ON) items', 'items_\w+');

	# what needs nothing of it
	is(works("$name: a scan of the table", $count), $rows, "$name: no row came");
	works("$name: a query by key", 'SELECT e FROM items WHERE id = 7');
	works("$name: a sort", q{SET enable_indexscan = off;
		SELECT id FROM items ORDER BY e <#> '[1,1,1,1,0,0,0,1]' LIMIT 3});
	works("$name: an update beside the vector",
		'UPDATE items SET keep = keep WHERE id = 9');
	works("$name: a row without a vector",
		'BEGIN; INSERT INTO items VALUES (-2, 1, NULL); ROLLBACK');

	# and what mends it, each in its way
	works("$name: REINDEX INDEX", 'REINDEX INDEX items_ip');
	works("$name: REINDEX CONCURRENTLY",
		'REINDEX INDEX CONCURRENTLY items_l2');
	works("$name: DROP INDEX", 'DROP INDEX items_cosine');
	works("$name: CREATE INDEX",
		'CREATE INDEX items_cosine ON items USING ann (e vector_cosine_ops)');
	works("$name: REINDEX TABLE", 'REINDEX TABLE deleted');
	works("$name: a training makes that of its model anew", $train);
	for my $index (@indexes)
	{
		works("$name: sound again: $index",
			"SELECT recsys_index_check('$index', true)");
		$path{$index} = $node->data_dir . '/' . $node->safe_psql('postgres',
			"SELECT pg_relation_filepath('$index')");
	}
	is(differences($node, 20), 0, "$name: answers like the heap");
	works("$name: INSERT again", "INSERT INTO items
		VALUES (-1, 1, $vector); DELETE FROM items WHERE id = -1");
	works("$name: VACUUM again", 'VACUUM items');
}
$node->stop;
done_testing();
