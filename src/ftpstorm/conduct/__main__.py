"""``python -m ftpstorm.conduct``: the conductor process, started by the supervisor."""

from __future__ import annotations

import asyncio
import sys

from ftpstorm.conduct.conductor import serve_channel
from ftpstorm.conduct.mishap import report_internal_error
from ftpstorm.errors import ExitCode


def main() -> int:
    """Run the conductor; return its exit code."""
    try:
        try:
            import uvloop
        except ImportError:
            return asyncio.run(serve_channel())
        return uvloop.run(serve_channel())
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        return report_internal_error(error)


if __name__ == "__main__":
    sys.exit(main())
