"""An index ann that began on an empty table, beside one built afresh on the
same rows: size, recall, time.

usage: fill.py [--batch N] [--vacuum N] [--rounds N] [--churn N] [ROWS:DIM ...]
Synthetic towers, inner product. Filled by one INSERT ... SELECT, and by
batches with a VACUUM after every so many; then VACUUM; then a fifth of the
rows is deleted, VACUUM, as many are inserted, --churn times. After each step
an index is built on the same rows, and both are asked in turns, --rounds
times: time of the processor that the backend took, from /proc, which other
work on the machine disturbs less than the clock; medians over rounds, and
the range of their ratio."""

import argparse
import sys

import numpy as np

import sets
from common import Server, copy_vectors, machine, median, table, timed

LIMITS = (10, 100)
TARGETS = (.99, 1)


def text(v):
    return "[" + ",".join(map(repr, map(float, v))) + "]"


class Pair:
    """Two tables of the same rows: t with the index that was filled, and
    fresh, a copy with one that was built."""

    def __init__(self, server, v, queries):
        self.v, self.queries = v, queries
        self.c = server.connect()
        self.c.execute("CREATE EXTENSION IF NOT EXISTS recsys")
        self.c.execute("DROP TABLE IF EXISTS t, fresh, source")
        for name in ("t", "source"):
            self.c.execute(f"CREATE TABLE {name} (id int, e vector"
                           f"({v.shape[1]}))")
        copy_vectors(self.c, "source", v)
        self.c.execute("CREATE INDEX ON source (id)")
        self.c.execute("VACUUM ANALYZE source")
        self.c.execute("CREATE INDEX filled ON t USING ann (e vector_ip_ops)")

    def statistics(self, index):
        return self.c.execute(
            "SELECT pg_relation_size(%s) / 1e6, cells, log_rows, rows, dead, "
            "generation FROM recsys_index_stats(%s)",
            (index, index)).fetchone()

    def refresh(self):
        self.c.execute("DROP TABLE IF EXISTS fresh")
        self.c.execute("CREATE TABLE fresh AS SELECT * FROM t")
        self.c.execute("CREATE INDEX fresh_e ON fresh USING ann "
                       "(e vector_ip_ops)")
        self.c.execute("VACUUM ANALYZE fresh")
        self.c.execute("ANALYZE t")


def cpu(pid):
    """seconds that a process has run"""
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e9


def ask(c, pid, name, queries, k):
    """(ids, ms of the processor a query, ms a query p50)"""
    sql = f"SELECT id FROM {name} ORDER BY e <#> %s::vector LIMIT {k}"
    for q in queries[:20]:
        c.execute(sql, (q,), prepare=True).fetchall()
    ids, times, before = [], [], cpu(pid)
    for q in queries:
        t, rows = timed(lambda: c.execute(sql, (q,), prepare=True).fetchall())
        times.append(t)
        ids.append([r[0] for r in rows])
    return ids, (cpu(pid) - before) / len(queries) * 1e3, median(times) * 1e3


def exact(pair, k):
    """best ids of each query, by numpy"""
    ids = np.array([r[0] for r in pair.c.execute("SELECT id FROM t")])
    x = pair.v[ids % len(pair.v)]
    out = []
    for q in pair.queries:
        s = x @ q
        part = np.argpartition(-s, k)[:k]
        out.append(set(ids[part].tolist()))
    return out


def recall(found, truth):
    return sum(len(set(a) & b) for a, b in zip(found, truth)) / \
        sum(map(len, truth))


