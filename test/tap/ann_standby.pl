# A streaming standby gives the same rows in the same order through cycles
# of change, with every replayed page compared; it can be promoted under load.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $cycles = $ENV{ANN_STANDBY_CYCLES} // 6;
my $node = new_node('primary',
	init => { allows_streaming => 1 },
	conf => "wal_consistency_checking = 'all'\nautovacuum = off\n");

make_rows($node, 1500, 8);
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
make_indexes($node);
# one that grows from nothing, through new structures
$node->safe_psql('postgres', q{
	CREATE TABLE grown AS SELECT * FROM items LIMIT 0;
	CREATE INDEX grown_ip ON grown USING ann (e vector_ip_ops)});

for my $cycle (1 .. $cycles)
{
	$node->safe_psql('postgres', qq{
		DELETE FROM items WHERE id % 10 = $cycle % 10;
		UPDATE items SET keep = keep + 1 WHERE id % 7 = 0;
		UPDATE items SET e = l2_normalize(e) WHERE id % 11 = $cycle;
		VACUUM items;
		INSERT INTO items SELECT nextval('new_id'), 1,
			(SELECT array_agg(random() * $cycle + 0 * (g + i))
			 FROM generate_series(1, 8) g)::vector
		FROM generate_series(1, 600) i;
		INSERT INTO grown SELECT * FROM items;
		VACUUM grown;
		VACUUM items});
	# VACUUM commits without a transaction number: its last WAL may not be
	# written yet, and by default only what is written is waited for
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	is(ordered_answers($standby, 8), ordered_answers($node, 8),
		"cycle $cycle: the same order");
	is($standby->safe_psql('postgres',
			q{SELECT recsys_index_check('grown_ip', true),
			recsys_index_check('items_l2', true)}), '|',
		"cycle $cycle: sound on the standby");
}
is(differences($standby, 50), 0, 'the standby answers like its heap');

# promotion under load
my $file = write_script($node, 'insert', 8);
my $job = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-T', 30, '-f', $file,
		$node->connstr('postgres') ],
	'<', \undef, '>', '/dev/null', '2>', '/dev/null');
sleep 1;
$node->stop('immediate');
$job->kill_kill;
$standby->promote;
is(differences($standby, 30), 0, 'promoted: answers like its heap');
$standby->safe_psql('postgres', q{
	INSERT INTO items SELECT 2000000 + i, 1,
		(SELECT array_agg(random() + 0 * (g + i)) FROM generate_series(1, 8) g)::vector
	FROM generate_series(1, 1000) i});
check_all($standby, 'promoted');
is(differences($standby, 30), 0, 'promoted: and after inserts');
unlike(slurp_file($standby->logfile), qr/inconsistent page/,
	'no inconsistent page');
$standby->stop;
done_testing();
