-- features of the occasion: context_features, and context in predict and rank_items
SET client_min_messages = warning;
-- a place that decides: odd items are for the evening, even ones for the day
CREATE TABLE ctx_r (user_id int, item_id int, rating real, place text, minutes float8, "at" timestamptz, tags text[]);
INSERT INTO ctx_r SELECT u, i,
	3 + CASE WHEN (h % 2 = 0) = (i % 2 = 0) THEN 1.5 ELSE -1.5 END + (u % 3 - 1) * 0.4 + (h / 7 % 5 - 2) * 0.1,
	CASE WHEN h % 2 = 0 THEN 'day' ELSE 'evening' END, h % 90,
	timestamptz '2024-01-01 00:00+00' + h * interval '1 hour', ARRAY['a', CASE WHEN h % 3 = 0 THEN 'b' ELSE 'c' END]
  FROM generate_series(1, 80) u, generate_series(1, 40) i, LATERAL (SELECT abs(hashint4(u * 1000 + i)) % 1000 AS h) x
 WHERE h % 4 <> 3 OR i % 5 = 0;
SELECT (metrics->>'rmse')::float8 < 1.7 AS without FROM recsys_train('ctx_r', 'ctx_no', time_col => 'at', stages => '{ranking}', epochs => 60, workers => 1);
SELECT metrics->>'rmse' < '0.6' AS decided, (metrics->>'rmse')::float8 < (baseline->>'rmse')::float8 / 2 AS beats
  FROM recsys_train('ctx_r', 'ctx', time_col => 'at', stages => '{ranking}', context_features => '{place}', epochs => 60, workers => 1);
SELECT round(predict(5, 2, 'ctx', '{"place": "day"}')::numeric) AS day, round(predict(5, 2, 'ctx', '{"place": "evening"}')::numeric) AS evening,
	round(predict(5, 3, 'ctx', '{"place": "evening"}')::numeric) AS other,
	round(predict(5, 2, 'ctx')::numeric) AS unknown, round(predict('5', '3', 'ctx', '{"place": "day"}')::numeric) AS text_keys;
-- nothing given, NULL, an empty object: the average occasion
SELECT predict(5, 2, 'ctx') = predict(5, 2, 'ctx', NULL) AS same, predict(5, 2, 'ctx') = predict(5, 2, 'ctx', '{}') AS empty,
	predict(5, 2, 'ctx') = predict(5, 2, 'ctx', '{"place": null}') AS nothing,
	predict(5, 2, 'ctx', '{"place": "moon"}') BETWEEN 0 AND 6 AS elsewhere;
SELECT array_agg(item_id % 2 ORDER BY rank) FROM rank_items(5, ARRAY[2, 3, 4, 5], 'ctx', '{"place": "day"}');
SELECT array_agg(item_id % 2 ORDER BY rank) FROM rank_items(5, ARRAY[2, 3, 4, 5], 'ctx', context => '{"place": "evening"}');
SELECT array_agg(item_id % 2 ORDER BY rank) FROM rank_items('5', ARRAY['2', '3', '4', '5'], 'ctx', '{"place": "evening"}');
-- an unknown user and item
SELECT predict(-1, 2, 'ctx', '{"place": "day"}') > predict(-1, 2, 'ctx', '{"place": "evening"}') AS unknown_user,
	predict(5, -1, 'ctx', '{"place": "day"}') BETWEEN 0 AND 6 AS unknown_item;
-- every row of a pair is an occasion; retrieval takes the pair once
CREATE TABLE ctx_often AS SELECT user_id, item_id, p AS place, 3 + CASE WHEN (p = 'day') = (item_id % 2 = 0) THEN 1.5 ELSE -1.5 END AS rating
  FROM ctx_r, unnest(ARRAY['day', 'evening']) p;
SELECT stages, interactions = f * (SELECT count(DISTINCT (user_id, item_id)) FROM ctx_r) AS counted, (metrics->>'rmse')::float8 < 0.2 AS told
  FROM (VALUES ('{ranking}'::text[], 2), ('{retrieval,ranking}', 1)) s (stages, f), LATERAL recsys_train('ctx_often', 'ctx_often', stages => stages, context_features => '{place}', epochs => 60, workers => 1);
