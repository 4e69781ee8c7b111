"""The tutorial (preset 'tfrs') beside TensorFlow Recommenders, and serving.

usage: speed.py [--runs N] [--seeds N]
Every run trains the peer, then ours, on the same rows; figures are medians,
ratios are taken run by run. What is timed of ours is the whole SQL call:
reading, training, publishing."""

import argparse
import json
import os
import subprocess
import tempfile
import time

import numpy as np

import sets
from common import (HERE, Server, copy_pairs, copy_rows, machine, median,
                    peers_environment, ratios, table, timed)

TRAIN = ("SELECT * FROM recsys_train('{0}', model => '{1}', preset => 'tfrs',"
         " stages => '{{{2}}}', test_fraction => 0, seed => {3})")
EVALUATE = ("SELECT * FROM recsys_evaluate('{0}', '{1}', "
            "ks => '{{1,5,10,50,100}}', exclude_seen => false)")


def tutorial_rows(seed):
    """((n, 3) train, test: user, title's number, rating; titles)"""
    ratings, title, _, _ = sets.ml100k()
    names = sorted(set(title.values()))
    number = {t: i for i, t in enumerate(names)}
    rows = np.c_[ratings[:, 0], [number[title[i]] for i in ratings[:, 1]],
                 ratings[:, 2]].astype("f8")
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[order[:80000]], rows[order[80000:]], np.array(names)


def load(c, name, rows, titles):
    c.execute(f"CREATE TABLE {name} (user_id int, item_id text, rating real)")
    copy_rows(c, name, ((int(u), str(titles[int(i)]), float(r))
                        for u, i, r in rows), ["int4", "text", "float4"])
    c.execute(f"CREATE INDEX ON {name} (user_id); ANALYZE {name}")


