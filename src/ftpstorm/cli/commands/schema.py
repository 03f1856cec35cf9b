"""``ftpstorm schema``."""

from __future__ import annotations


def schema() -> int:
    """Print the JSON Schema of scenario files, for editors."""
    from ftpstorm.conduct.authoring import print_schema

    return print_schema()
