"""What a user sees of an error that nobody foresaw: one line, and how to get the rest."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final

from ftpstorm.errors import ExitCode

DEBUG_KEY: Final = "FTPSTORM_DEBUG"


def report_internal_error(error: BaseException) -> int:
    """Print `error` to stderr, with its traceback where FTPSTORM_DEBUG is set; return the exit code."""
    if os.environ.get(DEBUG_KEY):
        traceback.print_exception(error, file=sys.stderr)
    print(f"error: internal error: {type(error).__name__}: {error}", file=sys.stderr)
    if not os.environ.get(DEBUG_KEY):
        print(f"this is a bug of ftpstorm; {DEBUG_KEY}=1 shows where it happened", file=sys.stderr)
    return ExitCode.INTERNAL_ERROR
