"""What one session does: steps, their options and shorthands, and what follows a failure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from ftpstorm.scenario.types import Documented, DurationNs, Frozen, PositiveCount, SizeBytes
from ftpstorm.units import parse_duration


class Shorthand(Documented):
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


class Close(Documented):
    """Who ends a data connection, and how."""

    first: Literal["natural", "client", "server"] = "natural"
    """`natural`: whoever sends the data (server on RETR and LIST, client on STOR). `client` on RETR closes as soon as
    the expected bytes are in; `server` on STOR is not possible and refused."""
    with_: Literal["fin", "rst"] = Field(default="fin", alias="with")
    """`rst` sets SO_LINGER(1, 0): no TIME_WAIT on either side."""


class TransferOptions(Shorthand):
    """Options that every step with a data connection has."""

    mode: Literal["epsv", "pasv", "auto"] | None = None
    """Overrides `client.mode`."""
    close: Close = Close()


class LoginOptions(Shorthand):
    """Wait for the greeting, send USER and PASS, then TYPE I."""


class RetrOptions(TransferOptions):
    """Download a file and discard it."""

    file: str

    @classmethod
    def scalar_field(cls) -> str | None:
        return "file"


class StorOptions(TransferOptions):
    """Upload `size` bytes under the name `file`; `{session}` and `{operation}` in it are replaced by numbers."""

    file: str = "upload-{session}-{operation}.bin"
    size: SizeBytes = "1KiB"  # type: ignore[assignment]

    @classmethod
    def scalar_field(cls) -> str | None:
        return "size"

    @model_validator(mode="after")
    def _client_sends(self) -> StorOptions:
        if self.close.first == "server":
            raise ValueError("an upload ends when the client closes; `close.first: server` is not possible on stor")
        return self


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


class QuitOptions(Shorthand):
    """Send QUIT, wait for 221 and for the server's close."""


class RepeatOptions(Documented):
    """Run `steps` so many times."""

    times: PositiveCount
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Step(Documented):
    """One step of a flow: a mapping with exactly one key, or just its name where it needs no options."""

    login: LoginOptions | None = None
    retr: RetrOptions | None = None
    stor: StorOptions | None = None
    list: ListOptions | None = None
    nlst: ListOptions | None = None
    mlsd: ListOptions | None = None
    pasv_only: PasvOnlyOptions | None = Field(default=None, alias="pasv-only")
    cwd: CwdOptions | None = None
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


class Retry(Documented):
    """Try a failed step again on the same control connection."""

    on: tuple[Annotated[int, Field(ge=400, le=599)] | Literal["any"], ...] = ("any",)
    """FTP codes that are worth a retry, or `any` for every failure that control survived."""
    times: PositiveCount = 3
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


class OnFailure(Documented):
    """The long form of `on_failure`."""

    retry: Retry


class Flow(Documented):
    """What one session does."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    on_failure: Literal["continue", "end-session"] | OnFailure = "continue"
    """After a failed step: `continue` with the next one if control survived, else end; `end-session`; or retry."""
