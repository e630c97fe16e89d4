"""Jobs on a Dask cluster, through its `concurrent.futures` executor. The only module that imports distributed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h36m_toolbox
from h36m_toolbox.errors import H36MError
from h36m_toolbox.jobs import Workers


@contextmanager
def dask_workers(address: str, folders: tuple[Path, ...] = (), patience_s: float = 30) -> Iterator[Workers]:
    """The workers of the Dask scheduler at `address`, such as tcp://10.0.0.1:8786, for the time of the block.

    Every worker must see `folders` (absolute, on a shared file system) and have this version of h36m. Jobs of a worker
    that is lost are done again by another. Raises H36MError where distributed is not installed, nobody answers for
    `patience_s` seconds, or a worker differs.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise H36MError("--dask needs the package distributed: pip install 'h36m[dask]'") from error
    try:
        client = Client(address, timeout=patience_s)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise H36MError(f"{address}: no Dask scheduler answers ({error}); start one with `dask scheduler`") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=patience_s)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise H36MError(f"{address}: has no workers; start some with `dask worker {address}`") from error
        _check_workers(client.run(_seen, folders), folders)
        # equal arguments are no reason to take an earlier result: jobs write files
        with client.get_executor(pure=False) as executor:
            try:
                yield Workers(executor, sum(client.nthreads().values()))
            except KilledWorker as error:
                raise H36MError(f"{address}: several workers died of the same job ({error}); see their logs") from error


def _seen(folders: tuple[Path, ...]) -> tuple[str, tuple[bool, ...]]:
    return h36m_toolbox.__version__, tuple(folder.exists() for folder in folders)


def _check_workers(found: dict[str, tuple[str, tuple[bool, ...]]], folders: tuple[Path, ...]) -> None:
    for worker, (version, seen) in found.items():
        if version != h36m_toolbox.__version__:
            raise H36MError(
                f"worker {worker} has h36m {version}, this is {h36m_toolbox.__version__}; install one of them"
            )
        for folder, there in zip(folders, seen, strict=True):
            if not there:
                raise H36MError(f"worker {worker} does not see {folder}; it must lie on a file system that all share")
