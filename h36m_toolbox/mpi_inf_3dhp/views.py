"""A training sequence's views, cut to the frames that the publisher's table has, with their lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from h36m_toolbox.mpi_inf_3dhp.annotations import ViewAnnotations, read_train_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import TrainSequence
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY, TRAIN_RECORDINGS


@dataclass(frozen=True, eq=False)
class TrainViews:
    """The views of one sequence by camera; `rows`: annotated ones, before the cut."""

    name: str
    views: dict[int, ViewAnnotations]
    rows: int


def read_views(sequence: TrainSequence, cameras: tuple[int, ...]) -> TrainViews:
    """The annotations of a sequence, cut to the publisher's frame count; raises as `read_train_annotations`."""
    views = read_train_annotations(sequence.annotations, cameras)
    frames = TRAIN_RECORDINGS[sequence.name].frames
    kept = {
        camera: ViewAnnotations(view.image[:frames], view.camera[:frames], view.universal[:frames])
        for camera, view in views.items()
    }
    return TrainViews(sequence.name, kept, max((len(view.image) for view in views.values()), default=0))


def prepared_path(data: Path, *parts: str) -> Path:
    """A path below what DATA holds of this data set."""
    return data.joinpath(FAMILY, *parts)
