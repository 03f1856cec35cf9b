"""Where the log goes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ftpstorm.emulator.logfile import logging_to

NAMES = ("aioftp.server", "asyncio", "ftpstorm.emulator.server")


def test_warnings_go_to_the_file_and_nowhere_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path / "log"):
        for name in NAMES:
            logging.getLogger(name).info("quiet")
            logging.getLogger(name).warning("loud from %s", name)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [f"loud from {name}" for name in NAMES]
    assert capfd.readouterr() == ("", "")


def test_without_a_file_warnings_are_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to(None):
        logging.getLogger("asyncio").error("lost")
    assert capfd.readouterr() == ("", "")


def test_the_loggers_are_as_before_afterwards() -> None:
    logger = logging.getLogger("aioftp")
    before = logger.level, logger.propagate, list(logger.handlers)
    with logging_to(None):
        assert not logger.propagate
    assert (logger.level, logger.propagate, logger.handlers) == before
