"""Options that differ between sessions: by list, by variable, by neither."""

from __future__ import annotations

from ftpstorm.plan.filling import fill, fill_text, own_value, varying
from ftpstorm.scenario.flow import ListOptions, RetrOptions, StorOptions


def test_only_lists_and_variables_vary() -> None:
    assert varying(RetrOptions(file="plain.bin")) == ()
    assert varying(RetrOptions(file="{{literal}}")) == ("file",)
    assert varying(RetrOptions(file=("a", "b"))) == ("file",)
    assert varying(ListOptions(path="/{region}/in")) == ("path",)
    assert varying(ListOptions()) == ()
    assert varying(StorOptions(file="x", size=("1KiB", "2KiB"))) == ("size",)
    assert varying(StorOptions()) == ("file",), "uploads have names of their own by default"


def test_a_list_is_taken_in_turn_and_all_else_stays() -> None:
    options = StorOptions(file=("a-{session}", "b"), size=("1KiB", "2KiB", "3KiB"), close={"with": "rst"})
    filled = [fill(options, ("file", "size"), turn, {"session": "7"}.__getitem__) for turn in range(4)]
    assert [(one.file, one.size) for one in filled] == [("a-7", 1024), ("b", 2048), ("a-7", 3072), ("b", 1024)]
    assert all(one.close == options.close and isinstance(one, StorOptions) for one in filled)
    assert options.file == ("a-{session}", "b"), "the scenario's own options are untouched"


def test_braces_are_written_twice_and_other_braces_stay() -> None:
    assert fill_text("{{{x}}} {Y} {} {x", {"x": "1"}.__getitem__) == "{1} {Y} {} {x"


def test_own_variables_are_texts_or_lists_in_turn() -> None:
    variables = {"one": "eu", "many": ("a", "b")}
    assert [own_value(variables, "many", session) for session in range(3)] == ["a", "b", "a"]
    assert own_value(variables, "one", 5) == "eu"
