-- tables of users' and items' features
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	h text;
	r record;
BEGIN
	EXECUTE 'SELECT * FROM recsys_train(''fea_r'', ''fea_m'', dim => 4, test_fraction => 0, ' || call || ')' INTO r;
	RETURN format('users %s, items %s', r.users, r.items);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || sqlerrm || CASE WHEN h <> '' THEN ' / ' || h ELSE '' END;
END $$;
-- every stored vector is finite
CREATE FUNCTION sound() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN NOT EXISTS (SELECT FROM fea_m_item WHERE embedding::text ~* 'nan|inf' OR ranking::text ~* 'nan|inf')
		AND NOT EXISTS (SELECT FROM fea_m_user WHERE embedding::text ~* 'nan|inf' OR ranking::text ~* 'nan|inf');
END $$;
CREATE TABLE fea_r AS SELECT i % 40 AS user_id, i * 7 % 53 AS item_id, (i % 5 + 1)::real AS rating FROM generate_series(1, 1500) i;
CREATE TYPE fea_mood AS ENUM ('glad', 'sad');
CREATE DOMAIN fea_code AS varchar(4);
CREATE TABLE fea_u AS SELECT i AS user_id, 18 + i % 50 + 0.5 AS age, (ARRAY['m', 'f', NULL])[1 + i % 3] AS gender,
	(ARRAY['glad', 'sad']::fea_mood[])[1 + i % 2] AS mood, i % 2 = 0 AS member, 'zip' || i AS zip, point(i, i) AS place, 7 AS same
	FROM generate_series(0, 45) i;
CREATE TABLE fea_i AS SELECT i::bigint AS id, array_remove(ARRAY['g' || i % 7, CASE WHEN i % 2 = 0 THEN 'even' END], NULL) AS genres,
	1950 + i % 30 AS year, date '2020-01-01' + i AS added, format('[%s,%s]', i % 5, i % 3)::vector AS text_vector, ('c' || i % 4)::fea_code AS code
	FROM generate_series(0, 59) i;

-- all columns, some, with keys that the ratings do not have
SELECT try('users => ''fea_u'''), sound();
SELECT count(*) FILTER (WHERE interactions = 0) FROM fea_m_user;
SELECT try('items => ''fea_i'''), sound();
SELECT try('users => ''fea_u'', items => ''fea_i'''), sound();
SELECT c, try(format('users => ''fea_u'', user_features => %L', c)), sound() FROM unnest(ARRAY['{age}', '{gender}', '{mood}', '{member}', '{zip}', '{same}', '{age,zip,gender}']) c;
SELECT c, try(format('items => ''fea_i'', item_features => %L', c)), sound() FROM unnest(ARRAY['{genres}', '{year}', '{added}', '{text_vector}', '{code}', '{genres,text_vector,year}']) c;
SET client_min_messages = notice;
SELECT try('users => ''fea_u'', items => ''pg_settings''');
SET client_min_messages = warning;

-- wrong
SELECT try('users => ''fea_u'', user_features => ''{nothing}''');
SELECT try('users => ''fea_u'', user_features => ''{place}''');
SELECT try('users => ''fea_u'', user_features => ''{age,age}''');
SELECT try('users => ''fea_u'', user_features => ''{NULL}''');
SELECT try('users => ''pg_settings''');
CREATE TABLE fea_w AS SELECT user_id::text, age FROM fea_u;
SELECT try('users => ''fea_w''');
CREATE TABLE fea_v AS SELECT id, CASE WHEN id % 2 = 0 THEN '[1,2]' ELSE '[1,2,3]' END::vector AS v FROM fea_i;
SELECT try('items => ''fea_v''');
SELECT try(format('users => ''fea_u'', user_features => %L', array_agg('c' || i))) FROM generate_series(1, 40) i;

