"""Long jobs are maps over sequences, which are independent of each other."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceABC
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """An executor that is open already, such as a cluster's, and how many jobs it runs at a time."""

    executor: Executor
    count: int


# How a job runs: on so many processes of this machine (1: in this process), or on workers.
Jobs: TypeAlias = int | Workers


def map_in_order(function: Callable[[Item], Result], items: SequenceABC[Item], jobs: Jobs = 1) -> Iterator[Result]:
    """`function` of every item, in the items' order, on `jobs` processes (1: in this one) or workers.

    At most two results a worker wait to be taken, so memory does not grow with the number of items. An exception of
    `function` is raised here; what has not started by then is not started. Processes end with the one that started
    them, even where that is killed.
    """
    with ExitStack() as stack:
        if not isinstance(jobs, Workers):
            count = min(jobs, len(items))
            if count <= 1:
                yield from map(function, items)
                return
            context = multiprocessing.get_context("spawn")  # fork is unsafe once a library has started threads
            pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
            jobs = Workers(stack.enter_context(pool), count)
        waiting = iter(items)
        pending: list[Future[Result]] = [
            jobs.executor.submit(function, item) for item in islice(waiting, 2 * jobs.count + 2)
        ]
        try:
            while pending:
                result = pending.pop(0).result()
                pending += [jobs.executor.submit(function, item) for item in islice(waiting, 1)]
                yield result
        finally:
            for future in pending:
                future.cancel()


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on writing, and then wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
