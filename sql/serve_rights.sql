-- whose rights count, row-level policies, damaged tables, index and plans
SET client_min_messages = warning;
CREATE SCHEMA serve_rights;
SET search_path = serve_rights, public;
CREATE ROLE serve_rights_reader;
CREATE ROLE serve_rights_tenant;
GRANT USAGE ON SCHEMA serve_rights TO serve_rights_reader, serve_rights_tenant;

CREATE TABLE ratings (user_id int, item_id int, rating real);
INSERT INTO ratings SELECT u, (u * u + j * 7) % 50, (u + j) % 5 + 1
	FROM generate_series(1, 60) u, generate_series(1, 12) j;
CREATE INDEX ON ratings (user_id);
SELECT status FROM recsys_train('ratings', dim => 4, epochs => 2,
	stages => '{retrieval,ranking}');
SELECT count(*) FROM recommend(1, 3);

-- SELECT on the model's tables and on the ratings, each checked in each call
SET ROLE serve_rights_reader;
\set VERBOSITY terse
SELECT count(*) FROM recommend(1, 3);
RESET ROLE;
GRANT SELECT ON default_user TO serve_rights_reader;
SET ROLE serve_rights_reader;
SELECT count(*) FROM recommend(1, 3);
SELECT user_embedding(1) IS NOT NULL;
SELECT item_embedding(1);
RESET ROLE;
GRANT SELECT (item_id, embedding, interactions) ON default_item
	TO serve_rights_reader;
SET ROLE serve_rights_reader;
\set VERBOSITY default
SELECT count(*) FROM recommend(1, 3);
SELECT count(*) FROM recommend(1, 3, exclude_seen => false);
SELECT count(*) FROM similar_items(1, 3);
SELECT count(*) FROM recommend_all(1);
SELECT count(*) FROM recommend_all(1, exclude_seen => false);
\set VERBOSITY terse
SELECT predict(1, 1);
SELECT * FROM recsys_evaluate('default', 'ratings');
RESET ROLE;
GRANT SELECT (user_id, item_id) ON ratings TO serve_rights_reader;
SET ROLE serve_rights_reader;
SELECT count(*) FROM recommend(1, 3);
SELECT count(*) FROM recommend_users(1, 3);
RESET ROLE;
GRANT SELECT (item_id, ranking) ON default_item TO serve_rights_reader;
SET ROLE serve_rights_reader;
SELECT predict(1, 1);
RESET ROLE;
GRANT SELECT ON default_param TO serve_rights_reader;
SET ROLE serve_rights_reader;
SELECT predict(1, 1) BETWEEN 1 AND 5;
-- the cache does not outlive the right
RESET ROLE;
REVOKE ALL ON default_item FROM serve_rights_reader;
SET ROLE serve_rights_reader;
SELECT count(*) FROM recommend(1, 3);
RESET ROLE;

-- policies: the tenant sees even items and the own row of users
GRANT SELECT ON default_user, default_item, default_param, ratings
	TO serve_rights_tenant;
ALTER TABLE default_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON default_item TO serve_rights_tenant
	USING (item_id % 2 = 0);
SELECT count(*) AS all, count(*) FILTER (WHERE item_id % 2 = 0) AS even
	FROM recommend(1, 100, exclude_seen => false);
SET ROLE serve_rights_tenant;
SELECT count(*) AS all, count(*) FILTER (WHERE item_id % 2 = 0) AS even
	FROM recommend(1, 100, exclude_seen => false);
SELECT count(*) AS all, count(*) FILTER (WHERE item_id % 2 = 0) AS even
	FROM recommend(999, 100);
SELECT count(*) AS all, count(*) FILTER (WHERE item_id % 2 = 0) AS even
	FROM recommend_all(100, exclude_seen => false) WHERE user_id = 7;
SELECT item_embedding(2) IS NOT NULL AS even, item_embedding(3) IS NOT NULL
	AS odd;
SELECT count(*) FROM similar_items(3);
-- the same answer as the table itself gives
SELECT count(*) FROM (SELECT item_id FROM recommend(5, 10,
		exclude_seen => false)
	EXCEPT (SELECT item_id FROM default_item
		ORDER BY embedding <#> user_embedding(5) LIMIT 10)) x;
SET row_security = off;
SELECT count(*) FROM recommend(1, 3);
RESET row_security;
RESET ROLE;
ALTER TABLE default_user ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON default_user TO serve_rights_tenant
	USING (user_id = current_setting('serve.uid')::int);
SET ROLE serve_rights_tenant;
SET serve.uid = 5;
SELECT source, count(*) FROM recommend(5, 3) GROUP BY 1;
SELECT source, count(*) FROM recommend(6, 3) GROUP BY 1;
SELECT count(*) FROM recommend_users(4, 10, exclude_seen => false);
SET serve.uid = 6;
SELECT source, count(*) FROM recommend(6, 3) GROUP BY 1;
SELECT predict(5, 4) = predict(6, 4) AS hidden_and_shown_alike;
RESET ROLE;
-- policies on the ratings hide what was seen
ALTER TABLE ratings ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON ratings TO serve_rights_tenant USING (false);
SET ROLE serve_rights_tenant;
SET serve.uid = 5;
SELECT count(*) FROM recommend(5, 100);
RESET ROLE;
ALTER TABLE default_item DISABLE ROW LEVEL SECURITY;
ALTER TABLE default_user DISABLE ROW LEVEL SECURITY;

-- plain SQL takes the index once it is there, and gives the same
INSERT INTO default_item SELECT i, embedding, ranking, 0
	FROM default_item, generate_series(1000, 1600) i WHERE item_id = 7;
UPDATE default_item SET embedding = ('[' || sin(item_id) || ',' ||
	cos(item_id * 3) || ',' || sin(item_id * 7) || ',' || cos(item_id) ||
	substr(repeat(',0', vector_dims(embedding)), 1,
		2 * (vector_dims(embedding) - 4)) || ']')::vector;
CREATE INDEX ON default_item USING ann (embedding vector_ip_ops);
ANALYZE default_item;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT item_id FROM default_item
	ORDER BY embedding <#> user_embedding(1) LIMIT 3;
SET recsys.target_recall = 1;
SELECT array_agg(item_id ORDER BY rank) = (SELECT array_agg(item_id::bigint) FROM
	(SELECT item_id FROM default_item
		ORDER BY embedding <#> user_embedding(1) LIMIT 10) x) AS same
	FROM recommend(1, 10, exclude_seen => false);
-- too large for the cache: the function takes the index itself
SET recsys.cache_size = 0;
SELECT array_agg(item_id ORDER BY rank) = (SELECT array_agg(item_id::bigint) FROM
	(SELECT item_id FROM default_item
		ORDER BY embedding <#> user_embedding(1) LIMIT 10) x) AS same
	FROM recommend(1, 10, exclude_seen => false);
SELECT count(*) FROM recommend(1, 500);
RESET recsys.cache_size;
RESET enable_seqscan;
-- no primary key any more: slower, but the same
ALTER TABLE default_user DROP CONSTRAINT default_user_pkey;
SELECT count(*) FROM recommend(1, 500);
-- tables gone
\set VERBOSITY sqlstate
DROP TABLE default_param;
SELECT predict(1, 1);
SELECT * FROM recommend(1, 3);

DELETE FROM recsys_model WHERE schema = 'serve_rights';
DELETE FROM recsys_log WHERE schema = 'serve_rights';
SET client_min_messages = error;
DROP SCHEMA serve_rights CASCADE;
DROP ROLE serve_rights_reader, serve_rights_tenant;
