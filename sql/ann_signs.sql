-- Rows whose energy lies in all coordinates: level 1 of their index has signs. The
-- choice changes with the rows, answers do not. Every query ends with what is wrong.
SET recsys.target_recall = 1;
-- spread: 1 in all coordinates alike; less: the more in the first ones
CREATE FUNCTION signs_vector(i int, spread float8) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(hashint8extended(i * 1000 + g, 1) % 1000 * power(spread, g))::vector(200)
	FROM generate_series(1, 200) g $$;
CREATE TABLE signs_rows (id int PRIMARY KEY, e vector(200)) WITH (autovacuum_enabled = off);
CREATE FUNCTION signs_top(op text, query vector, k int, by_index bool) RETURNS float8[]
LANGUAGE plpgsql AS $$
DECLARE
	top float8[];
	d float8;
	c refcursor;
BEGIN
	PERFORM set_config('enable_seqscan', (NOT by_index)::text, true),
		set_config('enable_sort', (NOT by_index)::text, true),
		set_config('enable_indexscan', by_index::text, true);
	-- row by row, as nobody says how many there will be: several rounds
	OPEN c FOR EXECUTE format('SELECT e %1$s $1 FROM signs_rows ORDER BY e %1$s $1', op) USING query;
	FOR i IN 1 .. k LOOP
		FETCH c INTO d;
		EXIT WHEN NOT FOUND;
		top := top || d;
	END LOOP;
	CLOSE c;
	RETURN top;
END $$;
CREATE FUNCTION signs_differ() RETURNS TABLE (op text, query int, k int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM recsys_index_check(i, true)
	FROM unnest('{signs_ip,signs_cosine}'::regclass[]) i;
	RETURN QUERY SELECT o, q, n
	FROM unnest('{<#>,<=>}'::text[]) o, unnest('{1,77,100001}'::int[]) q, unnest('{1,10,100,1500}'::int[]) n
	WHERE signs_top(o, signs_vector(q, 1), n, true) IS DISTINCT FROM signs_top(o, signs_vector(q, 1), n, false);
END $$;
-- made on an empty table: none; an insert makes structures that have them, but by L2
CREATE INDEX signs_ip ON signs_rows USING ann (e vector_ip_ops);
CREATE INDEX signs_cosine ON signs_rows USING ann (e vector_cosine_ops);
CREATE INDEX signs_l2 ON signs_rows USING ann (e vector_l2_ops);
CREATE FUNCTION signs_are(indexes regclass[]) RETURNS TABLE (index regclass, signs bool) LANGUAGE sql AS $$
	SELECT i, (recsys_index_stats(i)).code_bytes > 200 FROM unnest(indexes) i $$;
SELECT * FROM signs_are('{signs_ip,signs_cosine,signs_l2}');
INSERT INTO signs_rows SELECT i, signs_vector(i, 1) FROM generate_series(1, 3000) i;
SELECT * FROM signs_are('{signs_ip,signs_cosine,signs_l2}');
SELECT * FROM signs_differ();
-- rows one by one, slots used again
INSERT INTO signs_rows SELECT i, signs_vector(i, 1) FROM generate_series(3001, 3400) i;
DELETE FROM signs_rows WHERE id % 7 = 0;
VACUUM signs_rows;
INSERT INTO signs_rows SELECT i, signs_vector(i, 1) FROM generate_series(3401, 3600) i;
SELECT * FROM signs_differ();
-- by a build, with workers
SET max_parallel_maintenance_workers = 2;
SET min_parallel_table_scan_size = 0;
REINDEX INDEX signs_ip;
REINDEX INDEX signs_cosine;
SELECT * FROM signs_are('{signs_ip,signs_cosine,signs_l2}');
SELECT * FROM signs_differ();
-- a session that has them sees a structure without, and with them again
UPDATE signs_rows SET e = signs_vector(id, 0.95);
VACUUM signs_rows;
SELECT * FROM signs_are('{signs_ip}');
SELECT * FROM signs_differ();
UPDATE signs_rows SET e = signs_vector(id, 1);
VACUUM signs_rows;
SELECT * FROM signs_are('{signs_ip}');
SELECT * FROM signs_differ();
DROP TABLE signs_rows;
DROP FUNCTION signs_are, signs_differ, signs_top, signs_vector;
