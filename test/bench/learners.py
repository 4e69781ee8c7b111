"""Quality and time of the learners beside the peers, in the same run.

usage: learners.py [--runs N] [PART ...], parts: tutorial u1 yelp curves als
workers softmax large
Ours is trained by SQL and measured from what lies in the model's tables, by
the same code as the peers. Peers: EASE and implicit ALS in plain numpy
(quality), implicit and myFM and Surprise (quality and time)."""

import argparse
import contextlib
import os
import time

import numpy as np

import sets
import throughput
from common import Server, machine, median, ratios, table, timed
from trainers import (ease, ials, implicit_als, load_pairs, load_ratings,
                      scores, train)


# --- the tables

def top_10(score, train_pairs, test_pairs, users, items):
    """Share of test rows within the first ten, training pairs excluded."""
    s = np.array(score(0, users), "f4")
    s[sets.matrix(train_pairs, users, items).nonzero()] = -1e9
    own = s[test_pairs[:, 0], test_pairs[:, 1]]
    return float(((s[test_pairs[:, 0]] > own[:, None]).sum(1) < 10).mean())


def tutorial(runs):
    ratings, title, _, _ = sets.ml100k()
    number = {t: i for i, t in enumerate(sorted(set(title.values())))}
    users, items = 943, len(number)
    found = {}
    for seed in range(1, max(runs, 5) + 1):
        train_rows, test_rows = (
            np.c_[a[:, 0] - 1, [number[title[i]] for i in a[:, 1]], a[:, 2:]]
            for a in sets.tutorial_split(ratings, seed))
        x = sets.matrix(train_rows, users, items)
        popular = np.tile(np.asarray(x.sum(0)), (users, 1))

        def note(name, seconds, score):
            pairs = (train_rows[:, :2], test_rows[:, :2], users, items)
            found.setdefault(name, []).append((
                sets.top_n(score, *pairs)[0], sets.top_n(score, *pairs, 10)[1],
                top_10(score, *pairs), seconds))
        note("most popular", 0, lambda a, b: popular[a:b])
        note("EASE, 300", *timed(ease, x, 300))
        note("iALS d=32, numpy", *timed(ials, x, 32, .01, .3))
        with Server() as s, s.connect() as c:
            c.execute("CREATE EXTENSION recsys")
            load_ratings(c, "r", train_rows)
            t, row = train(c, "r", stages="'{retrieval}'")
            note("recsys, no options", t, scores(c, "bench", users, items))
    table(f"MovieLens-100K, the tutorial's split, medians of {max(runs, 5)} "
          "shuffles (wanted: .365 / .445 / .174 in 1.5 s)",
          ("learner", "recall@20", "NDCG@10", "top-10 accuracy", "seconds"),
          [(n, *(f"{median([r[j] for r in rows]):.4f}" for j in range(3)),
            f"{median([r[3] for r in rows]):.2f}")
           for n, rows in found.items()])


def one_hot(rows, users, items):
    import scipy.sparse as sparse
    n = len(rows)
    return sparse.csr_matrix(
        (np.ones(2 * n), (np.repeat(np.arange(n), 2),
                          np.c_[rows[:, 0], users + rows[:, 1]].ravel())),
        shape=(n, users + items))


def blocks(rows, x):
    """Users and items, each with who rated what: myFM's relation blocks."""
    import myfm
    import scipy.sparse as sparse

    def side(m):
        scale = 1 / np.sqrt(np.maximum(1, np.asarray(m.sum(1)).ravel()))
        return sparse.hstack([sparse.identity(m.shape[0]),
                              sparse.diags(scale) @ m]).tocsr()
    return [myfm.RelationBlock(list(rows[:, 0]), side(x)),
            myfm.RelationBlock(list(rows[:, 1]), side(x.T.tocsr()))]


def my_fm(train_rows, test_rows, x, implicit):
    import myfm
    users, items = x.shape
    if implicit:
        sweeps, groups = 300, [users, items, items, users]

        def of(rows):
            return {"X": None, "X_rel": blocks(rows, x)}
    else:
        sweeps, groups = 200, [users, items]

        def of(rows):
            return {"X": one_hot(rows, users, items)}
    with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):
        t, m = timed(lambda: myfm.MyFMRegressor(rank=10, random_seed=42).fit(
            y=train_rows[:, 2], n_iter=sweeps, n_kept_samples=sweeps - 20,
            group_shapes=groups, **of(train_rows)))
        return t, m.predict(**of(test_rows))


