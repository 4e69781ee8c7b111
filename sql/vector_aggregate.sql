-- sum and avg of vectors
\set VERBOSITY sqlstate

SELECT sum(v), avg(v) FROM unnest(ARRAY['[1,2,3]', '[3,5,7]']::vector[]) v;
SELECT sum(v), avg(v) FROM unnest(ARRAY['[1,2,3]', NULL, '[3,5,7]']::vector[]) v;
SELECT sum(v), avg(v) FROM unnest(ARRAY[]::vector[]) v;
SELECT sum(v), avg(v) FROM unnest(ARRAY[NULL, NULL]::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[3e38]', '[3e38]']::vector[]) v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]', '[3e38]']::vector[]) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]', '[3]']::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]', '[3]']::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY['[1]', '[3,4]']::vector[]) v;

-- groups, distinct, filter, windows
CREATE TABLE vector_aggregate AS
	SELECT i AS id, ARRAY[i, i % 10, -1]::vector AS v
	FROM generate_series(1, 20000) i;
SELECT id % 3 AS g, sum(v) FILTER (WHERE id <= 30), avg(v) FILTER (WHERE id <= 30),
	count(*) FROM vector_aggregate GROUP BY 1 ORDER BY 1;
SELECT sum(DISTINCT v) FROM (SELECT v FROM vector_aggregate WHERE id < 4
	UNION ALL SELECT v FROM vector_aggregate WHERE id < 4) d;
SELECT id, sum(v) OVER w, avg(v) OVER w FROM vector_aggregate
	WHERE id <= 5 WINDOW w AS (ORDER BY id ROWS 1 PRECEDING) ORDER BY id;
SELECT id, sum(v) OVER (ORDER BY id), avg(v) OVER (ORDER BY id)
	FROM vector_aggregate WHERE id <= 4 ORDER BY id DESC;
SELECT sum(v), avg(v) FROM vector_aggregate WHERE id <= 1000;

-- the rows are not changed by the sums made in place
SELECT v FROM vector_aggregate WHERE id = 1;

-- parallel: the same
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ANALYZE vector_aggregate;
EXPLAIN (COSTS OFF) SELECT sum(v), avg(v) FROM vector_aggregate;
SELECT sum(subvector(v, 2, 2)), avg(v) FROM vector_aggregate;
SELECT id % 2 AS g, avg(v) FROM vector_aggregate GROUP BY 1 ORDER BY 1;
SELECT sum(v), avg(v) FROM vector_aggregate WHERE id < 0;
SELECT count(*) FROM vector_aggregate WHERE v <-> '[0,0,0]' < 100;
-- workers that meet only NULL
SELECT sum(nullif(v, v)), avg(nullif(v, v)) FROM vector_aggregate;
SELECT sum(v), avg(v) FROM (SELECT CASE WHEN id = 7 THEN v END AS v
	FROM vector_aggregate) s;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE vector_aggregate;

-- vectors in TOAST
CREATE TABLE vector_aggregate AS
	SELECT array_fill(i, ARRAY[2000])::vector AS v FROM generate_series(1, 3) i;
SELECT subvector(sum(v), 1999, 2), subvector(avg(v), 1999, 2) FROM vector_aggregate;
DROP TABLE vector_aggregate;

-- the helpers, called by hand with states that are none
SELECT vector_accum('{0}', '[1,2,3]'), vector_accum('{0,0,0,0}', '[1,2,3]'),
	vector_accum('{1,2,3}', '[1,2]');
SELECT vector_accum('{}', '[1]');
SELECT vector_accum('{1,2}', '[1,2,3]');
SELECT vector_accum('{{1,2}}', '[1]');
SELECT vector_accum('{1,NULL}', '[1]');
SELECT vector_combine('{1,2}', '{3,4}'), vector_combine('{0}', '{1,2}'),
	vector_combine('{1,2}', '{0}');
SELECT vector_combine('{0}', '{0}');
SELECT vector_combine('{1,2}', '{1,2,3}');
SELECT vector_combine('{1,1e308}', '{1,1e308}');
SELECT vector_combine('{{1,2}}', '{3,4}');
SELECT vector_combine('{1,2}', '{}');
SELECT vector_combine('{0}', array_fill(1, ARRAY[16002])::float8[]);
SELECT vector_avg('{2,4,6}'), vector_avg('{0}'), vector_avg('{0,1}');
SELECT vector_avg('{}');
SELECT vector_avg('{1}');
SELECT vector_avg('{NaN,1}');
SELECT vector_avg('{1e-300,1}');
SELECT vector_avg(array_fill(1, ARRAY[16002])::float8[]);
