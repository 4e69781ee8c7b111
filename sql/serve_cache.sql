-- the cache is kept while nothing changes, bounded, and does not grow
SET client_min_messages = warning;
CREATE SCHEMA serve_cache;
SET search_path = serve_cache, public;
CREATE TABLE ratings (user_id int, item_id int, rating real);
INSERT INTO ratings SELECT u, (u * u + j * 7) % 400, (u + j) % 5 + 1
	FROM generate_series(1, 200) u, generate_series(1, 20) j;
CREATE INDEX ON ratings (user_id);
ANALYZE ratings;
SELECT status FROM recsys_train('ratings', dim => 8, epochs => 1);
ALTER TABLE default_item SET (autovacuum_enabled = false);
CREATE TABLE other (i int);
-- how often the table of items has been read in full
CREATE TEMP TABLE seen AS SELECT 0::bigint AS n;
CREATE FUNCTION new_scans() RETURNS bigint LANGUAGE sql AS $$
	UPDATE seen SET n = pg_stat_get_numscans('default_item'::regclass)
		RETURNING n - (SELECT n FROM seen);
$$;
SELECT count(*) FROM recommend(1, 3);
SELECT pg_stat_force_next_flush();
SELECT new_scans() > 0 AS read;
-- other transactions do not matter to it
INSERT INTO other VALUES (1);
SELECT count(*) FROM recommend(1, 3);
INSERT INTO ratings VALUES (1, 1, 1);
SELECT count(*) FROM recommend(2, 3);
SELECT count(*) FROM similar_items(1, 3);
BEGIN;
INSERT INTO other VALUES (2);
SELECT count(*) FROM recommend(1, 3);
ROLLBACK;
SELECT pg_stat_force_next_flush();
SELECT new_scans();
-- one reading after a change
UPDATE default_item SET interactions = interactions WHERE item_id = 1;
SELECT count(*) FROM recommend(1, 3);
SELECT count(*) FROM recommend(2, 3);
SELECT pg_stat_force_next_flush();
SELECT new_scans() > 0 AS after_change;
-- a table without the trigger is read again when anything has been written
ALTER TABLE default_item DISABLE TRIGGER recsys_changed;
SELECT count(*) FROM recommend(1, 3);
SELECT pg_stat_force_next_flush();
SELECT new_scans() > 0 AS read;
DELETE FROM default_item WHERE item_id = (SELECT item_id FROM recommend(1, 1));
SELECT count(*) FROM recommend(1, 1000, exclude_seen => false)
	EXCEPT SELECT count(*) FROM default_item;
SELECT pg_stat_force_next_flush();
SELECT new_scans() > 0 AS read;
ALTER TABLE default_item ENABLE ALWAYS TRIGGER recsys_changed;
-- trained again: the new version at once
SELECT version FROM recsys_train('ratings', dim => 4, epochs => 1);
SELECT vector_dims(item_embedding(1)) = vector_dims(user_embedding(1)) AS fit,
	count(*) FROM recommend(1, 3);

-- memory: 10,000 calls of each kind, failing ones too
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS
	'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
CREATE PROCEDURE calls(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM * FROM recommend(i % 220, 5);
		PERFORM * FROM similar_items(i % 400, 5);
		PERFORM user_embedding(i % 220);
		PERFORM predict(i % 220, i % 420);
		IF i % 100 = 0 THEN
			BEGIN
				PERFORM * FROM recommend(i, -1);
			EXCEPTION WHEN invalid_parameter_value THEN
			END;
			UPDATE default_item SET interactions = i WHERE item_id = 2;
		END IF;
		COMMIT;
	END LOOP;
END $$;
CALL calls(500);
SELECT memory() AS before \gset
CALL calls(10000);
SELECT memory() - :before < 300000 AS memory_does_not_grow;
-- the bound holds, and 0 means no cache
SET recsys.cache_size = '1kB';
SELECT count(*) FROM recommend(1, 3);
SELECT count(*) FROM recommend(1, 100000, exclude_seen => false)
	EXCEPT SELECT count(*) FROM default_item;
SELECT coalesce(sum(total_bytes), 0) < 20000 AS bounded
	FROM pg_backend_memory_contexts WHERE name LIKE 'recsys packed%';
RESET recsys.cache_size;

-- prepared, generic plan, cursor, subtransaction
PREPARE p(bigint) AS SELECT count(*) FROM recommend($1, 7);
SET plan_cache_mode = force_generic_plan;
EXECUTE p(1);
EXECUTE p(5);
BEGIN;
DECLARE c CURSOR FOR SELECT rank FROM recommend(1, 5);
FETCH 2 FROM c;
SAVEPOINT s;
SELECT count(*) FROM recommend(1, 5);
ROLLBACK TO s;
FETCH ALL FROM c;
COMMIT;

SELECT recsys_drop('default');
SET client_min_messages = error;
DROP SCHEMA serve_cache CASCADE;
