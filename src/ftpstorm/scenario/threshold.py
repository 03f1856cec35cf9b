"""One threshold of a scenario: a condition, and whether the run ends as soon as it does not hold.

The words are k6's (`abortOnFail`, `delayAbortEval`), spelt as all keys of a scenario are. A threshold that only judges
the finished run is written, and written back, as its condition alone.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, SerializerFunctionWrapHandler, model_serializer, model_validator

from ftpstorm.scenario.expressions import parse_expression
from ftpstorm.scenario.flow import Shorthand
from ftpstorm.scenario.types import DurationNs


def _condition(text: str) -> str:
    parse_expression(text)
    return text


Condition = Annotated[str, AfterValidator(_condition)]
"""Text that `parse_expression` takes."""


class Threshold(Shorthand):
    """A condition on a metric: the condition alone, or with what happens when it does not hold during the run."""

    threshold: Condition
    """Such as `p(99)<50ms`, `count==0` or `rate>=97/s`."""
    abort_on_fail: bool = False
    """End the run as soon as the condition does not hold for what was recorded until then: sessions under way may
    finish, the run fails with exit code 99 and its status is `stopped-early`."""
    delay_abort_eval: DurationNs = "0s"  # type: ignore[assignment]
    """How long after the start of the run the condition is looked at for the first time; needs `abort_on_fail`."""

    @classmethod
    def scalar_field(cls) -> str | None:
        """The condition."""
        return "threshold"

    @model_validator(mode="after")
    def _delay_of_an_abort(self) -> Threshold:
        if self.delay_abort_eval and not self.abort_on_fail:
            raise ValueError("`delay_abort_eval` is of no use without `abort_on_fail: true`")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> Any:
        return serialize(self) if self.abort_on_fail else self.threshold