def compare(server, pair, name, rounds):
    """lines of the table"""
    pair.refresh()
    queries = [text(q) for q in pair.queries]
    stats = {"t": pair.statistics("filled"), "fresh": pair.statistics("fresh_e")}
    lines = []
    with server.connect() as c:
        pid = c.execute("SELECT pg_backend_pid()").fetchone()[0]
        for k in LIMITS:
            truth = exact(pair, k)
            for target in TARGETS:
                c.execute(f"SET recsys.target_recall = {target}")
                used = {"t": [], "fresh": []}
                wall, got = {"t": [], "fresh": []}, {}
                for _ in range(rounds):
                    for which in used:
                        got[which], ms, p50 = ask(c, pid, which, queries, k)
                        used[which].append(ms)
                        wall[which].append(p50)
                ratio = sorted(a / b for a, b in zip(used["t"], used["fresh"]))
                lines.append(
                    [name, k, target]
                    + [f"{recall(got[w], truth):.4f}" for w in used]
                    + [f"{median(used[w]):.3f}" for w in used]
                    + [f"{median(ratio):.2f} ({ratio[0]:.2f} to "
                       f"{ratio[-1]:.2f})"]
                    + [f"{median(wall[w]):.3f}" for w in used])
    return lines, [[name, w] + [f"{s:.0f}" for s in stats[w]]
                   for w in ("t", "fresh")]


def fill_batches(pair, batch, vacuum):
    n = len(pair.v)
    for i in range(0, n, batch):
        pair.c.execute("INSERT INTO t SELECT * FROM source WHERE id >= %s "
                       "AND id < %s", (i, i + batch))
        if i // batch % vacuum == vacuum - 1:
            pair.c.execute("VACUUM t")


def churn(pair, cycle):
    """A fifth goes, and comes again under other ids and in another order."""
    n = len(pair.v)
    pair.c.execute(f"DELETE FROM t WHERE id % {n} % 5 = {cycle % 5}")
    t, _ = timed(pair.c.execute, "VACUUM t")
    pair.c.execute(f"INSERT INTO t SELECT id + {n} * {cycle + 1}, e FROM "
                   f"source WHERE id % 5 = {cycle % 5} ORDER BY hashint4(id)")
    return t


def one(n, d, a):
    v, u = sets.towers(n, d)
    v = np.ascontiguousarray(v, "f4")
    queries = u[np.random.default_rng(3).choice(len(u), 300, replace=False)]
    lines, sizes, said = [], [], []

    def add(server, pair, name):
        more = compare(server, pair, name, a.rounds)
        lines.extend(more[0])
        sizes.extend(more[1])
        for x in more[0] + more[1]:
            print(*x, file=sys.stderr)

    with Server("max_parallel_maintenance_workers = 0") as s:
        pair = Pair(s, v, queries)
        t, _ = timed(pair.c.execute, "INSERT INTO t SELECT * FROM source")
        said.append(f"INSERT ... SELECT: {n / t:.0f} rows/s")
        add(s, pair, "INSERT ... SELECT")
        t, _ = timed(pair.c.execute, "VACUUM t")
        said.append(f"VACUUM: {t:.1f} s")
        add(s, pair, "and VACUUM")
        pair = Pair(s, v, queries)
        t, _ = timed(fill_batches, pair, a.batch, a.vacuum)
        said.append(f"batches of {a.batch}, VACUUM after {a.vacuum} of them: "
                    f"{n / t:.0f} rows/s")
        add(s, pair, "batches")
        for i in range(a.churn):
            t = churn(pair, i)
            said.append(f"VACUUM of a fifth: {t:.1f} s")
            add(s, pair, f"a fifth deleted and inserted, {i + 1}")
    table(f"{n} x {d}, inner product: filled | built afresh", [
        "after", "LIMIT", "target", "recall", "recall", "cpu ms", "cpu ms",
        "ratio", "p50 ms", "p50 ms"], lines)
    table("Sizes", ["after", "index", "MB", "cells", "log", "rows", "dead",
                    "generation"], sizes)
    print("\n" + "; ".join(said) + ".")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("sets", nargs="*", default=["1000000:64"])
    a.add_argument("--batch", type=int, default=1000)
    a.add_argument("--vacuum", type=int, default=100)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--churn", type=int, default=3)
    a = a.parse_args()
    print("# An index that was filled\n\n" + machine())
    for name in a.sets:
        one(*map(int, name.split(":")), a)


main()
