"""Which frames of a sequence are extracted, and the box of each: what `--select` and `--crop` mean.

h36m-fetch's selection and the box rules stand on poses or masks, which are read from RAW where it has them, else from
the label table in DATA.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import box_geometry, joint_boxes, mask_boxes, person_boxes, poseformer_boxes
from h36m_toolbox.frames.stores import FrameStore
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.selection import kept_by_h36m_fetch
from h36m_toolbox.sequences import SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32

if TYPE_CHECKING:
    import pyarrow as pa

ALL = "every:1"
H36M_FETCH = "h36m-fetch"

# What each box rule stands on.
CROP_RULES = {"toolbox": Kind.CAMERA, "mask": Kind.MASK, "poseformer": Kind.CAMERA, "joints": Kind.IMAGE}

_ROOT = H36M_17.joints.index("Hip")
_LABEL_COLUMNS = {
    Kind.UNIVERSAL: "in_h36m_fetch",
    Kind.CAMERA: "joints_3d_camera",
    Kind.IMAGE: "joints_2d",
}
_DERIVED_FROM = {
    Kind.CAMERA: (Kind.CAMERA, Kind.WORLD),
    Kind.IMAGE: (Kind.IMAGE, Kind.CAMERA, Kind.WORLD),
}


def selection(select: str) -> str:
    """The one name of a choice of frames: "every:N" (also for "all") or "h36m-fetch"; H36MError for any other."""
    step = select.removeprefix("every:")
    if select == "all":
        return ALL
    if select == H36M_FETCH or (step != select and step.isdecimal() and int(step) > 0):
        return select if select == H36M_FETCH else f"every:{int(step)}"
    raise H36MError(f"no selection of frames {select!r}; there are all, every:N with N of 1 or more, and {H36M_FETCH}")


def crop_rule(store: FrameStore) -> str:
    """The box rule of a store, "" for whole frames; H36MError for one that does not exist."""
    rule = store.crop.split("-")[0]
    if rule and rule not in CROP_RULES:
        raise H36MError(f"no box rule {rule}; there are {', '.join(CROP_RULES)}")
    return rule


def needed_kinds(select: str, store: FrameStore) -> tuple[Kind, ...]:
    """The kinds of raw files, beside videos, that a selection and a store stand on."""
    kinds = [Kind.UNIVERSAL] if selection(select) == H36M_FETCH else []
    rule = crop_rule(store)
    return tuple(kinds + ([CROP_RULES[rule]] if rule else []))


@dataclass(frozen=True)
class PlanSource:
    """Where the poses and masks of one sequence are; small enough to send to another process, which reads them."""

    files: PoseFiles
    masks: Path | None
    labels: Path  # of the sequence's split, there or not

    def has(self, kind: Kind) -> bool:
        """Whether this kind can be read from RAW, or the label table that may hold it is there."""
        return self._in_raw(kind) or (kind in _LABEL_COLUMNS and self.labels.is_file())

    def kept_by_h36m_fetch(self) -> np.ndarray:
        """h36m-fetch's choice among the poses, (frames,) bool."""
        if self._in_raw(Kind.UNIVERSAL):
            return kept_by_h36m_fetch(self.files.sequence.subject, self.files.read_universal())
        return np.asarray(self._from_labels(Kind.UNIVERSAL).column("in_h36m_fetch").to_numpy())

    def roots(self) -> np.ndarray:
        """Camera-frame hips (frames, 3), mm float32."""
        if self._in_raw(Kind.CAMERA):
            return self.files.read_camera()[:, 0]
        return self._poses_from_labels(Kind.CAMERA)[:, _ROOT]

    def joints_2d(self) -> np.ndarray:
        """Pixels (frames, 17, 2), float32, with the lens' distortion."""
        if self._in_raw(Kind.IMAGE):
            return H36M_32.select(self.files.read_image(), H36M_17.joints)
        return self._poses_from_labels(Kind.IMAGE)

    def mask_boxes(self) -> np.ndarray:
        """Boxes top, left, bottom, right (frames, 4), px int32, of the masks."""
        if self.masks is None:
            raise H36MError(self.lacks(Kind.MASK))
        from h36m_toolbox.raw.masks import read_mask_boxes  # like Arrow slow to start, and whole frames need neither

        return read_mask_boxes(self.masks)

    def lacks(self, kind: Kind) -> str:
        """What to say where this kind is nowhere."""
        archive = f"{kind.archive_name}_{self.files.sequence.subject}.tgz"
        advice = f"get {archive} from the official site"
        if kind in _LABEL_COLUMNS:
            advice += f", or run `h36m labels RAW --out {self.labels.parents[2]}` where its poses are"
        return f"{self.files.sequence} has no {kind.value} files, which the choice of frames or boxes needs; {advice}"

    def _in_raw(self, kind: Kind) -> bool:
        if kind is Kind.MASK:
            return self.masks is not None
        paths = dict(zip(POSE_KINDS, _paths(self.files), strict=True))
        return any(paths[source] is not None for source in _DERIVED_FROM.get(kind, (kind,)))

    def _poses_from_labels(self, kind: Kind) -> np.ndarray:
        from h36m_toolbox.pose_tables import pose_array

        return pose_array(self._from_labels(kind), _LABEL_COLUMNS[kind])

    def _from_labels(self, kind: Kind) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self.labels.is_file():
            raise H36MError(self.lacks(kind))
        sequence = self.files.sequence
        names = ("subject", "action", "subaction", "camera")
        conditions = [(name, "==", getattr(sequence, name)) for name in names]
        try:
            table = pq.read_table(self.labels, columns=[_LABEL_COLUMNS[kind]], filters=conditions)
        except (pa.ArrowException, OSError) as error:
            raise H36MError(f"{self.labels}: cannot be read as labels ({error}); run `h36m labels` again") from error
        if not len(table):
            raise H36MError(self.lacks(kind))
        return table


