"""``python -m ftpstorm.engine``: a worker process, started by the conductor."""

from __future__ import annotations

import asyncio
import signal

from ftpstorm.engine.worker import serve_channel


def main() -> None:
    """Run the worker. INT and TERM are the supervisor's business: a worker obeys its channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve_channel())
    else:
        uvloop.run(serve_channel())


if __name__ == "__main__":
    main()
