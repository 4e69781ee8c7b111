-- casts between vectors and arrays
\set VERBOSITY sqlstate

SELECT ARRAY[1,2,3]::vector AS int4, ARRAY[1.5,2]::real[]::vector AS float4,
	ARRAY[1e-300,0.1]::float8[]::vector AS float8,
	ARRAY[1.25,-7]::numeric[]::vector AS numeric;
SELECT '{1,2,3}'::real[]::vector, '{2147483647,-2147483648}'::int[]::vector,
	'[3:5]={7,8,9}'::int[]::vector AS bounds;
SELECT ARRAY[1,2,3]::vector(3), array_to_vector(ARRAY[1.0,2.0]::numeric[], -1, false);
SELECT '[1,2.5]'::vector::real[], ('[1,2.5]'::vector::real[])[2],
	array_ndims('[1,2]'::vector::real[]), array_lower('[1,2]'::vector::real[], 1);
-- implicit to real[]
SELECT array_to_vector('[1,2,3]'::vector, -1, false) AS by_array;
SELECT ARRAY[9]::real[] || '[1,2]'::vector::real[] AS arrays;
SELECT string_agg(e::text, ' ') FROM unnest('[1,2.5]'::vector::real[]) e;
-- assignment casts
CREATE TABLE vector_cast (v vector(2));
INSERT INTO vector_cast VALUES (ARRAY[1,2]), (ARRAY[1.5,2.5]), ('{3,4}'::float8[]),
	('{5,6}'::real[]);
SELECT * FROM vector_cast;
INSERT INTO vector_cast VALUES (ARRAY[1,2,3]);
INSERT INTO vector_cast VALUES (ARRAY[1]::numeric[]);
DROP TABLE vector_cast;

-- NULL element; dimensions; length
SELECT ARRAY[1,NULL]::int[]::vector;
SELECT ARRAY[1,NULL]::real[]::vector;
SELECT ARRAY[1,NULL]::float8[]::vector;
SELECT ARRAY[1,NULL]::numeric[]::vector;
SELECT ARRAY[ARRAY[1,2],ARRAY[3,4]]::vector;
SELECT '{}'::int[]::vector;
SELECT '{}'::numeric[]::vector;
SELECT NULL::int[]::vector IS NULL AS is_null;
SELECT ARRAY[1,2,3]::vector(2);
SELECT ARRAY[1,2,3]::float8[]::vector(4);
SELECT vector_dims(array_fill(0, ARRAY[16000])::vector);
SELECT array_fill(0, ARRAY[16001])::vector;
SELECT array_fill(0::numeric, ARRAY[16001])::vector;
-- what float4 does not hold
SELECT '{NaN}'::real[]::vector;
SELECT '{Infinity}'::real[]::vector;
SELECT '{NaN}'::float8[]::vector;
SELECT '{-Infinity}'::float8[]::vector;
SELECT '{1e39}'::float8[]::vector;
SELECT '{-1e300}'::float8[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT '{Infinity}'::numeric[]::vector;
SELECT ARRAY[1e39]::numeric[]::vector;
SELECT '{1e-46}'::float8[]::vector;
-- other types have no cast
SELECT ARRAY['1']::text[]::vector;
SELECT ARRAY[1]::bigint[]::vector;
\set VERBOSITY default
SELECT '{1,1e39}'::float8[]::vector;
SELECT ARRAY[1,NULL]::int[]::vector;
SELECT ARRAY[ARRAY[1]]::vector;
\set VERBOSITY sqlstate
-- a type to another number of dimensions
SELECT '[1,2]'::vector::vector(2);
SELECT '[1,2]'::vector::vector(3);
SELECT castsource::regtype, casttarget::regtype, castcontext FROM pg_cast
	WHERE castsource = 'vector'::regtype OR casttarget = 'vector'::regtype
	ORDER BY 1, 2;
