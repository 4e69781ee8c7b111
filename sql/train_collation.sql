-- keys under a nondeterministic collation are refused (needs a server with ICU)
SET client_min_messages = warning;
CREATE COLLATION rat_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE rat_ci_table (user_id text COLLATE rat_ci, item_id int, rating real);
INSERT INTO rat_ci_table SELECT u, i, 1 FROM generate_series(1, 30) u, generate_series(1, 9) i;
SELECT * FROM recsys_train('rat_ci_table', 'rat_ci_model', epochs => 1);
SELECT version FROM recsys_train('rat_ci_table', 'rat_ci_model', epochs => 1,
	user_col => 'item_id', item_col => 'user_id');
DROP TABLE rat_ci_table;
DROP COLLATION rat_ci;
