"""Whether a measurement counts: the client did what was asked, and the server saw exactly that.

A client that lost half of its work would look fast. So no answer is believed by itself: operations and payload bytes
are held against the sink's own counts, for every client alike.
"""

from __future__ import annotations

from typing import Any, Final

PAYLOAD: Final = frozenset({"retr", "stor", "full"})
"""Workloads whose payload is known in advance; of a listing, libcurl counts the bytes after it has stripped the CRs."""


def complaints(
    workload: str, operations: int, sessions: int, size: int, client: dict[str, Any], server: dict[str, Any]
) -> list[str]:
    """Return what does not add up, [] where all does.

    `client` and `server` are the JSON answers of both; `size` is the file's size in bytes. A client's ``bytes`` of None
    means that it does not count them: the server's count then stands alone.
    """
    wrong: list[str] = []

    def must_be(what: str, seen: int | None, wanted: int) -> None:
        if seen is not None and seen != wanted:
            wrong.append(f"{what}: {seen}, not {wanted}")

    must_be("operations the client did", client["ops"], operations)
    must_be("sessions the server saw", server["sessions"], sessions if workload in ("retr", "stor") else operations)
    must_be("transfers the server completed", server["transfers"], 0 if workload in ("hold", "greet") else operations)
    if workload in PAYLOAD:
        payload = operations * size
        up = workload == "stor"
        must_be("bytes the client counted", client["bytes"], payload)
        must_be("bytes the server sent", server["sent"], 0 if up else payload)
        must_be("bytes the server received", server["received"], payload if up else 0)
    return wrong
