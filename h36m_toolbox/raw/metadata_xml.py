"""The user's own `metadata.xml`, held against the tables that are built in: names, frame counts, cameras.

The file is under the data set's licence and is not shipped. What is read of it: `mapping`, rows of cells, the first
naming the subjects, then action, sub-action and a file stem a subject; `w0`, 300 numbers in brackets (extrinsics of 4
cameras x 11 subjects, then intrinsics); `frames`, where it is rows as in `mapping` whose cells are the lengths of the
four videos and the number of 200 Hz motion-capture frames in brackets. Nothing else in it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from h36m_toolbox.cameras import h36m_camera, rotation_from_angles
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, recordings

_LARGEST = 1 << 24  # bytes; the real file has less than 1 MB
_ALL_SUBJECTS = tuple(f"S{number}" for number in range(1, 12))
_EXTRINSICS, _INTRINSICS = 6, 9  # numbers a camera and subject, and a camera
_NUMBERS = len(CAMERA_IDS) * (len(_ALL_SUBJECTS) * _EXTRINSICS + _INTRINSICS)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def metadata_differences(path: Path) -> list[str]:
    """One line for each difference between a `metadata.xml` and the built-in tables, of the labelled subjects.

    Numbers are compared to the digits printed. A part that the file does not have is told, too, but for frame counts.
    Raises H36MError for a file that is no such XML, is larger than 16 MB, or declares a document type, which could make
    it expand without end.
    """
    root = _parsed(path)
    return [*_stem_differences(root), *_frame_differences(root), *_camera_differences(root)]


def _parsed(path: Path) -> ElementTree.Element:
    if path.stat().st_size > _LARGEST:
        raise H36MError(f"{path}: {path.stat().st_size:,} bytes; expected Human3.6M's metadata.xml, less than 16 MB")

    def refuse(*_: object) -> None:
        raise H36MError(f"{path}: declares a document type, which Human3.6M's metadata.xml does not; not read further")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two for an encoding of no sort
        raise H36MError(f"{path}: no XML ({error}); expected Human3.6M's metadata.xml") from error
    return builder.close()


def _rows(table: ElementTree.Element | None) -> Iterator[tuple[Recording, str]]:
    """The cell of every labelled recording in a table of actions, sub-actions and subjects."""
    known = {(item.views[0].action_id, item.subaction): item for item in recordings(SUBJECTS[:1])}
    rows = [[(cell.text or "").strip() for cell in row] for row in table] if table is not None else []
    for row in rows[1:]:
        action, subaction = (int(word) if word.isdigit() else 0 for word in (*row, "", "")[:2])
        recording = known.get((action, subaction))
        for subject, cell in zip(rows[0][2:], row[2:], strict=False):
            if recording is not None and subject in SUBJECTS:
                yield Recording(subject, recording.action, recording.subaction), cell


def _stem_differences(root: ElementTree.Element) -> Iterator[str]:
    stems = dict(_rows(root.find(".//mapping")))
    if not stems:
        yield "it has no table `mapping` of sequence names"
        return
    for recording in recordings():
        where = f"{recording.subject} {recording.action} {recording.subaction}"
        if recording not in stems:
            yield f"{where}: not in its table `mapping`; built in is {recording.stem!r}"
        elif stems[recording] != recording.stem:
            yield f"{where}: its files are called {stems[recording]!r}; built in is {recording.stem!r}"


def _frame_differences(root: ElementTree.Element) -> Iterator[str]:
    for recording, cell in _rows(root.find(".//frames")):
        lengths = [int(word) for word in re.findall(r"\d+", cell)]
        if len(lengths) != len(CAMERA_IDS) + 1:
            continue
        *videos, mocap = lengths
        built_in = [view.video_frames for view in recording.views]
        where = f"{recording.subject} {recording.action} {recording.subaction}"
        if videos != built_in:
            yield f"{where}: its videos have {_listed(videos)} frames; built in are {_listed(built_in)}"
        if mocap // 4 != recording.pose_frames:
            poses = f"{mocap} motion-capture frames make {mocap // 4} poses"
            yield f"{where}: {poses}; built in are {recording.pose_frames}"


def _camera_differences(root: ElementTree.Element) -> Iterator[str]:
    element = root.find(".//w0")
    words = _NUMBER.findall(element.text or "") if element is not None else []
    if len(words) != _NUMBERS:
        yield f"its camera parameters `w0` are {len(words)} numbers; expected {_NUMBERS}"
        return
    for i, camera_id in enumerate(CAMERA_IDS):
        start = len(CAMERA_IDS) * len(_ALL_SUBJECTS) * _EXTRINSICS + i * _INTRINSICS
        lens = h36m_camera(SUBJECTS[0], camera_id)
        built_in = [*lens.focal, *lens.principal, *lens.radial, *lens.tangential]
        for name, word, known in zip(_LENS_NAMES, words[start : start + _INTRINSICS], built_in, strict=True):
            if abs(float(word) - known) > _last_digit(word):
                yield f"camera {camera_id}: its {name} is {word}; built in is {known:.15g}"
        for subject in SUBJECTS:
            place = _EXTRINSICS * (i * len(_ALL_SUBJECTS) + _ALL_SUBJECTS.index(subject))
            yield from _pose_differences(words[place : place + _EXTRINSICS], subject, camera_id)


_LENS_NAMES = ("focal x", "focal y", "centre x", "centre y", "k1", "k2", "k3", "p1", "p2")


def _pose_differences(words: list[str], subject: str, camera_id: str) -> Iterator[str]:
    camera = h36m_camera(subject, camera_id)
    turned = np.abs(rotation_from_angles(*map(float, words[:3])) - camera.rotation).max()
    if turned > sum(map(_last_digit, words[:3])):
        yield f"camera {camera_id} of {subject}: its rotation differs by up to {turned:.2g} from the one built in"
    for axis, word, known in zip("xyz", words[3:], camera.center, strict=True):
        if abs(float(word) - known) > _last_digit(word):
            yield f"camera {camera_id} of {subject}: its centre {axis} is {word} mm; built in is {known:.15g}"


def _last_digit(word: str) -> float:
    """One unit of the last digit printed."""
    exponent = Decimal(word).as_tuple().exponent
    return float(10.0 ** int(exponent))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
