-- Baskets of many small groups of items: what goes with what is sharp, and takes
-- as many dimensions as there are groups. Found by itself, for few items and for
-- more, where towers are tried first.
SET client_min_messages = warning;
CREATE FUNCTION groups_make(items int, users int) RETURNS void
LANGUAGE sql AS $$
	DROP TABLE IF EXISTS groups_r;
	CREATE TABLE groups_r AS
	SELECT DISTINCT u AS user_id, (hashint8(g * 10 + i + 7)::bigint + 2147483648) % items AS item_id
	FROM (SELECT u, floor(items / 3 * power(((hashint8(u * 97 + k) + 2147483648) % 1000) / 1000.0, 2))::int AS g
		  FROM generate_series(1, users) u, generate_series(1, 3) k
		  WHERE k <= 1 + (hashint8(u * 31) + 2147483648) % 3) b, generate_series(1, 6) i
	WHERE (hashint8(u * 13 + g * 7919 + i * 101) + 2147483648) % 10 < 7;
$$;
SELECT groups_make(1900, 4000);
SELECT 1 FROM recsys_train('groups_r', 'wide');
SELECT 1 FROM recsys_train('groups_r', 'narrow', dim => 64);
SELECT w.dim >= 128 AND w.choice !~ ' x 2' AS wide, (w.metrics->>'ndcg@10')::float > 1.05 * (n.metrics->>'ndcg@10')::float AS better
FROM recsys_models w, recsys_models n WHERE w.model = 'wide' AND n.model = 'narrow';
SELECT groups_make(3000, 7000);
SELECT count(*) > 50000 AS many FROM groups_r;
SELECT 1 FROM recsys_train('groups_r', 'wide');
SELECT dim >= 128 AS wide, choice ~ 'implicit ALS.*that of towers' AS after_towers FROM recsys_models WHERE model = 'wide';
SELECT recsys_drop('wide'), recsys_drop('narrow');
DROP TABLE groups_r;
DROP FUNCTION groups_make;
