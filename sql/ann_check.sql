-- What recsys_index_check finds between an index and the rows of its table. Functions
-- of the index that change their minds make entries wrong.
SET client_min_messages = warning;
CREATE FUNCTION ann_kept(id int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN id % 3 > 0;
END $$;
CREATE FUNCTION ann_moved(id int, e vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN e;
END $$;
CREATE TABLE ann_rows (id int, n int, e vector(4)) WITH (autovacuum_enabled = off, fillfactor = 80);
INSERT INTO ann_rows SELECT i, i, ARRAY[sin(i), cos(i * 1.7), 2 * sin(i * .3), 3]::vector
FROM generate_series(1, 3000) i;
CREATE INDEX ann_part ON ann_rows USING ann (e vector_l2_ops) WHERE ann_kept(id);
CREATE INDEX ann_expr ON ann_rows USING ann ((ann_moved(id, e)::vector(4)) vector_ip_ops);
-- what is said, and of which row
CREATE FUNCTION ann_found(index regclass, OUT said text, OUT of_row int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM recsys_index_check(index);
	PERFORM recsys_index_check(index, true);
	said := 'sound';
EXCEPTION WHEN index_corrupted THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
	SELECT id INTO of_row FROM ann_rows WHERE said LIKE '%row ' || ctid || ':%';
	said := coalesce(nullif(regexp_replace(said, '.*\): ', ''), ''), SQLERRM);
END $$;
SELECT * FROM ann_found('ann_part');
SELECT * FROM ann_found('ann_expr');

-- entries without a row are no fault: deleted, moved, in whole blocks and at the end,
-- rolled back, their places used again
DELETE FROM ann_rows WHERE id % 7 = 0 OR id BETWEEN 1000 AND 1500 OR id > 2900;
UPDATE ann_rows SET id = id + 9000 WHERE id % 11 = 0;
UPDATE ann_rows SET id = id + 1 WHERE id % 13 = 0;
UPDATE ann_rows SET n = n + 1 WHERE id % 5 = 0;
UPDATE ann_rows SET e = NULL WHERE id % 17 = 0;
BEGIN;
INSERT INTO ann_rows SELECT id + 20000, n, e FROM ann_rows WHERE id < 500;
ROLLBACK;
SELECT i, f.* FROM unnest(ARRAY['ann_part', 'ann_expr']) i, ann_found(i) f;
VACUUM ann_rows;
INSERT INTO ann_rows SELECT id + 30000, n, e FROM ann_rows WHERE id < 800;
SELECT i, f.* FROM unnest(ARRAY['ann_part', 'ann_expr']) i, ann_found(i) f;
TRUNCATE ann_rows;
INSERT INTO ann_rows SELECT i, i, ARRAY[sin(i), cos(i * 1.7), 2 * sin(i * .3), 3]::vector
FROM generate_series(1, 3000) i;

-- rows that are not to be in the index: one among others, a block's, the last; and
-- some that are missing
CREATE FUNCTION ann_keep(condition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION ann_kept(id int) RETURNS bool
		LANGUAGE plpgsql IMMUTABLE AS ''BEGIN RETURN %s; END''', condition);
END $$;
SELECT ann_keep('id % 3 > 0 AND id <> 700');
SELECT * FROM ann_found('ann_part');
SELECT ann_keep(format('id %% 3 > 0 AND id NOT BETWEEN %s AND %s', min(id), max(id)))
FROM ann_rows WHERE (ctid::text::point)[0] = 5;
SELECT said, (ctid::text::point)[0] AS block FROM ann_found('ann_part'), ann_rows WHERE id = of_row;
SELECT ann_keep(format('id %% 3 > 0 AND id <= %s', max(id)))
FROM ann_rows WHERE (ctid::text::point)[0] = 5;
SELECT said, (ctid::text::point)[0] AS block FROM ann_found('ann_part'), ann_rows WHERE id = of_row;
SELECT ann_keep('id % 3 > 0 AND id <> 2999');
SELECT * FROM ann_found('ann_part');
SELECT ann_keep('false');
SELECT * FROM ann_found('ann_part');
SELECT ann_keep('id % 3 > 0 OR id < 10');
SELECT * FROM ann_found('ann_part');
SELECT ann_keep('id % 3 > 0');
SELECT * FROM ann_found('ann_part');

-- values that are no more, and others
CREATE OR REPLACE FUNCTION ann_moved(id int, e vector) RETURNS vector
LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN CASE WHEN id <> 1234 THEN e END; END $$;
SELECT * FROM ann_found('ann_expr');
CREATE OR REPLACE FUNCTION ann_moved(id int, e vector) RETURNS vector
LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN CASE WHEN id <> 1235 THEN e ELSE '[0,0,0,3]' END; END $$;
SELECT * FROM ann_found('ann_expr');
REINDEX INDEX ann_expr;
SELECT * FROM ann_found('ann_expr');
DROP TABLE ann_rows;
DROP FUNCTION ann_keep, ann_found, ann_moved, ann_kept;
