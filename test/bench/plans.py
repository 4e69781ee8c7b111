"""What the planner chooses beside what is fastest: the index ann, a sort, a
btree on the filter.

usage: plans.py [--sizes N,...] [--dims D,...] [--metrics ip,cosine]
                [--workers N] [--raw FILE]
Synthetic towers, cached and analyzed. For each number of rows, dimensions,
LIMIT, metric and filter (keeping all rows, 50 %, 1 %, .01 %; its column
without and with a btree) the plan that the planner takes by itself is timed
beside those it takes without the index, without sorts, and without bitmaps.
Listed are the queries whose plan takes more than 1.5 times as long as the
best one, and .2 ms longer. --raw: every plan with its cost and time, as JSON,
for who changes the costs in ann_cost.c."""

import argparse
import collections
import json

import numpy as np
import psycopg

import sets
from common import Server, copy_vectors, machine, table

OPERATORS = {"ip": "<#>", "cosine": "<=>"}
LIMITS = (1, 10, 100, 1000, 10000, None)
FILTERS = [(1, "none")] + [(share, column) for share in (.5, .01, .0001)
                           for column in ("plain", "btree")]
# settings under which the alternatives are the planner's choice
WAYS = {
    "by itself": (),
    "index": ("enable_seqscan", "enable_sort", "enable_bitmapscan"),
    "sort": ("enable_indexscan", "enable_bitmapscan"),
    "bitmap": ("enable_indexscan", "enable_seqscan"),
    "btree": ("enable_seqscan", "enable_bitmapscan"),
}
TIMEOUT = 4000  # ms


def text(v):
    return "[" + ",".join(map(repr, map(float, v))) + "]"


def prepare(c, n, d, metrics):
    """The table, its indexes; some queries."""
    v, u = sets.towers(n, d)
    c.execute("DROP TABLE IF EXISTS t, raw")
    c.execute(f"CREATE TABLE raw (id int, e vector({d}))")
    copy_vectors(c, "raw", np.ascontiguousarray(v, "f4"))
    c.execute("SELECT setseed(.5)")
    c.execute("CREATE TABLE t AS SELECT id, r::float4 AS plain, "
              "r::float4 AS btree, e FROM (SELECT *, random() AS r FROM raw "
              "OFFSET 0) x")
    c.execute("DROP TABLE raw")
    c.execute("CREATE INDEX ON t (btree)")
    for m in metrics:
        c.execute(f"CREATE INDEX ix_{m} ON t USING ann (e vector_{m}_ops)")
    c.execute("VACUUM ANALYZE t")
    return [text(q) for q in u[:4]]


def explain(c, off, sql, analyze):
    """(plan, ms)"""
    for name in off:
        c.execute(f"SET {name} = off")
    try:
        how = "ANALYZE, TIMING OFF, " if analyze else ""
        p = c.execute(f"EXPLAIN ({how}FORMAT JSON) {sql}").fetchone()[0][0]
        return p["Plan"], p.get("Execution Time")
    finally:
        for name in off:
            c.execute(f"RESET {name}")


def shape(plan):
    """The plan's nodes and indexes in a line, from the outermost but the
    limit."""
    words = []
    while True:
        if plan["Node Type"] != "Limit":
            words.append(plan["Node Type"].replace(" Scan", "")
                         + (" " + plan["Index Name"] if "Index Name" in plan
                            else ""))
        if "Plans" not in plan:
            return " < ".join(words)
        plan = plan["Plans"][0]


def milliseconds(c, off, statements):
    """Mean over some queries, after one that fills caches."""
    try:
        t = [explain(c, off, s, True)[1] for s in statements[:2]]
        if t[1] < 300:
            t += [explain(c, off, s, True)[1] for s in statements[2:]]
        return float(np.mean(t[1:]))
    except psycopg.errors.QueryCanceled:
        return float("inf")


def cell(c, metric, limit, share, column, queries):
    """(shape of the planner's choice, {shape: (ms, cost)})"""
    sql = [f"SELECT id FROM t {'' if share == 1 else f'WHERE {column} < {share}'}"
           f" ORDER BY e {OPERATORS[metric]} '{q}'"
           + (f" LIMIT {limit}" if limit else "") for q in queries]
    found = {}
    for off in WAYS.values():
        plan, _ = explain(c, off, sql[0], False)
        name = shape(plan)
        if name not in found:
            found[name] = (milliseconds(c, off, sql),
                           min(plan["Total Cost"] % 1e10, 1e9))
    return next(iter(found)), found


def sweep(c, n, d, metrics):
    queries = prepare(c, n, d, metrics)
    c.execute(f"SET statement_timeout = {TIMEOUT}")
    out = []
    for metric in metrics:
        for share, column in FILTERS:
            for limit in LIMITS:
                if limit and limit > n:
                    continue
                chosen, found = cell(c, metric, limit, share, column, queries)
                out.append(dict(n=n, d=d, metric=metric, limit=limit,
                                share=share, column=column, chosen=chosen,
                                found=found))
    c.execute("SET statement_timeout = 0")
    return out


def beside(x):
    """(ms of the choice, shape of the best plan, its ms)"""
    best = min(x["found"], key=lambda p: x["found"][p][0])
    return x["found"][x["chosen"]][0], best, x["found"][best][0]


def report(cells):
    worse = collections.Counter()
    rows = []
    for x in cells:
        ms, best, least = beside(x)
        for r in (1.5, 2, 5):
            worse[r] += ms > r * least and ms > least + .2
        if ms > 1.5 * least and ms > least + .2:
            rows.append([x["n"], x["d"], x["metric"], x["limit"] or "none",
                         "" if x["share"] == 1 else
                         f"{x['column']} {x['share'] * 100:g} %",
                         x["chosen"], f"{ms:.2f}", best, f"{least:.2f}",
                         f"{ms / least:.1f}"])
    rows.sort(key=lambda r: -float(r[-1]))
    table("Choices beyond 1.5 times the best plan", [
        "rows", "dim", "metric", "LIMIT", "filter", "chosen", "ms", "best",
        "ms", "times"], rows)
    print(f"\n{len(cells)} queries; beyond 1.5 times: {worse[1.5]}, beyond "
          f"2: {worse[2]}, beyond 5: {worse[5]}.")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--sizes", default="1000,5000,20000,100000,300000")
    a.add_argument("--dims", default="16,64,384")
    a.add_argument("--metrics", default="ip,cosine")
    a.add_argument("--workers", type=int, default=0)
    a.add_argument("--raw")
    a = a.parse_args()
    print("# Plans\n\n" + machine())
    cells = []
    with Server("max_parallel_workers_per_gather = "
                f"{a.workers}") as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        for n in map(int, a.sizes.split(",")):
            for d in map(int, a.dims.split(",")):
                cells += sweep(c, n, d, a.metrics.split(","))
                if a.raw:
                    with open(a.raw, "w") as f:
                        json.dump(cells, f)
    report(cells)


main()
