-- Index scans give what a sort of all rows gives, for each operator.
SET client_min_messages = warning;
SET jit = off;
SET recsys.target_recall = 1;

-- clustered directions, norms over two orders of magnitude, some duplicates
CREATE TABLE ann_rows (id int, keep int, e vector(24));
INSERT INTO ann_rows
SELECT i, i % 1000,
	   (SELECT array_agg(((hashint4(i * 31 + g) % 1000) / 1000.0 +
						  (hashint4((i % 17) * 97 + g) % 1000) / 400.0) *
						 exp((hashint4(i / 2) % 1000) / 500.0))
		FROM generate_series(1, 24) g)::vector
FROM generate_series(1, 6000) i;
INSERT INTO ann_rows SELECT id + 6000, keep, e FROM ann_rows WHERE id <= 200;
INSERT INTO ann_rows VALUES (7001, 1, NULL), (7002, 2, NULL);

CREATE TABLE ann_queries AS
SELECT id, e AS q FROM ann_rows WHERE id % 500 = 3
UNION ALL
SELECT 10000 + i, (SELECT array_agg((hashint4(i * 77 + g) % 1000) / 300.0)
				   FROM generate_series(1, 24) g)::vector
FROM generate_series(1, 6) i;

CREATE INDEX ann_ip ON ann_rows USING ann (e vector_ip_ops);
CREATE INDEX ann_l2 ON ann_rows USING ann (e vector_l2_ops);
CREATE INDEX ann_cos ON ann_rows USING ann (e vector_cosine_ops);
ANALYZE ann_rows;

-- the index is the planner's own choice
EXPLAIN (COSTS OFF) SELECT id FROM ann_rows
ORDER BY e <#> (SELECT q FROM ann_queries LIMIT 1) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_rows
ORDER BY e <-> (SELECT q FROM ann_queries LIMIT 1) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_rows
ORDER BY e <=> (SELECT q FROM ann_queries LIMIT 1) LIMIT 10;
-- and is not when every row is wanted
EXPLAIN (COSTS OFF) SELECT id FROM ann_rows
ORDER BY e <#> (SELECT q FROM ann_queries LIMIT 1);

-- Distances by the index against those by a sort, per query; LATERAL makes
-- every query a rescan. One function so that each case is a line.
CREATE FUNCTION ann_differs(op text, cond text, k int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	a float8[];
	b float8[];
	part text := format('SELECT array_agg(r.d) FROM ann_queries n,
		LATERAL (SELECT e %s n.q AS d FROM ann_rows
				 WHERE e IS NOT NULL AND %s
				 ORDER BY e %s n.q LIMIT %s) r', op, cond, op, k);
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE part INTO a;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE part INTO b;
	SET LOCAL enable_indexscan = on;
	IF cardinality(a) IS DISTINCT FROM cardinality(b) THEN
		RAISE 'rows: % against %', cardinality(a), cardinality(b);
	END IF;
	RETURN (SELECT count(*) FROM unnest(a, b) AS u(x, y) WHERE x <> y);
END $$;

SELECT op, k, ann_differs(op, 'true', k)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[1, 10, 100, 1000]) k;
SELECT op, cond, ann_differs(op, cond, 20)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op,
	 unnest(ARRAY['keep < 500', 'keep < 10', 'id = 77', 'id < 0']) cond;
-- all rows
SELECT op, ann_differs(op, 'true', 100000)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op;

-- rows inserted later, among them some that fit no cell
INSERT INTO ann_rows
SELECT 8000 + i, i % 1000,
	   (SELECT array_agg((hashint4(i * 13 + g) % 1000) / 100.0)
		FROM generate_series(1, 24) g)::vector
FROM generate_series(1, 500) i;
DELETE FROM ann_rows WHERE id % 5 = 1;
UPDATE ann_rows SET e = l2_normalize(e) WHERE id % 50 = 2;
SELECT op, k, ann_differs(op, 'true', k)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[10, 300]) k;
VACUUM ann_rows;
INSERT INTO ann_rows
SELECT id + 10000, keep, vector_mul(e, e) FROM ann_rows WHERE id % 7 = 0;
SELECT op, k, ann_differs(op, 'true', k)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[10, 300, 100000]) k;

-- what scans before found says where the next one looks first: also when it
-- is quite another one
CREATE TABLE ann_places AS
SELECT i AS id, (SELECT array_agg((hashint4(i * 13 + g) % 1000)
				 * CASE WHEN i % 8 = 0 THEN 1 ELSE 1e-5 END)
		FROM generate_series(1, 12) g)::vector(12) AS e
