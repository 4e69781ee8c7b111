"""The README's SQL runs as it stands: every block, in its order."""

import os
import re

import psycopg

HERE = os.path.dirname(os.path.abspath(__file__))
SKIP = ("'[...]'",)  # placeholders
passed = failed = 0


def statements(block):
    block = re.sub(r"--[^\n]*", "", block)
    return [s.strip() for s in block.split(";") if s.strip()]


readme = next(p for p in (os.path.join(HERE, "../../README.md"),
                          os.path.join(os.environ.get("ROOT", ""),
                                       "README.md")) if os.path.exists(p))
with open(readme, encoding="utf8") as f:
    blocks = re.findall(r"```sql\n(.*?)```", f.read(), re.S)
with psycopg.connect(autocommit=True) as c:
    c.execute("SET client_min_messages = warning")
    for block in blocks:
        for s in statements(block):
            if any(x in s for x in SKIP):
                continue
            try:
                if s.startswith("SELECT recsys_drop"):
                    c.execute("CREATE TABLE items AS SELECT item_id AS id, "
                              "embedding FROM default_item")
                if s.startswith("SELECT recsys_rollback"):
                    c.execute("SELECT recsys_train('ratings', epochs => 1)")
                if s.startswith("SELECT * FROM recsys_tune"):
                    c.execute("SELECT recsys_train('ratings')")
                got = c.execute(s)
                if got.description and "recommend(42, 5)" in s:
                    rows = got.fetchall()
                    assert len(rows) == 5, f"{len(rows)} rows"
                passed += 1
            except Exception as e:
                failed += 1
                print(f"{s}\n  {type(e).__name__}: {e}")
    # the user of the example likes what is made like user 42's kind of books
    kinds = "no model"
    try:
        c.execute("SELECT recsys_train('ratings')")
        kinds = c.execute("SELECT count(*) FILTER (WHERE b.kind = 42 % 3), "
                          "count(*) FROM recommend(42, 5) r "
                          "JOIN books b ON b.id = r.item_id").fetchone()
        assert kinds[1] == 5 and kinds[0] >= 4
        passed += 1
    except Exception as e:
        failed += 1
        print(f"kinds {kinds}: {e}")
print(f"{passed} passed, {failed} failed")
raise SystemExit(failed > 0)