def peer(folder, rows, seed):
    names = []
    for name, a in zip(("train", "test", "titles"), rows):
        names.append(f"{folder}/{name}.npy")
        np.save(names[-1], a)
    out = subprocess.run(
        [os.environ["RECSYS_BENCH_TF"], HERE + "/tfrs.py", *names, str(seed)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        env=peers_environment())
    return json.loads(out.stdout.decode().strip().split("\n")[-1])


def figure(rows, metric, k=None):
    """Of recsys_evaluate's rows (metric, k, value, baseline)."""
    return next(r[2] for r in rows if r[0] == metric and (r[1] or 0) == (k or 0))


def ours(server, seed):
    """Train and evaluate both stages in a session of its own."""
    out = {}
    with server.connect() as c:
        for stage, test in (("retrieval", "test_rows"),
                            ("ranking", "test_rows")):
            with server.memory() as m:
                out[stage], _ = timed(lambda: c.execute(
                    TRAIN.format("train_rows", stage, stage, seed)).fetchall())
            out[stage + "_mb"] = m.peak
            out[stage + "_evaluate"], rows = timed(
                lambda: c.execute(EVALUATE.format(stage, test)).fetchall())
            out[stage + "_rows"] = rows
    return out


def tutorial(runs):
    p, o = [], []
    rows = tutorial_rows(42)
    with Server() as s, tempfile.TemporaryDirectory() as folder:
        with s.connect() as c:
            c.execute("CREATE EXTENSION recsys")
            load(c, "train_rows", rows[0], rows[2])
            load(c, "test_rows", rows[1], rows[2])
        for i in range(runs):
            p.append(peer(folder, rows, 42 + i))
            o.append(ours(s, 42 + i))
        serving(s, p)
    lines = []
    for what, a, b, least in (
            ("retrieval, 3 epochs: fit", [x["retrieval"]["fit"] for x in p],
             [x["retrieval"] for x in o], "50x"),
            ("retrieval: evaluation of 20,000 rows",
             [x["retrieval"]["evaluate"] for x in p],
             [x["retrieval_evaluate"] for x in o], "20x"),
            ("ranking, 3 epochs: fit", [x["ranking"]["fit"] for x in p],
             [x["ranking"] for x in o], "3x")):
        lines.append((what, f"{median(a):.2f} s", f"{median(b):.3f} s",
                      ratios(b, a)[1], least))
    table(f"The tutorial on MovieLens-100K, {runs} runs",
          ("work", "TFRS", "recsys", "faster", "wanted"), lines)
    print(f"\npeak memory above the idle server: retrieval "
          f"{median([x['retrieval_mb'] for x in o]):.0f} MB, ranking "
          f"{median([x['ranking_mb'] for x in o]):.0f} MB")
    key = "factorized_top_k/top_{}_categorical_accuracy"
    lines = []
    for k in (1, 5, 10, 50, 100):
        name = key.format(k).split("/")[-1]
        lines.append((f"top-{k} accuracy",
                      f"{median([x['retrieval'][name] for x in p]):.4f}",
                      f"{median([figure(x['retrieval_rows'], 'accuracy', k) for x in o]):.4f}"))
    lines.append(("RMSE of the ranking model", "{:.4f}".format(median(
        [x["ranking"]["root_mean_squared_error"] for x in p])), "{:.4f}".format(
            median([figure(x["ranking_rows"], "rmse") for x in o]))))
    table("The tutorial: figures on the 20,000 test rows",
          ("measure", "TFRS", "recsys"), lines)


def latency(c, sql, keys):
    """(p50, p99) in ms of a prepared statement over keys."""
    times = []
    for k in keys[:20]:
        c.execute(sql, (k,), prepare=True).fetchall()
    for k in keys:
        times.append(timed(lambda: c.execute(
            sql, (k,), prepare=True).fetchall())[0])
    return np.percentile(times, 50) * 1e3, np.percentile(times, 99) * 1e3


def first_calls(server, sql):
    """Median ms of the first recommend of a session, and of the second,
    which packs the item vectors; over 15 sessions."""
    times = [], []
    for _ in range(15):
        with server.connect() as c:
            c.execute("SELECT 1").fetchall()
            for t in times:
                t.append(timed(lambda: c.execute(sql).fetchall())[0])
    return [f"{median(t) * 1e3:.1f} ms" for t in times]


def serving(s, p):
    """recommend on MovieLens-100K and over 38,048 items of 64 dimensions."""
    lines = []
    sql = "SELECT * FROM recommend(%s::bigint, 10, '{}')"
    with s.connect() as c:
        p50, p99 = latency(c, sql.format("retrieval"),
                           [int(k) for k in range(1, 900)])
        lines.append(("recommend(user, 10), MovieLens-100K", f"{p50:.3f} ms",
                      f"{p99:.3f} ms", "TFRS brute force {:.3f} ms".format(
                          median([x["query_ms"] for x in p])), "0.2 ms"))
        users, items = 31668, 38048
        pairs = sets.yelp2018()
        pairs = sets.power_law(users, items, 1300000) if pairs is None \
            else pairs[0]
        c.execute("CREATE TABLE large (user_id int, item_id int)")
        copy_pairs(c, "large", pairs)
        c.execute("CREATE INDEX ON large (user_id); ANALYZE large")
        c.execute("SELECT * FROM recsys_train('large', model => 'large', "
                  "preset => 'tfrs', dim => 64, epochs => 1, "
                  "test_fraction => 0)").fetchall()
        g = np.random.default_rng(3)
        keys = [int(k) for k in g.choice(np.unique(pairs[:, 0]), 500)]
        p50, p99 = latency(c, sql.format("large"), keys)
        v = g.standard_normal((items, 64), "f4")
        u = g.standard_normal((500, 64), "f4")
        exact = []
        for x in u:
            exact.append(timed(lambda: np.argpartition(v @ x, -10)[-10:])[0])
        lines.append((f"the same, {items} items of 64 dimensions",
                      f"{p50:.3f} ms", f"{p99:.3f} ms",
                      f"numpy, product and top 10: {median(exact) * 1e3:.3f} ms",
                      "1.2 ms"))
    for model, what in (("retrieval", "MovieLens-100K"),
                        ("large", f"{items} items")):
        first, second = first_calls(s, sql.format(model).replace("%s", "42"))
        lines.append((f"first call of a session, {what}", first, "",
                      f"second call: {second}", "20 ms"))
    table("Serving, one client, prepared statement",
          ("call", "p50", "p99", "beside", "wanted (p50)"), lines)


def seeds(n):
    """The tutorial's figures over shuffles: they must lie in its range."""
    lines = []
    with Server() as s:
        with s.connect() as c:
            c.execute("CREATE EXTENSION recsys")
        for seed in range(1, n + 1):
            train, test, titles = tutorial_rows(seed)
            with s.connect() as c:
                c.execute("DROP TABLE IF EXISTS train_rows, test_rows")
                load(c, "train_rows", train, titles)
                load(c, "test_rows", test, titles)
            o = ours(s, seed)
            lines.append((seed, *(f"{figure(o['retrieval_rows'], 'accuracy', k):.4f}"
                                  for k in (10, 100)),
                          f"{figure(o['ranking_rows'], 'rmse'):.4f}"))
    table("preset 'tfrs' over shuffles (wanted: .019-.024, .22-.24, 1.09-1.12)",
          ("seed", "top-10", "top-100", "RMSE"), lines)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--seeds", type=int, default=5)
    a = ap.parse_args()
    print(f"machine: {machine()}")
    t = time.time()
    tutorial(a.runs)
    seeds(a.seeds)
    print(f"\n({time.time() - t:.0f} s)")
