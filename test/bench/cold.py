"""Cold items: films that nobody rated in training, ranked by their features.

usage: cold.py [--runs N]
A fifth of MovieLens-100K's films is taken out of training with all their
ratings; genres and year are their features. Cold recall@20 ranks those films
alone for every user who rated one; warm recall@20 is that of the other films
on a tenth of the other ratings. Peers: neighbours by content (cosine of
features to the user's films), and LightFM by the features alone, once as they
are and once with every film's own indicator beside them."""

import argparse

import numpy as np

import sets
from common import Server, copy_rows, machine, median, table, timed
from learners import load_ratings, scores, train


def features(movies):
    """(items, features) of genres and decades of years, rows of length 1."""
    names = {}
    rows = []
    for _, _, year, genres in movies:
        words = genres.split() + ([f"year {year // 5}"] if year else [])
        rows.append([names.setdefault(w, len(names)) for w in words])
    f = np.zeros((len(movies), len(names)), "f4")
    for i, columns in enumerate(rows):
        f[i, columns] = 1 / np.sqrt(len(columns)) if columns else 0
    return f


def light_fm(x, f, d=32, epochs=30):
    """Scores by LightFM's WARP: items are sums of their features' vectors;
    x is the CSR training matrix, f (items, features)."""
    import scipy.sparse as sparse
    from lightfm import LightFM
    f = sparse.csr_matrix(f)
    m = LightFM(no_components=d, loss="warp", random_state=0)
    m.fit(x.astype("f4"), item_features=f, epochs=epochs, num_threads=2)
    bias, v = m.get_item_representations(f)
    return m.user_embeddings @ v.T + bias


def load_features(c, movies):
    c.execute("CREATE TABLE f (item_id int, genres text[], year int)")
    c.execute("CREATE TABLE g (item_id int, genres text, year int)")
    copy_rows(c, "g", ((i - 1, genres, year or 0)
                       for i, _, year, genres in movies),
              ["int4", "text", "int4"])
    c.execute("INSERT INTO f SELECT item_id, string_to_array(genres, ' '), "
              "nullif(year, 0) FROM g")


def measure(s, parts, users, items):
    """Cold and warm recall@20 of a dense matrix of scores."""
    warm_train, warm_test, cold_test, cold = parts
    s = np.array(s, "f4")
    among = np.full_like(s, -1e9)
    among[:, cold] = s[:, cold]
    rest = s.copy()
    rest[:, cold] = -1e9
    return (sets.top_n(lambda a, b: among[a:b], warm_train, cold_test, users,
                       items)[0],
            sets.top_n(lambda a, b: rest[a:b], warm_train, warm_test, users,
                       items)[0])


def cold(runs):
    ratings, _, _, movies = sets.ml100k()
    ratings = ratings - [1, 1, 0, 0]
    users, items = 943, len(movies)
    f = features(movies)
    found = {}
    for seed in range(1, runs + 1):
        g = np.random.default_rng(seed)
        out = g.permutation(items)[:items // 5]
        is_cold = np.isin(ratings[:, 1], out)
        held = g.random(len(ratings)) < .1
        rows = ratings[~is_cold & ~held]
        parts = (rows[:, :2], ratings[~is_cold & held][:, :2],
                 ratings[is_cold][:, :2], out)
        x = sets.matrix(rows, users, items)

        def note(name, seconds, s):
            found.setdefault(name, []).append(
                (*measure(s, parts, users, items), seconds))
        note("random", 0, g.random((users, items)))
        unit = f / np.maximum(1e-9, np.linalg.norm(f, axis=1))[:, None]
        note("neighbours by content", *timed(lambda: (x @ unit) @ unit.T))
        note("LightFM, features", *timed(light_fm, x, f))
        note("LightFM, features and films", *timed(
            light_fm, x, np.hstack([f, np.eye(items, dtype="f4")])))
        with Server() as s, s.connect() as c:
            c.execute("CREATE EXTENSION recsys")
            load_ratings(c, "r", rows)
            load_features(c, movies)
            t, _ = train(c, "r", stages="'{retrieval}'")
            note("recsys without features", t,
                 scores(c, "bench", users, items)(0, users))
            t, _ = train(c, "r", items="'f'", stages="'{retrieval}'")
            note("recsys", t, scores(c, "bench", users, items)(0, users))
            t, _ = train(c, "r", items="'f'", stages="'{retrieval}'",
                         hidden="'{64}'")
            note("recsys, hidden 64", t,
                 scores(c, "bench", users, items)(0, users))
    table(f"MovieLens-100K, a fifth of the films cold, medians of {runs} draws "
          "(wanted: above the peers, 5x random; warm not lower by 1 %)",
          ("learner", "cold recall@20", "warm recall@20", "seconds"),
          [(n, *(f"{median([r[k] for r in rows]):.4f}" for k in range(2)),
            f"{median([r[2] for r in rows]):.2f}")
           for n, rows in found.items()])


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=3)
    print(f"machine: {machine()}")
    cold(ap.parse_args().runs)
