-- every argument of recsys_train: NULL, empty, negative, huge, wrong, missing
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	h text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || sqlerrm || CASE WHEN h <> '' THEN ' / ' || h ELSE '' END;
END $$;
CREATE TABLE args_r AS
	SELECT i % 40 AS user_id, i * 7 % 53 AS item_id, (i % 5 + 1)::real AS rating,
		now() - i * interval '1 minute' AS ts, point(i, i) AS place, i::text AS note
	FROM generate_series(1, 1500) i;
CREATE INDEX args_i ON args_r (user_id);
CREATE SEQUENCE args_s;
CREATE FUNCTION train(rest text) RETURNS text LANGUAGE sql AS
	$$ SELECT try('recsys_train(''args_r'', ''args_m'', ' || rest || ')') $$;

-- the table
SELECT try('recsys_train(NULL)');
SELECT try('recsys_train(''nowhere'')');
SELECT try('recsys_train(''args_i'')');
SELECT try('recsys_train(''args_s'')');
SELECT try('recsys_train(4294967295)');
SELECT try('recsys_train(''args_r'', NULL)');

-- the name
SELECT try('recsys_train(''args_r'', '''')');
SELECT try('recsys_train(''args_r'', repeat(''x'', 54))');
SELECT try('recsys_train(''args_r'', repeat(''x'', 5000))');
SELECT try('recsys_train(''args_r'', ''no_such_schema.m'')');
SELECT try('recsys_train(''args_r'', ''a.b.c'')');
SELECT try('recsys_train(''args_r'', ''.m'')');
SELECT try('recsys_train(''args_r'', ''"m'')');
SELECT try('recsys_train(''args_r'', ''pg_catalog.m'')');

-- columns
SELECT train('user_col => ''nobody''');
SELECT train('user_col => ''place''');
SELECT train('user_col => ''ctid''');
SELECT train('user_col => ''item_id''');
SELECT train('rating_col => ''note''');
SELECT train('rating_col => ''user_id''');
SELECT train('time_col => ''place''');
SELECT try('recsys_train(''pg_am'')');

-- stages
SELECT train('stages => ''{}''');
SELECT train('stages => ''{retrieval,NULL}''');
SELECT train('stages => ''{retreival}''');
SELECT train('rating_col => '''', stages => ''{ranking}''');

-- numbers
SELECT n, train('dim => ' || n) FROM unnest('{0,-1,16000,2147483647}'::int[]) n;
SELECT n, train('epochs => ' || n) FROM unnest('{0,-1,2147483647}'::int[]) n;
SELECT n, train('batch_size => ' || n) FROM unnest('{0,-1,2147483647}'::int[]) n;
SELECT n, train('workers => ' || n) FROM unnest('{0,-1,1000000}'::int[]) n;
SELECT n, train(format('learning_rate => %L', n)) FROM unnest('{0,-1,NaN,Infinity,1e30}'::text[]) n;
SELECT n, train(format('test_fraction => %L', n)) FROM unnest('{-0.1,NaN,1,Infinity}'::text[]) n;
SELECT n, train(format('hidden => %L', n)) FROM unnest(ARRAY['{0}', '{-1}', '{5000}', '{NULL}', '{{1},{2}}', '{1,1,1,1,1,1,1,1,1}']) n;
SELECT train('seed => NULL');
SELECT n, train('epochs => 1, stages => ''{retrieval}'', seed => ' || n) FROM unnest('{-9223372036854775807,0,9223372036854775807}'::bigint[]) n;

-- words
SELECT train('preset => ''tfsr''');
SELECT train('preset => NULL');
SELECT train('split => ''tim''');
SELECT train('time_col => '''', split => ''time''');
SELECT train('wait => NULL');
SELECT n, train(format('positive => %L', n)) FROM unnest(ARRAY['', 'rating', 'rating >= x', '>= 4 OR true', 'rating >= nan', 'note >= 4', '"Star Rating" >= 4', 'rating => 4', 'rating >== 4', '4); DROP TABLE x; --']) n;
SELECT n, train(format('epochs => 1, stages => ''{retrieval}'', positive => %L', n)) FROM unnest(ARRAY['rating >= 4', '>3', ' 3.5 ', 'rating>4', 'rating < 3', '<=2', 'rating=5', 'rating <> 3', '!= 3']) n;
SELECT train('rating_col => '''', positive => ''>= 4''');
SELECT train('positive => ''> 99''');

-- options
SELECT train('options => NULL');
SELECT n, train(format('options => %L', n)) FROM unnest(ARRAY['[]', '1', '{"temprature": 1}', '{"temperature": "hot"}', '{"temperature": 0}',
	'{"temperature": 1e400}', '{"negatives": 1.5}', '{"negatives": -1}', '{"hard_negatives": -1}', '{"logq": 1}', '{"optimizer": "adm"}', '{"optimizer": {}}',
	'{"loss": "mse"}', '{"patience": 1e10}', '{"min_rating": 5, "max_rating": 1}', '{"": 1}',
	'{"dim": 0}', '{"hidden": 8}', '{"workers": 1}', '{"seed": 1}', '{"nothing like any": 1}', '{"learning_rates": 1}']) n;
SELECT train('epochs => 1, stages => ''{retrieval}'', options => ''{"temperature": null}''');

-- features
SELECT train('user_features => ''{note}''');
SELECT train('item_features => ''{note}''');
SELECT train('context_features => ''{note}''');
SELECT train('users => ''args_i''');
SELECT train('users => ''nowhere''');

-- no argument is taken for an unknown option, but those that recsys_tune chooses
SELECT array_agg(a) FROM pg_proc, unnest(proargnames[1:pronargs]) a WHERE oid = 'recsys_train'::regproc AND a <> 'options'
	AND a <> ALL ('{dim,hidden,epochs,batch_size,learning_rate}') AND train(format('options => %L', jsonb_build_object(a, 1))) !~ 'It is an argument of recsys_train';
-- where the caller may not make tables
CREATE SCHEMA args_closed;
CREATE ROLE args_role;
GRANT SELECT ON args_r TO args_role;
GRANT USAGE ON SCHEMA args_closed TO args_role;
SET ROLE args_role;
SELECT try('recsys_train(''args_r'', ''args_closed.m'')');
RESET ROLE;
DROP SCHEMA args_closed;
DROP OWNED BY args_role;
DROP ROLE args_role;

-- where nothing may be written
BEGIN READ ONLY;
SELECT try('recsys_train(''args_r'')');
ROLLBACK;
SELECT try('recsys_cancel(NULL)');
SELECT try('recsys_rollback(NULL)');
SELECT try('recsys_drop(NULL)');
SELECT try('recsys_rollback(''nothing'')');
SELECT try('recsys_drop(''nothing'')');
SELECT recsys_cancel('nothing');

-- whatever failed left nothing behind
SELECT recsys_drop('args_m');
SELECT count(*) FROM recsys_models;
SELECT relname FROM pg_class WHERE relname ~ '^(args_m|x+|m)_';
DROP TABLE args_r;
DROP SEQUENCE args_s;
DROP FUNCTION train(text);
DROP FUNCTION try(text);
