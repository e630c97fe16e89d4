"""The label formats by name: each a pure function of the same records, written below `DATA/labels/<format>/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from h36m_toolbox.detections.bundles import detections_path
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.h36m_fetch import write_h36m_fetch
from h36m_toolbox.formats.integral import write_integral
from h36m_toolbox.formats.mmpose import write_mmpose
from h36m_toolbox.formats.mmpose_images import write_mmpose_images
from h36m_toolbox.formats.multiview import write_multiview
from h36m_toolbox.formats.poseformer import write_poseformer_pickle
from h36m_toolbox.formats.readers import READERS
from h36m_toolbox.formats.toolbox import write_toolbox_pickle
from h36m_toolbox.formats.videopose3d import write_videopose3d
from h36m_toolbox.labels import write_labels
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.raw.completeness import available_poses
from h36m_toolbox.selection import TEST_STEP
from h36m_toolbox.sequences import FPS, SPLITS, Sequence
from h36m_toolbox.storage.files import written_whole


class Written(Protocol):
    """What every format tells of a file it wrote."""

    @property
    def path(self) -> Path: ...
    @property
    def sequences(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def damaged(self) -> tuple[str, ...]:
        """Sequences left out because a file could not be read, with the reason."""
        ...

    def differences(self) -> list[str]:
        """One line for each sequence that was cut or lacks something."""
        ...


@dataclass(frozen=True)
class FormatOptions:
    """The switches of single formats; `LabelFormat.options` says which format uses which.

    `without_images`: list also poses whose image is not in DATA/images. `detections`: the bundled 2D detections in
    poseformer's records. `test_step`: test subjects' frames that h36m-fetch keeps. `mmpose_fps`: frame rates of its
    files. `mmpose_misaligned`: image names beside the wrong rows, as in the official files. `images`: write the frames
    that mmpose's labels name, "decode" from the videos or "link" to DATA/images; "" for neither.
    """

    without_images: bool = False
    detections: str = "cpn"
    test_step: int = TEST_STEP
    mmpose_fps: tuple[int, ...] = (50, 10)
    mmpose_misaligned: bool = False
    images: str = ""


@dataclass(frozen=True)
class FormatJob:
    """What a format is made from, and how."""

    archive: RawArchive
    files: list[PoseFiles]  # sequences that have, or let derive, what the format needs
    data: Path
    options: FormatOptions
    jobs: int
    progress: Callable[[Sequence], None] | None


@dataclass(frozen=True)
class LabelFormat:
    """How a format is written, a report a file, the raw files it needs, what has to be in DATA, options it uses."""

    write: Callable[[FormatJob], dict[str, Written | None]]
    kinds: tuple[Kind, ...] = ()  # without which a sequence is left out; other poses are derived where need be
    lists_images: bool = False
    lists_detections: bool = False
    options: tuple[str, ...] = ()


def _parquet(job: FormatJob) -> dict[str, Written | None]:
    return {split: write_labels(job.files, job.data, split, job.jobs, job.progress) for split in SPLITS}


def _toolbox(job: FormatJob) -> dict[str, Written | None]:
    return {
        split: write_toolbox_pickle(job.files, job.data, split, job.options.without_images, job.jobs, job.progress)
        for split in SPLITS
    }


def _poseformer(job: FormatJob) -> dict[str, Written | None]:
    options = job.options
    return {
        split: write_poseformer_pickle(
            job.archive, job.files, job.data, split, options.detections, options.without_images, job.jobs, job.progress
        )
        for split in SPLITS
    }


def _videopose3d(job: FormatJob) -> dict[str, Written | None]:
    return {**write_videopose3d(job.archive, job.data, job.jobs, job.progress)}


def _h36m_fetch(job: FormatJob) -> dict[str, Written | None]:
    return {"processed": write_h36m_fetch(job.files, job.data, job.options.test_step, job.jobs, job.progress)}


def _multiview(job: FormatJob) -> dict[str, Written | None]:
    step = job.options.test_step
    return {**write_multiview(job.archive, job.files, job.data, step, job.jobs, job.progress)}


def _mmpose(job: FormatJob) -> dict[str, Written | None]:
    options = job.options
    rates = tuple(FPS // fps for fps in options.mmpose_fps)
    if any(rate * fps != FPS for rate, fps in zip(rates, options.mmpose_fps, strict=True)):
        raise H36MError(f"mmpose labels at {options.mmpose_fps} fps: expected rates that divide {FPS}")
    images: dict[str, Written | None] = {}
    if options.images:  # first: they tell how many frames the videos have
        source = options.images
        images["images"] = write_mmpose_images(job.archive, job.files, job.data, source, rates, job.jobs, job.progress)
    return {**images, **write_mmpose(job.files, job.data, rates, options.mmpose_misaligned, job.jobs, job.progress)}


def _integral(job: FormatJob) -> dict[str, Written | None]:
    return {"annot": write_integral(job.files, job.data, job.jobs, job.progress)}


FORMATS = {
    "parquet": LabelFormat(_parquet),
    "toolbox": LabelFormat(_toolbox, kinds=(Kind.UNIVERSAL,), lists_images=True, options=("without_images",)),
    "poseformer": LabelFormat(
        _poseformer, lists_images=True, lists_detections=True, options=("without_images", "detections")
    ),
    "videopose3d": LabelFormat(_videopose3d, kinds=(Kind.WORLD,)),
    "h36m-fetch": LabelFormat(_h36m_fetch, kinds=(Kind.UNIVERSAL,), options=("test_step",)),
    "multiview": LabelFormat(_multiview, kinds=(Kind.UNIVERSAL,), options=("test_step",)),
    "mmpose": LabelFormat(_mmpose, options=("mmpose_fps", "mmpose_misaligned", "images")),
    "integral": LabelFormat(_integral),
}


def unused_options(formats: Iterable[str], given: Iterable[str]) -> list[str]:
    """Which of the options that a user gave none of these formats uses."""
    used = {option for format_ in formats for option in FORMATS[format_].options}
    return [option for option in given if option not in used]


@dataclass(frozen=True)
class FormatReport:
    """What a format's files hold, and the sequences that lack a pose file and are therefore in none."""

    format: str
    files: dict[str, Written]
    incomplete: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()  # what RAW does not have, and what is derived

    @property
    def damaged(self) -> bool:
        """Whether a file could not be read and its sequence is left out."""
        return any(written.damaged for written in self.files.values())

    def lines(self) -> list[str]:
        """What to tell a user: what is not there, left out or cut, then what was written."""
        lines = [*self.notes]
        lines += [f"{name}: left out, it lacks {', '.join(kinds)}" for name, kinds in self.incomplete.items()]
        for written in self.files.values():
            lines += [f"left out: {damage}" for damage in written.damaged]
            lines += written.differences()
            lines.append(f"{written.sequences} sequences, {written.rows:,} rows in {written.path}")
        return lines


