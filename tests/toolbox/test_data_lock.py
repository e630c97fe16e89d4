"""Two runs at once on one DATA, as processes: the second refuses or waits, and a killed one holds nothing."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic_data import done, refused

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.data_lock import writing

HOLD = """
import sys
from pathlib import Path
from h36m_toolbox.storage.data_lock import writing

with writing(Path(sys.argv[1]), *sys.argv[2:]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(data: Path, *areas: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes these areas until the block or the process ends."""
    command = [sys.executable, "-c", HOLD, str(data), *areas]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_second_is_told_who_writes_what_since_when(tmp_path: Path) -> None:
    with (
        holder(tmp_path, "images") as first,
        pytest.raises(
            H36MError, match=r"since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00, is writing it; .*--wait"
        ) as raised,
        writing(tmp_path, "images"),
    ):
        pass
    assert str(raised.value).startswith(f"{tmp_path / 'images'}: process {first.pid} on {platform.node()}, ")


def test_a_run_that_is_refused_for_its_raw_leaves_no_new_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    refused("labels", tmp_path / "absent", "--out", data)
    assert not data.exists()
    with holder(data, "images"):
        refused("labels", tmp_path / "absent", "--out", data)
        with pytest.raises(H36MError), writing(data, "images"):
            pass


def test_areas_are_independent_of_each_other(tmp_path: Path) -> None:
    with holder(tmp_path, "images", "labels/parquet"), writing(tmp_path, "labels/toolbox", "stats"):
        pass


def test_a_refused_run_leaves_the_areas_that_it_had_taken(tmp_path: Path) -> None:
    with holder(tmp_path, "stats"), pytest.raises(H36MError), writing(tmp_path, "images", "stats"):
        pass
    with holder(tmp_path, "images"):
        pass


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path, "images") as first:
        first.kill()
        first.wait()
        with writing(tmp_path, "images"):
            pass


def test_a_run_that_waits_begins_when_the_other_ends(tmp_path: Path) -> None:
    told: list[str] = []
    with holder(tmp_path, "images") as first:
        ended = threading.Event()

        def end() -> None:
            until(lambda: bool(told))
            ended.set()
            first.kill()

        thread = threading.Thread(target=end)
        thread.start()
        with writing(tmp_path, "images", wait=True, waiting=told.append):
            assert ended.is_set()
        thread.join()
    (why,) = told
    assert f"process {first.pid}" in why


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_error_in_the_block_frees_the_area(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writing(tmp_path, "images"):
        raise RuntimeError
    with holder(tmp_path, "images"):
        pass


@pytest.mark.parametrize(
    ("area", "command"),
    [
        ("images", ("extract", "RAW", "--out", "DATA")),
        ("labels/parquet", ("labels", "RAW", "--out", "DATA")),
        ("labels/toolbox", ("labels", "RAW", "--out", "DATA", "--format", "parquet", "--format", "toolbox")),
        ("detections", ("detections", "RAW", "--out", "DATA")),
        ("stats", ("stats", "DATA")),
    ],
)
def test_commands_refuse_to_write_what_another_writes(
    tmp_path: Path, synthetic_raw: Path, area: str, command: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    places: dict[str, object] = {"RAW": synthetic_raw, "DATA": data}
    with holder(data, area) as first:
        message = refused(*(places.get(word, word) for word in command))
    assert f"{data / area}: process {first.pid} " in message
    assert [path.name for path in data.iterdir()] == [".locks"]


def test_one_labels_while_another_extracts(tmp_path: Path, synthetic_raw: Path) -> None:
    with holder(tmp_path, "images", "labels/toolbox", "detections"):
        done("labels", synthetic_raw, "--out", tmp_path, "--jobs", 1)


def test_a_command_that_waits_succeeds(tmp_path: Path, synthetic_raw: Path) -> None:
    with holder(tmp_path, "detections") as first:
        killer = threading.Timer(0.5, first.kill)
        killer.start()
        said = done("detections", synthetic_raw, "--out", tmp_path, "--wait")
        killer.join()
    assert "waiting for it to end" in said


def test_a_dry_run_neither_waits_nor_writes(tmp_path: Path, unpacked: Path) -> None:
    data = tmp_path / "data"
    done("extract", unpacked, "--out", data, "--dry-run", "--jobs", 1)
    assert not data.exists()
