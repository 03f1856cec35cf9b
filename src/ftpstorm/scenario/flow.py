"""What one session does: steps, their options and shorthands, and what follows a failure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from ftpstorm.scenario.types import NOT_BOOL, DurationNs, Frozen, PositiveCount, SizeBytes
from ftpstorm.units import parse_duration, parse_size


def _sizes_text(value: int | tuple[int, ...]) -> str | list[str]:
    return f"{value}B" if isinstance(value, int) else [f"{size}B" for size in value]


SizeOrList = Annotated[
    SizeBytes | Annotated[tuple[SizeBytes, ...], Field(min_length=1)],
    PlainSerializer(_sizes_text, return_type=str | list[str]),
]
"""A size, or a list of sizes."""


class Shorthand(Frozen):
    """Base of options with a scalar shorthand: the scalar stands for the field named by `_scalar`."""

    @classmethod
    def scalar_field(cls) -> str | None:
        """Name of the field that a bare scalar means, or None when the step takes no scalar."""
        return None

    @model_validator(mode="before")
    @classmethod
    def _from_scalar(cls, value: Any) -> Any:
        if value is None:
            return {}
        field = cls.scalar_field()
        if field is not None and not isinstance(value, dict | Frozen):
            return {field: value}
        return value


class Close(Frozen):
    """Who ends a data connection, and how."""

    first: Literal["natural", "client", "server"] = "natural"
    """`natural`: whoever sends the data (server on RETR and LIST, client on STOR). `client` on RETR closes as soon as
    the expected bytes are in; `server` on STOR is not possible and refused."""
    with_: Literal["fin", "rst", "half"] = Field(default="fin", alias="with")
    """`rst` sets SO_LINGER(1, 0): no TIME_WAIT on either side. `half` sends FIN by shutdown(2) and keeps the socket to
    read until the server has closed as well; only where the client closes first. A lingering close other than by reset
    is not offered: close(2) would block the whole worker (socket(7))."""


class TransferOptions(Shorthand):
    """Options that every step with a data connection has."""

    mode: Literal["epsv", "pasv", "auto", "active", "eprt"] | None = None
    """Overrides `client.mode`."""
    close: Close = Close()

    @classmethod
    def uploads(cls) -> bool:
        """Whether the client sends the data, and so closes first by nature."""
        return False

    @model_validator(mode="after")
    def _who_can_close(self) -> Self:
        if self.uploads() and self.close.first == "server":
            raise ValueError("an upload ends when the client closes; `close.first: server` is not possible")
        if not self.uploads() and self.close.with_ == "half" and self.close.first != "client":
            raise ValueError("the server closes first here; `close.with: half` needs `close.first: client`")
        return self


class LoginOptions(Shorthand):
    """Wait for the greeting, send USER and PASS, then TYPE I."""


class RetrOptions(TransferOptions):
    """Download a file and discard it."""

    file: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Its name, or a list that sessions and their steps take in turn. As in all names and paths, variables in braces
    are filled in: `{session}`, `{operation}`, `{worker}`, `{user}` and the scenario's `vars`."""
    offset: SizeBytes = "0B"  # type: ignore[assignment]
    """Where to begin: REST goes before RETR, and 350 is expected (RFC 3659 section 5)."""
    verify: Annotated[str, Field(pattern=r"^(size|pattern|sha256:[0-9a-f]{64})$")] | None = None
    """Check what came: `size` against `files`, or else against the server's answer to SIZE, asked once for each file
    and worker before its first download; `pattern` each byte against what ftpstorm's emulator fills its files with;
    `sha256:` and 64 hex digits the digest of all bytes that came. A wrong size fails as transfer-short, wrong bytes as
    transfer-corrupt. The size is always checked where `files` tells it."""

    @classmethod
    def scalar_field(cls) -> str | None:
        return "file"


class UploadOptions(TransferOptions):
    """What all uploads have."""

    file: str | Annotated[tuple[str, ...], Field(min_length=1)] = "upload-{session}-{operation}.bin"
    size: SizeOrList = "1KiB"  # type: ignore[assignment]

    @classmethod
    def scalar_field(cls) -> str | None:
        return "size"

    @classmethod
    def uploads(cls) -> bool:
        return True


class StorOptions(UploadOptions):
    """Upload `size` bytes under the name `file`; of lists, sessions and their steps take an entry in turn."""

    offset: SizeBytes = "0B"  # type: ignore[assignment]
    """Where in the file to begin: REST goes before STOR, and 350 is expected; `size` bytes follow."""
    verify: Literal["size"] | None = None
    """`size` asks the server for SIZE after the upload: anything but `offset` + `size` fails as transfer-short."""


class AppeOptions(UploadOptions):
    """Append `size` bytes to `file`."""


class ListOptions(TransferOptions):
    """List a directory; null for the current one."""

    path: str | None = None

    @classmethod
    def scalar_field(cls) -> str | None:
        return "path"


class PasvOnlyOptions(Shorthand):
    """Ask for a passive port and never connect to it."""

    mode: Literal["epsv", "pasv", "auto"] | None = None


class CwdOptions(Shorthand):
    """Change the directory."""

    path: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "path"


class ThinkOptions(Shorthand):
    """Do nothing for a while, the control connection open."""

    duration: DurationNs

    @classmethod
    def scalar_field(cls) -> str | None:
        return "duration"


class NoopOptions(Shorthand):
    """Send NOOP."""


class SizeOptions(Shorthand):
    """Ask for the size of a file (RFC 3659)."""

    file: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "file"


class MkdOptions(Shorthand):
    """Make a directory."""

    path: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "path"


class DeleOptions(Shorthand):
    """Delete a file."""

    file: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "file"


