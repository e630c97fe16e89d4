"""2D detections: ground truth, CPN, stacked hourglass, bundled as `DATA/detections/NAME.parquet`, one row a frame.

Arrays keep their whole length, which for detectors is that of the video: more frames than there are poses. A table of
one's own may hold every n-th frame only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.detections.files import DetectedSequence, DetectionSource, in_loop_order, read_hourglass
from h36m_toolbox.detections.tables import read_detection_table
from h36m_toolbox.errors import H36MError
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
from h36m_toolbox.poses import pose_file_frames, read_pose_file
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.raw.tarballs import is_tarball
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17, SH_16, Skeleton
from h36m_toolbox.storage.files import sha256_of, written_whole
from h36m_toolbox.videopose3d import Positions2D, ground_truth_2d, read_positions_2d

COLUMN = "joints_2d"
CONFIDENCES = "confidences"


@dataclass(frozen=True)
class DetectionReport:
    """What was bundled: rows, and by sequence the lengths that differ from the poses'; `missing` have no detections.

    Lengths are frames; where only every `step`-th has detections, the poses are counted at the same step. `notes` are
    those of the source.
    """

    path: Path
    sequences: int
    rows: int
    lengths: dict[str, dict[str, int]]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    step: int = 1

    def lines(self) -> list[str]:
        """What to tell a user: notes, sequences without detections, those with fewer than poses, what was written."""
        short = {name: two for name, two in self.lengths.items() if two["detections"] < two["poses"]}
        longer = len(self.lengths) - len(short)
        return [
            *self.notes,
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
        world = read_pose_file(archive.path(sequence, Kind.WORLD), 3)
        yield DetectedSequence(sequence, ground_truth_2d(world, sequence.subject, sequence.camera))


def open_detections(name: str, path: Path) -> tuple[DetectionSource, Iterator[DetectedSequence]]:
    """A detections file by its name: VideoPose3D's npz, an hourglass tar.gz or zip, a Parquet or CSV of one's own.

    Sequences come in the loop order of the data set, labelled subjects only. Raises H36MError for a file that is
    missing, damaged or not what its name claims; for a damaged member of a zip only when it is its turn.
    """
    if not path.is_file():
        raise H36MError(
            f"{path}: no such file; expected a data_2d_h36m_*.npz, a stacked-hourglass .tar.gz or h36m.zip, or a "
            "table of your own, .parquet or .csv"
        )
    skeleton, notes, step, confident = SH_16, tuple[str, ...](), 1, False
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".csv"):
        table = read_detection_table(path)
        skeleton, notes, step, detected = table.skeleton, table.notes, table.step, table.sequences()
        confident = table.confidences is not None
    elif is_tarball(path) or suffix == ".zip":
        detected = read_hourglass(path)
    else:
        positions = read_positions_2d(path)
        skeleton, detected = positions.skeleton, _labelled(positions)
    return DetectionSource(name, path.name, sha256_of(path), skeleton, notes, step, confident), detected


def _labelled(positions: Positions2D) -> Iterator[DetectedSequence]:
    return in_loop_order(
        {
            recording.view(camera): array
            for recording, views in positions.by_recording.items()
            for camera, array in views.items()
        }
    )


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
    fields = [PoseField(COLUMN, source.skeleton, 2, "px", "image")]
    if source.confident:
        fields.append(PoseField(CONFIDENCES, source.skeleton, 1, "0 or more", "image"))
    schema = table_schema(tuple(fields))
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
            columns = {COLUMN: item.joints_2d}
            if source.confident and item.confidences is not None:
                columns[CONFIDENCES] = item.confidences[..., None]
            table = sequence_table(item.sequence, np.arange(n) * source.step, columns, schema)
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
            "step": source.step,
        }
        writer.add_key_value_metadata({"h36m": json.dumps(facts)})
    differing = {
        str(sequence): {"poses": poses, "detections": lengths[sequence]}
        for sequence, frames in pose_lengths.items()
        if sequence in lengths and lengths[sequence] != (poses := len(range(0, frames, source.step)))
    }
    missing = tuple(str(sequence) for sequence in pose_lengths if sequence not in lengths)
    report = DetectionReport(path, len(lengths), sum(lengths.values()), differing, missing, source.notes, source.step)
    with written_whole(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**facts, **asdict(report), "path": path.name}, indent=1))
    return report


GROUND_TRUTH = DetectionSource("gt", "", "", H36M_17)


def read_detections(data: Path, name: str) -> pa.Table:
    """The detections called `name`; an H36MError lists those that are there."""
    path = _existing(data, name)
    table = read_pose_parquet(path)
    _stated_skeleton(path, table.schema)
    return table


def bundled_skeleton(data: Path, name: str) -> Skeleton:
    """The joints of the detections called `name`, from the file's footer; raises as `read_detections`."""
    path = _existing(data, name)
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise H36MError(f"{path}: cannot be read as Parquet ({error}); make it again") from error
    return _stated_skeleton(path, schema)


