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

SELECT recsys_drop('lea');
DROP TABLE lea_r, lea_i;
DROP FUNCTION try;
