/* recsys--1.0.sql: everything that CREATE EXTENSION recsys makes */

-- complain if the script is run by psql instead of CREATE EXTENSION
\echo Use "CREATE EXTENSION recsys" to load this file. \quit

-----------------------------------------------------------------------------
-- The vector type (src/type)
-----------------------------------------------------------------------------

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_out(vector) RETURNS cstring
	AS 'MODULE_PATHNAME', 'recsys_vector_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'recsys_vector_typmod_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_send(vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'recsys_vector_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_typanalyze(internal) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_typanalyze'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_subscript(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'recsys_vector_subscript'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE vector (
	INPUT = vector_in,
	OUTPUT = vector_out,
	TYPMOD_IN = vector_typmod_in,
	RECEIVE = vector_recv,
	SEND = vector_send,
	ANALYZE = vector_typanalyze,
	SUBSCRIPT = vector_subscript,
	STORAGE = external
);

CREATE FUNCTION l2_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_l2_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION inner_product(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION cosine_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_cosine_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION l1_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_l1_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_vector_l2_squared_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_vector_negative_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_vector_spherical_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_dims(vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'recsys_vector_dims'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_norm(vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_vector_norm'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION l2_normalize(vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_l2_normalize'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_subvector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION binary_quantize(vector) RETURNS bit
	AS 'MODULE_PATHNAME', 'recsys_binary_quantize'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_add'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_sub'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_mul'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_concat'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_lt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_lt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_le(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_le'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_eq(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_eq'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_ne(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_ne'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_ge(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_ge'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_gt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'recsys_vector_gt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'recsys_vector_cmp'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME', 'recsys_vector_sortsupport'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_hash(vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'recsys_vector_hash'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector_hash_extended(vector, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'recsys_vector_hash_extended'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'recsys_vector_to_float4'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_int4_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_float4_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_float8_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_numeric_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (vector AS vector)
	WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (vector AS real[])
	WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;
CREATE CAST (integer[] AS vector)
	WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (real[] AS vector)
	WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (double precision[] AS vector)
	WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;
CREATE CAST (numeric[] AS vector)
	WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;

CREATE OPERATOR <-> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l2_distance,
	COMMUTATOR = <->
);
CREATE OPERATOR <#> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_negative_inner_product,
	COMMUTATOR = <#>
);
CREATE OPERATOR <=> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = cosine_distance,
	COMMUTATOR = <=>
);
CREATE OPERATOR <+> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = l1_distance,
	COMMUTATOR = <+>
);
CREATE OPERATOR + (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_add,
	COMMUTATOR = +
);
CREATE OPERATOR - (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_sub
);
CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_mul,
	COMMUTATOR = *
);
CREATE OPERATOR || (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_concat
);
CREATE OPERATOR < (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_lt,
	COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_le,
	COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR = (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq,
	COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel,
	HASHES, MERGES
);
CREATE OPERATOR <> (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ne,
	COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR >= (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_ge,
	COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR > (
	LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_gt,
	COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS vector_ops
	DEFAULT FOR TYPE vector USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 vector_cmp(vector, vector),
	FUNCTION 2 vector_sortsupport(internal);

CREATE OPERATOR CLASS vector_hash_ops
	DEFAULT FOR TYPE vector USING hash AS
	OPERATOR 1 =,
	FUNCTION 1 vector_hash(vector),
	FUNCTION 2 vector_hash_extended(vector, bigint);

CREATE FUNCTION vector_accum(double precision[], vector)
	RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'recsys_vector_accum'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_combine(double precision[], double precision[])
	RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'recsys_vector_combine'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_vector_avg'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE AGGREGATE avg(vector) (
	SFUNC = vector_accum,
	STYPE = double precision[],
	FINALFUNC = vector_avg,
	COMBINEFUNC = vector_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);

CREATE AGGREGATE sum(vector) (
	SFUNC = vector_add,
	STYPE = vector,
	COMBINEFUNC = vector_add,
	PARALLEL = SAFE
);

-----------------------------------------------------------------------------
-- The access method ann (src/index)
-----------------------------------------------------------------------------

CREATE FUNCTION recsys_annhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;

CREATE ACCESS METHOD ann TYPE INDEX HANDLER recsys_annhandler;
COMMENT ON ACCESS METHOD ann IS 'top-k vectors: exact by bounds or calibrated';

CREATE FUNCTION recsys_ann_metric_ip(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION recsys_ann_metric_l2(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION recsys_ann_metric_cosine(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING ann AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 vector_negative_inner_product(vector, vector),
	FUNCTION 2 recsys_ann_metric_ip(internal);

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING ann AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 l2_distance(vector, vector),
	FUNCTION 2 recsys_ann_metric_l2(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING ann AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 cosine_distance(vector, vector),
	FUNCTION 2 recsys_ann_metric_cosine(internal);

-- every invariant of the pages; with heapallindexed, that no row is missing
CREATE FUNCTION recsys_index_check(index regclass,
	heapallindexed boolean DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION recsys_index_check(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION recsys_index_stats(index regclass,
	OUT metric text, OUT dimensions int, OUT rows bigint, OUT dead bigint,
	OUT cells int, OUT mean_cell float8, OUT largest_cell float8,
	OUT log_rows bigint, OUT pages bigint, OUT file_pages bigint,
	OUT code_bytes int, OUT drift float8, OUT generation int,
	OUT sampled_recall float8, OUT sample_queries int, OUT advice text)
	AS 'MODULE_PATHNAME' LANGUAGE C STRICT PARALLEL UNSAFE;

-----------------------------------------------------------------------------
-- Models: the catalog (src/store)
-----------------------------------------------------------------------------

-- One row a model, keyed by schema and name (as names: pg_upgrade refuses
-- tables with regnamespace); what it consists of lies in ordinary tables.
-- Written by C only. The columns' order is known to
-- src/store/store_catalog.h.
CREATE TABLE recsys_model (
	schema pg_catalog.name NOT NULL,
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
	user_features pg_catalog.regclass NOT NULL DEFAULT '-',
	item_features pg_catalog.regclass NOT NULL DEFAULT '-',
	user_ranking_dim pg_catalog.int4 NOT NULL DEFAULT 0,
	item_ranking_dim pg_catalog.int4 NOT NULL DEFAULT 0,
	notices pg_catalog.text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (schema, name)
);

-- the version before, for recsys_rollback
CREATE TABLE recsys_model_old (
	LIKE recsys_model,
	PRIMARY KEY (schema, name)
);

-- epochs of the versions that are kept
CREATE TABLE recsys_log (
	schema pg_catalog.name NOT NULL,
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

-- not models of which somebody dropped a table: where the dump is restored,
-- the number of that table may be another one's
SELECT pg_catalog.pg_extension_config_dump('recsys_model',
	'WHERE 3 OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) '
	'FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) '
	'ANY (ARRAY[user_table::pg_catalog.oid, item_table, param_table]))');
SELECT pg_catalog.pg_extension_config_dump('recsys_model_old',
	'WHERE 3 OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) '
	'FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) '
	'ANY (ARRAY[user_table::pg_catalog.oid, item_table, param_table]))');
SELECT pg_catalog.pg_extension_config_dump('recsys_log', '');

-- on the tables of every model: a change makes sessions drop what they cache
CREATE FUNCTION recsys_model_changed() RETURNS pg_catalog.trigger
	AS 'MODULE_PATHNAME', 'recsys_model_changed'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

-- Like pg_class, the list says that models exist, not what is in them; and
-- pg_dump of a database's owner reads it.
GRANT SELECT ON recsys_model, recsys_model_old, recsys_log TO PUBLIC;

-----------------------------------------------------------------------------
-- Training (src/train)
-----------------------------------------------------------------------------

-- what a training answers
CREATE TYPE recsys_training AS (
	model pg_catalog.text,
	version pg_catalog.int4,
	status pg_catalog.text,
	users pg_catalog.int8,
	items pg_catalog.int8,
	interactions pg_catalog.int8,
	skipped pg_catalog.jsonb,
	epochs pg_catalog.int4,
	seconds pg_catalog.float8,
	metrics pg_catalog.jsonb,
	baseline pg_catalog.jsonb
);

-- PUBLIC may call it: it acts with the caller's rights alone (SELECT on the
-- ratings, CREATE in the schema), and what one training may take is bounded
-- by settings that superusers change. A DBA who wants it otherwise revokes
-- EXECUTE from PUBLIC; pg_dump keeps that.
CREATE FUNCTION recsys_train(
	ratings pg_catalog.regclass,
	model pg_catalog.text DEFAULT 'default',
	user_col pg_catalog.name DEFAULT NULL,
	item_col pg_catalog.name DEFAULT NULL,
	rating_col pg_catalog.name DEFAULT NULL,
	time_col pg_catalog.name DEFAULT NULL,
	stages pg_catalog.text[] DEFAULT NULL,
	users pg_catalog.regclass DEFAULT NULL,
	items pg_catalog.regclass DEFAULT NULL,
	user_features pg_catalog.name[] DEFAULT NULL,
	item_features pg_catalog.name[] DEFAULT NULL,
	context_features pg_catalog.name[] DEFAULT NULL,
	positive pg_catalog.text DEFAULT NULL,
	preset pg_catalog.text DEFAULT 'default',
	dim pg_catalog.int4 DEFAULT NULL,
	hidden pg_catalog.int4[] DEFAULT NULL,
	epochs pg_catalog.int4 DEFAULT NULL,
	batch_size pg_catalog.int4 DEFAULT NULL,
	learning_rate pg_catalog.float8 DEFAULT NULL,
	test_fraction pg_catalog.float8 DEFAULT NULL,
	split pg_catalog.text DEFAULT NULL,
	seed pg_catalog.int8 DEFAULT 42,
	workers pg_catalog.int4 DEFAULT NULL,
	wait pg_catalog.bool DEFAULT true,
	options pg_catalog.jsonb DEFAULT '{}')
	RETURNS recsys_training
	AS 'MODULE_PATHNAME', 'recsys_train'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

-- Options chosen on held-out ratings, by successive halving: combinations of
-- the values in space ('{"dim": [16, 32], "alpha0": [0.1, 0.3]}'), and what the
-- model has now as trial 0. The best becomes the model's next version and is
-- the first row of the answer. metric: by default ndcg@10, or rmse or log_loss
-- of a model without a retrieval stage; value NULL: the trial diverged. wait
-- false: everything in the background, no rows; recsys_progress shows it,
-- recsys_training_log keeps the trials.
CREATE FUNCTION recsys_tune(
	model pg_catalog.text DEFAULT 'default',
	space pg_catalog.jsonb DEFAULT NULL,
	trials pg_catalog.int4 DEFAULT 16,
	metric pg_catalog.text DEFAULT NULL,
	seed pg_catalog.int8 DEFAULT 42,
	wait pg_catalog.bool DEFAULT true,
	OUT trial pg_catalog.int4,
	OUT params pg_catalog.jsonb,
	OUT epochs pg_catalog.int4,
	OUT measured pg_catalog.text,
	OUT value pg_catalog.float8,
	OUT seconds pg_catalog.float8,
	OUT best pg_catalog.bool)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'recsys_tune'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 16;

-- back to the version before; the present one is lost
CREATE FUNCTION recsys_rollback(model pg_catalog.text)
	RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'recsys_rollback'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION recsys_drop(model pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'recsys_drop'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE VIEW recsys_models WITH (security_invoker) AS
	SELECT coalesce(s.nspname, m.schema) AS schema, m.name AS model,
		m.version, m.trained_at,
		CASE WHEN c.oid IS NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_class u
				WHERE u.oid OPERATOR(pg_catalog.=) m.user_table)
			OR NOT EXISTS (SELECT FROM pg_catalog.pg_class p
				WHERE p.oid OPERATOR(pg_catalog.=) m.param_table)
			THEN 'broken' ELSE 'ready' END AS status,
		c.relowner::pg_catalog.regrole::pg_catalog.text AS owner,
		m.ratings::pg_catalog.text AS ratings, m.stages, m.dim, m.users, m.items, m.interactions,
		m.epochs, m.seconds, m.metrics, m.baseline, m.choice, m.notices,
		m.config, m.skipped,
		CASE WHEN o.version OPERATOR(pg_catalog.>) 0 THEN o.version END
			AS version_before
	FROM recsys_model m
		LEFT JOIN pg_catalog.pg_class c
			ON c.oid OPERATOR(pg_catalog.=) m.item_table
		LEFT JOIN pg_catalog.pg_namespace s
			ON s.oid OPERATOR(pg_catalog.=) c.relnamespace
		LEFT JOIN recsys_model_old o
			ON o.schema OPERATOR(pg_catalog.=) m.schema
			AND o.name OPERATOR(pg_catalog.=) m.name;
GRANT SELECT ON recsys_models TO PUBLIC;

CREATE VIEW recsys_training_log WITH (security_invoker) AS
	SELECT l.schema, l.name AS model, l.version, l.step, l.stage, l.epoch,
		l.train_loss, l.metric, l.value, l.seconds
	FROM recsys_log l
	ORDER BY l.schema, l.name, l.version, l.step;
GRANT SELECT ON recsys_training_log TO PUBLIC;

CREATE FUNCTION recsys_cancel(model pg_catalog.text)
	RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'recsys_cancel'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION recsys_progress_rows(
	OUT pid pg_catalog.int4,
	OUT schema pg_catalog.name,
	OUT model pg_catalog.name,
	OUT trainer pg_catalog.regrole,
	OUT phase pg_catalog.text,
	OUT epoch pg_catalog.int4,
	OUT epochs pg_catalog.int4,
	OUT batch pg_catalog.int8,
	OUT batches pg_catalog.int8,
	OUT loss pg_catalog.float8,
	OUT rate pg_catalog.float8,
	OUT started pg_catalog.timestamptz,
	OUT seconds pg_catalog.float8,
	OUT eta pg_catalog.float8,
	OUT problem pg_catalog.text)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'recsys_progress_rows'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 2;

CREATE VIEW recsys_progress WITH (security_invoker) AS
	SELECT pid, schema, model, trainer::pg_catalog.text AS trainer, phase, epoch,
		epochs, batch, batches, loss, rate, started, seconds, eta, problem
	FROM recsys_progress_rows();
GRANT SELECT ON recsys_progress TO PUBLIC;

-----------------------------------------------------------------------------
-- Serving (src/serve)
-----------------------------------------------------------------------------

-- The best items for a user. item_id is NULL when the items' keys are no
-- integers; source is model, features or popular. context: an object of
-- columns that were context_features, for a model with towers (hidden).
CREATE FUNCTION recommend(user_id bigint, k bigint DEFAULT 10,
	model text DEFAULT NULL, exclude_seen boolean DEFAULT true,
	context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint, OUT item text,
	OUT score double precision, OUT source text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION recommend(user_id text, k bigint DEFAULT 10,
	model text DEFAULT NULL, exclude_seen boolean DEFAULT true,
	context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint, OUT item text,
	OUT score double precision, OUT source text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- Whom to tell of an item: the users with the highest score.
CREATE FUNCTION recommend_users(item_id bigint, k bigint DEFAULT 10,
	model text DEFAULT NULL, exclude_seen boolean DEFAULT true,
	OUT rank integer, OUT user_id bigint, OUT user_key text,
	OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_users'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION recommend_users(item_id text, k bigint DEFAULT 10,
	model text DEFAULT NULL, exclude_seen boolean DEFAULT true,
	OUT rank integer, OUT user_id bigint, OUT user_key text,
	OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_users_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- Nearest by cosine, itself excluded.
CREATE FUNCTION similar_items(item_id bigint, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_similar_items'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION similar_items(item_id text, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_similar_items_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION similar_users(user_id bigint, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT user_id bigint,
	OUT user_key text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_similar_users'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION similar_users(user_id text, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT user_id bigint,
	OUT user_key text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_similar_users_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- The ranking stage's answer. Somebody or something that the model does not
-- know is taken for an average one. For rank_items write ARRAY[...] or a
-- cast: '{1,2}' alone could be bigint[] or text[]. context: an object of
-- columns of the ratings that the model was trained with as context_features;
-- what is left out counts as the average occasion. 22P02: a value of a wrong
-- type, 22023: an unknown column, 55000: the model knows no context.
CREATE FUNCTION predict(user_id bigint, item_id bigint,
	model text DEFAULT NULL, context jsonb DEFAULT NULL) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_predict'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;

CREATE FUNCTION predict(user_id bigint, item_id text,
	model text DEFAULT NULL, context jsonb DEFAULT NULL) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_predict_int_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;

CREATE FUNCTION predict(user_id text, item_id bigint,
	model text DEFAULT NULL, context jsonb DEFAULT NULL) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_predict_text_int'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;

CREATE FUNCTION predict(user_id text, item_id text,
	model text DEFAULT NULL, context jsonb DEFAULT NULL) RETURNS double precision
	AS 'MODULE_PATHNAME', 'recsys_predict_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;

CREATE FUNCTION rank_items(user_id bigint, items bigint[],
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION rank_items(user_id bigint, items text[],
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items_int_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION rank_items(user_id text, items bigint[],
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items_text_int'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION rank_items(user_id text, items text[],
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- The items as the text of an array: what clients send as a parameter without
-- a type ('{12,7}') is taken as this.
CREATE FUNCTION rank_items(user_id bigint, items text,
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items_int_literal'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION rank_items(user_id text, items text,
	model text DEFAULT NULL, context jsonb DEFAULT NULL,
	OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_rank_items_literal'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- Everybody's best items.
CREATE FUNCTION recommend_all(k bigint DEFAULT 10, model text DEFAULT NULL,
	exclude_seen boolean DEFAULT true, OUT user_id bigint, OUT user_key text,
	OUT rank integer, OUT item_id bigint, OUT item text,
	OUT score double precision) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_all'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;

-- For somebody of whom a history of items is all that is known.
CREATE FUNCTION recommend_from(items bigint[], k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision, OUT source text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_from'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION recommend_from(items text[], k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision, OUT source text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_from_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

CREATE FUNCTION recommend_from(items text, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision, OUT source text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_from_literal'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- For somebody of whom features are all that is known: an object with
-- columns of the users' table that the model was trained with.
CREATE FUNCTION recommend_for_profile(features jsonb, k bigint DEFAULT 10,
	model text DEFAULT NULL, OUT rank integer, OUT item_id bigint,
	OUT item text, OUT score double precision, OUT source text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_recommend_for_profile'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;

-- Vectors from features, for rows that came into the tables of users' and
-- items' features after the training; how many were added.
CREATE FUNCTION recsys_refresh(model text DEFAULT 'default',
	OUT users bigint, OUT items bigint)
	AS 'MODULE_PATHNAME', 'recsys_refresh'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;

-- How good a model is on a test table, of which the rows that the model's
-- `positive` takes are to be found, beside most popular or, for rmse and mae (of
-- clicks auc and log_loss), beside damped means; without a table what training found on the
-- interactions that it held out.
CREATE FUNCTION recsys_evaluate(model text DEFAULT 'default',
	test regclass DEFAULT NULL, ks integer[] DEFAULT '{1,5,10,20,50,100}',
	exclude_seen boolean DEFAULT true, OUT metric text, OUT k integer,
	OUT value double precision, OUT baseline double precision)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'recsys_evaluate'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 30;

-- The vector of one row, NULL when there is none: for ORDER BY
-- embedding <#> user_embedding(42).
CREATE FUNCTION user_embedding(user_id bigint, model text DEFAULT NULL)
	RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_user_embedding'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100;

CREATE FUNCTION user_embedding(user_id text, model text DEFAULT NULL)
	RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_user_embedding_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100;

CREATE FUNCTION item_embedding(item_id bigint, model text DEFAULT NULL)
	RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_item_embedding'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100;

CREATE FUNCTION item_embedding(item_id text, model text DEFAULT NULL)
	RETURNS vector
	AS 'MODULE_PATHNAME', 'recsys_item_embedding_text'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100;

-----------------------------------------------------------------------------
-- What psql's \df+, \dv+, \dt+ and \dT+ say of each
-----------------------------------------------------------------------------

COMMENT ON TYPE vector IS 'vector of real numbers, 1 to 16000 dimensions';
COMMENT ON TYPE recsys_training IS 'what recsys_train answers';
COMMENT ON TABLE recsys_model IS 'the list of models; see the view recsys_models';
COMMENT ON TABLE recsys_model_old IS 'the version before of each model, for recsys_rollback';
COMMENT ON TABLE recsys_log IS 'epochs of trainings; see the view recsys_training_log';
COMMENT ON VIEW recsys_models IS 'models, with their quality beside a baseline';
COMMENT ON VIEW recsys_training_log IS 'loss and held-out figures of trainings, epoch by epoch';
COMMENT ON VIEW recsys_progress IS 'trainings that run now, and those that failed in the background';
COMMENT ON FUNCTION recsys_index_check IS 'error unless the index ann is sound; with true: and has every row of its table';
COMMENT ON FUNCTION recsys_index_stats IS 'how full, balanced and fitting an index ann is, and advice';
COMMENT ON FUNCTION recsys_model_changed IS 'trigger on the tables of models: sessions drop what they cache of them';
COMMENT ON FUNCTION recsys_train IS 'train a model from a table of ratings, clicks or purchases';
COMMENT ON FUNCTION recsys_tune IS 'train a model with the options that do best on held-out rows';
COMMENT ON FUNCTION recsys_rollback IS 'back to the version of a model before; the present one is lost';
COMMENT ON FUNCTION recsys_drop IS 'remove a model and its tables';
COMMENT ON FUNCTION recsys_cancel IS 'stop the training of a model; false when there is none';
COMMENT ON FUNCTION recsys_progress_rows IS 'the rows of recsys_progress';
COMMENT ON FUNCTION recsys_refresh IS 'vectors for new rows of the tables of features; how many';
COMMENT ON FUNCTION recsys_evaluate IS 'measures on a test table beside a baseline; without a table those of the training';
COMMENT ON FUNCTION recommend(bigint, bigint, text, boolean, jsonb) IS 'the k best items for a user';
COMMENT ON FUNCTION recommend(text, bigint, text, boolean, jsonb) IS 'the k best items for a user';
COMMENT ON FUNCTION recommend_all IS 'the k best items of every user';
COMMENT ON FUNCTION recommend_from(bigint[], bigint, text) IS 'the k best items for a history of items';
COMMENT ON FUNCTION recommend_from(text[], bigint, text) IS 'the k best items for a history of items';
COMMENT ON FUNCTION recommend_from(text, bigint, text) IS 'the k best items for a history of items, ''{12,7}''';
COMMENT ON FUNCTION recommend_for_profile IS 'the k best items for features of a user';
COMMENT ON FUNCTION recommend_users(bigint, bigint, text, boolean) IS 'the k users who would like an item best';
COMMENT ON FUNCTION recommend_users(text, bigint, text, boolean) IS 'the k users who would like an item best';
COMMENT ON FUNCTION similar_items(bigint, bigint, text) IS 'the k nearest items, by cosine';
COMMENT ON FUNCTION similar_items(text, bigint, text) IS 'the k nearest items, by cosine';
COMMENT ON FUNCTION similar_users(bigint, bigint, text) IS 'the k nearest users, by cosine';
COMMENT ON FUNCTION similar_users(text, bigint, text) IS 'the k nearest users, by cosine';
COMMENT ON FUNCTION predict(bigint, bigint, text, jsonb) IS 'the expected rating';
COMMENT ON FUNCTION predict(bigint, text, text, jsonb) IS 'the expected rating';
COMMENT ON FUNCTION predict(text, bigint, text, jsonb) IS 'the expected rating';
COMMENT ON FUNCTION predict(text, text, text, jsonb) IS 'the expected rating';
COMMENT ON FUNCTION rank_items(bigint, bigint[], text, jsonb) IS 'items in the order of their expected ratings';
COMMENT ON FUNCTION rank_items(bigint, text[], text, jsonb) IS 'items in the order of their expected ratings';
COMMENT ON FUNCTION rank_items(text, bigint[], text, jsonb) IS 'items in the order of their expected ratings';
COMMENT ON FUNCTION rank_items(text, text[], text, jsonb) IS 'items in the order of their expected ratings';
COMMENT ON FUNCTION rank_items(bigint, text, text, jsonb) IS 'items (''{12,7}'') in the order of their expected ratings';
COMMENT ON FUNCTION rank_items(text, text, text, jsonb) IS 'items (''{12,7}'') in the order of their expected ratings';
COMMENT ON FUNCTION user_embedding(bigint, text) IS 'the vector of a user, NULL when there is none';
COMMENT ON FUNCTION user_embedding(text, text) IS 'the vector of a user, NULL when there is none';
COMMENT ON FUNCTION item_embedding(bigint, text) IS 'the vector of an item, NULL when there is none';
COMMENT ON FUNCTION item_embedding(text, text) IS 'the vector of an item, NULL when there is none';
