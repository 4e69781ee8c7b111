# wait => false: the leader is a background worker under the caller's role.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('main');
load_ratings($node, 'ratings', 500, 200);
$node->safe_psql('postgres', q{
	CREATE ROLE trainer LOGIN;
	CREATE ROLE stranger LOGIN;
	GRANT SELECT ON ratings TO trainer;
	GRANT CREATE ON SCHEMA public TO trainer, stranger;
});
my @trainer = (extra_params => [ '-U', 'trainer' ]);
my @stranger = (extra_params => [ '-U', 'stranger' ]);

is( $node->safe_psql('postgres',
		q{SELECT status FROM recsys_train('ratings', 'later', wait => false)},
		@trainer),
	'training', 'the call returns at once');
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM recsys_models WHERE model = 'later'}),
	'the model appears');
is( $node->safe_psql('postgres',
		q{SELECT relowner::regrole FROM pg_class WHERE relname = 'later_user'}
	),
	'trainer', 'and belongs to the trainer');
ok(defined wait_until(sub { !compute_workers($node, 'recsys') }, 5),
	'no process is left');

# without the right to read, nothing comes of it
$node->psql('postgres',
	q{SELECT * FROM recsys_train('ratings', 'mine', wait => false)},
	@stranger);
ok(defined wait_until(sub { !compute_workers($node, 'recsys') }, 10),
	'the training of a role without SELECT ends');
is( $node->safe_psql('postgres',
		q{SELECT count(*) FROM recsys_models WHERE model = 'mine'}),
	'0', 'and makes no model');

# the session that asked may go, and another one cancels
my $long = q{SELECT * FROM recsys_train('ratings', 'long', preset => 'tfrs',
	stages => '{retrieval}', epochs => 1000000, wait => false)};
$node->safe_psql('postgres', $long, @trainer);
training_began($node);
isnt(
	$node->psql('postgres', q{SELECT recsys_cancel('long')}, @stranger), 0,
	'a stranger must not cancel');
is($node->safe_psql('postgres', q{SELECT recsys_cancel('long')}, @trainer),
	't', 'the trainer may');
my $seconds = wait_until(sub { !compute_workers($node, 'recsys') }, 20);
ok(defined $seconds && $seconds < 1.5,
	'all gone after ' . ($seconds // 'more than 20') . ' s');
is( $node->safe_psql('postgres',
		q{SELECT count(*) FROM recsys_models WHERE model = 'long'}),
	'0', 'no model came of it');
$node->stop;
done_testing();
