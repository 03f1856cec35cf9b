"""What the text of a setting means to a server in Python."""

from __future__ import annotations

import json
from typing import Any


def read_value(text: str) -> Any:
    """Return what a setting's text means: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
