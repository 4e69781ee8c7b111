-- distances, arithmetic and the other functions of vectors
\set VERBOSITY sqlstate

-- distances; every operator is one of the functions
SELECT l2_distance('[0,0]', '[3,4]'), '[0,0]'::vector <-> '[3,4]' AS op,
	vector_l2_squared_distance('[0,0]', '[3,4]') AS squared;
SELECT inner_product('[1,2]', '[3,4]'), '[1,2]'::vector <#> '[3,4]' AS op,
	vector_negative_inner_product('[1,2]', '[3,4]') AS negative;
SELECT cosine_distance('[1,2]', '[2,4]') AS same,
	cosine_distance('[1,0]', '[0,2]') AS orthogonal,
	cosine_distance('[1,1]', '[-1.1,-1.1]') AS opposite,
	'[1,0]'::vector <=> '[1,1]' AS op;
SELECT l1_distance('[0,0]', '[3,-4]'), '[0,0]'::vector <+> '[3,-4]' AS op;
SELECT vector_spherical_distance('[1,0]', '[0,1]') AS quarter,
	vector_spherical_distance('[1,0]', '[1,0]') AS same,
	vector_spherical_distance('[1,0]', '[-1,0]') AS half,
	vector_spherical_distance('[3,0]', '[3,0]') AS clamped;
SELECT vector_dims('[1,2,3]'), vector_norm('[3,4]'), vector_norm('[0,0]');

-- all lengths of the kernels' ends
SELECT count(*) AS lengths,
	bool_and(inner_product(a, b) = (n - 1) * n * (n + 1) / 3) AS ip,
	bool_and((a <-> b) = sqrt(n::float8)) AS l2,
	bool_and((a <+> b) = n) AS l1,
	bool_and(abs((b <=> (b + b)) - 0) < 1e-12) AS cosine,
	bool_and(vector_dims(a) = n) AS dims
FROM (SELECT n, array_agg((i - 1)::float4 ORDER BY i)::vector AS a,
		array_agg(i::float4 ORDER BY i)::vector AS b
	FROM generate_series(1, 130) n, generate_series(1, n) i GROUP BY n) v;

-- overflow of a distance is infinite, never NaN
SELECT '[3e38]'::vector <-> '[-3e38]' AS l2, '[3e38]'::vector <#> '[3e38]' AS ip,
	'[3e38]'::vector <+> '[-3e38]' AS l1;
-- (infinite where sums are float4, by the processor)
SELECT inner_product('[3e38,3e38]', '[3e38,-3e38]') <> 'NaN' AS two,
	inner_product('[1e30,1e30,1]', '[1e30,-1e30,1]') <> 'NaN' AS three;
-- cosine of very long and very short vectors is still right
SELECT cosine_distance('[3e38,3e38]', '[3e38,3e38]') AS long,
	cosine_distance('[1e-40,0]', '[1e-40,0]') AS short,
	cosine_distance('[1e-40,0]', '[0,3e38]') AS both,
	round(cosine_distance('[1e-25,0]', '[1e-25,1e-25]')::numeric, 6) AS mixed;
-- of a zero vector it is NaN, which sorts last
SELECT v, v <=> '[1,0]' AS distance FROM unnest(ARRAY['[0,0]', '[-1,0]',
	'[1,0]', '[0,1]']::vector[]) v ORDER BY v <=> '[1,0]';

-- arithmetic
SELECT '[1,2,3]'::vector + '[4,5,6]' AS add, '[1,2,3]'::vector - '[4,5,7]' AS sub,
	'[1,2,3]'::vector * '[4,5,6]' AS mul, '[1,2]'::vector || '[3]' AS concat;
SELECT '[3e38]'::vector + '[3e38]';
SELECT '[-3e38]'::vector - '[3e38]';
SELECT '[1e37]'::vector * '[1e37]';
SELECT '[1e-37]'::vector * '[1e-37]';
SELECT '[0,1e-37]'::vector * '[1e-37,0]' AS zeros;
SELECT vector_dims(array_fill(0, ARRAY[15999])::vector || '[1]');
SELECT array_fill(0, ARRAY[16000])::vector || '[1]';

-- different dimensions
\set VERBOSITY default
SELECT '[1,2]'::vector <-> '[3]';
\set VERBOSITY sqlstate
SELECT '[1,2]'::vector <#> '[3]';
SELECT '[1,2]'::vector <=> '[3]';
SELECT '[1,2]'::vector <+> '[3]';
SELECT inner_product('[1,2]', '[3]');
SELECT vector_l2_squared_distance('[1,2]', '[3]');
SELECT vector_spherical_distance('[1,2]', '[3]');
SELECT '[1,2]'::vector + '[3]';
SELECT '[1,2]'::vector - '[3]';
SELECT '[1,2]'::vector * '[3]';

-- the rest
SELECT l2_normalize('[3,4]'), l2_normalize('[0,0]'), l2_normalize('[3e38]'),
	l2_normalize('[1e-45,0]');
SELECT binary_quantize('[1,0,-1]'), binary_quantize('[-0,1e-45]'),
	binary_quantize('[1,2,3,-4,5,6,-7,8,1]');
SELECT subvector('[1,2,3,4,5]', 1, 3), subvector('[1,2,3,4,5]', 3, 9),
	subvector('[1,2,3,4,5]', -1, 3), subvector('[1,2,3,4,5]', 5, 1),
	subvector('[1,2,3,4,5]', 3, 2147483647),
	subvector('[1,2,3,4,5]', -2147483644, 2147483647);
SELECT subvector('[1,2,3]', 1, 0);
SELECT subvector('[1,2,3]', 3, -1);
SELECT subvector('[1,2,3]', 4, 1);
SELECT subvector('[1,2,3]', -1, 2);
SELECT subvector('[1,2,3]', 2147483647, 2147483647);
SELECT subvector('[1,2,3]', -2147483648, -2147483648);

-- NULL in, NULL out
SELECT NULL::vector <-> '[1]' AS l2, '[1]'::vector + NULL AS add,
	vector_dims(NULL) AS dims, subvector('[1]', NULL, 1) AS sub;

-- declarations: immutable, strict, parallel safe, and C functions of ours
SELECT p.oid::regprocedure FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass
		AND d.refobjid = e.oid AND e.extname = 'recsys'
	WHERE p.prokind = 'f' AND (p.prorettype = 'vector'::regtype
		OR 'vector'::regtype = ANY (p.proargtypes)) AND p.prolang =
		(SELECT oid FROM pg_language WHERE lanname = 'c')
		AND (p.provolatile <> 'i' OR NOT p.proisstrict OR p.proparallel <> 's')
		AND p.probin LIKE '%recsys' AND p.proname ~ '^(vector|l[12]_|inner|cosine|array_to)';
-- symmetric operators name their commutators, comparisons their negators
SELECT oprname, oprcom::regoperator AS commutator, oprnegate::regoperator AS
	negator, oprcanhash, oprcanmerge FROM pg_operator
	WHERE oprleft = 'vector'::regtype ORDER BY oprname COLLATE "C";
