-- a training builds the index where it pays, and renews it
SET client_min_messages = warning;
CREATE TABLE idx_r AS SELECT i % 300 AS user_id, i * 7 % 21000 + i % 7 AS item_id FROM generate_series(1, 63000) i;
CREATE FUNCTION indexes() RETURNS TABLE (name text, valid boolean) LANGUAGE sql AS $$
	SELECT relname::text, indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid
	WHERE c.relname ~ '^idx_(user|item|mine)' ORDER BY 1 $$;
-- the index's answer is the sorted table's
CREATE FUNCTION same_answer() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	q vector := user_embedding(5, 'idx');
	a bigint[];
	b bigint[];
BEGIN
	SET LOCAL recsys.target_recall = 1;
	SET LOCAL enable_seqscan = off;
	a := ARRAY(SELECT item_id FROM idx_item ORDER BY embedding <#> q LIMIT 20);
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	b := ARRAY(SELECT item_id FROM idx_item ORDER BY embedding <#> q LIMIT 20);
	RETURN a = b;
END $$;
SELECT users, items > 20000 AS many FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 8, epochs => 1, test_fraction => 0);
SELECT * FROM indexes();
SELECT same_answer();
-- calibrated on the users' embeddings; after REINDEX and by hand as well
SELECT sample_queries FROM recsys_index_stats('idx_item_ann');
REINDEX INDEX idx_item_ann;
SELECT sample_queries FROM recsys_index_stats('idx_item_ann');
CREATE INDEX idx_items_of_users ON idx_user USING ann (embedding vector_ip_ops);
SELECT sample_queries > 100 AS items FROM recsys_index_stats('idx_items_of_users');
DROP INDEX idx_items_of_users;
CREATE TABLE idx_copy AS SELECT * FROM idx_item;
CREATE INDEX idx_of_copy ON idx_copy USING ann (embedding vector_ip_ops);
SELECT sample_queries FROM recsys_index_stats('idx_of_copy');
DROP TABLE idx_copy;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT item_id FROM idx_item ORDER BY embedding <#> '[1,2,3,4,5,6,7,8]' LIMIT 5;
RESET enable_seqscan;
-- the first question of a session is answered by the index, the next ones by
-- the table packed into memory: alike
CREATE TABLE idx_first (n int, u int, a bigint[], packed boolean);
CREATE FUNCTION ask(n int, u int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO idx_first SELECT n, u, array_agg(item_id ORDER BY rank), EXISTS (
		SELECT FROM pg_backend_memory_contexts WHERE name = 'recsys packed table')
	FROM recommend(u, 30, 'idx') $$;
\c
SELECT ask(1, 5);
SELECT ask(2, 5);
\c
SELECT ask(1, -1);
SELECT ask(2, -1);
SELECT u, packed, cardinality(a), a = first_value(a) OVER (PARTITION BY u ORDER BY n) AS alike FROM idx_first ORDER BY u DESC, n;
DROP FUNCTION ask(int, int);
DROP TABLE idx_first;
SET client_min_messages = warning;
-- again, with other dimensions; an index of one's own and a view go along
CREATE INDEX idx_own ON idx_item USING ann (embedding vector_ip_ops) WHERE item_id % 2 = 0;
CREATE VIEW idx_view AS SELECT * FROM idx_item;
CREATE VIEW idx_view2 AS SELECT item_id, embedding AS v FROM idx_view;
SELECT version FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0);
SELECT * FROM indexes();
SELECT same_answer();
SELECT relname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
	WHERE relname ~ '^idx_(item|user|own|view)' AND attname IN ('embedding', 'v') ORDER BY relname;
SELECT recsys_index_check(name::regclass, true) FROM (VALUES ('idx_item_ann'), ('idx_own')) x (name);
SELECT count(*) > 10000 AS rows, min(vector_dims(embedding)), max(vector_dims(embedding)) FROM idx_view;
DROP VIEW idx_view CASCADE;
DROP INDEX idx_own;
SELECT version FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0, seed => 1);
SELECT same_answer();
SELECT recsys_rollback('idx');
SELECT * FROM indexes();
SELECT same_answer();
-- an index of somebody's making under our name, of some rows, gives way
DROP INDEX idx_item_ann;
CREATE INDEX idx_item_ann ON idx_item USING ann (embedding vector_ip_ops) WHERE item_id < 100;
SELECT version > 1 FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0);
SELECT indpred IS NULL AS whole, same_answer() FROM pg_index WHERE indexrelid = 'idx_item_ann'::regclass;
-- an index of one's own stays, one's own name is not taken
DROP INDEX idx_item_ann;
CREATE INDEX idx_item_ann ON idx_item (interactions);
CREATE INDEX idx_mine ON idx_user (interactions);
BEGIN;
SELECT version FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0);
ROLLBACK;
SELECT count(*) FROM idx_user;
-- ratings alone: no vectors, no index of ours, and one of somebody else stays
DROP INDEX idx_item_ann;
ALTER TABLE idx_r ADD rating int;
UPDATE idx_r SET rating = 1 + (user_id + item_id) % 5;
CREATE INDEX idx_mine_too ON idx_user USING ann (embedding vector_ip_ops);
SELECT version FROM recsys_train('idx_r', 'idx', stages => '{retrieval}', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0);
SELECT * FROM indexes();
SELECT version FROM recsys_train('idx_r', 'idx', stages => '{ranking}', options => '{"ranking_loss": "sgd"}', test_fraction => 0);
SELECT * FROM indexes();
SELECT count(embedding), count(ranking) > 0 AS ranked FROM idx_item;
SELECT recsys_rollback('idx');
SELECT same_answer();
-- few items need none
DELETE FROM idx_r WHERE item_id > 100;
SELECT version FROM recsys_train('idx_r', 'idx', preset => 'tfrs', dim => 12, epochs => 1, test_fraction => 0);
SELECT * FROM indexes();
SELECT recsys_drop('idx');
DROP TABLE idx_r;
DROP FUNCTION indexes();
DROP FUNCTION same_answer();
