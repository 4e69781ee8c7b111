# How much memory a training takes for each interaction: private memory of
# the leader and its workers, and the block that they share, at its peak. Two
# tables of different size with the same users and items tell it apart from
# what any training takes. A session's second training takes no more than its
# first: what was read must be given back while workers compute. And a long list
# to be ranked takes no more than its rows.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use RecsysTrain;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('memory', "max_wal_size = 4GB\nautovacuum = off\n");
my $limit = 18;    # bytes an interaction
my ($small, $large) = (500_000, 2_500_000);

sub kilobytes
{
	my ($pid, $key) = @_;
	open(my $f, '<', "/proc/$pid/status") or return 0;
	my ($line) = grep { /^$key:/ } <$f>;
	return ($line // '') =~ /(\d+) kB/ ? $1 : 0;
}

# bytes that the server's processes have now
sub now
{
	my ($own, $shared) = (0, 0);
	my $pid = $node->{_pid};
	for my $child (split ' ', slurp_file("/proc/$pid/task/$pid/children"))
	{
		$own += kilobytes($child, 'RssAnon');
		open(my $f, '<', "/proc/$child/cmdline") or next;
		next unless (<$f> // '') =~ /compute worker/;
		my $block = kilobytes($child, 'RssShmem') + kilobytes($child, 'RssFile');
		$shared = $block if $block > $shared;
	}
	return 1024 * ($own + $shared);
}

# the most while one session trains so many times
sub peak
{
	my ($n, $times) = @_;
	my $sql = "SELECT recsys_train('r$n', stages => '{retrieval}', dim => 16, "
	  . 'epochs => 1, workers => 2, test_fraction => 0, '
	  . q{options => '{"loss": "ials"}');};
	my $start = now();
	my $call = start_call($node, $sql x $times);
	my $most = 0;
	while ($call->{run}->pumpable)
	{
		my $above = now() - $start;
		$most = $above if $above > $most;
		$call->{run}->pump_nb;
		usleep(2_000);
	}
	my (undef, $err) = wait_call($call);
	unlike($err, qr/ERROR/, "trained with $n interactions");
	return $most;
}

for my $n ($small, $large)
{
	$node->safe_psql('postgres', qq{
		CREATE TABLE r$n AS SELECT i % 5000 AS user_id,
			(i / 5000 * 7 + i % 5000) % 3500 AS item_id
			FROM generate_series(0, $n - 1) i});
}
for my $times (1, 2)
{
	my $each = (peak($large, $times) - peak($small, $times)) / ($large - $small);
	cmp_ok($each, '<', $limit, "bytes an interaction, training $times of a session");
	cmp_ok($each, '>', 8, 'and the measurement sees them');
	note(sprintf '%.1f bytes', $each);
}
# ranked items: what one takes is given back
$node->safe_psql('postgres', q{SELECT recsys_train('ratings', 'ranked', stages => '{ranking}', epochs => 1,
	dim => 64, options => '{"ranking_loss": "mse"}')});
my $ranked = q{SELECT count(*) FROM rank_items(1, ARRAY(SELECT i % 701 FROM generate_series(1, %d) i)::bigint[], 'ranked');};
my $grown = $node->safe_psql('postgres', sprintf($ranked, 100) . q{
	CREATE TEMP TABLE hwm (at text);
	COPY hwm FROM PROGRAM 'grep -h VmHWM /proc/$PPID/status' (DELIMITER '|');} . sprintf($ranked, 400_000) . q{
	COPY hwm FROM PROGRAM 'grep -h VmHWM /proc/$PPID/status' (DELIMITER '|');
	SELECT max(kb) - min(kb) FROM (SELECT substring(at, '[0-9]+')::int AS kb FROM hwm) x});
$grown = (split /\n/, $grown)[-1];
note("$grown kB for 400,000 ranked items");
cmp_ok($grown, '<', 80_000, 'ranking a long list');
$node->stop;
done_testing();
