"""YAML 1.2 with places: what a scalar means, where it stands, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.scenario.document import Place, is_secret, read_document, resolve_scalar


def value_of(text: str, **environment: str) -> Any:
    document, problems = read_document(text, environment)
    assert problems == []
    return document.value


def messages_of(text: str, **environment: str) -> list[str]:
    return [problem.render("f") for problem in read_document(text, environment)[1]]


@pytest.mark.parametrize(
    ("scalar", "meaning"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("97/s", "97/s"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("10000-10019", "10000-10019"),
        ("1_000", "1_000"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("-5", -5),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("|\n  a\n  b", "a\nb\n"),
        (">-\n  a\n  b", "a b"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(scalar: str, meaning: Any) -> None:
    assert value_of(f"key: {scalar}\n") == {"key": meaning}


def test_a_key_is_always_text() -> None:
    assert value_of("on: 1\n425: 2\nnull: 3\ntrue: 4\n") == {"on": 1, "425": 2, "null": 3, "true": 4}


def test_every_key_and_value_knows_its_line_and_column() -> None:
    document, _ = read_document("a:\n  - b: {c: 5}\n  - zwölf\n", {})
    assert document.keys[("a",)] == Place(1, 1)
    assert document.keys[("a", 0, "b", "c")] == Place(2, 9)
    assert document.values[("a", 0, "b", "c")] == Place(2, 12)
    assert document.values[("a", 1)] == Place(3, 5)


def test_a_message_about_a_container_or_a_missing_value_stands_at_the_nearest_key() -> None:
    document, _ = read_document("top:\n  inner:\n    a: 1\n  empty:\n", {})
    assert document.place(("top", "inner")) == Place(2, 3)
    assert document.place(("top", "inner", "absent")) == Place(2, 3)
    assert document.place(("top", "empty")) == Place(4, 3)
    assert document.place(("top", "inner", "a")) == Place(3, 8)
    assert document.place(("top", "inner", "a"), at_key=True) == Place(3, 5)
    assert document.place(("nowhere",)) == Place(1, 1)


def test_a_duplicate_key_is_refused_and_the_rest_is_read() -> None:
    document, problems = read_document("a: 1\nb: 2\na: 3\nb: 4\n", {})
    assert document.value == {"a": 1, "b": 2}
    assert [problem.render("f") for problem in problems] == [
        "f:3:1: a: key 'a' stands here a second time; the first is on line 1",
        "f:4:1: b: key 'b' stands here a second time; the first is on line 2",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2", "f:2:2: YAML syntax: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ("a:\n\t- b", "f:2:1: YAML syntax: while scanning for the next token, found character '\\t' that cannot start"),
        ("a: b: c", "f:1:5: YAML syntax: mapping values are not allowed here; a text with a colon"),
        ("a: 1\n---\nb: 2", "but found another document; a file holds one scenario"),
        ("a: *b", "f:1:4: YAML syntax: found undefined alias 'b'; a text that begins with * needs quotes"),
        ("{a: ${X}}", "inside { } a value with braces needs quotes"),
        ("", "f: the file is empty; ftpstorm init"),
        ("# only a comment\n", "f: the file is empty"),
        ("a: \x00", "f: not YAML text"),
        ("a: !secret x", "f:1:4: a: unknown tag !secret"),
        ("? [a, b]\n: c", "a key must be one word"),
        ("a: &x [*x]", "f:1:4: a.0: an alias to something that contains it"),
        ("<<: 5\na: 1", "`<<` takes an alias to a mapping"),
        ("[" * 3000, "f: nested too deeply"),
    ],
)
def test_what_is_no_scenario_text_is_refused_with_place_and_remedy(text: str, expected: str) -> None:
    assert expected in "\n".join(messages_of(text))


def test_anchors_aliases_and_merges_are_resolved_with_own_keys_first() -> None:
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nx: {<<: [*base, *other], a: 9}\ny: *base\n"
    assert value_of(text)["x"] == {"a": 9, "b": 2, "c": 4}
    assert value_of(text)["y"] == {"a": 1, "b": 2}


def test_nested_aliases_cannot_fill_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "values once aliases are expanded" in "".join(messages_of("\n".join(lines)))


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("${PORT}", 8021),
        ("'${PORT}'", "8021"),
        ("${HOST}", "ftp.example"),
        ("a ${HOST}:${PORT} b", "a ftp.example:8021 b"),
        ("${NONE:-21}", 21),
        ("${HOST:-21}", "ftp.example"),
        ("${NONE:-}", None),
        ("$${PORT}", "${PORT}"),
        ("$PORT", "$PORT"),
        ("'{session}'", "{session}"),
    ],
)
def test_a_variable_is_replaced_and_the_scalar_read_after_it(scalar: str, expected: Any) -> None:
    assert value_of(f"key: {scalar}", PORT="8021", HOST="ftp.example") == {"key": expected}


def test_a_value_from_the_environment_is_not_replaced_again() -> None:
    assert value_of("key: ${A}", A="${B}", B="x") == {"key": "${B}"}


def test_a_key_is_not_replaced() -> None:
    assert value_of('"${A}": 1', A="x") == {"${A}": 1}


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("${NONE}", "f:2:8: a.b: environment variable NONE is not set; set it, or write ${NONE:-default}"),
        ("${1X}", "'${1X}' names no environment variable"),
        ("${}", "'${}' names no environment variable"),
    ],
)
def test_a_variable_that_is_not_there_is_an_error_with_its_place(scalar: str, expected: str) -> None:
    assert expected in messages_of(f"a:\n    b: {scalar}\n")[0]


def test_a_message_shows_what_was_written_and_never_a_secret() -> None:
    document, _ = read_document("port: ${P}\npassword: hunter2\nlong: " + "x" * 200 + "\n", {"P": "topsecret"})
    assert document.shown(("port",)) == "${P}"
    assert document.shown(("password",)) is None
    assert len(document.shown(("long",)) or "") == 80


@pytest.mark.parametrize("key", ["password", "Password", "ftp_passwd", "pass", "secret", "api-token", "user_pass"])
def test_these_keys_may_hold_a_secret(key: str) -> None:
    assert is_secret(("target", key))


@pytest.mark.parametrize(
    "key", ["password_env", "password_file", "passive_ports", "passive-exhausted", "bypass", "user"]
)
def test_these_keys_hold_no_secret(key: str) -> None:
    assert not is_secret(("target", key))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_never_raises(text: str) -> None:
    document, problems = read_document(text, {})
    assert problems or document.value is not None or document.values


@given(st.text(alphabet="0123456789+-.eExoinfa_~", max_size=12))
def test_an_unquoted_scalar_always_means_something(text: str) -> None:
    assert resolve_scalar(text) is None or isinstance(resolve_scalar(text), str | int | float | bool)


def test_a_number_too_long_to_read_stays_text() -> None:
    assert resolve_scalar("9" * 5000) == "9" * 5000
