"""Variables in the texts of steps: how they are written, and which there always are. Pure."""

from __future__ import annotations

import re
from typing import Final

VARIABLE: Final = re.compile(r"\{\{|\}\}|\{([a-z_][a-z0-9_]*)\}")
"""A variable such as ``{session}``, or a doubled brace that stands for the brace itself."""

NAME: Final = r"^[a-z_][a-z0-9_]*$"

BUILT_IN: Final = ("session", "operation", "worker", "user")
"""`session`: number of the session within its load, over all shards; `operation`: number of the step within its
session, from 0; `worker`: number of the worker, over all shards; `user`: the name that the session logs in with."""


def has_variables(text: str) -> bool:
    """Tell whether a text means something else than itself."""
    return "{" in text and VARIABLE.search(text) is not None


def variables_in(text: str) -> tuple[str, ...]:
    """Return the names of the variables in a text, in order."""
    return tuple(match[1] for match in VARIABLE.finditer(text) if match[1])
