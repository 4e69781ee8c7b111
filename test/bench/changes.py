"""The index ann under change, beside pgvector's hnsw: building, single-row
inserts, VACUUM after deleting a fifth of the rows, filling up again.

usage: changes.py [--inserts N] [--limit SECONDS] [ROWS:DIM ...]
Synthetic towers, inner product. After the cycle the changed index is
compared with one that is built afresh on the same rows: size, recall of the
top 10, p50. The peer's VACUUM is stopped after --limit seconds; then the
ratio is a lower bound."""

import argparse

import numpy as np
import psycopg

import sets
from common import Server, copy_vectors, machine, median, table, timed

CONTENDERS = (("hnsw", "vector"), ("ann", "recsys"))


def text(v):
    return "[" + ",".join(map(repr, map(float, v))) + "]"


def prepare(s, name, extension, v):
    """(connection, seconds of the build)"""
    with s.connect() as c:
        c.execute(f"CREATE DATABASE {name}")
    c = s.connect(name)
    c.execute(f"CREATE EXTENSION {extension}")
    c.execute(f"CREATE TABLE t (id int, e vector({v.shape[1]}))")
    copy_vectors(c, "t", v)
    c.execute("VACUUM ANALYZE t")
    t, _ = timed(c.execute, f"CREATE INDEX ix ON t USING {name} "
                 "(e vector_ip_ops)")
    return c, t


def size(c):
    return c.execute("SELECT pg_relation_size('ix')").fetchone()[0] / 1e6


def inserts(c, v, n, first):
    """seconds of each of n single-row inserts"""
    rows = [text(v[i % len(v)] * 1.001) for i in range(n)]
    return [timed(lambda: c.execute("INSERT INTO t VALUES (%s, %s)",
                                    (first + i, r), prepare=True))[0]
            for i, r in enumerate(rows)]


def vacuum(c, limit):
    """seconds of VACUUM, and whether it came to its end"""
    c.execute(f"SET statement_timeout = '{limit}s'")

    def run():
        try:
            c.execute("VACUUM t")
            return True
        except psycopg.errors.QueryCanceled:
            return False
    t, ended = timed(run)
    c.execute("SET statement_timeout = 0")
    return t, ended


def answers(c, queries, recall):
    """(ids of the top 10 of each query, p50 in ms)"""
    c.execute(f"SET recsys.target_recall = {recall}")
    sql = "SELECT id FROM t ORDER BY e <#> %s::vector LIMIT 10"
    for q in queries[:50]:
        c.execute(sql, (q,), prepare=True).fetchall()
    ids, times = [], []
    for q in queries:
        t, rows = timed(lambda: c.execute(sql, (q,), prepare=True).fetchall())
        times.append(t)
        ids.append({r[0] for r in rows})
    return ids, np.percentile(times, 50) * 1e3


def share(a, b):
    return sum(len(x & y) for x, y in zip(a, b)) / sum(map(len, b))


def cycle(c, v, queries):
    """Fill up what was deleted; the changed index against a fresh one."""
    n = len(v)
    changed = np.concatenate([v[::5] * np.float32(1.0001)])
    t, _ = timed(copy_vectors, c, "t", changed, n * 2)
    rows = [["after the cycle", f"{size(c):.1f}"]]
    got = {}
    for recall in (.99, 1):
        got[recall], p50 = answers(c, queries, recall)
        rows[0].append(f"{p50:.3f}")
    exact = got[1]
    rows[0].append(f"{share(got[.99], exact):.4f}")
    c.execute("REINDEX INDEX ix")
    rows.append(["built afresh", f"{size(c):.1f}"])
    for recall in (.99, 1):
        got[recall], p50 = answers(c, queries, recall)
        rows[1].append(f"{p50:.3f}")
    rows[1].append(f"{share(got[.99], exact):.4f}")
    same = share(got[1], exact)
    return rows, same, len(changed) / t


def one(n, d, count, limit):
    v, u = sets.towers(n, d)
    v = np.ascontiguousarray(v, "f4")
    chosen = np.random.default_rng(3).choice(len(u), 500, replace=False)
    queries = [text(q) for q in u[chosen]]
    lines = []
    with Server("max_parallel_maintenance_workers = 2") as s:
        made = {}
        for name, extension in CONTENDERS:
            made[name] = prepare(s, name, extension, v)
        single = {name: [] for name in made}
        for r in range(3):
            for name, (c, _) in made.items():
                single[name] += inserts(c, v, count, n * (r + 3))
        for name, (c, built) in made.items():
            before = size(c)
            c.execute(f"DELETE FROM t WHERE id >= {n} OR id % 5 = 0")
            t, ended = vacuum(c, limit)
            lines.append([name, f"{built:.1f}", f"{before:.1f}",
                          f"{1 / np.mean(single[name]):.0f}",
                          f"{median(single[name]) * 1e3:.3f}",
                          f"{t:.2f}" if ended else f"> {t:.0f}"])
        rows, same, rate = cycle(made["ann"][0], v, queries)
    table(f"{n} x {d}, inner product, after {3 * count} inserts",
          ["index", "build s", "MB", "inserts/s", "insert p50 ms",
           "VACUUM of a fifth, s"], lines)
    table("A fifth deleted, vacuumed, inserted again", [
        "ann", "MB", "p50 ms at .99", "p50 ms at 1", "recall at .99"], rows)
    print(f"\nExact answers of both agree: {same:.6f}. Rows a second by COPY "
          f"into the index: {rate:.0f}.")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("sets", nargs="*", default=["1000000:64"])
    a.add_argument("--inserts", type=int, default=1000)
    a.add_argument("--limit", type=int, default=100)
    a = a.parse_args()
    print("# The index under change\n\n" + machine())
    for name in a.sets:
        one(*map(int, name.split(":")), a.inserts, a.limit)


main()