-- degenerate: empty, all NULL, repeated keys, NULL keys, extreme numbers, many categories, zero vectors
CREATE TABLE fea_d (user_id int, n numeric, f float8, t text, a text[], v vector, ts timestamptz);
SELECT try('users => ''fea_d'''), sound();
INSERT INTO fea_d SELECT i % 30 FROM generate_series(0, 44) i;
SELECT try('users => ''fea_d'''), sound();
INSERT INTO fea_d SELECT NULL, 1, 1, 'x', '{x}', '[1]', now();
TRUNCATE fea_d;
INSERT INTO fea_d SELECT i, (ARRAY['NaN', '1e100', '-1e100', '0'])[1 + i % 4]::numeric, (ARRAY['NaN', 'Infinity', '-Infinity', '1e308', '5e-324'])[1 + i % 5]::float8,
	repeat('x', i * 100), CASE WHEN i % 3 = 0 THEN '{}' WHEN i % 3 = 1 THEN '{a,a,NULL}' ELSE ARRAY['v' || i] END::text[], '[0,0]', CASE WHEN i % 2 = 0 THEN 'infinity' ELSE '2020-01-01' END::timestamptz
	FROM generate_series(0, 39) i;
SELECT try('users => ''fea_d'''), sound();
UPDATE fea_d SET v = '[3e38,-3e38]';
SELECT try('users => ''fea_d'', user_features => ''{v}'''), sound();
-- arrays with NULLs and without elements, texts of delimiters, NaN in arrays, dates beyond a calendar
CREATE TABLE fea_n AS SELECT i AS user_id, (ARRAY['{NULL,1}', '{}', NULL, '{NaN,Infinity}', '{1e38,-1e38}'])[1 + i % 5]::real[] AS x, (ARRAY['|', '', ' | |', 'a||b', 'a', NULL])[1 + i % 6] AS parts,
	(ARRAY['infinity', '-infinity', '4713-01-01 BC', '5874897-12-31', NULL])[1 + i % 5]::date AS d, (ARRAY['{NULL}', '{}', '{1,NULL}', NULL])[1 + i % 4]::int[] AS ints FROM generate_series(0, 45) i;
SELECT c, try(format('users => ''fea_n'', user_features => %L', c)), sound() FROM unnest(ARRAY['{parts}', '{d}', '{ints}', '{parts,d,ints}']) c;
SELECT name FROM fea_m_param WHERE name LIKE 'value/%' ORDER BY name COLLATE "C";
SELECT try('users => ''fea_n'', user_features => ''{x}''');
UPDATE fea_n SET x = NULL WHERE cardinality(x) <> 2;
SELECT try('users => ''fea_n'', user_features => ''{x}'''), sound();
-- one key has features, all others none; one date for all
UPDATE fea_n SET x = NULL, parts = NULL, d = '2020-01-01', ints = NULL WHERE user_id > 0;
SELECT try('users => ''fea_n'''), sound();
UPDATE fea_n SET d = '2020-01-01';
SELECT try('users => ''fea_n'', user_features => ''{d}'''), sound();
-- words of long texts; combinations of many parts
CREATE TABLE fea_p AS SELECT i AS item_id, 'Word' || i % 9 || ' of text ' || i || repeat(' und', i) AS story, repeat('x', 200 + i) AS long, 'p' || i % 5 || ',p' || i % 7 || ', p' || i % 11 AS parts FROM generate_series(0, 59) i;
SELECT try('items => ''fea_p'''), sound();
SELECT name FROM fea_m_param WHERE name LIKE 'feature/%' OR name LIKE 'value/item/story/%' ORDER BY name COLLATE "C";
CREATE TABLE fea_m AS SELECT i AS item_id, 'c' || i AS c FROM generate_series(0, 30000) i;
SELECT try('items => ''fea_m'', item_features => ''{c}'', epochs => 2'), sound();

-- the result does not depend on the order of the rows
CREATE FUNCTION digest() RETURNS text LANGUAGE sql AS
	$$ SELECT md5(string_agg(t::text, ',' ORDER BY user_id)) FROM fea_m_user t $$;
SELECT try('users => ''fea_u'', items => ''fea_i''');
SELECT digest() AS before \gset
CREATE TABLE fea_s AS SELECT * FROM fea_i ORDER BY md5(id::text);
CREATE TABLE fea_t AS SELECT * FROM fea_u ORDER BY md5(user_id::text);
SELECT try('users => ''fea_t'', items => ''fea_s''');
SELECT digest() = :'before' AS same;

SELECT recsys_drop('fea_m');
DROP FUNCTION try(text);
DROP FUNCTION sound();
DROP FUNCTION digest();
DROP TABLE fea_r, fea_u, fea_i, fea_w, fea_v, fea_d, fea_m, fea_s, fea_t, fea_n, fea_p;
DROP TYPE fea_mood;
DROP DOMAIN fea_code;
