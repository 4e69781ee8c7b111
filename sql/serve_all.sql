-- recommend_all gives what recommend gives, for everybody
SET client_min_messages = warning;
CREATE SCHEMA serve_all;
SET search_path = serve_all, public;

CREATE TABLE ratings (u text, i int, r real);
\getenv sources PG_ABS_SRCDIR
\set register :sources '/sql/include/register.sql'
\i :register
CREATE TABLE m_user AS
	SELECT 'u' || u AS user_id, ('[' || (u * 7 % 101 - 50) || ',' ||
		(u * 5 % 103 - 51) || ',' || (u * u) % 7 || ',0.5,-0.25]')::vector(5)
		AS embedding, NULL::vector AS ranking, 1 AS interactions
	FROM generate_series(1, 200) u;
ALTER TABLE m_user ADD PRIMARY KEY (user_id);
INSERT INTO m_user VALUES ('no vector', NULL, NULL, 0);
CREATE TABLE m_item AS
	SELECT i AS item_id, ('[' || (i * 3 % 17 - 8) / (1 + i % 10) || ',' ||
		(i * 11 % 19 - 9)::real / (1 + i % 7) || ',' || i % 5 || ',' || i || ',' ||
		sin(i) || ']')::vector(5) AS embedding, NULL::vector AS ranking,
		i % 7 AS interactions
	FROM generate_series(1, 1500) i;
ALTER TABLE m_item ADD PRIMARY KEY (item_id);
CREATE TABLE m_param (name text PRIMARY KEY, shape int[], value real[]);
SELECT register('m', 'text', 'int', 5);
INSERT INTO ratings SELECT 'u' || u, 1400 + (u * j) % 200, 1
	FROM generate_series(1, 300) u, generate_series(1, 60) j;
INSERT INTO ratings VALUES (NULL, 1, 1), ('u1', NULL, 1);

SELECT count(*), count(DISTINCT user_key), max(rank), count(user_id)
	FROM recommend_all(10, 'm');
-- both ways, no difference
CREATE FUNCTION differences(k int, exclude boolean) RETURNS bigint
LANGUAGE sql AS $$
	WITH a AS (
		SELECT user_key, rank, item_id, item, score
		FROM recommend_all($1, 'm', $2)
	), b AS (
		SELECT m_user.user_id, r.rank, r.item_id, r.item, r.score
		FROM m_user, recommend(m_user.user_id, $1, 'm', $2) r
		WHERE m_user.embedding IS NOT NULL
	)
	SELECT count(*) FROM ((TABLE a EXCEPT ALL TABLE b)
		UNION ALL (TABLE b EXCEPT ALL TABLE a)) x;
$$;
SELECT differences(10, true), differences(10, false), differences(1, true),
	differences(1600, true);
SELECT count(*) FROM recommend_all(1000000000, 'm') WHERE user_key = 'u3';
SELECT count(*) FROM recommend_all(0, 'm');
-- no ratings, one item, none
DELETE FROM ratings;
SELECT differences(5, true);
DELETE FROM m_item WHERE item_id > 1;
SELECT differences(5, true), (SELECT count(*) FROM recommend_all(5, 'm'));
DELETE FROM m_item;
SELECT count(*) FROM recommend_all(5, 'm');
\set VERBOSITY sqlstate
SELECT * FROM recommend_all(-1, 'm');
SELECT * FROM recommend_all(NULL, 'm');
SELECT * FROM recommend_all(1, 'm', NULL);
SELECT * FROM recommend_all(1, 'no_such_model');
ALTER TABLE ratings RENAME i TO j;
SELECT * FROM recommend_all(1, 'm');
SELECT * FROM recommend_all(1, 'm', false);

DELETE FROM recsys_model WHERE schema = 'serve_all';
SET client_min_messages = error;
DROP SCHEMA serve_all CASCADE;
