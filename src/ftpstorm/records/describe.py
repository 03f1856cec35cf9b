"""Describe the records in Markdown: docs/records.md is this module's output, and a test holds it to that.

``python -m ftpstorm.records.describe > docs/records.md``
"""

from __future__ import annotations

from ftpstorm.records.schema import OPERATIONS, SAMPLES, SESSIONS, Table
from ftpstorm.vocabulary import Metric

_TYPES = {"b": "int8", "B": "uint8", "H": "uint16", "I": "uint32", "q": "int64", "Q": "uint64", "d": "float64"}

_HEAD = """\
# Records

A run's folder holds three tables as Parquet: `sessions.parquet`, `operations.parquet` and `samples.parquet`. Before
the run is over, and where it was cut short, the same records lie in `spool/*.spool`; `ftpstorm report` reads either.
In Parquet each column carries its unit and meaning as field metadata.

Every `*_ns` column is an instant on CLOCK_MONOTONIC in nanoseconds after the run's start; `manifest.json` pairs that
start with UTC. An instant that never came is null. Columns with an enumeration hold its words. Each table also has
`worker`, the number of the process that wrote the record, and its reply texts are resolved to `text`.
"""

_SAMPLES = "One row for each reading. A series is (`host`, `metric`, `key`), resolved in the Parquet file."


def _table(table: Table, intro: str) -> str:
    lines = [f"## {table.name}", "", intro, "", "| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in table.columns:
        kind = "word" if column.words else _TYPES.get(column.code, "text")
        doc = column.doc + (": " + ", ".join(column.words.words()) if column.words else "")
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {doc} |")
    return "\n".join(lines)


def describe() -> str:
    """Return docs/records.md."""
    series = "\n".join(f"- `{metric.value}`" for metric in Metric)
    return "\n".join(
        (
            _HEAD,
            _table(SESSIONS, "One row for each planned arrival: a session that ran, or one that found no free slot."),
            "",
            _table(OPERATIONS, "One row for each executed step, and one for each retry of it."),
            "",
            _table(SAMPLES, _SAMPLES),
            "",
            "Metrics (what each counts, and its keys, is documented in `ftpstorm.vocabulary.Metric`):",
            "",
            series,
            "",
        )
    )


if __name__ == "__main__":
    print(describe(), end="")
