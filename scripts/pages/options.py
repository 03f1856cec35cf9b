"""Arguments, options and examples of each command, as the command itself describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from ftpstorm.cli.entry import new_app
from ftpstorm.cli.examples import EXAMPLES
from ftpstorm.limits.tables import markdown

_APP: Final[Any] = get_command(new_app())

COMMANDS: Final = tuple(sorted(_APP.commands))
"""Every command; each has a page docs/guide/COMMAND.md with its blocks."""

_HEADER: Final = ("argument or option", "meaning", "default")
_BLOCK: Final = re.compile(r"(<!-- (options|examples):([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def fill_options(page: str) -> str:
    """Return `page` with what stands between `<!-- options:COMMAND -->` (or examples) and `<!-- end -->` made anew.

    Raises KeyError for a command that there is none of, ValueError for a page without a block of either kind.
    """
    makers = {"options": _options, "examples": _examples}
    kinds: set[str] = set()

    def block(found: re.Match[str]) -> str:
        kinds.add(found[2])
        return f"{found[1]}\n{makers[found[2]](found[3])}\n{found[5]}"

    filled = _BLOCK.sub(block, page)
    if kinds != set(makers):
        raise ValueError(f"a page of a command has blocks `options` and `examples`; this one has {sorted(kinds)}")
    return filled


def _options(name: str) -> str:
    command = _APP.commands[name]
    inner = getattr(command, "commands", None)
    if inner is None:
        return markdown(_HEADER, _rows(command))
    parts = []
    for word, each in inner.items():
        parts.append(f"`ftpstorm {name} {word}`: {_first_line(each.help)}\n")
        parts.append(markdown(_HEADER, _rows(each)))
    return "\n".join(parts)


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


def _rows(command: Any) -> Iterator[tuple[str, str, str]]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        placeholder = (parameter.metavar or parameter.name.upper()).strip("{}")
        if parameter.param_type_name == "argument":
            words = f"`{placeholder}`"
        else:
            words = ", ".join(f"`{word}`" for word in parameter.opts)
            if not parameter.is_flag:
                words += f" `{placeholder}`"
        yield words.replace("|", r"\|"), _cell(parameter.help or ""), _default(parameter)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required or value is None or value is False or value in ([], (), "") or callable(value):
        return "required" if parameter.required else ""
    return f"`{value}`"


def _examples(name: str) -> str:
    return "\n".join(("```sh", *EXAMPLES[name], "```", ""))