def _paths(files: PoseFiles) -> tuple[Path | None, ...]:
    return files.world, files.camera, files.universal, files.image


def plan_sources(
    archive: RawArchive, data: Path, views: Iterable[Sequence], select: str, store: FrameStore
) -> dict[Sequence, PlanSource]:
    """Where to read what a selection and a store need, for each view; {} where they need nothing.

    Raises H36MError where no view has it.
    """
    kinds = needed_kinds(select, store)
    if not kinds:
        return {}
    sources = {view: _source(archive, data, view) for view in views}
    for kind in kinds:
        lacking = [source for source in sources.values() if not source.has(kind)]
        if lacking and len(lacking) == len(sources):
            raise H36MError(f"{archive.root}: {lacking[0].lacks(kind)}")
    return sources


def _source(archive: RawArchive, data: Path, view: Sequence) -> PlanSource:
    from h36m_toolbox.labels import labels_path

    files = PoseFiles(view, *(archive.path(view, kind) if archive.has(view, kind) else None for kind in POSE_KINDS))
    masks = archive.path(view, Kind.MASK) if archive.has(view, Kind.MASK) else None
    split = next(split for split, subjects in SPLITS.items() if view.subject in subjects)
    return PlanSource(files, masks, labels_path(data, split))


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class FramePlan:
    """The frames (from 0) to extract, and the box left, top, right, bottom (frames, 4), px, of each frame that has one.

    `inputs_sha256` changes with what was read from poses and masks; "" where nothing was.
    """

    wanted: Container[int]
    boxes: np.ndarray | None = None
    inputs_sha256: str = ""


def frame_plan(source: PlanSource | None, select: str, store: FrameStore) -> FramePlan:
    """The plan of one sequence. A crop takes only frames that have a box.

    Raises H36MError where a file is damaged or missing, or a box is empty.
    """
    digest = hashlib.sha256()
    rule, chosen = crop_rule(store), selection(select)
    if source is None:
        if rule or chosen == H36M_FETCH:
            raise H36MError(f"--select {select} and crops by {rule or 'a rule'} need poses; none were given")
        return FramePlan(range(0, sys.maxsize, _step(chosen)))
    boxes = None
    if rule:
        boxes = _boxes(source, store)
        digest.update(boxes.tobytes())
    wanted: Container[int] = range(0, sys.maxsize if boxes is None else len(boxes), _step(chosen))
    if chosen == H36M_FETCH:
        kept = np.flatnonzero(source.kept_by_h36m_fetch())
        kept = kept if boxes is None else kept[kept < len(boxes)]
        digest.update(kept.astype(np.int64).tobytes())
        wanted = frozenset(kept.tolist())
    return FramePlan(wanted, boxes, digest.hexdigest() if rule or chosen == H36M_FETCH else "")


def _step(chosen: str) -> int:
    return 1 if chosen == H36M_FETCH else int(chosen.removeprefix("every:"))


def _boxes(source: PlanSource, store: FrameStore) -> np.ndarray:
    sequence = source.files.sequence
    camera = h36m_camera(sequence.subject, sequence.camera)
    boxes = _BOXES[crop_rule(store)](source, camera, store)
    if not (boxes[:, :2] < boxes[:, 2:]).all():
        raise H36MError(f"{sequence}: the {crop_rule(store)} rule gives empty boxes; are its poses damaged?")
    return boxes


def _toolbox(source: PlanSource, camera: Camera, store: FrameStore) -> np.ndarray:
    return person_boxes(camera, source.roots()).astype(np.float64)


def _poseformer(source: PlanSource, camera: Camera, store: FrameStore) -> np.ndarray:
    return poseformer_boxes(box_geometry(camera, source.roots()), store.crop_size or (0, 0))


def _mask(source: PlanSource, camera: Camera, store: FrameStore) -> np.ndarray:
    """As in learnable triangulation the boxes of the filmed masks serve undistorted images too."""
    return mask_boxes(source.mask_boxes())


def _joints(source: PlanSource, camera: Camera, store: FrameStore) -> np.ndarray:
    pixels = source.joints_2d()
    return joint_boxes(camera.undistort(pixels.astype(np.float64)) if store.undistorted else pixels)


_BOXES: dict[str, Callable[[PlanSource, Camera, FrameStore], np.ndarray]] = {
    "toolbox": _toolbox,
    "mask": _mask,
    "poseformer": _poseformer,
    "joints": _joints,
}
