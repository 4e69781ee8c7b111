# Readers see the model before or the one after, never a mix: every answer of
# one statement comes from one version, through many switches.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('main');
load_ratings($node, 'ratings', 120, 60);
my $train = sub {
	my ($seed) = @_;
	return $node->safe_psql('postgres',
		qq{SELECT version FROM recsys_train('ratings', epochs => 1,
			seed => $seed)});
};
# the answers that each of the two models gives
my @valid;
for my $seed (1, 2)
{
	$train->($seed);
	push @valid, answers($node);
}
isnt($valid[0], $valid[1], 'the two models differ');

# two sessions ask all the time while the model changes 40 times
my $ask = q{SELECT md5(string_agg(concat_ws('|', u, r.rank, r.item_id,
		r.score, r.source), E'\n' ORDER BY u, r.rank))
	FROM generate_series(1, 20) u, recommend(u, 5) r;};
my %expected;
$node->safe_psql('postgres', 'SELECT 1');
for my $seed (1, 2)
{
	$train->($seed);
	$expected{ $node->safe_psql('postgres', $ask) } = $seed;
}
my (@readers, @out, @err);
for my $i (0, 1)
{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/ask.sql';
	append_to_file($file, "$ask\n" x 600);
	($out[$i], $err[$i]) = ('', '');
	push @readers, IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', \$out[$i], '2>', \$err[$i]);
}
$train->(1 + $_ % 2) for 1 .. 40;
for my $i (0, 1)
{
	$readers[$i]->finish;
	is($err[$i], '', "reader $i had no error");
	my @answers = split /\n/, $out[$i];
	is(scalar(@answers), 600, "reader $i had every answer");
	is(scalar(grep { !exists $expected{$_} } @answers),
		0, "reader $i saw no mix");
}
$node->stop;
done_testing();
