"""What DATA holds of MPI-INF-3DHP, whole or damaged: label rows, frames and crops by sequence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from h36m_toolbox.doctor.examination import Examination, Finding, some
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.frames import read_manifest, view_name
from h36m_toolbox.mpi_inf_3dhp.labels import labels_path, read_label_views
from h36m_toolbox.mpi_inf_3dhp.lifting_npz import lifting_npz_path
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_COUNT, FAMILY, SPLITS, TEST_SEQUENCES, TRAIN_RECORDINGS
from h36m_toolbox.mpi_inf_3dhp.views import prepared_path

_STORES = ("images", "crops")


def examine_prepared(data: Path) -> Examination:
    """Every sequence of which there is something, against the manifests of its views."""
    findings: list[Finding] = []
    columns = {"3dhp label rows": Counter[str](), **{f"3dhp {store}": Counter[str]() for store in _STORES}}
    for split in SPLITS:
        found, columns["3dhp label rows"] = _labels(data, split, columns["3dhp label rows"])
        findings.append(found)
        path = lifting_npz_path(data, split)
        if path.is_file():
            findings.append(Finding("ok", FAMILY, f"{path.name}: there, {path.stat().st_size:,} bytes"))
    for store in _STORES:
        damaged = _count_store(data, store, columns[f"3dhp {store}"])
        if damaged:
            findings.append(Finding("problem", FAMILY, f"{store}: {some(damaged)}; run `h36m extract` again"))
    names = [name for name in (*TRAIN_RECORDINGS, *TEST_SEQUENCES) if any(counts[name] for counts in columns.values())]
    rows = {name: tuple(f"{counts[name]:,}" if counts[name] else "" for counts in columns.values()) for name in names}
    return Examination(data, tuple(columns), rows, tuple(findings))


def beside(first: Examination, second: Examination) -> Examination:
    """Both tables in one, one below the other in columns of their own, and all findings."""
    before, after = ("",) * len(first.columns), ("",) * len(second.columns)
    rows = {
        **{name: (*cells, *after) for name, cells in first.rows.items()},
        **{name: (*before, *cells) for name, cells in second.rows.items()},
    }
    return Examination(first.folder, (*first.columns, *second.columns), rows, (*first.findings, *second.findings))


def _labels(data: Path, split: str, counts: Counter[str]) -> tuple[Finding, Counter[str]]:
    if not labels_path(data, split).is_file():
        return Finding("note", FAMILY, f"{split}: no labels; run `h36m labels RAW --out {data}`"), counts
    found: Counter[str] = Counter()
    valid = 0
    try:
        for table in read_label_views(data, split):
            found[table.column("sequence")[0].as_py()] += len(table)
            valid += int(table.column("valid").to_numpy(zero_copy_only=False).sum())
    except H36MError as error:
        return Finding("problem", FAMILY, str(error)), counts
    evaluated = f", {valid:,} of them evaluated" if split == "test" else ""
    return Finding("ok", FAMILY, f"{split}: {found.total():,} label rows{evaluated}"), counts + found


def _count_store(data: Path, store: str, counts: Counter[str]) -> list[str]:
    """Adds the images of each sequence to `counts`; views that do not hold what their manifest says."""
    damaged = []
    for sequence in (*TRAIN_RECORDINGS, *TEST_SEQUENCES):
        for camera in range(CAMERA_COUNT) if sequence in TRAIN_RECORDINGS else (None,):
            folder = prepared_path(data, store, view_name(sequence, camera))
            if not folder.is_dir():
                continue
            images = sum(1 for _ in folder.glob("*.jpg"))
            manifest = read_manifest(folder)
            counts[sequence] += images
            if manifest is None or manifest.images != images:
                said = "no manifest" if manifest is None else f"{manifest.images:,} by its manifest"
                damaged.append(f"{folder.name} has {images:,} images, {said}")
    return damaged
