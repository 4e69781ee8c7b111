"""The tutorial as TensorFlow Recommenders runs it: one run, figures as JSON.

usage: tfrs.py TRAIN.npy TEST.npy TITLES.npy [SEED] [RANKING_EPOCHS]
TRAIN and TEST are (n, 3): user, title's number, rating; TITLES the texts."""

import json
import os
import sys
import time

os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_recommenders as tfrs  # noqa: E402

train, test, titles = (np.load(f) for f in sys.argv[1:4])
tf.keras.utils.set_random_seed(int(sys.argv[4]) if len(sys.argv) > 4 else 42)
ranking_epochs = int(sys.argv[5]) if len(sys.argv) > 5 else 3
user_ids = np.unique(np.r_[train[:, 0], test[:, 0]].astype(int).astype(str))


def dataset(a):
    return tf.data.Dataset.from_tensor_slices({
        "user": a[:, 0].astype(int).astype(str),
        "title": titles[a[:, 1].astype(int)],
        "rating": a[:, 2].astype("f4")})


def tower(vocabulary):
    return tf.keras.Sequential([
        tf.keras.layers.StringLookup(vocabulary=vocabulary, mask_token=None),
        tf.keras.layers.Embedding(len(vocabulary) + 1, 32)])


class Retrieval(tfrs.Model):
    def __init__(self):
        super().__init__()
        self.users, self.items = tower(user_ids), tower(titles)
        candidates = tf.data.Dataset.from_tensor_slices(titles)
        self.task = tfrs.tasks.Retrieval(metrics=tfrs.metrics.FactorizedTopK(
            candidates.batch(128).map(self.items)))

    def compute_loss(self, x, training=False):
        return self.task(self.users(x["user"]), self.items(x["title"]),
                         compute_metrics=not training)


class Ranking(tfrs.Model):
    def __init__(self):
        super().__init__()
        self.users, self.items = tower(user_ids), tower(titles)
        self.layers_ = tf.keras.Sequential([
            tf.keras.layers.Dense(256, "relu"),
            tf.keras.layers.Dense(64, "relu"), tf.keras.layers.Dense(1)])
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.MeanSquaredError(),
            metrics=[tf.keras.metrics.RootMeanSquaredError()])

    def compute_loss(self, x, training=False):
        both = tf.concat([self.users(x["user"]), self.items(x["title"])], 1)
        return self.task(labels=x["rating"], predictions=self.layers_(both))


def measure(model, epochs):
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    t0 = time.perf_counter()
    model.fit(train_data, epochs=epochs, verbose=0)
    t1 = time.perf_counter()
    figures = model.evaluate(test_data, return_dict=True, verbose=0)
    t2 = time.perf_counter()
    return {"fit": t1 - t0, "evaluate": t2 - t1,
            **{k.split("/")[-1]: float(v) for k, v in figures.items()}}


train_data = dataset(train).shuffle(100_000).batch(8192).cache()
test_data = dataset(test).batch(4096).cache()
retrieval = Retrieval()
out = {"retrieval": measure(retrieval, 3)}
out["ranking"] = measure(Ranking(), ranking_epochs)

index = tfrs.layers.factorized_top_k.BruteForce(retrieval.users, k=10)
index.index_from_dataset(tf.data.Dataset.from_tensor_slices(titles).batch(128)
                         .map(lambda x: (x, retrieval.items(x))))
query = tf.function(lambda u: index(u))
query(tf.constant(["42"]))
times = []
for k in range(300):
    t0 = time.perf_counter()
    query(tf.constant([str(k + 1)]))
    times.append(time.perf_counter() - t0)
out["query_ms"] = float(np.median(times)) * 1e3
print(json.dumps(out))
