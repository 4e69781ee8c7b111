-- Filters that keep half of the rows, few and almost none, at targets below 1:
-- every row that is asked for comes, in order, and enough of the best ones.
SET client_min_messages = warning;
SET jit = off; -- costs of enable_seqscan = off would have every query compiled
-- clusters of unequal spread with a length each
CREATE FUNCTION ann_vector(i int, c int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(((hashint4(c * 97 + g) & 1023) + (0.2 + c % 3 * 0.3)
		* (hashint4(i * 31 + g) & 1023)) / (500.0 + 20 * g) - 1)::vector(16)
	FROM generate_series(1, 16) g
$$;
CREATE TABLE ann_rows WITH (autovacuum_enabled = off) AS
SELECT i AS id, hashint4(i) & 31 AS c, ann_vector(i, hashint4(i) & 31)::vector(16) AS e
FROM generate_series(1, 20000) i;
CREATE TABLE ann_queries AS
SELECT n, ann_vector(30000 + n, CASE WHEN n % 4 = 0 THEN 100 + n ELSE n END) AS q
FROM generate_series(1, 20) n;
CREATE INDEX ON ann_rows USING ann (e vector_ip_ops);
CREATE INDEX ON ann_rows USING ann (e vector_l2_ops);
CREATE INDEX ON ann_rows USING ann (e vector_cosine_ops);
ANALYZE ann_rows;
-- the best of each operator: a filter that keeps them meets every miss
ALTER TABLE ann_queries ADD near int[];
SET enable_indexscan = off;
UPDATE ann_queries SET near =
	ARRAY(SELECT id FROM ann_rows ORDER BY e <#> q LIMIT 60)
	|| ARRAY(SELECT id FROM ann_rows ORDER BY e <-> q LIMIT 60)
	|| ARRAY(SELECT id FROM ann_rows ORDER BY e <=> q LIMIT 60);
RESET enable_indexscan;

CREATE TABLE ann_filters (keeps text PRIMARY KEY, cond text, queries int, limits int[]);
INSERT INTO ann_filters VALUES ('50 %', 'id % 2 = 0', 20, '{1,10,100,1000}'),
	('1 %', 'id % 100 = 3', 4, '{1,10,100,1000}'),
	('.01 %', 'id % 10000 = 77', 2, '{1,1000}'),
	('one cluster', 'c = 7', 4, '{1,10,100,1000}'),
	('the nearest', 'id = ANY (near)', 6, '{10,1000}');
-- by a sort: the distances of the first 1000, and how many rows match
CREATE TABLE ann_truth (op text, keeps text, n int, d float8[], PRIMARY KEY (op, keeps, n));
DO $$
DECLARE
	f record;
BEGIN
	SET LOCAL enable_indexscan = off;
	FOR f IN SELECT * FROM ann_filters, unnest(ARRAY['<#>', '<->', '<=>']) op LOOP
		EXECUTE format('INSERT INTO ann_truth SELECT %L, %L, n,
			(SELECT array_agg(d) FROM (SELECT e %3$s q.q AS d FROM ann_rows
				WHERE %4$s ORDER BY 1 LIMIT 1000) r)
			FROM ann_queries q WHERE n <= %s', f.op, f.keeps, f.op, f.cond, f.queries);
	END LOOP;
END $$;

-- complete: as many rows as there are, each once. in order: as far as no scan
-- was read to its end; one that was has the rows in order, then those that it
-- missed, in order.
CREATE FUNCTION ann_case(keeps text, op text, k int, target float8,
	OUT complete bool, OUT in_order bool, OUT recall float8) LANGUAGE plpgsql AS $$
DECLARE
	f ann_filters;
BEGIN
	SELECT * INTO f FROM ann_filters a WHERE a.keeps = ann_case.keeps;
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
		set_config('recsys.target_recall', target::text, true);
	CREATE TEMP TABLE ann_got (n int, id int[], d float8[]) ON COMMIT DROP;
	EXECUTE format('INSERT INTO ann_got SELECT n, a.id, a.d FROM ann_queries q,
		LATERAL (SELECT array_agg(r.id) AS id, array_agg(r.d) AS d FROM (
			SELECT id, e %s q.q AS d FROM ann_rows WHERE %s ORDER BY 2 LIMIT %s) r) a
		WHERE n <= %s', op, f.cond, k, f.queries);
	SELECT bool_and(g.rows = least(k, t.rows) AND g.ids = g.rows),
		bool_and(g.steps_back <= (k >= t.rows)::int),
		sum((SELECT count(*) FROM unnest(g.d) x WHERE x <= t.last)) / sum(g.rows)
	INTO complete, in_order, recall
	FROM (SELECT n, d, cardinality(d) AS rows,
			(SELECT count(DISTINCT u) FROM unnest(id) u) AS ids,
			(SELECT count(*) FROM (SELECT x < lag(x) OVER (ORDER BY i) AS back
				FROM unnest(d) WITH ORDINALITY u(x, i)) b WHERE back) AS steps_back
		FROM ann_got OFFSET 0) g
	JOIN (SELECT n, cardinality(d) AS rows, d[least(k, cardinality(d))] AS last
		FROM ann_truth t WHERE t.op = ann_case.op AND t.keeps = ann_case.keeps
		OFFSET 0) t USING (n);
	DROP TABLE ann_got;
END $$;
SELECT keeps, k, target, count(*) AS operators, bool_and(complete) AS complete,
	bool_and(in_order) AS in_order, bool_and(recall >= target - 0.01) AS reached
FROM ann_filters a, unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(limits) k,
	unnest(ARRAY[0.9, 0.99]) target, ann_case(keeps, op, k, target)
GROUP BY keeps, k, target ORDER BY keeps, k, target;
DROP TABLE ann_rows, ann_queries, ann_filters, ann_truth;
DROP FUNCTION ann_case, ann_vector;
