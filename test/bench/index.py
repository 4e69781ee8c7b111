"""Top-k from SQL: the index ann beside pgvector's hnsw and ivfflat.

usage: index.py [--runs N] [--k 10,100] [--inserts N] [SET ...]
SET is yelp (towers of implicit's ALS; needs Yelp2018, see sets.py) or
syn:N:D[:SEED], with /ip (default), /l2 or /cosine after it and /unit for
normalised vectors. One server, a database and an index each, one client; the
contenders' queries take turns, run by run, and ratios are taken run by run.
Recall counts rows as near as the true k-th. Also draws the curve of recall
and speed (an SVG) into RECSYS_BENCH_OUT when matplotlib is there."""

import argparse
import os
import time

import numpy as np

import sets
from common import Server, copy_vectors, machine, median, table, timed

OPERATORS = {"ip": ("<#>", "vector_ip_ops"), "l2": ("<->", "vector_l2_ops"),
             "cosine": ("<=>", "vector_cosine_ops")}
# access method, extension, setting, values; each in a database of its own
CONTENDERS = (
    ("hnsw", "vector", "hnsw.ef_search", (40, 100, 200, 400, 1000)),
    ("ivfflat", "vector", "ivfflat.probes", (5, 20, 50)),
    ("ann", "recsys", "recsys.target_recall", (.7, .8, .9, .95, .99, 1)))


def text(v):
    return "[" + ",".join(map(repr, map(float, v))) + "]"


def data(name):
    """(items, 1000 queries) of a set's name."""
    base, *rest = name.split("/")
    if base == "yelp":
        towers = sets.yelp_towers()
    else:
        towers = sets.towers(*map(int, base.split(":")[1:]))
    if towers is None:
        return None
    v, u = towers
    if "unit" in rest:
        v, u = (x / np.linalg.norm(x, axis=1)[:, None] for x in (v, u))
    chosen = np.random.default_rng(3).choice(len(u), 1000, replace=False)
    return np.ascontiguousarray(v, "f4"), np.ascontiguousarray(u[chosen], "f4")


class Truth:
    """Nearness of queries to items, and to their k-th best one."""

    def __init__(self, v, q, op):
        self.v, self.q, self.op = v, q, op
        self.square = (v.astype("f8") ** 2).sum(1)
        self.norm = np.sqrt(self.square)
        self.least = {}

    def near(self, i, rows):
        s = self.v[rows] @ self.q[i]
        if self.op == "l2":
            return -np.sqrt(np.maximum(
                self.square[rows] + (self.q[i].astype("f8") ** 2).sum() - 2 * s, 0))
        if self.op == "cosine":
            return s / (self.norm[rows] * np.linalg.norm(self.q[i]))
        return s

    def hits(self, i, k, ids):
        if (i, k) not in self.least:
            self.least[i, k] = np.partition(self.near(i, slice(None)), -k)[-k]
        least = self.least[i, k]
        ids = [x for x in ids if x < len(self.v)]
        return int((self.near(i, ids) >= least - 1e-5 * abs(least)).sum())


def build(c, index, ops, rows):
    options = f" WITH (lists = {max(10, int(rows ** .5))})" \
        if index == "ivfflat" else ""
    t, _ = timed(lambda: c.execute(
        f"CREATE INDEX {index}_ix ON t USING {index} (e {ops}){options}"))
    size = c.execute(f"SELECT pg_relation_size('{index}_ix')").fetchone()[0]
    return t, size / 1e6


def ask(c, sql, queries):
    """(ids of each query, its seconds)"""
    for q in queries[:50]:
        c.execute(sql, (q,), prepare=True).fetchall()
    ids, times = [], []
    for q in queries:
        t = time.perf_counter()
        rows = c.execute(sql, (q,), prepare=True).fetchall()
        times.append(time.perf_counter() - t)
        ids.append([r[0] for r in rows])
    return ids, np.array(times)


def floor(c, queries):
    """p50 in ms of a query that finds 10 rows by a key."""
    sql = "SELECT id FROM t WHERE id >= 7 AND %s::vector IS NOT NULL " \
          "ORDER BY id LIMIT 10"
    return np.percentile(ask(c, sql, queries)[1], 50) * 1e3


def insert(c, v, count, first):
    t, _ = timed(lambda: [c.execute(
        "INSERT INTO t VALUES (%s, %s)", (first + i, text(v[i % len(v)] * 1.001)),
        prepare=True) for i in range(count)])
    return count / t


