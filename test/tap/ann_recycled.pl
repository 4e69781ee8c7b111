# A standby's scan comes to pages that were used again meanwhile: it ends with
# 40001, never with wrong answers, and begun anew it is right. With
# hot_standby_feedback the pages stay.
#
# The rows are as old as the standby's snapshot all along, or the server would
# end the scan by itself for what VACUUM does to the table: structures become
# unfit by inserts that are rolled back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $rows = 6000;
my $vector = "'[1,0,.5,0,.2,.1,0,-1]'";
my $node = new_node('recycled',
	init => { allows_streaming => 1 },
	conf => "autovacuum = off\nmax_prepared_transactions = 0\n");
make_rows($node, $rows, 8);
sql("CREATE INDEX items_l2 ON items USING ann (e vector_l2_ops)");
# what cursor c has left
sql(q{CREATE FUNCTION rest() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		c refcursor := 'c';
		ids int[] := '{}';
		i int;
	BEGIN
		LOOP
			FETCH c INTO i;
			EXIT WHEN NOT FOUND;
			ids := ids || i;
		END LOOP;
		RETURN cardinality(ids) || ' ' || md5(ids::text);
	END $$});
sql('VACUUM (FREEZE, ANALYZE) items');
my $truth = sql(qq{SELECT cardinality(a) || ' ' || md5(a::text) FROM (
	SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY e <-> $vector, id
		OFFSET 3) r) x (a)});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf',
	"max_standby_streaming_delay = 1s\nwal_receiver_status_interval = 1s\n");
$standby->start;

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub catch_up
{
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	return;
}

sub generation
{
	return sql(q{SELECT generation FROM recsys_index_stats('items_l2')});
}

# A cursor on the standby that has begun to read the present structure.
sub open_scan
{
	my $scan = $standby->background_psql('postgres', on_error_stop => 0);

	catch_up();
	$scan->query_safe(qq{SET enable_seqscan = off; SET enable_sort = off;
		SET recsys.target_recall = 1;
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		DECLARE c CURSOR FOR SELECT id FROM items ORDER BY e <-> $vector;
		MOVE 3 FROM c});
	return $scan;
}

# The rest of its rows, or the error.
sub rest_of
{
	my ($scan) = @_;
	my $rest;

	$scan->query('\set VERBOSITY verbose');
	$rest = $scan->query('SELECT rest()');
	$rest = $scan->{stderr} if $scan->{stderr} ne '';
	$scan->{stderr} = '';
	return $rest;
}

# Another structure for many more rows, of which VACUUM makes one for those that
# are left, and may then use the pages of the one before both.
sub outgrow
{
	sql(qq{BEGIN;
		INSERT INTO items SELECT id + 10000 * n, keep, e
		FROM items, generate_series(1, 4) n;
		ROLLBACK});
	sql('SELECT pg_current_xact_id()');
	return;
}

my $vacuum = 'VACUUM (TRUNCATE off) items';
my $reorganised = qr/ERROR:\s+40001:\ index\ "items_l2"\ was\ reorganised
	\ during\ the\ scan\n.*HINT:\s+Run\ the\ query\ again/xs;

my $scan = open_scan();
is(rest_of($scan), $truth, 'a scan of an index in peace');
$scan->quit;

$scan = open_scan();
my $before = generation();
outgrow();
catch_up();
sql($vacuum);
is(generation(), $before + 2, 'a structure for the rows, and back');
catch_up();
like(rest_of($scan), $reorganised, 'pages that were used again: 40001');
$scan->query('ROLLBACK');
$scan->query_safe(qq{BEGIN; DECLARE c CURSOR FOR
	SELECT id FROM items ORDER BY e <-> $vector; MOVE 3 FROM c});
is(rest_of($scan), $truth, 'begun anew it is right');
$scan->quit;

# the same when who used them has given up, and VACUUM has marked them free
sub stopped
{
	my ($point, $do) = @_;
	my $holder = $node->background_psql('postgres');
	my $job;

	$holder->query_safe("SELECT pg_advisory_lock(hashtext('$point'))");
	$job = start_training($node, $vacuum);
	ok(defined wait_until(
			sub {
				sql(q{SELECT count(*) FROM pg_locks
					WHERE locktype = 'advisory' AND NOT granted}) > 0;
			},
			60), "VACUUM at $point");
	$do->();
	sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'training'});
	isnt(finish($job), 0, 'it is cancelled');
	$holder->quit;
	return;
}
$scan = open_scan();
$before = generation();
outgrow();
stopped('ann_retrain_caught_up', sub { });
stopped('ann_retrain_listed', sub { catch_up() });
is(generation(), $before + 1, 'no new structure came of it');
like(rest_of($scan), $reorganised, 'pages that were given up: 40001');
$scan->quit;
sql($vacuum);

# a standby that tells what it still reads
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$standby->reload;
$node->poll_query_until('postgres',
	'SELECT backend_xmin IS NOT NULL FROM pg_stat_replication') || die;
$scan = open_scan();
$before = generation();
outgrow();
sql($vacuum);
is(generation(), $before + 2, 'with feedback: new structures');
catch_up();
is(rest_of($scan), $truth, 'with feedback: the pages are still there');
$scan->quit;

is($standby->safe_psql('postgres', q{SELECT sum(conflicts) FROM pg_stat_database}),
	0, 'the server itself had no conflict');
is($standby->safe_psql('postgres', q{SELECT recsys_index_check('items_l2', true)}),
	'', 'sound on the standby');
$standby->stop;
$node->stop;
done_testing();