def surprise_svd(train_rows, test_rows):
    import pandas as pd
    import surprise
    frame = pd.DataFrame(train_rows[:, :3], columns=["u", "i", "r"])
    full = surprise.Dataset.load_from_df(
        frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    m = surprise.SVD(random_state=42)
    t, _ = timed(m.fit, full)
    return t, np.array([p.est for p in m.test(
        [tuple(r[:3]) for r in test_rows])])


def gibbs(sweeps, implicit):
    """Options for myFM's model: as many sweeps and dimensions, one worker."""
    return {"dim": 10, "epochs": sweeps, "workers": 1, "test_fraction": 0,
            "options": f"""'{{"ranking_loss": "gibbs", "implicit": {implicit}}}'"""}


GIBBS = (("recsys, the same MF, one worker", gibbs(200, "false")),
         ("recsys, the same blocks, one worker", gibbs(300, "true")),
         ("recsys, no options", {}))


def u1(runs):
    ratings = sets.ml100k()[0] - [1, 1, 0, 0]
    found = {}
    for fold in range(1, runs + 1):
        train_rows, test_rows = sets.fold(ratings, fold)
        x = sets.matrix(train_rows, 943, 1682)

        def note(name, seconds, predicted):
            error = np.asarray(predicted, float) - test_rows[:, 2]
            found.setdefault(name, []).append(
                (float(np.sqrt((error ** 2).mean())), seconds))
        note("Surprise SVD", *surprise_svd(train_rows, test_rows))
        note("myFM, MF d=10, 200 sweeps",
             *my_fm(train_rows, test_rows, x, False))
        note("myFM, implicit blocks, 300 sweeps",
             *my_fm(train_rows, test_rows, x, True))
        with Server() as s, s.connect() as c:
            c.execute("CREATE EXTENSION recsys")
            load_ratings(c, "r", train_rows)
            load_ratings(c, "t", test_rows)
            for name, options in GIBBS:
                t, row = train(c, "r", stages="'{ranking}'", **options)
                got = c.execute("SELECT user_id, item_id, "
                                "predict(user_id, item_id, 'bench') FROM t")
                p = {(u, i): y for u, i, y in got.fetchall()}
                mean = train_rows[:, 2].mean()
                note(name, t, [mean if p[u, i] is None else p[u, i]
                               for u, i in test_rows[:, :2].tolist()])
    table(f"MovieLens-100K, rating prediction, folds u1..u{runs} "
          "(wanted on u1: .885 in 5 s)",
          ("learner", "RMSE u1", "mean RMSE", "seconds"),
          [(n, f"{r[0][0]:.4f}", f"{np.mean([e for e, _ in r]):.4f}",
            f"{median([t for _, t in r]):.2f}") for n, r in found.items()])


def yelp(runs):
    data = sets.yelp2018()
    if data is None:
        print("\n(Yelp2018 is not there: see sets.py. Left out.)")
        return
    users, items = sets.YELP_USERS, sets.YELP_ITEMS
    x = sets.matrix(data[0], users, items)
    lines = []
    for name, cg in (("implicit ALS d=64, 15 iterations, CG", True),
                     ("implicit ALS d=64, 15 iterations, Cholesky", False)):
        t, score = implicit_als(x, 64, 15, cg)
        lines.append((name, f"{t:.1f}", *(
            f"{m:.4f}" for m in sets.top_n(score, *data, users, items))))
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        load_pairs(c, "r", data[0])
        for name, options in (("recsys, dim 64", {"dim": 64}),
                              ("recsys, preset best, dim 64",
                               {"dim": 64, "preset": "'best'"})):
            t, row = train(c, "r", **options)
            lines.append((name, f"{t:.1f}", *(
                f"{m:.4f}" for m in sets.top_n(
                    scores(c, "bench", users, items), *data, users, items))))
    table("Yelp2018, NGCF split (wanted: .066 in 60 s; .0715 in 15 min)",
          ("learner", "seconds", "recall@20", "NDCG@20"), lines)


def als(runs):
    """Equal epochs and dimensions, exact solves: time alone."""
    data = sets.yelp2018()
    users, items = sets.YELP_USERS, sets.YELP_ITEMS
    pairs = data[0] if data else sets.power_law(users, items, 1300000)
    x = sets.matrix(pairs, users, items)
    lines = []
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        load_pairs(c, "r", pairs)
        for d in (64, 128):
            cg, cholesky, own, call = [], [], [], []
            for run in range(runs):
                cg.append(implicit_als(x, d, 5, True)[0])
                cholesky.append(implicit_als(x, d, 5, False)[0])
                call.append(train(
                    c, "r", dim=d, epochs=5, test_fraction=0,
                    model=f"m{d}_{run}",
                    options="'{\"loss\": \"ials\"}'")[0])
                own.append(throughput.log(c, f"m{d}_{run}")[-1][2])
            lines.append((d, f"{median(cg):.2f} s", f"{median(cholesky):.2f} s",
                          f"{median(own):.2f} s", ratios(own, cg)[1],
                          ratios(own, cholesky)[1], f"{median(call):.2f} s",
                          ratios(call, cg)[1]))
    table(f"ALS, 5 epochs on {len(pairs)} interactions (wanted: not slower "
          "than CG, 5x Cholesky); the peer's matrix is made beforehand, ours "
          "within the training; the whole call also reads the table and "
          "publishes the vectors with their indexes",
          ("d", "implicit CG", "implicit Cholesky", "recsys, exact",
           "against CG", "against Cholesky", "whole call", "against CG"),
          lines)


def workers(runs):
    """Speed-up from one worker to two."""
    lines = []
    pairs = sets.power_law(31668, 38048, 1300000)
    ratings = sets.ml100k()[0]
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        load_pairs(c, "p", pairs)
        load_ratings(c, "r", ratings)
        for name, source, options in (
                ("ALS", "p", {"options": "'{\"loss\": \"ials\"}'"}),
                ("softmax", "p", {"options": "'{\"loss\": \"softmax\"}'"}),
                ("towers or ALS, no options", "p", {}),
                ("Gibbs", "r", {"stages": "'{ranking}'"})):
            one, two = [], []
            for _ in range(runs):
                one.append(train(c, source, workers=1, **options)[0])
                two.append(train(c, source, workers=2, **options)[0])
            lines.append((name, f"{median(one):.2f} s", f"{median(two):.2f} s",
                          ratios(two, one)[1]))
    table("Workers, whole calls as they are by default (wanted: 1.7x)",
          ("learner", "1", "2", "faster"), lines)


if __name__ == "__main__":
    parts = {f.__name__: f for f in (
        tutorial, u1, yelp, throughput.curves, als, workers,
        throughput.softmax, throughput.large)}
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("part", nargs="*", metavar="PART", help=" ".join(parts))
    a = ap.parse_args()
    print(f"machine: {machine()}")
    t0 = time.time()
    for part in a.part or parts:
        parts[part](a.runs)
    print(f"\n({time.time() - t0:.0f} s)")
