"""The emulator alone and the sampler alone, each until INT or TERM: ``ftpstorm serve`` and ``ftpstorm sample``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from ftpstorm.errors import EnvironmentUnavailableError, ExitCode, UsageError
from ftpstorm.scenario.gallery import find_scenario
from ftpstorm.scenario.loader import load_scenario
from ftpstorm.scenario.target import Emulator
from ftpstorm.units import parse_duration

DEFAULT_FILES: Final = {"small.bin": 1024, "large.bin": 100 * 1024 * 1024}
"""What a server without a scenario offers, by name and bytes."""

Parsed = TypeVar("Parsed")


def serve_emulator(
    scenario: str | None, overrides: Sequence[str], host: str, port: int | None, log: Path | None
) -> int:
    """Serve the emulator of `scenario`, or one with every default, until INT or TERM.

    Raises UsageError for a scenario whose target is no emulator and for overrides without a scenario.
    """
    from ftpstorm.emulator.serve import run_server

    emulator, files = Emulator(), dict(DEFAULT_FILES)
    if scenario is not None:
        loaded = load_scenario(find_scenario(scenario), overrides=overrides).scenario
        if loaded.target.emulator is None:
            raise UsageError(f"{scenario}: its target is {loaded.target.host}, not the emulator")
        emulator, files = loaded.target.emulator, dict(loaded.files)
    elif overrides:
        raise UsageError("--set changes a scenario's keys: name a scenario")

    def on_ready(address: str, number: int, passive_ports: Sequence[int]) -> None:
        print(f"ftp://{address}:{number}/  passive ports {_spans(passive_ports)}", flush=True)
        for name, size in files.items():
            print(f"    {name}  {size} bytes", flush=True)

    run_server(emulator, files, host, port, on_ready, log)
    return ExitCode.PASS


def sample_kernel(
    out: Path,
    every: str,
    ports_every: str,
    duration: str | None,
    server_ports: Sequence[int],
    passive_ports: str | None,
    netns_of: int | None = None,
) -> int:
    """Sample into `out` until INT, TERM or the end of `duration`; print what was counted.

    `netns_of` is a process whose network namespace is watched, such as a container's; None watches our own. A person at
    a terminal reads two lines, a pipe gets all of it as one line of JSON. Raises UsageError for what was asked wrongly,
    EnvironmentUnavailableError where the system does not let us into the namespace.
    """
    from ftpstorm.sampler.standalone import sample

    every_ns = _parsed("--every", every, parse_duration)
    ports_every_ns = _parsed("--ports-every", ports_every, parse_duration)
    if not every_ns or not ports_every_ns:
        raise UsageError("--every and --ports-every must be above 0s")
    duration_ns = _parsed("--duration", duration, parse_duration) if duration is not None else None
    passive = _parsed("--passive-ports", passive_ports, _range) if passive_ports is not None else range(0)

    async def until_signal(netns: int | None) -> dict[str, Any]:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(f"sampling into {out}", file=sys.stderr, flush=True)
        return await sample(out, every_ns, ports_every_ns, duration_ns, server_ports, passive, stop, netns=netns)

    with _network_of(netns_of) as netns:
        counts = asyncio.run(until_signal(netns))
    print(describe_sampling(counts, out) if sys.stdout.isatty() else json.dumps(counts))
    return ExitCode.PASS


@contextmanager
def _network_of(pid: int | None) -> Iterator[int | None]:
    """Hold a descriptor of the network namespace of process `pid`, None being our own.

    Raises UsageError where there is no such process, EnvironmentUnavailableError where its namespace is closed to us.
    """
    if pid is None:
        yield None
        return
    from ftpstorm.sampler.netns import call_inside

    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise UsageError(f"--netns {pid}: there is no process {pid}; `ps -e` lists those that run") from None
    except PermissionError as error:
        raise EnvironmentUnavailableError(_closed(pid, error)) from None
    try:
        try:
            call_inside(descriptor, lambda: None)
        except PermissionError as error:
            raise EnvironmentUnavailableError(_closed(pid, error)) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _closed(pid: int, error: OSError) -> str:
    return (
        f"--netns {pid}: the network namespace of process {pid} is closed to this user ({error.strerror}); "
        f"run as root, or inside it: nsenter -t {pid} -U --preserve-credentials -n ftpstorm sample"
    )


def describe_sampling(counts: dict[str, Any], out: Path) -> str:
    """Return what a sampler counted as text: how much there is and where, and which kernel counters moved meanwhile."""
    start, end = counts["counters_start"], counts["counters_end"]
    moved = [f"{name} +{end[name] - start[name]:,}" for name in end if name in start and end[name] != start[name]]
    return (
        f"{counts.get('samples', 0):,} samples of {counts['ticks']:,} ticks and {counts['dumps']:,} dumps in {out}\n"
        f"counters that moved: {', '.join(moved) or 'none'}"
    )


def _parsed(option: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and int(first) <= int(last) <= 65_535):
        raise ValueError("write first-last, such as 10000-10019")
    return range(int(first), int(last) + 1)


def _spans(ports: Sequence[int]) -> str:
    """Return ports as text, runs shortened: ``10000-10019, 10022``."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
