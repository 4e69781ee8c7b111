-- what a rating table may hold, and what it may be
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text;
	r record;
BEGIN
	EXECUTE 'SELECT * FROM ' || call INTO r;
	RETURN format('users %s, items %s, interactions %s, skipped %s', r.users, r.items, r.interactions, r.skipped);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || sqlerrm || CASE WHEN d <> '' THEN ' / ' || d ELSE '' END;
END $$;
CREATE FUNCTION train(source text) RETURNS text LANGUAGE sql AS
	$$ SELECT try(format('recsys_train(%L, ''rat_m'', epochs => 1, dim => 4, test_fraction => 0)', source)) $$;
-- the types of the model's keys after a training
CREATE FUNCTION keys() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname) FROM pg_attribute
		WHERE attrelid IN ('rat_m_user'::regclass, 'rat_m_item'::regclass) AND attnum = 1);
END $$;
CREATE TABLE rat AS
	SELECT i % 40 AS user_id, i * 7 % 53 AS item_id, (i % 5 + 1)::real AS rating, i::bigint AS ts FROM generate_series(1, 1500) i;

-- types of keys
SELECT train('rat'), keys();
DO $$
DECLARE
	t text;
BEGIN
	CREATE DOMAIN rat_dom AS text CHECK (value <> '');
	FOREACH t IN ARRAY '{int2,int8,text,varchar,varchar(30),uuid,numeric,"numeric(9,2)",rat_dom,char(9),float8,date,inet,boolean,int4range}'::text[] LOOP
		EXECUTE format('CREATE TABLE %I AS SELECT %s AS user_id, item_id, rating, ts FROM rat', 'rat_' || t,
			CASE t WHEN 'uuid' THEN 'lpad(user_id::text, 32, ''0'')::uuid' WHEN 'date' THEN 'date ''2020-01-01'' + user_id'
				WHEN 'inet' THEN 'inet ''1.1.1.1'' + user_id' WHEN 'boolean' THEN 'user_id > 3' WHEN 'int4range' THEN 'int4range(user_id, 99)'
				ELSE 'user_id::' || t END);
	END LOOP;
END $$;
SELECT relname, train(quote_ident(relname)), keys() FROM pg_class WHERE relname LIKE 'rat\_%' AND relkind = 'r' AND relname !~ 'rat_m_' ORDER BY oid;

-- numbers of one value in different forms are one key
CREATE TABLE rat_num AS SELECT (CASE i % 3 WHEN 0 THEN '7' WHEN 1 THEN '7.0' ELSE '7.000' END || CASE WHEN i % 2 = 0 THEN '' ELSE '' END)::numeric + i % 9 AS user_id,
	'i' || i % 31 AS item_id, 1 AS rating FROM generate_series(1, 900) i;
SELECT train('rat_num');
SELECT user_id, interactions > 0 FROM rat_m_user ORDER BY 1;

-- far ids, text that differs in form, long text
CREATE TABLE rat_far AS SELECT CASE WHEN i % 2 = 0 THEN 9223372036854775807 ELSE -9223372036854775807 - 1 END + CASE WHEN i % 2 = 0 THEN -1 ELSE 1 END * (i % 10)::bigint AS user_id,
	3000000000 + i % 31 AS item_id, 1 AS rating FROM generate_series(1, 900) i;
SELECT train('rat_far');
SELECT min(user_id), max(user_id) FROM rat_m_user;
CREATE TABLE rat_txt AS SELECT (ARRAY['a', 'A', 'a ', ' a', U&'\00C9', U&'E\0301', '', repeat('x', 2000)])[1 + i % 8] AS user_id, 'i' || i % 31 AS item_id, 1 AS rating FROM generate_series(1, 900) i;
SELECT train('rat_txt');
SELECT count(*), count(DISTINCT user_id) FROM rat_m_user;
CREATE TABLE rat_long AS SELECT repeat('x', 8192) || i % 9 AS user_id, 'i' || i % 31 AS item_id, 1 AS rating FROM generate_series(1, 300) i;
SELECT train('rat_long');
CREATE VIEW rat_coll AS SELECT user_id COLLATE "C" AS user_id, item_id, rating FROM rat_txt;
SELECT train('rat_coll');
SELECT attcollation::regcollation FROM pg_attribute WHERE attrelid = 'rat_m_user'::regclass AND attname = 'user_id';

