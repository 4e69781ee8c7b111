-- order, equality and hash of vectors
\set VERBOSITY sqlstate

SELECT a, b, vector_cmp(a, b), a < b AS lt, a <= b AS le, a = b AS eq,
	a <> b AS ne, a >= b AS ge, a > b AS gt
FROM (VALUES ('[1,2,3]'::vector, '[1,2,3]'::vector), ('[1,2,3]', '[1,2,4]'),
	('[1,2,3]', '[1,2]'), ('[1,2]', '[1,2,3]'), ('[1,2]', '[2]'),
	('[2]', '[1,2]'), ('[0]', '[-0]'), ('[-1]', '[1]')) t (a, b);
SELECT vector_eq('[1]', '[1]'), vector_ne('[1]', '[1]'), vector_lt('[1]', '[2]'),
	vector_le('[1]', '[2]'), vector_ge('[1]', '[2]'), vector_gt('[1]', '[2]');

-- a sort agrees with the operators, whatever decides it
CREATE TABLE vector_compare AS SELECT v::vector FROM unnest(ARRAY['[0]',
	'[0,-1]', '[-0,1]', '[0,0]', '[1]', '[1,-3e38]', '[1,3e38]', '[-1]', '[-1,5]',
	'[1e-45]', '[-1e-45]', '[-3e38]', '[3e38]', '[1,2,3]', '[1,2,2]', '[1,2]',
	'[2]', '[-2]', '[-1,-1]', '[-1,-0,1]', '[-1,0,-1]']) v;
INSERT INTO vector_compare SELECT ARRAY[i % 3 - 1, i % 5 - 2, i % 7]::vector
	FROM generate_series(1, 300) i;
SELECT count(*) AS pairs, bool_and(v <= next) AS sorted,
	bool_or(v > next) AS reversed FROM
	(SELECT v, lead(v) OVER (ORDER BY v) AS next FROM vector_compare) s;
SELECT v FROM vector_compare WHERE vector_dims(v) < 3 ORDER BY v;
DROP TABLE vector_compare;

-- equal vectors have equal hashes
SELECT vector_hash('[0,-0]') = vector_hash('[-0,0]') AS zeros,
	vector_hash('[1]') <> vector_hash('[1,0]') AS lengths,
	vector_hash('[1]') = vector_hash_extended('[1]', 0)::bit(32)::int AS low,
	vector_hash_extended('[1]', 1) <> vector_hash_extended('[1]', 2) AS seeds;
SELECT count(DISTINCT vector_hash(ARRAY[i, j]::vector)) > 9990 AS spread
	FROM generate_series(1, 100) i, generate_series(1, 100) j;

CREATE TABLE vector_compare AS
	SELECT i AS id, ARRAY[i % 7, i % 3, -(i % 2)]::vector AS v
	FROM generate_series(1, 1000) i;
INSERT INTO vector_compare VALUES (1001, NULL), (1002, '[6,2]'), (1003, '[-0,0,-1]');
SELECT count(DISTINCT v), min(id), max(id) FROM vector_compare;

-- grouping by hash and by sort
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT v, count(*) FROM vector_compare GROUP BY v;
SELECT count(*), sum(n) FROM
	(SELECT count(*) AS n FROM vector_compare GROUP BY v) g;
RESET enable_sort;
SET enable_hashagg = off;
SELECT count(*), sum(n) FROM
	(SELECT count(*) AS n FROM vector_compare GROUP BY v) g;
RESET enable_hashagg;

-- joins three ways
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM vector_compare a JOIN vector_compare b USING (v);
SELECT count(*) FROM vector_compare a JOIN vector_compare b USING (v);
RESET enable_mergejoin;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM vector_compare a JOIN vector_compare b USING (v);
SELECT count(*) FROM vector_compare a JOIN vector_compare b USING (v);
RESET enable_nestloop;
SET enable_mergejoin = off;
SELECT count(*) FROM vector_compare a JOIN vector_compare b USING (v);
RESET enable_mergejoin;
RESET enable_hashjoin;

-- indexes
CREATE INDEX vector_compare_btree ON vector_compare (v);
CREATE INDEX vector_compare_hash ON vector_compare USING hash (v);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM vector_compare WHERE v > '[6,2]' ORDER BY v;
SELECT count(*), min(v[1]), max(v[1]) FROM vector_compare WHERE v > '[6,2]';
SELECT v FROM vector_compare ORDER BY v LIMIT 2;
SELECT v FROM vector_compare ORDER BY v DESC NULLS LAST LIMIT 2;
DROP INDEX vector_compare_btree;
EXPLAIN (COSTS OFF) SELECT id FROM vector_compare WHERE v = '[0,0,-1]';
SELECT count(*) FROM vector_compare WHERE v = '[0,0,-1]';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(*) FROM vector_compare WHERE v = '[0,0,-1]' AND id > 0;
DROP TABLE vector_compare;

-- unique and exclusion constraints, partitions by hash
CREATE TABLE vector_compare (v vector PRIMARY KEY) PARTITION BY HASH (v);
CREATE TABLE vector_compare_0 PARTITION OF vector_compare
	FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE vector_compare_1 PARTITION OF vector_compare
	FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO vector_compare SELECT ARRAY[i]::vector FROM generate_series(0, 99) i;
INSERT INTO vector_compare VALUES ('[-0]');
SELECT count(*), count(DISTINCT tableoid) AS partitions FROM vector_compare;
EXPLAIN (COSTS OFF) SELECT * FROM vector_compare WHERE v = '[5]';
SELECT * FROM vector_compare WHERE v = '[5]';
DROP TABLE vector_compare;
