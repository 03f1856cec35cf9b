"""Run the benchmarks: `python -m bench.run [--quick] [--only W1,W2] [--peers] [--[no-]growth]`, from the repository.

Every measurement is a fresh network namespace and a fresh server (bench/arena.py). Rounds are interleaved: each round
runs every client of a case once, in an order that rotates, so that a slow minute of the machine hits all alike. A
measurement whose books do not balance (bench/books.py) counts for nothing. Results go to results/bench/latest.json and
a table to stdout. Exit status 1 when ftpstorm or the C client failed a round; goals that are missed are shown, not
enforced: only a quiet machine can tell.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from rich.console import Console

from bench.books import complaints
from bench.clients import ABSENT, BARE_PYTHON, C_QUICKACK, OWN, PEERS, TWO_WORKERS, Client, peers_missing, takes_part
from bench.figures import Round, growth_spread, show, summarise, with_ratios
from bench.host import CORES_FOR_SCALING, Cores, Quiet, choose_cores, host_facts
from bench.programs import CACHE, SOURCES, NoCompilerError, build, certificate
from bench.workloads import GOALS, TLS, Case, chosen, growth_cases, quick
from ftpstorm.errors import EnvironmentUnavailableError

ROOT: Final = SOURCES.parent
RESULTS: Final = ROOT / "results" / "bench" / "latest.json"
WITHIN_S: Final = 300
TABLE_COLUMNS: Final = 130
"""Width where stdout is no terminal."""

GROWTH_MOST: Final = 0.05
GROWTH_ONCE: Final = 1_000_000
"""So many transfers are a mean by themselves: one round is enough."""

QUIET_SHARE: Final = 0.05
"""Share of one core that other processes may use while figures are taken that one would quote."""

ROUNDS_TO_QUOTE: Final = 3
CONDITIONS: Final = ("namespace", "rps", "pinned")
"""What the arena must have been granted."""


def measure(client: Client, case: Case, cores: Cores) -> Round:
    """Measure once; return the client's answer with the server's counts and the conditions, or an ``error``."""
    job = {
        "server": tls_sink() if case.tls else [str(build("sink"))],
        "client": client.command(case),
        "server_core": cores.server,
        "client_cores": cores.of(workers=2 if client is TWO_WORKERS else 1),
        "within_s": WITHIN_S,
    }
    arena = subprocess.run(
        [sys.executable, "-m", "bench.arena"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if arena.returncode:
        return {"error": f"the arena ended with {arena.returncode}: {arena.stderr.strip()[-500:]}"}
    said = json.loads(arena.stdout)
    if "error" in said:
        return {"error": said["error"], "conditions": said["conditions"]}
    answer: Round = {**said["client"], "server": said["server"], "conditions": said["conditions"]}
    wrong = complaints(case.workload, case.operations, case.sessions, case.size, answer, said["server"])
    if wrong:
        answer["error"] = "the books do not balance: " + "; ".join(wrong)
    return answer


def tls_sink() -> list[str]:
    """Return the command of the sink for FTPS."""
    return [sys.executable, "-m", "bench.tls_sink", "--pair", str(certificate().pair)]


def rotated(clients: list[Client], rounds: int) -> Iterator[Client]:
    """Yield every client once a round, each round beginning with the next one."""
    for number in range(rounds):
        at = number % len(clients)
        yield from clients[at:] + clients[:at]


def run_case(case: Case, clients: list[Client], rounds: int, cores: Cores, console: Console) -> dict[str, Any]:
    """Measure all clients of one case; return figures by client."""
    taken: dict[str, list[Round]] = {client.name: [] for client in clients}
    for client in rotated(clients, rounds):
        one = measure(client, case, cores)
        taken[client.name].append(one)
        told = one.get("error") or f"{one['cpu_s']:.3f} s of CPU, {one['wall_s']:.2f} s"
        console.print(f"[dim]{case.name} {client.name}: {told}[/]", highlight=False)
    return with_ratios({name: summarise(case, rounds) for name, rounds in taken.items()})


def check_growth(rounds: int, cores: Cores, console: Console) -> dict[str, dict[str, Any]]:
    """Measure whether cost grows in a straight line and memory not at all, and what the records of it come to."""
    steps: list[dict[str, Any]] = []
    for case in growth_cases():
        figures = run_case(case, list(OWN), 1 if case.operations >= GROWTH_ONCE else rounds, cores, console)
        steps.append({"operations": case.operations, "c": figures["c"], **figures["ftpstorm"]})
    return {"growth": _straight(steps), "memory": _flat(steps), "records": check_records(cores, console)}


def check_records(cores: Cores, console: Console) -> dict[str, Any]:
    """Measure what a million operations leave on disk, and how long it takes to make their report."""
    from bench.records import measure_records

    folder = CACHE / "records"
    shutil.rmtree(folder, ignore_errors=True)
    recording = replace(OWN[1], program=(*OWN[1].program, "--keep", str(folder)))
    try:
        said = measure(recording, growth_cases()[-1], cores)
        figures = {"says": said["error"], "ok": None} if "error" in said else measure_records(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"[dim]{figures['says']}[/]", highlight=False)
    return figures


def _flat(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the largest memory of the runs."""
    most = [step.get("max_rss_bytes") for step in steps]
    sizes = " / ".join("-" if each is None else f"{each / 2**20:.1f}" for each in most)
    known = [each for each in most if each is not None]
    spread = (max(known) - min(known)) / min(known) if len(known) == len(steps) else None
    return {
        "says": f"a worker had at most {sizes} MiB in them"
        + ("" if spread is None else f", {spread:.1%} apart (at most {GROWTH_MOST:.0%} wanted)"),
        "spread": spread,
        "ok": None if spread is None else spread <= GROWTH_MOST,
    }


