"""``ftpstorm sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sample(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the samples.")] = Path("results/samples"),
    every: Annotated[str, typer.Option(metavar="TIME", help="Pace of counters.")] = "100ms",
    ports_every: Annotated[str, typer.Option(metavar="TIME", help="Pace of socket dumps.")] = "1s",
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long; by default until INT or TERM.")
    ] = None,
    server_port: Annotated[
        list[int] | None, typer.Option(metavar="PORT", help="A control port of a server here; may be repeated.")
    ] = None,
    passive_ports: Annotated[
        str | None, typer.Option(metavar="A-B", help="The passive range of a server here.")
    ] = None,
    netns: Annotated[
        int | None,
        typer.Option(min=1, metavar="PID", help="Watch this process's network, such as a container's or a lab host's."),
    ] = None,
) -> int:
    """Sample the kernel's TCP state alone, on a server's host."""
    from ftpstorm.conduct.standalone import sample_kernel

    return sample_kernel(out, every, ports_every, duration, server_port or (), passive_ports, netns)
