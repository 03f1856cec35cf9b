"""The command line: one module a command, no logic. Heavy imports stand inside the functions that need them."""

from ftpstorm.cli.entry import main

__all__ = ["main"]
