"""What the emulator counts itself: the server's side of a run's books."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Totals since the server started. Written by the server's parts, read by whoever publishes them."""

    accepted: int = 0
    """Control connections that accept(2) returned, the refused ones included."""
    refused_connections: int = 0
    """Control connections turned away by the connection cap."""
    logins: int = 0
    """PASS answered with 230."""
    passive_replies: int = 0
    """PASV answered with 227 and EPSV with 229."""
    passive_refused: int = 0
    """PASV and EPSV that found no passive port, and so got the scenario's reply."""
    data_accepted: int = 0
    """Data connections accepted, used for a transfer or not."""
    transfers_completed: int = 0
    """Transfers answered with 226."""
    transfers_failed: int = 0
    """Transfers answered with 150 but not with 226: no data connection came, it broke, ABOR, or control was lost."""
    bytes_sent: int = 0
    """Payload bytes handed to the kernel on data connections."""
    bytes_received: int = 0
    """Payload bytes read from data connections."""
    leaked: int = 0
    """Data connections that the scenario had left unclosed."""
    backend_requests: int = 0
    """Questions put to the back end, one before each transfer."""
    backend_connects: int = 0
    """Connections made to the back end."""
    backend_refused: int = 0
    """Questions that got no answer, most for want of a local port: the transfer was refused with 451."""
