-- predict and rank_items on models made by hand
SET client_min_messages = warning;
CREATE SCHEMA serve_predict;
SET search_path = serve_predict, public;

CREATE TABLE ratings (u int, i int, r real);
\getenv sources PG_ABS_SRCDIR
\set register :sources '/sql/include/register.sql'
\i :register
-- factors: <user, item>, clamped to 1 .. 5
CREATE TABLE default_user (user_id int PRIMARY KEY, embedding vector,
	ranking vector(3), interactions int);
INSERT INTO default_user VALUES (1, NULL, '[1,2,1]', 1),
	(2, NULL, '[2,0,1]', 1), (3, NULL, NULL, 0);
CREATE TABLE default_item (item_id int PRIMARY KEY, embedding vector,
	ranking vector(3), interactions int);
INSERT INTO default_item VALUES (10, NULL, '[1,0.5,0.25]', 1),
	(20, NULL, '[1,1,3]', 1), (30, NULL, '[-1,0,-1]', 1);
CREATE TABLE default_param (name text PRIMARY KEY, shape int[], value real[]);
INSERT INTO default_param VALUES ('clamp', '{2}', '{1,5}');
SELECT register('default', 'int', 'int', 0, 1);
SELECT predict(1, 10), predict(1, 20), predict(2, 20), predict(2, 30);
SELECT predict('1', '10'), predict(1, '10'), predict('1', 10);
SELECT predict(2, 10, 'default'), predict(user_id => 2, item_id => 10);
-- an unknown user is the mean of users [1.5,1,1], an unknown item the mean
-- of items [1/3,0.5,0.75]
SELECT predict(99, 10), predict(3, 10), predict(99999999999, 10);
SELECT round(predict(1, 99)::numeric, 4), round(predict(99, 99)::numeric, 4);
SELECT * FROM rank_items(1, ARRAY[10, 20, 30]);
SELECT * FROM rank_items('1', '{30,20,99,20,99999999999}'::text[]);
SELECT * FROM rank_items(1, '{10,20}'::bigint[]);
SELECT * FROM rank_items(1, '{10,20}');
SELECT * FROM rank_items('1', '{20}');
-- a user by number and items by text, and the other way round
SELECT * FROM rank_items(1, ARRAY['10', '20']);
SELECT * FROM rank_items('1'::text, ARRAY[10, 20]);
SELECT * FROM rank_items(1, '{}'::int[]);
SELECT * FROM rank_items(1, '{{10,20},{30,10}}'::int[]) WHERE rank < 3;
SELECT i.item_id, predict(2, i.item_id) FROM default_item i ORDER BY 2 DESC, 1;
-- means as parameters come before the means of what is stored
INSERT INTO default_param VALUES ('user_mean', '{3}', '{0,0,4}'),
	('item_mean', '{3}', '{0,1,1}');
SELECT predict(99, 10), predict(1, 99), predict(99, 99);
BEGIN;
UPDATE default_param SET value = '{0,10}' WHERE name = 'clamp';
SELECT predict(1, 20);
ROLLBACK;
SELECT predict(1, 20);

-- parameters that make no sense: 55000
\set VERBOSITY terse
INSERT INTO default_param VALUES ('x', '{2,2}', '{1,2,3}');
SELECT predict(1, 10);
UPDATE default_param SET shape = '{70000,70000}' WHERE name = 'x';
SELECT predict(1, 10);
UPDATE default_param SET shape = '{-1}' WHERE name = 'x';
SELECT predict(1, 10);
UPDATE default_param SET shape = '{1,1,1,1,1}' WHERE name = 'x';
SELECT predict(1, 10);
UPDATE default_param SET shape = '{NULL}' WHERE name = 'x';
SELECT predict(1, 10);
UPDATE default_param SET shape = NULL WHERE name = 'x';
SELECT predict(1, 10);
DELETE FROM default_param WHERE name = 'x';
\set VERBOSITY default
UPDATE default_param SET value = '{5,1}' WHERE name = 'clamp';
SELECT predict(1, 10);
UPDATE default_param SET value = '{1,5}' WHERE name = 'clamp';
BEGIN;
DELETE FROM default_param;
SELECT predict(1, 10);
ROLLBACK;

-- a small network: relu([u, i] K0 + b0) K1 + b1
CREATE TABLE mlp_user (user_id text PRIMARY KEY, embedding vector,
	ranking vector(1), interactions int);
INSERT INTO mlp_user VALUES ('a', NULL, '[1]', 1), ('b', NULL, '[2]', 1);
CREATE TABLE mlp_item (item_id text PRIMARY KEY, embedding vector,
	ranking vector(1), interactions int);
INSERT INTO mlp_item VALUES ('x', NULL, '[1]', 1), ('y', NULL, '[-3]', 1);
CREATE TABLE mlp_param (name text PRIMARY KEY, shape int[], value real[]);
INSERT INTO mlp_param VALUES ('kernel_0', '{2,2}', '{1,-1,1,-1}'),
	('bias_0', '{2}', '{0,0.5}'), ('kernel_1', '{2,1}', '{1,10}'),
	('bias_1', '{1}', '{0.25}');
SELECT register('mlp', 'text', 'text', 0, 2);
SELECT predict('a', 'x', 'mlp'), predict('a', 'y', 'mlp'),
	predict('b', 'y', 'mlp'), predict('c', 'z', 'mlp');
SELECT * FROM rank_items('b', ARRAY['x', 'y', 'z'], 'mlp');
DELETE FROM mlp_param WHERE name = 'bias_1';
SELECT predict('a', 'x', 'mlp');
UPDATE mlp_user SET ranking = NULL;
INSERT INTO mlp_param VALUES ('bias_1', '{1}', '{0.25}');
SELECT predict('a', 'x', 'mlp');
ALTER TABLE mlp_item ALTER ranking TYPE vector;
UPDATE mlp_item SET ranking = '[1,2]' WHERE item_id = 'x';
ALTER TABLE mlp_user ALTER ranking TYPE vector;
SELECT predict('a', 'x', 'mlp');

-- arguments
\set VERBOSITY sqlstate
SELECT predict(NULL::bigint, 1);
SELECT predict(1, NULL::bigint);
SELECT predict(1, 1, 'no_such_model');
SELECT predict('a', 'b');
SELECT * FROM rank_items(1, NULL::bigint[]);
SELECT * FROM rank_items(1, ARRAY[1, NULL]);
SELECT * FROM rank_items(NULL::text, ARRAY['a']);
UPDATE recsys_model SET ranking = 0 WHERE name = 'mlp';
SELECT predict('a', 'x', 'mlp');
UPDATE recsys_model SET ranking = 17 WHERE name = 'mlp';
SELECT predict('a', 'x', 'mlp');

DELETE FROM recsys_model WHERE schema = 'serve_predict';
SET client_min_messages = error;
DROP SCHEMA serve_predict CASCADE;