class TypeOptions(Shorthand):
    """Set the representation type; login sets `I`. Bytes are counted as they come, whatever the type."""

    type: Literal["A", "I"]

    @classmethod
    def scalar_field(cls) -> str | None:
        return "type"


def _amount_or_duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError:
        try:
            parse_size(text)
        except ValueError:
            raise ValueError("neither a size nor a duration; write one such as 10KiB or 500ms") from None
    return text


class AbortOptions(TransferOptions):
    """Start a transfer and end it with ABOR. It has succeeded when the server has answered both commands as RFC 959
    has it, in either order: 426 (or the transfer's own 2xx) and 225 or 226. `close.first: client` closes the data
    connection right after ABOR is sent; by nature the client reads on until the server has closed it."""

    retr: str | None = None
    """The file to download."""
    stor: SizeBytes | None = None
    """Or how much to upload, as `abort-{session}-{operation}.bin`."""
    after: Annotated[
        str,
        AfterValidator(_amount_or_duration),
        WithJsonSchema({"type": "string", "title": "Size or duration", "examples": ["10KiB", "500ms"]}),
    ] = "0s"
    """When to send ABOR: once so many bytes have moved, or so long after the transfer command was sent; `0s` at once.
    A transfer that ends before is aborted afterwards."""
    signal: Literal["plain", "telnet"] = "plain"
    """`telnet` sends the Telnet IP and Synch signals before the command, as urgent data, as RFC 959 section 4.1.3 says;
    `plain` the command alone, as most clients do. Over TLS it is always plain."""

    @classmethod
    def scalar_field(cls) -> str | None:
        return "retr"

    @model_validator(mode="after")
    def _one_transfer(self) -> Self:
        if (self.retr is None) == (self.stor is None):
            raise ValueError("give exactly one of `retr` and `stor`")
        return self

    @property
    def after_bytes(self) -> int:
        """Bytes that must have moved."""
        return 0 if self.after_ns is not None else parse_size(self.after)

    @property
    def after_ns(self) -> int | None:
        """Nanoseconds after the command; None where `after` is a size."""
        try:
            return parse_duration(self.after)
        except ValueError:
            return None


class QuitOptions(Shorthand):
    """Send QUIT, wait for 221 and for the server's close."""

    close: Close = Close()
    """`first: natural` and `server` give the server a second to close first; `client` closes as soon as 221 is in."""

    @model_validator(mode="after")
    def _who_can_close(self) -> Self:
        if self.close.with_ != "fin" and self.close.first != "client":
            raise ValueError(
                f"the server closes first here; `close.with: {self.close.with_}` needs `close.first: client`"
            )
        return self


class RepeatOptions(Frozen):
    """Run `steps` so many times."""

    times: PositiveCount
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Step(Frozen):
    """One step of a flow: a mapping with exactly one key, or just its name where it needs no options."""

    login: LoginOptions | None = None
    retr: RetrOptions | None = None
    stor: StorOptions | None = None
    list: ListOptions | None = None
    nlst: ListOptions | None = None
    mlsd: ListOptions | None = None
    pasv_only: PasvOnlyOptions | None = Field(default=None, alias="pasv-only")
    cwd: CwdOptions | None = None
    appe: AppeOptions | None = None
    size: SizeOptions | None = None
    mkd: MkdOptions | None = None
    dele: DeleOptions | None = None
    type: TypeOptions | None = None
    abort: AbortOptions | None = None
    noop: NoopOptions | None = None
    think: ThinkOptions | None = None
    quit: QuitOptions | None = None
    repeat: RepeatOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            # `- login:` with nothing behind the colon reads as null in YAML and means the defaults
            return {key: {} if options is None else options for key, options in value.items()}
        return value

    @model_validator(mode="after")
    def _one_key(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step has exactly one key, such as `retr: small.bin`")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        alias = type(self).model_fields[self.kind].alias or self.kind
        return {alias: self.options.model_dump(by_alias=True)}

    @property
    def kind(self) -> str:
        """The step's field name, such as ``retr`` or ``pasv_only``."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """The step's options model."""
        return getattr(self, self.kind)


RETRIES_MAX: Final = 255
"""A record holds the number of a retry in one byte."""


class Retry(Frozen):
    """Try a failed step again on the same control connection."""

    on: tuple[Annotated[int, Field(ge=400, le=599)] | Literal["any"], ...] = ("any",)
    """FTP codes that are worth a retry, or `any` for every failure that control survived."""
    times: Annotated[int, Field(ge=1, le=RETRIES_MAX), NOT_BOOL] = 3
    wait: DurationNs | Annotated[str, Field(pattern=r"^[^.]+(\.\d+[a-z]+)?\.\.[^.]+")] = "2s"
    """Pause before each retry; `2s..30s` doubles from the first to the second."""

    @field_validator("wait", mode="before")
    @classmethod
    def _wait(cls, value: Any) -> Any:

        if isinstance(value, str) and ".." in value:
            first, _, last = value.partition("..")
            if parse_duration(first) > parse_duration(last):
                raise ValueError("the first pause is longer than the last")
        return value

    def wait_ns(self, attempt: int) -> int:
        """Return the pause before retry `attempt` (1-based), in ns."""

        if isinstance(self.wait, int):
            return self.wait
        first, _, last = self.wait.partition("..")
        return min(parse_duration(first) << (attempt - 1), parse_duration(last))


class OnFailure(Frozen):
    """The long form of `on_failure`."""

    retry: Retry


class Flow(Frozen):
    """What one session does."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    on_failure: Literal["continue", "end-session"] | OnFailure = "continue"
    """After a failed step: `continue` with the next one if control survived, else end; `end-session`; or retry."""
