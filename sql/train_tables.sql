-- what users make of a model's tables: columns, triggers, keys, rights
SET client_min_messages = warning;
CREATE TABLE tab_r AS SELECT u AS user_id, i AS item_id, 1 + (u * i) % 5 AS rating
  FROM generate_series(1, 60) u, generate_series(1, 50) i WHERE (u * 7 + i * 13) % 3 = 0;
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
CREATE TABLE tab_film (id int PRIMARY KEY);
INSERT INTO tab_film SELECT generate_series(1, 50);
CREATE TABLE tab_seen (what text);
CREATE FUNCTION tab_row() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO tab_seen VALUES ('row ' || NEW.item_id); RETURN NULL; END $$;
CREATE FUNCTION tab_statement() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO tab_seen SELECT 'statement ' || count(*) FROM fresh; RETURN NULL; END $$;
CREATE FUNCTION tab_before() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.shop := NEW.shop || NEW.item_id; RETURN CASE WHEN NEW.item_id <> 7 THEN NEW END; END $$;
ALTER TABLE tab_item ADD FOREIGN KEY (item_id) REFERENCES tab_film,
  ADD COLUMN shop text NOT NULL DEFAULT 'main', ADD COLUMN twice int GENERATED ALWAYS AS (item_id * 2) STORED;
