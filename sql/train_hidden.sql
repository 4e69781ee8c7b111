-- hidden: towers with features and layers
SET client_min_messages = warning;
-- 120 users and 80 items of four kinds; users choose their own kind; some of both have no ratings
CREATE TABLE hid_u AS SELECT i AS user_id, 'k' || i % 4 AS kind, i % 7 AS level FROM generate_series(0, 119) i;
CREATE TABLE hid_i AS SELECT i AS item_id, ARRAY['g' || i % 4, 'h' || i % 3] AS genres FROM generate_series(0, 79) i;
CREATE TABLE hid_r AS SELECT u AS user_id, i AS item_id FROM generate_series(0, 99) u, generate_series(0, 63) i
	WHERE abs(hashint4(u * 1000 + i)) % 100 < CASE WHEN u % 4 = i % 4 THEN 50 ELSE 3 END;
SELECT users, items, (metrics->>'recall@10')::float8 > (baseline->>'recall@10')::float8 AS better
	FROM recsys_train('hid_r', 'hid', users => 'hid_u', items => 'hid_i', hidden => '{16,8}', dim => 8, workers => 1);
SELECT choice ~ '^towers with 2 hidden layers' AS chosen, dim FROM recsys_models WHERE model = 'hid';
SELECT name, shape FROM hid_param WHERE name ~ '^(user|item)_(kernel|bias)' ORDER BY name COLLATE "C";
-- unit vectors, all finite
SELECT bool_and(abs(vector_norm(embedding) - 1) < 1e-4) FROM hid_user;
SELECT bool_and(abs(vector_norm(embedding) - 1) < 1e-4) FROM hid_item;
-- who has nothing but features gets what people of his kind like, and so do items
SELECT avg((r.item_id % 4 = u.user_id % 4)::int) > 0.9 AS good FROM hid_u u, recommend(u.user_id, 5, 'hid', false) r WHERE u.user_id >= 100;
SELECT avg((r.user_id % 4 = i.item_id % 4)::int) > 0.9 AS good FROM hid_i i, recommend_users(i.item_id, 5, 'hid', false) r WHERE i.item_id >= 64;
SELECT bool_and(source = 'features') FROM recommend(110, 3, 'hid');
-- the same vector as stored, from the table of features, from a profile
INSERT INTO hid_u SELECT 1000 + user_id, kind, level FROM hid_u WHERE user_id >= 100;
SELECT max(embedding <-> user_embedding(1000 + user_id, 'hid')) < 1e-4 AS same FROM hid_user WHERE user_id >= 100;
SELECT a.item_id = b.item_id AS same, abs(a.score - b.score) < 1e-4 AS same FROM recommend(110, 1, 'hid') a, recommend_for_profile('{"kind": "k2", "level": 5}', 1, 'hid') b;
SELECT * FROM recsys_refresh('hid');
-- any number of workers, and again: the same model
SELECT md5(string_agg(t::text, ',' ORDER BY user_id)) AS before FROM hid_user t WHERE user_id < 1000 \gset
DELETE FROM hid_u WHERE user_id >= 1000;
SELECT users FROM recsys_train('hid_r', 'hid', users => 'hid_u', items => 'hid_i', hidden => '{16,8}', dim => 8, workers => 2);
SELECT md5(string_agg(t::text, ',' ORDER BY user_id)) = :'before' AS same FROM hid_user t;
-- without features, without a split, with huge features, damaged layers
SELECT users, items FROM recsys_train('hid_r', 'hid', hidden => '{8}', dim => 4, test_fraction => 0, epochs => 3);
SELECT bool_and(abs(vector_norm(embedding) - 1) < 1e-4) FROM hid_item;
CREATE TABLE hid_v AS SELECT user_id, format('[%s,%s]', user_id * 1e30, -user_id)::vector AS v FROM hid_u;
SELECT users FROM recsys_train('hid_r', 'hid', users => 'hid_v', hidden => '{8}', dim => 4, epochs => 3);
SELECT bool_and(abs(vector_norm(embedding) - 1) < 1e-4) FROM hid_user;
UPDATE hid_param SET shape = '{8,4}' WHERE name = 'user_kernel_0';
SELECT * FROM recommend_for_profile('{"v": [1,2]}', 1, 'hid');
SELECT recsys_drop('hid');
DROP TABLE hid_u, hid_i, hid_r, hid_v;
