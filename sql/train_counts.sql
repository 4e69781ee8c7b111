-- A log of events without ratings: how often somebody came back says more than
-- that he once was there. 400 users, 4 tastes of 50 items: all look at anything, once;
-- what is to their taste they come back to.
SET client_min_messages = warning;
CREATE TABLE events AS
SELECT u AS user_id, i AS item_id
FROM generate_series(1, 400) u, generate_series(0, 199) i,
	 LATERAL (SELECT abs(hashint4(u * 1000 + i)) % 100 AS h) x,
	 LATERAL generate_series(1, CASE WHEN u % 4 = i % 4 THEN 6 ELSE 1 END)
WHERE h < CASE WHEN u % 4 = i % 4 THEN 25 ELSE 16 END;
CREATE VIEW once AS SELECT DISTINCT user_id, item_id FROM events;
SELECT 1 FROM recsys_train('events', 'counted');
SELECT 1 FROM recsys_train('once', 'once');
SELECT model, choice ~ 'weighted by count' AS weighted FROM recsys_models WHERE model IN ('counted', 'once') ORDER BY 1;
SELECT (skipped->>'duplicate')::int = (SELECT count(*) FROM events) - (SELECT count(*) FROM once) AS pairs_once
FROM recsys_models WHERE model = 'counted';
-- share of the first ten that are to a user's taste; by chance 1 of 4
CREATE FUNCTION taste(m text) RETURNS float LANGUAGE sql AS $$
	SELECT avg((a.item_id % 4 = a.user_id % 4)::int) FROM recommend_all(10, m) a $$;
SELECT taste('counted') > taste('once') + 0.1 AS better;
-- ratings with a long tail weigh by their order of size: one guest who spent
-- a million does not make the rest alike
CREATE TABLE spent AS SELECT user_id, item_id, count(*) * 100.0 + user_id % 7 AS rating FROM events GROUP BY 1, 2;
UPDATE spent SET rating = 1e6 WHERE user_id = 1;
SELECT 1 FROM recsys_train('spent', 'spent', stages => '{retrieval}');
SELECT choice ~ 'weighted by rating' AS weighted, taste('spent') > taste('once') + 0.1 AS better FROM recsys_models WHERE model = 'spent';
-- the default goes by pairs, not by rows: 56,000 rows of 14,000 pairs are few
-- interactions, 56,000 pairs of as many rows are not, nor are 62,000 rows of these
CREATE VIEW many AS SELECT i % 4000 AS user_id, (i / 4000 * 271 + i % 4000 * 7) % 1000 AS item_id, i FROM generate_series(0, 55999) i;
CREATE VIEW log AS SELECT i % 2000 AS user_id, (i / 2000 % 7 * 271 + i % 2000 * 7) % 1000 AS item_id FROM generate_series(0, 55999) i;
CREATE VIEW some_twice AS SELECT user_id, item_id FROM many UNION ALL SELECT user_id, item_id FROM many WHERE i < 6000;
SELECT 1 FROM recsys_train('log', 'log', dim => 8, epochs => 1);
SELECT 1 FROM recsys_train('many', 'many', dim => 8, epochs => 1);
SELECT 1 FROM recsys_train('some_twice', 'some_twice', dim => 8, epochs => 1);
SELECT model, interactions, choice ~ 'because the interactions are few' AS few, choice ~ 'NDCG@20' AS compared
FROM recsys_models WHERE model IN ('log', 'many', 'some_twice') ORDER BY 1;
SELECT recsys_drop(m) FROM unnest(ARRAY['log', 'many', 'some_twice']) m;
DROP VIEW log, some_twice, many;
SELECT recsys_drop(m) FROM unnest(ARRAY['counted', 'once', 'spent']) m;
DROP VIEW once;
DROP TABLE events, spent;
DROP FUNCTION taste;
