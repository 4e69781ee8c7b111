# Model tables replicated logically: an open session of the subscriber, which
# has them cached, answers by the rows that have been applied.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('publisher', init => { allows_streaming => 'logical' });
load_ratings($node, 'ratings', 500, 200);
$node->safe_psql('postgres', q{SELECT * FROM recsys_train('ratings')});

# the subscriber gets the tables and the list of models by a dump
my $subscriber = new_node('subscriber');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
command_ok([ 'pg_dump', '-f', $file, $node->connstr('postgres') ], 'pg_dump');
$subscriber->safe_psql('postgres', 'DROP EXTENSION recsys');
$subscriber->command_ok(
	[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d',
		$subscriber->connstr('postgres'), '-f', $file ],
	'restore');
my $connection = $node->connstr . ' dbname=postgres';
my @tables = qw(default_user default_item default_param);
$node->safe_psql('postgres',
	'CREATE PUBLICATION models FOR TABLE ' . join(', ', @tables));
$subscriber->safe_psql('postgres',
	"TRUNCATE $_") for @tables;
$subscriber->safe_psql('postgres',
	"CREATE SUBSCRIPTION models CONNECTION '$connection' PUBLICATION models");
$subscriber->poll_query_until('postgres',
	q{SELECT count(*) = 3 FROM pg_subscription_rel WHERE srsubstate IN ('r', 's')})
  or die 'the first copy did not end';
$node->wait_for_catchup('models');
is(answers($subscriber), answers($node), 'the same answers');

my $session = $subscriber->background_psql('postgres');
my $ask = q{SELECT string_agg(item_id || ':' || score, ' ' ORDER BY rank)
	FROM recommend(7, 5)};
my $rate = q{SELECT predict(7, 8)};

# updates, inserts, deletes by hand and by a training
sub follows
{
	my ($what, $sql) = @_;
	my @before = map { scalar $session->query($_) } ($ask, $rate);

	$node->safe_psql('postgres', $sql);
	$node->wait_for_catchup('models');
	my @now = map { scalar $session->query($_) } ($ask, $rate);
	isnt("@now", "@before", "$what reach an open session");
	is($now[$_], $node->safe_psql('postgres', ($ask, $rate)[$_]),
		'and it answers like the publisher')
	  for (0, 1);
	return;
}

follows('updates',
	'UPDATE default_item SET embedding = embedding * embedding WHERE item_id < 50');
follows('deletes',
	'DELETE FROM default_item WHERE item_id IN (SELECT item_id FROM recommend(7, 3))');
follows('inserts', q{INSERT INTO default_item
	SELECT 1000, embedding + embedding, ranking, 1 FROM default_item
	WHERE item_id = (SELECT item_id FROM recommend(7, 1))});
follows('changes of parameters',
	q{UPDATE default_param SET value = ARRAY[2.5, 2.75] WHERE name = 'clamp'});
$session->quit;
$subscriber->stop;
$node->stop;
done_testing();
