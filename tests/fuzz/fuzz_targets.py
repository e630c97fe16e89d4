"""The readers under test: a name, the suffix of their files, what they do with one, and where its seeds come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fuzz_corpora as corpora

from h36m_toolbox.detections.bundles import open_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_parquet import read_pose_parquet
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.raw.cdf import pose_cdf_frames, read_pose_cdf
from h36m_toolbox.raw.masks import read_mask_boxes
from h36m_toolbox.storage.pickled_records import pickled_records
from h36m_toolbox.storage.safe_pickle import read_object_npz, read_plain_pickle
from h36m_toolbox.videopose3d import read_positions_2d


@dataclass(frozen=True)
class Target:
    """A reader: `read` may return or raise H36MError, and nothing else."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]


def each(*reads: Callable[[Path], object]) -> Callable[[Path], None]:
    """All of these readers in turn, whatever the ones before made of the file."""

    def read(path: Path) -> None:
        for one in reads:
            try:
                one(path)
            except H36MError as error:
                check_allocation(error)

    return read


def check_allocation(error: BaseException) -> None:
    """A reader must see that a length is absurd; to run out of memory, and say so politely, is not enough."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            raise AssertionError(f"it allocated as much as a file asked for: {error}") from error
        cause = cause.__cause__ or cause.__context__


def unpack_archive(path: Path) -> None:
    into = path.parent / "unpacked" / "raw"
    RawArchive.open(path.parent).unpacked((Kind.WORLD, Kind.VIDEO), into)


def read_all_detections(path: Path) -> None:
    _, detected = open_detections("any", path)
    for _ in detected:
        pass


def read_records(path: Path) -> None:
    for _ in pickled_records(path):
        pass


TARGETS = {
    "cdf": Target(
        ".cdf", corpora.cdf_files, each(lambda path: read_pose_cdf(path, 3), lambda path: pose_cdf_frames(path, 3))
    ),
    "npz": Target(".npz", corpora.npz_files, each(read_object_npz, read_positions_2d)),
    "pickle": Target(".pkl", corpora.pickles, each(read_plain_pickle, read_records)),
    "tar": Target(".tgz", corpora.tars, each(unpack_archive)),
    "hourglass-tar": Target(".tar.gz", corpora.hourglass_tars, each(read_all_detections)),
    "hourglass-zip": Target(".zip", corpora.hourglass_zips, each(read_all_detections)),
    "mask": Target(".mat", corpora.mask_files, each(read_mask_boxes)),
    "parquet": Target(".parquet", corpora.parquet_files, each(read_all_detections, read_pose_parquet)),
}
