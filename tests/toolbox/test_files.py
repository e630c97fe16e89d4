from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h36m_toolbox.storage.files import folder_written_whole, sha256_of, written_whole

NUMBERS = np.arange(100_000.0)


def write_zip(path: Path) -> None:
    with written_whole(path) as temporary, zipfile.ZipFile(full(temporary), "w") as archive:
        archive.writestr("x", NUMBERS.tobytes())


def write_parquet(path: Path) -> None:
    with written_whole(path) as temporary:
        pq.write_table(pa.table({"x": NUMBERS}), full(temporary))


def write_npy(path: Path) -> None:
    with written_whole(path) as temporary, full(temporary).open("wb") as file:
        np.save(file, NUMBERS)


def write_numbers(path: Path) -> None:
    with written_whole(path) as temporary, full(temporary).open("wb") as file:
        NUMBERS.tofile(file)


def write_bytes(path: Path) -> None:
    with written_whole(path) as temporary:
        full(temporary).write_bytes(NUMBERS.tobytes())


def full(temporary: Path) -> Path:
    """The same path on a disk without any room."""
    temporary.symlink_to("/dev/full")
    return temporary


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "labels.parquet"
    with written_whole(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".labels.parquet.{platform.node()}-{dead.pid}-0a1b.partial"
    alive = tmp_path / f".labels.parquet.{platform.node()}-{os.getppid()}-0a1b.partial"
    other_file = tmp_path / f".other.parquet.{platform.node()}-{dead.pid}-0a1b.partial"
    for partial in (left, alive, other_file):
        partial.write_text("half")
    with written_whole(path) as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert alive.exists()
    assert other_file.exists()


def test_what_a_dead_process_left_is_removed_before_its_parent_noticed(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert zombie.stdout is not None
    zombie.stdout.read()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    left = tmp_path / f".labels.parquet.{platform.node()}-{zombie.pid}-0a1b.partial"
    left.write_text("half")
    with written_whole(path) as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    zombie.communicate()


def test_what_another_machine_left_is_removed_after_a_silent_day(tmp_path: Path) -> None:
    path = tmp_path / "images"
    fresh, old = (tmp_path / f".images.else-where-17-{number}.partial" for number in ("0a1b", "2c3d"))
    for partial in (fresh, old):
        partial.mkdir()
        (partial / "half.jpg").touch()
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    with folder_written_whole(path):
        pass
    assert fresh.exists()
    assert not old.exists()


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    with written_whole(path) as first, written_whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last to end
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_zip, write_parquet, write_npy, write_numbers, write_bytes])
def test_a_full_disk_is_named_whatever_the_writer_makes_of_it(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "output"
    with pytest.raises(OSError, match=r"No space left on device; .* run the same command again") as raised:
        write(path)
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_other_failures_to_write_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file"), written_whole(tmp_path / "output"):
        (tmp_path / "absent").read_bytes()


def test_a_folder_replaces_the_old_one_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "old.jpg").touch()
    with folder_written_whole(folder) as temporary:
        (temporary / "new.jpg").touch()
        assert (folder / "old.jpg").exists()
    assert [path.name for path in folder.iterdir()] == ["new.jpg"]
    assert list(tmp_path.iterdir()) == [folder]


def test_hashes_are_sha256(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
