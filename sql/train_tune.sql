-- recsys_tune: trials by successive halving, the best becomes the next version
SET client_min_messages = warning;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', sqlstate || ' ' || sqlerrm, nullif(hint, ''));
END $$;
-- two kinds of users and of items: one factor and the biases explain most
CREATE TABLE tune_r AS
SELECT u AS user_id, i AS item_id,
	(3 + CASE WHEN u % 2 = i % 2 THEN 1 ELSE -1 END + u % 3 * 0.4 - 0.4 + abs(hashint4(u * 977 + i)) % 100 / 200.0)::real AS rating
FROM generate_series(1, 60) u, generate_series(1, 50) i
WHERE abs(hashint4(u * 1000 + i)) % 10 < 4;
CREATE TABLE tune_u AS SELECT u AS user_id, 'g' || u % 3 AS kind, u % 7 AS other FROM generate_series(1, 60) u;
SELECT version FROM recsys_train('tune_r', 'tuned', stages => '{ranking}', dim => 2, epochs => 20, hidden => '{8,4}',
	users => 'tune_u', user_features => '{kind}', seed => 5, positive => '> 3', options => '{"ranking_loss": "gibbs"}');
SELECT config FROM recsys_models;
-- all nine combinations and what was there; the best comes first
CREATE TABLE first_run AS
SELECT row_number() OVER () AS place, * FROM recsys_tune('tuned', '{"dim": [1, 2, 3], "ranking_loss": ["gibbs", "sgd", "mse"], "learning_rate": 0.05}', 20);
SELECT count(*), count(DISTINCT params), min(trial), max(trial), min(measured), max(measured) FROM first_run;
SELECT place, best FROM first_run WHERE best;
SELECT count(*) FROM first_run WHERE value < (SELECT value FROM first_run WHERE best) AND epochs >= 20;
SELECT count(*) FROM first_run WHERE epochs < 20 AND trial = 0;
SELECT params FROM first_run WHERE trial = 0;
SELECT value > 0 AND value < 2 AS sane, seconds > 0 AS timed FROM first_run GROUP BY 1, 2;
-- the model has its options, keeps the rest, and the log has every training
SELECT m.version, m.config @> f.params AS taken, m.config ->> 'users' AS users, m.config -> 'user_features' AS features, m.config ->> 'positive' AS positive
FROM recsys_models m, first_run f WHERE f.best;
SELECT count(DISTINCT stage) AS trials, count(*) AS trainings, count(DISTINCT metric) AS metrics
FROM recsys_training_log WHERE model = 'tuned' AND stage LIKE 'tune%';
SELECT count(*) FROM tuned_user WHERE ranking IS NULL;
SELECT recsys_rollback('tuned');
SELECT config ->> 'dim' AS dim, version FROM recsys_models;
-- the same seed gives the same trials and figures
CREATE TABLE second_run AS
SELECT row_number() OVER () AS place, * FROM recsys_tune('tuned', '{"dim": [1, 2, 3], "ranking_loss": ["gibbs", "sgd", "mse"], "learning_rate": 0.05}', 20);
SELECT count(*) FROM first_run a JOIN second_run b USING (place, trial, params, epochs, value);
-- fewer trials than combinations: different ones
SELECT count(*), count(DISTINCT params) FROM recsys_tune('tuned', '{"dim": [1, 2, 3, 4], "hidden": [[], [4], [8, 4]], "ranking_loss": "mse", "epochs": 2}', 5);
SELECT version, config ->> 'epochs' AS epochs FROM recsys_models;
-- a rate that no learner survives: its trials are marked, the model lives
SELECT trial, value IS NULL AS diverged, best FROM recsys_tune('tuned', '{"ranking_loss": "sgd", "learning_rate": 1000}', 2);
-- trials that cannot be trained come to nothing, the others go on
\set VERBOSITY terse
SET recsys.train_memory = '16MB';
SELECT params, epochs > 0 AS trained, value IS NULL AS nothing FROM recsys_tune('tuned', '{"dim": [3, 15999], "ranking_loss": "mse", "epochs": 20}', 4) WHERE trial > 0 ORDER BY trial;
SELECT params, value IS NULL AS nothing FROM recsys_tune('tuned', '{"ranking_loss": "sgd", "learning_rate": [0.05, 1000], "epochs": 3}', 4) WHERE trial > 0 ORDER BY trial;
-- ... also when that is what the model has: but one must work
UPDATE recsys_model SET config = config || '{"dim": 15999, "ranking_loss": "mse"}' WHERE name = 'tuned';
SELECT try($$SELECT recsys_tune('tuned', '{"dim": [15998, 15999]}')$$);
SELECT trial, value IS NULL AS nothing, best FROM recsys_tune('tuned', '{"dim": 2, "epochs": 20}');
RESET recsys.train_memory;
-- what does not have the metric; clicks
SELECT version FROM recsys_train('tune_r', 'clicks', user_col => 'user_id', item_col => 'item_id', rating_col => 'rating', stages => '{ranking}', dim => 2, epochs => 20,
	positive => '>= 3', options => '{"ranking_loss": "binary"}');