def _existing(data: Path, name: str) -> Path:
    path = detections_path(data, name)
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.parquet"))
        option = {"gt": "", "cpn": " --cpn FILE", "sh": " --sh FILE"}.get(name, f" --add {name}=FILE")
        raise H36MError(
            f"{path}: no such detections; {data} has {', '.join(there) or 'none'}: bundle them with "
            f"`h36m detections RAW --out {data}{option}`"
        )
    return path


def _stated_skeleton(path: Path, schema: pa.Schema) -> Skeleton:
    try:
        field = pose_field(schema, COLUMN)
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error
    numbers = schema.field(COLUMN).type.list_size
    if numbers != 2 * len(field.skeleton):
        raise H36MError(
            f"{path}: column {COLUMN} holds {numbers} numbers a row; the {len(field.skeleton)} joints of "
            f"{field.skeleton.name} need {2 * len(field.skeleton)}, x and y in pixels"
        )
    return field.skeleton


def read_sequence_detections(data: Path, name: str) -> Iterator[DetectedSequence]:
    """The detections called `name`, one sequence after the other, without holding them all.

    Raises H36MError for detections of every n-th frame only, and for a file whose row groups are not whole sequences:
    one that `h36m detections` did not write.
    """
    path = detections_path(data, name)
    for table in pose_row_groups(path):
        codes, frames = sequence_codes(table), table.column("frame").to_numpy()
        sequence = sequence_of_code(int(codes[0]))
        step = _step(frames)
        if step > 1 and np.all(codes == codes[0]):
            raise H36MError(
                f"{path}: {sequence} has one frame in {step}; what has no frame numbers of its own needs detections of "
                "every frame"
            )
        if np.any(codes != codes[0]) or np.any(frames != np.arange(len(frames))):
            raise H36MError(
                f"{path}: the row group of {sequence} is not that sequence alone, frame by frame from 0; bundle the "
                f"file with `h36m detections RAW --out {data} --add {name}=FILE`"
            )
        confidences = pose_array(table, CONFIDENCES)[..., 0] if CONFIDENCES in table.schema.names else None
        yield DetectedSequence(sequence, pose_array(table, COLUMN), confidences)


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
        raise H36MError(_missing_detections(labels, found, name, _step(detections.column("frame").to_numpy())))
    rows = place if order is None else order[place]
    return skeleton.select(pose_array(detections, COLUMN)[rows], joints)


def _step(frames: np.ndarray) -> int:
    """The largest number that divides all frame numbers; 1 where there is none to divide."""
    return max(1, int(np.gcd.reduce(frames))) if len(frames) else 1


def _missing_detections(labels: pa.Table, found: np.ndarray, name: str, step: int) -> str:
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
        + (f"\nthey hold one frame in {step}: score them under a protocol of that frame step, or" if step > 1 else "")
        + "\nbundle complete detections, or leave those sequences out with a protocol that drops them"
    )


def bundle_detections(
    archive: RawArchive, data: Path, sources: dict[str, Path], progress: Callable[[Sequence], None] | None = None
) -> dict[str, DetectionReport]:
    """Bundle ground truth (where world poses are there) and every named detections file; reports by name."""
    lengths = {
        files.sequence: pose_file_frames(files.camera or archive.path(files.sequence, Kind.WORLD), 3)
        for files in map(archive.pose_files, archive.posed_sequences())
    }
    reports = {}
    if archive.sequences([Kind.WORLD]):
        reports["gt"] = write_detections(data, GROUND_TRUTH, ground_truth_detections(archive), lengths, progress)
    for name, path in sources.items():
        source, detected = open_detections(name, path)
        reports[name] = write_detections(data, source, detected, lengths, progress)
    return reports
