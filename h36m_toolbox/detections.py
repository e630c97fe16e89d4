"""2D detections: ground truth, CPN, stacked hourglass, bundled as `DATA/detections/NAME.parquet`, one row a frame.

Arrays keep their whole length, which for detectors is that of the video: more frames than there are poses.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pyarrow as pa

from h36m_toolbox.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.cdf import read_pose_cdf
from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import sha256_of, written_whole
from h36m_toolbox.pose_parquet import open_writer, pose_row_groups, read_pose_parquet
from h36m_toolbox.pose_tables import (
    PoseField,
    pose_array,
    pose_field,
    row_keys,
    sequence_codes,
    sequence_of_code,
    sequence_table,
    table_schema,
)
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Sequence, recording_of_stem, sequences
from h36m_toolbox.skeletons import H36M_17, SH_16, Skeleton
from h36m_toolbox.tarballs import is_tarball
from h36m_toolbox.videopose3d import ground_truth_2d, read_positions_2d

COLUMN = "joints_2d"


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class DetectedSequence:
    """Detections of one sequence: (frames, joints, 2), px float32."""

    sequence: Sequence
    joints_2d: np.ndarray


@dataclass(frozen=True)
class DetectionSource:
    """Where detections come from: name in DATA, file and its hash ("" for ground truth), joints in the file's order."""

    name: str
    file: str
    sha256: str
    skeleton: Skeleton


@dataclass(frozen=True)
class DetectionReport:
    """What was bundled: rows, and by sequence the lengths that differ from the poses'; `missing` have no detections."""

    path: Path
    sequences: int
    rows: int
    lengths: dict[str, dict[str, int]]
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        """What to tell a user: sequences without detections, those with fewer than poses, and what was written."""
        short = {name: two for name, two in self.lengths.items() if two["detections"] < two["poses"]}
        longer = len(self.lengths) - len(short)
        return [
            *(f"{name}: no detections" for name in self.missing),
            *(f"{name}: {two['detections']} detections for {two['poses']} poses" for name, two in short.items()),
            *(
                [f"{longer} sequences have more detections than poses; the surplus is kept and unused"]
                if longer
                else []
            ),
            f"{self.sequences} sequences, {self.rows:,} rows in {self.path}",
        ]


def ground_truth_detections(archive: RawArchive) -> Iterator[DetectedSequence]:
    """VideoPose3D's ground-truth 2D of every sequence whose world poses are there."""
    for sequence in archive.sequences([Kind.WORLD]):
        world = read_pose_cdf(archive.path(sequence, Kind.WORLD), 3)
        yield DetectedSequence(sequence, ground_truth_2d(world, sequence.subject, sequence.camera))


def open_detections(name: str, path: Path) -> tuple[DetectionSource, Iterator[DetectedSequence]]:
    """A detections file of any known format, by its content's form: VideoPose3D's npz or the hourglass tar of h5 files.

    Sequences come in the loop order of the data set, labelled subjects only.
    """
    if not path.is_file():
        raise H36MError(f"{path}: no such file; expected a data_2d_h36m_*.npz or a stacked-hourglass .tar.gz")
    if is_tarball(path):
        return DetectionSource(name, path.name, sha256_of(path), SH_16), _in_loop_order(_read_hourglass_tar(path))
    positions = read_positions_2d(path)
    found = {
        recording.view(camera): array
        for recording, views in positions.by_recording.items()
        if recording.subject in SUBJECTS
        for camera, array in views.items()
    }
    return DetectionSource(name, path.name, sha256_of(path), positions.skeleton), _in_loop_order(found)


def _in_loop_order(found: dict[Sequence, np.ndarray]) -> Iterator[DetectedSequence]:
    for sequence in sequences():
        if sequence in found:
            yield DetectedSequence(sequence, found[sequence])


