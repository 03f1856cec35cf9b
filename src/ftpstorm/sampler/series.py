"""Write samples: give each series an id once, then append (instant, series, value) to the spool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ftpstorm.records.schema import SAMPLES
from ftpstorm.records.spool import SpoolWriter, TextTable, spool_path
from ftpstorm.vocabulary import Metric


class SeriesGroup:
    """All series of one host and one metric, told apart by key."""

    __slots__ = ("_append", "_host", "_ids", "_metric", "_texts")

    def __init__(self, samples: SpoolWriter, texts: TextTable, host: str, metric: Metric) -> None:
        self._append = samples.append
        self._texts = texts
        self._host = host
        self._metric = metric.value
        self._ids: dict[str, int] = {}

    def write(self, t_ns: int, key: str, value: float) -> None:
        """Append one sample. `t_ns` is the instant of the reading, in ns after start_at; negative before it."""
        series = self._ids.get(key)
        if series is None:
            series = self._ids[key] = self._texts.intern_series(self._host, self._metric, key)
        self._append(t_ns, series, value)

    def write_all(self, t_ns: int, values: Mapping[str, float]) -> None:
        """Append one sample for each key of `values`."""
        for key, value in values.items():
            self.write(t_ns, key, value)


class SeriesWriter:
    """The sampler's two spools, samples and texts, and the groups that write to them."""

    def __init__(self, folder: Path, writer: str, header: Mapping[str, Any]) -> None:
        """Create ``<folder>/<writer>.samples.spool`` and its texts; `header` as `SpoolWriter` wants it."""
        meta = dict(header)
        self._texts = TextTable(folder, writer, meta)
        try:
            self._samples = SpoolWriter(spool_path(folder, writer, SAMPLES), SAMPLES, meta)
            self._samples.first = self._texts.spool
        except BaseException:
            self._texts.close()
            raise
        self._groups: dict[tuple[str, Metric], SeriesGroup] = {}

    def group(self, host: str, metric: Metric) -> SeriesGroup:
        """Return the group of `host` and `metric`; the same one each time."""
        key = (host, metric)
        if key not in self._groups:
            self._groups[key] = SeriesGroup(self._samples, self._texts, host, metric)
        return self._groups[key]

    @property
    def count(self) -> int:
        """Samples written so far."""
        return self._samples.count

    def flush(self) -> None:
        """Write what has gathered: texts first, so that no sample on disk names a series that is not there.

        Raises OSError (disk full).
        """
        self._texts.flush()
        self._samples.flush()

    def close(self) -> None:
        """Flush and close; closing twice is allowed."""
        try:
            self._texts.close()
        finally:
            self._samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
