-- What the planner chooses: the index where it pays, and nothing else where
-- it does not. test/bench/plans.py times the same choices.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;

CREATE TABLE ann_plan (id int PRIMARY KEY, part int, share int, e vector(16));
INSERT INTO ann_plan
SELECT i, i % 4, hashint4(i) & 1023,
	   (SELECT array_agg((hashint4(i * 31 + g) % 1000) / 1000.0)
		FROM generate_series(1, 16) g)::vector
FROM generate_series(1, 20000) i;
CREATE INDEX ann_plan_share ON ann_plan (share);
CREATE INDEX ann_plan_ip ON ann_plan USING ann (e vector_ip_ops);
CREATE INDEX ann_plan_cosine ON ann_plan USING ann (e vector_cosine_ops);
VACUUM ANALYZE ann_plan;
CREATE TABLE ann_plan_user (id int PRIMARY KEY, q vector(16));
INSERT INTO ann_plan_user SELECT id, e FROM ann_plan WHERE id <= 2000;
ANALYZE ann_plan_user;
SELECT '[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2]' AS q \gset

-- few rows: the index, of the operator that is asked for
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <=> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q' LIMIT 1000;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q' LIMIT 10 OFFSET 20;
-- no index for the operator
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <-> :'q' LIMIT 10;
-- all rows, or most: a sort
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q';
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q' LIMIT 20000;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <=> :'q' LIMIT 10000;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan ORDER BY e <#> :'q' LIMIT 10 OFFSET 15000;
-- no order: never the index
EXPLAIN (COSTS OFF) SELECT count(e) FROM ann_plan;

-- filters: half of the rows, few of them, almost none
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share < 512
ORDER BY e <#> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share < 10
ORDER BY e <#> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share = 7
ORDER BY e <#> :'q' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE id = 7
ORDER BY e <#> :'q' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE part = 1
ORDER BY e <#> :'q' LIMIT 10;

-- prepared: the number of rows is not known in advance
SET plan_cache_mode = force_generic_plan;
PREPARE ann_plan_k AS SELECT id FROM ann_plan ORDER BY e <#> $1 LIMIT $2;
EXPLAIN (COSTS OFF) EXECUTE ann_plan_k(:'q', 10);
PREPARE ann_plan_10 AS SELECT id FROM ann_plan ORDER BY e <#> $1 LIMIT 10;
EXPLAIN (COSTS OFF) EXECUTE ann_plan_10(:'q');
PREPARE ann_plan_all AS SELECT id FROM ann_plan ORDER BY e <#> $1;
EXPLAIN (COSTS OFF) EXECUTE ann_plan_all(:'q');
PREPARE ann_plan_share AS
SELECT id FROM ann_plan WHERE share = $2 ORDER BY e <#> $1 LIMIT $3;
EXPLAIN (COSTS OFF) EXECUTE ann_plan_share(:'q', 7, 10);
RESET plan_cache_mode;

-- queries from the rows of a table
EXPLAIN (COSTS OFF) SELECT u.id, r.id FROM ann_plan_user u,
	LATERAL (SELECT id FROM ann_plan ORDER BY e <#> u.q LIMIT 10) r;
EXPLAIN (COSTS OFF) SELECT u.id, r.id FROM ann_plan_user u,
	LATERAL (SELECT id FROM ann_plan ORDER BY e <#> u.q) r;

-- joins: the order of the index is that of the result
EXPLAIN (COSTS OFF) SELECT p.id, u.q FROM ann_plan p
	JOIN ann_plan_user u ON u.id = p.id ORDER BY p.e <#> :'q' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT p.id, u.q FROM ann_plan p
	LEFT JOIN ann_plan_user u USING (id) ORDER BY p.e <#> :'q' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT p.id FROM ann_plan p
	WHERE NOT EXISTS (SELECT FROM ann_plan_user u WHERE u.id = p.id)
	ORDER BY p.e <#> :'q' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT p.id FROM ann_plan p
	JOIN ann_plan_user u ON u.id = p.id ORDER BY p.e <#> :'q';

-- cursors: some of the rows
BEGIN;
EXPLAIN (COSTS OFF) DECLARE c CURSOR FOR
SELECT id FROM ann_plan ORDER BY e <#> :'q';
SET LOCAL cursor_tuple_fraction = 1;
EXPLAIN (COSTS OFF) DECLARE c CURSOR FOR
SELECT id FROM ann_plan ORDER BY e <#> :'q';
COMMIT;

-- what the user says about costs counts
BEGIN;
SET LOCAL cpu_operator_cost = 1;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share = 7
ORDER BY e <#> :'q' LIMIT 10;
ROLLBACK;

-- partial indexes
CREATE INDEX ann_plan_some ON ann_plan USING ann (e vector_l2_ops)
	WHERE share < 100;
ANALYZE ann_plan;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share < 100
ORDER BY e <-> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan WHERE share < 200
ORDER BY e <-> :'q' LIMIT 10;

-- partitions: merged in order, each in the order of its index
CREATE TABLE ann_plan_parts (id int, part int, e vector(16))
	PARTITION BY LIST (part);
CREATE TABLE ann_plan_part0 PARTITION OF ann_plan_parts FOR VALUES IN (0);
CREATE TABLE ann_plan_part1 PARTITION OF ann_plan_parts FOR VALUES IN (1);
CREATE TABLE ann_plan_part2 PARTITION OF ann_plan_parts DEFAULT;
INSERT INTO ann_plan_parts SELECT id, part, e FROM ann_plan;
CREATE INDEX ON ann_plan_parts USING ann (e vector_ip_ops);
VACUUM ANALYZE ann_plan_parts;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan_parts
ORDER BY e <#> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan_parts WHERE part = 1
ORDER BY e <#> :'q' LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan_parts
ORDER BY e <#> :'q';

-- tiny tables: some rows are sorted
CREATE TABLE ann_plan_tiny (id int, e vector(16));
CREATE INDEX ann_plan_tiny_ip ON ann_plan_tiny USING ann (e vector_ip_ops);
INSERT INTO ann_plan_tiny SELECT id, e FROM ann_plan WHERE id <= 20;
VACUUM ANALYZE ann_plan_tiny;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan_tiny ORDER BY e <#> :'q' LIMIT 10;
TRUNCATE ann_plan_tiny;
INSERT INTO ann_plan_tiny SELECT id, e FROM ann_plan WHERE id <= 3000;
VACUUM ANALYZE ann_plan_tiny;
EXPLAIN (COSTS OFF) SELECT id FROM ann_plan_tiny ORDER BY e <#> :'q' LIMIT 10;

DROP TABLE ann_plan, ann_plan_user, ann_plan_parts, ann_plan_tiny;
DEALLOCATE ALL;
