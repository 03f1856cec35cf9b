from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ftpstorm.conduct.folder import create_folder, new_run_id
from ftpstorm.conduct.request import RunRequest, parse_shard, parse_start_at, scenario_fields
from ftpstorm.errors import UsageError
from ftpstorm.plan.plan import Plan
from ftpstorm.scenario.schema import Scenario
from support.short_run import scenario_of

NOW_NS = int(datetime(2031, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_a_request_survives_its_way_through_json() -> None:
    scenario = Scenario.model_validate(scenario_of())
    request = RunRequest(scenario=scenario_fields(scenario), shard=(1, 3), allow_targets=("10.0.0.0/8",))
    back = RunRequest.model_validate(json.loads(json.dumps(request.model_dump(mode="json"))))
    assert back == request
    assert back.read_scenario() == scenario


@pytest.mark.parametrize(("text", "shard"), [("0/1", (0, 1)), ("2/3", (2, 3)), (" 1/2 ", (1, 2))])
def test_a_shard_is_i_of_n(text: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "1/0", "a/b", "0/0"])
def test_a_shard_outside_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="0 <= i < n"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "offset_ns"),
    [
        ("2031-01-01T00:00:10Z", 10_000_000_000),
        ("2031-01-01T00:00:10", 10_000_000_000),
        ("2031-01-01T00:00:00.000250+00:00", 250_000),
    ],
)
def test_a_start_is_utc_to_the_microsecond(text: str, offset_ns: int) -> None:
    assert parse_start_at(text, NOW_NS) == NOW_NS + offset_ns


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2030-12-31T23:59:59Z", "over already"),
        ("2031-01-02T00:00:00+02:00", "give it in UTC"),
        ("tomorrow", "write UTC as"),
    ],
)
def test_a_start_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_start_at(text, NOW_NS)


def test_a_run_is_named_by_time_scenario_and_chance() -> None:
    now = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
    first, second = new_run_id("try-later-425", now), new_run_id("try-later-425", now)
    assert first.startswith("20310501T120000Z-try-later-425-")
    assert first != second


def test_a_folder_that_cannot_be_made_says_where_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    plan = Plan(run_id="r", scenario=Scenario.model_validate(scenario_of()))
    with pytest.raises(UsageError, match="--out"):
        create_folder(file, plan, "")
