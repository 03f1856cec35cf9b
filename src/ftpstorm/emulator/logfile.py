"""Where the emulator's log goes: a file or nowhere, never stderr, which belongs to the terminal of the run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOGGERS: Final = ("aioftp", "asyncio", "ftpstorm.emulator")


@contextlib.contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """Send warnings and errors of the emulator, aioftp and asyncio to `path`, appending; None drops them.

    Restores the loggers on the way out. Raises OSError when the file cannot be opened.
    """
    handler: logging.Handler = logging.NullHandler() if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()
