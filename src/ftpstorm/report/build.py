"""Make everything that a report consists of from a results folder alone: summary.json, plots, page, junit.xml.

Order matters: evidence, the generator's fitness and the books first, then what ran out, then the verdict on top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ftpstorm.errors import UsageError
from ftpstorm.records.reader import Run, is_results_folder, open_run
from ftpstorm.report.accounting import identities
from ftpstorm.report.agreement import agreement
from ftpstorm.report.diagnose import diagnose
from ftpstorm.report.evidence import UNTOLD, Evidence
from ftpstorm.report.figures import by_load, failures_of, latencies, sessions_of, transfers_of, windows
from ftpstorm.report.generator import generator_health
from ftpstorm.report.occupancy import limit_rows, passive_ports_of, ports_of
from ftpstorm.report.summary import Check, Generator, Identity, Summary, write_summary
from ftpstorm.report.thresholds import expectations, thresholds
from ftpstorm.report.unknowns import unknowns
from ftpstorm.report.wording import number
from ftpstorm.units import NS_PER_S
from ftpstorm.vocabulary import Cause, Status, Verdict

LATEST: Final = "latest"


def build_summary(run: Run) -> Summary:
    """Return the summary of a run. Raises RecordsError when the folder has no manifest or no plan."""
    return summarise(Evidence(run))


def summarise(evidence: Evidence) -> Summary:
    """Return the summary that the evidence gives."""
    run, manifest, scenario = evidence.run, evidence.manifest, evidence.plan.scenario
    generator = generator_health(evidence)
    books = identities(evidence)
    diagnosis = diagnose(evidence, generator)
    met, demanded = thresholds(evidence), expectations(evidence, diagnosis.main.cause)
    verdict, reasons = judge(evidence, generator, books, [*met, *demanded])
    moved = transfers_of(evidence)
    summary = Summary(
        run_id=manifest.run_id,
        label=manifest.label,
        scenario=scenario.name,
        variant=manifest.variant,
        notes=manifest.notes,
        status=evidence.status,
        verdict=verdict,
        verdict_reasons=reasons,
        headline=diagnosis.headline,
        started_at=manifest.started_at,
        duration_s=evidence.end_ns / NS_PER_S,
        sessions=sessions_of(evidence, evidence.sessions, evidence.planned),
        transfers=moved,
        failures=failures_of(evidence),
        latency_ms=latencies(evidence),
        ports=ports_of(evidence),
        passive_ports=passive_ports_of(evidence),
        limits=limit_rows(evidence, moved),
        agreement=agreement(evidence),
        diagnosis=diagnosis.main,
        others=list(diagnosis.others),
        accounting=books,
        generator=generator,
        by_load=by_load(evidence),
        windows=windows(evidence),
        thresholds=met,
        expectations=demanded,
        counters={name: round(rise) for name, rise in evidence.counters.items() if rise},
        unknown=[],
        stop_reason=manifest.stop_reason,
        description=scenario.description,
        imitates=scenario.imitates,
        cannot_show=scenario.cannot_show,
        warnings=[*manifest.warnings, *run.warnings],
        host={**evidence.plan.host.model_dump(mode="json"), **manifest.host},
        versions=manifest.versions,
        command=manifest.command,
    )
    return summary.model_copy(update={"unknown": unknowns(evidence, summary)})


def judge(
    evidence: Evidence, generator: Generator, books: list[Identity], checks: list[Check]
) -> tuple[Verdict, list[str]]:
    """Return the verdict and why: invalid before fail before pass.

    A generator that was the bottleneck makes no run invalid whose scenario expects the cause `generator`.
    """
    expect = evidence.plan.scenario.expect
    wanted = expect is not None and expect.cause is Cause.GENERATOR
    invalid = [f"{reason}: the load generator was the bottleneck" for reason in generator.invalid if not wanted]
    invalid += [f"the books do not balance: {book.identity}: {book.left:g} and {book.right:g}"
                for book in books if book.ok is False and book.left is not None and book.right is not None]  # fmt: skip
    if evidence.status is Status.CUT_SHORT:
        why = UNTOLD if evidence.manifest.status is None else "the run was cut short"
        invalid.append(why)
    invalid += [f"{process.role} ended before its time: {process.error or 'without a word'}"
                for process in evidence.lost_processes]  # fmt: skip
    failed = [f"{check.name} {check.condition}: {check.reason or said(check)}" for check in checks if not check.ok]
    if invalid:
        return Verdict.INVALID, [*invalid, *failed]
    return (Verdict.FAIL, failed) if failed else (Verdict.PASS, [])


def said(check: Check) -> str:
    """Return the measured value of a check in words."""
    if isinstance(check.measured, float):
        return f"measured {number(check.measured)}{f' {check.unit}' if check.unit else ''}"
    return f"found {check.measured}"


def build_report(folder: Path, *, plots: bool = True) -> Summary:
    """Write summary.json, summary.md, plots/, report.html and junit.xml into a results folder; return the summary.

    `plots=False` leaves the pictures out, on the page too: what remains there is drawn by its script. Works on the
    folder of a run that was killed. Raises RecordsError when the folder is none that a run left.
    """
    from ftpstorm.report.html import write_page
    from ftpstorm.report.junit import write_junit
    from ftpstorm.report.markdown import write_markdown

    evidence = Evidence(open_run(folder))
    summary = summarise(evidence)
    write_summary(folder, summary)
    write_junit(folder, summary)
    write_markdown(folder, summary)
    pictures = []
    if plots:
        from ftpstorm.report.plots import draw_all

        pictures = draw_all(evidence, summary, folder / "plots")
    write_page(folder, evidence, summary, pictures)
    return summary


def resolve_run(text: str, results_dir: Path) -> Path:
    """Return the results folder that `text` means: a folder, `latest`, a label, or the beginning of a run's name.

    Of several runs with one label the latest is meant. Raises UsageError that lists what there is.
    """
    direct = Path(text)
    if text != LATEST and direct.is_dir() and is_results_folder(direct):
        return direct
    inside = results_dir.iterdir() if results_dir.is_dir() else ()
    folders = sorted(path for path in inside if path.is_dir() and is_results_folder(path))
    if not folders:
        raise UsageError(f"{text}: no results folder, and {results_dir} holds no runs; make one with: ftpstorm run")
    if text == LATEST:
        return max(folders, key=lambda path: (_started(path), path.name))
    labelled = [path for path in folders if _label(path) == text]
    if labelled:
        return max(labelled, key=lambda path: (_started(path), path.name))
    named = [path for path in folders if path.name.startswith(text)]
    if len(named) == 1:
        return named[0]
    among = named or folders
    known = ", ".join(path.name for path in among[-5:])
    there = f"{results_dir} has {known}{f' and {len(among) - 5} older' if len(among) > 5 else ''}"
    raise UsageError(f"{text}: {'several runs begin so' if named else 'no folder, label or run of that name'}; {there}")


def _started(folder: Path) -> str:
    from ftpstorm.records.manifest import read_manifest

    try:
        return read_manifest(folder).started_at
    except (OSError, ValueError):
        return ""


def _label(folder: Path) -> str | None:
    from ftpstorm.records.manifest import read_manifest

    try:
        return read_manifest(folder).label
    except (OSError, ValueError):
        return None
