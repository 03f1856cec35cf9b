"""The reply parser is fed whole, byte by byte, with trailing bytes, and past its limits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpstorm.ftp import replies as module
from ftpstorm.ftp.replies import (
    LINE_MAX_BYTES,
    REMEMBERED_MAX,
    REPLY_MAX_BYTES,
    ProtocolViolationError,
    Reply,
    ReplyParser,
    parse_whole,
)

TRANSCRIPT = (
    b"220-Welcome\r\n 220 not the end\r\n221 nor this\r\n220 ready\r\n"
    b"331 password\r\n"
    b"211-Features:\r\n EPSV\r\n SIZE\r\n211 End\r\n"
    b"226\r\n"
    b"550 na\xefve \xff\xff name\r\n"
)
EXPECTED = [
    Reply(220, b"220-Welcome\r\n 220 not the end\r\n221 nor this\r\n220 ready"),
    Reply(331, b"331 password"),
    Reply(211, b"211-Features:\r\n EPSV\r\n SIZE\r\n211 End"),
    Reply(226, b"226"),
    Reply(550, b"550 na\xefve \xff name"),  # IAC IAC is one byte 255
]


def feed_all(pieces: list[bytes]) -> list[Reply]:
    parser = ReplyParser()
    replies = [reply for piece in pieces for reply in parser.feed(piece)]
    assert parser.idle
    return replies


def test_a_transcript_fed_whole() -> None:
    assert feed_all([TRANSCRIPT]) == EXPECTED


def test_a_transcript_fed_byte_by_byte() -> None:
    assert feed_all([TRANSCRIPT[i : i + 1] for i in range(len(TRANSCRIPT))]) == EXPECTED


@given(cuts=st.lists(st.integers(0, len(TRANSCRIPT)), max_size=12))
def test_no_cut_changes_what_is_parsed(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TRANSCRIPT)]
    assert feed_all([TRANSCRIPT[a:b] for a, b in pairwise(edges)]) == EXPECTED


def test_bare_line_feeds_end_lines_too() -> None:
    assert feed_all([b"220-a\n220 b\n200 ok\n"]) == [Reply(220, b"220-a\r\n220 b"), Reply(200, b"200 ok")]


def test_an_unfinished_reply_is_kept_and_not_idle() -> None:
    parser = ReplyParser()
    assert parser.feed(b"226 do") == []
    assert not parser.idle
    assert parser.feed(b"ne\r\n22") == [Reply(226, b"226 done")]
    assert parser.feed(b"0 hi\r\n") == [Reply(220, b"220 hi")]


def test_a_multi_line_reply_ends_only_at_its_own_code_and_a_space() -> None:
    parser = ReplyParser()
    assert parser.feed(b"230-one\r\n230-two\r\n2300 no\r\n") == []
    assert parser.feed(b"230 end\r\n") == [Reply(230, b"230-one\r\n230-two\r\n2300 no\r\n230 end")]


@pytest.mark.parametrize(
    "line",
    [
        b"hello there\r\n",
        b"\r\n",
        b"22\r\n",
        b"2x0 hm\r\n",
        b"099 low\r\n",
        b"660 high\r\n",
        b"220/odd\r\n",
        b"\x16\x03\x01\n",
    ],
)
def test_what_is_no_reply_is_refused_with_what_was_seen(line: bytes) -> None:
    with pytest.raises(ProtocolViolationError) as refusal:
        ReplyParser().feed(line)
    assert refusal.value.seen == line.rstrip(b"\r\n") or refusal.value.seen == line


def test_telnet_negotiation_inside_a_line_is_removed() -> None:
    assert feed_all([b"220 \xff\xfb\x01hello\xff\xf1\r\n"]) == [Reply(220, b"220 hello")]


@pytest.mark.parametrize("piece", [LINE_MAX_BYTES + 10, 100])
def test_a_line_without_end_is_refused_before_memory_grows(piece: int) -> None:
    parser = ReplyParser()
    parser.feed(b"220 ")
    fed = 0
    with pytest.raises(ProtocolViolationError, match="longer"):
        while fed < 10 * LINE_MAX_BYTES:
            parser.feed(b"x" * piece)
            fed += piece
    assert fed <= LINE_MAX_BYTES + piece


def test_a_reply_without_end_is_refused_before_memory_grows() -> None:
    parser = ReplyParser()
    with pytest.raises(ProtocolViolationError, match="longer"):
        for _ in range(REPLY_MAX_BYTES):
            parser.feed(b"220-again and again\r\n")


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_give_replies_or_a_violation_and_nothing_else(data: bytes, size: int) -> None:
    parser = ReplyParser()
    try:
        for start in range(0, len(data), size):
            for reply in parser.feed(data[start : start + size]):
                assert 100 <= reply.code <= 659
                assert isinstance(reply.text, str)
    except ProtocolViolationError:
        pass


LINES = st.sampled_from(
    [
        b"150 here it comes\r\n",
        b"226 done\r\n",
        b"226 done\n",
        b"229 in (|||40000|)\r\n",
        b"220-a\r\n",
        b"22",
        b"\xff\n",
    ]
)


@given(lines=st.lists(LINES, min_size=1, max_size=4))
def test_the_quick_way_says_what_the_parser_says_or_nothing(lines: list[bytes]) -> None:
    data = b"".join(lines)
    for _ in range(2):  # parsed, then remembered
        quick = parse_whole(data)
        if quick is not None:
            assert list(quick) == feed_all([data])


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, object]:
    fresh: dict[bytes, object] = {}
    monkeypatch.setattr(module, "_remembered", fresh)
    return fresh


def test_what_a_server_repeats_is_parsed_once(remembered: dict[bytes, object]) -> None:
    first = parse_whole(b"150 here it comes\r\n226 done\r\n")
    assert first is not None
    assert [reply.code for reply in first] == [150, 226]
    assert parse_whole(b"150 here it comes\r\n226 done\r\n") is first


def test_what_is_long_or_many_is_not_remembered(remembered: dict[bytes, object]) -> None:
    assert parse_whole(b"226 " + b"x" * 400 + b"\r\n") is not None
    assert parse_whole(b"200 a\r\n" * 5) is not None
    assert not remembered


def test_the_passive_replies_of_a_range_are_remembered_port_by_port(remembered: dict[bytes, object]) -> None:
    texts = [b"229 in (|||%d|)\r\n" % port for port in range(40_000, 40_200)]
    first = [parse_whole(text) for text in texts]
    assert all(parse_whole(text) is replies for text, replies in zip(texts, first, strict=True))
    assert [replies[0].raw for replies in first if replies] == [text[:-2] for text in texts]


def test_a_server_whose_every_reply_is_new_fills_no_memory(remembered: dict[bytes, object]) -> None:
    for number in range(REMEMBERED_MAX + 10):
        assert parse_whole(b"226 took %d us\r\n" % number) == [Reply(226, b"226 took %d us" % number)]
    assert len(remembered) == REMEMBERED_MAX


def test_replies_before_garbage_are_kept() -> None:
    with pytest.raises(ProtocolViolationError) as caught:
        ReplyParser().feed(b"226 done\r\nrubbish\r\n")
    assert caught.value.replies == [Reply(226, b"226 done")]
    assert caught.value.seen == b"rubbish"


@pytest.mark.parametrize(
    ("left", "wanted"),
    [
        (b"421 bye", [Reply(421, b"421 bye")]),
        (b"220-a\r\n220 b", [Reply(220, b"220-a\r\n220 b")]),
        (b"220-a\r\n22", []),
        (b"42", []),
        (b"", []),
    ],
)
def test_a_last_line_needs_no_line_end(left: bytes, wanted: list[Reply]) -> None:
    parser = ReplyParser()
    assert parser.feed(left) == []
    assert parser.feed_end() == wanted
