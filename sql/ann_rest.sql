-- A scan that goes on and on keeps its rows on disk: with the least work_mem the
-- answers are those of a sort, whatever is asked and however it ends.
SET client_min_messages = warning;
SET recsys.target_recall = 1;
CREATE TABLE ann_many AS
SELECT i AS id, i % 1000 AS keep,
	   (SELECT array_agg((hashint4(i * 31 + g) % 1000 + hashint4((i % 17) * 97 + g) % 3000)
						 / 1000.0 * exp((hashint4(i / 2) % 1000) / 1000.0))
		FROM generate_series(1, 8) g)::vector(8) AS e
FROM generate_series(1, 40000) i;
INSERT INTO ann_many SELECT 40000 + i, i, e
FROM ann_many, generate_series(1, 3000) i WHERE id = 5;
INSERT INTO ann_many VALUES (50000, 1, NULL);
CREATE INDEX ann_many_ip ON ann_many USING ann (e vector_ip_ops);
CREATE INDEX ann_many_l2 ON ann_many USING ann (e vector_l2_ops);
CREATE INDEX ann_many_cosine ON ann_many USING ann (e vector_cosine_ops);
ANALYZE ann_many;
SET work_mem = '64kB';

-- rows and distances by the index against those by a sort
CREATE FUNCTION ann_rest_differs(op text, cond text, k int, query int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	a float8[];
	b float8[];
	ids int;
	part text := format('SELECT array_agg(d), count(DISTINCT id) FROM (
		SELECT id, e %1$s (SELECT e FROM ann_many WHERE id = $1) AS d FROM ann_many
		WHERE e IS NOT NULL AND %2$s ORDER BY 2 LIMIT %3$s) r', op, cond, k);
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE part INTO a, ids USING query;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE part INTO b USING query;
	SET LOCAL enable_indexscan = on;
	RETURN format('%s rows, %s differ', ids,
				  (SELECT count(*) FROM unnest(a, b) AS u(x, y) WHERE x IS DISTINCT FROM y));
END $$;
SELECT op, cond, k, ann_rest_differs(op, cond, k, query)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op,
	 (VALUES ('true', 100000, 7), ('true', 30000, 5), ('keep = 7', 1000, 11),
			 ('id = 77', 10, 12), ('id < 0', 10, 13)) q(cond, k, query);

-- what is in memory meanwhile, and scans that end early or begin again
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
DECLARE c CURSOR FOR SELECT id FROM ann_many
ORDER BY e <-> (SELECT e FROM ann_many WHERE id = 2);
MOVE 20000 FROM c;
SELECT sum(total_bytes) < 3 * 1024 * 1024 AS bounded
FROM pg_backend_memory_contexts
WHERE name IN ('ann scan', 'ann arrays') OR name LIKE 'TupleSort%';
SELECT count(*) > 0 AS on_disk FROM pg_ls_tmpdir()
WHERE name LIKE format('pgsql_tmp%s.%%', pg_backend_pid());
SAVEPOINT s;
SELECT count(*), sum(n) FROM (
	SELECT (SELECT count(*) FROM (SELECT id FROM ann_many m WHERE keep = 7 OR id = q.id
								  ORDER BY e <#> q.e LIMIT 60) r) AS n
	FROM (SELECT * FROM ann_many WHERE id IN (1, 2, 3)) q) x;
SELECT 1 / (id - id) FROM ann_many WHERE keep = 7
ORDER BY e <#> (SELECT e FROM ann_many WHERE id = 2) LIMIT 50;
ROLLBACK TO s;
MOVE 10000 FROM c;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
SELECT count(*) FROM pg_ls_tmpdir()
WHERE name LIKE format('pgsql_tmp%s.%%', pg_backend_pid());

-- equal rows keep their order, in memory and on disk, however many are asked for
CREATE FUNCTION ann_rest_ids(op text, k int) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	ids int[];
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM ann_many
		ORDER BY e %s (SELECT e FROM ann_many WHERE id = 5) LIMIT %s) r', op, k) INTO ids;
	RETURN ids;
END $$;
CREATE TABLE ann_disk AS SELECT op, ann_rest_ids(op, 100000) AS ids
FROM unnest(ARRAY['<#>', '<->', '<=>']) op;
SELECT op, cardinality(ids), ann_rest_ids(op, 2900) = ids[:2900] AS some_of_them
FROM ann_disk ORDER BY op;
SET work_mem = '64MB';
SELECT op, ann_rest_ids(op, 100000) = ids AS in_memory FROM ann_disk ORDER BY op;
SET work_mem = '64kB';
DROP TABLE ann_disk;
DROP FUNCTION ann_rest_ids;

-- below 1 the order is still true and no row is lost
SET recsys.target_recall = 0.8;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE d < before) AS out_of_order
FROM (SELECT id, d, lag(d) OVER () AS before
	  FROM (SELECT id, e <=> (SELECT e FROM ann_many WHERE id = 9) AS d FROM ann_many
			ORDER BY 2 LIMIT 42000) r) o;
-- to NULL all are equally far
SELECT count(*), count(DISTINCT id)
FROM (SELECT id FROM ann_many ORDER BY e <-> (SELECT e FROM ann_many WHERE id = 50000)) r;
DROP TABLE ann_many;
DROP FUNCTION ann_rest_differs;
