"""DATA examined: labels, the files of every format, frame stores, detections, statistics, pelvis, unfinished parts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.doctor.examination import Examination, Finding, some
from h36m_toolbox.doctor.file_endings import file_problem
from h36m_toolbox.labels import labels_path
from h36m_toolbox.sequences import (
    CAMERA_IDS,
    OFFICIAL_POSES,
    SPLITS,
    SUBJECTS,
    Sequence,
    recordings,
    sequence_of_folder,
    sequences,
)


def examine_data(data: Path) -> Examination:
    """Findings about a prepared folder: what is there by subject, against the official counts, whole or damaged."""
    findings: list[Finding] = []
    columns: dict[str, Counter[str]] = {}
    for split in SPLITS:
        finding, rows = _labels(data, split)
        findings.append(finding)
        columns["label rows"] = columns.get("label rows", Counter()) + rows
    findings += _format_findings(data)
    for store in _stores(data):
        found, counts = _store(data, store)
        findings += found
        columns[store] = counts
    if not _stores(data):
        findings.append(Finding("note", "images", f"no frames; run `h36m extract RAW --out {data}`"))
    for path in sorted((data / "detections").glob("*.parquet")):
        finding, rows = _table(path, "detections", "bundle them again")
        findings.append(finding)
        columns[path.stem] = rows
    findings += _other_files(data)
    findings += _leftovers(data)
    table = {
        subject: tuple(_cell(name, counts[subject], subject) for name, counts in columns.items())
        for subject in SUBJECTS
    }
    return Examination(data, tuple(columns), table, tuple(findings))


def _cell(column: str, count: int, subject: str) -> str:
    if not count:
        return ""
    if column != "label rows":
        return f"{count:,}"
    return f"{count:,} of {sum(4 * recording.pose_frames for recording in recordings((subject,))):,}"


def _labels(data: Path, split: str) -> tuple[Finding, Counter[str]]:
    path = labels_path(data, split)
    if not path.is_file():
        return Finding("note", "labels", f"{split}: none; run `h36m labels RAW --out {data}`"), Counter()
    finding, rows = _table(path, "labels", "make it again")
    if finding.level == "problem":
        return finding, rows
    official, count = OFFICIAL_POSES[split], rows.total()
    what = f"{split}: {count:,} rows of {official:,}"
    derived = _facts(path).get("derived", {})
    what += "".join(f"; {kind} derived for {len(names)} sequences" for kind, names in derived.items())
    absent = pq.read_table(path, columns=["in_h36m_fetch"]).column(0).null_count
    what += f"; {absent:,} rows without universal poses" if absent else ""
    return Finding("ok" if count == official and not derived and not absent else "note", "labels", what), rows


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((pq.read_metadata(path).metadata or {}).get(b"h36m", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _table(path: Path, where: str, remedy: str) -> tuple[Finding, Counter[str]]:
    """Rows by subject of a table of poses."""
    try:
        counts = pq.read_table(path, columns=["subject"]).column(0).value_counts().to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        return Finding("problem", where, f"{path}: cannot be read ({error}); {remedy}"), Counter()
    rows = Counter({str(item["values"]): int(item["counts"]) for item in counts})
    return Finding("ok", where, f"{path.stem}: {rows.total():,} rows"), rows


def _format_findings(data: Path) -> Iterator[Finding]:
    """Every format's files, whatever they are called; the label table itself has its own finding."""
    folders = sorted((data / "labels").iterdir()) if (data / "labels").is_dir() else []
    for folder in (path for path in folders if path.is_dir() and not path.name.startswith(".")):
        files = _files(folder)
        damaged = [] if folder.name == "parquet" else [problem for path in files if (problem := file_problem(path))]
        for problem in damaged:
            yield Finding("problem", f"labels/{folder.name}", f"{problem}; make it again")
        report = folder / "report.json"
        try:
            reported = json.loads(report.read_text())["files"].values()
            places = [_below(folder, str(item["path"])) for item in reported]
        except FileNotFoundError:
            yield Finding("note", f"labels/{folder.name}", "no report.json: made by another tool, or not finished")
            continue
        except (ValueError, KeyError, TypeError, AttributeError):
            yield Finding("problem", f"labels/{folder.name}", f"{report}: damaged; make the format again")
            continue
        absent = [place.as_posix() for place in places if not (folder / place).exists()]
        if absent:
            yield Finding("problem", f"labels/{folder.name}", f"lacks {', '.join(absent)}; make it again")
        elif not damaged and folder.name != "parquet":
            yield Finding("ok", f"labels/{folder.name}", f"{len(files)} files")


