"""Top-k from SQL: the index ann beside pgvector's hnsw and ivfflat, on the same vectors, server and client, one after the other.

usage: index.py [DATA ...]     DATA: yelp, syn:N:D[:SEED], each with /unit for normalised; default yelp yelp/unit syn:200000:64
Settings in the environment: RECSYS_BENCH_BIN (folder of the server's programs), BENCH_K (10,100), BENCH_OP (<#>), BENCH_QUERIES (500).
Prints a table: recall against the exact answer, rows a query, p50 and p99 in ms, queries a second; build, size and single-row inserts."""
import os, shutil, struct, subprocess, sys, tempfile, time
import numpy as np, psycopg
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sets

BIN = os.environ['RECSYS_BENCH_BIN']
KS = [int(k) for k in os.environ.get('BENCH_K', '10,100').split(',')]
OP = os.environ.get('BENCH_OP', '<#>')
NQ = int(os.environ.get('BENCH_QUERIES', '500'))
CLASS = {'<#>': 'vector_ip_ops', '<->': 'vector_l2_ops', '<=>': 'vector_cosine_ops'}[OP]
PEERS = [('recsys', 'ann', '', 'recsys.target_recall', '0.8,0.9,0.99,1'),
         ('vector', 'hnsw', '', 'hnsw.ef_search', '40,100,200,400'),
         ('vector', 'ivfflat', 'with (lists = %d)', 'ivfflat.probes', '5,20,50')]


def text(v):
    return '[' + ','.join(map(repr, map(float, v))) + ']'


def vectors(data):
    spec, _, unit = data.partition('/')
    V, U = sets.yelp_embeddings() if spec == 'yelp' else sets.synthetic_embeddings(*map(int, spec.split(':')[1:]))
    if unit:
        V, U = (x / np.linalg.norm(x, axis=1)[:, None] for x in (V, U))
    return V.astype('f4'), U[np.random.default_rng(3).choice(len(U), NQ, replace=False)].astype('f4')


def scores(V, Q):
    if OP == '<#>':
        return Q @ V.T
    if OP == '<->':
        return -np.sqrt(np.maximum((Q * Q).sum(1)[:, None] + (V * V).sum(1) - 2 * Q @ V.T, 0))
    return (Q / np.linalg.norm(Q, axis=1)[:, None]) @ (V / np.linalg.norm(V, axis=1)[:, None]).T


def load(c, V):
    n, d = V.shape
    c.execute(f'create table t(id int, e vector({d}))')
    big = V.astype('>f4')
    with c.cursor().copy('copy t from stdin binary') as cp:
        cp.write(b'PGCOPY\n\xff\r\n\0' + struct.pack('>ii', 0, 0))
        for i in range(n):
            b = big[i].tobytes()
            cp.write(struct.pack('>hiii', 2, 4, i, 4 + len(b)) + struct.pack('>hh', d, 0) + b)
        cp.write(struct.pack('>h', -1))
    c.execute('vacuum analyze t')


def measure(c, S, qs, k):
    sql = f'select id from t order by e {OP} %s::vector limit {k}'
    kth = -np.partition(-S, k - 1, 1)[:, k - 1]
    lat, hit, rows = [], 0, 0
    for q in qs[:50]:
        c.execute(sql, (q,), prepare=True).fetchall()
    for i, q in enumerate(qs):
        t = time.perf_counter()
        r = c.execute(sql, (q,), prepare=True).fetchall()
        lat.append(time.perf_counter() - t)
        hit += sum(S[i, x[0]] >= kth[i] - 1e-5 * abs(kth[i]) for x in r)
        rows += len(r)
    lat = np.array(lat) * 1e3
    return hit / (k * len(qs)), rows / len(qs), np.percentile(lat, 50), np.percentile(lat, 99), 1e3 / lat.mean()


def one(D, data, V, S, qs, peer):
    extension, method, options, setting, values = peer
    admin = psycopg.connect(host=D, user='postgres', dbname='postgres', autocommit=True)
    admin.execute('drop database if exists bench')
    admin.execute('create database bench')
    c = psycopg.connect(host=D, user='postgres', dbname='bench', autocommit=True)
    c.execute('create extension ' + extension)
    load(c, V)
    if '%d' in options:
        options = options % max(200, len(V) // 1000)
    t = time.time()
    c.execute(f'create index ix on t using {method} (e {CLASS}) {options}')
    build = time.time() - t
    size = float(c.execute("select pg_relation_size('ix')/1e6").fetchone()[0])
    for value in values.split(','):
        c.execute(f'set {setting} = {value}')
        for k in KS:
            r = measure(c, S, qs, k)
            print(f'| {data} | {method} | {value} | {k} | {r[0]:.4f} | {r[1]:.1f} | {r[2]:.3f} | {r[3]:.3f} | {r[4]:.0f} |', flush=True)
    t, n = time.time(), 1000
    for i in range(n):
        c.execute('insert into t values (%s, %s)', (len(V) + i, text(V[i % len(V)] * 1.001)), prepare=True)
    print(f'| {data} | {method} | build {build:.2f} s | size {size:.1f} MB | inserts/s {n / (time.time() - t):.0f} | | | | |', flush=True)
    c.close()
    admin.close()


def main():
    D = tempfile.mkdtemp(prefix='bench-index')
    root = ['runuser', '-u', 'postgres', '--'] if os.getuid() == 0 else []
    if root:
        shutil.chown(D, 'postgres')
    run = lambda *a: subprocess.run([*root, *a], stdout=subprocess.DEVNULL, check=True, cwd=D)
    run(BIN + '/initdb', '-D', D + '/d', '-A', 'trust', '-U', 'postgres', '--no-sync', '-E', 'UTF8', '--locale=C')
    with open(D + '/d/postgresql.auto.conf', 'a') as f:
        f.write("shared_buffers=4GB\nmaintenance_work_mem=1GB\nwork_mem=64MB\nfsync=off\nmax_wal_size=8GB\nautovacuum=off\njit=off\n"
                f"unix_socket_directories='{D}'\nlisten_addresses=''\nmax_parallel_maintenance_workers=2\n")
    run(BIN + '/pg_ctl', '-D', D + '/d', '-w', '-l', D + '/log', 'start')
    try:
        print('| data | index | setting | k | recall | rows | p50 ms | p99 ms | queries/s |\n|---|---|---|---|---|---|---|---|---|')
        for data in sys.argv[1:] or ['yelp', 'yelp/unit', 'syn:200000:64']:
            V, Q = vectors(data)
            S, qs = scores(V, Q), [text(q) for q in Q]
            for peer in PEERS:
                one(D, data, V, S, qs, peer)
    finally:
        run(BIN + '/pg_ctl', '-D', D + '/d', '-m', 'immediate', 'stop')
        shutil.rmtree(D)


if __name__ == '__main__':
    main()