def _read_hourglass_tar(path: Path) -> dict[Sequence, np.ndarray]:
    """Martinez et al.'s tar of h5 files, `S1/StackedHourglass*/Walking_1.54138969.h5`."""
    found: dict[Sequence, np.ndarray] = {}
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                sequence = _hourglass_sequence(member.name) if member.isfile() else None
                content = tar.extractfile(member) if sequence else None
                if sequence and content:
                    found[sequence] = _read_hourglass(content.read(), f"{path}: {member.name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise H36MError(f"{path}: truncated or no tar archive ({error}); download it again") from error
    if not found:
        raise H36MError(f"{path}: no S1/StackedHourglass*/<sequence>.<camera>.h5 inside; is it the right file?")
    return found


def _hourglass_sequence(name: str) -> Sequence | None:
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or not parts[-2].startswith("StackedHourglass") or not parts[-1].endswith(".h5"):
        return None
    stem, _, camera = parts[-1].removesuffix(".h5").rpartition(".")
    recording = recording_of_stem(parts[-3], stem)
    return recording.view(camera) if recording and camera in CAMERA_IDS and recording.subject in SUBJECTS else None


def _read_hourglass(content: bytes, what: str) -> np.ndarray:
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            poses = np.asarray(file["poses"])
    except (OSError, KeyError) as error:
        raise H36MError(f"{what}: no HDF5 file with a dataset `poses` ({error})") from error
    if poses.ndim != 3 or poses.shape[1:] != (len(SH_16), 2):
        raise H36MError(f"{what}: poses are {poses.shape}; expected (frames, 16, 2) in pixels")
    return poses.astype(np.float32)


def detections_path(data: Path, name: str) -> Path:
    """Where the detections called `name` lie in a DATA folder; H36MError for a path in place of a name."""
    if not name or name != Path(name).name:
        raise H36MError(
            f"{name!r} is no name of detections; expected gt, cpn, sh or NAME of {data}/detections/NAME.parquet"
        )
    return data / "detections" / f"{name}.parquet"


def write_detections(
    data: Path,
    source: DetectionSource,
    detected: Iterable[DetectedSequence],
    pose_lengths: dict[Sequence, int],
    progress: Callable[[Sequence], None] | None = None,
) -> DetectionReport:
    """Stream detections to `DATA/detections/NAME.parquet`, a row group a sequence, with a report beside it.

    `pose_lengths` are the frames that each sequence's poses have: what is missing or of another length is reported.
    Fewer detections than poses are no error here; a model that needs them will say so.
    """
    schema = table_schema((PoseField(COLUMN, source.skeleton, 2, "px", "image"),))
    path = detections_path(data, source.name)
    lengths: dict[Sequence, int] = {}
    with written_whole(path) as temporary, open_writer(temporary, schema) as writer:
        for item in detected:
            n = len(item.joints_2d)
            if item.joints_2d.shape[1] != len(source.skeleton):
                raise H36MError(
                    f"{source.file}: {item.sequence} has {item.joints_2d.shape[1]} joints; "
                    f"{source.skeleton.name} has {len(source.skeleton)}"
                )
            table = sequence_table(item.sequence, np.arange(n), {COLUMN: item.joints_2d}, schema)
            writer.write_table(table, row_group_size=max(1, n))
            lengths[item.sequence] = n
            if progress:
                progress(item.sequence)
        facts = {
            "table": "detections",
            "version": 1,
            "name": source.name,
            "file": source.file,
            "sha256": source.sha256,
            "skeleton": source.skeleton.name,
        }
        writer.add_key_value_metadata({"h36m": json.dumps(facts)})
    differing = {
        str(sequence): {"poses": frames, "detections": lengths[sequence]}
        for sequence, frames in pose_lengths.items()
        if sequence in lengths and lengths[sequence] != frames
    }
    missing = tuple(str(sequence) for sequence in pose_lengths if sequence not in lengths)
    report = DetectionReport(path, len(lengths), sum(lengths.values()), differing, missing)
    with written_whole(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**facts, **asdict(report), "path": path.name}, indent=1))
    return report


