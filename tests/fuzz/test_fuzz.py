"""Readers of strangers' files against damaged and harmful ones: a minute here, at depth by `tests/fuzz/run.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fuzz_corpora import TOUCHED, harmful_pickles
from fuzz_targets import TARGETS
from run import fuzz

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.safe_pickle import read_plain_pickle

SECONDS = 6  # for each target


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_only_documented_errors_come_out(target: str, tmp_path: Path) -> None:
    outcome = fuzz(target, seed=0, seconds=SECONDS, failures=tmp_path / "failures")
    assert not outcome.failures, str(outcome)
    assert outcome.inputs > len(TARGETS[target].seeds())


@pytest.mark.parametrize("number", range(len(harmful_pickles())))
def test_a_harmful_pickle_runs_nothing(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "harmful.pkl"
    path.write_bytes(harmful_pickles()[number])
    try:
        assert_plain(read_plain_pickle(path))
    except H36MError as error:
        assert str(path) in str(error)
    assert not (tmp_path / TOUCHED).exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def assert_plain(value: object) -> None:
    """What a pickle without a call to anything may give."""
    assert isinstance(value, dict | list | tuple | str | bytes | int | float | np.ndarray | np.generic | None)
