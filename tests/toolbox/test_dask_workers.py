"""Jobs on a real Dask cluster of processes on this machine: the same bytes as here, also when a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client
from synthetic_data import digests, done, refused

from h36m_toolbox.dask_workers import dask_workers
from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import map_in_order


def squared(number: int) -> int:
    if number < 0:
        raise H36MError(f"{number} is negative")
    return number * number


def slowly_noted(item: tuple[int, str]) -> int:
    """Leave a trace of who did it, in a file, and take a while."""
    number, folder = item
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    time.sleep(0.2)
    return number


@dataclass(frozen=True)
class Cluster:
    address: str
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # to import the jobs of this file
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler and two workers of one thread, without the nannies that would start killed ones again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    place = ("--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as stack:
        stack.enter_context(running("dask_scheduler", *place, "--port", address.rpartition(":")[2]))
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *place)
        workers = [stack.enter_context(running("dask_worker", address, *options)) for _ in range(2)]
        with Client(address, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield Cluster(address, workers)


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "dask") as made:
        yield made


@pytest.mark.slow
def test_a_cluster_gives_what_this_machine_gives(two_workers: Cluster, unpacked: Path, tmp_path: Path) -> None:
    with dask_workers(two_workers.address) as jobs:
        assert jobs.count == 2
        assert list(map_in_order(squared, range(20), jobs)) == [n * n for n in range(20)]
        with pytest.raises(H36MError, match=r"^-1 is negative$"):
            list(map_in_order(squared, [1, -1, 2], jobs))
    here, there = tmp_path / "here", tmp_path / "there"
    for data, where in ((here, ("--jobs", 1)), (there, ("--dask", two_workers.address))):
        done("extract", unpacked, "--out", data, "--every", 4, *where)
        done("labels", unpacked, "--out", data, "--format", "parquet", "--format", "toolbox", *where)
    assert contents(there) == contents(here)
    message = refused("labels", unpacked / "absent", "--out", there, "--dask", two_workers.address)
    assert re.search(r"worker \S+ does not see .*absent; it must lie on a file system that all share", message)


def contents(data: Path) -> dict[str, str]:
    """All but reports, which name DATA, and what a killed process could not remove."""
    return {
        name: digest for name, digest in digests(data).items() if not name.endswith("report.json") and "/." not in name
    }


@pytest.mark.slow
def test_jobs_of_a_killed_worker_are_done_by_another(two_workers: Cluster, tmp_path: Path) -> None:
    victim = two_workers.workers[0]
    folder = tmp_path / "trace"
    folder.mkdir()
    results = []
    with dask_workers(two_workers.address) as jobs:
        for result in map_in_order(slowly_noted, [(number, str(folder)) for number in range(24)], jobs):
            results.append(result)
            if victim.poll() is None and list(folder.glob(f"*-{victim.pid}")):
                victim.send_signal(signal.SIGKILL)
                victim.wait()
    assert results == list(range(24))
    begun = {int(path.name.partition("-")[0]) for path in folder.glob(f"*-{victim.pid}")}
    assert begun, "the killed worker had begun nothing"


@pytest.mark.slow
def test_frames_are_complete_when_a_worker_is_killed(two_workers: Cluster, unpacked: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    done("extract", unpacked, "--out", here, "--jobs", 1)
    command = ["extract", str(unpacked), "--out", str(there), "--dask", two_workers.address]
    with subprocess.Popen([sys.executable, "-m", "h36m_toolbox", *command], stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 60
        while not any(there.glob("images/.*.partial")):
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        (partial, *_) = there.glob("images/.*.partial")
        busy = int(partial.name.rsplit("-", 2)[1])
        next(worker for worker in two_workers.workers if worker.pid == busy).kill()
        _, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    assert contents(there) == contents(here)


def test_without_the_package_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic_raw: Path
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = refused("labels", synthetic_raw, "--out", tmp_path / "data", "--dask", "tcp://127.0.0.1:1")
    assert "pip install 'h36m[dask]'" in message


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:not-a-port", "nowhere://x"])
def test_an_address_without_a_scheduler_is_refused(address: str) -> None:
    with pytest.raises(H36MError, match=re.escape(address)), dask_workers(address, patience_s=1):
        pass
