-- columns that recsys_train finds by itself, and says so
CREATE TABLE guess_a AS
	SELECT 'c' || i % 30 AS customer, i * 7 % 53 AS product, now() - i * interval '1 hour' AS bought
	FROM generate_series(1, 900) i;
CREATE TABLE guess_b AS
	SELECT i % 30 AS "UserId", i * 7 % 53 AS movie_id, i % 5 AS stars, i AS ts, now() AS a, now() AS b
	FROM generate_series(1, 900) i;
CREATE TABLE guess_c AS SELECT i % 30 AS x, i * 7 % 53 AS y FROM generate_series(1, 900) i;
-- the only timestamp is the time, whatever it is called
SELECT users, items FROM recsys_train('guess_a', stages => '{retrieval}', preset => 'tfrs');
SELECT time_col FROM recsys_model WHERE name = 'default';
-- a usual name is taken before that
SELECT users, items FROM recsys_train('guess_b', stages => '{retrieval}', preset => 'tfrs');
-- else the only column with a usual word in its name
CREATE TABLE guess_d AS SELECT i % 30 AS shop_customer_no, i * 7 % 53 AS "ProductSku", i AS amount FROM generate_series(1, 900) i;
SELECT users, items FROM recsys_train('guess_d', stages => '{retrieval}', preset => 'tfrs');
ALTER TABLE guess_d ADD product_no int;
SELECT recsys_train('guess_d');
SELECT recsys_train('guess_c');
SELECT recsys_train('guess_c', user_col => 'x');
-- '' stands for no rating and no time
SELECT users, items FROM recsys_train('guess_b', rating_col => '', time_col => '', preset => 'tfrs');
SELECT rating_col, time_col FROM recsys_model WHERE name = 'default';
-- options that no learner takes are told
SELECT users, items FROM recsys_train('guess_b', stages => '{retrieval}', dim => 4, epochs => 1, batch_size => 100,
	learning_rate => 0.1, options => '{"loss": "ials", "temperature": 0.1, "alpha0": 1, "regularization": 0.01, "implicit": true}');
SELECT users, items FROM recsys_train('guess_b', stages => '{retrieval}', dim => 4, epochs => 1, batch_size => 100,
	learning_rate => 0.1, options => '{"loss": "softmax", "temperature": 0.1, "alpha0": 1}');
-- the model keeps what was told
SELECT unnest(notices) FROM recsys_models WHERE model = 'default';
-- and a dim beyond what the learner takes
SET client_min_messages = warning;
SELECT 1 FROM recsys_train('guess_b', stages => '{ranking}', dim => 200, epochs => 3, options => '{"ranking_loss": "gibbs"}');
SELECT n FROM recsys_models, unnest(notices) n WHERE n ~ 'dimensions';
SELECT 1 FROM recsys_train('guess_b', stages => '{ranking}', dim => 128, epochs => 3, options => '{"ranking_loss": "gibbs"}');
SELECT n FROM recsys_models, unnest(notices) n WHERE n ~ 'dimensions';
SELECT 1 FROM recsys_train('guess_b', stages => '{ranking}', dim => 200, epochs => 3, options => '{"ranking_loss": "sgd"}');
SELECT n FROM recsys_models, unnest(notices) n WHERE n ~ 'dimensions';
RESET client_min_messages;
-- what the caller may not read is not guessed; without any right reading is refused
CREATE ROLE guess_role;
CREATE SCHEMA guess_s;
GRANT ALL ON SCHEMA guess_s TO guess_role;
GRANT SELECT (product, bought) ON guess_a TO guess_role;
GRANT SELECT ("UserId", movie_id, b) ON guess_b TO guess_role;
SET ROLE guess_role;
SELECT users, items FROM recsys_train('guess_b', 'guess_s.m', preset => 'tfrs');
SELECT recsys_train('guess_a', 'guess_s.m');
SELECT recsys_train('guess_a', 'guess_s.m', user_col => 'customer');
SELECT recsys_train('guess_d', 'guess_s.m', item_col => 'product_no');
SELECT recsys_drop('guess_s.m');
RESET ROLE;
DROP SCHEMA guess_s;
DROP OWNED BY guess_role;
DROP ROLE guess_role;
SELECT recsys_drop('default');
DROP TABLE guess_a, guess_b, guess_c, guess_d;
