-- recommend, recommend_users, similar_*, *_embedding on models made by hand
SET client_min_messages = warning;
CREATE SCHEMA serve_recommend;
SET search_path = serve_recommend, public;

CREATE TABLE ratings (u int, i int, r real);
\getenv sources PG_ABS_SRCDIR
\set register :sources '/sql/include/register.sql'
\i :register
INSERT INTO ratings VALUES (1, 10, 5), (1, 20, 3), (2, 10, 4), (3, 30, 1),
	(3, 30, 2), (3, NULL, 2), (7, 80, 5), (7, 10, 1);
CREATE INDEX ON ratings (u);
CREATE TABLE default_user (user_id int PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO default_user VALUES (1, '[1,0]', NULL, 2), (2, '[0,1]', NULL, 1),
	(3, '[1,1]', NULL, 1), (4, '[-1,0.5]', NULL, 0), (5, NULL, NULL, 0);
CREATE TABLE default_item (item_id int PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO default_item VALUES (10, '[3,1]', NULL, 5),
	(20, '[2,2]', NULL, 1), (30, '[1,3]', NULL, 5), (40, '[0.5,0.25]', NULL, 2),
	(50, '[-1,0]', NULL, 0), (60, '[2,2]', NULL, 3), (70, NULL, NULL, 9),
	(80, '[0,0]', NULL, 7);
CREATE TABLE default_param (name text PRIMARY KEY, shape int[], value real[]);
INSERT INTO default_param VALUES ('feature/user', '{1,3}', '{1,0,0}');
SELECT register('default', 'int', 'int', 2);

-- an int4 literal and an unknown literal resolve
SELECT * FROM recommend(1, 3);
SELECT * FROM recommend('1', 3);
SELECT * FROM recommend(1);
SELECT * FROM recommend(1::smallint, 2, 'default', false);
SELECT * FROM recommend(user_id => 2, exclude_seen => false, k => 2);
-- ties go by key
SELECT * FROM recommend(3, 3);
-- in a select list, a join, a lateral one, with WHERE
SELECT (recommend(4, 2)).item;
SELECT u.user_id, r.item_id, round(r.score::numeric, 3) AS score
	FROM default_user u, LATERAL recommend(u.user_id, 2) r ORDER BY 1, r.rank;
SELECT r.rank, r.item_id, d.interactions FROM recommend(1, 100) r
	JOIN default_item d USING (item_id) WHERE d.interactions > 2 ORDER BY 1;
-- an unknown user, one out of range and one without a vector: popular items
SELECT * FROM recommend(99, 4);
SELECT * FROM recommend(9223372036854775807, 1);
SELECT * FROM recommend(-9223372036854775808, 1);
SELECT * FROM recommend(5, 1);
-- of one without interactions the vector counts when it is by features
SELECT source FROM recommend(4, 1);
DELETE FROM default_param;
SELECT source FROM recommend(4, 1);
INSERT INTO default_param VALUES ('feature/user', '{1,3}', '{1,0,0}');
-- seen items are excluded there too, user 7 has rated 80 and 10
SELECT * FROM recommend(7, 3);
SELECT * FROM recommend(7, 1, exclude_seen => false);

-- k
SELECT count(*) FROM recommend(1, 0);
SELECT count(*), max(rank) FROM recommend(1, 1000000000);
SELECT count(*) FROM recommend(99, 2147483647);
SELECT * FROM recommend(1, -1);
\set VERBOSITY sqlstate
SELECT * FROM recommend(1, -1);
SELECT * FROM recommend(NULL::bigint);
SELECT * FROM recommend(NULL::text);
SELECT * FROM recommend(1, NULL);
SELECT * FROM recommend(1, 10, exclude_seen => NULL);
SELECT * FROM recommend('abc');
SELECT * FROM recommend('99999999999999999999');
SELECT * FROM recommend(1, 10, 'no_such_model');
SELECT * FROM recommend(1, 10, 'no_such_schema.default');
SELECT * FROM recommend(1, 10, '');
SELECT count(*) FROM recommend(1, 10, NULL);
\set VERBOSITY default
SELECT * FROM recommend(1, 10, 'no_such_model');
SELECT * FROM recommend(NULL::bigint);

-- the same from plain SQL
SELECT i.item_id, -(i.embedding <#> user_embedding(3)) AS score
	FROM default_item i WHERE i.embedding IS NOT NULL
	AND NOT EXISTS (SELECT FROM ratings r WHERE r.u = 3 AND r.i = i.item_id)
	ORDER BY i.embedding <#> user_embedding(3), i.item_id;
SELECT item_id, score FROM recommend(3, 100);
SELECT user_embedding(1), user_embedding('3'), user_embedding(99),
	user_embedding(5), item_embedding(10), item_embedding('40', 'default');
\set VERBOSITY sqlstate
SELECT user_embedding(NULL::bigint);
SELECT item_embedding(1, 'no_such_model');
\set VERBOSITY default

-- whom to tell of an item; what is near
SELECT * FROM recommend_users(10, 5);
SELECT * FROM recommend_users(10, 2, exclude_seen => false);
SELECT * FROM recommend_users('50');
SELECT * FROM recommend_users(99);
SELECT rank, item_id, item, round(score::numeric, 4) FROM similar_items(10);
SELECT rank, item_id, item, round(score::numeric, 4)
	FROM similar_items('80', 2);
SELECT rank, user_id, user_key, round(score::numeric, 4) FROM similar_users(1);
SELECT * FROM similar_users(99);
SELECT count(*) FROM similar_items(10, 0);
\set VERBOSITY sqlstate
SELECT * FROM similar_items(10, -1);
SELECT * FROM similar_items(NULL::text);
SELECT * FROM recommend_users(10, NULL);
SELECT * FROM similar_users(1, 1, 'no_such_model');
\set VERBOSITY default

-- everything seen: no rows, and never a seen one
INSERT INTO ratings SELECT 2, item_id, 1 FROM default_item;
SELECT count(*) FROM recommend(2, 10);
SELECT count(*) FROM recommend(2, 10, exclude_seen => false);
DELETE FROM ratings WHERE u = 2 AND i = 30;
SELECT item_id FROM recommend(2, 10);

-- other indexes of the ratings, none, and children of the table
DROP INDEX ratings_u_idx;
CREATE INDEX ON ratings (u) WHERE i > 10;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
CREATE INDEX ON ratings (u, i DESC);
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
SELECT array_agg(user_key ORDER BY rank) FROM recommend_users(10, 10);
CREATE TABLE more () INHERITS (ratings);
INSERT INTO more VALUES (1, 60);
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
DROP TABLE more;

-- changes of the tables show at once, and rollback takes them back
BEGIN;
DELETE FROM default_item WHERE item_id = 60;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
SAVEPOINT s;
UPDATE default_item SET embedding = '[9,9]' WHERE item_id = 50;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
ROLLBACK TO s;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
ROLLBACK;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
-- a cursor keeps its snapshot, whatever has been cached since
BEGIN;
DECLARE c CURSOR FOR SELECT array_agg(item_id ORDER BY rank)
	FROM recommend(1, 10);
DELETE FROM default_item WHERE item_id = 60;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
FETCH c;
SELECT array_agg(item_id ORDER BY rank) FROM recommend(1, 10);
ROLLBACK;
BEGIN;
TRUNCATE default_item;
SELECT count(*) FROM recommend(1, 10);
ROLLBACK;
SELECT count(*) FROM recommend(1, 10);

-- nothing cached: plain SQL answers the same, through an index if there is one
SET recsys.cache_size = 0;
SELECT * FROM recommend(1, 3);
SELECT * FROM recommend(99, 4);
SELECT item_id FROM recommend(2, 10);
SELECT count(*) FROM recommend(1, 1000000000);
SELECT rank, item_id, round(score::numeric, 4) FROM similar_items(10, 3);
RESET recsys.cache_size;

-- vectors that do not fit, tables that are not there
ALTER TABLE default_user ALTER embedding TYPE vector;
UPDATE default_user SET embedding = '[1,2,3]' WHERE user_id = 1;
SELECT * FROM recommend(1);
SELECT count(*) FROM recommend(3);
ALTER TABLE default_item RENAME embedding TO e;
SELECT * FROM recommend(3);
ALTER TABLE default_item RENAME e TO embedding;
ALTER TABLE default_item ALTER embedding TYPE text;
SELECT * FROM recommend(3);
\set VERBOSITY sqlstate
DROP TABLE default_user;
SELECT * FROM recommend(3);

-- other types of keys
\set VERBOSITY default
CREATE DOMAIN isbn AS varchar;
CREATE TABLE text_ratings (u uuid, i isbn, r real);
CREATE TABLE "Te xt_user" (user_id uuid PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO "Te xt_user" VALUES
	('00000000-0000-0000-0000-000000000001', '[1,0]', NULL, 2),
	('00000000-0000-0000-0000-000000000002', '[0,1]', NULL, 2);
CREATE TABLE "Te xt_item" (item_id isbn PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO "Te xt_item" VALUES ('a', '[1,1]', NULL, 1),
	('B', '[2,1]', NULL, 1), ('É ', '[0,2]', NULL, 1), ('', '[3,3]', NULL, 0);
INSERT INTO text_ratings VALUES
	('00000000-0000-0000-0000-000000000001', 'B', 1);
CREATE TABLE "Te xt_param" (name text PRIMARY KEY, shape int[], value real[]);
SELECT register('Te xt', 'uuid', 'varchar', 2, ratings => 'text_ratings');
SELECT * FROM recommend('00000000-0000-0000-0000-000000000001', 9, 'Te xt');
SELECT * FROM recommend('00000000000000000000000000000002', 2,
	'serve_recommend.Te xt');
SELECT * FROM recommend('00000000-0000-0000-0000-000000000003', 4, 'Te xt');
SELECT * FROM recommend_users('B', 9, 'Te xt');
SELECT rank, item_id, item, round(score::numeric, 4)
	FROM similar_items('É ', 9, 'Te xt');
SELECT item_embedding('É ', 'Te xt'), item_embedding('É', 'Te xt');
\set VERBOSITY sqlstate
SELECT * FROM recommend('x', 9, 'Te xt');
SELECT * FROM recommend(1, 9, 'Te xt');
\set VERBOSITY default
CREATE TABLE num_ratings (u numeric, i bigint, r real);
CREATE TABLE num_user (user_id numeric PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO num_user VALUES (1.50, '[1,0]', NULL, 2), (2, '[0,1]', NULL, 2);
CREATE TABLE num_item (item_id bigint PRIMARY KEY, embedding vector(2),
	ranking vector(2), interactions int);
INSERT INTO num_item VALUES (9223372036854775807, '[1,1]', NULL, 1),
	(-9223372036854775808, '[2,1]', NULL, 1), (3000000000, '[3,3]', NULL, 0);
INSERT INTO num_ratings VALUES (1.500, 3000000000, 1), (2.0, 3000000000, 1);
CREATE TABLE num_param (name text PRIMARY KEY, shape int[], value real[]);
SELECT register('num', 'numeric', 'int8', 2, ratings => 'num_ratings');
SELECT * FROM recommend('1.5', 9, 'num');
SELECT * FROM recommend(2, 9, 'num');
SELECT * FROM recommend_users(3000000000, 9, 'num', exclude_seen => false);
SELECT * FROM recommend_users(3000000000, 9, 'num');

-- the ratings table is renamed, loses a column, goes
ALTER TABLE num_ratings RENAME TO num_ratings_2;
SELECT item_id FROM recommend(2, 9, 'num');
ALTER TABLE num_ratings_2 ALTER i TYPE text;
SELECT item_id FROM recommend(2, 9, 'num');
ALTER TABLE num_ratings_2 RENAME i TO j;
SELECT item_id FROM recommend(2, 9, 'num');
DROP TABLE num_ratings_2;
SELECT item_id FROM recommend(2, 9, 'num');
SELECT item_id FROM recommend(2, 9, 'num', exclude_seen => false);

-- no retrieval stage
UPDATE recsys_model SET dim = 0 WHERE name = 'num';
SELECT item_id FROM recommend(2, 9, 'num');
SELECT user_embedding(2, 'num');

DELETE FROM recsys_model WHERE schema = 'serve_recommend';
SET client_min_messages = error;
DROP SCHEMA serve_recommend CASCADE;
