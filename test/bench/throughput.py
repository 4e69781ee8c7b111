"""Parts of learners.py about time: examples a second against the bound that
matrix products set, tens of millions of interactions, quality against time.

Time of an epoch is taken from recsys_training_log, between the first epoch
and the last: reading and publishing are not in it, as they are not in the
peer's. Pictures are SVG files in RECSYS_BENCH_OUT."""

import os

import numpy as np

import sets
from common import Server, median, ratios, table, timed
from trainers import implicit_als, load_pairs, scores, train

OUT = os.environ.get("RECSYS_BENCH_OUT") or os.getcwd()


def log(c, model="bench"):
    """[(epoch, value, seconds)] of the retrieval stage's newest training;
    epochs of the refit are left out."""
    rows = c.execute(
        "SELECT epoch, value, seconds FROM recsys_training_log l WHERE "
        "model = %s AND stage = 'retrieval' AND version = (SELECT "
        "max(version) FROM recsys_training_log WHERE model = l.model) "
        "ORDER BY step", (model,)).fetchall()
    first = [r for k, r in enumerate(rows)
             if k == 0 or r[0] > max(x[0] for x in rows[:k])]
    return first


def epoch_seconds(c, model="bench"):
    rows = log(c, model)
    return (rows[-1][2] - rows[0][2]) / (rows[-1][0] - rows[0][0])


# --- softmax against the products that it is made of

def gemm_seconds(rows, candidates, d, repeat=20):
    """Of the three products of one batch, on one thread."""
    from threadpoolctl import threadpool_limits
    g = np.random.default_rng(1)
    q, v = (g.standard_normal((n, d)).astype("f4")
            for n in (rows, candidates))
    s, dq = np.empty((rows, candidates), "f4"), np.empty((rows, d), "f4")
    dv = np.empty((candidates, d), "f4")

    def once():
        np.matmul(q, v.T, out=s)
        np.matmul(s, v, out=dq)
        np.matmul(s.T, q, out=dv)
    with threadpool_limits(1):
        once()
        return timed(lambda: [once() for _ in range(repeat)])[0] / repeat


def softmax(runs):
    data = sets.yelp2018()
    pairs = data[0] if data else sets.power_law(31668, 38048, 1300000)
    batch, negatives, d = 1024, 800, 64
    rates, bounds = [], []
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        load_pairs(c, "r", pairs)
        for _ in range(runs):
            bound = gemm_seconds(batch, batch + negatives, d)
            train(c, "r", dim=d, batch_size=batch, epochs=2, workers=1,
                  test_fraction=0, options=(
                      f"'{{\"loss\": \"softmax\", \"negatives\": {negatives}"
                      ", \"logq\": true, \"remove_accidental\": true, "
                      "\"normalize\": true, \"temperature\": 0.12}'"))
            bound = min(bound, gemm_seconds(batch, batch + negatives, d))
            rates.append(len(pairs) / epoch_seconds(c))
            bounds.append(batch / bound)
    share = sorted(r / b for r, b in zip(rates, bounds))
    table(f"Softmax over batches of {batch} + {negatives} negatives, d = {d}, "
          "one worker (wanted: 60 %)",
          ("examples/s", "the products alone, numpy's OpenBLAS", "share"),
          [(f"{median(rates):,.0f}", f"{median(bounds):,.0f}",
            f"{100 * median(share):.0f} % ({100 * share[0]:.0f} to "
            f"{100 * share[-1]:.0f})")])


# --- tens of millions

def large(runs):
    """One generated set: the peer's iteration and our epoch in turns."""
    users, items, d = 140000, 27000, 64
    pairs = sets.power_law(users, items, 26000000)
    n = len(pairs)
    x = sets.matrix(pairs, users, items)
    own, cg, peak = [], [], 0
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        c.execute("SET recsys.train_memory = '8GB'")
        load_pairs(c, "r", pairs)
        del pairs
        for _ in range(runs):
            one = implicit_als(x, d, 1, True)[0]
            cg.append((implicit_als(x, d, 3, True)[0] - one) / 2)
            with s.memory() as memory:
                train(c, "r", dim=d, epochs=3, test_fraction=0,
                      options="'{\"loss\": \"ials\"}'")
            own.append(epoch_seconds(c))
            peak = max(peak, memory.peak)
    parameters = 4 * d * (users + items) / 2 ** 20
    table(f"{n / 1e6:.1f} million generated interactions, {users} users, "
          f"{items} items, ALS d = {d} (wanted: at most 2x; 24 bytes)",
          ("implicit, CG iteration", "recsys, exact epoch", "ours / peer's",
           "peak memory", "bytes an interaction beside the parameters"),
          [(f"{median(cg):.2f} s", f"{median(own):.2f} s",
            f"{1 / ratios(own, cg)[0]:.2f}x", f"{peak:.0f} MB",
            f"{(peak - parameters) * 2 ** 20 / n:.1f}")])


# --- quality against time

def draw(name, title, x, y, lines, points):
    """An SVG: lines {label: [(x, y)]} and points {label: (x, y)}."""
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot as plt
    fig, ax = plt.subplots(figsize=(7, 4.2))
    for label, line in lines.items():
        ax.plot(*zip(*line), marker=".", label=label)
    for label, point in points.items():
        ax.plot(*point, "x", markersize=9, label=label)
    ax.set(title=title, xlabel=x, ylabel=y)
    ax.grid(alpha=.3)
    ax.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(os.path.join(OUT, name))
    plt.close(fig)
    print(f"\n![{title}]({name})")


def curves(runs):
    """Yelp2018 (or generated pairs): validation by epoch, and test recall
    against the time of training, beside the peer's."""
    data = sets.yelp2018()
    users, items = sets.YELP_USERS, sets.YELP_ITEMS
    if data is None:
        pairs = sets.power_law(users, items, 1300000)
        held = np.random.default_rng(1).random(len(pairs)) < .2
        data = pairs[~held], pairs[held]
    learning, spent, one = {}, {}, {}

    def judge(score):
        return sets.top_n(score, *data, users, items)[0]
    x = sets.matrix(data[0], users, items)
    for label, cg, steps in (("implicit ALS, CG", True, (2, 5, 15, 40)),
                             ("implicit ALS, Cholesky", False, (2, 5, 15))):
        for epochs in steps:
            t, score = implicit_als(x, 64, epochs, cg)
            spent.setdefault(label, []).append((t, judge(score)))
    with Server() as s, s.connect() as c:
        c.execute("CREATE EXTENSION recsys")
        load_pairs(c, "r", data[0])
        for label, loss in (("recsys, softmax", "softmax"),
                            ("recsys, ALS", "ials")):
            for epochs in (2, 6, 12, 24) if loss == "softmax" else (2, 4, 8):
                t, _ = train(c, "r", dim=64, epochs=epochs,
                             options=f"'{{\"loss\": \"{loss}\"}}'")
                spent.setdefault(label, []).append(
                    (t, judge(scores(c, "bench", users, items))))
            learning[label] = [(e, v) for e, v, _ in log(c) if v]
        t, _ = train(c, "r", dim=64)
        one["recsys, no options"] = (t, judge(scores(c, "bench", users,
                                                      items)))
    what = "Yelp2018" if sets.yelp2018() else "generated"
    draw("learning-curves.svg", f"{what}: validation while training, d = 64",
         "epoch", "NDCG@20 of held-out interactions", learning, {})
    draw("quality-time.svg", f"{what}: quality against time, d = 64",
         "seconds, reading and publishing included", "test recall@20", spent,
         one)