GROUND_TRUTH = DetectionSource("gt", "", "", H36M_17)


def read_detections(data: Path, name: str) -> pa.Table:
    """The detections called `name`; an H36MError lists those that are there."""
    path = detections_path(data, name)
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.parquet"))
        raise H36MError(
            f"{path}: no such detections; {data} has {', '.join(there) or 'none'}: bundle them with "
            f"`h36m detections RAW --out {data} --{name if name in ('cpn', 'sh') else 'cpn'} FILE`"
        )
    table = read_pose_parquet(path)
    try:
        field = pose_field(table.schema, COLUMN)
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error
    numbers = table.schema.field(COLUMN).type.list_size
    if numbers != 2 * len(field.skeleton):
        raise H36MError(
            f"{path}: column {COLUMN} holds {numbers} numbers a row; the {len(field.skeleton)} joints of "
            f"{field.skeleton.name} need {2 * len(field.skeleton)}, x and y in pixels"
        )
    return table


def read_sequence_detections(data: Path, name: str) -> Iterator[DetectedSequence]:
    """The detections called `name`, one sequence after the other, without holding them all."""
    for table in pose_row_groups(detections_path(data, name)):
        sequence = sequence_of_code(int(sequence_codes(table.slice(0, 1))[0]))
        yield DetectedSequence(sequence, pose_array(table, COLUMN))


def match_detections(labels: pa.Table, detections: pa.Table, name: str, joints: tuple[str, ...]) -> np.ndarray:
    """For every label row its detection: (rows, joints, 2), px float32, joints by name in the order asked for.

    Raises H36MError naming the sequences that lack detections for some of their frames, how many frames of how many,
    and joints that the detections do not have.
    """
    skeleton = pose_field(detections.schema, COLUMN).skeleton
    wanted, there = row_keys(labels), row_keys(detections)
    order = None if bool(np.all(there[1:] > there[:-1])) else np.argsort(there, kind="stable")
    ordered = there if order is None else there[order]
    place = np.minimum(np.searchsorted(ordered, wanted), max(len(ordered) - 1, 0))
    found = ordered[place] == wanted if len(ordered) else np.zeros(len(wanted), bool)
    if not found.all():
        raise H36MError(_missing_detections(labels, found, name))
    rows = place if order is None else order[place]
    return skeleton.select(pose_array(detections, COLUMN)[rows], joints)


def _missing_detections(labels: pa.Table, found: np.ndarray, name: str) -> str:
    codes = sequence_codes(labels)
    lines = []
    for code in np.unique(codes[~found]):
        here = codes == code
        lines.append(f"  {sequence_of_code(int(code))}: {int((here & ~found).sum())} of {int(here.sum())} frames")
    more = f"\n  and {len(lines) - 8} more sequences" if len(lines) > 8 else ""
    return (
        f"detections {name} lack {int((~found).sum())} of {len(found)} frames of the labels:\n"
        + "\n".join(lines[:8])
        + more
        + "\nbundle complete detections, or leave those sequences out with a protocol that drops them"
    )


def bundle_detections(
    archive: RawArchive, data: Path, sources: dict[str, Path], progress: Callable[[Sequence], None] | None = None
) -> dict[str, DetectionReport]:
    """Bundle ground truth (where world poses are there) and every named detections file; reports by name."""
    lengths = {
        sequence: len(read_pose_cdf(archive.path(sequence, Kind.CAMERA), 3))
        for sequence in archive.sequences(POSE_KINDS)
    }
    reports = {}
    if archive.sequences([Kind.WORLD]):
        reports["gt"] = write_detections(data, GROUND_TRUTH, ground_truth_detections(archive), lengths, progress)
    for name, path in sources.items():
        source, detected = open_detections(name, path)
        reports[name] = write_detections(data, source, detected, lengths, progress)
    return reports
