"""Commands as they go over the wire."""

import pytest

from ftpstorm.ftp.commands import encode_command


def test_a_command_ends_with_crlf() -> None:
    assert encode_command("QUIT") == b"QUIT\r\n"
    assert encode_command("RETR", "naïve file.bin") == "RETR naïve file.bin\r\n".encode()


@pytest.mark.parametrize("argument", ["a\r\nDELE b", "a\nb", "a\0b"])
def test_an_argument_cannot_smuggle_in_a_command(argument: str) -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encode_command("RETR", argument)
