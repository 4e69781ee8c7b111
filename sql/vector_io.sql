-- text form of vectors, and the type modifier
\set VERBOSITY sqlstate

SELECT '[1,2,3]'::vector, '[-1.5,.5,2.]'::vector, '[1e5,1E-2,+7]'::vector;
SELECT E' \t[\n1 , 2\x0B,\f3\r] '::vector;
-- shortest exact form, zero's sign, denormals, underflow
SELECT '[0.1,1.23456,16777217,3.4028235e38,1.17549435e-38]'::vector;
SELECT '[-0,0,-0.0]'::vector, '[1e-45,1e-46,-1e-46,7.0e-46,7.1e-46]'::vector;
SELECT '[0x1p4,0X.8p1,1e0000000001,1e-99999999999999999999]'::vector;
SELECT '[0.000000000000000000000000000000000000001e39]'::vector,
	'[1000000000000000000000000000000000000000e-39]'::vector;
-- decimals in and near the middle between two floats: ties go to even
SELECT '[16777217,16777219,16777217.0000000001,16777216.9999999999]'::vector;
SELECT '[1.00000005960464477539062500000001,1.000000059604644775390625]'::vector
	= '[1.00000011920928955078125,1]'::vector AS ties;
SELECT '[3.40282356e38]'::vector, '[3.4028235677973366e38]'::vector;

-- not a list, missing bracket, trailing text, empty element, trailing comma
SELECT ''::vector;
SELECT ' '::vector;
SELECT '1,2,3'::vector;
SELECT '{1,2,3}'::vector;
SELECT '[1,2,3'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[1,2,3]]'::vector;
SELECT '['::vector;
SELECT '[ '::vector;
SELECT '[,'::vector;
SELECT '[,]'::vector;
SELECT '[1,]'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1, ,3]'::vector;
SELECT '[1a]'::vector;
SELECT '[1 2]'::vector;
SELECT '[hello]'::vector;
SELECT '[.]'::vector;
SELECT '[-]'::vector;
SELECT '[e5]'::vector;
SELECT '[1e]'::vector;
SELECT '[1e+]'::vector;
SELECT '[1.5.5]'::vector;
SELECT '[1,2;3]'::vector;
SELECT '[0x]'::vector;
-- no element
SELECT '[]'::vector;
SELECT ' [ ] '::vector;
-- out of range, NaN, infinity
SELECT '[4e38]'::vector;
SELECT '[3.4028236e38]'::vector;
SELECT '[1,-1e400]'::vector;
SELECT '[NaN]'::vector;
SELECT '[1,nan]'::vector;
SELECT '[Infinity]'::vector;
SELECT '[1,-inf]'::vector;
-- the most elements, one more, very many, and very long text
SELECT vector_dims(('[' || repeat('1,', 15999) || '1]')::vector);
SELECT ('[' || repeat('1,', 16000) || '1]')::vector;
SELECT ('[' || repeat('1,', 5000000) || '1]')::vector;
SELECT vector_dims(('[1' || repeat('0', 1000) || 'e-1000]')::vector);
SELECT ('[0.' || repeat('3', 5000000) || ']')::vector;
SELECT ('[' || repeat(' ', 5000000) || '1]')::vector;
SELECT ('[' || repeat('x', 5000000) || ']')::vector;

-- what the messages say
\set VERBOSITY default
SELECT '1,2,3'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[]'::vector;
SELECT '[1,4e38,2]'::vector;
SELECT '[NaN]'::vector;
SELECT '[-Infinity]'::vector;
SELECT '[1,2,3]'::vector(2);
SELECT ('[' || repeat(U&'\00e4', 200) || ']')::vector;
\set VERBOSITY sqlstate

-- modifier
SELECT '[1,2,3]'::vector(3), '[1]'::vector(1);
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2,3]'::vector(3,2);
SELECT '[1]'::vector(0);
SELECT '[1]'::vector(-1);
SELECT '[1]'::vector(16001);
SELECT '[1]'::vector('a');
SELECT '{"[1,2,3]"}'::vector(2)[];
SELECT vector_in('[1,2]', 0, 3);
CREATE TABLE vector_io (id int, v vector(3), a vector[]);
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
	WHERE attrelid = 'vector_io'::regclass AND attname = 'v';
INSERT INTO vector_io VALUES (1, '[1,2,3]', '{"[1,2]","[3]",NULL}'), (2, NULL, NULL);
INSERT INTO vector_io VALUES (3, '[1,2]');
INSERT INTO vector_io SELECT 4, '[1,2]'::vector;
ALTER TABLE vector_io ALTER v TYPE vector(2);
ALTER TABLE vector_io ALTER v TYPE vector;
INSERT INTO vector_io VALUES (5, '[1,2]');
SELECT * FROM vector_io ORDER BY id;
DROP TABLE vector_io;

-- the stored form
SELECT pg_column_size('[1,2,3]'::vector), typlen, typalign, typstorage,
	typcategory FROM pg_type WHERE oid = 'vector'::regtype;
CREATE TABLE vector_io (v vector);
INSERT INTO vector_io SELECT ('[1' || repeat(',0', 4095) || ']')::vector;
SELECT pg_column_size(v) AS stored, vector_dims(v), v <-> v AS itself,
	pg_relation_size(reltoastrelid) > 16000 AS in_toast
	FROM vector_io, pg_class WHERE relname = 'vector_io';
DROP TABLE vector_io;

-- any finite float4 comes back bit by bit, from text and from the cast
SELECT count(*) AS numbers, count(*) FILTER (WHERE send = expect) AS equal
FROM (SELECT vector_send(format('[%s]', f)::vector) AS send,
		'\x00010000'::bytea || float4send(f) AS expect
	FROM (SELECT (('x' || lpad(to_hex((i * 2654435761 + 12345) & 4294967295),
			8, '0'))::bit(32)) AS bits FROM generate_series(0, 19999) i) b,
		LATERAL (SELECT (CASE WHEN bits & x'7f800000' = x'7f800000' THEN 1
			ELSE (CASE WHEN get_bit(bits, 0) = 1 THEN -1.0 ELSE 1.0 END)::float8
				* (CASE WHEN bits & x'7f800000' = x'00000000'
					THEN (bits & x'007fffff')::int::float8 * 2.0::float8 ^ (-149)
					ELSE ((bits & x'007fffff')::int + 8388608)::float8 *
						2.0::float8 ^ (((bits & x'7f800000')::int >> 23) - 150)
					END) END)::float4 AS f) l) s;

-- binary form
SELECT vector_send('[1,-2,0.5]'), vector_send('[-0]');
