-- Exact answers, target 1, where bounds are hard: ties, one direction, all sizes
-- that a float4 has, 700 and 2000 dimensions; and tables of equal rows, one or none.
SET client_min_messages = warning;
SET jit = off;
SET recsys.target_recall = 1;
-- between -1 and 1
CREATE FUNCTION ann_number(i int, g int) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT (hashint4(i * 2053 + g) & 65535) / 32767.5 - 1
$$;
CREATE FUNCTION ann_vector(kind text, i int, dim int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg(CASE kind
		WHEN 'lattice' THEN CASE WHEN g % 4 = 0 THEN round(ann_number(i, g) * 1.4) ELSE 1 END
		WHEN 'one direction' THEN g * ann_number(i, 0) + 1e-6 * ann_number(i, g)
		WHEN 'nearly equal' THEN g + 1e-6 * ann_number(i, g)
		WHEN 'all sizes' THEN ann_number(i, g) * 10.0 ^ (i % 70 - 35)
		WHEN 'small sizes' THEN ann_number(i, g) * 10.0 ^ (i % 20 - 37)
		WHEN 'large sizes' THEN ann_number(i, g) * 10.0 ^ (i % 10 + 13)
		WHEN 'denormal' THEN ann_number(i, g) * 1e-40
		WHEN 'denormal products' THEN ann_number(i, g) * 3e-23
		WHEN 'mostly zero' THEN CASE WHEN (i + g) % 16 < 2 THEN ann_number(i, g) ELSE 0 END
		WHEN 'one outlier' THEN ann_number(i, g) * CASE WHEN g = 3 THEN 1e4 ELSE 1 END
		ELSE ann_number(i, g) END)::vector
	FROM generate_series(1, dim) g
$$;
CREATE FUNCTION ann_top(kind text, op text, k int, query int, dim int) RETURNS float8[]
LANGUAGE plpgsql AS $$
DECLARE
	a float8[];
BEGIN
	EXECUTE format('SELECT array_agg(d) FROM (SELECT e %1$s $1 AS d FROM ann_rows
		ORDER BY e %1$s $1 LIMIT %2$s) r', op, k) INTO a USING ann_vector(kind, query, dim);
	RETURN a;
END $$;
-- rows of a kind in cells, a few more in leaves and log; queries: a row, another
-- vector of the kind, and one of no kind. How many distances differ from those of a sort
CREATE FUNCTION ann_differ(kind text, rows int, dim int, limits int[],
	OUT cells bool, OUT asked bigint, OUT differ bigint, OUT short bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE ann_rows (id int, e vector(%s))', dim);
	INSERT INTO ann_rows SELECT i, ann_vector(ann_differ.kind, i, dim) FROM generate_series(1, rows) i;
	CREATE INDEX ann_ip ON ann_rows USING ann (e vector_ip_ops);
	CREATE INDEX ann_l2 ON ann_rows USING ann (e vector_l2_ops);
	CREATE INDEX ann_cosine ON ann_rows USING ann (e vector_cosine_ops);
	INSERT INTO ann_rows SELECT i, ann_vector(ann_differ.kind, i, dim)
	FROM generate_series(rows + 1, rows + rows / 50) i;
	cells := (recsys_index_stats('ann_l2')).cells > 1;
	CREATE TABLE ann_asked AS SELECT q.kind, op, query
	FROM (VALUES (ann_differ.kind, 7), (ann_differ.kind, -66), ('any', -9)) q(kind, query), unnest(ARRAY['<#>', '<->', '<=>']) op;
	-- (also when this is the second call of a statement)
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_sort = on;
	CREATE TABLE ann_truth AS SELECT a.*, ann_top(a.kind, op, (SELECT max(l) FROM unnest(limits) l), query, dim) AS d
	FROM ann_asked a;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	SELECT count(*), count(*) FILTER (WHERE x IS DISTINCT FROM y),
		count(*) FILTER (WHERE x IS NULL OR y IS NULL) INTO asked, differ, short
	FROM ann_truth t, unnest(limits) k,
		LATERAL unnest(t.d[:k], ann_top(t.kind, op, k, query, dim)) u(x, y);
	PERFORM recsys_index_check(i, true) FROM unnest(ARRAY['ann_ip', 'ann_l2', 'ann_cosine']::regclass[]) i;
	DROP TABLE ann_rows, ann_asked, ann_truth;
END $$;
-- (cells may be one where squares are nearly denormal, and where rows differ by less
-- than the processor's rounding)
SELECT kind, rows, cells OR kind LIKE 'denormal%' OR kind IN ('small sizes', 'nearly equal') AS cells, asked, differ, short
FROM (VALUES ('lattice', 20000), ('one direction', 20000), ('all sizes', 20000),
		('denormal', 20000), ('denormal products', 5000), ('any', 5000), ('nearly equal', 5000), ('small sizes', 5000),
		('large sizes', 5000), ('mostly zero', 5000), ('one outlier', 5000)) v(kind, rows),
	ann_differ(kind, rows, 16, '{1,10,100,3000}') d;
-- many dimensions
SELECT kind, rows, dim, d.* FROM (VALUES ('any', 600, 700), ('all sizes', 300, 700),
		('any', 300, 2000), ('mostly zero', 300, 2000)) v(kind, rows, dim),
	ann_differ(kind, rows, dim, '{1,10,300}') d;

-- rows that are all equal, one row, none; and none any more
CREATE FUNCTION ann_few(made int, op text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := CASE op WHEN '<#>' THEN 'ip' WHEN '<->' THEN 'l2' ELSE 'cosine' END;
	got text := '';
	one text;
BEGIN
	EXECUTE 'CREATE TABLE ann_few_rows AS SELECT i AS id, ''[1,2,3,4]''::vector(4) AS e
		FROM generate_series(1, $1) i' USING made;
	EXECUTE format('CREATE INDEX ann_few_i ON ann_few_rows USING ann (e vector_%s_ops)', name);
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	FOR step IN 1 .. 4 LOOP
		IF step = 2 THEN
			INSERT INTO ann_few_rows VALUES (-1, '[4,3,2,1]'), (-2, '[0,0,0,0]');
		ELSIF step = 3 THEN
			DELETE FROM ann_few_rows;
		ELSIF step = 4 THEN
			INSERT INTO ann_few_rows VALUES (-3, '[1,2,3,4]');
		END IF;
		EXECUTE format('SELECT concat(count(*), '' '', count(DISTINCT id), '' '', bool_and(before <= d))
			FROM (SELECT id, d, coalesce(lag(d) OVER (), d) AS before FROM (
				SELECT id, e %1$s ''[1,2,3,4]'' AS d FROM ann_few_rows
				ORDER BY e %1$s ''[1,2,3,4]'' LIMIT 5000) r) x', op) INTO one;
		got := got || one || ', ';
		PERFORM recsys_index_check('ann_few_i', true);
	END LOOP;
	SELECT got || rows INTO got FROM recsys_index_stats('ann_few_i');
	DROP TABLE ann_few_rows;
	RETURN got;
END $$;
SELECT made, op, ann_few(made, op) FROM unnest(ARRAY[0, 1, 3000]) made,
	unnest(ARRAY['<#>', '<->', '<=>']) op;
DROP FUNCTION ann_few, ann_differ, ann_top, ann_vector, ann_number;
