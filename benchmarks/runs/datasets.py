"""Which data set a benchmark run is on, and whether DATA holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from h36m_toolbox.benchmarks.runs.bench import BenchRequest, bench
from h36m_toolbox.benchmarks.runs.mpi_inf_3dhp import RecordedTest, bench_test_set
from h36m_toolbox.benchmarks.runs.records import Recorded
from h36m_toolbox.benchmarks.runs.volumetric import Progress
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import labels_path
from h36m_toolbox.mpi_inf_3dhp.labels import labels_path as test_labels_path
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY
from h36m_toolbox.sequences import HUMAN36M

if TYPE_CHECKING:
    from h36m_toolbox.models.processes import Processes

DATASETS = (HUMAN36M, FAMILY)


def bench_on(
    request: BenchRequest, runs: Path, processes: Processes | None = None, progress: Progress | None = None
) -> Recorded | RecordedTest | None:
    """As `bench` or `bench_test_set`, by the request's data set.

    Raises H36MError for an unknown data set, and where DATA holds the labels of the other one only.
    """
    if request.dataset not in DATASETS:
        raise H36MError(f"no data set {request.dataset}; there are {', '.join(DATASETS)}")
    there = {
        HUMAN36M: labels_path(request.data, request.split).is_file(),
        FAMILY: test_labels_path(request.data, "test").is_file(),
    }
    (other,) = (name for name in DATASETS if name != request.dataset)
    if there[other] and not there[request.dataset]:
        raise H36MError(
            f"{request.data}: holds labels of {other}, none of {request.dataset}; bench on those with --dataset "
            f"{other}, or prepare these with `h36m labels RAW --out {request.data}`"
        )
    return (bench_test_set if request.dataset == FAMILY else bench)(request, runs, processes, progress)
