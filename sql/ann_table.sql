-- The index and what else a table can do.
SET client_min_messages = warning;
SET recsys.target_recall = 1;
CREATE FUNCTION ann_vector(i int, dim int) RETURNS vector
LANGUAGE sql IMMUTABLE AS $$
	SELECT (SELECT array_agg((hashint4(i * 1000 + g) % 1000) / 1000.0)
			FROM generate_series(1, dim) g)::vector
$$;

-- partitions: merged in order
CREATE TABLE ann_part (id int, e vector(8)) PARTITION BY HASH (id);
CREATE TABLE ann_part0 PARTITION OF ann_part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE ann_part1 PARTITION OF ann_part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO ann_part SELECT i, ann_vector(i, 8) FROM generate_series(1, 4000) i;
CREATE INDEX ON ann_part USING ann (e vector_l2_ops);
ANALYZE ann_part;
EXPLAIN (COSTS OFF) SELECT id FROM ann_part
ORDER BY e <-> '[0,0,0,0,1,1,1,1]' LIMIT 5;
SELECT array_agg(id) AS by_index FROM
	(SELECT id FROM ann_part ORDER BY e <-> '[0,0,0,0,1,1,1,1]' LIMIT 12) r \gset
SET enable_indexscan = off;
SELECT array_agg(id) = :'by_index' FROM
	(SELECT id FROM ann_part ORDER BY e <-> '[0,0,0,0,1,1,1,1]' LIMIT 12) r;
RESET enable_indexscan;
DROP TABLE ann_part;

-- concurrent builds, reindex, truncate, HOT updates, prepared statements
CREATE TABLE ann_one (id int PRIMARY KEY, n int, e vector(8));
INSERT INTO ann_one SELECT i, i, ann_vector(i, 8) FROM generate_series(1, 3000) i;
CREATE INDEX CONCURRENTLY ann_one_ip ON ann_one USING ann (e vector_ip_ops);
CREATE INDEX ann_one_half ON ann_one USING ann ((l2_normalize(e)::vector(8)) vector_cosine_ops)
	WHERE id <= 1500;
ANALYZE ann_one;
UPDATE ann_one SET n = n + 1 WHERE id % 3 = 0;
SELECT recsys_index_check('ann_one_ip', true), recsys_index_check('ann_one_half', true);
PREPARE ann_top(vector, int) AS SELECT id FROM ann_one
	WHERE id <= 1500 ORDER BY l2_normalize(e)::vector(8) <=> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE ann_top('[1,0,0,0,0,0,0,2]', 3);
EXECUTE ann_top('[1,0,0,0,0,0,0,2]', 3);
RESET plan_cache_mode;
SET enable_indexscan = off;
EXECUTE ann_top('[1,0,0,0,0,0,0,2]', 3);
RESET enable_indexscan;
REINDEX INDEX CONCURRENTLY ann_one_ip;
REINDEX INDEX ann_one_half;
SELECT recsys_index_check('ann_one_ip', true), recsys_index_check('ann_one_half', true);
SELECT metric, dimensions, rows, dead, log_rows, round(drift::numeric, 2) AS drift, generation, advice,
	sampled_recall > 0.9 AS recall_fine, pages = file_pages AS all_in_use