-- recsys_evaluate asks as predict is asked: in the context that the test table tells
CREATE TABLE ctx_bare AS SELECT user_id, item_id, rating FROM ctx_r WHERE (user_id * 7 + item_id) % 9 = 0;
CREATE TABLE ctx_t AS SELECT * FROM ctx_r WHERE (user_id * 7 + item_id) % 9 = 0;
INSERT INTO ctx_t VALUES (999, 2, 4, 'day'), (5, 998, 2, 'evening'), (5, 4, NULL, 'day'), (5, 6, 'NaN', 'day'), (NULL, 6, 2, 'day');
SELECT metric, abs(value - CASE metric WHEN 'rmse' THEN sqrt(avg(e * e)) ELSE avg(abs(e)) END) < 1e-9 AS as_predicted, value < 0.6 AS decided
  FROM recsys_evaluate('ctx', 'ctx_t'), (SELECT predict(user_id, item_id, 'ctx', jsonb_build_object('place', place)) - rating AS e
	FROM ctx_t WHERE rating < 'NaN' AND user_id > 0) x GROUP BY metric, value ORDER BY 1;
SELECT metric, abs(value - sqrt(avg(e * e))) < 1e-9 AS average_occasion FROM recsys_evaluate('ctx', 'ctx_bare'),
	(SELECT predict(user_id, item_id, 'ctx') - rating AS e FROM ctx_bare) x WHERE metric = 'rmse' GROUP BY metric, value;
-- a context that tells nothing does little harm: 2 %, with precisions that cannot grow 8 %
CREATE TABLE ctx_dice AS SELECT u AS user_id, i AS item_id, d[1] AS dice1, d[2] AS dice2, d[3] AS dice3, d[4] AS dice4,
	round(3 + (u % 3 - 1) * (i % 3 - 1) + (u % 5 - 2) * (i / 3 % 3 - 1) * 0.5 + (h / 1000 % 100 - 49.5) / 60) AS rating
  FROM generate_series(1, 150) u, generate_series(1, 60) i, LATERAL (SELECT abs(hashint4(u * 1000 + i)) AS h) x,
	LATERAL (SELECT array_agg(chr(97 + abs(hashint4(u * 333 + i * 7 + k * 77777)) % 4)) AS d FROM generate_series(1, 4) k) y WHERE h % 4 = 0;
SELECT (metrics->>'rmse')::float8 AS rmse FROM recsys_train('ctx_dice', 'ctx_dice', stages => '{ranking}', workers => 1) \gset without_
SELECT (metrics->>'rmse')::float8 / :without_rmse < 1.04 AS harmless FROM recsys_train('ctx_dice', 'ctx_dice', stages => '{ranking}', context_features => '{dice1,dice2,dice3,dice4}', workers => 1);
-- all kinds of columns, other learners
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text; h text; s text;
BEGIN
	EXECUTE 'SELECT (' || call || ')::text' INTO r;
	RETURN r;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN concat_ws(' / ', s || ' ' || sqlerrm, nullif(h, ''));
END $$;
SELECT l, (recsys_train('ctx_r', 'ctx_' || l, time_col => 'at', stages => '{ranking}', context_features => '{place,minutes,at,tags}',
	epochs => 30, workers => 1, options => jsonb_build_object('ranking_loss', l))).status
  FROM unnest(ARRAY['gibbs', 'ordinal', 'sgd', 'mse']) l;
SELECT l, predict(5, 2, 'ctx_' || l, '{"place": "day", "minutes": 10, "at": "2024-01-03 10:00+00", "tags": ["a", "b"]}') BETWEEN 0.9 AND 6 AS in_range
  FROM unnest(ARRAY['gibbs', 'ordinal', 'sgd', 'mse']) l;
SELECT predict(5, 2, 'ctx_gibbs', '{"place": "day"}') - predict(5, 2, 'ctx_gibbs', '{"place": "evening"}') > 2 AS place_decides,
	abs(predict(5, 2, 'ctx_gibbs', '{"place": "day", "tags": ["a"]}') - predict(5, 2, 'ctx_gibbs', '{"place": "day", "tags": "a"}')) < 1e-6 AS one_is_a_text;
SELECT status FROM recsys_train('ctx_r', 'ctx_net', time_col => 'at', stages => '{ranking}', context_features => '{place}', epochs => 30, batch_size => 256,
	learning_rate => 0.01, workers => 1, options => '{"ranking_loss": "mse", "optimizer": "adam", "cross_layers": 1}');
SELECT predict(5, 2, 'ctx_net', '{"place": "day"}') - predict(5, 2, 'ctx_net', '{"place": "evening"}') > 2 AS place_decides,
	predict(5, 3, 'ctx_net', '{"place": "evening"}') - predict(5, 3, 'ctx_net', '{"place": "day"}') > 2 AS other_way,
	vector_dims(u.ranking) / vector_dims(i.ranking) AS room FROM ctx_net_user u, ctx_net_item i LIMIT 1;
-- errors
SELECT c, try(format('predict(5, 2, ''ctx_gibbs'', %L)', c)) FROM unnest(ARRAY['{"minutes": "x"}', '{"minutes": true}', '{"minutes": [1]}',
	'{"at": "soon"}', '{"at": 5}', '{"place": {}}', '{"tags": [["a"]]}', '{"plaice": "day"}', '[]', '"day"', '{"minutes": "NaN"}', '{"minutes": 1e308}']) c
 WHERE try(format('predict(5, 2, ''ctx_gibbs'', %L)', c)) !~ '^[0-9.]+$';
