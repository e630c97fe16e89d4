"""What may happen to a long job - kill -9, a full disk, a target that cannot be written - with the commands as
processes: nothing that lies under its final name is ever a part, and the next run ends with the same bytes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic_data import digests

from h36m_toolbox.storage.safe_pickle import read_plain_pickle

pytestmark = pytest.mark.slow

H36M = (sys.executable, "-m", "h36m_toolbox")
KILLS = 3  # of each step, that hit it while it ran
FORMATS = ("parquet", "toolbox", "poseformer", "videopose3d", "h36m-fetch", "mmpose")


@dataclass(frozen=True)
class Work:
    """A raw folder, the commands that make DATA of it, the result of doing so in peace, and how long each took."""

    raw: Path
    expected: dict[str, str]
    seconds: dict[str, float]


def command_of(step: str, raw: Path, data: Path, quality: int = 88) -> list[str]:
    cpn = str(raw / "detections" / "data_2d_h36m_cpn_ft_h36m_dbb.npz")
    frames = ["extract", str(raw), "--out", str(data), "--jobs", "2", "--quality", str(quality)]
    words = {
        "pack": [*frames, "--pack"],
        "extract": frames,
        "detections": ["detections", str(raw), "--out", str(data), "--cpn", cpn, "--npz", "cpn"],
        "stats": ["stats", str(data), "--select", "all"],
    }.get(step, ["labels", str(raw), "--out", str(data), "--jobs", "1", "--format", step])
    return [*H36M, *words]


STEPS = ("pack", "extract", "detections", *FORMATS, "stats")


def finish(step: str, raw: Path, data: Path) -> None:
    done = subprocess.run(command_of(step, raw, data), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Two subjects, both takes of Walking, four cameras; and DATA as it should be."""
    folder = tmp_path_factory.mktemp("survival")
    raw, data = folder / "raw", folder / "data"
    plan = ["--subjects", "S1,S9", "--actions", "Walking", "--frames", "6", "--jobs", "2"]
    subprocess.run([*H36M, "synth", str(raw), *plan], check=True, capture_output=True)
    seconds = {}
    for step in STEPS:
        start = time.monotonic()
        finish(step, raw, data)
        seconds[step] = time.monotonic() - start
    assert_whole(data, set())
    return Work(raw, outputs(data), seconds)


def outputs(data: Path) -> dict[str, str]:
    """The content of DATA, hashed; of reports, which name the folder, the text."""
    found = {name: digest for name, digest in digests(data).items() if not name.startswith(".locks/")}
    for path in data.rglob("report.json"):
        found[path.relative_to(data).as_posix()] = path.read_text().replace(str(data), "DATA")
    return found


def assert_whole(data: Path, read_before: set[tuple[Path, int, int]]) -> None:
    """Every file that has its final name can be read to its end, and manifests tell the truth.

    Files of `read_before`, by place, inode and time, are not read again; those that are read are added.
    """
    for path in data.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(data).parts):
            about = path.stat()
            if (path, about.st_ino, about.st_mtime_ns) not in read_before:
                READERS[path.suffix](path)
                read_before.add((path, about.st_ino, about.st_mtime_ns))
    for path in (data / "manifests" / "images").glob("[!.]*.json"):
        manifest = json.loads(path.read_text())
        shard = data / "images" / f"{path.stem}.parquet"
        if manifest["packed"]:
            assert shard.stat().st_size == manifest["image_bytes"], path
        else:
            sizes = [image.stat().st_size for image in (data / "images" / path.stem).glob("*.jpg")]
            assert (len(sizes), sum(sizes)) == (manifest["images"], manifest["image_bytes"]), path


