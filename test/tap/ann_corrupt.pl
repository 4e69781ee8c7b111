# Flipped bytes in the index's file: a query or the check reports them with
# XX001 or XX002, or the answer is right; never a crash, never a hang.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $flips = $ENV{ANN_FLIPS} // 60;
my $node = new_node('corrupt', conf => "autovacuum = off\n");

make_rows($node, 1200, 8);
make_indexes($node);
my $path = $node->data_dir . '/' . $node->safe_psql('postgres',
	q{SELECT pg_relation_filepath('items_l2')});
my $size = -s $path || die;

$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;
my $good = slurp_file($path);

srand(7);
my %seen;
my $bad = 0;

for my $flip (1 .. $flips)
{
	my $bytes = $good;

	# headers of pages more often than codes
	for (1 .. 1 + $flip % 4)
	{
		my $page = int(rand(length($bytes) / 8192)) * 8192;
		my $at = $page + (rand() < 0.6 ? int(rand(120)) : int(rand(8192)));

		$at = $page + 8192 - 1 - int(rand(8)) if rand() < 0.1;
		substr($bytes, $at, 1) = chr(int(rand(256)));
	}
	open(my $f, '+<:raw', $path) || die;
	print $f $bytes;
	close($f);
	$node->start;
	for my $sql (
		q{SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[1,1,1,1,0,0,0,0]' LIMIT 30) r},
		q{SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[1,1,1,1,0,0,0,0]') r},
		q{SELECT recsys_index_check('items_l2', true)},
		q{SELECT rows FROM recsys_index_stats('items_l2')},
		q{INSERT INTO items VALUES (nextval('new_id'), 1, '[1,0,1,0,1,0,1,0]')},
		q{DELETE FROM items WHERE id = (SELECT max(id) FROM items)},
		q{VACUUM items})
	{
		my ($status, $out, $err) = $node->psql('postgres',
			"\\set VERBOSITY verbose\nSET statement_timeout = '20s';
			SET enable_seqscan = off;\n$sql;", on_error_stop => 0);

		if ($err =~ /ERROR:\s+(\w{5}):/)
		{
			$seen{$1}++;
			# a reorganised index (40001) looks the same as a newer stamp
			next if $1 =~ /^(XX001|XX002|55000|40001)$/;
			$bad++;
			diag("flip $flip: $sql: $err");
		}
		elsif ($err =~ /server closed|FATAL|PANIC/ || $status == 2)
		{
			$bad++;
			diag("flip $flip: $sql: $err");
		}
	}
	$node->stop('fast', fail_ok => 1);
}
is($bad, 0, "$flips corrupted files: clear errors or right answers");
ok(($seen{XX002} // 0) > 0, 'some were noticed');
note(join ', ', map { "$_ $seen{$_}" } sort keys %seen);
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no crash');

open(my $f, '+<:raw', $path) || die;
print $f $good;
close($f);
$node->start;
$node->safe_psql('postgres', 'REINDEX TABLE items');
check_all($node, 'after REINDEX');
$node->stop;
done_testing();
