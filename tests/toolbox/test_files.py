from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from h36m_toolbox.files import folder_written_whole, sha256_of, written_whole


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
    left = tmp_path / f".labels.parquet.{platform.node()}-{dead.pid}.partial"
    alive = tmp_path / f".labels.parquet.{platform.node()}-{os.getppid()}.partial"
    other_file = tmp_path / f".other.parquet.{platform.node()}-{dead.pid}.partial"
    for partial in (left, alive, other_file):
        partial.write_text("half")
    with written_whole(path) as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert alive.exists()
    assert other_file.exists()


def test_a_folder_replaces_the_old_one_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "old.jpg").touch()
    (tmp_path / ".images.partial").mkdir()
    (tmp_path / ".images.partial" / "half.jpg").touch()
    with folder_written_whole(folder) as temporary:
        (temporary / "new.jpg").touch()
        assert (folder / "old.jpg").exists()
    assert [path.name for path in folder.iterdir()] == ["new.jpg"]
    assert list(tmp_path.iterdir()) == [folder]


def test_hashes_are_sha256(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()
