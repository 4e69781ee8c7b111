-- versions, rollback, drop; who may do what
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
CREATE ROLE recsys_ann;
CREATE ROLE recsys_bob;
CREATE SCHEMA ann AUTHORIZATION recsys_ann;
CREATE SCHEMA bob AUTHORIZATION recsys_bob;
CREATE TABLE mod_r AS SELECT i % 40 AS user_id, i * 7 % 53 AS item_id, (i % 5 + 1)::real AS rating FROM generate_series(1, 1500) i;
CREATE FUNCTION digest(t regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
BEGIN
	EXECUTE format('SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM %s t', t) INTO r;
	RETURN r;
END $$;

-- the tables keep their OIDs, the version before comes back whole
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1, seed => 1);
SELECT oid AS item_oid FROM pg_class WHERE relname = 'mod_item' \gset
SELECT digest('mod_user') AS u1, digest('mod_item') AS i1, digest('mod_param') AS p1 \gset
GRANT SELECT ON mod_item TO recsys_bob;
CREATE VIEW mod_v AS SELECT item_id FROM mod_item;
-- a foreign key on the model's rows: said before the training, not after it
CREATE TABLE mod_f (item_id int REFERENCES mod_item);
SELECT try('SELECT recsys_train(''mod_r'', ''mod'', dim => 4, epochs => 2, seed => 2)');
ALTER TABLE mod_f DROP CONSTRAINT mod_f_item_id_fkey,
	ADD CONSTRAINT mod_f_item_id_fkey FOREIGN KEY (item_id) REFERENCES mod_item ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
SELECT try('SELECT recsys_train(''mod_r'', ''mod'', dim => 4, epochs => 2, seed => 2)');
ALTER TABLE mod_f DROP CONSTRAINT mod_f_item_id_fkey,
	ADD FOREIGN KEY (item_id) REFERENCES mod_item ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 2, seed => 2);
DROP TABLE mod_f;
SELECT digest('mod_user') = :'u1' AS user, digest('mod_item') = :'i1' AS item;
SELECT digest('mod_user_old') = :'u1' AS user, digest('mod_item_old') = :'i1' AS item, digest('mod_param_old') = :'p1' AS param;
SELECT model, version, version_before, status, owner = current_user AS mine FROM recsys_models;
SELECT version, count(*) > 0 FROM recsys_training_log GROUP BY 1 ORDER BY 1;
-- other dimensions, other types of keys
SELECT version FROM recsys_train('mod_r', 'mod', dim => 8, epochs => 1);
CREATE TABLE mod_t AS SELECT user_id::text || '.' AS user_id, item_id, rating FROM mod_r;
SELECT version FROM recsys_train('mod_t', 'mod', dim => 8, epochs => 1);
SELECT pg_typeof(user_id) FROM mod_user LIMIT 1;
SELECT recsys_rollback('mod');
SELECT pg_typeof(user_id) FROM mod_user LIMIT 1;
SELECT model, version, version_before FROM recsys_models;
SELECT try('SELECT recsys_rollback(''mod'')');
-- the same seed gives the same bytes, rows in whatever order
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1, seed => 1);
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1, seed => 1);
SELECT digest('mod_user') = digest('mod_user_old') AS user, digest('mod_item') = digest('mod_item_old') AS item;
CREATE TABLE mod_s AS SELECT * FROM mod_r ORDER BY md5(user_id::text || item_id);
SELECT version FROM recsys_train('mod_s', 'mod', dim => 4, epochs => 1, seed => 1);
SELECT digest('mod_user') = digest('mod_user_old') AS user, digest('mod_item') = digest('mod_item_old') AS item;
SELECT relname, oid = :item_oid AS kept FROM pg_class WHERE relname = 'mod_item';
SELECT has_table_privilege('recsys_bob', 'mod_item', 'SELECT');
-- columns of one's own stay, and are empty in a new version
ALTER TABLE mod_item ADD COLUMN title text;
UPDATE mod_item SET title = 'x';
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1, seed => 1);
SELECT count(*), count(title) FROM mod_item;
ALTER TABLE mod_item ALTER COLUMN title SET NOT NULL;
ALTER TABLE mod_item DROP COLUMN title;
ALTER TABLE mod_item DROP COLUMN ranking;
SELECT try('SELECT recsys_train(''mod_r'', ''mod'', dim => 4, epochs => 1)');
SELECT try('SELECT recsys_drop(''mod'')');
DROP VIEW mod_v;
SELECT recsys_drop('mod');
SELECT count(*) FROM recsys_training_log;
SELECT count(*) FROM pg_class WHERE relname ~ '^mod_(user|item|param)';

