-- Operator classes are checked as those of other access methods are.
SELECT opcname, amvalidate(c.oid)
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod AND amname = 'ann'
ORDER BY opcname;

CREATE FUNCTION ann_valid(class text) RETURNS boolean
LANGUAGE sql AS $$
	SELECT amvalidate(c.oid) FROM pg_opclass c
	JOIN pg_am a ON a.oid = opcmethod AND amname = 'ann' WHERE opcname = class
$$;

-- an operator for searches
CREATE OPERATOR CLASS ann_search_ops FOR TYPE vector USING ann AS
	OPERATOR 1 = (vector, vector),
	FUNCTION 1 l2_distance(vector, vector),
	FUNCTION 2 recsys_ann_metric_l2(internal);
SELECT ann_valid('ann_search_ops');

-- another strategy, a family that sorts another type
CREATE OPERATOR CLASS ann_strategy_ops FOR TYPE vector USING ann AS
	OPERATOR 3 <-> (vector, vector) FOR ORDER BY pg_catalog.integer_ops,
	FUNCTION 1 l2_distance(vector, vector),
	FUNCTION 2 recsys_ann_metric_l2(internal);
SELECT ann_valid('ann_strategy_ops');

-- a distance that is not the operator's
CREATE OPERATOR CLASS ann_other_ops FOR TYPE vector USING ann AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 cosine_distance(vector, vector),
	FUNCTION 2 recsys_ann_metric_l2(internal);
SELECT ann_valid('ann_other_ops');

-- functions of the wrong kind
CREATE OPERATOR CLASS ann_signature_ops FOR TYPE vector USING ann AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 vector_add(vector, vector),
	FUNCTION 2 vector_dims(vector);
SELECT ann_valid('ann_signature_ops');

-- parts that are missing
CREATE OPERATOR CLASS ann_metric_ops FOR TYPE vector USING ann AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY pg_catalog.float_ops,
	FUNCTION 1 l2_distance(vector, vector);
SELECT ann_valid('ann_metric_ops');
CREATE OPERATOR CLASS ann_empty_ops FOR TYPE vector USING ann AS
	STORAGE vector;
SELECT ann_valid('ann_empty_ops');

SELECT amvalidate(0);
DROP OPERATOR FAMILY ann_search_ops USING ann;
DROP OPERATOR FAMILY ann_strategy_ops USING ann;
DROP OPERATOR FAMILY ann_other_ops USING ann;
DROP OPERATOR FAMILY ann_signature_ops USING ann;
DROP OPERATOR FAMILY ann_metric_ops USING ann;
DROP OPERATOR FAMILY ann_empty_ops USING ann;
DROP FUNCTION ann_valid;
