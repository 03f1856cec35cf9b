"""The platforms whose words settings and remedies come in, and which of them builds on which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Platform(StrEnum):
    """An operating system, a server program or a gateway."""

    ANY = "any"
    """Nothing known: words that fit everywhere."""
    LINUX = "linux"
    WINDOWS_LEGACY = "windows-legacy"
    """Windows 2000, XP and Server 2003."""
    WINDOWS_MS08_037 = "windows-2003-ms08-037"
    WINDOWS = "windows"
    """Vista, Server 2008 and later."""
    MACOS = "macos"
    FREEBSD = "freebsd"
    AWS_NAT = "aws-nat"
    GCP_NAT = "gcp-nat"
    AZURE_NAT = "azure-nat"
    AZURE_LB = "azure-lb"
    EMULATOR = "emulator"
    """ftpstorm's own."""
    VSFTPD = "vsftpd"
    PROFTPD = "proftpd"
    PURE_FTPD = "pure-ftpd"
    INETUTILS_FTPD = "inetutils-ftpd"
    PYFTPDLIB = "pyftpdlib"
    AIOFTP = "aioftp"
    IIS_6 = "iis-6"
    IIS = "iis"
    FILEZILLA = "filezilla"


RUNS_ON: Final = {
    Platform.WINDOWS_MS08_037: Platform.WINDOWS_LEGACY,
    Platform.EMULATOR: Platform.LINUX,
    Platform.VSFTPD: Platform.LINUX,
    Platform.PROFTPD: Platform.LINUX,
    Platform.PURE_FTPD: Platform.LINUX,
    Platform.INETUTILS_FTPD: Platform.LINUX,
    Platform.PYFTPDLIB: Platform.LINUX,
    Platform.AIOFTP: Platform.LINUX,
    Platform.IIS_6: Platform.WINDOWS_LEGACY,
    Platform.IIS: Platform.WINDOWS,
    Platform.FILEZILLA: Platform.WINDOWS,
}
"""The system below a program, and the older kind of a newer one: its words count too where the program has none."""


def lineage(platform: Platform) -> tuple[Platform, ...]:
    """Return `platform`, what it runs on, and so on down to ANY. Worked: iis-6, windows-legacy, any."""
    line = [platform]
    while line[-1] in RUNS_ON:
        line.append(RUNS_ON[line[-1]])
    return (*line, Platform.ANY) if line[-1] is not Platform.ANY else tuple(line)
