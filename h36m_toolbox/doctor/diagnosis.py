"""What is there, missing, damaged or known to be bad in a RAW or a DATA folder, told in seconds."""

from __future__ import annotations

from pathlib import Path

from h36m_toolbox.doctor.data import examine_data
from h36m_toolbox.doctor.examination import Examination
from h36m_toolbox.doctor.raw import examine_raw
from h36m_toolbox.mpi_inf_3dhp.archive import find_archive
from h36m_toolbox.mpi_inf_3dhp.doctor import examine_archive
from h36m_toolbox.mpi_inf_3dhp.prepared import beside, examine_prepared
from h36m_toolbox.mpi_inf_3dhp.views import prepared_path
from h36m_toolbox.raw.archive import RawArchive

_PREPARED = ("labels", "images", "manifests", "pelvis")  # not `processed`, which h36m-fetch puts beside RAW's files


def examine(folder: Path, checksums: bool = False) -> Examination:
    """A DATA folder (one with labels, frames or bundled detections) or a RAW one, or one archive, or MPI-INF-3DHP.

    Headers are read, not whole files. With `checksums` archives are read from end to end and their md5 compared with
    the public list: minutes. Raises H36MError for a folder that is neither.
    """
    with_3dhp = prepared_path(folder).is_dir()
    if folder.is_dir() and _is_prepared(folder):
        return beside(examine_data(folder), examine_prepared(folder)) if with_3dhp else examine_data(folder)
    if with_3dhp:
        return examine_prepared(folder)
    other = find_archive(folder)
    if other:
        return examine_archive(other)
    return examine_raw(RawArchive.open(folder), checksums)


def _is_prepared(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in _PREPARED) or any((folder / "detections").glob("*.parquet"))
