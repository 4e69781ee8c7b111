-- What the index refuses, and odd rows that it must not lose.
SET client_min_messages = warning;
SET jit = off;
\set VERBOSITY sqlstate
CREATE TABLE ann_bad (id int, e vector, f vector(3), g vector(2001), i int);
CREATE INDEX ON ann_bad USING ann (e vector_ip_ops);
CREATE INDEX ON ann_bad USING ann (g vector_ip_ops);
CREATE INDEX ON ann_bad USING ann (f vector_ip_ops) WITH (lists = 10);
CREATE INDEX ON ann_bad USING ann (f vector_ip_ops, f vector_l2_ops);
CREATE INDEX ON ann_bad USING ann (f vector_ip_ops) INCLUDE (id);
CREATE UNIQUE INDEX ON ann_bad USING ann (f vector_ip_ops);
CREATE INDEX ON ann_bad USING ann (i vector_ip_ops);
CREATE INDEX ON ann_bad USING ann (f);
CREATE INDEX ann_bad_expr ON ann_bad USING ann ((e::vector(2)) vector_l2_ops);
INSERT INTO ann_bad (e) VALUES ('[1,2,3]');
INSERT INTO ann_bad (id, e) VALUES (1, '[1,2]'), (2, '[2,2]'), (3, NULL);
SET enable_seqscan = off;
SELECT id FROM ann_bad ORDER BY e::vector(2) <-> '[2,2]' LIMIT 2;
SELECT id FROM ann_bad ORDER BY e::vector(2) <-> '[2,2,2]' LIMIT 2;
CREATE INDEX ann_bad_f ON ann_bad USING ann (f vector_ip_ops);
SELECT id FROM ann_bad ORDER BY f <#> '[1,2,3]' LIMIT 2;
INSERT INTO ann_bad (id, f) VALUES (5, '[1,2,3]'), (6, '[3,2,1]');
SELECT id FROM ann_bad ORDER BY f <#> '[1,2]' LIMIT 2;
SELECT count(*) FROM
	(SELECT id FROM ann_bad ORDER BY f <#> NULL::vector LIMIT 5) r;
SELECT id FROM ann_bad ORDER BY f <#> '[1,1,5]' LIMIT 0;
SELECT id FROM ann_bad ORDER BY f <#> '[1,1,5]' LIMIT 9;
-- by two distances the index cannot give order: rows are sorted
INSERT INTO ann_bad (id, f) VALUES (7, '[3,2,2]'), (8, '[1,2,4]');
SELECT id FROM ann_bad WHERE f IS NOT NULL ORDER BY f <#> '[1,0,0]', f <#> '[0,0,1]' LIMIT 9;
DROP TABLE ann_bad;

-- too many dimensions: the first of them can be indexed
\set VERBOSITY default
CREATE TABLE ann_long (id int, e vector(2003));
INSERT INTO ann_long SELECT i, array_fill(i, '{2003}')::vector(2003)
	FROM generate_series(1, 9) i;
CREATE INDEX ON ann_long USING ann (e vector_l2_ops);
CREATE INDEX ann_long_e ON ann_long
	USING ann ((subvector(e, 1, 2000)::vector(2000)) vector_l2_ops);
SELECT id FROM ann_long ORDER BY subvector(e, 1, 2000)::vector(2000) <->
	subvector(array_fill(7, '{2003}')::vector, 1, 2000) LIMIT 1;
DROP TABLE ann_long;

-- rows that are infinitely far: each comes once
CREATE TABLE ann_far AS SELECT i AS id, ARRAY[i, 1, -i]::vector(3) AS e
	FROM generate_series(1, 3000) i;
CREATE INDEX ON ann_far USING ann (e vector_l2_ops);
CREATE INDEX ON ann_far USING ann (e vector_ip_ops);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT q, k, count(*), count(DISTINCT id)
FROM unnest(ARRAY['[1e20,1e20,1]', '[1e30,-1e30,1]', '[3e38,1,3e38]']) q,
	unnest(ARRAY[10, 150, 5000]) k,
	LATERAL (SELECT id FROM ann_far ORDER BY e <-> q::vector LIMIT k) r
GROUP BY q, k ORDER BY q, k;
UPDATE ann_far SET e = ARRAY[id * 1e35, 1, id * 1e35]::vector(3);
SELECT q, k, count(*), count(DISTINCT id)
FROM unnest(ARRAY['[1e20,1e20,1]', '[-1e30,1,1]']) q,
	unnest(ARRAY[10, 150, 5000]) k,
	LATERAL (SELECT id FROM ann_far ORDER BY e <#> q::vector LIMIT k) r
GROUP BY q, k ORDER BY q, k;
RESET enable_seqscan;
RESET enable_sort;
DROP TABLE ann_far;

-- zero, huge, tiny and equal vectors: every row comes, in order
CREATE TABLE ann_odd (id int, e vector(3));
INSERT INTO ann_odd VALUES (1, '[0,0,0]'), (2, '[1e38,1e38,1e38]'),
	(3, '[1e-40,0,0]'), (4, '[1,1,1]'), (5, '[-1,1,1]'), (6, '[1e20,0,0]'),
	(7, '[0,0,0]'), (8, '[3e38,-3e38,3e38]'), (9, '[1e-20,1e-20,0]'),
	(10, '[-1e30,0,0]');
INSERT INTO ann_odd SELECT 100 + i, '[2,2,2]' FROM generate_series(1, 500) i;
CREATE INDEX ann_odd_ip ON ann_odd USING ann (e vector_ip_ops);
CREATE INDEX ann_odd_l2 ON ann_odd USING ann (e vector_l2_ops);
CREATE INDEX ann_odd_cos ON ann_odd USING ann (e vector_cosine_ops);
CREATE FUNCTION ann_odd_check(op text, q text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	a float8[];
	b float8[];
	part text := format('SELECT array_agg(d) FROM (SELECT e %s %L AS d
		FROM ann_odd ORDER BY e %s %L) r', op, q, op, q);
BEGIN
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE part INTO a;
	SET LOCAL enable_sort = on;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE part INTO b;
	RETURN CASE WHEN a IS NOT DISTINCT FROM b THEN 'same'
		ELSE format('%s <> %s', a, b) END;
END $$;
SELECT op, q, ann_odd_check(op, q)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op,
	 unnest(ARRAY['[1,2,3]', '[0,0,0]', '[1e38,1,1]', '[1e-40,1e-40,0]',
				  '[1e-20,0,0]', '[-3e38,3e38,3e38]']) q;
INSERT INTO ann_odd SELECT id + 1000, e FROM ann_odd WHERE id < 103;
SELECT op, q, ann_odd_check(op, q)
FROM unnest(ARRAY['<#>', '<->', '<=>']) op,
	 unnest(ARRAY['[1,2,3]', '[1e38,1,1]']) q;
DROP FUNCTION ann_odd_check;
DROP TABLE ann_odd;

-- the setting: from .5 to 1, and a number
\set VERBOSITY sqlstate
SET recsys.target_recall = 0.49;
SET recsys.target_recall = 1.01;
SET recsys.target_recall = 'NaN';
SET recsys.target_recall = 'Infinity';
SET recsys.target_recall = -0.9;
SET recsys.target_recall = 'all';
SELECT set_config('recsys.target_recall', '0.4999999', false);
SHOW recsys.target_recall;
SET recsys.target_recall = 0.5;
SHOW recsys.target_recall;
SET recsys.target_recall = 1;
SHOW recsys.target_recall;
RESET recsys.target_recall;
\set VERBOSITY default
SELECT name, setting, min_val, max_val, context FROM pg_settings
WHERE name = 'recsys.target_recall';
