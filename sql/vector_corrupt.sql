-- values whose dimension disagrees with their size, as another extension's
-- fault might leave them: every C function refuses them with XX001
\set VERBOSITY sqlstate

CREATE CAST (bytea AS vector) WITHOUT FUNCTION;
-- little-endian int16 dim, int16 0, floats
SELECT '\x020000000000803f00000040'::bytea::vector AS sound;
CREATE TABLE vector_corrupt (what text, v bytea);
INSERT INTO vector_corrupt VALUES
	('nothing', ''), ('one byte', '\x01'), ('head only', '\x01000000'),
	('half a float', '\x010000000000'), ('dim too large', '\x030000000000803f00000040'),
	('dim too small', '\x010000000000803f00000040'), ('dim 0', '\x00000000'),
	('dim 0, one float', '\x000000000000803f'), ('dim negative', '\xffff00000000803f'),
	('dim 32767', '\xff7f00000000803f');

CREATE FUNCTION vector_corrupt_try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE 'SELECT (' || call || ')::text' INTO answer;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

SELECT what, vector_corrupt_try(format('%L::bytea::vector', v)) AS out
	FROM vector_corrupt;

-- every function of the extension that takes vectors, one argument at a time
SELECT state, count(DISTINCT call) > 300 AS many,
	array_agg(DISTINCT call) FILTER (WHERE state <> 'XX001') AS accepted
FROM (SELECT p.oid::regprocedure::text AS name, a.n, format('%s(%s)', p.oid::regproc,
		(SELECT string_agg(CASE
			WHEN t <> 'vector'::regtype THEN
				CASE t WHEN 'integer'::regtype THEN '1' WHEN 'bigint'::regtype THEN '1'
				WHEN 'boolean'::regtype THEN 'true' ELSE '''{0}''' END || '::' || t::regtype
			WHEN i = a.n THEN format('%L::bytea::vector', c.v)
			ELSE '''[1]''::vector' END, ', ' ORDER BY i)
		FROM unnest(p.proargtypes) WITH ORDINALITY u (t, i))) AS call
	FROM pg_proc p, unnest(p.proargtypes) WITH ORDINALITY a (type, n), vector_corrupt c
	WHERE a.type = 'vector'::regtype AND p.prokind = 'f' AND p.prolang =
			(SELECT oid FROM pg_language WHERE lanname = 'c')
		AND p.probin LIKE '%recsys') calls,
	LATERAL (SELECT vector_corrupt_try(call) AS state) s
GROUP BY state;

-- the aggregates, a subscript, an index build; ANALYZE passes them over
SELECT DISTINCT vector_corrupt_try(format('(%L::bytea::vector)[1]', v)),
	vector_corrupt_try(format('(SELECT sum(v) FROM (VALUES (''[1]''::vector), (%L::bytea::vector)) t (v))', v)) AS sum,
	vector_corrupt_try(format('(SELECT avg(v) FROM (VALUES (%L::bytea::vector)) t (v))', v)) AS avg
	FROM vector_corrupt;
CREATE TABLE vector_corrupt_v AS SELECT v::vector FROM vector_corrupt;
CREATE INDEX ON vector_corrupt_v (v);
CREATE INDEX ON vector_corrupt_v USING hash (v);
ANALYZE vector_corrupt_v;
DROP TABLE vector_corrupt, vector_corrupt_v;
DROP FUNCTION vector_corrupt_try;
DROP CAST (bytea AS vector);