def _files(folder: Path) -> list[Path]:
    """A format's files but its report and its images, of which there may be two million."""
    found = []
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if name != "images"]
        found += [Path(place, name) for name in names if not name.startswith(".") and name != "report.json"]
    return sorted(found)


def _below(folder: Path, reported: str) -> Path:
    """The place below a format's folder of a path that was reported when DATA may have been elsewhere."""
    parts = Path(reported).parts
    starts = [i for i in range(1, len(parts)) if parts[i - 1 : i + 1] == ("labels", folder.name)]
    return Path(*parts[starts[-1] + 1 :]) if starts else Path(parts[-1])


def _stores(data: Path) -> list[str]:
    folder = data / "manifests"
    described = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted({*described, *(["images"] if (data / "images").is_dir() else [])})


def _store(data: Path, store: str) -> tuple[list[Finding], Counter[str]]:
    """The manifests of one set of frames, held against the folders and shards they vouch for; sequences by subject."""
    findings: list[Finding] = []
    counts: Counter[str] = Counter()
    wrong, stopped = [], []
    for path in sorted((data / "manifests" / store).glob("*.json")):
        sequence = sequence_of_folder(path.stem)
        if sequence is None:
            findings.append(Finding("note", store, f"{path.name}: not the name of a sequence; ignored"))
            continue
        try:
            manifest = json.loads(path.read_text())
            images, problem = int(manifest["images"]), str(manifest.get("problem", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            findings.append(Finding("problem", store, f"{path}: damaged; run `h36m extract` again"))
            continue
        if problem:
            stopped.append(f"{path.stem}: {problem}")
        if not images:
            continue
        stored = _stored_images(data, store, sequence)
        if stored == images:
            counts[sequence.subject] += 1
        else:
            wrong.append(f"{path.stem}: {stored} of {images}")
    if wrong:
        findings.append(Finding("problem", store, f"frames are missing, run `h36m extract` again: {some(wrong)}"))
    findings += [Finding("note", store, line) for line in stopped]
    strange = _without_manifest(data, store)
    if strange:
        findings.append(Finding("note", store, f"without a manifest, so made by another tool: {some(strange)}"))
    findings.append(Finding("ok", store, f"{counts.total()} sequences of {len(sequences())}"))
    return findings, counts


def _without_manifest(data: Path, store: str) -> list[str]:
    folder, manifests = data / store, data / "manifests" / store
    if not folder.is_dir():
        return []
    names = sorted(path.name.removesuffix(".parquet") for path in folder.iterdir() if not path.name.startswith("."))
    return [name for name in names if not (manifests / f"{name}.json").is_file()]


def _stored_images(data: Path, store: str, sequence: Sequence) -> int:
    """Frames of a sequence in a store, loose or packed, in H36M-Toolbox's layout or h36m-fetch's."""
    take = f"{sequence.action}-{sequence.subaction}"
    for folder in (
        data / store / sequence.folder,
        data / "processed" / sequence.subject / take / store / sequence.camera,
    ):
        shard = folder.with_name(f"{folder.name}.parquet")
        if shard.is_file():
            try:
                return int(pq.read_metadata(shard).num_rows)
            except (pa.ArrowException, OSError):
                return 0
        if folder.is_dir():
            return sum(entry.name.endswith(".jpg") for entry in os.scandir(folder))
    return 0


def _other_files(data: Path) -> Iterator[Finding]:
    """Statistics and pelvis estimates."""
    for area in ("stats", "pelvis"):
        files = [path for path in sorted((data / area).glob("*")) if path.is_file() and not path.name.startswith(".")]
        for path in files:
            problem = file_problem(path)
            if problem:
                yield Finding("problem", area, f"{problem}; run `h36m {area} {data}` again")
            else:
                yield Finding("ok", area, path.name)


def _leftovers(data: Path) -> list[Finding]:
    """What interrupted runs left, or what a run that goes on now is writing."""
    left = []
    for folder, subfolders, names in os.walk(data):
        left += [Path(folder, name) for name in (*subfolders, *names) if name.endswith(".partial")]
        # frame folders hold two million files, and nothing unfinished but themselves
        subfolders[:] = [
            name
            for name in subfolders
            if not name.endswith(".partial") and sequence_of_folder(name) is None and name not in CAMERA_IDS
        ]
    if not left:
        return []
    where = [path.relative_to(data).as_posix() for path in left]
    what = f"{len(left)} unfinished, run the command that was interrupted again: {some(where)}"
    return [Finding("problem", "unfinished", what)]