FROM recsys_index_stats('ann_one_ip');
DELETE FROM ann_one WHERE id % 4 = 0;
VACUUM ann_one;
SELECT rows, dead FROM recsys_index_stats('ann_one_ip');
INSERT INTO ann_one SELECT id + 10000, n, e FROM ann_one;
SELECT rows, dead > 0 AS some_dead FROM recsys_index_stats('ann_one_ip');
TRUNCATE ann_one;
SELECT rows, cells FROM recsys_index_stats('ann_one_ip');
SELECT id FROM ann_one ORDER BY e <#> '[1,1,1,1,1,1,1,1]' LIMIT 3;
INSERT INTO ann_one SELECT i, i, ann_vector(i, 8) FROM generate_series(1, 5) i;
SELECT count(*) FROM (SELECT id FROM ann_one ORDER BY e <#> '[1,1,1,1,1,1,1,1]') r;
DROP TABLE ann_one;

-- a domain has dimensions, its own or those of the domain below
CREATE DOMAIN ann_four AS vector(4);
CREATE DOMAIN ann_unit AS ann_four CHECK (vector_norm(VALUE) < 9);
CREATE DOMAIN ann_any AS vector;
CREATE TABLE ann_domain (id int, d ann_four, u ann_unit, a ann_any);
INSERT INTO ann_domain SELECT i, v, v, v
	FROM generate_series(1, 3000) i, LATERAL (SELECT ann_vector(i, 4)) x(v);
CREATE INDEX ON ann_domain USING ann (a vector_l2_ops);
CREATE INDEX ann_domain_d ON ann_domain USING ann (d vector_l2_ops);
CREATE INDEX ann_domain_u ON ann_domain USING ann (u vector_ip_ops);
CREATE INDEX ann_domain_a ON ann_domain USING ann ((a::ann_unit) vector_cosine_ops);
INSERT INTO ann_domain VALUES (-1, '[.5,.5,.5,.5]', '[1,2,3,4]', '[4,3,2,1]');
INSERT INTO ann_domain VALUES (-2, '[1,2,3]', NULL, NULL);
INSERT INTO ann_domain VALUES (-2, NULL, '[9,2,3,4]', NULL);
DELETE FROM ann_domain WHERE id % 5 = 0;
INSERT INTO ann_domain SELECT i, v, v, v
	FROM generate_series(3001, 9000) i, LATERAL (SELECT ann_vector(i, 4)) x(v);
VACUUM ANALYZE ann_domain;
SELECT name, recsys_index_check(name::regclass, true), dimensions, rows, generation > 1 AS adapted
FROM unnest(ARRAY['ann_domain_d', 'ann_domain_u', 'ann_domain_a']) name, recsys_index_stats(name);
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM ann_domain ORDER BY d <-> '[.5,.5,.5,.5]' LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM ann_domain ORDER BY (a::ann_unit) <=> '[4,3,2,1]' LIMIT 2;
SELECT (SELECT id FROM ann_domain ORDER BY d <-> '[.5,.5,.5,.5]' LIMIT 1) AS d,
	(SELECT id FROM ann_domain ORDER BY u <#> '[1,1,1,1]' LIMIT 1) AS u,
	(SELECT id FROM ann_domain ORDER BY (a::ann_unit) <=> '[4,3,2,1]' LIMIT 1) AS a;
SELECT array_agg(id) AS by_index FROM
	(SELECT id FROM ann_domain ORDER BY d <-> ann_vector(7, 4) LIMIT 50) r \gset
RESET enable_seqscan;
RESET enable_sort;
SET enable_indexscan = off;
SELECT array_agg(id) = :'by_index' AS same FROM
	(SELECT id FROM ann_domain ORDER BY d <-> ann_vector(7, 4), id LIMIT 50) r;
RESET enable_indexscan;
DROP TABLE ann_domain;
DROP DOMAIN ann_unit, ann_four, ann_any;

-- made empty, filled later: a structure comes by itself
CREATE TABLE ann_grow (id int, e vector(8));
CREATE INDEX ann_grow_l2 ON ann_grow USING ann (e vector_l2_ops);
INSERT INTO ann_grow SELECT i, ann_vector(i, 8) FROM generate_series(1, 6000) i;
SELECT rows, cells > 1 AS has_cells, generation > 1 AS adapted, advice
FROM recsys_index_stats('ann_grow_l2');
SELECT recsys_index_check('ann_grow_l2', true);
SELECT id FROM ann_grow ORDER BY e <-> ann_vector(77, 8) LIMIT 1;
DROP TABLE ann_grow;

-- a third of the rows die: VACUUM makes the cells anew, whatever the rows were that
-- died; not before, and a small index never
CREATE TABLE ann_shrink (id int, e vector(8)) WITH (autovacuum_enabled = off);
INSERT INTO ann_shrink SELECT i, ann_vector(i, 8) FROM generate_series(1, 10000) i;
CREATE INDEX ann_shrink_ip ON ann_shrink USING ann (e vector_ip_ops);
CREATE INDEX ann_shrink_l2 ON ann_shrink USING ann (e vector_l2_ops) WHERE id % 5 > 0;
CREATE INDEX ann_shrink_few ON ann_shrink USING ann (e vector_cosine_ops) WHERE id % 10 IN (1, 4);
CREATE VIEW ann_shrunk AS SELECT name, rows, dead, generation, advice,
	recsys_index_check(name::regclass, true) IS NOT NULL AS sound
	FROM unnest(ARRAY['ann_shrink_ip', 'ann_shrink_l2', 'ann_shrink_few']) name,
		recsys_index_stats(name);
DELETE FROM ann_shrink WHERE id % 10 < 3;
VACUUM ann_shrink;
SELECT * FROM ann_shrunk;
DELETE FROM ann_shrink WHERE id % 10 = 5;
VACUUM ann_shrink;
SELECT * FROM ann_shrunk;
-- the rest is as before
SELECT count(*), max(id) FROM
	(SELECT id FROM ann_shrink ORDER BY e <#> ann_vector(4, 8) LIMIT 7000) r;
-- the file takes structure by structure into the same pages
SELECT pg_relation_size('ann_shrink_ip') AS size_before \gset
DELETE FROM ann_shrink WHERE e <#> '[1,1,1,1,1,1,1,1]' > -4.4;
VACUUM ann_shrink;
SELECT name, generation, advice FROM ann_shrunk;
DELETE FROM ann_shrink;
VACUUM ann_shrink;
SELECT * FROM ann_shrunk;
SELECT pg_relation_size('ann_shrink_ip') <= 1.5 * :size_before AS bounded;
INSERT INTO ann_shrink SELECT i, ann_vector(i, 8) FROM generate_series(1, 5000) i;
SELECT name, rows, generation > 3 AS adapted, sound FROM ann_shrunk WHERE name LIKE '%ip';
DROP VIEW ann_shrunk;
DROP TABLE ann_shrink;

-- with the least memory
SET maintenance_work_mem = '1MB';
CREATE TABLE ann_small AS SELECT i AS id, ann_vector(i, 40)::vector(40) AS e
	FROM generate_series(1, 5000) i;
CREATE INDEX ann_small_ip ON ann_small USING ann (e vector_ip_ops);
RESET maintenance_work_mem;
SELECT recsys_index_check('ann_small_ip', true);
SELECT id FROM ann_small ORDER BY e <#> ann_vector(5, 40) LIMIT 0;
DROP TABLE ann_small;

-- many dimensions, toasted rows
CREATE TABLE ann_wide AS SELECT i AS id, ann_vector(i, 1500)::vector(1500) AS e
	FROM generate_series(1, 300) i;
CREATE INDEX ann_wide_cos ON ann_wide USING ann (e vector_cosine_ops);
SET enable_seqscan = off;
SELECT id FROM ann_wide ORDER BY e <=> ann_vector(222, 1500) LIMIT 1;
SELECT count(*) FROM (SELECT id FROM ann_wide ORDER BY e <=> ann_vector(5, 1500)) r;
RESET enable_seqscan;
SELECT recsys_index_check('ann_wide_cos', true);
DROP TABLE ann_wide;

-- the check runs an index's functions as the owner of the table, whoever asks
CREATE ROLE ann_owner;
CREATE SCHEMA ann_owned AUTHORIZATION ann_owner;
SET ROLE ann_owner;
CREATE FUNCTION ann_owned.half(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF current_user <> 'ann_owner' THEN
		RAISE EXCEPTION 'called by another role';
	END IF;
	RETURN subvector(v, 1, 4);
END $$;
ALTER FUNCTION ann_owned.half SET search_path = public;
CREATE TABLE ann_owned.rows (id int, e vector(8));
INSERT INTO ann_owned.rows SELECT i, array_fill(i, '{8}')::vector FROM generate_series(1, 50) i;
CREATE INDEX halves ON ann_owned.rows USING ann ((ann_owned.half(e)::vector(4)) vector_l2_ops);
RESET ROLE;
SELECT recsys_index_check('ann_owned.halves', true);
DROP SCHEMA ann_owned CASCADE;
DROP ROLE ann_owner;

-- check and statistics of what is not an ann index
CREATE TABLE ann_none (id int PRIMARY KEY);
\set VERBOSITY sqlstate
SELECT recsys_index_check('ann_none'::regclass);
SELECT recsys_index_check('ann_none_pkey');
SELECT recsys_index_stats('ann_none_pkey');
SELECT recsys_index_check(0);
SELECT recsys_index_check(NULL) IS NULL;
\set VERBOSITY default
SELECT recsys_index_check('ann_none'::regclass);
DROP TABLE ann_none;
-- a partitioned index has nothing to check but its parts
CREATE TABLE ann_part (id int, e vector(2)) PARTITION BY RANGE (id);
CREATE TABLE "ann part" PARTITION OF ann_part FOR VALUES FROM (0) TO (9);
CREATE INDEX "Ann_i" ON ann_part USING ann (e vector_ip_ops);
SELECT recsys_index_check('"Ann_i"');
SELECT recsys_index_stats('"Ann_i"');
SELECT relid, recsys_index_check(relid) FROM pg_partition_tree('"Ann_i"')
	WHERE isleaf;
DROP TABLE ann_part;

-- backward and unordered scans are refused or not planned
CREATE TABLE ann_back (id int, e vector(2));
INSERT INTO ann_back SELECT i, ARRAY[i, 1]::vector FROM generate_series(1, 3000) i;
CREATE INDEX ON ann_back USING ann (e vector_l2_ops);
ANALYZE ann_back;
SET enable_seqscan = off;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM ann_back ORDER BY e <-> '[5,1]' LIMIT 4;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
COMMIT;
SELECT count(*) FROM ann_back;
-- ties come in a stable order: by place in the table
SELECT array_agg(id) FROM
	(SELECT id FROM ann_back ORDER BY e <-> '[5,1]' LIMIT 7) r;
DROP TABLE ann_back;
-- an index of a part of the rows has not outgrown its structure because the
-- table has more: VACUUM without dead rows counts
SET client_min_messages = warning;
CREATE TABLE ann_part (id int, e vector(8));
INSERT INTO ann_part SELECT i, ann_vector(i, 8) FROM generate_series(1, 6000) i;
INSERT INTO ann_part SELECT i, NULL FROM generate_series(6001, 12000) i;
CREATE INDEX ann_part_all ON ann_part USING ann (e vector_ip_ops);
CREATE INDEX ann_part_some ON ann_part USING ann (e vector_l2_ops) WHERE id <= 3000;
VACUUM ann_part;
INSERT INTO ann_part SELECT i, NULL FROM generate_series(12001, 12100) i;
VACUUM (INDEX_CLEANUP ON) ann_part;
SELECT i.relname, s.rows, s.generation FROM (VALUES ('ann_part_all'), ('ann_part_some')) i(relname),
	recsys_index_stats(i.relname) s;
-- but when the index has grown itself
INSERT INTO ann_part SELECT i, ann_vector(i, 8) FROM generate_series(20001, 24000) i;
VACUUM ann_part;
SELECT i.relname, s.rows, s.generation FROM (VALUES ('ann_part_all'), ('ann_part_some')) i(relname),
	recsys_index_stats(i.relname) s;
DROP TABLE ann_part;
DROP FUNCTION ann_vector;
