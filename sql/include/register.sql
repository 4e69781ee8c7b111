-- The catalog's row of a model whose tables were made by hand: NAME_user,
-- NAME_item, NAME_param, trained from the table ratings (u, i and mostly r).
CREATE FUNCTION register(model name, user_type regtype, item_type regtype,
	dim int, ranking int DEFAULT 0, ratings regclass DEFAULT 'ratings',
	rating_col name DEFAULT 'r', version int DEFAULT 1) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO recsys_model VALUES (current_schema(), $1, $8,
		'2020-01-01', $6, 'u', 'i', $7, '',
		quote_ident($1 || '_user')::regclass,
		quote_ident($1 || '_item')::regclass,
		quote_ident($1 || '_param')::regclass,
		$2, $3, $4, $5, 40, 60, 800, 1, 0, '{retrieval,ranking}', '{}', '{}',
		'{}', '{}', '', '-', '-',
		(SELECT max(atttypmod) FROM pg_attribute WHERE attname = 'ranking'
			AND attrelid = quote_ident($1 || '_user')::regclass),
		(SELECT max(atttypmod) FROM pg_attribute WHERE attname = 'ranking'
			AND attrelid = quote_ident($1 || '_item')::regclass));
$$;
