"""``ftpstorm probe``."""

from __future__ import annotations

from typing import Annotated

import typer


def probe(
    place: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The server; ftp://user@host:port will do too.")],
    asks: Annotated[int, typer.Option(metavar="N", help="How often to ask for a passive port, each way.")] = 5,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Log in as; the password is FTPSTORM_PASSWORD's.")
    ] = None,
    allow_target: Annotated[
        list[str] | None, typer.Option(metavar="HOST|CIDR", help="Allow this server outside loopback; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON on stdout.")] = False,
) -> int:
    """Tell what an FTP server is and offers."""
    from ftpstorm.conduct.probe import print_probe

    return print_probe(place, asks=asks, user=user, allowed=allow_target or (), as_json=as_json)
