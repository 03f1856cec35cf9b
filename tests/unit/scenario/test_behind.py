"""The emulator's insides as a scenario gives them: a back end, a leak."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ftpstorm.scenario.target import Emulator


def test_a_leak_may_be_one_word() -> None:
    assert Emulator.model_validate({"leak": "close-wait"}) == Emulator.model_validate(
        {"leak": {"what": "close-wait", "every": 1}}
    )


def test_what_is_not_given_is_not_there() -> None:
    emulator = Emulator()
    assert (emulator.backend, emulator.leak) == (None, None)


def test_a_section_survives_its_way_to_the_emulator_and_back() -> None:
    emulator = Emulator.model_validate(
        {"backend": {"per": "pool", "size": 3, "address": "10.78.0.1", "takes": "5ms"}, "leak": {"every": 7}}
    )
    assert Emulator.model_validate(emulator.model_dump(mode="json", by_alias=True)) == emulator


@pytest.mark.parametrize(
    "section",
    [
        {"leak": "time-wait"},
        {"leak": {"every": 0}},
        {"backend": {"per": "session"}},
        {"backend": {"size": 0}},
        {"backend": {"size": 1001}},
        {"backend": {"address": "somewhere"}},
        {"backend": {"no_port": "drop"}},
    ],
)
def test_what_makes_no_sense_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Emulator.model_validate(section)
