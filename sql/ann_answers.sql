-- Answers of whole queries by the index beside those by a sort: joins, DISTINCT,
-- OFFSET, LATERAL, cursors, row locks, prepared statements, and rows that tie.
SET client_min_messages = warning;
SET jit = off;
SET recsys.target_recall = 1;
CREATE FUNCTION ann_vector(i int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(((hashint4(i * 31 + g) & 65535) + (hashint4(i % 13 * 97 + g) & 65535) * 2)
		/ 65536.0)::vector(8) FROM generate_series(1, 8) g
$$;
CREATE TABLE ann_rows (id int PRIMARY KEY, kind int, e vector(8));
INSERT INTO ann_rows SELECT i, i % 7, ann_vector(i) FROM generate_series(1, 3000) i;
INSERT INTO ann_rows VALUES (3001, 1, NULL);
CREATE TABLE ann_tags AS SELECT i AS id, i * 7 AS tag FROM generate_series(1, 3100, 3) i;
CREATE INDEX ON ann_tags (id);
CREATE TABLE ann_users (id int, q vector(8));
INSERT INTO ann_users SELECT i, CASE WHEN i % 3 > 0 THEN ann_vector(5000 + i) END
FROM generate_series(1, 12) i;
CREATE INDEX ann_ip ON ann_rows USING ann (e vector_ip_ops);
CREATE INDEX ann_l2 ON ann_rows USING ann (e vector_l2_ops);
CREATE INDEX ann_cosine ON ann_rows USING ann (e vector_cosine_ops);
VACUUM ANALYZE ann_rows, ann_tags, ann_users;

-- the same rows in the same order? ~ stands for each operator
CREATE FUNCTION ann_same(query text) RETURNS TABLE (op text, same text)
LANGUAGE plpgsql AS $$
DECLARE
	a text[];
	b text[];
	one text;
	line text;
	plan text;
BEGIN
	FOREACH op IN ARRAY ARRAY['<#>', '<->', '<=>'] LOOP
		one := replace(replace(query, '~', op), ':q', '(SELECT ann_vector(7777))');
		PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
		plan := '';
		FOR line IN EXECUTE 'EXPLAIN ' || one LOOP
			plan := plan || line;
		END LOOP;
		EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', one) INTO a;
		PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true),
			set_config('enable_indexscan', 'off', true);
		EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', one) INTO b;
		PERFORM set_config('enable_indexscan', 'on', true);
		same := CASE WHEN plan !~ 'Scan using ann_(ip|l2|cosine)' THEN plan
			WHEN a IS DISTINCT FROM b THEN format('%s <> %s', a, b)
			ELSE format('%s rows', coalesce(cardinality(a), 0)) END;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT what, string_agg(op || ' ' || same, ', ' ORDER BY op) FROM (VALUES
(1, 'join', 'SELECT r.id, t.tag FROM ann_rows r JOIN ann_tags t ON t.id = r.id
	ORDER BY r.e ~ :q LIMIT 30'),
(2, 'left join', 'SELECT r.id, t.tag FROM ann_rows r LEFT JOIN ann_tags t USING (id)
	ORDER BY r.e ~ :q LIMIT 30'),
(3, 'semi join', 'SELECT id FROM ann_rows r WHERE EXISTS (SELECT FROM ann_tags t WHERE t.id = r.id)
	ORDER BY e ~ :q LIMIT 30'),
(4, 'anti join', 'SELECT id FROM ann_rows r WHERE NOT EXISTS (SELECT FROM ann_tags t WHERE t.id = r.id)
	ORDER BY e ~ :q LIMIT 30'),
(5, 'join of what is nearest', 'SELECT r.id, t.tag FROM (SELECT * FROM ann_rows ORDER BY e ~ :q LIMIT 20) r
	JOIN ann_tags t USING (id) ORDER BY r.id, t.tag'),
(6, 'distinct', 'SELECT DISTINCT kind FROM (SELECT kind FROM ann_rows ORDER BY e ~ :q LIMIT 12) r ORDER BY 1'),
(7, 'distinct on', 'SELECT DISTINCT ON (kind) kind, id FROM (SELECT kind, id, e ~ :q AS d
	FROM ann_rows ORDER BY d LIMIT 50) r ORDER BY kind, d'),
(8, 'group', 'SELECT kind, count(*), min(d) FROM (SELECT kind, e ~ :q AS d
	FROM ann_rows ORDER BY d LIMIT 200) r GROUP BY kind ORDER BY kind'),
(9, 'window', 'SELECT id, rank() OVER (ORDER BY e ~ :q) FROM ann_rows WHERE e IS NOT NULL
	ORDER BY e ~ :q LIMIT 10'),
(10, 'union', '(SELECT id FROM ann_rows WHERE kind = 1 ORDER BY e ~ :q LIMIT 5)
	UNION ALL (SELECT id FROM ann_rows WHERE kind = 2 ORDER BY e ~ :q LIMIT 5)'),
(11, 'offset', 'SELECT id FROM ann_rows WHERE e IS NOT NULL ORDER BY e ~ :q LIMIT 10 OFFSET 1500'),
(12, 'offset at the end', 'SELECT id FROM ann_rows WHERE e IS NOT NULL ORDER BY e ~ :q LIMIT 10 OFFSET 2996'),
(13, 'offset beyond', 'SELECT id FROM ann_rows WHERE e IS NOT NULL ORDER BY e ~ :q LIMIT 10 OFFSET 3000'),
(14, 'far beyond', 'SELECT id FROM ann_rows WHERE e IS NOT NULL ORDER BY e ~ :q LIMIT 10 OFFSET 99999'),
(15, 'first', 'SELECT id FROM ann_rows ORDER BY e ~ :q FETCH FIRST 4 ROWS WITH TIES'),
(16, 'a set as limit', 'SELECT id FROM ann_rows ORDER BY e ~ :q LIMIT (SELECT count(*) FROM ann_users)'),
(17, 'lateral', 'SELECT u.id, r.* FROM ann_users u, LATERAL (SELECT id, e ~ u.q AS d
	FROM ann_rows ORDER BY e ~ u.q LIMIT 6) r WHERE q IS NOT NULL ORDER BY u.id, d'),
(18, 'lateral, left', 'SELECT u.id, r.* FROM ann_users u LEFT JOIN LATERAL (SELECT id, e ~ u.q AS d
	FROM ann_rows WHERE kind = u.id ORDER BY e ~ u.q LIMIT 3) r ON true WHERE q IS NOT NULL ORDER BY u.id, d')
) q(n, what, query), ann_same(query) GROUP BY n, what ORDER BY n;
-- to NULL all are equally far: as many rows, each once, and the vectors after it
-- have theirs
SET enable_seqscan = off;
SELECT u.id, count(*), count(DISTINCT r.id), count(r.d) FROM ann_users u,
	LATERAL (SELECT id, e <-> u.q AS d FROM ann_rows ORDER BY e <-> u.q LIMIT 6) r
GROUP BY u.id ORDER BY u.id LIMIT 4;

-- a vector of other dimensions among the outer rows: an error, and the session goes on
\set VERBOSITY sqlstate
CREATE TABLE ann_mixed (id int, q vector);
INSERT INTO ann_mixed VALUES (1, '[1,0,0,0,0,0,0,1]'), (2, '[1,2,3]'), (3, '[1,0,0,0,0,0,0,1]');
SELECT m.id, r.id FROM ann_mixed m,
	LATERAL (SELECT id FROM ann_rows ORDER BY e <-> m.q LIMIT 2) r;
SELECT m.id, r.id FROM ann_mixed m,
	LATERAL (SELECT id FROM ann_rows ORDER BY e <=> m.q LIMIT 2) r WHERE m.id <> 2;
UPDATE ann_mixed SET q = array_fill(1, '{2000}') WHERE id = 2;
SELECT m.id, r.id FROM ann_mixed m,
	LATERAL (SELECT id FROM ann_rows ORDER BY e <#> m.q LIMIT 2) r;
\set VERBOSITY default
DROP TABLE ann_mixed;

-- a cursor beyond its transaction, and what happens to the table meanwhile
CREATE TABLE ann_want AS SELECT array_agg(id) AS ids
FROM (SELECT id FROM ann_rows ORDER BY e <-> ann_vector(42) LIMIT 500) r;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR
SELECT id FROM ann_rows ORDER BY e <-> ann_vector(42) LIMIT 500;
MOVE 100 IN c;
COMMIT;
BEGIN;
UPDATE ann_rows SET e = ann_vector(id + 1) WHERE id % 2 = 0;
CREATE FUNCTION ann_rest() RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
	ids int[] := '{}';
	one int;
BEGIN
	LOOP
		FETCH c INTO one;
		EXIT WHEN NOT FOUND;
		ids := ids || one;
	END LOOP;
	RETURN ids;
END $$;
SELECT ann_rest() = ids[101:] AS held FROM ann_want;
ROLLBACK;
CLOSE c;

-- row locks
BEGIN;
SELECT array_agg(id) = (SELECT ids[1:5] FROM ann_want) AS locked FROM
	(SELECT id FROM ann_rows ORDER BY e <-> ann_vector(42) LIMIT 5 FOR UPDATE) r;
SELECT count(*) AS rows_locked FROM ann_rows WHERE xmax = pg_current_xact_id()::xid;
UPDATE ann_rows SET kind = 77 WHERE id IN
	(SELECT id FROM ann_rows ORDER BY e <-> ann_vector(42) LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED);
SELECT array_agg(id ORDER BY id) = (SELECT array_agg(u ORDER BY u) FROM ann_want, unnest(ids[1:5]) u)
FROM ann_rows WHERE kind = 77;
ROLLBACK;

-- the number of rows as a parameter of a generic plan
SET plan_cache_mode = force_generic_plan;
PREPARE ann_first(vector, bigint, bigint) AS
SELECT id FROM ann_rows ORDER BY e <-> $1 LIMIT $2 OFFSET $3;
EXPLAIN (COSTS OFF) EXECUTE ann_first('[1,0,0,0,0,0,0,1]', 3, 0);
CREATE FUNCTION ann_run(k text, skip text) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	ids int[] := '{}';
	one int;
BEGIN
	FOR one IN EXECUTE format('EXECUTE ann_first(ann_vector(42), %s, %s)', k, skip) LOOP
		ids := ids || one;
	END LOOP;
	RETURN ids;
END $$;
SELECT k, skip, CASE WHEN k = 'NULL' THEN cardinality(ann_run(k, skip)) = 3000 - skip::int
	ELSE ann_run(k, skip) = ids[skip::int + 1 : skip::int + k::int] END AS right_rows
FROM ann_want, (VALUES ('1', '0'), ('10', '0'), ('500', '0'), ('3', '7'), ('100', '400'),
	('0', '5'), ('NULL', '0'), ('NULL', '2990')) v(k, skip);
RESET plan_cache_mode;
DEALLOCATE ann_first;
DROP FUNCTION ann_run;
DROP TABLE ann_want, ann_users, ann_tags, ann_rows;
DROP FUNCTION ann_same;

-- Thousands of equal rows: a longer answer begins with the shorter one, whatever
-- the scans before it took, and pages give every row once.
CREATE TABLE ann_ties AS
SELECT i AS id, ann_vector(CASE WHEN i % 5 < 3 THEN 1 WHEN i % 5 = 3 THEN i % 50 ELSE i END)::vector(8) AS e
FROM generate_series(1, 5000) i;
CREATE INDEX ON ann_ties USING ann (e vector_ip_ops);
CREATE INDEX ON ann_ties USING ann (e vector_l2_ops);
CREATE INDEX ON ann_ties USING ann (e vector_cosine_ops);
INSERT INTO ann_ties SELECT 10000 + i, ann_vector(1) FROM generate_series(1, 500) i;
CREATE FUNCTION ann_ids(op text, k int, skip int, query int) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	ids int[];
BEGIN
	EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM ann_ties
		ORDER BY e %s $1 LIMIT %s OFFSET %s) r', op, k, skip) INTO ids USING ann_vector(query);
	RETURN ids;
END $$;
SET enable_sort = off;
SELECT op, count(*), count(*) FILTER (WHERE ann_ids(op, k, 0, query) IS DISTINCT FROM
	(ann_ids(op, k + more, 0, query))[1:k]) AS not_a_prefix
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[1, 10, 150, 2900]) k,
	unnest(ARRAY[1, 90, 2600]) more, unnest(ARRAY[1, 4, 99]) query
GROUP BY op ORDER BY op;
SELECT op, query, count(*), count(DISTINCT id),
	array_agg(id ORDER BY page, at) = ann_ids(op, 6000, 0, query) AS in_order
FROM unnest(ARRAY['<#>', '<->', '<=>']) op, unnest(ARRAY[1, 99]) query,
	generate_series(0, 55) page, unnest(ann_ids(op, 100, page * 100, query)) WITH ORDINALITY u(id, at)
GROUP BY op, query ORDER BY op, query;
-- with ties: all that are as near as the last
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM ann_ties
	ORDER BY e <-> ann_vector(1) FETCH FIRST 3 ROWS WITH TIES) r;
SELECT count(*) FROM ann_ties WHERE e = ann_vector(1);
DROP TABLE ann_ties;
DROP FUNCTION ann_ids, ann_vector;

-- an index of more than 8 MB, whose pages are asked for ahead: as by a sort
CREATE TABLE ann_pool AS SELECT i AS id, (SELECT array_agg((hashint4(i * 2053 + g) & 1023) / 512.0 - 1)
	FROM generate_series(1, 256) g)::vector AS e FROM generate_series(0, 96) i;
CREATE TABLE ann_far AS SELECT i AS id, (a.e || b.e || c.e || d.e)::vector(1024) AS e FROM generate_series(1, 10000) i
	JOIN ann_pool a ON a.id = i % 97 JOIN ann_pool b ON b.id = i / 97 % 97
	JOIN ann_pool c ON c.id = i * 31 % 89 JOIN ann_pool d ON d.id = i * 57 % 83;
CREATE INDEX ann_far_i ON ann_far USING ann (e vector_l2_ops);
SELECT pages > 1024 AS far FROM recsys_index_stats('ann_far_i');
CREATE FUNCTION ann_far_top(k int, query int) RETURNS float8[] LANGUAGE sql AS $$
	SELECT array_agg(d) FROM (SELECT e <-> (SELECT e * e FROM ann_far WHERE id = query) AS d FROM ann_far
		ORDER BY e <-> (SELECT e * e FROM ann_far WHERE id = query) LIMIT k) r
$$;
SET recsys.target_recall = 1;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE TABLE ann_far_got AS SELECT k, query, ann_far_top(k, query) AS d
FROM unnest(ARRAY[1, 10, 1000]) k, unnest(ARRAY[1, 77, 5000]) query;
SET enable_indexscan = off;
SET enable_seqscan = on;
SET enable_sort = on;
SELECT k, bool_and(d = ann_far_top(k, query)) AS same FROM ann_far_got GROUP BY k ORDER BY k;
DROP TABLE ann_pool, ann_far, ann_far_got;
DROP FUNCTION ann_far_top;
