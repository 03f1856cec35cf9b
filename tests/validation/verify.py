"""``make verify-theory``: run every situation, print prediction beside measurement, write the table and its page.

    python -m validation.verify [--only TEXT ...] [--kind counts|rates] [--jobs N] [--keep DIR | --from DIR] [--print]

Exit status: 0 where nothing disagrees, 1 otherwise, 120 where this machine can run none of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from ftpstorm import api
from ftpstorm.errors import EnvironmentUnavailableError, ExitCode
from ftpstorm.records.reader import open_run
from ftpstorm.report.build import build_summary
from validation.curves import Comparison, compare_curves
from validation.judging import Row, judge, not_run
from validation.situations import Situation, read_situations

ROOT: Final = Path(__file__).resolve().parents[2]
TABLE: Final = ROOT / "results" / "validation.json"


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one situation."""

    situation: Situation
    rows: list[Row]
    curves: tuple[Comparison, ...] = ()


def run_situation(situation: Situation, out: Path) -> Verified:
    """Run one situation under `out`, as a user's command does, and judge it."""
    folder = out / situation.slug
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{situation.slug}.yaml"
    source.write_text(situation.as_yaml(), encoding="utf-8")
    try:
        result = api.run(source, out=folder, workers=situation.workers, plots=False, expect=False)
    except EnvironmentUnavailableError as error:
        return Verified(situation, not_run(situation, str(error)))
    return judge_folder(situation, result.folder)


def judge_folder(situation: Situation, folder: Path) -> Verified:
    """Judge a run that was made before."""
    run = open_run(folder)
    curves = compare_curves(run, situation.curves)
    return Verified(situation, judge(situation, build_summary(run), curves), curves)


def judge_again(situation: Situation, kept: Path) -> Verified:
    """Judge the newest run of a situation under `kept`."""
    folders = sorted(path.parent for path in kept.glob(f"{situation.slug}/*/manifest.json"))
    if not folders:
        return Verified(situation, not_run(situation, "not run"))
    return judge_folder(situation, folders[-1])


def merged(rows: Sequence[Mapping[str, object]], before: str) -> str:
    """Return results/validation.json with `rows` in it: they replace those of the same situations in `before`.

    `before` is the file's text, "" for none. Situations stand in the order of situations.yaml; those that it no longer
    has are left out.
    """
    kept = json.loads(before)["situations"] if before else []
    new = {row["name"] for row in rows}
    place = {situation.name: index for index, situation in enumerate(read_situations())}
    every = [*(row for row in kept if row["name"] in place and row["name"] not in new), *rows]
    return json.dumps({"situations": sorted(every, key=lambda row: place[row["name"]])}, indent=1) + "\n"


def print_table(verified: Sequence[Verified], console: Console) -> None:
    """Print all rows and what they come to."""
    table = Table(title="Theory and kernel")
    for heading, justify in (("situation", "left"), ("quantity", "left"), ("predicted", "right"), ("measured", "right"),
                             ("ratio", "right"), ("verdict", "left"), ("why", "left")):  # fmt: skip
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    colours = {"agrees": "green", "disagrees": "bold red", "not-measurable": "yellow"}
    for each in verified:
        for place, row in enumerate(each.rows):
            verdict = f"[{colours[row.verdict]}]{row.verdict}[/]"
            cells = (shown(row.predicted, row.unit), shown(row.measured, row.unit), shown(row.ratio))
            table.add_row(row.name if not place else "", row.quantity, *cells, verdict, row.why)
        table.add_section()
    console.print(table)
    console.print(summed_up(verified))


def shown(value: float | None, unit: str = "") -> str:
    """Return a figure as a person reads it."""
    if value is None:
        return "-"
    return f"{value:.4g}{f' {unit}' if unit else ''}"


def summed_up(verified: Sequence[Verified]) -> str:
    """Return how many quantities of how many situations agree, in a sentence."""
    rows = [row for each in verified for row in each.rows]
    counted = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("agrees", "disagrees")}
    others = len(rows) - sum(counted.values())
    return (
        f"{len(verified)} situations, {len(rows)} quantities: {counted['agrees']} agree, {counted['disagrees']} "
        f"disagree, {others} could not be measured"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="verify-theory", description="Hold the theory against this machine's kernel.")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="situations whose name has TEXT")
    parser.add_argument("--kind", choices=("counts", "rates"), help="situations of this kind")
    parser.add_argument("--jobs", type=int, default=2, help="situations of counts that run at one time (2)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the results folders there")
    parser.add_argument("--from", dest="kept", type=Path, metavar="DIR", help="run nothing: judge what --keep left")
    parser.add_argument("--print", dest="print_only", action="store_true", help="write no file")
    asked = parser.parse_args(arguments)
    console = Console()
    wanted = [
        situation
        for situation in read_situations()
        if (not asked.only or any(text in situation.name or text in situation.slug for text in asked.only))
        and asked.kind in (None, situation.kind)
    ]
    if not wanted:
        console.print("no situation has such a name")
        return int(ExitCode.USAGE)
    verified = _verify(wanted, asked.kept, asked.keep, asked.jobs, console)
    print_table(verified, console)
    if not asked.print_only:
        TABLE.parent.mkdir(exist_ok=True)
        before = TABLE.read_text(encoding="utf-8") if TABLE.exists() else ""
        rows_made = [row.to_json() for each in verified for row in each.rows]
        TABLE.write_text(merged(rows_made, before), encoding="utf-8")
        console.print(f"wrote {TABLE.relative_to(ROOT)}")
        if len(wanted) == len(read_situations()):
            from validation.page import write_page

            for path in write_page(verified, ROOT / "docs" / "theory"):
                console.print(f"wrote {path.relative_to(ROOT)}")
    rows = [row for each in verified for row in each.rows]
    if all(row.verdict == "not-measurable" for row in rows):
        return int(ExitCode.ENVIRONMENT)
    return int(any(row.verdict == "disagrees" for row in rows))


def _verify(
    wanted: Sequence[Situation], kept: Path | None, keep: Path | None, jobs: int, console: Console
) -> list[Verified]:
    """Counts can share the machine; where instants matter one situation has it to itself."""
    if kept is not None:
        return [judge_again(situation, kept) for situation in wanted]
    with tempfile.TemporaryDirectory(prefix="ftpstorm-theory-") as scratch:
        out = keep if keep is not None else Path(scratch)

        def run(situation: Situation) -> tuple[str, Verified]:
            done = run_situation(situation, out)
            console.print(f"  {summed_up([done]).partition(', ')[2]}: {situation.name}", highlight=False)
            return situation.name, done

        with ThreadPoolExecutor(max(1, jobs)) as pool:
            found = dict(pool.map(run, [situation for situation in wanted if situation.kind == "counts"]))
        found |= dict(map(run, [situation for situation in wanted if situation.kind == "rates"]))
    return [found[situation.name] for situation in wanted]


if __name__ == "__main__":
    sys.exit(main())