FROM generate_series(1, 6000) i;
CREATE INDEX ON ann_places USING ann (e vector_l2_ops);
CREATE INDEX ON ann_places USING ann (e vector_ip_ops);
ANALYZE ann_places;
CREATE FUNCTION ann_places_differ(op text, kind int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	a float8[];
	b float8[];
	wrong int := 0;
	part text := format('SELECT array_agg(d) FROM (
		SELECT e %1$s (SELECT e FROM ann_places WHERE id = $1) AS d
		FROM ann_places ORDER BY 1 LIMIT 10) r', op);
	place int;
BEGIN
	FOR i IN 100 .. 140 LOOP
		place := i * 8 + CASE WHEN i % 10 < 8 THEN kind ELSE 4 - kind END;
		SET LOCAL enable_seqscan = off;
		EXECUTE part INTO a USING place;
		SET LOCAL enable_seqscan = on;
		SET LOCAL enable_indexscan = off;
		EXECUTE part INTO b USING place;
		SET LOCAL enable_indexscan = on;
		wrong := wrong + (a IS DISTINCT FROM b)::int;
	END LOOP;
	RETURN wrong;
END $$;
SELECT op, kind, ann_places_differ(op, kind)
FROM unnest(ARRAY['<->', '<#>']) op, unnest(ARRAY[0, 4]) kind;
DROP TABLE ann_places;
DROP FUNCTION ann_places_differ;

-- below 1 the order is still true and no row is lost
SET recsys.target_recall = 0.9;
SET enable_seqscan = off;
SELECT count(*), count(*) FILTER (WHERE d < before) AS out_of_order
FROM (SELECT d, lag(d) OVER () AS before
	  FROM (SELECT e <=> (SELECT q FROM ann_queries LIMIT 1) AS d
			FROM ann_rows
			ORDER BY e <=> (SELECT q FROM ann_queries LIMIT 1)
			LIMIT 1000) r) o;
SELECT count(*) = (SELECT count(*) FROM ann_rows WHERE e IS NOT NULL)
FROM (SELECT id FROM ann_rows
	  ORDER BY e <-> (SELECT q FROM ann_queries LIMIT 1)) r;
RESET enable_seqscan;
RESET recsys.target_recall;

-- read to the end, below 1: every row once, those that were missed at last and in
-- their own order, so that distances fall at most once; at 1 never
CREATE FUNCTION ann_falls(op text, target float8, OUT most bigint, OUT any_late bool,
						  OUT lost bigint)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
		set_config('recsys.target_recall', target::text, true);
	EXECUTE format('SELECT max(falls), max(falls) > 0, sum(all_rows - rows)
		FROM (SELECT count(*) FILTER (WHERE d < before) AS falls, count(DISTINCT id) AS rows,
				(SELECT count(*) FROM ann_rows WHERE e IS NOT NULL) AS all_rows
			FROM (SELECT n, id, d, lag(d) OVER (PARTITION BY n ORDER BY at) AS before
				FROM (SELECT n.id AS n, r.id, r.d, row_number() OVER () AS at
					FROM ann_queries n, LATERAL (SELECT id, e %1$s n.q AS d
						FROM ann_rows ORDER BY e %1$s n.q) r) x) y GROUP BY n) z', op)
		INTO most, any_late, lost;
END $$;
SELECT op, target, (ann_falls(op, target)).*
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[0.5, 1]) target;
DROP FUNCTION ann_falls;

-- at 1 pages fit together, whatever the session asks between them; the order of
-- equal distances by a second key goes over a subquery
CREATE FUNCTION ann_pages(op text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	page text := format('SELECT array_agg(r.id) FROM (SELECT id FROM ann_rows
		ORDER BY e %1$s (SELECT q FROM ann_queries LIMIT 1) LIMIT $1 OFFSET $2) r', op);
	whole int[];
	part int[];
	parts int[] := '{}';
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	SET LOCAL recsys.target_recall = 1;
	FOR i IN 0 .. 9 LOOP
		EXECUTE page INTO part USING 30, 30 * i;
		parts := parts || part;
		EXECUTE page INTO part USING 1 + i * i * i, 7;
	END LOOP;
	EXECUTE page INTO whole USING 300, 0;
	RETURN parts = whole;
END $$;
SELECT op, ann_pages(op) FROM unnest(ARRAY['<#>', '<->', '<=>']) op;
DROP FUNCTION ann_pages;
CREATE FUNCTION ann_uses_index(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line LIKE '%Index Scan using ann_l2%' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT ann_uses_index('SELECT id FROM (
	SELECT id, e <-> (SELECT q FROM ann_queries LIMIT 1) AS d FROM ann_rows
	ORDER BY d LIMIT 10) r ORDER BY d, id');
DROP FUNCTION ann_uses_index;

-- cursors
BEGIN;
SET LOCAL enable_seqscan = off;
DECLARE c CURSOR FOR SELECT id FROM ann_rows
ORDER BY e <-> (SELECT e FROM ann_rows WHERE id = 2) LIMIT 5000;
FETCH 1 FROM c;
MOVE 3000 FROM c;
SELECT count(*) FROM ann_rows WHERE e IS NOT NULL;
COMMIT;
DROP TABLE ann_rows, ann_queries;
DROP FUNCTION ann_differs;
