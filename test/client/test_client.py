"""
The Python package pgvector, unmodified, with psycopg and SQLAlchemy: stores
and reads our vectors in text and binary, by parameters, COPY and ORM. And the
binary form from a hostile client.

Connects as PGHOST, PGPORT, PGUSER, PGDATABASE say, to a database of its own.
Prints "N passed, N failed".
"""

import asyncio
import struct
import sys
import traceback

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector, register_vector_async
from pgvector.sqlalchemy import VECTOR, avg, sum as vector_sum
from sqlalchemy import Integer, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

counts = {"passed": 0, "failed": 0}


def check(good, what):
    counts["passed" if good else "failed"] += 1
    if not good:
        print("failed:", what)


def state_of(call, what, sqlstate):
    """call() must fail with sqlstate."""
    try:
        call()
        check(False, f"{what}: no error, expected {sqlstate}")
    except psycopg.Error as error:
        check(
            error.sqlstate == sqlstate,
            f"{what}: {error.sqlstate} {error}, expected {sqlstate}",
        )


def connect():
    conn = psycopg.connect(autocommit=True)
    conn.execute("CREATE EXTENSION IF NOT EXISTS recsys")
    register_vector(conn)
    return conn


def test_parameters(conn):
    conn.execute("CREATE TABLE item (id int, v vector(3), many vector[])")
    rows = [
        (1, np.array([1.5, 2, 3], dtype=np.float32)),
        (2, Vector([-0.0, 1e-45, 3.4028235e38])),
        (3, Vector(np.array([7, 8, 9]))),
        (4, None),
    ]
    for mark in ("%s", "%b", "%t"):
        conn.execute("TRUNCATE item")
        for row in rows:
            conn.execute(f"INSERT INTO item (id, v) VALUES (%s, {mark})", row)
        for binary in (False, True):
            cur = conn.cursor(binary=binary)
            got = cur.execute("SELECT v FROM item ORDER BY id").fetchall()
            for (id_, sent), (back,) in zip(rows, got):
                if sent is None:
                    check(back is None, "NULL comes back")
                    continue
                sent = sent if isinstance(sent, Vector) else Vector(sent)
                check(
                    back.to_binary() == sent.to_binary(),
                    f"row {id_} sent as {mark}, read binary={binary}",
                )
    state_of(
        lambda: conn.execute("INSERT INTO item (v) VALUES (%b)", (Vector([1, 2]),)),
        "two dimensions into vector(3), binary",
        "22000",
    )
    state_of(
        lambda: conn.execute("INSERT INTO item (v) VALUES (%t)", (Vector([1, 2]),)),
        "two dimensions into vector(3), text",
        "22000",
    )
    # arrays of vectors
    vectors = [Vector([1, 2]), Vector([3])]
    for mark in ("%b", "%t"):
        back = conn.execute(f"SELECT {mark}::vector[]", (vectors,)).fetchone()[0]
        check([v.to_list() for v in back] == [[1, 2], [3]], f"array as {mark}")


def test_operators(conn):
    conn.execute("CREATE TABLE point (id int, v vector(2))")
    points = {1: [1, 0], 2: [3, 4], 3: [0.5, 0.5], 4: [-1, 2]}
    with conn.cursor() as cur:
        cur.executemany(
            "INSERT INTO point VALUES (%s, %s)",
            [(i, np.array(v)) for i, v in points.items()],
        )
    q = np.array([1.0, 1.0])
    distances = {
        "<->": lambda v: np.linalg.norm(v - q),
        "<#>": lambda v: -np.dot(v, q),
        "<=>": lambda v: 1 - np.dot(v, q) / np.linalg.norm(v) / np.linalg.norm(q),
        "<+>": lambda v: np.abs(v - q).sum(),
    }
    for op, distance in distances.items():
        expect = sorted(points, key=lambda i: (distance(np.array(points[i])), i))
        got = conn.execute(
            f"SELECT id, v {op} %s FROM point ORDER BY v {op} %s, id", (q, q)
        ).fetchall()
        check([row[0] for row in got] == expect, f"order by {op}")
        check(
            np.allclose([row[1] for row in got],
                        [distance(np.array(points[i])) for i in expect],
                        atol=1e-7),
            f"values of {op}",
        )


