"""What every test of the lab may use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.lab_drives import Drive, make_drive


@pytest.fixture
def drive(require: Callable[[str, bool, str], None]) -> Drive:
    """Give ``drive(server, script)``: run a script in a lab that has the server."""
    return make_drive(require)
