-- what each learner takes, and what becomes of options that none takes or that lead astray
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', sqlstate || ' ' || sqlerrm, nullif(detail, ''), nullif(hint, ''));
END $$;
-- 300 users and 200 items of five kinds; 20 items more have nothing but features
CREATE TABLE lea_r AS SELECT u AS user_id, i AS item_id, (1 + (h / 100 + CASE WHEN u % 5 = i % 5 THEN 2 ELSE 0 END) % 5)::real AS rating
  FROM generate_series(1, 300) u, generate_series(1, 200) i, LATERAL (SELECT abs(hashint4(u * 1000 + i)) AS h) x
 WHERE h % 100 < CASE WHEN u % 5 = i % 5 THEN 35 ELSE 5 END;
CREATE TABLE lea_i AS SELECT i AS item_id, 'g' || i % 5 AS genre, 'The ' || i % 17 || ' of ' || i % 13 AS title FROM generate_series(1, 220) i;

-- more than 1024 dimensions, where towers were asked for in one way or another
SELECT (metrics->>'ndcg@10')::float8 > (baseline->>'ndcg@10')::float8 AS better
  FROM recsys_train('lea_r', 'lea', stages => '{retrieval}', dim => 1025, epochs => 2, options => '{"loss": "softmax"}');
SELECT dim, vector_dims(embedding), bool_and(abs(vector_norm(embedding) - 1) < 1e-4) AS unit FROM recsys_models, lea_item GROUP BY 1, 2;
SELECT status FROM recsys_train('lea_r', 'lea', stages => '{retrieval}', dim => 1100, epochs => 1, test_fraction => 0, options => '{"temperature": 0.2}');

-- options that no learner takes are named, those that ask for what it does anyway are not
CREATE FUNCTION train(rest text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT recsys_train(''lea_r'', ''lea'', user_col => ''user_id'', item_col => ''item_id'', rating_col => ''rating'', '
		|| CASE WHEN rest ~ 'dim' THEN '' ELSE 'dim => 4, ' END || CASE WHEN rest ~ 'epochs' THEN '' ELSE 'epochs => 1, ' END || rest || ')';
END $$;
SET client_min_messages = notice;
-- towers with layers
SELECT train($$stages => '{retrieval}', hidden => '{8}', options => '{"negatives": 50, "hard_negatives": 3, "remove_accidental": false, "normalize": false,
	"optimizer": "sgd", "temperature": 0.2, "logq": false, "patience": 3, "refit": false}'$$);
SELECT train($$stages => '{retrieval}', hidden => '{8}', batch_size => 512, learning_rate => 0.01, options => '{"negatives": 0, "hard_negatives": 0, "remove_accidental": true,
	"normalize": true, "optimizer": "adam", "refit": true}'$$);
-- cosine towers
SELECT train($$stages => '{retrieval}', options => '{"temperature": 0.2, "negatives": 50, "normalize": true, "optimizer": "adam", "hard_negatives": 0, "patience": 0}'$$);
SELECT train($$stages => '{retrieval}', options => '{"loss": "softmax", "cross_layers": 1, "min_rating": 1, "max_rating": 5, "implicit": true, "alpha0": 1}'$$);
-- the softmax over batches: also for negatives of the batch alone
SELECT train($$stages => '{retrieval}', options => '{"negatives": 0, "hard_negatives": 3, "logq": true, "remove_accidental": true, "normalize": true, "optimizer": "sgd", "patience": 2}'$$);
SELECT train($$stages => '{retrieval}', options => '{"loss": "softmax", "negatives": 0, "refit": true}'$$);
-- implicit ALS
SELECT train($$stages => '{retrieval}', hidden => '{8}', options => '{"loss": "ials", "patience": 3, "alpha0": 1, "regularization": 0.1, "refit": false}'$$);
-- ranking
SELECT train($$stages => '{ranking}', hidden => '{8}', options => '{"ranking_loss": "sgd", "cross_layers": 2, "patience": 3, "regularization": 0.1, "min_rating": 1}'$$);
SELECT train(format($$stages => '{ranking}', epochs => 20, hidden => '{8}', options => '{"ranking_loss": "%s", "cross_layers": 2, "patience": 3, "implicit": false}'$$, l)) FROM unnest(ARRAY['gibbs', 'ordinal']) l;
SELECT train($$stages => '{ranking}', hidden => '{8}', options => '{"ranking_loss": "mse", "cross_layers": 2, "patience": 3, "max_rating": 5, "refit": false, "optimizer": "sgd"}'$$);
-- features that a learner knows nothing of
SELECT train($$items => 'lea_i', stages => '{retrieval}', options => '{"loss": "softmax"}'$$);
SELECT train($$items => 'lea_i', preset => 'tfrs'$$);
SELECT train($$items => 'lea_i', stages => '{ranking}', options => '{"ranking_loss": "sgd"}'$$);
SELECT train($$items => 'lea_i', stages => '{retrieval}', hidden => '{8}'$$);
SET client_min_messages = warning;

-- patience 0 never stops early
CREATE TABLE lea_p (learner text, patience int, epochs int);
DO $$
DECLARE
	l text;
	o text;
BEGIN
	FOREACH l IN ARRAY ARRAY['', 'hidden => ''{8}'', ', 'batch_size => 500, learning_rate => 0.05, '] LOOP
		FOREACH o IN ARRAY ARRAY['', ', "patience": 0', ', "patience": 1'] LOOP
			PERFORM train(format('stages => ''{retrieval}'', dim => 16, epochs => 90, %s options => ''{"loss": "softmax", "refit": false%s}''', l, o));
			INSERT INTO lea_p SELECT l, nullif(right(o, 1), '')::int, max(epoch) FROM recsys_training_log WHERE model = 'lea' AND stage = 'retrieval'
				AND version = (SELECT version FROM recsys_models WHERE model = 'lea');
		END LOOP;
	END LOOP;
END $$;
SELECT learner, patience, epochs = 90 AS whole FROM lea_p ORDER BY learner COLLATE "C", patience;

-- zero does not stand for a search
SELECT n, try(format('train(%L)', format('stages => ''{retrieval}'', options => %L', n))) FROM unnest(ARRAY['{"alpha0": 0}', '{"regularization": 0}', '{"alpha0": 1e-30}',
	'{"regularization": -1}']) n;

-- what has come to nothing is no model, and the one before stays
SELECT version FROM recsys_models WHERE model = 'lea' \gset before_
SELECT try('train(' || quote_literal($$stages => '{retrieval}', dim => 64, epochs => 20, hidden => '{8,8,8}', learning_rate => 1000, test_fraction => 0, options => '{"temperature": 0.001}'$$) || ')');
SELECT try('train(' || quote_literal($$stages => '{retrieval}', epochs => 3, preset => 'tfrs', learning_rate => 1000, options => '{"optimizer": "sgd", "temperature": 0.001}'$$) || ')');
SELECT version = :before_version AS same FROM recsys_models WHERE model = 'lea';

SELECT recsys_drop('lea');
DROP TABLE lea_r, lea_i, lea_p;
DROP FUNCTION try, train;
