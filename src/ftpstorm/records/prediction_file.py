"""prediction.json on disk: written and hashed before the first packet, so that nobody can fit it afterwards.

The model of its content belongs to `ftpstorm.simulate`; here it is any pydantic model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ftpstorm.errors import RecordsError
from ftpstorm.records.manifest import PREDICTION


def prediction_bytes(prediction: BaseModel) -> bytes:
    """Return the exact bytes of prediction.json: indented JSON, UTF-8, a newline at the end. No NaN, no infinity."""
    text = json.dumps(prediction.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def prediction_sha256(content: bytes) -> str:
    """Return the hash that the manifest keeps: SHA-256 of the file's bytes, in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def write_prediction(folder: Path, prediction: BaseModel) -> str:
    """Write prediction.json into a results folder and return the SHA-256 (hex) of its bytes.

    Raises OSError when it cannot be written, FileExistsError when the folder already has one: it is made once.
    """
    content = prediction_bytes(prediction)
    with (folder / PREDICTION).open("xb") as file:
        file.write(content)
    return prediction_sha256(content)


def read_prediction(folder: Path, expected_sha256: str | None = None) -> dict[str, Any]:
    """Read prediction.json as JSON types.

    Raises FileNotFoundError when there is none, RecordsError when it is no JSON object or not the file that
    `expected_sha256` (hex, from the manifest) was taken of.
    """
    content = (folder / PREDICTION).read_bytes()
    if expected_sha256 is not None and prediction_sha256(content) != expected_sha256:
        raise RecordsError(f"{folder / PREDICTION}: changed since the run (its SHA-256 is not the manifest's)")
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RecordsError(f"{folder / PREDICTION}: no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RecordsError(f"{folder / PREDICTION}: not a JSON object")
    return value
