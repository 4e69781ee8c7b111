-- what who comes new brings along: tiny tables, names in another style, logs of events
-- of one row, two, and ratings that are all the same: no advice out of nothing
CREATE TABLE first_r AS SELECT 1 AS user_id, 1 AS item_id, 5 AS rating;
SELECT users, items, metrics FROM recsys_train('first_r', 'first');
SELECT * FROM recommend(1, 3, 'first');
SELECT rank, item_id, source FROM recommend(1, 3, 'first', exclude_seen => false);
SELECT * FROM recommend(2, 3, 'first');
SELECT predict(1, 1, 'first'), predict(2, 2, 'first');
INSERT INTO first_r VALUES (2, 2, 1);
SELECT users, items, metrics FROM recsys_train('first_r', 'first', options => '{"ranking_loss": "gibbs"}');
SELECT item_id, source FROM recommend(1, 3, 'first');
-- a table in place of another is not the one that was trained from
DROP TABLE first_r;
CREATE TABLE first_r AS SELECT 1 AS user_id, 1 AS item_id;
SELECT * FROM recommend(1, 3, 'first');
TRUNCATE first_r;
ALTER TABLE first_r ADD rating int;
INSERT INTO first_r SELECT u, i, 3 FROM generate_series(1, 30) u, generate_series(1, 20) i WHERE (u * i) % 3 = 0;
SELECT metrics->'rmse' AS rmse, baseline->'rmse' AS baseline FROM recsys_train('first_r', 'first', stages => '{ranking}');
SELECT predict(1, 1, 'first'), predict(99, 99, 'first');
-- RatedAt is rated_at
CREATE TABLE "FirstRatings" ("UserID" varchar(36), "ProductId" numeric(10,2), "Rating" numeric(3,1), "_CreatedAt" date, "Rated" date);
INSERT INTO "FirstRatings" SELECT 'u' || u, i, (u * i) % 10 / 2.0 + .5, date '2024-01-01' + u, NULL
  FROM generate_series(1, 40) u, generate_series(1, 30) i WHERE (u + i) % 2 = 0;
SELECT users, items, interactions FROM recsys_train('"FirstRatings"', 'first', preset => 'tfrs', epochs => 1);
-- a rating that is a text
ALTER TABLE "FirstRatings" ALTER "Rating" TYPE text;
SELECT users, items, interactions FROM recsys_train('"FirstRatings"', 'first', preset => 'tfrs', epochs => 1);
-- events: rows of one user and item are many, so it is not the interactions that fill the matrix
CREATE TABLE first_e AS SELECT u AS user_id, 'item ' || (u * 7 + i * i) % 1000 AS item_id
  FROM generate_series(1, 3000) u, generate_series(1, 18) i, generate_series(1, 3) n;
SELECT interactions, skipped FROM recsys_train('first_e', 'first', dim => 4, epochs => 1, test_fraction => 0);
-- what recsys_tune found is taken as it stands; an argument goes before it
SELECT interactions FROM recsys_train('first_e', 'first', options => '{"dim": 3, "epochs": 1, "alpha0": 0.5, "batch_size": 64}', test_fraction => 0);
SELECT dim, config->'alpha0' AS alpha0, config->'batch_size' AS batch FROM recsys_models WHERE model = 'first';
SELECT interactions FROM recsys_train('first_e', 'first', dim => 5, options => '{"dim": 3, "epochs": 1, "hidden": [4]}', test_fraction => 0, stages => '{retrieval}');
SELECT dim, config->'hidden' AS hidden, epochs FROM recsys_models WHERE model = 'first';
SELECT recsys_drop('first');
DROP TABLE first_r, first_e, "FirstRatings";
