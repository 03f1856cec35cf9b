"""What every test of the lab may use: a script in a lab, and a row of the table that `make lab-report` prints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.lab_drives import Drive, make_drive
from support.lab_report import Row, Shows, show

_ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


@pytest.fixture
def drive(require: Callable[[str, bool, str], None]) -> Drive:
    """Give ``drive(server, script)``: run a script in a lab that has the server."""
    return make_drive(require)


@pytest.fixture
def shows(request: pytest.FixtureRequest) -> Shows:
    """Give ``shows(situation, quantity, predicted, measured)``."""
    rows = request.config.stash.setdefault(_ROWS, [])

    def add(situation: str, quantity: str, predicted: object, measured: object) -> None:
        rows.append(Row(situation, quantity, predicted, measured))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table where it was asked for."""
    if config.getoption("--lab-report") and (rows := config.stash.get(_ROWS, [])):
        terminalreporter.ensure_newline()
        show(rows)
