-- The index on temporary tables, partitions that come and go and materialized views,
-- and inserts that are rolled back: each time sound, complete and as a sort says.
SET client_min_messages = warning;
SET jit = off;
SET recsys.target_recall = 1;
CREATE FUNCTION ann_vector(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(((hashint4(i * 31 + g) & 65535) + (hashint4(i % 13 * 97 + g) & 65535) * 2)
		/ 65536.0)::vector(8) FROM generate_series(1, 8) g
$$;
-- all indexes of a table (and its partitions) checked, rows that come, and how many of
-- them differ from those of a sort
CREATE FUNCTION ann_sound(name text, op text DEFAULT '<->') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	checks int;
	differ int := 0;
	rows bigint;
	a text;
	b text;
	plan text := '';
	line text;
	part text;
BEGIN
	SELECT count(*) FILTER (WHERE recsys_index_check(i.indexrelid, true) IS NOT NULL) INTO checks
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
	WHERE amname = 'ann' AND c.relkind = 'i' AND (indrelid = name::regclass
		OR indrelid IN (SELECT relid FROM pg_partition_tree(name::regclass)));
	FOR q IN 1 .. 5 LOOP
		-- distances in their order; of rows that tie any may come first
		part := format('SELECT concat(string_agg(d::text, '',''), sum(hashint4(id::int)::bigint)) FROM (SELECT id, e %1$s %2$L AS d
			FROM %3$s WHERE e IS NOT NULL ORDER BY e %1$s %2$L LIMIT %4$s) r',
			op, ann_vector(q * 7919), name, CASE q WHEN 5 THEN 100000 ELSE 20 * q END);
		PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
		FOR line IN EXECUTE 'EXPLAIN ' || part LOOP
			plan := plan || line;
		END LOOP;
		EXECUTE part INTO a;
		PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
			set_config('enable_indexscan', 'off', true);
		EXECUTE part INTO b;
		PERFORM set_config('enable_indexscan', 'on', true);
		differ := differ + (a IS DISTINCT FROM b)::int;
		EXECUTE 'SELECT count(e) FROM ' || name INTO rows;
	END LOOP;
	RETURN format('%s checked, %s rows, %s differ%s', checks, rows, differ,
		CASE WHEN plan ~ 'Index Scan using' AND plan !~ 'Seq Scan' THEN '' ELSE ', not by the index' END);
END $$;

-- a temporary table, also one that is emptied at commit
CREATE TEMP TABLE ann_temp (id int, e vector(8));
CREATE INDEX ON ann_temp USING ann (e vector_l2_ops);
INSERT INTO ann_temp SELECT i, ann_vector(i) FROM generate_series(1, 3000) i;
SELECT ann_sound('ann_temp');
DELETE FROM ann_temp WHERE id % 3 = 0;
VACUUM ann_temp;
UPDATE ann_temp SET e = ann_vector(id + 9000) WHERE id % 5 = 0;
SELECT ann_sound('ann_temp');
TRUNCATE ann_temp;
INSERT INTO ann_temp SELECT i, ann_vector(i) FROM generate_series(1, 10) i;
SELECT ann_sound('ann_temp');
CREATE TEMP TABLE ann_moment (id int, e vector(8)) ON COMMIT DELETE ROWS;
CREATE INDEX ON ann_moment USING ann (e vector_l2_ops);
BEGIN;
INSERT INTO ann_moment SELECT i, ann_vector(i) FROM generate_series(1, 2500) i;
SELECT ann_sound('ann_moment');
COMMIT;
SELECT ann_sound('ann_moment');
BEGIN;
INSERT INTO ann_moment VALUES (1, ann_vector(1));
SELECT ann_sound('ann_moment');
COMMIT;
DROP TABLE ann_temp, ann_moment;

-- an unlogged table becomes a logged one and back
CREATE UNLOGGED TABLE ann_log AS SELECT i AS id, ann_vector(i)::vector(8) AS e FROM generate_series(1, 2500) i;
CREATE INDEX ON ann_log USING ann (e vector_l2_ops);
ALTER TABLE ann_log SET LOGGED;
INSERT INTO ann_log SELECT i, ann_vector(i) FROM generate_series(2501, 2600) i;
SELECT ann_sound('ann_log');
ALTER TABLE ann_log SET UNLOGGED;
SELECT ann_sound('ann_log');
-- other rewrites of the table: a type that changes, a column that goes, CLUSTER
ALTER TABLE ann_log ALTER id TYPE bigint;
ALTER TABLE ann_log ADD k int DEFAULT 7;
ALTER TABLE ann_log DROP k;
CREATE INDEX ann_log_id ON ann_log (id);
DELETE FROM ann_log WHERE id < 100;
CLUSTER ann_log USING ann_log_id;
SELECT ann_sound('ann_log');
VACUUM FULL ann_log;
SELECT ann_sound('ann_log');
DROP TABLE ann_log;

