"""
Beside the extension pgvector: both installed, in either order, both loaded
in one session, in either order; the same answers, SQLSTATEs and stored
bytes; no C symbol of one that could take the place of the other's.

Skipped, with a note, on a server without pgvector. Prints "N passed, N
failed".
"""

import random
import shutil
import subprocess
import sys

import psycopg

counts = {"passed": 0, "failed": 0}


def check(good, what):
    counts["passed" if good else "failed"] += 1
    if not good:
        print("failed:", what)


def connect():
    return psycopg.connect(autocommit=True)


def answer(conn, schema, sql):
    """The text of a query's row with schema's vector, or its SQLSTATE."""
    conn.execute(f"SET search_path = {schema}, pg_catalog")
    try:
        return conn.execute(sql).fetchone()[0]
    except psycopg.Error as error:
        return "SQLSTATE " + error.sqlstate


def drop_all(conn):
    conn.execute("DROP EXTENSION IF EXISTS vector CASCADE")
    conn.execute("DROP EXTENSION IF EXISTS recsys CASCADE")
    conn.execute("DROP SCHEMA IF EXISTS theirs CASCADE")
    conn.execute("DROP SCHEMA IF EXISTS ours CASCADE")


# recsys is made where the search path says; pgvector must lie elsewhere
INSTALLS = {
    "pgvector in public, then recsys elsewhere": (
        "SET search_path = public",
        "CREATE EXTENSION vector",
        "CREATE SCHEMA ours",
        "CREATE EXTENSION recsys SCHEMA ours",
    ),
    "recsys in public, then pgvector elsewhere": (
        "SET search_path = public",
        "CREATE EXTENSION recsys",
        "CREATE SCHEMA theirs",
        "CREATE EXTENSION vector SCHEMA theirs",
    ),
    "pgvector elsewhere, then recsys in public": (
        "SET search_path = public",
        "CREATE SCHEMA theirs",
        "CREATE EXTENSION vector SCHEMA theirs",
        "CREATE EXTENSION recsys",
    ),
    "recsys elsewhere, then pgvector in public": (
        "SET search_path = public",
        "CREATE SCHEMA ours",
        "CREATE EXTENSION recsys SCHEMA ours",
        "CREATE EXTENSION vector",
    ),
}


def schema_of(conn, extension):
    return conn.execute(
        "SELECT extnamespace::regnamespace::text FROM pg_extension"
        " WHERE extname = %s", (extension,)
    ).fetchone()[0]


def test_installs():
    """Every order of installing times every order of loading."""
    for name, commands in INSTALLS.items():
        with connect() as conn:
            drop_all(conn)
            for command in commands:
                conn.execute(command)
            schemas = [schema_of(conn, "vector"), schema_of(conn, "recsys")]
        for order in (schemas, schemas[::-1]):
            with connect() as conn:  # a new session has neither library
                for schema in order * 2:
                    got = answer(
                        conn, schema,
                        "SELECT concat_ws(' ', '[1,2,3]'::vector, '[1]'::vector(1),"
                        " '[0,0]'::vector <-> '[3,4]', '[1,2]'::vector <#> '[3,4]',"
                        " '[1,0]'::vector <=> '[0,1]', '[1]'::vector + '[2]',"
                        " (SELECT avg(v) FROM unnest(ARRAY['[1]', '[2]']::vector[]) v),"
                        " '5e-324'::float8 > 0)",
                    )
                    check(got == "[1,2,3] [1] 5 -11 1 [3] [1.5] t",
                          f"{name}, {order}: {schema} says {got}")
                for schema in order:
                    conn.execute(f"SET search_path = {schema}, pg_catalog")
                    conn.execute("CREATE TEMP TABLE t AS SELECT i, ARRAY[i, i % 7]::vector"
                                 " AS v FROM generate_series(1, 2000) i")
                    if schema == schemas[0]:
                        conn.execute("CREATE INDEX ON t USING hnsw ((v::vector(2)) vector_l2_ops)")
                    conn.execute("CREATE INDEX ON t (v)")
                    got = conn.execute("SELECT i FROM t ORDER BY v <-> '[5,5]' LIMIT 1").fetchone()
                    check(got == (5,), f"{name}: nearest in {schema}: {got}")
                    conn.execute("DROP TABLE t")