SELECT try($$predict(5, 2, 'ctx_no', '{"place": "day"}')$$);
SELECT try($$(recsys_train('ctx_r', 'ctx_e', context_features => '{place,nothing}')).status$$);
SELECT try($$(recsys_train('ctx_r', 'ctx_e', context_features => '{rating}')).status$$);
SELECT try($$(recsys_train('ctx_r', 'ctx_e', context_features => '{user_id}')).status$$);
SELECT try($$(recsys_train('ctx_r', 'ctx_e', context_features => '{place,place}')).status$$);
SELECT try($$(recsys_train('ctx_r', 'ctx_e', context_features => '{place}', preset => 'tfrs')).status$$);
-- retrieval in closed form knows no context, the ranking stage does
SELECT status FROM recsys_train('ctx_r', 'ctx_both', time_col => 'at', context_features => '{place}', epochs => 60, workers => 1);
SELECT try($$(SELECT count(*) FROM recommend(5, 3, 'ctx_both', true, '{"place": "day"}'))$$);
SELECT count(*) FROM recommend(5, 3, 'ctx_both', context => NULL);
SELECT predict(5, 2, 'ctx_both', '{"place": "day"}') - predict(5, 2, 'ctx_both', '{"place": "evening"}') > 2 AS place_decides;
-- bad columns: constant, all NULL, one value for each, some unknown
CREATE TABLE ctx_bad AS SELECT *, 'x'::text AS constant, NULL::text AS empty, row_number() OVER () AS each, row_number() OVER () || ' name' AS name,
	CASE WHEN item_id % 3 = 0 THEN place END AS some, 'NaN'::float8 AS nan, 'infinity'::timestamptz AS never FROM ctx_r;
RESET client_min_messages;
SELECT status FROM recsys_train('ctx_bad', 'ctx_bad', user_col => 'user_id', item_col => 'item_id', rating_col => 'rating', time_col => 'at', stages => '{ranking}',
	context_features => '{constant,empty,each,name,some,nan,never}', epochs => 30, workers => 1);
SELECT bool_and(x = x) AS no_nan, count(*) > 0 AS some FROM ctx_bad_param, unnest(value) x;
SELECT bool_and(ranking <#> ranking <= 0) AS no_nan FROM ctx_bad_user;
SELECT try($$predict(5, 2, 'ctx_bad', '{"constant": "x", "empty": "y", "some": "day", "never": "infinity"}') BETWEEN 0 AND 6$$);
SELECT status FROM recsys_train('ctx_bad', 'ctx_none', user_col => 'user_id', item_col => 'item_id', rating_col => 'rating', time_col => 'at', stages => '{ranking}', context_features => '{constant,empty}', epochs => 30, workers => 1);
SELECT try($$predict(5, 2, 'ctx_none', '{"constant": "x"}') = predict(5, 2, 'ctx_none')$$), try($$predict(5, 2, 'ctx_none', '{"place": "x"}')$$);
-- without a context the later one of two rows of a pair counts: an old row changes nothing
SET client_min_messages = warning;
CREATE TABLE ctx_two AS SELECT user_id, item_id, 1::real AS rating, 'day' AS place, 0::float8 AS minutes, timestamptz '2000-01-01 00:00+00' AS "at", NULL::text[] AS tags FROM ctx_r
	UNION ALL SELECT * FROM ctx_r;
SELECT (skipped->>'duplicate')::int = (SELECT count(*) FROM ctx_r) AS old_rows FROM recsys_train('ctx_two', 'ctx_two', time_col => 'at', stages => '{ranking}', epochs => 60, workers => 1);
SELECT count(*) FROM ctx_no_user a JOIN ctx_two_user b USING (user_id) WHERE a.ranking <> b.ranking;
-- a background training, and tuning, know the context, too
SELECT count(*) > 1 AS tuned FROM recsys_tune('ctx', '{"dim": [4, 8]}', trials => 2);
SELECT version, config->'context_features' AS context FROM recsys_models WHERE model = 'ctx';
SELECT predict(5, 2, 'ctx', '{"place": "day"}') - predict(5, 2, 'ctx', '{"place": "evening"}') > 2 AS place_decides;
SELECT recsys_drop(model) FROM (SELECT model::text FROM recsys_models WHERE model LIKE 'ctx%' ORDER BY 1) m;
DROP TABLE ctx_r, ctx_bad, ctx_two, ctx_t, ctx_bare, ctx_dice, ctx_often;
DROP FUNCTION try;
