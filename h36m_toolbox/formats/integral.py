"""Integral Human Pose's HM36 layout: `annot/<folder>/matlab_meta.txt` and `images/<folder>/<folder>_000001.jpg`.

Folders are named as H36M-Toolbox names them. Format: facts as observed in JimmySuen/integral-human-pose,
common_pytorch/dataset/hm36.py, whose reader splits at single blanks and skips the first word of each line but the
first, so those words are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.jobs import map_in_order
from h36m_toolbox.known_bad import UNREADABLE_VIDEOS
from h36m_toolbox.poses import PoseFiles, read_pose_file
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.files import written_whole

META_NAME = "matlab_meta.txt"
_VIEWS = len(ACTIONS) * len(SUBACTIONS) * len(CAMERA_IDS)  # of one subject

# The class takes joints 0 to 16 of its 18 from these places of the 32, which the file counts from 1.
_JOINT_NUMBERS = tuple(H36M_32.joints.index(joint) + 1 for joint in H36M_17.joints)


@dataclass(frozen=True)
class IntegralReport:
    """What lies below `path`: `sequences` are meta files, `rows` their frames.

    `lacking`: lines about what the official class, which opens every folder of its set, will miss.
    """

    path: Path
    sequences: int
    rows: int
    lacking: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        """One line for each view that was cut or has no image, and for each subject with too few folders."""
        return list(self.lacking)


def integral_folder(data: Path) -> Path:
    """The folder to point the official class at."""
    return data / "labels" / "integral"


def integral_meta_path(data: Path, sequence: Sequence) -> Path:
    """Where the meta file of a view lies in a DATA folder."""
    return integral_folder(data) / "annot" / sequence.folder / META_NAME


def write_integral(
    files: list[PoseFiles], data: Path, jobs: int = 1, progress: Callable[[Sequence], None] | None = None
) -> IntegralReport:
    """Write a meta file a view below `DATA/labels/integral/annot`, from the world poses, and link the frames.

    All frames are there: the class draws its 200 (training), 40 or 10 a folder itself. World coordinates are the
    shortest decimals that give the float32 back, mm; the calibration is that of `cameras`. `images` is a relative
    link to `DATA/images`, which has the same names. Image numbers follow line numbers, so where the extracted video
    ends before the poses, these are cut. Damaged files are left out and reported. Raises H36MError where the link
    cannot be made.
    """
    work = [tuple(views) for _, views in groupby(files, lambda item: item.sequence.recording)]
    outcomes = []
    for views, made in zip(work, map_in_order(partial(_write_recording, data), work, jobs), strict=True):
        outcomes.append(made)
        if progress:
            for item in views:
                progress(item.sequence)
    _link_images(data)
    return IntegralReport(
        integral_folder(data),
        sum(made.views for made in outcomes),
        sum(made.rows for made in outcomes),
        (*_short_subjects(files), *(line for made in outcomes for line in made.lacking)),
        tuple(made.damage for made in outcomes if made.damage),
    )


def _short_subjects(files: list[PoseFiles]) -> Iterator[str]:
    for subject, group in groupby(files, lambda item: item.sequence.subject):
        views = len(list(group))
        if views < _VIEWS:
            yield f"{subject}: {views} of {_VIEWS} folders; the official class opens all of its subjects"


@dataclass(frozen=True)
class _Made:
    views: int = 0
    rows: int = 0
    lacking: tuple[str, ...] = ()
    damage: str = ""


def _write_recording(data: Path, files: tuple[PoseFiles, ...]) -> _Made:
    first = files[0]
    try:
        world = read_pose_file(first.world, 3) if first.world else first.read().world
    except H36MError as error:
        for item in files:
            integral_meta_path(data, item.sequence).unlink(missing_ok=True)  # of an earlier run
        return _Made(damage=str(error))
    lines = pose_lines(world)
    rows, lacking = 0, []
    for view in (item.sequence for item in files):
        kept, note = _frames_to_write(data, view, len(lines))
        text = "\n".join([str(kept), *_calibration_lines(h36m_camera(view.subject, view.camera)), *lines[:kept], ""])
        with written_whole(integral_meta_path(data, view)) as temporary:
            temporary.write_text(text, encoding="ascii", newline="\n")
        rows += kept
        lacking += [f"{view}: {note}"] if note else []
    return _Made(len(files), rows, tuple(lacking))


def _frames_to_write(data: Path, view: Sequence, poses: int) -> tuple[int, str]:
    """How many frames the meta file tells of, and what the class will not find."""
    manifest = read_manifest(data, view)
    if view in UNREADABLE_VIDEOS or (manifest and not manifest.decoded_frames):
        return poses, "its video gives no frame, the official class will miss its images"
    if manifest and manifest.decoded_frames < poses:
        return manifest.decoded_frames, f"cut to {manifest.decoded_frames} frames of its video, it has {poses} poses"
    if manifest and manifest.packed:
        return poses, "its frames are packed, the official class reads loose files: run `h36m extract` without --pack"
    if manifest and manifest.select != "every:1":
        return poses, f"DATA/images has its frames {manifest.select}, the official class draws from all"
    return poses, ""


def pose_lines(world: np.ndarray) -> list[str]:
    """World poses (frames, 32, 3), mm float32, as lines: the frame's number from 1, then 96 shortest decimals."""
    numbers = pc.cast(pa.array(np.ascontiguousarray(world, np.float32).reshape(-1)), pa.string())
    size = world.shape[1] * world.shape[2]
    offsets = pa.array(np.arange(len(world) + 1, dtype=np.int32) * size)
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, numbers), " ").to_pylist()
    return [f"{number} {line}" for number, line in enumerate(joined, start=1)]


