"""What MPI-INF-3DHP consists of: sequences with their lengths and frame rates, cameras, activities, scenes."""

from __future__ import annotations

from dataclasses import dataclass

from h36m_toolbox.errors import H36MError

FAMILY = "mpi-inf-3dhp"  # the data set's name in options, protocols and folders
CAMERA_COUNT = 14

# Named by the publisher's scripts, but for `vnect`: the default download, on which nearly all papers train.
CAMERA_SETS = {
    "regular": tuple(range(14)),
    "relevant": tuple(range(11)),
    "ceiling": (11, 12, 13),
    "vnect": (0, 1, 2, 4, 5, 6, 7, 8),
    "mm3d_chest": (0, 2, 4, 7, 8),
}

# The evaluation's numbers 1 to 7; a frame with another number belongs to no activity.
ACTIVITIES = {
    1: "Standing/Walking",
    2: "Exercising",
    3: "Sitting",
    4: "Reaching/Crouching",
    5: "On The Floor",
    6: "Sports",
    7: "Miscellaneous",
}

SCENES = {
    "studio, green screen": ("TS1", "TS2"),
    "studio, no green screen": ("TS3", "TS4"),
    "outdoors": ("TS5", "TS6"),
}


@dataclass(frozen=True)
class Recording:
    """Length and frame rate of a training sequence; annotations may have a few rows more than `frames`."""

    frames: int
    fps: int


# The publisher's table. Its MATLAB function has a slip that GNU Octave refuses; 50 Hz for S3 and S5 is what it means.
TRAIN_RECORDINGS = {
    **{"S1/Seq1": Recording(6416, 25), "S1/Seq2": Recording(12430, 50)},
    **{"S2/Seq1": Recording(6502, 25), "S2/Seq2": Recording(6081, 25)},
    **{"S3/Seq1": Recording(12488, 50), "S3/Seq2": Recording(12283, 50)},
    **{"S4/Seq1": Recording(6171, 25), "S4/Seq2": Recording(6675, 25)},
    **{"S5/Seq1": Recording(12820, 50), "S5/Seq2": Recording(12312, 50)},
    **{"S6/Seq1": Recording(6188, 25), "S6/Seq2": Recording(6145, 25)},
    **{"S7/Seq1": Recording(6239, 25), "S7/Seq2": Recording(6320, 25)},
    **{"S8/Seq1": Recording(6468, 25), "S8/Seq2": Recording(6054, 25)},
}

TEST_FRAMES = {"TS1": 6151, "TS2": 6080, "TS3": 5838, "TS4": 6007, "TS5": 320, "TS6": 492}
TEST_VALID_FRAMES = {"TS1": 603, "TS2": 540, "TS3": 505, "TS4": 553, "TS5": 276, "TS6": 452}
TEST_SEQUENCES = tuple(TEST_FRAMES)
SPLITS = ("train", "test")

TRAIN_SIZE = (2048, 2048)  # width, height, px
_OUTDOORS = ("TS5", "TS6")


def image_size(sequence: str) -> tuple[int, int]:
    """Width and height in px of a sequence's images: 2048 x 2048, of TS5 and TS6 1920 x 1080."""
    return (1920, 1080) if sequence in _OUTDOORS else TRAIN_SIZE


def cameras_of(choice: str) -> tuple[int, ...]:
    """Camera numbers of a set's name or a list such as "0,2,8", ascending; H36MError for what there is not."""
    if choice in CAMERA_SETS:
        return CAMERA_SETS[choice]
    words = [word.strip() for word in choice.split(",")]
    if not all(word.isdecimal() and int(word) < CAMERA_COUNT for word in words):
        raise H36MError(f"cameras {choice!r}: expected one of {', '.join(CAMERA_SETS)} or numbers 0 to 13, as 0,2,8")
    return tuple(sorted({int(word) for word in words}))
