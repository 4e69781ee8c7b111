"""How the benchmarks train: ours by SQL, the peers of implicit feedback."""

import struct

import numpy as np

from common import copy_pairs, copy_rows, timed


# --- ours

def embeddings(c, table_name, key, column="embedding"):
    """(keys, vectors) of a model's table with integer keys, by COPY."""
    data = bytearray()
    sql = (f"COPY (SELECT {key}::int4, {column} FROM {table_name} ORDER BY 1)"
           " TO STDOUT BINARY")
    with c.cursor().copy(sql) as copy:
        for block in copy:
            data += block
    d = struct.unpack(">h", data[19 + 14:19 + 16])[0]
    row = np.dtype([("c", ">i2"), ("l1", ">i4"), ("id", ">i4"), ("l2", ">i4"),
                    ("d", ">i2"), ("z", ">i2"), ("x", ">f4", (d,))])
    rows = np.frombuffer(bytes(data), row, count=(len(data) - 21) // row.itemsize,
                         offset=19)
    return rows["id"].astype(int), rows["x"].astype("f4")


def scores(c, model, users, items):
    """A function (a, b) -> scores of users a .. b-1 for every item; users
    and items that the model does not know get 0."""
    u = v = None
    for name, key, n in ((f"{model}_user", "user_id", users),
                         (f"{model}_item", "item_id", items)):
        ids, x = embeddings(c, name, key)
        full = np.zeros((n, x.shape[1]), "f4")
        full[ids] = x
        u, v = v, full
    return lambda a, b: u[a:b] @ v.T


def train(c, source, **options):
    """(seconds, what the row of recsys_train says of its choice)"""
    model = options.pop("model", "bench")
    text = ", ".join(f"{k} => {v}" for k, v in options.items())
    t, rows = timed(lambda: c.execute(
        f"SELECT * FROM recsys_train('{source}', model => '{model}'"
        + (", " + text if text else "") + ")").fetchall())
    return t, rows[0]


def load_ratings(c, name, rows):
    c.execute(f"CREATE TABLE {name} (user_id int, item_id int, rating real, "
              "ts bigint)")
    copy_rows(c, name, ((int(u), int(i), float(r), int(t))
                        for u, i, r, t in rows),
              ["int4", "int4", "float4", "int8"])


def load_pairs(c, name, pairs):
    c.execute(f"CREATE TABLE {name} (user_id int, item_id int)")
    copy_pairs(c, name, pairs)
    c.execute(f"ANALYZE {name}")


# --- peers

def ease(x, weight):
    d = x.toarray().astype("f8")
    p = np.linalg.inv(d.T @ d + weight * np.eye(d.shape[1]))
    b = p / -np.diag(p)
    np.fill_diagonal(b, 0)
    s = d @ b
    return lambda a, e: s[a:e]


def ials(x, d, weight, unobserved, epochs=16, seed=0):
    """Exact implicit ALS with frequency-scaled regularisation (nu = 1)."""
    g = np.random.default_rng(seed)
    w, h = (g.normal(0, .1 / np.sqrt(d), (n, d)) for n in x.shape)

    def half(a, b, rows):
        gram = unobserved * b.T @ b
        for i in range(len(a)):
            mine = b[rows.indices[rows.indptr[i]:rows.indptr[i + 1]]]
            ridge = weight * (len(mine) + unobserved * len(b))
            a[i] = np.linalg.solve(mine.T @ mine + gram + ridge * np.eye(d),
                                   mine.sum(0))
    columns = x.T.tocsr()
    for _ in range(epochs):
        half(w, h, x)
        half(h, w, columns)
    return lambda a, b: w[a:b] @ h.T


def implicit_als(x, d, epochs, cg):
    from implicit.als import AlternatingLeastSquares
    m = AlternatingLeastSquares(factors=d, regularization=.05, alpha=20.,
                                iterations=epochs, use_cg=cg, random_state=1)
    t, _ = timed(lambda: m.fit(x, show_progress=False))
    return t, lambda a, b: m.user_factors[a:b] @ m.item_factors.T
