-- recsys_evaluate beside the same metrics written in SQL
SET client_min_messages = warning;
CREATE SCHEMA serve_evaluate;
SET search_path = serve_evaluate, public;

CREATE TABLE ratings (u int, i int, r real);
CREATE TABLE test (LIKE ratings);
\getenv sources PG_ABS_SRCDIR
\set register :sources '/sql/include/register.sql'
\i :register
-- 40 users, 60 items, embeddings of 3 dimensions, pseudo-random
CREATE TABLE m_user AS
	SELECT u AS user_id, ('[' || (u * 7 % 11 - 5) || ',' || (u * 5 % 13 - 6) ||
		',' || u % 3 || ']')::vector(3) AS embedding,
		('[1,' || u % 5 || ']')::vector(2) AS ranking, 1 AS interactions
	FROM generate_series(1, 40) u;
ALTER TABLE m_user ADD PRIMARY KEY (user_id);
CREATE TABLE m_item AS
	SELECT i AS item_id, ('[' || (i * 3 % 17 - 8) || ',' || (i * 11 % 19 - 9) ||
		',' || i % 5 || ']')::vector(3) AS embedding,
		('[' || (2 + i % 3) || ',0.25]')::vector(2) AS ranking,
		i % 7 AS interactions
	FROM generate_series(1, 60) i;
ALTER TABLE m_item ADD PRIMARY KEY (item_id);
CREATE TABLE m_param (name text PRIMARY KEY, shape int[], value real[]);
INSERT INTO m_param VALUES ('clamp', '{2}', '{1,5}');
SELECT register('m', 'int', 'int', 3, 1);
UPDATE recsys_model SET metrics = '{"rmse": 0.9, "ndcg@10": 0.25, "ndcg@5": 0.2}',
	baseline = '{"rmse": 0.95, "ndcg@10": 0.125}';
INSERT INTO ratings SELECT u, (u * 13 + j * j * 7) % 60 + 1, (u + j) % 5 + 1
	FROM generate_series(1, 42) u, generate_series(1, 20) j;
-- some test pairs are in the ratings table, users 41 and 42 and items above
-- 60 are unknown, some pairs come twice, some rows have a NULL
INSERT INTO test SELECT u, (u * 17 + j * 11) % 63 + 1, (u * j) % 5 + 1
	FROM generate_series(2, 42, 2) u, generate_series(1, 7) j;
INSERT INTO test SELECT * FROM test WHERE u < 9;
INSERT INTO test VALUES (NULL, 1, 1), (1, NULL, 1), (3, 3, NULL),
	(3, 4, 'NaN');

-- the metrics by SQL
CREATE FUNCTION check_metrics(exclude boolean, popular boolean)
	RETURNS TABLE (metric text, k int, value numeric)
LANGUAGE sql AS $$
	WITH held AS (
		SELECT DISTINCT u, i FROM test WHERE u IS NOT NULL AND i IS NOT NULL
			AND r < 'NaN'
	), popularity AS (
		SELECT item_id, count(DISTINCT u) AS n
		FROM m_item LEFT JOIN ratings ON i = item_id GROUP BY item_id
	), scores AS (
		SELECT h.u, item_id, CASE
			WHEN popular OR m_user.embedding IS NULL THEN n
			ELSE inner_product(m_user.embedding, m_item.embedding) END AS s
		FROM (SELECT DISTINCT u FROM held) h CROSS JOIN m_item
			JOIN popularity USING (item_id) LEFT JOIN m_user ON user_id = h.u
		WHERE NOT exclude OR (h.u, item_id) IN (SELECT u, i FROM held)
			OR (h.u, item_id) NOT IN (SELECT u, i FROM ratings)
	), ranks AS (
		SELECT u, item_id, rank() OVER (PARTITION BY u ORDER BY s DESC,
			item_id) AS r
		FROM scores
	), hits AS (
		SELECT held.u, held.i, coalesce(r, 1000000) AS r,
			count(*) OVER (PARTITION BY held.u) AS n
		FROM held LEFT JOIN ranks ON ranks.u = held.u AND item_id = i
	), users AS (
		SELECT u, k, n, count(*) FILTER (WHERE r <= k) AS h,
			coalesce(sum(1 / log(2, r + 1)) FILTER (WHERE r <= k), 0) AS gain,
			(SELECT sum(1 / log(2, (j + 1)::numeric))
				FROM generate_series(1, least(k, n)) j) AS best
		FROM hits, unnest('{1,5,20}'::int[]) k GROUP BY u, k, n
	)
	SELECT 'accuracy', k, sum(h) / sum(n) FROM users GROUP BY k
	UNION ALL SELECT 'recall', k, avg(h::numeric / n) FROM users GROUP BY k
	UNION ALL SELECT 'precision', k, avg(h::numeric / k) FROM users GROUP BY k
	UNION ALL SELECT 'ndcg', k, avg(gain / best) FROM users GROUP BY k
	UNION ALL SELECT 'mrr', NULL, avg(1.0 / m)
		FROM (SELECT min(r) AS m FROM hits GROUP BY u) x;
$$;
SELECT exclude, e.metric, e.k, round(e.value::numeric, 4) AS value,
	round(e.baseline::numeric, 4) AS baseline
	FROM unnest('{t,f}'::boolean[]) exclude,
		recsys_evaluate('m', 'test', '{1,5,20}', exclude) e;
