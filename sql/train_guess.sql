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
SELECT recsys_drop('default');
DROP TABLE guess_a, guess_b, guess_c, guess_d;