-- values
CREATE TABLE rat_val AS SELECT user_id, item_id, rating::float8, ts::float8 FROM rat;
INSERT INTO rat_val SELECT NULL, 1, 1, 1 FROM generate_series(1, 3);
INSERT INTO rat_val VALUES (1, NULL, 1, 1), (NULL, NULL, NULL, NULL), (1, 1, NULL, 1), (1, 1, 'NaN', 1), (1, 1, 'Infinity', 1), (1, 1, '-Infinity', 1), (1, 1, 1e39, 1);
SELECT train('rat_val');
INSERT INTO rat_val SELECT * FROM rat_val;
SELECT train('rat_val');
UPDATE rat_val SET ts = 'NaN' WHERE user_id < 9;
UPDATE rat_val SET ts = '-Infinity' WHERE user_id > 20;
UPDATE rat_val SET ts = NULL WHERE user_id = 15;
SELECT train('rat_val');

-- repeated pairs: each of them counts in the tutorial, else the last
CREATE TABLE rat_rep AS SELECT * FROM rat UNION ALL SELECT user_id, item_id, 6 - rating, ts + 1 FROM rat WHERE user_id < 10;
SELECT train('rat_rep');
SELECT try($$recsys_train('rat_rep', 'rat_m', preset => 'tfrs', epochs => 1, test_fraction => 0)$$);

-- times of any unit are in order: seconds, and microseconds since 1970
CREATE VIEW rat_micro AS SELECT user_id, item_id, rating, 1700000000000000 + ts AS ts FROM rat;
SELECT (SELECT metrics FROM recsys_train('rat', 'rat_m', stages => '{retrieval}', epochs => 1, dim => 4, split => 'time'))
	 = (SELECT metrics FROM recsys_train('rat_micro', 'rat_m', stages => '{retrieval}', epochs => 1, dim => 4, split => 'time')) AS same;
DROP VIEW rat_micro;

-- too little
CREATE TABLE rat_none AS SELECT * FROM rat_val LIMIT 0;
SELECT train('rat_none');
INSERT INTO rat_none SELECT NULL, 1, 1, 1 FROM generate_series(1, 5);
SELECT train('rat_none');

-- one user, one item, one row, all equal: an answer or a clear error
CREATE TABLE rat_one AS SELECT 1 AS user_id, i AS item_id, 3 AS rating FROM generate_series(1, 50) i;
SELECT train('rat_one');
UPDATE rat_one SET user_id = item_id, item_id = 1;
SELECT train('rat_one');
UPDATE rat_one SET user_id = 1;
SELECT train('rat_one');
DELETE FROM rat_one WHERE ctid <> (SELECT min(ctid) FROM rat_one);
SELECT train('rat_one');
INSERT INTO rat_one SELECT i % 20, i % 23, 3 FROM generate_series(1, 300) i;
SELECT train('rat_one');
SELECT count(*) FROM rat_m_item WHERE embedding IS NULL OR embedding::text ~ 'nan|inf';

-- forms of tables
CREATE VIEW rat_view AS SELECT * FROM rat WHERE user_id < 30;
CREATE MATERIALIZED VIEW rat_mat AS SELECT * FROM rat;
CREATE TABLE rat_part (LIKE rat) PARTITION BY RANGE (user_id);
CREATE TABLE rat_p1 PARTITION OF rat_part FOR VALUES FROM (0) TO (20);
CREATE TABLE rat_p2 PARTITION OF rat_part FOR VALUES FROM (20) TO (99);
INSERT INTO rat_part SELECT * FROM rat;
CREATE TEMPORARY TABLE rat_temp AS SELECT * FROM rat;
SELECT train('rat_view'), train('rat_mat'), train('rat_part'), train('rat_temp');
SELECT ratings FROM recsys_models WHERE model = 'rat_m';
-- seen items of a temporary table are known as long as it is there
SELECT count(*) FROM recommend(1, 100, 'rat_m') r JOIN rat_temp t ON t.user_id = 1 AND t.item_id = r.item_id;
SELECT count(*) FROM recommend(1, 100, 'rat_m', exclude_seen => false) r JOIN rat_temp t ON t.user_id = 1 AND t.item_id = r.item_id;
DROP TABLE rat_temp;
SELECT try('recommend(1, 100, ''rat_m'')');
CREATE TABLE "Rat ""x"" é" AS SELECT user_id AS "User Id", item_id AS "it""em", rating AS "Select", ts FROM rat;
SELECT try($$recsys_train('"Rat ""x"" é"', 'Mo "d" ël', user_col => 'User Id', item_col => 'it"em', rating_col => 'Select', epochs => 1, dim => 4)$$);
SELECT relname FROM pg_class WHERE relname LIKE 'Mo %' AND relkind = 'r' ORDER BY 1;
SELECT recsys_drop('Mo "d" ël');
CREATE TABLE rat_drop AS SELECT 1 AS gone, * FROM rat;
ALTER TABLE rat_drop DROP COLUMN gone;
ALTER TABLE rat_drop ADD COLUMN score real GENERATED ALWAYS AS (rating * 2) STORED;
SELECT try($$recsys_train('rat_drop', 'rat_m', user_col => 'gone')$$);
SELECT try($$recsys_train('rat_drop', 'rat_m', rating_col => 'score', epochs => 1, dim => 4)$$);
-- the model's own tables are no ratings, unless one insists
SELECT try($$recsys_train('rat_m_user', 'rat_m')$$);

