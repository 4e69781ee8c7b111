"""The data sets of the benchmarks and how they are split.

MovieLens-100K comes by test/demo/fetch.py. Yelp2018 (the NGCF split: train.txt
and test.txt, a line a user: user item item ...) cannot be fetched from a
package registry: its folder or .tar.gz is named by RECSYS_YELP2018, and what
needs it is left out when there is none. Everything is cached in
RECSYS_BENCH_CACHE."""

import os
import sys
import tarfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "demo"))
import fetch  # noqa: E402

CACHE = os.environ.get("RECSYS_BENCH_CACHE") or os.path.join(
    HERE, "..", "..", ".build", "cache")
YELP_USERS, YELP_ITEMS = 31668, 38048


def ml100k():
    """(ratings (n, 4): user, item, rating, time; title of each item id;
    users; movies)."""
    folder = os.path.join(CACHE, "ml-100k")
    os.makedirs(folder, exist_ok=True)
    ratings, movies, users = fetch.fetch(folder)
    return np.array(ratings), {m[0]: m[1] for m in movies}, users, movies


def tutorial_split(ratings, seed=42):
    """All ratings shuffled; 80,000 to train, 20,000 to test."""
    order = np.random.default_rng(seed).permutation(len(ratings))
    return ratings[order[:80000]], ratings[order[80000:]]


def fold(ratings, i):
    """The published split u<i>.base / u<i>.test, i = 1..5: blocks of 20,000
    rows in the file's order."""
    test = np.zeros(len(ratings), bool)
    test[(i - 1) * 20000:i * 20000] = True
    return ratings[~test], ratings[test]


def yelp2018():
    """(train pairs, test pairs), or None when the data is not there."""
    cached = os.path.join(CACHE, "yelp2018.npz")
    if not os.path.exists(cached):
        where = os.environ.get("RECSYS_YELP2018", "")
        if not os.path.exists(where):
            return None
        parts = {}
        for part in ("train", "test"):
            parts[part] = _pairs(_text(where, part + ".txt"))
        os.makedirs(CACHE, exist_ok=True)
        np.savez(cached, **parts)
    z = np.load(cached)
    return z["train"], z["test"]


def _text(where, name):
    if os.path.isdir(where):
        with open(os.path.join(where, name)) as f:
            return f.read()
    with tarfile.open(where) as t:
        member = next(m for m in t.getmembers()
                      if os.path.basename(m.name) == name)
        return t.extractfile(member).read().decode()


def _pairs(text):
    return np.array([(int(ids[0]), int(i)) for ids in
                     map(str.split, text.split("\n")) if ids for i in ids[1:]])


def power_law(users, items, n, seed=7):
    """(n, 2) generated interactions: popular items are popular, users differ
    in activity, and tastes lie in 16 clusters. Distinct pairs, fewer than n
    where draws collide."""
    g = np.random.default_rng(seed)
    activity = g.lognormal(0, 1, users)
    popularity = 1 / (1 + np.arange(items)) ** .8
    cluster = g.integers(0, 16, items)
    taste = g.integers(0, 16, users)
    u = g.choice(users, n, p=activity / activity.sum())
    out = np.empty(n, np.int64)
    own = g.random(n) < .6
    out[~own] = g.choice(items, (~own).sum(),
                         p=popularity / popularity.sum())
    for c in range(16):
        mine = np.flatnonzero(own & (taste[u] == c))
        among = np.flatnonzero(cluster == c)
        p = popularity[among]
        out[mine] = g.choice(among, len(mine), p=p / p.sum())
    return np.unique(np.c_[u, out], axis=0)


def towers(n, d, seed=7):
    """(items (n, d), users (20000, d)) as trained towers look: a falling
    spectrum, clusters, log-normal norms; users from another mixture."""
    g = np.random.default_rng(seed)
    spectrum = 1 / np.sqrt(1 + np.arange(d))
    centres = g.standard_normal((max(8, n // 500), d)) * spectrum
    v = .7 * (centres[g.integers(0, len(centres), n)]
              + g.standard_normal((n, d)) * spectrum)
    v *= np.exp(.35 * g.standard_normal((n, 1)))
    u = .5 * centres[g.integers(0, len(centres), 20000)] \
        + g.standard_normal((20000, d)) * spectrum
    return v.astype("f4"), u.astype("f4")


def yelp_towers():
    """(items, users) of implicit's ALS on Yelp2018, 64 dimensions, or None."""
    cached = os.path.join(CACHE, "yelp_towers.npz")
    if not os.path.exists(cached):
        data = yelp2018()
        if data is None:
            return None
        from implicit.als import AlternatingLeastSquares
        m = AlternatingLeastSquares(factors=64, regularization=.05, alpha=20.,
                                    iterations=15, use_cg=False,
                                    random_state=1)
        m.fit(matrix(data[0], YELP_USERS, YELP_ITEMS), show_progress=False)
        np.savez(cached, items=m.item_factors, users=m.user_factors)
    z = np.load(cached)
    return z["items"].astype("f4"), z["users"].astype("f4")


def matrix(pairs, users, items):
    """A CSR matrix of ones."""
    import scipy.sparse as sparse
    x = sparse.csr_matrix((np.ones(len(pairs), "f4"),
                           (pairs[:, 0], pairs[:, 1])), shape=(users, items))
    x.data[:] = 1
    return x


def top_n(score, train, test, users, items, k=20):
    """(recall@k, NDCG@k), means over users with test rows, training pairs
    excluded. score(a, b) is the dense block of users a .. b-1."""
    x, t = matrix(train, users, items), matrix(test, users, items)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0], np.cumsum(discount)])
    recall, ndcg = [], []
    for a in range(0, users, 1000):
        b = min(users, a + 1000)
        s = np.array(score(a, b), "f4")
        s[x[a:b].nonzero()] = -np.inf
        top = np.argpartition(-s, k, 1)[:, :k]
        order = np.argsort(-np.take_along_axis(s, top, 1), 1, kind="stable")
        top = np.take_along_axis(top, order, 1)
        held = t[a:b].toarray() > 0
        hit, n = np.take_along_axis(held, top, 1), held.sum(1)
        some = n > 0
        recall += list((hit.sum(1) / np.maximum(n, 1))[some])
        ndcg += list(((hit * discount).sum(1)
                      / ideal[np.minimum(np.maximum(n, 1), k)])[some])
    return float(np.mean(recall)), float(np.mean(ndcg))