def read_jpeg(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\xff\xd8"), path
    assert content.endswith(b"\xff\xd9"), path


def read_npz(path: Path) -> None:
    with np.load(path, allow_pickle=True) as arrays:
        for name in arrays.files:
            arrays[name]


def read_hdf5(path: Path) -> None:
    with h5py.File(path) as file:
        file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


def read_csv(path: Path) -> None:
    assert path.read_text().endswith("\n"), path


READERS = {
    ".jpg": read_jpeg,
    ".json": lambda path: json.loads(path.read_text()),
    ".parquet": pq.read_table,
    ".npz": read_npz,
    ".npy": lambda path: np.load(path, allow_pickle=True),
    ".pkl": read_plain_pickle,
    ".h5": read_hdf5,
    ".csv": read_csv,
}


def killed_after(command: list[str], seconds: float) -> bool:
    """Run a command with all of its processes until they are killed; whether it was still running."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, stderr.decode()
    return False


def test_kill_9_at_any_moment_leaves_whole_files_and_the_next_run_ends_with_the_same_bytes(
    work: Work, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    rng = random.Random(36)
    read_before: set[tuple[Path, int, int]] = set()
    assert KILLS * len(STEPS) >= 30
    for step in STEPS:
        seconds = work.seconds[step]
        for number in range(KILLS):
            if number == 1:  # from here on files replace files, and frames those of another quality
                finish(step, work.raw, data)
            quality = 88 if number < 1 else 60
            while not killed_after(command_of(step, work.raw, data, quality), rng.uniform(0.3, 1) * seconds):
                seconds *= 0.8  # the machine was busier when it was measured
                quality += 1  # or there would be nothing left to do
            assert_whole(data, read_before)
        finish(step, work.raw, data)
    assert outputs(data) == work.expected


@pytest.mark.parametrize("steps", [("pack",), STEPS[1:]])
def test_a_full_disk_is_one_line_and_keeps_what_was_finished(
    work: Work, tmp_path: Path, steps: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    read_before: set[tuple[Path, int, int]] = set()
    for step in steps:
        before = outputs(data)
        # no file may grow beyond 1 KiB: the failure of a full disk, without a disk to fill
        failed = run(["bash", "-c", 'ulimit -f 1 && exec "$@"', "-", *command_of(step, work.raw, data)])
        assert_one_line(failed, step)
        assert f"Error: {data}/" in failed.stderr
        assert "File too large; what was finished is kept: make room and run the same command again" in failed.stderr
        assert_whole(data, read_before)
        assert outputs(data).items() >= before.items()
        assert not list(data.rglob("*.partial*"))
        finish(step, work.raw, data)
    if steps == STEPS[1:]:
        assert outputs(data) == work.expected


@pytest.fixture
def closed(work: Work, tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be written to, with finished DATA in it."""
    folder = tmp_path / "closed"
    shutil.copytree(work.raw.parent / "data", folder / "data")
    shutil.rmtree(folder / "data" / ".locks")
    set_modes(folder, 0o555)
    yield folder
    set_modes(folder, 0o755)


def set_modes(folder: Path, mode: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(mode)


# To root nothing is closed: it gives that up (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE; for others it does nothing).
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("step", "target"),
    [(step, "data") for step in ("extract", "detections", "parquet", "stats")] + [("extract", "new")],
)
def test_a_target_that_cannot_be_written_is_one_line(work: Work, closed: Path, step: str, target: str) -> None:
    before = digests(closed)
    command = command_of(step, work.raw, closed / target)
    failed = run([sys.executable, "-c", WITHOUT_PRIVILEGE, *command])
    assert_one_line(failed, step)
    assert f"Error: {closed / target}" in failed.stderr
    assert "Permission denied" in failed.stderr
    assert digests(closed) == before


def test_a_target_below_a_file_is_one_line(work: Work, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = run(command_of("parquet", work.raw, tmp_path / "file" / "data"))
    assert_one_line(failed, "parquet")
    assert "Not a directory" in failed.stderr


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def assert_one_line(failed: subprocess.CompletedProcess[str], step: str) -> None:
    """Exit status 1 and one error, beside the progress bars."""
    assert failed.returncode == 1, (step, failed.stderr)
    assert failed.stderr.count("Error") == 1, (step, failed.stderr)
    assert failed.stderr.splitlines()[-1].startswith("Error: "), (step, failed.stderr)
    assert "Traceback" not in failed.stderr, (step, failed.stderr)
