-- v[i], and statistics
\set VERBOSITY sqlstate

CREATE TABLE vector_subscript (id int, v vector, a vector[]);
INSERT INTO vector_subscript VALUES (1, '[1.5,2,3]', '{"[1,2]","[3,4]"}'),
	(2, '[4]', NULL), (3, NULL, NULL);
SELECT id, v[1], v[3], v[id], v[0], v[-1], v[NULL], v[2147483647]
	FROM vector_subscript ORDER BY id;
SELECT ('[1,2,3]'::vector)[2], (a[2])[1], pg_typeof(v[1]) FROM vector_subscript
	WHERE id = 1;
SELECT v[2::bigint], v['3'], v[1 + 1.2] FROM vector_subscript WHERE id = 1;
SELECT sum(v[1]) FROM vector_subscript;
CREATE INDEX ON vector_subscript ((v[1]));
CREATE VIEW vector_subscript_view AS SELECT v[1] AS one FROM vector_subscript;
SELECT * FROM vector_subscript_view ORDER BY one;
PREPARE vector_subscript_p (int) AS SELECT v[$1] FROM vector_subscript WHERE id = 1;
EXECUTE vector_subscript_p (2);
EXECUTE vector_subscript_p (NULL);
DEALLOCATE vector_subscript_p;

SELECT v[1:2] FROM vector_subscript;
SELECT v[:] FROM vector_subscript;
SELECT v[1][1] FROM vector_subscript;
SELECT v['a'] FROM vector_subscript;
SELECT v[now()] FROM vector_subscript;
SELECT v[3000000000] FROM vector_subscript;
UPDATE vector_subscript SET v[1] = 1;
UPDATE vector_subscript SET v[1:2] = '[1,2]';
INSERT INTO vector_subscript (v[1]) VALUES (1);
UPDATE vector_subscript SET a[1] = '[9]' WHERE id = 1;
SELECT a FROM vector_subscript WHERE id = 1;
\set VERBOSITY default
UPDATE vector_subscript SET v[1] = 1;
SELECT v[1:2] FROM vector_subscript;
DROP VIEW vector_subscript_view;
DROP TABLE vector_subscript;

-- statistics: nulls, width, distinct values; short, wide and all alike
CREATE TABLE vector_statistics AS SELECT
	ARRAY[i]::vector AS different, ARRAY[i % 10, 1]::vector AS ten,
	CASE WHEN i % 4 > 0 THEN '[1,2]'::vector END AS nulls,
	NULL::vector AS none, array_fill(i, ARRAY[300])::vector AS wide,
	ARRAY[LEAST(i, 700)]::vector AS some
	FROM generate_series(1, 1000) i;
ANALYZE vector_statistics;
SELECT attname, null_frac, avg_width, n_distinct, most_common_vals IS NULL AS
	no_values, histogram_bounds IS NULL AS no_histogram
	FROM pg_stats WHERE tablename = 'vector_statistics' ORDER BY attname;
ALTER TABLE vector_statistics ALTER ten SET STATISTICS 0;
ANALYZE vector_statistics;
TRUNCATE vector_statistics;
ANALYZE vector_statistics;
DROP TABLE vector_statistics;