def write_format(
    format_: str,
    archive: RawArchive,
    data: Path,
    options: FormatOptions = FormatOptions(),
    jobs: int = 1,
    progress: Callable[[Sequence], None] | None = None,
) -> FormatReport:
    """Write one format, with `report.json` beside its files.

    `toolbox` and `poseformer` hold only poses whose image is in `DATA/images`, as the official scripts do, unless
    `without_images`; `poseformer` needs its detections in DATA. Raises H36MError where these are missing.
    """
    _check_inputs(format_, data, options)
    poses = available_poses(archive, FORMATS[format_].kinds)
    written = FORMATS[format_].write(FormatJob(archive, poses.files, data, options, jobs, progress))
    made = {name: file for name, file in written.items() if file is not None}
    report = FormatReport(format_, made, poses.left_out, poses.notes)
    with written_whole(data / "labels" / format_ / "report.json") as path:
        path.write_text(json.dumps(asdict(report), indent=1, default=str))
    return report


def _check_inputs(format_: str, data: Path, options: FormatOptions) -> None:
    if format_ not in FORMATS:
        raise H36MError(f"no label format {format_}; there are {', '.join(FORMATS)}")
    if FORMATS[format_].lists_images and not options.without_images and not (data / "images").is_dir():
        raise H36MError(
            f"{data / 'images'}: no frames, and {format_} lists only poses that have one; run `h36m extract RAW "
            f"--out {data}` first, or ask for records of every pose with --without-images"
        )
    name = options.detections
    if FORMATS[format_].lists_detections and not detections_path(data, name).is_file():
        option = f"--{name} FILE" if name in ("cpn", "sh") else f"--add {name}=FILE"
        raise H36MError(
            f"{detections_path(data, name)}: no {name.upper()} detections, which {format_} needs; bundle "
            f"them first with `h36m detections RAW --out {data} {option}`"
        )


def read_format(name: str, data: Path, split: str | None = None) -> pa.Table:
    """Read a format back as a table keyed like the labels: `split` "train" or "val", None for both.

    Pose columns are those of `labels.LABEL_FIELDS` that the format holds, 17 joints in our order, mm and px, float32;
    rows in the order of its files, all in memory. Frames that the format leaves out are not there. Pickles are read
    without running anything in them. Raises H36MError for an unknown format, and for files that are missing, damaged
    or not what their names say.
    """
    if name not in FORMATS:
        raise H36MError(f"no label format {name}; there are {', '.join(FORMATS)}")
    if split is not None and split not in SPLITS:
        raise H36MError(f"no split {split}; the splits are {' and '.join(SPLITS)}")
    return READERS[name](data, tuple(SPLITS) if split is None else (split,))
