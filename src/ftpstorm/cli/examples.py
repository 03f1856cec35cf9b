"""What stands under `--help` of each command: lines to copy, and the command that usually comes next."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "run": (
        "ftpstorm run try-later-425",
        "ftpstorm run mine.yaml --set load.steady.rate=50/s --label before",
        "ftpstorm run mine.yaml --all-variants --repeats 3",
        "ftpstorm run mine.yaml --metrics 9464",
        "ftpstorm run mine.yaml --markdown $GITHUB_STEP_SUMMARY --json",
        "ftpstorm run ftp://ftp.example.org/file.bin --rate 2/s --duration 30s --allow-target ftp.example.org",
    ),
    "report": ("ftpstorm report latest", "ftpstorm report results/*-mine-* --json", "ftpstorm report shard-0 shard-1"),
    "compare": (
        "ftpstorm compare before after",
        "ftpstorm compare before:all after:all",
        "ftpstorm compare latest --baseline kept.json --fail-on 'transfers.sustained.rate_per_s<-5%'",
    ),
    "search": ("ftpstorm search mine.yaml", "ftpstorm search mine.yaml --set search.precision=5% --json"),
    "sweep": (
        "ftpstorm sweep mine.yaml --repeats 3",
        "ftpstorm sweep mine.yaml --set 'sweep.grid.target.emulator.passive_ports=[10, 20, 40]' --metric failed",
    ),
    "export": (
        "ftpstorm export latest --where outcome=failed",
        "ftpstorm export latest --table sessions -o sessions.csv",
        "ftpstorm export latest --table samples --where metric=pool.count | jq .value",
    ),
    "limits": ("ftpstorm limits", "ftpstorm limits mine.yaml", "ftpstorm limits --for-rate 400/s"),
    "simulate": ("ftpstorm simulate mine.yaml", "ftpstorm simulate mine.yaml --set load.steady.rate=200/s"),
    "serve": (
        "ftpstorm serve",
        "ftpstorm serve try-later-425 --port 2121 --set target.emulator.passive_ports=5",
    ),
    "sample": (
        "ftpstorm sample --server-port 21 --passive-ports 50000-50100 --out server-samples",
        "ftpstorm sample --netns 4242 --server-port 21 --duration 1m",
    ),
    "doctor": ("ftpstorm doctor", "ftpstorm doctor --json", "ftpstorm doctor --calibrate"),
    "probe": ("ftpstorm probe 127.0.0.1:2121", "ftpstorm probe ftp.example.org --allow-target ftp.example.org"),
    "lab": ("ftpstorm lab shell mine.yaml", "ftpstorm lab run mine.yaml -- ss -tan"),
    "scenarios": ("ftpstorm scenarios", "ftpstorm scenarios try-later", "ftpstorm scenarios --json | jq -r '.[].file'"),
    "validate": ("ftpstorm validate mine.yaml", "ftpstorm validate scenarios/*.yaml"),
    "schema": ("ftpstorm schema > ftpstorm.schema.json", "ftpstorm schema --summary > summary.schema.json"),
    "init": ("ftpstorm init mine", "ftpstorm validate mine.yaml", "ftpstorm run mine.yaml"),
}

FIRST_STEPS: Final = (
    "ftpstorm scenarios             what there is to try",
    'ftpstorm run try-later-425     reproduce "425 Try later" in 20 s',
    "ftpstorm init mine             a commented scenario of your own",
    "ftpstorm COMMAND --help        options and examples",
)


def epilog(command: str) -> str | None:
    """Return what stands under the help of a command, None where there is no example of it."""
    lines = EXAMPLES.get(command)
    return _verbatim("Examples:", lines) if lines else None


def first_steps() -> str:
    """Return what stands under the help of `ftpstorm` itself."""
    return _verbatim("First steps:", FIRST_STEPS)


def _verbatim(title: str, lines: tuple[str, ...]) -> str:
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))  # \b: click leaves the paragraph's lines alone
