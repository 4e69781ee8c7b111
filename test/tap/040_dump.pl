# A dump restored into another server answers the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $node = new_node('main');
load_ratings($node, 'ratings', 500, 200);
$node->safe_psql('postgres', q{
	SELECT * FROM recsys_train('ratings');
	CREATE SCHEMA shop;
	SELECT * FROM recsys_train('ratings', 'shop.other', epochs => 2);
});
# vectors and indexes of the user's own: of the column, of a part of the rows, of an
# expression, and of a partitioned table
make_rows($node, 2500, 8);
make_indexes($node);
$node->safe_psql('postgres', q{
	INSERT INTO items VALUES (-1, 7, NULL);
	CREATE INDEX items_some ON items USING ann (e vector_l2_ops) WHERE keep < 50;
	CREATE INDEX items_unit ON items
		USING ann ((l2_normalize(subvector(e, 1, 4))::vector(4)) vector_ip_ops);
	CREATE TABLE parts (id int, e vector(8)) PARTITION BY HASH (id);
	CREATE TABLE parts0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE parts1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE INDEX parts_e ON parts USING ann (e vector_l2_ops);
	INSERT INTO parts SELECT id, e FROM items WHERE e IS NOT NULL;
});
my $indexes = q{SELECT pg_get_indexdef(i.oid), indisvalid FROM pg_class i
	JOIN pg_am a ON a.oid = i.relam JOIN pg_index ON indexrelid = i.oid
	WHERE amname = 'ann' ORDER BY 1};
my $checks = q{SELECT i.relname, recsys_index_check(i.oid, true) FROM pg_class i
	JOIN pg_am a ON a.oid = i.relam WHERE amname = 'ann' AND relkind = 'i' ORDER BY 1};
my $nearest = q{SET enable_seqscan = off; SET recsys.target_recall = 1;
	SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY e <#> '[1,0,0,1,0,0,0,1]' LIMIT 50) r;
	SELECT array_agg(id) FROM (SELECT id FROM items WHERE keep < 50
		ORDER BY e <-> '[1,0,0,1,0,0,0,1]' LIMIT 50) r;
	SELECT array_agg(id) FROM (SELECT id FROM items ORDER BY e <=> '[1,0,0,1,0,0,0,1]' LIMIT 50) r;
	SELECT array_agg(id) FROM (SELECT id FROM items
		ORDER BY l2_normalize(subvector(e, 1, 4))::vector(4) <#> '[1,0,0,1]' LIMIT 50) r;
	SELECT array_agg(id) FROM (SELECT id FROM parts ORDER BY e <-> '[1,0,0,1,0,0,0,1]' LIMIT 50) r};
# a dump fills it with nothing in the search path
$node->safe_psql('postgres', q{
	CREATE MATERIALIZED VIEW tops AS SELECT * FROM recommend(3, 5, 'public.default')});
# what the DBA decided about the extension's functions stays
$node->safe_psql('postgres', q{
	REVOKE EXECUTE ON FUNCTION recsys_train FROM PUBLIC;
	CREATE ROLE trainer; CREATE ROLE reader;
	GRANT EXECUTE ON FUNCTION recsys_train TO trainer});
my $rights = q{SELECT has_function_privilege('trainer', p.oid, 'EXECUTE'),
	has_function_privilege('reader', p.oid, 'EXECUTE') FROM pg_proc p
	WHERE proname = 'recsys_train'};
my $predicted = q{SELECT u, i, predict(u, i) FROM generate_series(1, 20) u,
	generate_series(1, 200, 17) i ORDER BY 1, 2};
my $models = q{SELECT model, version, users, items, interactions, metrics
	FROM recsys_models ORDER BY 1};
my $other = new_node('other');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $old = new_node('old');
$_->safe_psql('postgres', 'CREATE ROLE trainer; CREATE ROLE reader') for $other, $old;

# plain and custom format
command_ok([ 'pg_dump', '-f', $file, $node->connstr('postgres') ], 'pg_dump');
$other->safe_psql('postgres', 'DROP EXTENSION recsys');
$other->command_ok(
	[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d',
		$other->connstr('postgres'), '-f', $file ],
	'restore');
command_ok([ 'pg_dump', '-Fc', '-f', "$file.c", $node->connstr('postgres') ],
	'pg_dump, custom format');
$old->safe_psql('postgres', 'DROP EXTENSION recsys');
$old->command_ok(
	[ 'pg_restore', '-j', '2', '-e', '-d', $old->connstr('postgres'),
		"$file.c" ],
	'pg_restore, two jobs');
for my $copy ($other, $old)
{
	is(answers($copy), answers($node), 'recommend answers the same');
	is(answers($copy, 'shop.other'), answers($node, 'shop.other'),
		'and of the model in another schema');
	is( $copy->safe_psql('postgres', 'SELECT count(*), count(DISTINCT item_id) FROM tops'),
		'5|5', 'a materialized view of recommendations is filled');
	is( $copy->safe_psql('postgres', $predicted),
		$node->safe_psql('postgres', $predicted),
		'predict answers the same');
	is( $copy->safe_psql('postgres', $models),
		$node->safe_psql('postgres', $models),
		'the list of models is the same');
	is( $copy->safe_psql('postgres', $indexes),
		$node->safe_psql('postgres', $indexes),
		'the indexes are the same');
	is( $copy->safe_psql('postgres', $checks),
		$node->safe_psql('postgres', $checks),
		'and have every row');
	is( $copy->safe_psql('postgres', $nearest),
		$node->safe_psql('postgres', $nearest),
		'and answer the same');
	is(differences($copy, 40), 0, 'as a sort does');
	is($copy->safe_psql('postgres', $rights), 't|f',
		'who may train is the same');
	is($copy->safe_psql('postgres',
			q{SELECT (recsys_train('ratings', epochs => 1)).version}),
		'2', 'and training goes on with the next version');
	$copy->stop;
}
$node->stop;
done_testing();