-- partitions
CREATE TABLE ann_parts (id int, e vector(8)) PARTITION BY RANGE (id);
CREATE TABLE ann_parts1 PARTITION OF ann_parts FOR VALUES FROM (0) TO (2000);
CREATE INDEX ann_parts_e ON ann_parts USING ann (e vector_l2_ops);
INSERT INTO ann_parts SELECT i, ann_vector(i) FROM generate_series(1, 1999) i;
-- one with an index of its own, one without, one with that of another operator
CREATE TABLE ann_parts2 (id int, e vector(8));
INSERT INTO ann_parts2 SELECT i, ann_vector(i) FROM generate_series(2000, 3999) i;
CREATE INDEX ann_mine ON ann_parts2 USING ann (e vector_l2_ops);
ALTER TABLE ann_parts ATTACH PARTITION ann_parts2 FOR VALUES FROM (2000) TO (4000);
CREATE TABLE ann_parts3 (id int, e vector(8));
INSERT INTO ann_parts3 SELECT i, ann_vector(i) FROM generate_series(4000, 4999) i;
ALTER TABLE ann_parts ATTACH PARTITION ann_parts3 FOR VALUES FROM (4000) TO (5000);
CREATE TABLE ann_parts4 (id int, e vector(8));
CREATE INDEX ann_other ON ann_parts4 USING ann (e vector_ip_ops);
ALTER TABLE ann_parts ATTACH PARTITION ann_parts4 DEFAULT;
SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'ann_parts_e'::regclass ORDER BY 1::text;
SELECT ann_sound('ann_parts');
-- rows that move from part to part
UPDATE ann_parts SET id = id + 2000 WHERE id BETWEEN 1500 AND 1600;
INSERT INTO ann_parts SELECT i, ann_vector(i) FROM generate_series(5000, 5100) i;
SELECT ann_sound('ann_parts');
ALTER TABLE ann_parts DETACH PARTITION ann_parts2;
SELECT ann_sound('ann_parts'), ann_sound('ann_parts2');
INSERT INTO ann_parts2 SELECT i, ann_vector(i) FROM generate_series(2000, 2100) i;
ALTER TABLE ann_parts DETACH PARTITION ann_parts4;
ALTER TABLE ann_parts DETACH PARTITION ann_parts3 CONCURRENTLY;
SELECT ann_sound('ann_parts2'), ann_sound('ann_parts3');
-- a transaction that takes a part in and is rolled back
BEGIN;
ALTER TABLE ann_parts ATTACH PARTITION ann_parts2 FOR VALUES FROM (2000) TO (4000);
INSERT INTO ann_parts SELECT i, ann_vector(i) FROM generate_series(2000, 2300) i;
ROLLBACK;
SELECT ann_sound('ann_parts'), ann_sound('ann_parts2');
DROP TABLE ann_parts, ann_parts2, ann_parts3, ann_parts4;

-- a materialized view
CREATE TABLE ann_base AS SELECT i AS id, ann_vector(i)::vector(8) AS e FROM generate_series(1, 2500) i;
CREATE MATERIALIZED VIEW ann_view AS SELECT id, vector_mul(e, e)::vector(8) AS e FROM ann_base WITH NO DATA;
CREATE INDEX ON ann_view USING ann (e vector_l2_ops);
CREATE UNIQUE INDEX ON ann_view (id);
REFRESH MATERIALIZED VIEW ann_view;
SELECT ann_sound('ann_view');
DELETE FROM ann_base WHERE id % 4 = 0;
UPDATE ann_base SET e = ann_vector(id + 70000) WHERE id % 10 = 1;
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(3001, 3300) i;
REFRESH MATERIALIZED VIEW CONCURRENTLY ann_view;
SELECT ann_sound('ann_view');
BEGIN;
TRUNCATE ann_base;
REFRESH MATERIALIZED VIEW ann_view;
SELECT ann_sound('ann_view');
ROLLBACK;
SELECT ann_sound('ann_view');
DROP MATERIALIZED VIEW ann_view;
DROP TABLE ann_base;

-- inserts that are rolled back, in parts or all; a structure made in between goes too
CREATE TABLE ann_base AS SELECT i AS id, ann_vector(i)::vector(8) AS e FROM generate_series(1, 2225) i;
CREATE INDEX ann_base_e ON ann_base USING ann (e vector_l2_ops);
BEGIN;
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(10001, 10050) i;
SAVEPOINT a;
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(20001, 27000) i;
SELECT generation > 1 AS anew FROM recsys_index_stats('ann_base_e');
SAVEPOINT b;
DELETE FROM ann_base WHERE id < 1000;
ROLLBACK TO b;
SELECT ann_sound('ann_base');
ROLLBACK TO a;
SELECT ann_sound('ann_base');
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		BEGIN
			INSERT INTO ann_base VALUES (30000 + i, ann_vector(30000 + i));
			PERFORM 1 / (i % 2);
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$;
COMMIT;
SELECT ann_sound('ann_base');
BEGIN;
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(40001, 41000) i;
ROLLBACK;
SELECT ann_sound('ann_base');
VACUUM ann_base;
SELECT ann_sound('ann_base'), dead = 0 AS none_dead FROM recsys_index_stats('ann_base_e');
-- an index that is rolled back, and one made again in the transaction of its rows
BEGIN;
CREATE INDEX ON ann_base USING ann (e vector_ip_ops);
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(50001, 50100) i;
SELECT ann_sound('ann_base', '<#>');
ROLLBACK;
BEGIN;
TRUNCATE ann_base;
INSERT INTO ann_base SELECT i, ann_vector(i) FROM generate_series(1, 300) i;
REINDEX TABLE ann_base;
SELECT ann_sound('ann_base');
ROLLBACK;
SELECT ann_sound('ann_base');
DROP TABLE ann_base;
DROP FUNCTION ann_sound, ann_vector;
