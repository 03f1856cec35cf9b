"""What one worker can do on a host, as measured against a server with next to nothing in it.

Part of a manifest, so that a report can say how far from its own ceiling a generator was. Measuring and keeping it is
left to whoever runs things.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Ceiling(_Model):
    """One workload at full speed with one worker, clients as many as `sessions`, each starting anew when it is done."""

    sessions: int
    """Open at one time."""
    operations: int
    """Downloads of 1 KiB that the rate was measured over."""
    seconds: float
    per_s: float = Field(gt=0)
    """Downloads a second: the most that was seen, and no more than a lower bound where `bound_by` is not `worker`."""
    cpu_us_each: float = Field(gt=0)
    """CPU of the worker for one download, in microseconds."""
    worker_cpu_share: float
    """Part of one core that the worker used; 1 for all of it."""
    sink_cpu_share: float | None
    """The same of the server; None where it could not be read."""
    bound_by: str
    """`worker`, or what kept it from using its whole core: `sink`, or `host` for neither (somebody else's load)."""


class Lateness(_Model):
    """How late sessions start at a steady rate, from their intended to their actual start, in microseconds."""

    rate_per_s: float
    sessions: int
    p50_us: float
    p99_us: float
    max_us: float


class Calibration(_Model):
    """One calibration. The first four fields tell whether it holds for a run: all of them must be the run's own."""

    hostname_hash: str | None
    kernel: str | None
    python: str
    ftpstorm: str
    measured_at: str
    """UTC, ISO 8601."""
    cores: int | None
    """CPUs that could be used. With one of them, worker and server share it, and the ceilings are too low."""
    load_average: float
    """Of the last minute, as the calibration began: above the number of idle cores, it was disturbed."""
    steal_share: float | None
    """CPU time of this virtual machine that others got meanwhile, as a part of one core; None where not known."""
    open_connections: Ceiling
    """Downloads over control connections that stay open."""
    whole_sessions: Ceiling
    """Downloads in a session each: connect, login, download, quit."""
    lateness: Lateness

    def worker_share(self, sessions_per_s: float, transfers_per_s: float) -> float:
        """Return the part of one worker's core that such a load takes: s x c_session + (t - s) x c_transfer.

        `sessions_per_s` (s) and `transfers_per_s` (t) are a worker's own; c are the two `cpu_us_each`. A session is
        taken to hold its first transfer; with fewer transfers than sessions each session counts in full. 1,000
        sessions with 3,000 transfers a second at 300 and 150 microseconds: 0.3 + 2,000 x 0.00015 = 0.6.
        """
        further = max(0.0, transfers_per_s - sessions_per_s)
        return (sessions_per_s * self.whole_sessions.cpu_us_each + further * self.open_connections.cpu_us_each) / 1e6
