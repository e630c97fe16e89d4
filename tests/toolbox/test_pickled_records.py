"""Pickled lists are read record by record: what pickle itself reads, in bounded memory, and nothing is executed."""

import pickle
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pickled_values import assert_same

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.pickle_stream import pickled_part, write_pickled_list
from h36m_toolbox.storage.pickled_records import pickled_records


def record(number: int, camera: dict[str, np.ndarray]) -> dict[str, Any]:
    """One as generate_labels_h36m.py makes them, in small; cameras are shared by many."""
    values = np.random.default_rng(number).normal(size=(17, 2))
    return {
        "image": f"s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_{number:06d}.jpg",
        "joints_2d": values,
        "joints_3d": values.astype(np.float32),
        "center": tuple(values[0]),
        "scale": tuple(values[1].astype(np.float32)),
        "image_id": number * 100,
        "source": "h36m",
        "camera": camera,
    }


def records(count: int) -> list[dict[str, Any]]:
    # a sequence's camera comes again when other sequences were in between
    cameras = [{"R": np.eye(3) * number, "fx": np.ones(1)} for number in range(3)]
    return [record(number, cameras[number // 1500 % 3]) for number in range(count)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_records_are_what_pickle_reads(tmp_path: Path, protocol: int) -> None:
    path, written = tmp_path / "list.pkl", records(7000)
    path.write_bytes(pickle.dumps(written, protocol))
    for found, expected in zip(pickled_records(path), written, strict=True):
        assert_same(found, expected)


def test_our_own_streamed_lists_are_read(tmp_path: Path) -> None:
    path, written = tmp_path / "list.pkl", records(40)
    write_pickled_list(path, [pickled_part(written[:30]), pickled_part(written[30:])])
    assert_same(list(pickled_records(path)), written)


def test_other_values_come_back_too(tmp_path: Path) -> None:
    path = tmp_path / "list.pkl"
    values = [None, True, False, 1, -70000, 2**40, 0.5, "Ä", b"\x00" * 300, (), (1,), [1, [2, 3]], {"a": {}}, "x" * 300]
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps([*values, [values]], protocol))
        assert_same(list(pickled_records(path)), [*values, [values]])
    path.write_bytes(pickle.dumps([], 4))
    assert list(pickled_records(path)) == []
    path.write_bytes(pickle.dumps(["alone"], 4))
    assert list(pickled_records(path)) == ["alone"]


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps(records(12000)))
    stream = pickled_records(path)
    tracemalloc.start()
    try:
        for _ in islice(stream, 5000):
            pass
        early = tracemalloc.get_traced_memory()[0]
        for _ in islice(stream, 6000):
            pass
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late < early * 1.1


class _Malicious:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path, ("sentinel",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"not a pickle at all", "opcode b'n'"),
        (pickle.dumps({"a": 1}), "its outermost object is no list"),
        (pickle.dumps([1, 2])[:-1], "cannot be unpickled"),
        (pickle.dumps(records(2))[:600], "in the middle of a record|cannot be unpickled"),
        (pickle.dumps([_Malicious()]), "which label files have no use for"),
        (pickle.dumps([{1: 2}]), "a record's keys are no strings"),
        (pickle.dumps([{1, 2}]), "opcode"),
        (pickle.dumps([np.array([None, {}], object)]), "an array of objects"),
        (b"\x80\x04]\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.", "in the middle of a record"),
        (b"\x80\x04]h\x07a.", "refers back to an object that no record near by has used"),
        (b"\x80\x04]K\x01K\x02Ra.", "calls what is no constructor"),
        (b"\x80\x04]K\x01K\x02ba.", "gives a state to int"),
    ],
)
def test_other_files_are_refused_with_their_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "list.pkl"
    path.write_bytes(content)
    with pytest.raises(H36MError, match=rf"list\.pkl.*({message})"):
        list(pickled_records(path))