-- a schema that is renamed, tables that move: the model goes with them
CREATE SCHEMA mod1;
CREATE SCHEMA mod2;
SELECT model, version FROM recsys_train('mod_r', 'mod1.m', dim => 4, epochs => 1, seed => 1);
SELECT version FROM recsys_train('mod_r', 'mod1.m', dim => 4, epochs => 1, seed => 1);
ALTER SCHEMA mod1 RENAME TO mod3;
SELECT schema, model, version, version_before FROM recsys_models;
SELECT count(*) FROM recommend(1, 10, 'mod3.m');
SELECT try('SELECT recommend(1, 10, ''mod1.m'')');
CREATE SCHEMA mod1;
SELECT try('SELECT recommend(1, 10, ''mod1.m'')');
SELECT recsys_rollback('mod3.m');
SELECT schema, model, version FROM recsys_models;
ALTER TABLE mod3.m_user SET SCHEMA mod2;
ALTER TABLE mod3.m_item SET SCHEMA mod2;
ALTER TABLE mod3.m_param SET SCHEMA mod2;
SELECT version FROM recsys_train('mod_r', 'mod2.m', dim => 4, epochs => 1, seed => 1);
SELECT schema, model, version, version_before FROM recsys_models;
SELECT recsys_drop('mod2.m');
SELECT count(*) FROM recsys_model_old;
DROP SCHEMA mod1, mod2, mod3;
-- a prepared statement that returns vectors of whatever dimension goes on
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1);
PREPARE mod_vectors AS SELECT vector_dims(v) FROM (SELECT embedding::vector AS v FROM mod_item) i LIMIT 1;
PREPARE mod_any AS SELECT embedding::vector FROM mod_item LIMIT 0;
EXECUTE mod_vectors;
EXECUTE mod_any;
SELECT version FROM recsys_train('mod_r', 'mod', dim => 6, epochs => 1);
EXECUTE mod_vectors;
EXECUTE mod_any;
DEALLOCATE ALL;
SELECT recsys_drop('mod');
-- tables of a model without its row, as a dump of the schema alone has them; others stay
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1);
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1);
DELETE FROM recsys_model WHERE name = 'mod';
DELETE FROM recsys_model_old WHERE name = 'mod';
CREATE TABLE mod2_user (embedding vector(3));
SELECT try('SELECT recsys_train(''mod_r'', ''mod'')');
SELECT try('SELECT recsys_drop(''mod2'')');
SELECT recsys_drop('mod');
SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^mod2?_(user|item|param)' ORDER BY 1;
DROP TABLE mod2_user;
-- a name of more than 63 bytes with its schema
CREATE SCHEMA mod_of_a_schema_with_quite_a_long_name_7890;
SELECT model FROM recsys_train('mod_r', 'mod_of_a_schema_with_quite_a_long_name_7890.and_a_model_of_30_456', dim => 4, epochs => 1, learning_rate => 0.1::float8);
SELECT count(*) FROM recommend(1, 10::bigint, 'mod_of_a_schema_with_quite_a_long_name_7890.and_a_model_of_30_456');
SELECT recsys_drop('mod_of_a_schema_with_quite_a_long_name_7890.and_a_model_of_30_456');
DROP SCHEMA mod_of_a_schema_with_quite_a_long_name_7890;

