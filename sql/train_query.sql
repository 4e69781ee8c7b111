-- the query side of towers: context, and the history of a user
SET client_min_messages = warning;
-- even items by day, odd ones in the evening; a user likes tens of items
CREATE TABLE qry_r AS SELECT u AS user_id, i AS item_id, CASE WHEN i % 2 = 0 THEN 'day' ELSE 'evening' END AS place, timestamptz '2024-01-01 00:00+00' + (i + u) * interval '1 hour' AS rated_at
  FROM generate_series(1, 300) u, generate_series(0, 99) i WHERE abs(hashint4(u * 1000 + i)) % 100 < CASE WHEN u % 4 = i / 2 % 4 THEN 60 ELSE 10 END;
SELECT status FROM recsys_train('qry_r', 'qry', hidden => '{16}', dim => 16, epochs => 12, workers => 1, context_features => '{place}', test_fraction => 0);
SELECT place, sum(1 - r.item_id % 2) >= 18 AS even, sum(r.item_id % 2) >= 18 AS odd, count(*), min(source)
  FROM unnest(ARRAY['day', 'evening']) place, generate_series(1, 4) u, recommend(u, 5, 'qry', context => jsonb_build_object('place', place)) r GROUP BY 1 ORDER BY 1;
-- the same by plain SQL is the vector and what the context adds; without it both kinds come
SELECT count(*), bool_and(score = score) FROM recommend(1, 5, 'qry');
SELECT count(*) FROM recommend(1, 5, 'qry', context => '{}');
SELECT min(source) FROM recommend(-1, 3, 'qry', context => '{"place": "day"}');
SELECT bool_and(x = x) AS no_nan FROM qry_param, unnest(value) x;
-- history: kinds by fours, told by the last items alone
SELECT status FROM recsys_train('qry_r', 'qry_h', hidden => '{16}', dim => 16, epochs => 40, workers => 1, options => '{"history": 5}', test_fraction => 0);
SELECT avg((r.item_id / 2 % 4 = u % 4)::int) > 0.65 AS kind FROM generate_series(1, 40) u, recommend(u, 5, 'qry_h') r;
SELECT config->'history' AS history FROM recsys_models WHERE model = 'qry_h';
-- both, without a time column, with a team
CREATE VIEW qry_v AS SELECT user_id, item_id, place FROM qry_r;
SELECT status FROM recsys_train('qry_v', 'qry_v', hidden => '{8}', dim => 8, epochs => 3, workers => 2, context_features => '{place}', options => '{"history": 1000}');
SELECT bool_and(embedding = embedding) FROM qry_v_user;
SELECT md5(string_agg(t::text, ',' ORDER BY user_id)) AS before FROM qry_v_user t \gset
SELECT status FROM recsys_train('qry_v', 'qry_v', hidden => '{8}', dim => 8, epochs => 3, workers => 1, context_features => '{place}', options => '{"history": 1000}');
SELECT md5(string_agg(t::text, ',' ORDER BY user_id)) = :'before' AS same FROM qry_v_user t;
-- errors
SELECT * FROM recsys_train('qry_r', 'qry_e', options => '{"history": 5}');
SELECT * FROM recsys_train('qry_r', 'qry_e', hidden => '{8}', options => '{"history": 1001}');
SELECT * FROM recsys_train('qry_r', 'qry_e', context_features => '{place}');
SELECT recsys_drop(m) FROM unnest(ARRAY['qry', 'qry_h', 'qry_v']) m;
DROP TABLE qry_r CASCADE;