-- the caller's own rows count; a rollback leaves no trace
BEGIN;
INSERT INTO rat SELECT 1000 + i % 10, i % 53, 1, 1 FROM generate_series(1, 100) i;
SELECT train('rat');
SELECT count(*) FROM rat_m_user;
ROLLBACK;
SELECT count(*), max(user_id) FROM rat_m_user;

SELECT recsys_drop('rat_m');
DROP VIEW rat_view, rat_coll;
DROP MATERIALIZED VIEW rat_mat;
-- thumbs: those down are no interest
CREATE TABLE rat_thumbs AS SELECT u AS user_id, i AS item_id, CASE WHEN (u + i) % 3 = 0 THEN 1 ELSE -1 END AS liked
	FROM generate_series(1, 60) u, generate_series(1, 30) i WHERE hashint4(u * 100 + i) % 2 = 0;
SET client_min_messages = notice;
SELECT users, items FROM recsys_train('rat_thumbs', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{retrieval}');
SET client_min_messages = warning;
SELECT interactions = (SELECT count(*) FROM rat_thumbs WHERE liked > 0) AS liked, config->'positive' AS positive FROM recsys_models WHERE model = 'rat_m';
SELECT count(*) FROM recsys_train('rat_thumbs', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{retrieval}', positive => '>= -1');
SELECT interactions = (SELECT count(*) FROM rat_thumbs) AS all FROM recsys_models WHERE model = 'rat_m';
-- nothing above 0: every row is of interest, and a NOTICE says so
CREATE VIEW rat_down AS SELECT user_id, item_id, -1 AS liked FROM rat_thumbs;
CREATE VIEW rat_zero AS SELECT user_id, item_id, 0 AS liked FROM rat_thumbs;
SET client_min_messages = notice;
SELECT interactions = (SELECT count(*) FROM rat_down) AS all FROM recsys_train('rat_down', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{retrieval}');
SELECT interactions = (SELECT count(*) FROM rat_zero) AS all FROM recsys_train('rat_zero', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{retrieval}');
SELECT interactions = (SELECT count(*) FROM rat_down) AS all FROM recsys_train('rat_down', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{retrieval}', positive => 'rating >= -1');
SET client_min_messages = warning;
SELECT count(*) FROM recsys_train('rat_down', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, stages => '{ranking}');
SELECT bool_and(abs(predict(user_id, item_id, 'rat_m') + 1) < 1e-5) AS as_rated FROM rat_thumbs;
SELECT try('recsys_train(''rat_down'', ''rat_m'', options => ''{"ranking_loss": "binary"}'')');
DROP VIEW rat_down, rat_zero;
-- clicks are evaluated as such, on any scale
SELECT count(*) FROM recsys_train('rat_thumbs', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, options => '{"ranking_loss": "binary"}');
CREATE TABLE rat_test AS SELECT user_id, item_id, liked * 100 AS liked FROM rat_thumbs;
SELECT a.metric, a.value = b.value AS same, a.value BETWEEN 0 AND 1 AS sane
	FROM recsys_evaluate('rat_m', 'rat_thumbs', '{10}', false) a JOIN recsys_evaluate('rat_m', 'rat_test', '{10}', false) b USING (metric);
SELECT count(*) FROM recsys_train('rat_thumbs', 'rat_m', epochs => 2, dim => 4, test_fraction => 0, options => '{"ranking_loss": "gibbs"}');
SELECT string_agg(metric, ' ') FROM recsys_evaluate('rat_m', 'rat_thumbs', '{10}', false);
SELECT recsys_drop('rat_m');

DO $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT oid::regclass AS t FROM pg_class WHERE relname ~* '^rat' AND relkind IN ('r', 'p') AND NOT relispartition LOOP
		EXECUTE 'DROP TABLE ' || r.t;
	END LOOP;
END $$;
DROP DOMAIN rat_dom;
DROP FUNCTION keys();
DROP FUNCTION train(text);
DROP FUNCTION try(text);
