# Under old_snapshot_threshold (up to 16) VACUUM may remove what an old snapshot
# still sees. A scan of the index by such a snapshot ends with 72000 when a page
# that it reads was changed since: the heap does not notice, since the rows that
# are left lie in pages of their own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $rows = 20000;
my $query = q{SELECT count(*) || ' ' || min(id) FROM (SELECT id FROM items
	ORDER BY e <-> '[0,0,0,0]' LIMIT 10) r};
my $node = new_node('old', conf => "autovacuum = off\n");

if ($node->pg_version >= 17)
{
	isnt($node->psql('postgres', 'SHOW old_snapshot_threshold'),
		0, 'no snapshot of this server grows too old');
	done_testing();
	exit 0;
}
$node->append_conf('postgresql.conf', "old_snapshot_threshold = 0\n");
$node->restart;

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# a tenth is near 0, the rest far away and in other heap pages
sql(qq{CREATE TABLE items (id int, e vector(4));
	INSERT INTO items SELECT i, ARRAY[random(), random(), random(),
		CASE WHEN i <= $rows / 10 THEN random() ELSE 100 + random() END]::vector
	FROM generate_series(1, $rows) i});
sql('CREATE INDEX ON items USING ann (e vector_l2_ops)');
sql('VACUUM (FREEZE, ANALYZE) items');

# What a snapshot of before $change says when it has grown old: threshold 0
# means some seconds.
sub old_answer
{
	my ($change) = @_;
	my $old = $node->background_psql('postgres', on_error_stop => 0);
	my $answer;

	$old->query_safe('SET enable_seqscan = off; SET enable_sort = off;
		SET recsys.target_recall = 1;
		BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	sql($change);
	sleep(7);
	sql('SELECT pg_current_xact_id()');
	$old->query('\set VERBOSITY verbose');
	$answer = $old->query($query);
	$answer = $old->{stderr} if $old->{stderr} ne '';
	$old->{stderr} = '';
	$old->quit;
	return $answer;
}

my $too_old = qr/ERROR:\s+72000: snapshot too old/;

like(old_answer('SELECT 1'), qr/^10 \d+$/, 'no page was changed: an answer');
sql("DELETE FROM items WHERE id <= $rows / 10");
like(old_answer('VACUUM items'), $too_old, 'rows were removed from leaves');
sql("DELETE FROM items WHERE id > $rows / 2");
like(old_answer('VACUUM items'), $too_old, 'a new structure was made');
is( sql(q{SELECT generation > 1 FROM recsys_index_stats('items_e_idx')}),
	't', 'indeed');
$node->stop;
done_testing();
