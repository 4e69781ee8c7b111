-- What a kind of column says reaches those who have nothing but it: items of
-- four groups, told only by that column. Readers of a group like its items; a
-- quarter of the items is new. By the prior of implicit ALS and by towers.
SET client_min_messages = warning;
CREATE TABLE sig_i AS SELECT i AS item_id, g,
	(ARRAY['ships and harbours', 'stars with planets', 'bread from flour', 'trees near rivers'])[g + 1] || ', part ' || i AS title,
	format('[%s,%s,%s]', (g = 1)::int + h % 10 * 0.02, (g = 2)::int + h / 10 % 10 * 0.02, (g = 3)::int - h / 100 % 10 * 0.02)::vector AS v,
	g * 100 + h % 90 + 0.5 AS num,
	timestamp '2020-01-01' + g * interval '100 days' + h % 90 * interval '1 day' AS at,
	ARRAY['t' || g, 't' || g + 4, 'u' || h % 5] AS tags,
	'c' || g AS category,
	'n' || h % 4 AS nothing
	FROM (SELECT i, i % 4 AS g, abs(hashint4(i)) % 1000 AS h FROM generate_series(0, 199) i) x;
CREATE TABLE sig_r AS SELECT u AS user_id, i AS item_id FROM generate_series(0, 199) u, generate_series(0, 149) i
	WHERE abs(hashint4(u * 1000 + i)) % 100 < CASE WHEN u % 4 = i % 4 THEN 40 ELSE 3 END;
-- share of the five best new items that are of the user's group (by chance .25)
CREATE FUNCTION hits(col text, hidden int[]) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
	PERFORM recsys_train('sig_r', 'sig', items => 'sig_i', item_features => ARRAY[col], dim => 16, hidden => hidden,
		epochs => CASE WHEN hidden IS NULL THEN NULL ELSE 12 END, stages => '{retrieval}', options => '{"refit": false}');
	RETURN (SELECT avg((i.g = n.user_id % 4)::int) FROM sig_user n, LATERAL (
		SELECT x.item_id FROM sig_item x WHERE x.item_id >= 150 ORDER BY x.embedding <#> n.embedding LIMIT 5) b JOIN sig_i i USING (item_id));
END $$;
SELECT c, hits(c, NULL) > 0.7 AS als, hits(c, '{16}') > 0.7 AS towers FROM unnest(ARRAY['title', 'v', 'num', 'at', 'tags', 'category']) c;
-- and one that tells nothing of the group
SELECT hits('nothing', NULL) < 0.5 AS als, hits('nothing', '{16}') < 0.5 AS towers;

-- Ratings that tell what somebody likes from what he came across: a user has more
-- low ones, of any group, than high ones of his own. Found and weighed by itself.
CREATE TABLE sig_w AS SELECT u AS user_id, i AS item_id, CASE WHEN h < 14 AND u % 4 = i % 4 THEN 4 + h % 2 ELSE 1 + h % 2 END AS rating
	FROM generate_series(0, 399) u, generate_series(0, 159) i, LATERAL (SELECT abs(hashint4(u * 1000 + i)) % 100 AS h) x
	WHERE h < CASE WHEN u % 4 = i % 4 THEN 17 ELSE 6 END;
CREATE FUNCTION liked(model text) RETURNS float8 LANGUAGE sql AS $$
	SELECT avg((i % 4 = u % 4)::int) FROM generate_series(0, 399) u, LATERAL (SELECT item_id AS i FROM recommend(u, 10, liked.model)) r
$$;
SELECT 1 FROM recsys_train('sig_w', 'sig', dim => 16, stages => '{retrieval}');
SELECT 1 FROM recsys_train('sig_w', 'sig_plain', dim => 16, stages => '{retrieval}', rating_col => '');
SELECT model, choice ~ 'weighted by rating' AS weighted FROM recsys_models WHERE model ~ '^sig' ORDER BY 1;
SELECT liked('sig') > 1.1 * liked('sig_plain') AS better;

-- Dimensions grow with the data: fewer for a small table, and no more than usual
-- for a larger one of four kinds of taste (train_groups has one that takes more).
CREATE TABLE sig_d AS SELECT u AS user_id, i AS item_id FROM generate_series(0, 1199) u, generate_series(0, 599) i
	WHERE abs(hashint4(u * 1000 + i)) % 1000 < CASE WHEN u % 4 = i % 4 THEN 60 ELSE 3 END;
SELECT 1 FROM recsys_train('sig_d', 'sig');
DELETE FROM sig_d WHERE item_id >= 60 OR user_id >= 200;
SELECT 1 FROM recsys_train('sig_d', 'sig_plain');
SELECT s.dim < l.dim AS grows, l.choice ~ '^implicit ALS, 64 ' AS usual FROM recsys_models s, recsys_models l WHERE s.model = 'sig_plain' AND l.model = 'sig';
SELECT recsys_drop('sig'), recsys_drop('sig_plain');
DROP TABLE sig_i, sig_r, sig_w, sig_d;
DROP FUNCTION hits, liked;
