"""The values a protocol's switches can take, each with the words a report prints for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from h36m_toolbox.sequences import Recording, Sequence


class RootRule(Enum):
    """What happens to the root before anything is measured."""

    SUBTRACT = "root subtracted from every joint"
    ZERO_ROW_ONLY = "root row set to 0, the other rows unchanged"
    KEEP = "as it is"


class Alignment(Enum):
    """How each pose is fitted to its target for the second figure."""

    SIMILARITY = "rotation, scale and translation per pose"
    RIGID = "rotation and translation per pose"
    NONE = "none"


class AfterFit(Enum):
    """What happens between the fit and the second figure."""

    MEASURE = "nothing"
    REROOT = "root subtracted from both once more"


class Mean(Enum):
    """What the headline averages over."""

    ACTION = "frames within an action, then actions"
    FRAME = "all frames"


class Samples(Enum):
    """What is one sample of the score."""

    VIEWS = "each camera's view of a frame"
    INSTANTS = "each instant once, whatever the cameras"


class Velocity(Enum):
    """Which differences in time MPJVE averages; a sequence or trial weighs by its frames."""

    WITHIN_VIDEOS = "neighbouring scored frames of one video"
    ACROSS_VIDEOS = "a trial's frames of all subjects and cameras in a row, steps from video to video included"


class ExactHits(Enum):
    """What happens to a frame whose error is exactly 0."""

    SCORED = "scored"
    SKIPPED = "skipped"


class Damaged(Enum):
    """What happens to the recordings with displaced ground truth, `known_bad.DISPLACED_RECORDINGS`."""

    KEEP = "kept"
    DROP = "dropped"
    REPORT_BOTH = "kept in the headline, figures without them beside it"


@dataclass(frozen=True)
class Dropped:
    """What is not scored, a recording with all four views or one view, and why."""

    what: Recording | Sequence
    reason: str

    def __str__(self) -> str:
        view = f" camera {self.what.camera}" if isinstance(self.what, Sequence) else ""
        return f"{self.what.subject} {self.what.action} {self.what.subaction}{view} ({self.reason})"


@dataclass(frozen=True)
class Frames:
    """Which frames of a sequence are scored: every `step`-th from frame 0."""

    words: str
    step: int = 1
    published: bool = (
        True  # False: the list is the authors' own, so whatever is predicted is scored, and the report says so
    )
    test_subjects_only: bool = False

    def __str__(self) -> str:
        return self.words


def every_nth(step: int) -> Frames:
    """Every `step`-th frame of each sequence, counted from its first."""
    return Frames("all" if step == 1 else f"every {step}th frame of a sequence, from frame 0", step)


@dataclass(frozen=True)
class Midpoint:
    """A joint that is halfway between two others where a pose does not have it."""

    joint: str
    ends: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.joint} halfway between {self.ends[0]} and {self.ends[1]}"
