-- recommend_from: a history instead of a user
SET client_min_messages = warning;
CREATE SCHEMA serve_from;
SET search_path = serve_from, public;
CREATE TABLE ratings (u int, i int);
\getenv sources PG_ABS_SRCDIR
\set register :sources '/sql/include/register.sql'
\i :register
CREATE TABLE default_user (user_id int PRIMARY KEY, embedding vector(2),
	ranking vector, interactions int);
CREATE TABLE default_item (item_id int PRIMARY KEY, embedding vector(2),
	ranking vector, interactions int);
INSERT INTO default_item VALUES (10, '[3,1]', NULL, 5), (20, '[2,2]', NULL, 1),
	(30, '[1,3]', NULL, 5), (40, '[0.5,0.25]', NULL, 2),
	(50, '[-1,0]', NULL, 0), (60, NULL, NULL, 9);
CREATE TABLE default_param (name text PRIMARY KEY, shape int[], value real[]);
SELECT register('default', 'int', 'int', 2, rating_col => '');
-- no learner that is known: the mean, here [2,2]
SELECT * FROM recommend_from(ARRAY[10, 30]);
SELECT * FROM recommend_from(ARRAY[10, 30, 30, 10, 99, 99999999999], 2);
SELECT * FROM recommend_from(ARRAY['10', '30'], 1, 'default');
-- as clients send a parameter without a type
SELECT * FROM recommend_from('{10,30}');
PREPARE untyped AS SELECT * FROM recommend_from($1, 1);
EXECUTE untyped('{10, 30}');
EXECUTE untyped('10,30');
EXECUTE untyped('[10,30]');
DEALLOCATE untyped;
SELECT * FROM recommend_from(NULL::text);
-- nothing known: popular
SELECT * FROM recommend_from(ARRAY[99, 60], 2);
SELECT * FROM recommend_from('{}'::int[], 2);
SELECT * FROM recommend_from(ARRAY[10, 20, 30, 40, 50]);
-- implicit ALS: two models of one dimension each. The first has
-- w = (4 + 0.25 * (2 + 0.5 * 5) * 0.2) / (10 + 0.5 * 15.25 + 0.25 * (2 + 0.5 * 5)) / 2
INSERT INTO default_param VALUES ('ials', '{5}', '{0.25,0.5,2,0.2,-0.1}');
SELECT rank, item_id, round(score::numeric, 6) AS score
	FROM recommend_from(ARRAY[10, 30]);
SELECT round((2 * w + 2 * w2)::numeric, 6) AS score_of_20 FROM
	(SELECT (4 + 1.125 * 0.2) / (10 + 0.5 * 15.25 + 1.125) / 2 AS w,
		(4 - 1.125 * 0.1) / (10 + 0.5 * 14.0625 + 1.125) / 2 AS w2) x;
-- again from the cache, and without it
SELECT round(score::numeric, 6) AS score FROM recommend_from(ARRAY[10, 30], 1);
SET recsys.cache_size = 0;
SELECT rank, item_id, score FROM recommend_from(ARRAY[10, 30], 1);
RESET recsys.cache_size;
-- nonsense in the parameter: the mean again
UPDATE default_param SET value = '{0,0.5,2,0,0}';
SELECT score FROM recommend_from(ARRAY[10, 30], 1);
UPDATE default_param SET value = '{0.25,0.5,3,0,0}';
SELECT score FROM recommend_from(ARRAY[10, 30], 1);
UPDATE default_param SET value = '{0.25,Infinity,1,0,0}';
SELECT score FROM recommend_from(ARRAY[10, 30], 1);
UPDATE default_param SET value = '{0.25,0.5,1,0,NaN}';
SELECT score FROM recommend_from(ARRAY[10, 30], 1);
\set VERBOSITY sqlstate
SELECT * FROM recommend_from(NULL::int[]);
SELECT * FROM recommend_from(ARRAY[1, NULL]);
SELECT * FROM recommend_from(ARRAY[1], -1);
SELECT * FROM recommend_from(ARRAY[1], NULL);
SELECT count(*) FROM recommend_from(ARRAY[10], 0);
SELECT * FROM recommend_from(ARRAY[1], 1, 'no_such_model');
SELECT * FROM recommend_from(ARRAY['x']);

-- a trained model: for the history of its users it gives what it gives them
\set VERBOSITY default
CREATE TABLE history (user_id int, item_id text);
INSERT INTO history SELECT u, 'item ' || (u * u + j * j * (u % 7 + 1)) % 80
	FROM generate_series(1, 150) u, generate_series(1, 10) j;
SELECT status FROM recsys_train('history', 'trained', stages => '{retrieval}',
	dim => 8);
SELECT avg((f.item = r.item)::int) > 0.7 AS mostly_the_same_first
	FROM (SELECT user_id, array_agg(item_id) AS items FROM history
		GROUP BY user_id) h,
	recommend_from(h.items, 1, 'trained') f,
	recommend(h.user_id, 1, 'trained') r;

SELECT recsys_drop('trained');
DELETE FROM recsys_model WHERE schema = 'serve_from';
SET client_min_messages = error;
DROP SCHEMA serve_from CASCADE;
