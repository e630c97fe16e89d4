"""Long jobs are maps over sequences, which are independent of each other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceABC
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: SequenceABC[Item], jobs: int = 1, executor: Executor | None = None
) -> Iterator[Result]:
    """`function` of every item, in the items' order, on `jobs` processes (1: in this one) or on `executor`.

    At most two results a worker wait to be taken, so memory does not grow with the number of items. An exception of
    `function` is raised here; what has not started by then is not started.
    """
    with ExitStack() as stack:
        if executor is None:
            jobs = min(jobs, len(items))
            if jobs <= 1:
                yield from map(function, items)
                return
            context = multiprocessing.get_context("spawn")  # fork is unsafe once a library has started threads
            executor = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=context))
        waiting = iter(items)
        pending: list[Future[Result]] = [executor.submit(function, item) for item in islice(waiting, 2 * jobs + 2)]
        try:
            while pending:
                result = pending.pop(0).result()
                pending += [executor.submit(function, item) for item in islice(waiting, 1)]
                yield result
        finally:
            for future in pending:
                future.cancel()
