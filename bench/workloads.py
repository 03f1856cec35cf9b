"""What is measured: the cases, how much work each is, and the goals that they are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Case:
    """One workload at one concurrency. `operations` is a multiple of `sessions` where sessions divide the work."""

    name: str
    what: str
    workload: str
    """Of the C client: retr, stor, full, burst, hold or greet."""
    sessions: int
    operations: int
    size: int = 1024
    rate: int = 0
    peers: bool = False
    """Whether the peers take part too."""
    tls: bool = False
    """Over explicit TLS, data connections resuming their control connection's session. The C client cannot do it."""

    @property
    def family(self) -> str:
        """W1 of ``W1@16``, W4 of ``W4-retr``."""
        return self.name.partition("@")[0].partition("-")[0]

    @property
    def payload(self) -> int:
        """Payload bytes of the whole case."""
        return self.operations * self.size

    def at_most(self, operations: int) -> Case:
        """Return the case with no more than about so many operations, whole rounds of its sessions kept."""
        if self.operations <= operations:
            return self
        sessions = min(self.sessions, operations)
        return replace(self, sessions=sessions, operations=operations // sessions * sessions)


def _small(family: str, workload: str, what: str, sessions: int, operations: int) -> Case:
    main = sessions == 64
    name = family if main else f"{family}@{sessions}"
    return Case(name, f"{what}, {sessions} at a time", workload, sessions, operations, peers=main)


CASES: Final = (
    *(
        _small("W1", "retr", "RETR of 1 KiB, each session on one control connection", sessions, operations)
        for sessions, operations in ((64, 25_600), (1, 10_000), (16, 24_000), (256, 25_600))
    ),
    *(
        _small("W2", "full", "a whole session for each RETR of 1 KiB", sessions, operations)
        for sessions, operations in ((64, 12_800), (1, 6_000), (16, 12_000), (256, 12_800))
    ),
    Case("W3", "1,500 sessions at one instant: login, LIST, QUIT", "burst", 1_500, 1_500, peers=True),
    Case("W4-retr", "RETR of 100 MiB, one connection", "retr", 1, 10, 100 * MIB, peers=True),
    Case("W4-stor", "STOR of 100 MiB, one connection", "stor", 1, 10, 100 * MIB, peers=True),
    Case("W5", "10,000 sessions logged in and held together", "hold", 256, 10_000, peers=True),
    Case("arrivals", "5,000 arrivals a second: connect, greeting, close", "greet", 1, 20_000, rate=5_000),
    Case("W1-tls", "W1 over FTPS", "retr", 64, 3_200, peers=True, tls=True),
    Case("W2-tls", "W2 over FTPS", "full", 64, 1_280, peers=True, tls=True),
    Case("W4-retr-tls", "W4-retr over FTPS", "retr", 1, 5, 100 * MIB, tls=True),
    Case("W4-stor-tls", "W4-stor over FTPS", "stor", 1, 5, 100 * MIB, tls=True),
    Case("W5-tls", "1,000 FTPS sessions logged in and held together", "hold", 256, 1_000, tls=True),
)
"""Goals are for plain text; what TLS costs is shown beside it."""

TLS: Final = "-tls"
"""End of the name of a case that stands beside the one without it."""

QUICK: Final = {"retr": 3_200, "full": 1_280, "burst": 600, "stor": 2, "hold": 1_000, "greet": 5_000}
"""Operations of a smoke run."""

QUICK_NAMES: Final = ("W1", "W2", "W3", "W4-retr", "W4-stor", "W5", "arrivals", "W1-tls")
QUICK_BULK: Final = 2
QUICK_TLS: Final = 640


def quick(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Return the cases of a smoke run: one concurrency each, little work."""
    return tuple(
        case.at_most(QUICK_BULK if case.family == "W4" else QUICK_TLS if case.tls else QUICK[case.workload])
        for case in cases
        if case.name in QUICK_NAMES
    )


def chosen(only: str | None) -> tuple[Case, ...]:
    """Return the cases that `only` names (``W1,W4-stor``; a family names all of its cases), in table order.

    Raises ValueError for a name that there is not.
    """
    if only is None:
        return CASES
    names = {name.strip() for name in only.split(",")}
    unknown = names - {case.name for case in CASES} - {case.family for case in CASES}
    if unknown:
        raise ValueError(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in CASES)}")
    return tuple(case for case in CASES if case.name in names or case.family in names)


def growth_cases() -> tuple[Case, ...]:
    """Return the cases of the straight-line check: W1 at 64 sessions with 10^4, 10^5 and 10^6 RETRs."""
    sizes = (10_048, 100_032, 1_000_000)
    return tuple(Case(f"growth-{n}", f"{n:,} RETRs of 1 KiB", "retr", 64, n) for n in sizes)


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: a figure of `client` in `case`, relative to another client's where `against` names one."""

    case: str
    figure: str
    limit: float
    against: str | None = None
    client: str = "ftpstorm"
    at_least: bool = False
    """The figure must be at least the limit, not at most. It is then the other client's figure over ours."""

    @property
    def text(self) -> str:
        """The goal as a sentence."""
        sign = ">=" if self.at_least else "<="
        if self.at_least:
            return f"{self.case}: {self.figure} of {self.against} {sign} {self.limit:g} x {self.client}'s"
        return f"{self.case}: {self.client}'s {self.figure} {sign} {self.limit:g}" + (
            f" x {self.against}'s" if self.against else ""
        )

    def judge(self, workloads: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict; `ok` is None with a `reason` where a figure is missing."""
        ours = workloads.get(self.case, {}).get(self.client, {}).get(self.figure)
        theirs = workloads.get(self.case, {}).get(self.against, {}).get(self.figure) if self.against else 1.0
        if ours is None or theirs is None:
            return {"goal": self.text, "measured": None, "ok": None, "reason": "not measured in this run"}
        over, under = (theirs, ours) if self.at_least else (ours, theirs)
        if not under:
            return {"goal": self.text, "measured": None, "ok": None, "reason": "a figure of 0 gives no ratio"}
        value = over / under
        return {
            "goal": self.text,
            "measured": value,
            "ok": value >= self.limit if self.at_least else value <= self.limit,
        }


CPU: Final = "cpu_us_per_op"
GOALS: Final = (
    *(Goal(name, CPU, 1.3, "c") for name in ("W1", "W1@256", "W2", "W2@256", "W3")),
    Goal("W3", "wall_s", 1.5, "c"),
    *(Goal(name, CPU, 1.2, "c") for name in ("W4-retr", "W4-stor")),
    Goal("W5", "bytes_per_session", 1_536),
    Goal("arrivals", "lateness_p50_us", 60),
    Goal("arrivals", "lateness_p99_us", 250),
    *(Goal(name, CPU, 3.5, "aioftp-asyncio", at_least=True) for name in ("W1", "W2")),
    *(Goal(name, CPU, 2, peer, at_least=True) for peer in ("ftpbench", "ftplib") for name in ("W1", "W2")),
    *(Goal(name, CPU, 1.5, "pycurl", at_least=True) for name in ("W1", "W2")),
    *(Goal(name, CPU, 1.05, "ftpstorm", "ftpstorm-2-workers") for name in ("W1", "W2")),
)