-- a table of that name in the way, a model that lost a table
CREATE TABLE mod_item (x int);
SELECT try('SELECT recsys_train(''mod_r'', ''mod'')');
ALTER TABLE mod_item RENAME TO mod_param_old;
SELECT try('SELECT recsys_train(''mod_r'', ''mod'')');
DROP TABLE mod_param_old;
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1);
DROP TABLE mod_item;
SELECT model, status FROM recsys_models;
SELECT try('SELECT recsys_rollback(''mod'')');
SELECT version FROM recsys_train('mod_r', 'mod', dim => 4, epochs => 1);
DROP TABLE mod_item;
SELECT try('SELECT * FROM recommend(1, 10, ''mod'')');
SELECT try('SELECT user_embedding(1, ''mod'')');
SELECT recsys_drop('mod');
SELECT count(*) FROM pg_class WHERE relname ~ '^mod_(user|item|param)';

-- rights: SELECT on the ratings, CREATE in the schema, ownership of the model
GRANT USAGE ON SCHEMA ann TO recsys_bob;
SET SESSION AUTHORIZATION recsys_ann;
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'')');
RESET SESSION AUTHORIZATION;
GRANT SELECT (user_id, item_id) ON mod_r TO recsys_ann;
SET SESSION AUTHORIZATION recsys_ann;
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'', rating_col => ''rating'', epochs => 1)');
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'', rating_col => '''', epochs => 1)');
SELECT try('SELECT recsys_train(''mod_r'', ''bob.m'', rating_col => '''', epochs => 1)');
SET search_path = ann, public;
SELECT version FROM recsys_train('mod_r', 'm', rating_col => '', epochs => 1);
RESET SESSION AUTHORIZATION;
-- out of the search path, as it is in materialized views that are refreshed
SET search_path = public;
SELECT * FROM recommend(1, 3, 'm');
SELECT recsys_drop('m');
SET search_path = ann, public;
GRANT SELECT ON mod_r TO recsys_bob;
GRANT CREATE ON SCHEMA ann TO recsys_bob;
SET SESSION AUTHORIZATION recsys_bob;
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'', epochs => 1)');
SELECT try('SELECT recsys_rollback(''ann.m'')');
SELECT try('SELECT recsys_drop(''ann.m'')');
SELECT try('SELECT * FROM ann.m_item');
SELECT try('DELETE FROM public.recsys_model');
SET search_path = bob, public;
SELECT version FROM recsys_train('mod_r', 'm', dim => 4, epochs => 1);
SELECT schema, model, owner FROM recsys_models ORDER BY schema;
RESET SESSION AUTHORIZATION;
RESET search_path;
-- what is left of another one's model, or kept of it, is refused before anything else
DROP TABLE ann.m_param;
SET SESSION AUTHORIZATION recsys_bob;
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'', user_col => ''nobody'')');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION recsys_ann;
SELECT version FROM recsys_train('mod_r', 'ann.m', rating_col => '', epochs => 1);
SELECT version FROM recsys_train('mod_r', 'ann.m', rating_col => '', epochs => 1);
RESET SESSION AUTHORIZATION;
ALTER TABLE ann.m_item_old OWNER TO recsys_bob;
SET SESSION AUTHORIZATION recsys_ann;
SELECT try('SELECT recsys_train(''mod_r'', ''ann.m'', user_col => ''nobody'')');
RESET SESSION AUTHORIZATION;
ALTER TABLE ann.m_item_old OWNER TO recsys_ann;

-- row level security is that of the trainer
ALTER TABLE mod_r ENABLE ROW LEVEL SECURITY;
CREATE POLICY half ON mod_r TO recsys_bob USING (user_id < 20);
SET SESSION AUTHORIZATION recsys_bob;
SELECT users FROM recsys_train('mod_r', 'bob.m', dim => 4, epochs => 1);
SET row_security = off;
SELECT try('SELECT recsys_train(''mod_r'', ''bob.m'', dim => 4, epochs => 1)');
RESET row_security;
RESET SESSION AUTHORIZATION;
SELECT users FROM recsys_train('mod_r', 'public.mod', dim => 4, epochs => 1);
SELECT recsys_drop('public.mod'), recsys_drop('bob.m'), recsys_drop('ann.m');

DROP SCHEMA ann;
DROP SCHEMA bob;
DROP TABLE mod_r, mod_s, mod_t;
DROP ROLE recsys_ann;
DROP ROLE recsys_bob;
DROP FUNCTION try(text);
DROP FUNCTION digest(regclass);
