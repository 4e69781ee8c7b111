-- vectors from features: recommend_for_profile, people and things that came
-- after the training, recsys_refresh
SET client_min_messages = warning;
CREATE TABLE pro_r AS SELECT x % 40 AS user_id, x * 7 % 53 AS item_id, ((x % 40 + x * 7 % 53) % 5 + 1)::real AS rating
	FROM generate_series(1, 1500) x;
CREATE TYPE pro_mood AS ENUM ('glad', 'sad');
CREATE TABLE pro_u AS SELECT i AS user_id, 18 + i % 50 + 0.5 AS age, (ARRAY['m', 'f', NULL])[1 + i % 3] AS gender, i % 2 = 0 AS member,
	(ARRAY['glad', 'sad']::pro_mood[])[1 + i % 2] AS mood, timestamptz '2026-01-01 12:00+00' - i * interval '5 hours' AS since, date '2000-02-29' - i * 100 AS born,
	format('[%s,%s]', i % 5, i % 3)::vector AS taste, ARRAY[i % 3, i % 7]::real[] AS scores, ARRAY[i % 4, i % 6] AS shops,
	(ARRAY['red|blue', 'blue', 'green | red', 'red'])[1 + i % 4] AS "the ""colors/", i % 4 AS level, md5((i % 3)::text)::uuid AS team
	FROM generate_series(0, 45) i;
CREATE TABLE pro_i AS SELECT i::bigint AS id, array_remove(ARRAY['g' || i % 7, CASE WHEN i % 2 = 0 THEN 'even' END], NULL) AS genres,
	1950 + i % 30 AS year, format('The %s %s %s', (ARRAY['big', 'small', 'red', 'blue'])[1 + i % 4], (ARRAY['house', 'car', 'tree'])[1 + i % 3], i) AS title
	FROM generate_series(0, 59) i;
SELECT users, items FROM recsys_train('pro_r', 'pro', users => 'pro_u', items => 'pro_i', dim => 4, workers => 1);

-- what is stored of the features
SELECT name, shape FROM pro_param WHERE name LIKE 'feature/%' ORDER BY name COLLATE "C";
SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") FROM pro_param WHERE name LIKE 'value/user/%' OR name LIKE 'value/item/title/%';

-- the same vector in all ways: as stored, from the table of features, from a profile
CREATE FUNCTION distance(a vector, b vector) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN (a <-> b) < 1e-4 * vector_norm(a) THEN 'same' ELSE 'differs' END $$;
INSERT INTO pro_u SELECT 100 + user_id, age, gender, member, mood, since, born, taste, scores, shops, "the ""colors/", level, team FROM pro_u WHERE user_id >= 40;
INSERT INTO pro_i SELECT 100 + id, genres, year, title FROM pro_i WHERE id >= 53;
SELECT user_id, interactions, distance(embedding, user_embedding(100 + user_id, 'pro')) FROM pro_user WHERE user_id >= 40 ORDER BY 1;
SELECT item_id, interactions, distance(embedding, item_embedding((100 + item_id)::text, 'pro')) FROM pro_item WHERE item_id >= 53 ORDER BY 1;
SELECT max(abs(predict(40 + u, 53 + i, 'pro') - predict(140 + u, 153 + i, 'pro'))) < 1e-4 AS same FROM generate_series(0, 5) u, generate_series(0, 6) i;
SELECT r.rank, r.item_id = p.item_id AS same, r.item_id = q.item_id AS same, abs(r.score - p.score) < 1e-5 AS same, r.source, p.source, q.source
	FROM recommend(42, 3, 'pro') r JOIN recommend_for_profile((SELECT to_jsonb(u) - 'user_id' FROM pro_u u WHERE user_id = 42), 3, 'pro') p USING (rank)
	JOIN recommend('142', 3, 'pro') q USING (rank);
SELECT count(*), min(source) FROM recommend(2, 5, 'pro');
SELECT count(*), min(source) FROM recommend(999, 5, 'pro');
SELECT count(*) FROM recommend_users(154, 5, 'pro');
SELECT item_id FROM similar_items(154, 1, 'pro');
SELECT user_embedding(999, 'pro') IS NULL AS unknown;

-- rows that came later join the model
SELECT * FROM recsys_refresh('pro');
SELECT * FROM recsys_refresh('pro');
SELECT count(*), bool_and(distance(a.embedding, b.embedding) = 'same'), bool_and(distance(a.ranking, b.ranking) = 'same'), max(a.interactions)
	FROM pro_item a JOIN pro_item b ON a.item_id = 100 + b.item_id WHERE b.interactions = 0;
SELECT min(source) FROM recommend(142, 5, 'pro');
SELECT count(*) FROM recommend(142, 1000, 'pro') WHERE item_id > 100;
SELECT source FROM recommend(2, 1, 'pro', false);