def random_vector(rng):
    pick = rng.choice
    n = pick((1, 2, 3, 3, 4, 7, 17, 40))
    kind = pick(("small", "small", "zeros", "wide"))
    if kind == "zeros":
        return "[" + ",".join(pick(("0", "-0", "1")) for _ in range(n)) + "]"
    if kind == "wide":
        return "[" + ",".join(f"{rng.uniform(-9, 9):.3g}e{rng.randint(-8, 8)}" for _ in range(n)) + "]"
    return "[" + ",".join(str(rng.randint(-9, 9)) for _ in range(n)) + "]"


EXACT = (  # %a, %b are vectors
    "SELECT %a::text", "SELECT vector_send(%a)::text", "SELECT vector_dims(%a)::text",
    "SELECT (%a + %b)::text", "SELECT (%a - %b)::text", "SELECT (%a * %b)::text",
    "SELECT (%a || %b)::text", "SELECT (%a < %b)::text", "SELECT (%a <= %b)::text",
    "SELECT (%a = %b)::text", "SELECT (%a <> %b)::text", "SELECT (%a >= %b)::text",
    "SELECT (%a > %b)::text", "SELECT vector_cmp(%a, %b)::text",
    "SELECT l2_normalize(%a)::text", "SELECT binary_quantize(%a)::text",
    "SELECT subvector(%a, %i, %j)::text", "SELECT %a::vector(%i)::text",
    "SELECT %a::real[]::text", "SELECT %a::real[]::vector::text",
    "SELECT %a::real[]::float8[]::vector::text", "SELECT %a::real[]::numeric[]::vector::text",
    "SELECT sum(v)::text FROM (VALUES (%a), (%b), (NULL)) t (v)",
    "SELECT avg(v)::text FROM (VALUES (%a), (%b), (NULL)) t (v)",
    "SELECT vector_accum('{0}', %a)::text",
    "SELECT vector_norm(%a)::real::text",
)
NEAR = (
    "SELECT %a <-> %b", "SELECT %a <#> %b", "SELECT %a <=> %b", "SELECT %a <+> %b",
    "SELECT inner_product(%a, %b)", "SELECT vector_l2_squared_distance(%a, %b)",
    "SELECT vector_spherical_distance(l2_normalize(%a), l2_normalize(%b))",
)
TEXTS = (
    "", " ", "1,2", "[", "[]", "[ ]", "[,]", "[1,]", "[1,,2]", "[1 2]", "[1,2", "[1]]", "[1]x",
    "[1a]", "[.]", "[1.]", "[.5]", "[+1]", "[--1]", "[1e5]", "[1e]", "[1e400]", "[1e-400]",
    "[1e-46]", "[-1e-46]", "[0x10]", "[nan]", "[inf]", "[-infinity]", "[4e38]", "[3.4028236e38]",
    "[1e39,x]", " [ 1 , 2 ] ", "[1\t,\n2]", "{1}", "[1;2]", "[1,2]  ", "[null]",
)
STATES = (
    "SELECT ARRAY[1,NULL]::int[]::vector::text", "SELECT ARRAY[[1],[2]]::vector::text",
    "SELECT '{}'::int[]::vector::text", "SELECT '{NaN}'::real[]::vector::text",
    "SELECT '{Infinity}'::float8[]::vector::text", "SELECT ARRAY[1e39]::numeric[]::vector::text",
    "SELECT '[1]'::vector(0)::text", "SELECT '[1]'::vector(16001)::text",
    "SELECT '[1]'::vector(1,2)::text", "SELECT '[1]'::vector('x')::text",
    "SELECT ('[' || repeat('1,', 16000) || '1]')::vector::text",
    "SELECT array_fill(1, ARRAY[16001])::vector::text",
    "SELECT (array_fill(0, ARRAY[16000])::vector || '[1]')::text",
    "SELECT ('[3e38]'::vector + '[3e38]')::text", "SELECT ('[-3e38]'::vector - '[3e38]')::text",
    "SELECT ('[1e30]'::vector * '[1e30]')::text", "SELECT ('[1e-30]'::vector * '[1e-30]')::text",
    "SELECT ('[3e38]'::vector <-> '[-3e38]')::text", "SELECT ('[3e38]'::vector <#> '[3e38]')::text",
    "SELECT ('[3e38]'::vector <+> '[-3e38]')::text", "SELECT ('[0]'::vector <=> '[1]')::text",
    "SELECT sum(v)::text FROM (VALUES ('[3e38]'::vector), ('[3e38]')) t (v)",
    "SELECT vector_combine('{1,2}', '{3,4}')::text", "SELECT vector_combine('{0}', '{3,4}')::text",
    "SELECT vector_avg('{2,4}')::text", "SELECT vector_avg('{0}') IS NULL",
    "SELECT format_type('vector'::regtype, 7) LIKE '%vector(7)'",
)


