-- features of users and items in the rating network, and clicks
SET client_min_messages = warning;
CREATE TABLE net_i AS SELECT i AS item_id, i % 6 AS kind FROM generate_series(1, 600) i;
CREATE TABLE net_u AS SELECT u AS user_id, u % 3 AS grp FROM generate_series(1, 90) u;
CREATE TABLE net_r AS SELECT u AS user_id, i AS item_id, ((u + i) % 3 = 0) <> (h / 15 % 20 = 0) AS rating
  FROM generate_series(1, 89) u, generate_series(1, 590) i, LATERAL (SELECT abs(hashint4(u * 1000 + i)) AS h) x WHERE h % 15 = 0;
SELECT (metrics->>'auc')::float8 > 0.9 AS auc, (metrics->>'log_loss')::float8 < 0.4 AS log_loss
  FROM recsys_train('net_r', 'net', stages => '{ranking}', users => 'net_u', items => 'net_i', epochs => 30, batch_size => 256, learning_rate => 0.01,
	workers => 1, options => '{"ranking_loss": "binary", "optimizer": "adam", "cross_layers": 2}');
SELECT (metrics->>'auc')::float8 < 0.9 AS less_without
  FROM recsys_train('net_r', 'net_no', stages => '{ranking}', epochs => 30, batch_size => 256, learning_rate => 0.01,
	workers => 1, options => '{"ranking_loss": "binary", "optimizer": "adam", "cross_layers": 2}');
-- rows that nobody rated, and those that come later, by their features
SELECT predict(3, 597, 'net') > 0.5 AS liked, predict(3, 598, 'net') < 0.5 AS not_liked, predict(90, 597, 'net') > 0.5 AS new_user;
INSERT INTO net_i VALUES (1003, 3), (1004, 4);
SELECT predict(3, 1003, 'net') > 0.5 AS liked, predict(3, 1004, 'net') < 0.5 AS not_liked;
SELECT bool_and(ranking = ranking AND ranking <#> ranking <= 0) AS no_nan, count(*) FROM net_item;
-- degenerate features
CREATE TABLE net_d AS SELECT item_id, 'x'::text AS constant, NULL::int AS empty, item_id || ' n' AS name, 'NaN'::float8 AS nan FROM net_i;
SELECT status FROM recsys_train('net_r', 'net_d', stages => '{ranking}', items => 'net_d', epochs => 2, workers => 1, options => '{"ranking_loss": "binary"}');
SELECT bool_and(x = x) AS no_nan FROM net_d_param, unnest(value) x;
-- stars as clicks: above 0 without positive, which all of them are
CREATE TABLE net_s AS SELECT user_id, item_id, 1 + item_id % 5 AS stars FROM net_r;
SELECT recsys_train('net_s', 'net_s', stages => '{ranking}', epochs => 2, options => '{"ranking_loss": "binary"}');
SELECT recsys_train('net_s', 'net_s', stages => '{ranking}', epochs => 2, positive => '> 5', options => '{"ranking_loss": "binary"}');
SELECT status FROM recsys_train('net_s', 'net_s', stages => '{ranking}', epochs => 40, batch_size => 256, positive => '>= 4', workers => 1, options => '{"ranking_loss": "binary"}');
SELECT item_id % 5 >= 3 AS liked, avg(predict(3, item_id, 'net_s')) > 0.5 AS high FROM net_s GROUP BY 1 ORDER BY 1;
SELECT recsys_drop(m) FROM unnest(ARRAY['net', 'net_no', 'net_d', 'net_s']) m;
DROP TABLE net_i, net_u, net_r, net_d, net_s;