-- profiles: kinds of values, NULLs, what cannot be
CREATE FUNCTION try(profile text, k int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	h text;
	r record;
BEGIN
	SELECT count(*) AS n, bool_and(score = score AND abs(score) < 10) AS finite INTO r FROM recommend_for_profile(profile::jsonb, k, 'pro');
	RETURN format('%s %s', r.n, r.finite);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || sqlerrm || CASE WHEN h <> '' THEN ' / ' || h ELSE '' END;
END $$;
SELECT p, try(p) FROM unnest(ARRAY['{}', '{"age": null}', '{"age": 30}', '{"age": "30.5"}', '{"age": "NaN"}', '{"age": -1e300}', '{"age": 1e999}', '{"age": true}', '{"age": "old"}', '{"age": [1]}',
	'{"gender": "m"}', '{"gender": "x"}', '{"gender": ""}', '{"gender": 1}', '{"gender": ["m", "f", null]}', '{"gender": [["m"]]}', '{"gender": {}}', '{"gender": []}',
	'{"member": true}', '{"member": "true"}', '{"mood": "glad"}', '{"mood": "none"}', '{"level": 3}', '{"level": 3.0}', '{"level": 1e30}', '{"shops": [1, 2]}', '{"shops": 1}',
	'{"since": "2026-01-01 12:00+02"}', '{"since": "infinity"}', '{"since": "-infinity"}', '{"since": "4000 BC"}', '{"since": 5}', '{"since": "soon"}', '{"born": "1999-12-31"}',
	'{"taste": "[1,2]"}', '{"taste": [1, 2]}', '{"taste": [1]}', '{"taste": [1, 2, 3]}', '{"taste": "x"}', '{"taste": []}', '{"scores": [1, null]}', '{"scores": ["NaN", "-Infinity"]}', '{"scores": [1e308, 1]}', '{"scores": ["a", 1]}',
	'{"the \"colors/": "red | green"}', '{"the \"colors/": ["red", "blue"]}', '{"colour": "red"}', '[]', '3', 'null']) p;
SELECT try('{}', 0), try('{}', -1), try(NULL), try('{}', 1000);
SELECT a.item_id = b.item_id AS same FROM recommend_for_profile('{"the \"colors/": "red|green"}', 1, 'pro') a, recommend_for_profile('{"the \"colors/": ["green", "red"]}', 1, 'pro') b;
SELECT try(jsonb_build_object('gender', repeat('x', 100000))::text);
SELECT * FROM recommend_for_profile('{}', 1, 'nothing');

-- a model without features of users
SELECT users FROM recsys_train('pro_r', 'pro_plain', items => 'pro_i', dim => 4, stages => '{retrieval}');
SELECT * FROM recommend_for_profile('{}', 1, 'pro_plain');
SELECT * FROM recsys_refresh('pro_plain');
SELECT min(source) FROM recommend(142, 5, 'pro_plain');
SELECT users FROM recsys_train('pro_r', 'pro_none', dim => 4, stages => '{retrieval}');
SET client_min_messages = notice;
SELECT * FROM recsys_refresh('pro_none');
SET client_min_messages = warning;

-- somebody who liked nothing: without features nothing is known of him
CREATE VIEW pro_low AS SELECT * FROM pro_r UNION ALL SELECT 900, item_id, 1 FROM generate_series(0, 9) item_id;
SELECT users FROM recsys_train('pro_low', 'pro_none', dim => 4, stages => '{retrieval}', positive => 'rating >= 4');
SELECT user_id, interactions FROM pro_none_user WHERE interactions = 0;
SELECT min(source), max(source), array_agg(item_id) = (SELECT array_agg(item_id) FROM recommend(901, 5, 'pro_none') WHERE item_id > 9) AS same
	FROM recommend(900, 5, 'pro_none', exclude_seen => false) WHERE item_id > 9;
SELECT min(source), count(*) FILTER (WHERE item_id < 10) AS seen FROM recommend(900, 50, 'pro_none');
SELECT min(source) FROM recommend(2, 5, 'pro_none');

-- rights: without those on the table of features somebody new is nobody
CREATE ROLE pro_reader;
GRANT SELECT ON pro_user, pro_item, pro_param, pro_r TO pro_reader;
INSERT INTO pro_u (user_id, age) VALUES (200, 20);
SET ROLE pro_reader;
SELECT min(source) FROM recommend(200, 5, 'pro');
SELECT min(source) FROM recommend_for_profile('{"age": 20}', 5, 'pro');
SELECT * FROM recsys_refresh('pro');
RESET ROLE;
GRANT SELECT ON pro_u TO pro_reader;
SET ROLE pro_reader;
SELECT min(source) FROM recommend(200, 5, 'pro');
RESET ROLE;

-- the table of features changes, or goes
ALTER TABLE pro_u DROP COLUMN gender;
SELECT min(source) FROM recommend(200, 5, 'pro');
SET client_min_messages = notice;
SELECT * FROM recsys_refresh('pro');
SET client_min_messages = warning;
ALTER TABLE pro_u DROP age, DROP member, DROP mood, DROP since, DROP born, DROP taste, DROP scores, DROP shops, DROP "the ""colors/", DROP level, DROP team;
SELECT min(source) FROM recommend(200, 5, 'pro');
DROP TABLE pro_u;
SELECT min(source) FROM recommend(200, 5, 'pro');
SET client_min_messages = notice;
SELECT * FROM recsys_refresh('pro');
SET client_min_messages = warning;
SELECT min(source) FROM recommend_for_profile('{"gender": "m"}', 5, 'pro');

-- damaged parameters are an error, never a wrong answer or a crash
UPDATE pro_param SET shape = '{1,2}', value = '{1,2}' WHERE name = 'feature/user/number/age';
SELECT try('{"age": 3}');
DELETE FROM pro_param WHERE name = 'feature/user/number/age';
UPDATE pro_param SET value = array_fill('NaN'::real, shape) WHERE name = 'value/user/mood/glad';
SELECT try('{"mood": "glad"}');
UPDATE pro_param SET name = 'feature/user/wrong' WHERE name = 'feature/user/vector/taste';
SELECT try('{"mood": "glad"}');

SELECT recsys_drop('pro'), recsys_drop('pro_plain'), recsys_drop('pro_none');
DROP VIEW pro_low;
DROP TABLE pro_r, pro_i;
DROP FUNCTION try(text, int);
DROP FUNCTION distance(vector, vector);
DROP TYPE pro_mood;
DROP ROLE pro_reader;
