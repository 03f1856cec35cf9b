"""Invariant 3: nothing pure reads a clock, a socket, the environment or global randomness."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ftpstorm

PACKAGE = Path(ftpstorm.__file__).parent

PURE = (
    "errors.py",
    "units.py",
    "vocabulary.py",
    "scenario",
    "arrivals",
    "ftp",
    "limits",
    "records/schema.py",
    "plan",
    "simulate",
)
IMPURE_BY_DUTY = {
    "scenario/loader.py": "reads the scenario file, and the environment that its ${NAME} refer to",
    "scenario/gallery.py": "looks for files",
}

FORBIDDEN_MODULES = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "io", "multiprocessing", "os", "pathlib", "platform", "resource"),
    *("secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile"),
    *("threading", "time", "urllib", "uuid", "psutil", "uvloop", "aioftp", "pyarrow", "matplotlib"),
}
SEEDED = {"Random"}
"""What may be used of `random`: a generator of one's own, which is given its seed."""
NUMPY_SEEDED = {"default_rng", "Generator", "PCG64", "SeedSequence"}
CLOCK_CALLS = {"now", "today", "utcnow"}
BUILTINS = {"open", "input", "print", "__import__", "exec", "eval"}


def impurities(source: str) -> Iterator[str]:
    """Yield what a module reads beside its arguments, as ``line: what``."""
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        for what in (*_imported(node), *_used(node)):
            yield f"{getattr(node, 'lineno', 0)}: {what}"


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"import {name.name}" for name in names if name.name.split(".")[0] in FORBIDDEN_MODULES)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"from {module}"
            if module == "random":
                yield from (f"random.{name.name}" for name in names if name.name not in SEEDED)
            if module == "ftpstorm" or module.startswith(("ftpstorm.clock", "ftpstorm.channel")):
                yield from (
                    f"{module}.{name.name}" for name in names if name.name in ("monotonic_ns", "read_clock_pair")
                )


def _used(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name not in SEEDED:
            yield f"random.{name}"
        case ast.Attribute(value=ast.Attribute(attr="random"), attr=name) if name not in NUMPY_SEEDED:
            yield f"numpy.random.{name}"
        case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=name) if name in CLOCK_CALLS:
            yield f"datetime.{name}"
        case ast.Attribute(value=ast.Attribute(attr="datetime" | "date"), attr=name) if name in CLOCK_CALLS:
            yield f"datetime.{name}"
        case ast.Call(func=ast.Attribute(attr="default_rng"), args=[], keywords=[]):
            yield "default_rng() without a seed"
        case ast.Call(func=(ast.Name(id="Random") | ast.Attribute(attr="Random")), args=[]):
            yield "Random() without a seed"
        case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
            yield f"{name}()"


def pure_files() -> list[Path]:
    files: list[Path] = []
    for entry in PURE:
        path = PACKAGE / entry
        assert path.exists(), f"{entry} is named pure and does not exist"
        files.extend([path] if path.is_file() else path.rglob("*.py"))
    return sorted(file for file in files if str(file.relative_to(PACKAGE)) not in IMPURE_BY_DUTY)


@pytest.mark.parametrize("file", pure_files(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_pure_module_reads_nothing_but_its_arguments(file: Path) -> None:
    assert list(impurities(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("file", IMPURE_BY_DUTY)
def test_an_exception_from_purity_is_still_needed(file: str) -> None:
    assert list(impurities((PACKAGE / file).read_text(encoding="utf-8"))), f"{file} is pure now: drop the exception"


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from socket import AF_INET",
        "from os import environ",
        "import random\nx = random.random()",
        "from random import shuffle",
        "from random import Random\nr = Random()",
        "import numpy as np\nx = np.random.rand(3)",
        "import numpy as np\nx = np.random.default_rng()",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.now()",
        "x = open('f')",
        "def f():\n    import subprocess",
        "from ftpstorm.clock import monotonic_ns",
    ],
)
def test_the_check_sees_each_kind_of_impurity(source: str) -> None:
    assert list(impurities(source))


@pytest.mark.parametrize(
    "source",
    [
        "from random import Random\nr = Random(7)",
        "import numpy as np\nx = np.random.default_rng(5)",
        "from datetime import datetime\nx = datetime.fromisoformat('2024-01-01')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket",
        "from ftpstorm.clock import Clock",
        "class A:\n    def open(self): ...\nA().open()",
    ],
)
def test_the_check_lets_pure_code_pass(source: str) -> None:
    assert list(impurities(source)) == []
