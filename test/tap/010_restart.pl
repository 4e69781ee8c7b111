# A server with the extension survives stop, start and kill -9 of all of it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION recsys');
is($node->safe_psql('postgres',
		q{SELECT extversion FROM pg_extension WHERE extname = 'recsys'}),
	'1.0', 'extension is there');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_extension WHERE extname = 'recsys'}),
	'1', 'and after a crash');
$node->stop;
done_testing();