CREATE TRIGGER r AFTER INSERT ON tab_item FOR EACH ROW EXECUTE FUNCTION tab_row();
CREATE TRIGGER s AFTER INSERT ON tab_item REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tab_statement();
CREATE TRIGGER b BEFORE INSERT ON tab_item FOR EACH ROW EXECUTE FUNCTION tab_before();
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
SELECT count(*), min(shop), count(DISTINCT shop), bool_and(twice = item_id * 2) FROM tab_item;
SELECT count(*), min(what), max(what) FROM tab_seen;
SELECT count(*) FROM recommend(3, 60, 'tab', exclude_seen => false);
DELETE FROM tab_film WHERE id = 9;
SELECT recsys_rollback('tab');
SELECT count(*), min(shop), count(twice) FROM tab_item;
-- a key that the foreign key does not know, and a policy that is in force
INSERT INTO tab_r VALUES (1, 99, 3);
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
DELETE FROM tab_r WHERE item_id = 99;
CREATE ROLE tab_owner;
GRANT ALL ON SCHEMA public TO tab_owner;
GRANT SELECT ON tab_r TO tab_owner;
SET ROLE tab_owner;
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
ALTER TABLE own_user ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
ALTER TABLE own_user NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
-- trained by somebody else once, it is the owner's still
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
SELECT count(*), min(relowner::regrole::text), max(relowner::regrole::text) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'own\_%';
SET ROLE tab_owner;
SELECT recsys_rollback('own');
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
-- columns of other types: no answer, and no training
CREATE TYPE tab_name AS ENUM ('clamp', 'user_mean', 'item_mean', 'levels', 'cutpoints', 'variance', 'noise', 'ials');
ALTER TABLE own_user ALTER user_id TYPE text;
SELECT * FROM recommend(42, 3, 'own');
SELECT predict(42, 3, 'own');
SELECT count(*) FROM recommend_all(3, 'own');
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
SELECT count(*) FROM recommend(42, 3, 'own');
ALTER TABLE own_item ALTER interactions TYPE text;
SELECT * FROM recommend(42, 3, 'own');
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
ALTER TABLE own_item ALTER interactions TYPE int USING interactions::int;
ALTER TABLE own_param ALTER name TYPE tab_name USING name::tab_name;
SELECT predict(42, 3, 'own');
SELECT version FROM recsys_train('tab_r', 'own', seed => 1);
SELECT recsys_drop('own');
-- an operator in the way
CREATE FUNCTION tab_minus(int, float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'operator in use'; END $$;
CREATE OPERATOR public.- (LEFTARG = int, RIGHTARG = float8, FUNCTION = tab_minus);
RESET ROLE;
SET recsys.cache_size = 0;
SELECT count(*) FROM similar_items(1, 2, 'tab');
SELECT count(*) FROM recommend(1, 2, 'tab');
RESET recsys.cache_size;
DROP OPERATOR public.- (int, float8);
-- no model in a temporary schema
SELECT recsys_train('tab_r', 'pg_temp.tab');
SET search_path = pg_temp, public;
SELECT recsys_train('public.tab_r', 'tab2');
RESET search_path;
-- wider keys of features: those beyond the ratings' type are nobody
CREATE TABLE tab_u AS SELECT u::bigint AS user_id, u % 3 AS grp FROM generate_series(1, 61) u;
INSERT INTO tab_u VALUES (4294967301, 1);
SET client_min_messages = notice;
SELECT users FROM recsys_train('tab_r', 'wide', stages => '{retrieval}', users => 'tab_u', seed => 1);
SET client_min_messages = warning;
INSERT INTO tab_u VALUES (8589935369, 2), (62, 2);
SELECT * FROM recsys_refresh('wide');
SELECT max(user_id) FROM wide_user;
ALTER TABLE tab_u ALTER user_id TYPE numeric;
INSERT INTO tab_u VALUES (63, 1);
SELECT * FROM recsys_refresh('wide');
ALTER TABLE tab_u ALTER user_id TYPE float8;
SELECT * FROM recsys_refresh('wide');
-- schemas that change their names
CREATE SCHEMA tab_live;
SELECT version FROM recsys_train('tab_r', 'tab_live.m', seed => 1);
ALTER SCHEMA tab_live RENAME TO tab_past;
CREATE SCHEMA tab_live;
SELECT version FROM recsys_train('tab_r', 'tab_live.m', seed => 2);
SELECT version FROM recsys_train('tab_r', 'tab_live.m', seed => 3);
ALTER SCHEMA tab_live RENAME TO tab_next;
ALTER SCHEMA tab_past RENAME TO tab_live;
ALTER SCHEMA tab_next RENAME TO tab_past;
SELECT version FROM recsys_train('tab_r', 'tab_live.m', seed => 4);
SELECT version FROM recsys_train('tab_r', 'tab_past.m', seed => 5);
SELECT schema, version, version_before, config->>'seed' AS seed FROM recsys_models WHERE model = 'm' ORDER BY 1;
SELECT schema, version, count(*) > 0 AS logged FROM recsys_training_log WHERE model = 'm' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT recsys_rollback('tab_past.m');
-- one that is gone gives its name to the next
SELECT version FROM recsys_train('tab_r', 'tab_live.n', seed => 1);
SELECT version FROM recsys_train('tab_r', 'tab_past.n', seed => 6);
DROP TABLE tab_live.n_user, tab_live.n_item, tab_live.n_param;
ALTER SCHEMA tab_live RENAME TO tab_next;
ALTER SCHEMA tab_past RENAME TO tab_live;
ALTER SCHEMA tab_next RENAME TO tab_past;
SELECT recsys_drop('tab');
SELECT schema, model, version, config->>'seed' AS seed FROM recsys_models WHERE model IN ('m', 'n') ORDER BY 1, 2;
SELECT recsys_drop('tab_live.n');
ALTER SCHEMA tab_live RENAME TO tab_next;
ALTER SCHEMA tab_past RENAME TO tab_live;
ALTER SCHEMA tab_next RENAME TO tab_past;
-- a table without its columns is dropped by its name
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
ALTER TABLE tab_item RENAME embedding TO e;
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
SELECT recsys_drop('tab');
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
-- a trigger that lets no row in
CREATE FUNCTION tab_never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER n BEFORE INSERT ON tab_item FOR EACH ROW EXECUTE FUNCTION tab_never();
SELECT version FROM recsys_train('tab_r', 'tab', seed => 1);
SELECT count(*) FROM tab_item;
ALTER SCHEMA tab_past RENAME TO tab_gone;
SELECT recsys_drop(m) FROM unnest(ARRAY['tab', 'wide', 'tab_live.m', 'tab_gone.m']) m;
SELECT count(*) FROM recsys_models WHERE model = 'm';
DROP SCHEMA tab_live, tab_gone;
DROP TABLE tab_r, tab_u, tab_film, tab_seen;
DROP FUNCTION tab_row, tab_statement, tab_before, tab_never;
DROP OWNED BY tab_owner;
DROP ROLE tab_owner;
