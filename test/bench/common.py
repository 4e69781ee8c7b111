"""What the benchmarks share: a throw-away server, tables, who measured."""

import os
import platform
import shutil
import statistics
import struct
import subprocess
import tempfile
import threading
import time

import numpy as np
import psycopg

HERE = os.path.dirname(os.path.abspath(__file__))


def run(*command, cwd="/"):
    """A command as the user that servers run as."""
    if os.getuid() == 0:
        command = ("runuser", "-u", "postgres", "--", *command)
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=True,
                          cwd=cwd)


class Server:
    """A cluster of its own. with Server() as s: s.connect() ..."""

    def __init__(self, conf="", bin=None):
        self.bin = bin or os.environ["RECSYS_BENCH_BIN"]
        self.conf = conf

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="recsys-bench-")
        if os.getuid() == 0:
            shutil.chown(self.dir, "postgres")
        os.chmod(self.dir, 0o755)
        self.data = self.dir + "/data"
        run(self.bin + "/initdb", "-D", self.data, "-A", "trust", "--no-sync",
            "-U", "postgres", "-E", "UTF8", "--locale=C")
        with open(self.data + "/postgresql.auto.conf", "a") as f:
            f.write("shared_buffers = 1GB\nmaintenance_work_mem = 1GB\n"
                    "work_mem = 64MB\nfsync = off\nmax_wal_size = 8GB\n"
                    "autovacuum = off\njit = off\nmax_worker_processes = 16\n"
                    "listen_addresses = ''\nport = 54399\n"
                    f"unix_socket_directories = '{self.dir}'\n"
                    + self.conf + "\n")
        run(self.bin + "/pg_ctl", "-D", self.data, "-w", "-l",
            self.dir + "/log", "start")
        return self

    def __exit__(self, *ignored):
        run(self.bin + "/pg_ctl", "-D", self.data, "-m", "immediate", "-w",
            "stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self, dbname="postgres"):
        return psycopg.connect(host=self.dir, port=54399, user="postgres",
                               dbname=dbname, autocommit=True)

    def memory(self):
        """Watch the peak memory of training processes: with it as m: ...,
        then m.peak, in MB."""
        with open(self.data + "/postmaster.pid") as f:
            return Memory(int(f.readline()))


class Memory(threading.Thread):
    """Peak of the memory of a training: what the server's children have of
    their own (RssAnon, sum) above what they had at the start, and the block
    that the compute workers share (RssShmem of the one that touched most of
    it; they use no shared buffers)."""

    def __init__(self, postmaster):
        super().__init__(daemon=True)
        self.postmaster, self.peak, self.ended = postmaster, 0.0, False

    def now(self):
        own = shared = 0
        try:
            with open(f"/proc/{self.postmaster}/task/{self.postmaster}"
                      "/children") as f:
                children = f.read().split()
        except OSError:
            return 0.0
        for pid in children:
            try:
                with open(f"/proc/{pid}/status") as f:
                    status = dict(line.split(":", 1) for line in f)
                with open(f"/proc/{pid}/cmdline") as f:
                    worker = "recsys compute worker" in f.read()
            except OSError:
                continue
            own += int(status.get("RssAnon", "0 kB").split()[0])
            if worker:
                shared = max(shared,
                             int(status.get("RssShmem", "0 kB").split()[0]))
        return (own + shared) / 1024

    def run(self):
        while not self.ended:
            self.peak = max(self.peak, self.now() - self.base)
            time.sleep(.005)

    def __enter__(self):
        self.base = self.now()
        self.start()
        return self

    def __exit__(self, *ignored):
        self.ended = True
        self.join()


def copy_rows(connection, target, rows, types):
    """COPY rows (an iterable of tuples) into target."""
    with connection.cursor().copy(f"COPY {target} FROM STDIN BINARY") as c:
        c.set_types(types)
        for row in rows:
            c.write_row(row)


def copy_pairs(connection, target, pairs):
    """COPY an (n, 2) array into a table of two int4 columns, quickly."""
    n = len(pairs)
    rows = np.zeros(n, dtype=[("c", ">i2"), ("l1", ">i4"), ("u", ">i4"),
                              ("l2", ">i4"), ("i", ">i4")])
    rows["c"], rows["l1"], rows["l2"] = 2, 4, 4
    rows["u"], rows["i"] = pairs[:, 0], pairs[:, 1]
    _copy_binary(connection, target, rows)


def copy_vectors(connection, target, vectors, first=0):
    """COPY (id int4, vector) rows: the array's rows numbered from first."""
    n, d = vectors.shape
    rows = np.zeros(n, dtype=[("c", ">i2"), ("l1", ">i4"), ("id", ">i4"),
                              ("l2", ">i4"), ("d", ">i2"), ("z", ">i2"),
                              ("x", ">f4", (d,))])
    rows["c"], rows["l1"], rows["l2"], rows["d"] = 2, 4, 4 + 4 * d, d
    rows["id"], rows["x"] = np.arange(first, first + n), vectors
    _copy_binary(connection, target, rows)


def _copy_binary(connection, target, rows):
    with connection.cursor().copy(f"COPY {target} FROM STDIN BINARY") as c:
        c.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
        for a in range(0, len(rows), 65536):
            c.write(rows[a:a + 65536].tobytes())
        c.write(struct.pack(">h", -1))


def timed(f, *args):
    """(seconds, result)"""
    t = time.perf_counter()
    result = f(*args)
    return time.perf_counter() - t, result


def median(values):
    return statistics.median(values)


def ratios(ours, peer):
    """The median of peer / ours, run by run, and its range as text."""
    r = sorted(p / o for o, p in zip(ours, peer))
    return median(r), f"{median(r):.1f}x ({r[0]:.1f} to {r[-1]:.1f})"


def table(title, head, rows):
    """Print as a Markdown table."""
    print(f"\n## {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |", flush=True)


def machine():
    """One line: processor, cores, memory, system, commit, date."""
    cpu = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 2 ** 20
    commit = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", HERE, "describe", "--always",
         "--dirty"], capture_output=True, text=True).stdout.strip() or "?"
    return (f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, "
            f"{platform.system()} {platform.release()}; commit {commit}; "
            f"{time.strftime('%Y-%m-%d')}")


def peers_environment():
    """The environment in which the peers run at their best."""
    return {k: v for k, v in os.environ.items()
            if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
                         "OPENBLAS_NUM_THREADS")}
