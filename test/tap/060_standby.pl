# A streaming standby serves the same recommendations and refuses to train.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('primary', init => { allows_streaming => 1 });
load_ratings($node, 'ratings', 500, 200);
$node->safe_psql('postgres', q{SELECT * FROM recsys_train('ratings')});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;

$node->wait_for_catchup($standby);
is(answers($standby), answers($node), 'the same answers');

# a new version reaches open sessions of the standby
my $session = $standby->background_psql('postgres');
my $ask = q{SELECT string_agg(item_id || ':' || score, ' ' ORDER BY rank)
	FROM recommend(7, 5)};
my $first = $session->query($ask);
$node->safe_psql('postgres',
	q{SELECT * FROM recsys_train('ratings', seed => 99, epochs => 1)});
$node->wait_for_catchup($standby);
my $second = $session->query($ask);
isnt($second, $first, 'an open session sees the new version');
is($second, $node->safe_psql('postgres', $ask), 'and it is the primary\'s');
$session->quit;

my ($status, $out, $err) =
  $standby->psql('postgres', q{SELECT * FROM recsys_train('ratings')});
isnt($status, 0, 'a standby does not train');
like($err, qr/read-only|recovery/, 'and says why');

$standby->promote;
is($standby->safe_psql('postgres',
		q{SELECT version FROM recsys_train('ratings', epochs => 1)}),
	'3', 'a promoted one does');
$standby->stop;
$node->stop;
done_testing();