def test_copy(conn):
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((1000, 64)).astype(np.float32)
    conn.execute("CREATE TABLE copied (id int, v vector(64))")
    for form in ("TEXT", "BINARY"):
        conn.execute("TRUNCATE copied")
        with conn.cursor() as cur:
            with cur.copy(
                f"COPY copied FROM STDIN WITH (FORMAT {form})"
            ) as copy:
                if form == "BINARY":
                    copy.set_types(["int4", "vector"])
                for i, row in enumerate(rows):
                    copy.write_row((i, row))
        for binary in (False, True):
            cur = conn.cursor(binary=binary)
            back = cur.execute("SELECT v FROM copied ORDER BY id").fetchall()
            check(
                np.array_equal(np.stack([v.to_numpy() for v, in back]), rows),
                f"COPY {form} in, SELECT binary={binary} out",
            )
        with conn.cursor() as cur:
            with cur.copy(
                f"COPY (SELECT v FROM copied ORDER BY id) TO STDOUT WITH (FORMAT {form})"
            ) as copy:
                copy.set_types(["vector"])
                back = [row[0] for row in copy.rows()]
        check(
            np.array_equal(np.stack([v.to_numpy() for v in back]), rows),
            f"COPY {form} out",
        )


def test_every_bit(conn):
    """A million finite float32 of random bits: equal after text and binary."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 1_000_000, dtype=np.uint32)
    bits[:200_000] &= 0x807FFFFF  # denormals
    floats = bits.view(np.float32)
    floats = floats[np.isfinite(floats)]
    for start in range(0, len(floats), 10_000):
        block = floats[start : start + 10_000]
        sent = Vector(block).to_binary()
        server_text, back = (
            conn.cursor(binary=True)
            .execute("SELECT v::text, v::text::vector FROM (SELECT %b AS v) t",
                     (Vector(block),))
            .fetchone()
        )
        if back.to_binary() != sent:
            return check(False, f"server's text round trip, block {start}")
        if np.array(server_text[1:-1].split(","), dtype=np.float32).tobytes() != block.tobytes():
            return check(False, f"client reads server's text, block {start}")
        # what another program prints: 9 digits, and a float64's 17
        for digits in (9, 17):
            shown = "[" + ",".join(f"{x:.{digits - 1}e}" for x in block.astype(float)) + "]"
            back = (
                conn.cursor(binary=True)
                .execute("SELECT %s::text::vector", (shown,))
                .fetchone()[0]
            )
            if back.to_binary() != sent:
                return check(False, f"{digits} digits, block {start}")
    return check(True, "round trips")


def test_bad_binary(conn):
    oid = conn.execute("SELECT 'vector'::regtype::oid").fetchone()[0]
    one = struct.pack(">f", 1.0)

    def bind(raw):
        result = conn.pgconn.exec_params(
            b"SELECT $1", [raw], param_types=[oid], param_formats=[1]
        )
        return result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)

    cases = {
        "nothing": (b"", "08P01"),
        "one byte": (b"\0", "08P01"),
        "half a head": (b"\0\1\0", "08P01"),
        "head only": (struct.pack(">hh", 1, 0), "08P01"),
        "one float short": (struct.pack(">hh", 2, 0) + one, "08P01"),
        "three bytes of a float": (struct.pack(">hh", 1, 0) + one[:3], "08P01"),
        "the most dimensions, one float": (struct.pack(">hh", 16000, 0) + one, "08P01"),
        "one byte more": (struct.pack(">hh", 1, 0) + one + b"\0", "22P03"),
        "one float more": (struct.pack(">hh", 1, 0) + one + one, "22P03"),
        "dim 0": (struct.pack(">hh", 0, 0), "22000"),
        "dim 0 and a float": (struct.pack(">hh", 0, 0) + one, "22000"),
        "dim -1": (struct.pack(">hh", -1, 0) + one, "22000"),
        "dim -32768": (struct.pack(">hh", -32768, 0) + one, "22000"),
        "dim 16001": (struct.pack(">hh", 16001, 0) + one * 16001, "54000"),
        "dim 32767": (struct.pack(">hh", 32767, 0) + one, "54000"),
        "unused 1": (struct.pack(">hh", 1, 1) + one, "22000"),
        "unused -1": (struct.pack(">hh", 1, -1) + one, "22000"),
        "NaN": (struct.pack(">hhff", 2, 0, 1, float("nan")), "22000"),
        "signalling NaN": (struct.pack(">hhI", 1, 0, 0xFF800001), "22000"),
        "Infinity": (struct.pack(">hhf", 1, 0, float("inf")), "22000"),
        "-Infinity": (struct.pack(">hhf", 1, 0, -float("inf")), "22000"),
    }
    conn.execute("CREATE TABLE received (v vector)")
    for what, (raw, sqlstate) in cases.items():
        got = bind(raw)
        check(got == sqlstate.encode(), f"bind {what}: {got}, expected {sqlstate}")
        stream = (b"PGCOPY\n\377\r\n\0" + bytes(8) + struct.pack(">hi", 1, len(raw))
                  + raw + struct.pack(">h", -1))

        def copy():
            with conn.cursor() as cur, cur.copy(
                "COPY received FROM STDIN WITH (FORMAT BINARY)"
            ) as out:
                out.write(stream)

        state_of(copy, f"COPY {what}", sqlstate)
    check(bind(struct.pack(">hh", 16000, 0) + one * 16000) is None, "16000 dimensions")
    check(conn.execute("SELECT count(*) FROM received").fetchone()[0] == 0, "no rows")


def test_interrupt(conn):
    """A text of 50 MB ends within a second, with the right error."""
    long = "[" + "1," * 25_000_000 + "1]"
    conn.execute("SET statement_timeout = '20s'")
    state_of(lambda: conn.execute("SELECT %s::text::vector", (long,)), "50 MB", "54000")
    long = "[" + " " * 50_000_000 + "x]"
    state_of(lambda: conn.execute("SELECT %s::text::vector", (long,)), "50 MB of blanks", "22P02")
    long = "[0." + "7" * 50_000_000 + "]"
    back = conn.execute("SELECT %s::text::vector", (long,)).fetchone()[0]
    check(abs(back.to_list()[0] - 7 / 9) < 1e-6, "one number of 50 MB")
    conn.execute("RESET statement_timeout")


def test_async():
    async def run():
        conn = await psycopg.AsyncConnection.connect(autocommit=True)
        async with conn:
            await register_vector_async(conn)
            cur = await conn.execute("SELECT %b::vector", (Vector([1, 2, 3]),))
            return (await cur.fetchone())[0].to_list()

    check(asyncio.run(run()) == [1, 2, 3], "async connection")


class Base(DeclarativeBase):
    pass


class Film(Base):
    __tablename__ = "film"
    id = mapped_column(Integer, primary_key=True)
    embedding = mapped_column(VECTOR(3))


def test_sqlalchemy(conn):
    engine = create_engine("postgresql+psycopg://")
    Base.metadata.create_all(engine)
    films = {1: [1, 1, 1], 2: [2, 2, 2], 3: [1, 1, 2]}
    with Session(engine) as session:
        session.add(Film(id=1, embedding=[1, 1, 1]))
        session.add(Film(id=2, embedding=np.array([2, 2, 2])))
        session.execute(insert(Film), [{"id": 3, "embedding": [1, 1, 2]}])
        session.add(Film(id=4, embedding=None))
        session.commit()
        for id_, vector in films.items():
            got = session.get(Film, id_).embedding
            got = got.to_list() if isinstance(got, Vector) else list(got)
            check(got == vector, f"ORM row {id_}")
        check(session.get(Film, 4).embedding is None, "ORM NULL")

        known = select(Film.id).where(Film.embedding.is_not(None))
        e = Film.embedding
        for name, distance, expect in (
            ("l2", e.l2_distance([1, 1, 1]), [1, 3, 2]),
            ("inner product", e.max_inner_product([1, 1, 1]), [2, 3, 1]),
            ("cosine", e.cosine_distance([1, 1, 0]), [1, 2, 3]),
            ("l1", e.l1_distance([1, 1, 1]), [1, 3, 2]),
        ):
            order = (distance, Film.id)
            if name == "cosine":  # rows 1 and 2 are equally far
                order = (text("round((embedding <=> '[1,1,0]')::numeric, 9)"), Film.id)
            got = session.scalars(known.order_by(*order)).all()
            check(got == expect, f"ORM order by {name}: {got}")
        near = session.scalars(known.where(e.l2_distance([1, 1, 1]) < 1.5)).all()
        check(sorted(near) == [1, 3], "ORM filter by distance")
        total = session.scalar(select(vector_sum(Film.embedding)))
        mean = session.scalar(select(avg(Film.embedding)))
        check(list(np.asarray(getattr(total, "to_list", lambda: total)())) == [4, 4, 5], "ORM sum")
        check(np.allclose(np.asarray(getattr(mean, "to_list", lambda: mean)()), [4 / 3, 4 / 3, 5 / 3]),
              "ORM avg")
        value = session.scalar(select(Film.embedding.l2_distance([1, 1, 1])).where(Film.id == 3))
        check(value == 1, "ORM distance as a column")
    reflected = Table("film", MetaData(), autoload_with=engine)
    check(isinstance(reflected.c.embedding.type, VECTOR) and reflected.c.embedding.type.dim == 3,
          "reflected type")
    engine.dispose()


def test_calls(conn):
    """Training and recommending with bound parameters, and what a notice says."""
    conn.execute("""CREATE TABLE watched AS
        SELECT u AS user_id, i AS item_id FROM generate_series(1, 400) u, generate_series(1, 100) i
        WHERE (hashint4(u * 77 + i)::bigint + 2147483648) % 100 < 60 - i / 2""")
    notices = []
    conn.add_notice_handler(lambda d: notices.append(d.message_primary))
    row = conn.execute(
        "SELECT model FROM recsys_train('watched', 'calls', learning_rate => %s, test_fraction => %s,"
        " epochs => %s, dim => %s, options => %s)",
        (0.1, 0.1, 2, 8, '{"loss": "softmax", "hard_negatives": 5}')).fetchone()
    check(row == ("calls",), "doubles as parameters")
    check(any("that of the most popular items" in n for n in notices),
          f"below the most popular items: {notices}")
    notices.clear()
    conn.execute("SELECT recsys_train('watched', 'calls', batch_size => 64)")
    check(not any("most popular" in n for n in notices), "not below")
    check(any(n.endswith("take no batch_size") for n in notices), f"unused option: {notices}")
    conn.execute("""CREATE TABLE noisy AS
        SELECT u AS user_id, i AS item_id FROM generate_series(1, 400) u, generate_series(1, 150) i
        WHERE (hashint4(u * 777 + i)::bigint + 2147483648) % 1000 < CASE WHEN u % 5 = i % 5 THEN 200 ELSE 65 END""")
    notices.clear()
    row = conn.execute(
        "SELECT epochs FROM recsys_train('noisy', 'calls', hidden => '{32}', learning_rate => 0.01,"
        " test_fraction => 0.2, epochs => 60, options => '{\"patience\": 3}')").fetchone()
    said = [n for n in notices if "so longer training over-fits" in n]
    check(len(said) == 1 and row[0] < 57 and said[0].endswith(f"epoch {row[0]} is what counts"),
          f"over-fit at epoch {row[0]}: {notices}")
    for user, k in ((7, 5), ("7", 5)):
        for _ in range(7):  # prepared from the fifth on
            got = conn.execute("SELECT item_id FROM recommend(%s, %s::bigint, %s::text)",
                               (user, k, "calls")).fetchall()
        check(len(got) == 5, f"recommend({user!r})")
    got = conn.execute("SELECT item_id FROM recommend_from(%s::bigint[], 3, 'calls')", ([1, 2],)).fetchall()
    check(len(got) == 3, "an array as parameter")
    state_of(lambda: conn.execute("SELECT * FROM recommend_from(%s::text, 3, 'calls')", ("1,2",)),
             "a list as text", "22P02")
    conn.execute("SELECT recsys_drop('calls')")
    conn.execute("DROP TABLE watched")


def main():
    conn = connect()
    for test in (
        test_parameters,
        test_operators,
        test_copy,
        test_bad_binary,
        test_every_bit,
        test_interrupt,
        lambda _: test_async(),
        test_sqlalchemy,
        test_calls,
    ):
        try:
            test(conn)
        except Exception:  # a broken test counts, the others go on
            traceback.print_exc()
            check(False, getattr(test, "__name__", "test"))
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return counts["failed"] > 0


sys.exit(main())