def _calibration_lines(camera: Camera) -> list[str]:
    """Lines 1 to 8: image size, rotation column by column, centre in mm, focal length, centre, lens, joint numbers."""
    values = {
        "R": camera.rotation.ravel(order="F"),
        "T": camera.center,
        "f": camera.focal,
        "c": camera.principal,
        "k": camera.radial,
        "p": camera.tangential,
    }
    numbers = [f"{word} {' '.join(repr(float(value)) for value in row)}" for word, row in values.items()]
    return [f"size {camera.size[0]} {camera.size[1]}", *numbers, f"joints {' '.join(map(str, _JOINT_NUMBERS))}"]


def _link_images(data: Path) -> None:
    link, target = integral_folder(data) / "images", Path("..", "..", "images")
    if link.is_dir() or (link.is_symlink() and link.readlink() == target):
        return  # ours of an earlier run, or frames that the user put there
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise H36MError(
            f"{link}: cannot be linked to {data / 'images'} ({error}); the labels are written: make that link or a "
            "copy of the folder yourself"
        ) from error


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class IntegralMeta:
    """What a meta file tells: the camera, its 17 joints' places among the 32 (from 0), and world poses.

    `world` is (frames, 32, 3), mm, float64 as written; the lens distortion in `camera` is never used by the class.
    """

    camera: Camera
    joints: tuple[int, ...]
    world: np.ndarray


def read_integral_meta(path: Path) -> IntegralMeta:
    """Read a `matlab_meta.txt`, whoever wrote it; an H36MError names the line that is not as it should be."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise H36MError(f"{path}: cannot be read as text ({error}); make it again") from error
    frames = _frame_count(path, lines)
    sizes = {1: 2, 2: 9, 3: 3, 4: 2, 5: 2, 6: 3, 7: 2, 8: len(_JOINT_NUMBERS)}
    head = {number: _numbers(path, lines, number, size) for number, size in sizes.items()}
    world = np.empty((frames, len(H36M_32) * 3))
    for frame in range(frames):
        world[frame] = _numbers(path, lines, len(sizes) + 1 + frame, world.shape[1])
    camera = Camera(
        rotation=head[2].reshape(3, 3).T,
        center=head[3],
        focal=head[4],
        principal=head[5],
        radial=head[6],
        tangential=head[7],
        size=(int(head[1][0]), int(head[1][1])),
    )
    joints = tuple(int(number) - 1 for number in head[8])
    if not all(0 <= joint < len(H36M_32) for joint in joints):
        raise H36MError(f"{path}: line 9 names joints {[joint + 1 for joint in joints]}; expected 1 to {len(H36M_32)}")
    return IntegralMeta(camera, joints, world.reshape(frames, len(H36M_32), 3))


def _frame_count(path: Path, lines: list[str]) -> int:
    first = lines[0].strip() if lines else ""
    if not first.isdecimal() or int(first) > len(lines):
        raise H36MError(f"{path}: line 1 is {first!r}, of {len(lines)} lines; expected the number of frames")
    return int(first)


def _numbers(path: Path, lines: list[str], index: int, count: int) -> np.ndarray:
    """The numbers (count,) after the first word of a line; messages count lines from 1."""
    words = lines[index].split(" ")[1:] if index < len(lines) else []
    try:
        numbers = np.array(words, np.float64)
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        raise H36MError(
            f"{path}: line {index + 1} of {len(lines)} has not {count} numbers after its first word; expected a "
            "matlab_meta.txt of Integral Human Pose; get it again"
        )
    return numbers
