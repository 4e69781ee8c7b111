/* recsys--1.0.sql: everything that CREATE EXTENSION recsys makes */

-- complain if the script is run by psql instead of CREATE EXTENSION
\echo Use "CREATE EXTENSION recsys" to load this file. \quit

-----------------------------------------------------------------------------
-- The vector type (src/type)
-----------------------------------------------------------------------------

-----------------------------------------------------------------------------
-- The access method ann (src/index)
-----------------------------------------------------------------------------

-----------------------------------------------------------------------------
-- Models: the catalog (src/store)
-----------------------------------------------------------------------------

-- One row a model, keyed by schema and name; what it consists of lies in
-- ordinary tables. Written by C only. The columns' order is known to
-- src/store/store_catalog.h.
CREATE TABLE recsys_model (
	schema pg_catalog.regnamespace NOT NULL,
	name pg_catalog.name NOT NULL,
	version pg_catalog.int4 NOT NULL,
	trained_at pg_catalog.timestamptz NOT NULL,
	ratings pg_catalog.regclass NOT NULL,
	user_col pg_catalog.name NOT NULL,
	item_col pg_catalog.name NOT NULL,
	rating_col pg_catalog.name NOT NULL,
	time_col pg_catalog.name NOT NULL,
	user_table pg_catalog.regclass NOT NULL,
	item_table pg_catalog.regclass NOT NULL,
	param_table pg_catalog.regclass NOT NULL,
	user_type pg_catalog.regtype NOT NULL,
	item_type pg_catalog.regtype NOT NULL,
	dim pg_catalog.int4 NOT NULL,
	ranking pg_catalog.int4 NOT NULL,
	users pg_catalog.int8 NOT NULL,
	items pg_catalog.int8 NOT NULL,
	interactions pg_catalog.int8 NOT NULL,
	epochs pg_catalog.int4 NOT NULL,
	seconds pg_catalog.float8 NOT NULL,
	stages pg_catalog.text[] NOT NULL,
	config pg_catalog.jsonb NOT NULL,
	skipped pg_catalog.jsonb NOT NULL,
	metrics pg_catalog.jsonb NOT NULL,
	baseline pg_catalog.jsonb NOT NULL,
	choice pg_catalog.text NOT NULL,
	PRIMARY KEY (schema, name)
);

-- the version before, for recsys_rollback
CREATE TABLE recsys_model_old (
	LIKE recsys_model,
	PRIMARY KEY (schema, name)
);

-- epochs of the versions that are kept
CREATE TABLE recsys_log (
	schema pg_catalog.regnamespace NOT NULL,
	name pg_catalog.name NOT NULL,
	version pg_catalog.int4 NOT NULL,
	step pg_catalog.int4 NOT NULL,
	stage pg_catalog.text NOT NULL,
	epoch pg_catalog.int4 NOT NULL,
	train_loss pg_catalog.float8,
	metric pg_catalog.text,
	value pg_catalog.float8,
	seconds pg_catalog.float8 NOT NULL,
	PRIMARY KEY (schema, name, version, step)
);

SELECT pg_catalog.pg_extension_config_dump('recsys_model', '');
SELECT pg_catalog.pg_extension_config_dump('recsys_model_old', '');
SELECT pg_catalog.pg_extension_config_dump('recsys_log', '');

-- Like pg_class, the list says that models exist, not what is in them; and
-- pg_dump of a database's owner reads it.
GRANT SELECT ON recsys_model, recsys_model_old, recsys_log TO PUBLIC;

-----------------------------------------------------------------------------
-- Training (src/train)
-----------------------------------------------------------------------------

-----------------------------------------------------------------------------
-- Serving (src/serve)
-----------------------------------------------------------------------------
