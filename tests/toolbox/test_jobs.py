"""Maps on processes: order, bounded memory, exceptions, and no process that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import Workers, map_in_order

SLEEPERS = """
import os, sys, time
from pathlib import Path
from h36m_toolbox.jobs import map_in_order

def sleep(name):
    (Path(sys.argv[1]) / f"{os.getpid()}").touch()
    time.sleep(60)

if __name__ == "__main__":
    list(map_in_order(sleep, ["a", "b"], 2))
"""


def squared(number: int) -> int:
    if number < 0:
        raise H36MError(f"{number} is negative")
    return number * number


class Counting(Executor):
    """Runs at once and counts the results that nobody has taken."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, function, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.submitted += 1
        future: Future[object] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert list(map_in_order(squared, range(10), jobs)) == [n * n for n in range(10)]


def test_workers_that_are_open_already_are_used_and_left_open() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert list(map_in_order(squared, range(10), Workers(executor, 2))) == [n * n for n in range(10)]
        assert executor.submit(squared, 3).result() == 9


def test_few_results_wait_to_be_taken() -> None:
    executor = Counting()
    results = map_in_order(squared, range(1000), Workers(executor, 2))
    for taken in range(1, 4):
        next(results)
        assert executor.submitted <= taken + 6


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_job_is_raised_as_it_is(jobs: int) -> None:
    with pytest.raises(H36MError, match=r"^-1 is negative$"):
        list(map_in_order(squared, [1, 2, -1, 3], jobs))


@pytest.fixture
def killed_parent(tmp_path: Path) -> Iterator[list[int]]:
    """Two workers at work, whose parent is killed: their process ids."""
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    seen = tmp_path / "seen"
    seen.mkdir()
    parent = subprocess.Popen([sys.executable, script, seen], start_new_session=True)
    try:
        wait_until(lambda: len(list(seen.iterdir())) == 2)
        parent.kill()
        parent.wait()
        yield [int(path.name) for path in seen.iterdir()]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_workers_end_with_the_process_that_started_them(killed_parent: list[int]) -> None:
    wait_until(lambda: not any(is_running(worker) for worker in killed_parent))