SELECT params, value IS NULL AS nothing, epochs FROM recsys_tune('clicks', '{"ranking_loss": ["binary", "ordinal", "mse"], "epochs": 20}', 4) WHERE trial > 0 ORDER BY trial;
SELECT config ->> 'ranking_loss' AS ranking_loss FROM recsys_models WHERE model = 'clicks';
-- what recsys_train refuses is no trial, and what is there twice is one
SELECT params FROM recsys_tune('tuned', '{"min_rating": [4.5, 2], "max_rating": [1, 3], "epochs": 20}') WHERE trial > 0;
SELECT count(*) FROM recsys_tune('tuned', '{"dim": [2, 2, 2.0, 2], "hidden": [[8], [8]], "epochs": 20}');
SELECT count(*) FROM recsys_tune('tuned', '{"dim": [2, 3, 2, 3], "min_rating": [0, 9], "max_rating": [5, 8], "epochs": 20}', 5);
SELECT try($$SELECT recsys_tune('tuned', '{"min_rating": [4.5], "max_rating": [1, 3]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"history": [5, 10]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"history": [5, 10]}', wait => false)$$);
\set VERBOSITY default
SELECT recsys_drop('clicks');
-- the other stage, and another metric
SELECT version FROM recsys_train('tune_r', 'both', dim => 4, epochs => 3);
SELECT count(*), count(value), min(measured) FROM recsys_tune('both', '{"loss": "ials", "regularization": [0.01, 0.1]}', 4);
SELECT count(*), count(value), min(measured) FROM recsys_tune('both', '{"regularization": [0.01, 0.1]}', 4, metric => 'recall@20');
SELECT count(*), min(measured) FROM recsys_tune('both', '{"ranking_loss": ["gibbs", "sgd"]}', 4, metric => 'mae');
SELECT count(*), bool_and(params ?| ARRAY['ranking_loss', 'implicit']), bool_or(params ? 'dim') AS of_both FROM recsys_tune('both', trials => 3, metric => 'rmse') WHERE trial > 0;
-- what the other stage would need of the winner counts, too
\set VERBOSITY terse
SET recsys.train_memory = '64MB';
SELECT params, epochs > 0 AS trained, value IS NULL AS nothing FROM recsys_tune('both', '{"dim": [4, 15999], "ranking_loss": "gibbs", "epochs": 20}', 4, metric => 'rmse') WHERE trial > 0 ORDER BY trial;
RESET recsys.train_memory;
\set VERBOSITY default
SELECT stages FROM recsys_models WHERE model = 'both';
-- wrong arguments
SELECT try($$SELECT recsys_tune('nobody')$$);
SELECT try($$SELECT recsys_tune('tuned', '{}')$$);
SELECT try($$SELECT recsys_tune('tuned', '[1]')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"dims": [1]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"dim": []}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"dim": [4, 0]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"dim": ["4"]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"hidden": [[4], [0]]}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"hidden": 4}')$$);
SELECT try($$SELECT recsys_tune('tuned', '{"seed": [1]}')$$);
SELECT try($$SELECT recsys_tune('tuned', trials => 0)$$);
SELECT try($$SELECT recsys_tune('tuned', trials => NULL)$$);
SELECT try($$SELECT recsys_tune('tuned', metric => 'ndcg@10')$$);
SELECT try($$SELECT recsys_tune('tuned', metric => 'auc')$$);
SELECT try($$SELECT recsys_tune('tuned', metric => 'rmes')$$);
SELECT try($$SELECT recsys_tune('both', metric => 'ndgc@10')$$);
SELECT try($$SELECT recsys_tune('both', metric => 'quality of it')$$);
SELECT try($$SELECT recsys_tune('both', metric => '')$$);
SELECT try($$SELECT recsys_tune('both', metric => 'ndgc@10', wait => false)$$);
-- every metric of a training is one to tune by
SELECT string_agg(m, ' ' ORDER BY m) FROM recsys_models, jsonb_object_keys(metrics) m
WHERE model = 'both' AND try(format($$SELECT recsys_tune('both', '{}', metric => %L)$$, m)) !~ 'space must be';
SELECT version FROM recsys_models WHERE model = 'tuned';
-- a table that was there and is not; the ratings themselves
DROP TABLE tune_u;
SELECT try($$SELECT recsys_tune('tuned', trials => 1)$$);
DROP TABLE tune_r;
SELECT try($$SELECT recsys_tune('both', trials => 1)$$);
SELECT recsys_drop('tuned'), recsys_drop('both');
DROP TABLE first_run, second_run;
DROP FUNCTION try;