def one_set(name, runs, ks, inserts):
    got = data(name)
    if got is None:
        print(f"\n({name}: Yelp2018 is not there, see sets.py. Left out.)")
        return
    v, q = got
    op = next((x for x in name.split("/") if x in OPERATORS), "ip")
    sign, ops = OPERATORS[op]
    truth, queries = Truth(v, q, op), [text(x) for x in q]
    with Server("max_parallel_maintenance_workers = 2") as s:
        connections, made = {}, []
        for n, extension, _, _ in CONTENDERS:
            with s.connect() as c:
                c.execute(f"CREATE DATABASE {n}")
            c = connections[n] = s.connect(n)
            c.execute(f"CREATE EXTENSION {extension}")
            c.execute(f"CREATE TABLE t (id int PRIMARY KEY, e vector({v.shape[1]}))")
            copy_vectors(c, "t", v)
            c.execute("VACUUM ANALYZE t")
            t, size = build(c, n, ops, len(v))
            made.append([n, f"{t:.2f}", f"{size:.1f}"])
        lowest = floor(connections["ann"], queries)
        curves = measure(connections, sign, queries, truth, runs, ks)
        if inserts:
            for row in made:
                row.append("{:.0f}".format(
                    insert(connections[row[0]], v, inserts, 2 * len(v))))
    report(name, v, op, made, curves, lowest, ks, inserts)
    draw(name, curves, ks)


def measure(connections, sign, queries, truth, runs, ks):
    """{(contender, value, k): [(recall, rows, qps, p50, p99) of each run]}"""
    out = {}
    for k in ks:
        sql = f"SELECT id FROM t ORDER BY e {sign} %s::vector LIMIT {k}"
        for _ in range(runs):
            for n, _, setting, values in CONTENDERS:
                c = connections[n]
                for value in values:
                    c.execute(f"SET {setting} = {value}")
                    ids, times = ask(c, sql, queries)
                    key = (n, value, k)
                    recall = out[key][0][0] if key in out else sum(
                        truth.hits(i, k, x) for i, x in enumerate(ids)
                    ) / (k * len(ids))
                    out.setdefault(key, []).append((
                        recall, np.mean([len(x) for x in ids]),
                        1 / times.mean(), *np.percentile(times, (50, 99)) * 1e3))
    return out


def report(name, v, op, made, curves, lowest, ks, inserts):
    table(f"{name}: {len(v)} x {v.shape[1]}, {op}: build",
          ("index", "build s", "MB") + (("inserts/s",) if inserts else ()),
          made)
    peers = {k: curves[("hnsw", 200, k)] for k in ks}
    lines = []
    for (n, value, k), runs in curves.items():
        m = [median(x) for x in zip(*runs)]
        ratio = median([a[2] / b[2] for a, b in zip(runs, peers[k])])
        lines.append((n, value, k, f"{m[0]:.4f}", f"{m[1]:.1f}", f"{m[2]:.0f}",
                      f"{m[3]:.3f}", f"{m[4]:.3f}", f"{ratio:.1f}x"))
    table(f"{name}: queries, one client (SQL's floor: p50 {lowest:.3f} ms)",
          ("index", "setting", "k", "recall", "rows", "queries/s", "p50 ms",
           "p99 ms", "against hnsw 200"), lines)


def draw(name, curves, ks):
    folder = os.environ.get("RECSYS_BENCH_OUT")
    try:
        import matplotlib
        matplotlib.use("svg")
        import matplotlib.pyplot as plt
    except ImportError:
        return
    if not folder:
        return
    figure, axes = plt.subplots(1, len(ks), figsize=(5 * len(ks), 4),
                                squeeze=False)
    for ax, k in zip(axes[0], ks):
        for n in ("hnsw", "ivfflat", "ann"):
            points = [(median([r[0] for r in runs]),
                       median([r[2] for r in runs]))
                      for (m, _, kk), runs in curves.items()
                      if m == n and kk == k]
            ax.plot(*zip(*sorted(points)), "o-", label=n)
        ax.set(xlabel=f"recall@{k}", ylabel="queries/s", yscale="log",
               title=name)
        ax.legend()
    figure.tight_layout()
    figure.savefig(os.path.join(
        folder, "index-" + "".join(x if x.isalnum() else "-" for x in name)
        + ".svg"))


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--k", default="10,100")
    ap.add_argument("--inserts", type=int, default=1000)
    ap.add_argument("set", nargs="*", metavar="SET",
                    default=["yelp", "yelp/cosine/unit", "yelp/l2",
                             "syn:1000000:64"])
    a = ap.parse_args()
    print(f"machine: {machine()}")
    t0 = time.time()
    for one in a.set:
        one_set(one, a.runs, [int(k) for k in a.k.split(",")], a.inserts)
    print(f"\n({time.time() - t0:.0f} s)")
