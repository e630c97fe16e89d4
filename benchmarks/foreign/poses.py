"""Poses from a program that knows nothing of us, before they are put into our units, frame and columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import sequence_code
from h36m_toolbox.sequences import (
    ACTIONS,
    CAMERA_IDS,
    Recording,
    Sequence,
    recording_of_stem,
    sequence_of_folder,
)

FRAME_BITS = 32  # of pose_tables.row_keys


@dataclass(frozen=True)
class Facts:
    """What is known of a file's poses; "" where it is not."""

    joints: str = ""  # name of a convention in skeletons.SKELETONS
    unit: str = ""  # "mm" or "m"
    root: str = ""  # "relative" or "absolute"
    coordinates: str = ""  # "camera" or "world"

    def completed(self, other: Facts) -> Facts:
        """These facts, and those of `other` where these are not known."""
        return Facts(*(getattr(self, field.name) or getattr(other, field.name) for field in fields(Facts)))

    def differences(self, other: Facts) -> list[str]:
        """Names of the facts that both know, and not as the same."""
        names = [field.name for field in fields(Facts) if getattr(self, field.name) and getattr(other, field.name)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class Statement:
    """What the user says of a file.

    `frames` are those that an array has a row for: "scored" by the protocol, "all" labelled ones, or every `N`-th.
    `labels` is the multi-view label file that a results pickle counts in. `as_stated` leaves out the checks of size,
    joint order, axes and frame order against a person and the labels.
    """

    facts: Facts = Facts()
    frames: str = ""
    labels: Path | None = None
    subtract_root: bool = False
    as_stated: bool = False


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ForeignPoses:
    """Poses as a file holds them, each with the frame that it is of."""

    layout: str  # in words, for the provenance
    keys: np.ndarray  # (n,), as pose_tables.row_keys
    poses: np.ndarray  # (n, joints, 3), in the file's unit and coordinates
    says: Facts  # the file itself
    usual: Facts = Facts()  # what its format means where nobody says otherwise
    left_out: tuple[str, ...] = ()  # what of the file is not scored


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """The frames that arrays without keys can be rows of: row keys, sorted, of the labels and of what is scored."""

    all: np.ndarray
    scored: np.ndarray | None  # None where several protocols are asked for
    split: str

    def chosen(self, frames: str) -> np.ndarray:
        """The keys that "scored", "all" or a step stands for; an H36MError for other words."""
        if frames == "all":
            return self.all
        if frames == "scored" and self.scored is not None:
            return self.scored
        if frames.isdecimal() and int(frames) > 0:
            return self.all[(self.all & (1 << FRAME_BITS) - 1) % int(frames) == 0]
        hint = "; with --protocol all say all or N" if frames == "scored" else ""
        raise H36MError(f"--frames is {frames!r}; expected scored, all or a step such as 64{hint}")


def row_keys_of(sequence: Sequence, frames: np.ndarray) -> np.ndarray:
    """The row keys of some frames (n,) of a sequence."""
    return sequence_code(sequence) << FRAME_BITS | np.asarray(frames, np.int64)


def as_array(value: Any, where: str) -> np.ndarray:
    """What a file holds in place of an array, as one; an H36MError for nested lists of different lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise H36MError(f"{where}: a {type(value).__name__} that is no array ({error})") from error


def checked_poses(value: Any, where: str) -> np.ndarray:
    """A floating-point array (n, joints, 3), or an H36MError that says what there is instead."""
    array = as_array(value, where)
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype.kind != "f":
        raise H36MError(
            f"{where}: {array.dtype} of shape {array.shape}; expected floating-point poses of shape (frames, joints, 3)"
        )
    return array


def recording_named(subject: str, name: str) -> Recording | None:
    """The recording of a file stem ("Photo 1", "Photo_1"), or of an action with its sub-action ("TakingPhoto-1")."""
    action, dash, subaction = name.partition("-")
    if dash and action in ACTIONS and subaction in ("1", "2"):
        return recording_of_known(subject, action, int(subaction))
    return recording_of_stem(subject, name)


def recording_of_known(subject: str, action: str, subaction: int) -> Recording | None:
    """The recording, None where Human3.6M has no such subject."""
    recording = Recording(subject, action, subaction)
    try:
        _ = recording.stem  # asks the table of the data set
    except H36MError:
        return None
    return recording


_SEQUENCE_NAME = re.compile(r"(S\d+)[/_ |](.+?)(?:[._ |](\d{8}))?")


def views_named(name: str) -> tuple[Recording, str | None] | None:
    """Recording and camera behind the name of an array, camera None where it has none; None for no known name.

    Known are `s_09_act_02_subact_01_ca_01`, and `S9/Directions 1.54138969` or `S9_Directions-1_54138969`, with or
    without the camera.
    """
    sequence = sequence_of_folder(name)
    if sequence:
        return sequence.recording, sequence.camera
    match = _SEQUENCE_NAME.fullmatch(name)
    recording = recording_named(match[1], match[2]) if match else None
    if match is None or recording is None or (match[3] and match[3] not in CAMERA_IDS):
        return None
    return recording, match[3]
