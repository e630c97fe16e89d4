"""What models that see images work on in DATA: samples of a split, their pelvis estimates, limb lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice
from h36m_toolbox.benchmarks.runs.volumetric_files import GROUND_TRUTH, ViewFiles
from h36m_toolbox.errors import H36MError
from h36m_toolbox.limb_lengths import read_limb_statistics, statistics_path
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.pelvis.estimates import JOINT, instant_keys, pelvis_array, pelvis_path, read_pelvis, recording_code
from h36m_toolbox.pelvis.results import pelvis_of_results
from h36m_toolbox.skeletons import MULTIVIEW_17
from h36m_toolbox.storage.files import sha256_of
from h36m_toolbox.views.labels import MultiviewLabels, read_multiview_labels
from h36m_toolbox.views.samples import ViewInput, ViewReader, view_reader


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class BasePoints:
    """The middle of each instant's volume, and where they come from."""

    points: np.ndarray  # (instants, 3), world, mm, float32
    source: str
    sha256: str


NO_BASE_POINTS = BasePoints(np.zeros((0, 3), np.float32), "", "")


@dataclass(frozen=True, eq=False)
class ViewSamples:
    """Samples of a label table in its order, cameras within an instant in theirs."""

    reader: ViewReader
    base: BasePoints
    instants: np.ndarray  # (samples,)
    cameras: tuple[tuple[int, ...], ...]  # of each sample
    keys: np.ndarray = field(repr=False)  # (samples, 4) pose_tables.row_keys, -1 where a sample has no such camera

    def __len__(self) -> int:
        return len(self.instants)

    @property
    def labels(self) -> MultiviewLabels:
        return self.reader.labels

    def name(self, sample: int) -> str:
        """A sample in words."""
        instant = int(self.instants[sample])
        recording = self.labels.recording(instant)
        return f"{recording.subject}/{recording.stem} frame {self.labels.frame(instant)}"

    def target(self, sample: int) -> np.ndarray:
        """The true pose (joints, 3), world, mm, float32."""
        return self.labels.joints_3d[self.instants[sample]]

    def load(self, sample: int) -> ViewInput:
        """Read a sample, its views in camera order."""
        return self.load_views(sample, self.cameras[sample])

    def load_views(self, sample: int, cameras: tuple[int, ...]) -> ViewInput:
        """Read some views of a sample."""
        instant = int(self.instants[sample])
        views = [self.reader.view(instant, camera) for camera in cameras]
        point = self.base.points[instant] if len(self.base.points) else None
        return ViewInput(np.stack([v.image for v in views]), np.stack([v.projection for v in views]), point)


def read_samples(
    data: Path,
    split: str,
    contract: FromViews,
    files: ViewFiles,
    chosen: Callable[[MultiviewLabels], np.ndarray] | None = None,
    by_view: bool | None = None,
) -> ViewSamples:
    """The samples of a split that a model with this contract takes; images are read later.

    `chosen` tells which instants (rows,) count. A sample is an instant, or each of its views; `by_view` decides where
    it is not the contract that does. Raises H36MError, with the command that makes what is missing, for a missing label
    table, pelvis estimate or frame, for instants of too few views and where no instant is chosen.
    """
    labels = read_multiview_labels(data, split, files.labels)
    if chosen is not None:
        labels = labels.taken(chosen(labels))
    if not len(labels):
        raise H36MError(f"{labels.path}: has none of the subjects, actions and frames that were asked for")
    base = base_points(data, labels, split, files.pelvis) if contract.needs_pelvis else NO_BASE_POINTS
    reader = view_reader(data, labels, contract.image_px)
    seen = [tuple(np.flatnonzero(row).tolist()) for row in labels.seen]
    if contract.views == "one" if by_view is None else by_view:
        pairs = [(instant, (camera,)) for instant, cameras in enumerate(seen) for camera in cameras]
    else:
        pairs = list(enumerate(seen))
        few = [instant for instant, cameras in pairs if len(cameras) < (1 if contract.views == "one" else 2)]
        if few:
            first = _instant_name(labels, few[0])
            raise H36MError(
                f"{labels.path}: {len(few)} instants are seen by fewer than two cameras, the first is {first}; a model "
                "of several views needs two, make the labels with all cameras"
            )
    instants = np.array([instant for instant, _ in pairs], int)
    cameras = tuple(cameras for _, cameras in pairs)
    of_sample = np.zeros((len(pairs), labels.seen.shape[1]), bool)
    for sample, views in enumerate(cameras):
        of_sample[sample, list(views)] = True
    keys = np.where(of_sample, labels.view_keys[instants], -1)
    return ViewSamples(reader, base, instants, cameras, keys)


def chosen_instants(labels: MultiviewLabels, frames: FrameChoice) -> np.ndarray:
    """Which instants (rows,) of a label table are of these subjects, actions and frames."""
    recordings = [labels.recording(instant) for instant in range(len(labels))]
    chosen = np.array([item.subject in frames.subjects and item.action in frames.actions for item in recordings], bool)
    return np.asarray(chosen & ((labels.keys & 0xFFFFFFFF) % frames.every == 0))


def base_points(data: Path, labels: MultiviewLabels, split: str, given: str | None) -> BasePoints:
    """The pelvis of every instant of the labels: DATA's estimates, an official results pickle's, or the truth."""
    if given == GROUND_TRUTH:
        truth = labels.joints_3d[:, MULTIVIEW_17.joints.index(JOINT)]
        return BasePoints(truth, GROUND_TRUTH, sha256_of(labels.path))
    if given is None:
        table = read_pelvis(data, split)
        path, keys, points = pelvis_path(data, split), instant_keys(table), pelvis_array(table)
        source = str(table.column("source")[0].as_py())
    else:
        path = Path(given)
        described, recordings = pelvis_of_results(path, labels.path, split)
        parts = list(recordings)
        keys = np.concatenate([recording_code(part.recording) << 32 | part.frames for part in parts])
        points = np.concatenate([part.pelvis for part in parts]).astype(np.float32)
        source = described.name
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys, labels.keys, sorter=order), len(keys) - 1)]
    lacking = keys[place] != labels.keys
    if lacking.any():
        first = _instant_name(labels, int(lacking.argmax()))
        raise H36MError(
            f"{path}: has no pelvis for {lacking.sum()} of the {len(labels)} instants of {labels.path}, the first is "
            f"{first}; make estimates from complete detections with `h36m pelvis {data} --detections NAME` "
            "(cpn lacks S11 Directions 2), or give an official results pickle with --pelvis"
        )
    return BasePoints(np.ascontiguousarray(points[place], np.float32), source, sha256_of(path))


def _instant_name(labels: MultiviewLabels, instant: int) -> str:
    recording = labels.recording(instant)
    return f"{recording.subject}/{recording.stem} frame {labels.frame(instant)}"


def limb_options(data: Path, contract: FromViews, files: ViewFiles) -> dict[str, dict[str, list[float]]]:
    """The option `limbs` of a model that looks at limb lengths; H36MError where DATA has no statistics."""
    if not contract.needs_limbs:
        return {}
    path = files.statistics or statistics_path(data)
    if not path.is_file():
        raise H36MError(
            f"{path}: no limb-length statistics, which the attention looks at; write them with `h36m stats {data}`, or "
            "give the official file with --stats"
        )
    mean, std = read_limb_statistics(path)
    return {"limbs": {"mean": mean.tolist(), "std": std.tolist()}}
