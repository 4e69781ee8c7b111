-- The recall that recsys.target_recall promises, by queries that the build has
-- not seen: rows like those of the table, and vectors from elsewhere.
SET client_min_messages = warning;

-- about normal, of variance 1: the sum of four hashes
CREATE FUNCTION ann_normal(seed int, at int) RETURNS float8
LANGUAGE sql IMMUTABLE AS $$
	SELECT (((hashint4(seed * 64 + at) & 65535) + (hashint4(-seed * 64 - at) & 65535)
		   + (hashint4(seed * 64 + at + 500000000) & 65535)
		   + (hashint4(seed * 64 + at + 900000000) & 65535)) / 65536.0 - 2) * 1.73
$$;
-- a mixture: centre number c, a spectrum that falls, a length
CREATE FUNCTION ann_vector(seed int, c int, spread float8, size float8)
RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT (array_agg((ann_normal(c, g) + spread * ann_normal(seed, g)) * size
					  / sqrt(g)))::vector
	FROM generate_series(1, 24) g
$$;
CREATE TABLE ann_rows WITH (autovacuum_enabled = off) AS
SELECT i AS id, ann_vector(i, -(i % 40) - 1, 0.8, exp(0.4 * ann_normal(i, 50)))
	   ::vector(24) AS e
FROM generate_series(1, 8000) i;
CREATE TABLE ann_queries AS
SELECT 'like the rows' AS kind, ann_vector(i, -(i % 40) - 1, 0.8, 1) AS q
FROM generate_series(20001, 20100) i
UNION ALL
SELECT 'from elsewhere', ann_vector(i, -(i % 13) - 100, 1.5, 1)
FROM generate_series(30001, 30100) i
UNION ALL
SELECT 'users by least squares', (
	SELECT (array_agg(ann_normal(-(i % 40) - 1, g) + 0.8 * ann_normal(i, g)))::vector
	FROM generate_series(1, 24) g)
FROM generate_series(40001, 40100) i;

CREATE INDEX ann_ip ON ann_rows USING ann (e vector_ip_ops);
CREATE INDEX ann_l2 ON ann_rows USING ann (e vector_l2_ops);
CREATE INDEX ann_cos ON ann_rows USING ann (e vector_cosine_ops);
ANALYZE ann_rows;

-- share of the true best k that the index returns for a kind of queries
CREATE FUNCTION ann_recall(op text, k int, kind text, target float8)
RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	part text := format('SELECT array_agg(r.d) FROM ann_queries n,
		LATERAL (SELECT e %s n.q AS d FROM ann_rows
				 ORDER BY e %s n.q LIMIT %s) r WHERE kind = %L', op, op, k, kind);
	a float8[];
	b float8[];
	hits int := 0;
	i int := 1;
	n int := 1;
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	PERFORM set_config('recsys.target_recall', target::text, true);
	EXECUTE part INTO a;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE part INTO b;
	-- both rise within a query: a row of a is one of the best when b has it
	WHILE n <= cardinality(b) LOOP
		IF i < n THEN
			i := n;
		END IF;
		FOR j IN n .. n + k - 1 LOOP
			IF i < n + k AND b[j] = a[i] THEN
				hits := hits + 1;
				i := i + 1;
			END IF;
		END LOOP;
		n := n + k;
	END LOOP;
	RETURN hits / cardinality(b)::float8;
END $$;

-- .99 is the default; three standard errors of a sample of this size are .01
SELECT kind, op, k, target, recall >= target - 0.01 AS reached
FROM unnest(ARRAY['like the rows', 'from elsewhere']) kind,
	 unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[1, 10, 100]) k,
	 unnest(ARRAY[0.9, 0.99]) target,
	 ann_recall(op, k, kind, target) recall
ORDER BY kind DESC, op, k, target;
SELECT target, recall >= target - 0.01 AS reached
FROM unnest(ARRAY[0.9, 0.99]) target,
	 ann_recall('<#>', 10, 'users by least squares', target) recall;
-- a level of the calibration costs no more than what lies below it; the least
-- of two counts, since a backend may have to read what it keeps of the index anew
CREATE FUNCTION ann_blocks(target float8) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	least int;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true),
			set_config('enable_sort', 'off', true),
			set_config('recsys.target_recall', target::text, true);
	FOR i IN 1 .. 2 LOOP
		EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id
			FROM ann_queries n,
			LATERAL (SELECT id FROM ann_rows ORDER BY e <-> n.q LIMIT 10) r'
			INTO plan;
		least := least((plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int, least);
	END LOOP;
	RETURN least;
END $$;
SELECT level, ann_blocks(level) = ann_blocks(level - 0.001) AS same,
	   ann_blocks(level) < ann_blocks(level + 0.001) AS more_beyond
FROM unnest(ARRAY[0.7, 0.8, 0.9, 0.95]) level;
-- a low target is not reached by doing all the work
SELECT op, ann_recall(op, 10, 'like the rows', 0.5) < 0.99 AS less_work
FROM unnest(ARRAY['<#>', '<->', '<=>']) op;
-- and 1 is exact
SELECT op, ann_recall(op, 100, 'from elsewhere', 1)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op;

-- a scan of everything misses none in its turn, rows far from the others included
INSERT INTO ann_rows
SELECT 50000 + i, ann_vector(i, 7, 3, 1) FROM generate_series(1, 600) i;
CREATE FUNCTION ann_out_of_turn(op text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE format('SELECT count(*) FROM (SELECT d < lag(d) OVER (PARTITION BY n ORDER BY at) AS late
		FROM (SELECT n.ctid AS n, row_number() OVER () AS at, r.d FROM ann_queries n,
			  LATERAL (SELECT e %s n.q AS d FROM ann_rows ORDER BY e %s n.q) r) x) y WHERE late', op, op) INTO n;
	RETURN n;
END $$;
SELECT op, ann_out_of_turn(op) FROM unnest(ARRAY['<#>', '<->', '<=>']) op;

DROP TABLE ann_rows, ann_queries;
DROP FUNCTION ann_out_of_turn;
DROP FUNCTION ann_blocks;
DROP FUNCTION ann_recall;
DROP FUNCTION ann_vector;
DROP FUNCTION ann_normal;
