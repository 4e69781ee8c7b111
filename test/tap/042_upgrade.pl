# pg_upgrade carries models and indexes into a new server as files.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $old = new_node('old');
load_ratings($old, 'ratings', 400, 150);
$old->safe_psql('postgres', q{SELECT * FROM recsys_train('ratings')});
make_rows($old, 2500, 8);
make_indexes($old);
my @before = (answers($old), differences($old, 20));
my $predicted = q{SELECT u, i, predict(u, i) FROM generate_series(1, 20) u,
	generate_series(1, 150, 17) i ORDER BY 1, 2};
my $values = $old->safe_psql('postgres', $predicted);
my $checks = q{SELECT count(recsys_index_check(i.oid, true)::text) FROM pg_class i
	JOIN pg_am a ON a.oid = i.relam WHERE amname = 'ann'};
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', 'max_worker_processes = 12');
my $bin = $new->config_data('--bindir');
# it writes into the folder where it stands
chdir ${PostgreSQL::Test::Utils::tmp_check};
$new->command_ok(
	[ 'pg_upgrade', '--no-sync', '-b', $bin, '-B', $bin,
		'-d', $old->data_dir, '-D', $new->data_dir,
		'-p', $old->port, '-P', $new->port, '-s', $new->host, '-U', 'postgres' ],
	'pg_upgrade');
$new->start;
is(answers($new), $before[0], 'recommend answers the same');
is($new->safe_psql('postgres', $predicted), $values, 'predict as well');
is(differences($new, 20), $before[1], 'indexes answer as a sort does');
is($new->safe_psql('postgres', $checks), '3', 'and have every row');
is( $new->safe_psql('postgres',
		q{SELECT (recsys_train('ratings', epochs => 1)).version}),
	'2', 'training goes on with the next version');
$new->stop;
done_testing();
