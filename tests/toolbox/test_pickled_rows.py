"""Rows of arrays are pickled as the dicts that they stand for, whatever their numbers look like."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pickled_values import assert_same

from h36m_toolbox.storage.pickle_stream import PICKLE_HEADER, PickledPart, write_pickled_list
from h36m_toolbox.storage.pickled_records import pickled_records
from h36m_toolbox.storage.pickled_rows import Column, Rows, pickled_rows


def rows_of(numbers: np.ndarray, ids: np.ndarray, names: list[str]) -> Rows:
    camera = {"R": np.eye(3), "fx": np.ones(1, np.float32)}
    return Rows(
        len(numbers),
        {
            "image": Column(np.array([name.encode() for name in names], np.bytes_)),
            "joints": Column(numbers),
            "single": Column(numbers[:, :1].astype(np.float32)),
            "image_id": Column(ids),
            "action": 17,  # the same byte as of the shape (17, 2)
            "camera": camera,
            "center": Column(numbers[:, 0], as_tuple=True),
            "small": Column(ids.astype(np.int16)[:, None]),
            "source": "h36m",
            "again": camera,
        },
    )


def loaded(part: PickledPart) -> list[Any]:
    return pickle.loads(PICKLE_HEADER + pickle.EMPTY_LIST + pickle.MARK + part.stream + pickle.APPENDS + pickle.STOP)


IDS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 1 << 17)), min_size=1, max_size=12)
NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=2, max_size=6)


@given(IDS, st.data())
def test_rows_are_loaded_as_the_dicts_they_stand_for(ids: list[int], data: st.DataObject) -> None:
    count = len(ids)
    numbers = data.draw(arrays.arrays(np.float64, (count, 17, 2), elements=st.floats(width=32), fill=st.just(0.0)))
    names = data.draw(st.lists(NAME, min_size=count, max_size=count))
    rows = rows_of(numbers, np.array(ids), names)
    part = pickled_rows(rows)
    assert part.count == count
    assert_same(loaded(part), list(rows))


def test_what_rows_share_is_shared_and_nothing_else() -> None:
    rows = rows_of(np.ones((4, 17, 2)), np.array([254, 255, 256, 257]), ["name"] * 4)
    part = pickled_rows(rows)
    first, *others = loaded(part)
    for other in others:
        assert other["camera"] is other["again"] is first["camera"]
        assert other["joints"] is not first["joints"]
        other["joints"] += 1
    assert first["joints"].sum() == 34


def test_parts_of_rows_are_one_list_for_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "list.pkl"
    numbers = np.random.default_rng(0).normal(size=(3, 400, 17, 2))
    parts = [rows_of(each, np.arange(400) + 1, [f"{row:06d}" for row in range(400)]) for each in numbers]
    nothing = rows_of(np.zeros((0, 17, 2)), np.zeros(0, int), [])
    assert write_pickled_list(path, map(pickled_rows, [*parts[:2], nothing, parts[2]])) == 1200
    expected = [row for part in parts for row in part]
    assert_same(pickle.loads(path.read_bytes()), expected)
    assert_same(list(pickled_records(path)), expected)
    assert b"numpy._core" not in path.read_bytes()


def test_bytes_that_python_shares_between_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="0 of the 1 bytes"):
        pickled_rows(Rows(2, {"class": Column(np.zeros((2, 1), np.uint8))}))
