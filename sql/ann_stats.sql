-- What recsys_index_stats advises: each piece of it comes when it should, and what it
-- says helps.
SET client_min_messages = warning;
CREATE FUNCTION ann_vector(i int, size float8) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(((hashint4(i * 31 + g) & 65535) / 32768.0 - 1) * size)::vector(8)
	FROM generate_series(1, 8) g
$$;
CREATE TABLE ann_rows (id int, e vector(8)) WITH (autovacuum_enabled = off);
INSERT INTO ann_rows SELECT i, ann_vector(i, 1) FROM generate_series(1, 4000) i;
CREATE INDEX ann_l2 ON ann_rows USING ann (e vector_l2_ops);
CREATE VIEW ann_advice AS
SELECT rows, dead, log_rows > 100 AS long_log, generation, drift > 1.3 AS drifted, sampled_recall > 0.9 AS found, advice
FROM recsys_index_stats('ann_l2');
SELECT * FROM ann_advice;

-- grown by half, by commands that are too small to make a new structure
INSERT INTO ann_rows SELECT i, ann_vector(i, 1) FROM generate_series(4001, 6000) i;
SELECT * FROM ann_advice;
INSERT INTO ann_rows SELECT i, ann_vector(i, 1) FROM generate_series(6001, 6001) i;
SELECT * FROM ann_advice;
VACUUM ann_rows;
SELECT * FROM ann_advice;

-- rows that fit no cell, many of them: the log
INSERT INTO ann_rows SELECT i, ann_vector(i, 20) FROM generate_series(10001, 12000) i;
SELECT * FROM ann_advice;
VACUUM ann_rows;
SELECT * FROM ann_advice;

-- slots without a row
DELETE FROM ann_rows WHERE id % 4 = 0;
SELECT * FROM ann_advice;
VACUUM ann_rows;
SELECT * FROM ann_advice;
DELETE FROM ann_rows WHERE id % 16 = 1;
VACUUM ann_rows;
SELECT * FROM ann_advice;
REINDEX INDEX ann_l2;
SELECT * FROM ann_advice;

-- new rows that are farther from the cells than those were that the cells were made of
TRUNCATE ann_rows;
INSERT INTO ann_rows SELECT i, ann_vector(i, 1) FROM generate_series(1, 4000) i;
REINDEX INDEX ann_l2;
INSERT INTO ann_rows SELECT i, ann_vector(i, 20) FROM generate_series(10001, 10250) i;
SELECT * FROM ann_advice;
VACUUM ann_rows;
SELECT * FROM ann_advice;
REINDEX INDEX ann_l2;
SELECT * FROM ann_advice;

-- none of it without rows
TRUNCATE ann_rows;
SELECT * FROM ann_advice;
INSERT INTO ann_rows SELECT i, ann_vector(i, 1) FROM generate_series(1, 100) i;
DELETE FROM ann_rows;
VACUUM ann_rows;
SELECT * FROM ann_advice;
DROP VIEW ann_advice;
DROP TABLE ann_rows;
DROP FUNCTION ann_vector;
