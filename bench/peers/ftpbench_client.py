"""pyftpdlib's ftpbench, driven through its own functions.

Its command line runs its phases in a fixed order for a fixed time, which cannot be compared; what it does in a phase
can. retr is its phase `N concurrent clients (RETR)`: commands one client after another over ftplib, the data read by
its AsyncReader in one asyncore loop. full is its connect(), retr() and a quit(), one after another.
"""

from __future__ import annotations

import importlib.util
import sysconfig
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from bench.job import HOST, PASSWORD, USER, Job, Measured, answer, read_job


def load_ftpbench(job: Job) -> ModuleType:
    """Import the installed script and point it at the server."""
    script = Path(sysconfig.get_path("scripts"), "ftpbench")
    loader = SourceFileLoader("ftpbench", str(script))
    spec = importlib.util.spec_from_loader("ftpbench", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    warnings.simplefilter("ignore", DeprecationWarning)  # asyncore
    loader.exec_module(module)
    # What its own main() sets from its command line.
    vars(module).update(HOST=HOST, PORT=job.port, USER=USER, PASSWORD=PASSWORD, TESTFN=job.file, FILE_SIZE=job.size)
    vars(module).update(DEBUG=False)
    return module


def rounds_of_retr(bench: ModuleType, job: Job) -> int:
    """Let all clients fetch the file together, again and again; return how many files came."""
    clients = [bench.connect() for _ in range(job.sessions)]
    shares = job.shares
    ops = 0
    for turn in range(max(shares)):
        active = [client for client, share in zip(clients, shares, strict=True) if turn < share]
        for client in active:
            client.voidcmd("TYPE I")
            bench.AsyncReader(client.transfercmd("RETR " + bench.TESTFN))
        bench.asyncore.loop(use_poll=True)
        for client in active:
            client.voidresp()
        ops += len(active)
    for client in clients:
        client.quit()
    return ops


def whole_sessions(bench: ModuleType, job: Job) -> int:
    """Do whole sessions of one transfer, one after another; return how many."""
    for _ in range(job.operations):
        client = bench.connect()
        bench.retr(client)
        client.quit()
    return job.operations


def main() -> None:
    """Run one job and print the answer."""
    job = read_job(("retr", "full"))
    bench = load_ftpbench(job)
    with Measured() as measured:
        ops = rounds_of_retr(bench, job) if job.workload == "retr" else whole_sessions(bench, job)
    answer(job, measured, ops=ops, size=None)  # it discards what it reads and counts nothing


if __name__ == "__main__":
    main()
