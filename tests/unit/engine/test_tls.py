"""The TLS codec against OpenSSL's own server side, in memory: splits, ends, failures."""

from __future__ import annotations

import contextlib
import ssl
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftpstorm.engine.tls import Tls, TlsStream, make_tls
from ftpstorm.scenario.target import Target
from support.real_servers import Certificates, make_certificates

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PEERS: dict[str, tuple[Tls, ssl.SSLContext]] = {}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=list(VERSIONS))
def peers(request: pytest.FixtureRequest, certificates: Certificates) -> tuple[Tls, ssl.SSLContext]:
    section = {"mode": "explicit", "ca_file": certificates.ca_file}
    tls = make_tls(Target.model_validate({"host": "127.0.0.1", "tls": section}))
    assert tls is not None
    return tls, certificates.server_context(VERSIONS[request.param])


class Server:
    """The other end."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)


def connect(tls: Tls, context: ssl.SSLContext, stream: TlsStream | None = None) -> tuple[TlsStream, Server]:
    stream, server = stream or tls.open(), Server(context)
    stream.begin()
    done = False
    while not (done and stream.established):
        server.incoming.write(stream.outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            server.object.do_handshake()
            done = True
        assert stream.receive(server.outgoing.read()) == b""
        assert stream.failure is None
    server.incoming.write(stream.outgoing())
    return stream, server


@settings(max_examples=30)
@given(plain=st.binary(max_size=60_000), cuts=st.lists(st.integers(0, 70_000), max_size=8))
@pytest.mark.parametrize("version", list(VERSIONS))
def test_plain_text_survives_any_split_of_its_ciphertext(
    certificates: Certificates, version: str, plain: bytes, cuts: list[int]
) -> None:
    if version not in PEERS:
        section = {"mode": "explicit", "ca_file": certificates.ca_file}
        tls = make_tls(Target.model_validate({"host": "127.0.0.1", "tls": section}))
        assert tls is not None
        PEERS[version] = tls, certificates.server_context(VERSIONS[version])
    stream, server = connect(*PEERS[version])
    if plain:
        server.object.write(plain)
    ciphertext = server.outgoing.read()
    bounds = sorted({0, len(ciphertext), *(cut % (len(ciphertext) + 1) for cut in cuts)})
    got = b"".join(stream.receive(ciphertext[a:b]) for a, b in pairwise(bounds))
    assert got == plain
    assert stream.failure is None


def test_what_is_encrypted_arrives_and_ends_with_close_notify(peers: tuple[Tls, ssl.SSLContext]) -> None:
    stream, server = connect(*peers)
    server.incoming.write(stream.encrypt(b"x" * 100_000) + stream.close_notify())
    got = b""
    with contextlib.suppress(ssl.SSLZeroReturnError):
        while part := server.object.read(65_536):
            got += part
    assert got == b"x" * 100_000


def test_close_notify_is_told_from_silence(peers: tuple[Tls, ssl.SSLContext]) -> None:
    stream, server = connect(*peers)
    server.object.write(b"last words")
    with contextlib.suppress(ssl.SSLWantReadError):
        server.object.unwrap()
    ciphertext = server.outgoing.read()
    assert stream.receive(ciphertext[:-1]) == b"last words"
    assert not stream.closed
    assert stream.receive(ciphertext[-1:]) == b""
    assert stream.closed
    assert stream.failure is None


def test_a_second_stream_resumes_the_first_ones_session(peers: tuple[Tls, ssl.SSLContext]) -> None:
    tls, context = peers
    control, server = connect(tls, context)
    control.receive(server.outgoing.read())  # TLS 1.3: the tickets come after the handshake
    for _ in range(3):
        data, _ = connect(tls, context, tls.open_data(control))
        assert data.resumed
    assert not control.resumed


def test_the_end_of_the_connection_during_the_handshake_is_a_failure(peers: tuple[Tls, ssl.SSLContext]) -> None:
    stream = peers[0].open()
    stream.begin()
    stream.feed_end()
    assert stream.failure == "the server closed during the TLS handshake"


@pytest.mark.parametrize("when", ["handshake", "established"])
@pytest.mark.parametrize("piece", [1, 4, 5, 6, 100])
def test_a_reply_in_plain_text_is_recognised_however_it_comes(
    peers: tuple[Tls, ssl.SSLContext], when: str, piece: int
) -> None:
    if when == "handshake":
        stream = peers[0].open()
        stream.begin()
        stream.outgoing()
    else:
        stream, _ = connect(*peers)
    line = b"500 OOPS: vsf_sysutil_bind\r\n"
    for at in range(0, len(line), piece):
        assert stream.failure is None or stream.unfinished
        assert stream.receive(line[at : at + piece]) == b""
    assert stream.failure is not None
    assert not stream.unfinished
    assert stream.plain_reply is not None
    assert (stream.plain_reply.code, stream.plain_reply.text) == (500, "500 OOPS: vsf_sysutil_bind")


def test_a_reply_in_plain_text_right_behind_a_record_takes_nothing_from_it(
    peers: tuple[Tls, ssl.SSLContext],
) -> None:
    stream, server = connect(*peers)
    server.object.write(b"226 done\r\n")
    assert stream.receive(server.outgoing.read() + b"421 Timeout.\r\n") == b"226 done\r\n"
    assert stream.plain_reply is not None
    assert stream.plain_reply.text == "421 Timeout."


@given(junk=st.binary(min_size=1, max_size=300))
def test_junk_never_raises(certificates: Certificates, junk: bytes) -> None:
    if "junk" not in PEERS:
        tls = make_tls(Target.model_validate({"host": "h", "tls": {"mode": "explicit", "verify": False}}))
        assert tls is not None
        PEERS["junk"] = tls, certificates.server_context()
    stream = PEERS["junk"][0].open()
    stream.begin()
    stream.receive(junk)
    stream.receive(junk)
    stream.feed_end()
    assert stream.failure is not None
    assert stream.encrypt(b"NOOP\r\n") == b""
    stream.close_notify()


def test_tls_is_none_where_the_scenario_wants_none() -> None:
    assert make_tls(Target.model_validate({"host": "h"})) is None


def test_certificates_and_names_are_checked_unless_told_not_to(certificates: Certificates) -> None:
    for verify in (True, False):
        section = {"mode": "implicit", "verify": verify, "ca_file": certificates.ca_file, "min_version": "1.3"}
        tls = make_tls(Target.model_validate({"host": "h", "tls": section}))
        assert tls is not None
        assert tls.context.check_hostname is verify
        assert (tls.context.verify_mode is ssl.CERT_REQUIRED) is verify
        assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert tls.implicit


def test_a_missing_file_of_authorities_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        make_tls(Target.model_validate({"host": "h", "tls": {"mode": "explicit", "ca_file": str(tmp_path / "none")}}))
