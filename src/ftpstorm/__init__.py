"""ftpstorm: an FTP load generator and port-exhaustion reproducer that names what ran out.

``ftpstorm.run`` and the rest of the Python API are imported when they are first used, so that the processes of a run,
which import this package too, do not pay for them.
"""

from importlib import import_module

__version__ = "0.1.0"

_API = ("Failures", "FailuresByClass", "Result", "load", "run")


def __getattr__(name: str) -> object:
    if name in _API:
        return getattr(import_module("ftpstorm.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