def _straight(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the CPU that each transfer took."""
    spread = growth_spread(steps)
    sizes = " / ".join(f"{step['operations']:,}" for step in steps)
    costs = " / ".join("-" if (cost := step["cpu_us_per_op"]) is None else f"{cost:.1f}" for step in steps)
    says = f"{sizes} transfers cost {costs} us each"
    if spread is not None:
        says += f", {spread:.1%} apart (at most {GROWTH_MOST:.0%} wanted)"
    return {"says": says, "spread": spread, "ok": None if spread is None else spread <= GROWTH_MOST, "steps": steps}


def check_scaling(workloads: dict[str, Any], cores: Cores) -> dict[str, Any]:
    """Compare the throughput of two workers with one's, which takes a core for each beside the server's own."""
    if cores.second is None:
        reason = (
            f"fewer than {CORES_FOR_SCALING} cores: two workers share the client's core, so only their CPU is compared"
        )
        return {"says": f"wall scaling not measurable, {reason}", "speedup": None, "reason": reason}
    speedup = {}
    for case, clients in workloads.items():
        one = clients.get("ftpstorm", {}).get("ops_per_s")
        two = clients.get(TWO_WORKERS.name, {}).get("ops_per_s")
        if one and two:
            speedup[case] = two / one
    says = ", ".join(f"{case} {factor:.2f} times one worker's rate" for case, factor in speedup.items())
    return {"says": says or "not in this run", "speedup": speedup, "reason": None}


def check_tls(workloads: dict[str, Any]) -> dict[str, Any]:
    """Set what FTPS costs beside the same work in plain text."""
    ratios: dict[str, float] = {}
    told = []
    for name, clients in workloads.items():
        ours, plain = clients.get("ftpstorm", {}), workloads.get(name.removesuffix(TLS), {}).get("ftpstorm", {})
        if not name.endswith(TLS):
            continue
        for figure, what in (("cpu_us_per_op", "CPU"), ("bytes_per_session", "memory")):
            if ours.get(figure) and plain.get(figure):
                ratios[name] = ours[figure] / plain[figure]
                told.append(f"{name} takes {ratios[name]:.1f} times the {what} of {name.removesuffix(TLS)}")
    return {"says": "; ".join(told) or "not in this run", "ratio_to_plain": ratios}


def conditions_of(workloads: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the different conditions under which rounds ran; one, unless the host changed its mind."""
    found: list[dict[str, Any]] = []
    for clients in workloads.values():
        for figures in clients.values():
            for one in figures["rounds"]:
                seen = one.pop("conditions", None)
                if seen is not None and seen not in found:
                    found.append(seen)
    return found


def is_decisive(results: dict[str, Any]) -> bool:
    """Tell whether goals may be judged by these figures: enough rounds, a quiet machine, every condition granted."""
    granted = all(seen[key] is True for seen in results["conditions"] for key in CONDITIONS)
    return results["rounds"] >= ROUNDS_TO_QUOTE and results["host"]["others_cpu_share"] <= QUIET_SHARE and granted


def warnings_of(results: dict[str, Any]) -> list[str]:
    """Return what makes the figures less than they should be."""
    host = results["host"]
    told = []
    if host["others_cpu_share"] > QUIET_SHARE:
        told.append(
            f"the machine was not quiet: other processes used {host['others_cpu_share']:.0%} of a core meanwhile "
            f"(and the hypervisor took {host['steal_s']:.1f} s away); every figure here is too high, and not evenly so"
        )
    if results["rounds"] < ROUNDS_TO_QUOTE:
        told.append(f"{results['rounds']} round(s): a smoke run, no figures to quote")
    for conditions in results["conditions"]:
        told += [f"{key}: {conditions[key]}" for key in CONDITIONS if conditions[key] is not True]
    told += [f"{name} takes no part: {why}" for name, why in results["absent"].items()]
    return told


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="Benchmark the engine against its peers.")
    parser.add_argument("--quick", action="store_true", help="smoke run: little work, one round, under a minute")
    parser.add_argument("--only", metavar="W1,W2", help="only these workloads")
    parser.add_argument("--peers", action="store_true", help="other FTP clients too")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (5; 1 with --quick)")
    parser.add_argument(
        "--growth",
        action=argparse.BooleanOptionalAction,
        help="10^4, 10^5 and 10^6 transfers: CPU, memory and records of each (default: without --quick and --only)",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    if options.growth is None:
        options.growth = not options.quick and options.only is None
    return options


def main() -> None:
    """Measure, write, show."""
    options = read_options()
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    try:
        cases = chosen(options.only)
        build("sink")
        build("client")
    except (ValueError, NoCompilerError) as error:
        raise SystemExit(f"bench: {error}") from None
    if options.quick:
        cases = quick(cases)
    absent = dict(ABSENT) if options.peers else {}
    try:
        certificate()
    except EnvironmentUnavailableError as error:
        cases = tuple(case for case in cases if not case.tls)
        absent["FTPS"] = str(error)
    clients = [*OWN, C_QUICKACK, BARE_PYTHON, TWO_WORKERS]
    if options.peers and (why := peers_missing()):
        absent |= {peer.name: why for peer in PEERS}
    elif options.peers:
        clients += PEERS
    cores = choose_cores()
    host = host_facts(cores)
    quiet = Quiet()
    workloads = {
        case.name: run_case(case, [one for one in clients if takes_part(one, case)], options.rounds, cores, console)
        for case in cases
    }
    checks = {"two workers": check_scaling(workloads, cores), "TLS": check_tls(workloads)}
    if options.growth:
        checks |= check_growth(options.rounds, cores, console)
    results: dict[str, Any] = {
        "schema": 1,
        "host": host | quiet.facts(),
        "rounds": options.rounds,
        "quick": options.quick,
        "conditions": conditions_of(workloads),
        "about": {
            case.name: {
                "what": case.what,
                "sessions": case.sessions,
                "operations": case.operations,
                "size_bytes": case.size,
            }
            for case in cases
        },
        "workloads": workloads,
        "checks": checks,
        "goals": [goal.judge(workloads) for goal in GOALS],
        "absent": absent,
    }
    results["decisive"] = is_decisive(results)
    if not results["decisive"]:
        for check in (*checks.values(), *results["goals"]):
            check["ok"] = None
            check.setdefault("reason", "undecided: see warnings")
    results["warnings"] = warnings_of(results)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    show(console, cases, results)
    console.print(f"written to {RESULTS.relative_to(ROOT)}")
    failed = [
        f"{case} {one.name}"
        for case in workloads
        for one in OWN
        if workloads[case].get(one.name, {}).get("rounds_failed")
    ]
    if failed:
        raise SystemExit(f"bench: rounds failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