SELECT exclude, metric, e.k, round(e.value::numeric, 6), round(c.value, 6),
	round(e.baseline::numeric, 6), round(p.value, 6)
	FROM unnest('{t,f}'::boolean[]) exclude,
		recsys_evaluate('m', 'test', '{1,5,20}', exclude) e
		LEFT JOIN check_metrics(exclude, false) c USING (metric)
		LEFT JOIN check_metrics(exclude, true) p USING (metric)
	WHERE c.k IS NOT DISTINCT FROM e.k AND p.k IS NOT DISTINCT FROM e.k
		AND (abs(e.value - c.value) > 1e-5 OR abs(e.baseline - p.value) > 1e-5);
SELECT count(*) FROM recsys_evaluate('m', 'test', '{1,5,20}') e
	JOIN check_metrics(true, true) c USING (metric)
	WHERE c.k IS NOT DISTINCT FROM e.k;
-- rmse and mae: each row counts, unknown ones by the mean vectors
SELECT round(sqrt(avg((p - r) ^ 2))::numeric, 4) AS rmse,
	round(avg(abs(p - r))::numeric, 4) AS mae
	FROM (SELECT r, predict(u, i, 'm') AS p FROM test
		WHERE u IS NOT NULL AND i IS NOT NULL AND r <> 'NaN') x;
-- the damped baseline
WITH mean AS (SELECT avg(r) AS m FROM ratings),
	items AS (SELECT i, sum(r - m) / (count(*) + 25) AS b FROM ratings, mean
		GROUP BY i),
	users AS (SELECT u, sum(r - m - b) / (count(*) + 10) AS b
		FROM ratings JOIN items USING (i), mean GROUP BY u)
SELECT round(sqrt(avg((p - r) ^ 2))::numeric, 4) AS rmse FROM (
	SELECT r, least(greatest(m + coalesce(users.b, 0) + coalesce(items.b, 0),
		1), 5) AS p
	FROM mean, test LEFT JOIN users USING (u) LEFT JOIN items USING (i)
	WHERE test.u IS NOT NULL AND test.i IS NOT NULL AND r <> 'NaN') x;

-- stored metrics: those of the ks; what is not stored needs a table
SELECT * FROM recsys_evaluate('m');
SELECT * FROM recsys_evaluate('m', ks => '{10}');
SELECT * FROM recsys_evaluate('m', ks => '{}');
SELECT * FROM recsys_evaluate('m', ks => '{10,3}');
SELECT * FROM recsys_evaluate('m', exclude_seen => false);
-- other column names, a view, no rating column, text columns
CREATE TABLE test2 AS SELECT u::text AS "user_id", i::bigint AS movie_id
	FROM test WHERE r < 'NaN';
SELECT metric, k, e.value = f.value AND e.baseline = f.baseline AS same
	FROM recsys_evaluate('m', 'test2', '{10}') e
	FULL JOIN recsys_evaluate('m', 'test', '{10}') f USING (metric, k);
CREATE VIEW test3 AS SELECT movie_id AS i, user_id AS u, 3 AS r FROM test2;
SELECT metric, k FROM recsys_evaluate('m', 'test3', '{}');
-- an empty test table, one of unknown rows only
CREATE TABLE test4 (LIKE test);
SELECT * FROM recsys_evaluate('m', 'test4', '{1}');
INSERT INTO test4 VALUES (1000, 1000, 1);
SELECT metric, k, value, baseline IS NOT NULL AS b
	FROM recsys_evaluate('m', 'test4', '{1}');
-- without the ratings table
ALTER TABLE ratings RENAME TO old;
UPDATE recsys_model SET ratings = 0 WHERE name = 'm';
SELECT metric, k, round(value::numeric, 4) AS value,
	round(baseline::numeric, 4) AS baseline
	FROM recsys_evaluate('m', 'test', '{10}', false);
\set VERBOSITY sqlstate
SELECT * FROM recsys_evaluate('m', 'test', '{10}');
-- arguments
SELECT * FROM recsys_evaluate('no_such_model', 'test');
SELECT * FROM recsys_evaluate('m', 'no_such_table');
SELECT * FROM recsys_evaluate('m', 1::oid::regclass, exclude_seen => false);
SELECT * FROM recsys_evaluate('m', 'test', NULL);
SELECT * FROM recsys_evaluate('m', 'test', '{1,NULL}');
SELECT * FROM recsys_evaluate('m', 'test', '{0}');
SELECT * FROM recsys_evaluate('m', 'test', '{-5}');
SELECT * FROM recsys_evaluate('m', 'test', '{1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8}');
SELECT * FROM recsys_evaluate('m', 'test', '{1}', NULL);
CREATE TABLE test5 (a int, b int);
SELECT * FROM recsys_evaluate('m', 'test5', '{1}', false);
\set VERBOSITY default
SELECT * FROM recsys_evaluate('m', 'test5', '{1}', false);
SELECT * FROM recsys_evaluate('m', 'test', '{10}');
SELECT metric, count(*) FROM recsys_evaluate('m', 'test',
	'{1000000000,1}', false) GROUP BY 1 ORDER BY 1;

DELETE FROM recsys_model WHERE schema = 'serve_evaluate';
SET client_min_messages = error;
DROP SCHEMA serve_evaluate CASCADE;
