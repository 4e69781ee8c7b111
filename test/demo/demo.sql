-- The demo: from ratings to recommendations, by SQL alone.
\set QUIET on
\pset footer off
\pset null ''
SET client_min_messages = warning;

CREATE EXTENSION recsys;
CREATE TABLE movies (id int PRIMARY KEY, title text, year int, genres text);
CREATE TABLE users (id int PRIMARY KEY, age int, gender text, occupation text,
	zip text);
CREATE TABLE ratings (user_id int, item_id int, rating real,
	rated_at timestamptz);
CREATE TEMP TABLE loaded (user_id int, item_id int, rating real, t float8);
\copy movies FROM 'movies.csv' (FORMAT csv)
\copy users FROM 'users.csv' (FORMAT csv)
\copy loaded FROM 'ratings.csv' (FORMAT csv)
INSERT INTO ratings SELECT user_id, item_id, rating, to_timestamp(t)
	FROM loaded;
CREATE INDEX ON ratings (user_id);

-- A fifth is held out to measure with, the same rows in every run.
CREATE TABLE ratings_test AS SELECT * FROM ratings
	ORDER BY md5(user_id || ' ' || item_id || ' of seed 42')
	LIMIT (SELECT count(*) / 5 FROM ratings);
CREATE TABLE ratings_train AS
	SELECT * FROM ratings EXCEPT SELECT * FROM ratings_test;
ANALYZE;

\echo
\echo '1. Training on four fifths of the ratings:'
\echo '   SELECT * FROM recsys_train(''ratings_train'', model => ''held_out'');'
CREATE TEMP TABLE answer AS
	SELECT * FROM recsys_train('ratings_train', model => 'held_out');
SELECT model, status, users, items, interactions, epochs,
	round(seconds::numeric, 2) AS seconds FROM answer;
\echo
\echo '   What the model says of itself, on rows that it held out from those:'
SELECT m.key AS metric, round(m.value::numeric, 4) AS value,
	round((a.baseline ->> m.key)::numeric, 4) AS baseline
  FROM answer a, jsonb_each_text(a.metrics) m
 WHERE m.key IN ('recall@20', 'ndcg@10', 'accuracy@10', 'accuracy@100', 'rmse')
 ORDER BY m.key;
SELECT choice FROM recsys_models WHERE model = 'held_out';

\echo
\echo '2. The tutorial''s model, for comparison:'
\echo '   SELECT * FROM recsys_train(''ratings_train'', model => ''tutorial'', preset => ''tfrs'');'
SELECT model, users, items, interactions, epochs,
	round(seconds::numeric, 2) AS seconds
  FROM recsys_train('ratings_train', model => 'tutorial', preset => 'tfrs');

\echo
\echo '3. Both against the fifth that was held out, films already rated left out'
\echo '   (baseline: the most popular films; for rmse and mae user and film means):'
\echo '   SELECT * FROM recsys_evaluate(''held_out'', ''ratings_test'');'
SELECT d.metric, d.k, round(d.value::numeric, 4) AS "default",
	round(t.value::numeric, 4) AS tutorial,
	round(d.baseline::numeric, 4) AS baseline
  FROM recsys_evaluate('held_out', 'ratings_test') WITH ORDINALITY
	AS d (metric, k, value, baseline, n)
  LEFT JOIN recsys_evaluate('tutorial', 'ratings_test')
	AS t (metric, k, value, baseline)
	ON (t.metric = d.metric AND t.k IS NOT DISTINCT FROM d.k)
 WHERE d.metric NOT IN ('precision') AND coalesce(d.k, 0) IN (0, 10, 20, 100)
 ORDER BY n;

\echo
\echo '4. Training on everything: SELECT * FROM recsys_train(''ratings'');'
SELECT model, users, items, interactions, epochs,
	round(seconds::numeric, 2) AS seconds
  FROM recsys_train('ratings');

\echo
\echo '5. What user 42 rated best:'
SELECT m.title, r.rating FROM ratings r JOIN movies m ON m.id = r.item_id
 WHERE r.user_id = 42 ORDER BY r.rating DESC, r.rated_at DESC, m.title LIMIT 5;

\echo
\echo '6. Ten recommendations for user 42:'
\echo '   SELECT r.rank, m.title, r.score FROM recommend(42, 10) r JOIN movies m ON m.id = r.item_id ORDER BY r.rank;'
SELECT r.rank, m.title, round(r.score::numeric, 3) AS score
  FROM recommend(42, 10) r JOIN movies m ON m.id = r.item_id ORDER BY r.rank;

\echo
\echo '7. The same by plain SQL, only films before 1970:'
SELECT m.title, m.year FROM default_item i JOIN movies m ON m.id = i.item_id
 WHERE m.year < 1970 ORDER BY i.embedding <#> user_embedding(42) LIMIT 5;