def test_same_answers():
    rng = random.Random(3)
    with connect() as conn:
        both = (schema_of(conn, "vector"), schema_of(conn, "recsys"))

        def compare(sql, near=False):
            theirs, ours = (answer(conn, schema, sql) for schema in both)
            good = theirs == ours or (theirs != theirs and ours != ours)  # or NaN
            if near and not good and isinstance(theirs, float) and isinstance(ours, float):
                scale = max(1.0, abs(theirs))
                # acos has a steep end
                good = abs(theirs - ours) <= (3e-4 if "spherical" in sql else 1e-6) * scale
            check(good, f"{sql}: theirs {theirs}, ours {ours}")

        for text in TEXTS:
            compare("SELECT $$" + text + "$$::vector::text")
        for sql in STATES:
            compare(sql)
        for _ in range(150):
            a, b = random_vector(rng), random_vector(rng)
            if rng.random() < 0.7:  # of one length
                n = min(a.count(","), b.count(",")) + 1
                a, b = ("[" + ",".join(v[1:-1].split(",")[:n]) + "]" for v in (a, b))
            for sql in EXACT + NEAR:
                sql = sql.replace("%a", f"'{a}'::vector").replace("%b", f"'{b}'::vector")
                sql = sql.replace("%i", str(rng.randint(-2, 6)) if "sub" in sql else str(rng.randint(1, 4)))
                compare(sql.replace("%j", str(rng.randint(-2, 6))), near=True)


def test_same_bytes():
    """A table of theirs is a table of ours, byte by byte."""
    with connect() as conn:
        theirs, ours = schema_of(conn, "vector"), schema_of(conn, "recsys")
        conn.execute(f"CREATE CAST ({theirs}.vector AS {ours}.vector) WITHOUT FUNCTION")
        conn.execute(
            f"CREATE TABLE bytes AS SELECT array_agg(random() - 0.5)::{theirs}.vector AS v"
            " FROM generate_series(1, 900) i GROUP BY i % 30"
        )
        conn.execute(f"INSERT INTO bytes SELECT array_fill(0.1::real, ARRAY[3000])::{theirs}.vector")
        good = conn.execute(
            f"SELECT bool_and(v::text = v::{ours}.vector::text), count(*) FROM bytes"
        ).fetchone()
        check(good == (True, 31), f"stored bytes: {good}")
        conn.execute("DROP TABLE bytes")


def test_symbols():
    with connect() as conn:
        folder = conn.execute("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'").fetchone()[0]

    def exported(name):
        out = subprocess.run(["nm", "-D", "--defined-only", f"{folder}/{name}.so"],
                             capture_output=True, text=True, check=True)
        return {line.split()[2] for line in out.stdout.splitlines()}

    common = exported("vector") & exported("recsys")
    check(common <= {"Pg_magic_func", "_PG_init"}, f"symbols of both: {common}")


def main():
    with connect() as conn:
        there = conn.execute(
            "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"
        ).fetchone()[0]
    if not there:
        print("skipped: this server has no pgvector")
    else:
        test_installs()
        test_same_answers()
        test_same_bytes()
        if shutil.which("nm"):
            test_symbols()
        with connect() as conn:
            drop_all(conn)
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return counts["failed"] > 0


sys.exit(main())
