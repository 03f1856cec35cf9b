"""prediction.json is written once, and its hash is that of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ftpstorm.errors import RecordsError
from ftpstorm.records.prediction_file import prediction_bytes, read_prediction, write_prediction
from ftpstorm.simulate.predict import Prediction, predict
from support.plans import demo_plan


def test_the_hash_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    prediction = predict(demo_plan(), stamped_at="2024-05-01T12:00:00Z")
    digest = write_prediction(tmp_path, prediction)
    content = (tmp_path / "prediction.json").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    assert content == prediction_bytes(prediction)
    assert Prediction.model_validate(read_prediction(tmp_path, digest)) == prediction


def test_a_prediction_is_made_once(tmp_path: Path) -> None:
    prediction = predict(demo_plan())
    write_prediction(tmp_path, prediction)
    with pytest.raises(FileExistsError):
        write_prediction(tmp_path, prediction)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    digest = write_prediction(tmp_path, predict(demo_plan()))
    path = tmp_path / "prediction.json"
    path.write_bytes(path.read_bytes().replace(b'"server-passive-pool"', b'"none"'))
    with pytest.raises(RecordsError, match="changed since the run"):
        read_prediction(tmp_path, digest)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
def test_a_file_that_is_no_prediction_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prediction.json").write_bytes(content)
    with pytest.raises(RecordsError):
        read_prediction(tmp_path)
