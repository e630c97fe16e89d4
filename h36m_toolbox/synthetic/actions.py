"""How the synthetic subjects hold and move themselves in each of Human3.6M's actions: postures of our own invention.

Angles are (flexion, abduction, twist) in degrees by joint, as `synthetic_motion` explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Angles = tuple[float, float, float]


@dataclass(frozen=True)
class ActionStyle:
    """What sets an action apart: `posture` and `sway` replace the base values joint by joint."""

    posture: Mapping[str, Angles] = field(default_factory=dict)
    sway: Mapping[str, Angles] = field(default_factory=dict)
    tempo: float = 1.0  # multiplies the sway's frequencies
    turn_rad: float = 0.5  # how far someone who stands turns to either side
    speed_mm_s: float = 0.0  # walks if above 0
    busy_arms: str = ""  # "R", "L" or both: arms that do not swing while walking
    seated: bool = False  # on a stool


def _both(joint: str, angles: Angles) -> dict[str, Angles]:
    return {f"R{joint}": angles, f"L{joint}": angles}


BASE_POSTURE: Mapping[str, Angles] = {
    **_both("Hip", (3, 4, -5)),
    **_both("Knee", (7, 0, 0)),
    **_both("Foot", (3, 0, -4)),
    **_both("Shoulder", (4, 9, 8)),
    **_both("Elbow", (20, 0, 0)),
    "Spine": (4, 0, 0),
    "Neck/Nose": (4, 0, 0),
}
BASE_SWAY: Mapping[str, Angles] = {
    "Hip": (2, 1.5, 3),
    "SpineBase": (3, 3, 5),
    "Spine": (2, 2, 4),
    "Thorax": (6, 4, 16),
    "Neck/Nose": (4, 3, 4),
    **_both("Hip", (2, 1, 1)),
    **_both("Knee", (4, 0, 0)),
    **_both("Foot", (1, 0, 0)),
    **_both("Shoulder", (6, 4, 6)),
    **_both("Elbow", (10, 0, 0)),
    **_both("Wrist", (10, 5, 10)),
}

_LIVELY_ARMS: Mapping[str, Angles] = {**_both("Shoulder", (18, 10, 18)), **_both("Elbow", (25, 0, 0))}
_SEATED: Mapping[str, Angles] = {
    **_both("Hip", (84, 8, -4)),
    **_both("Knee", (82, 0, 0)),
    "Hip": (-3, 0, 0),
    "Spine": (8, 0, 0),
}
_SEATED_SWAY: Mapping[str, Angles] = {
    "Hip": (1, 0.5, 1),
    **_both("Hip", (2, 2, 2)),
    **_both("Knee", (2, 0, 0)),
}

STYLES: Mapping[str, ActionStyle] = {
    "Directions": ActionStyle(
        posture={"RShoulder": (72, 22, -8), "RElbow": (24, 0, 0)},
        sway={"RShoulder": (20, 18, 10), "RElbow": (20, 0, 0), "Thorax": (6, 4, 24)},
    ),
    "Discussion": ActionStyle(
        posture={**_both("Shoulder", (24, 14, 14)), **_both("Elbow", (78, 0, 0))}, sway=_LIVELY_ARMS, tempo=1.3
    ),
    "Eating": ActionStyle(
        posture={
            **_SEATED,
            "RShoulder": (48, 16, 34),
            "RElbow": (112, 0, 0),
            "LShoulder": (26, 6, 22),
            "LElbow": (62, 0, 0),
        },
        sway={**_SEATED_SWAY, "RShoulder": (10, 4, 8), "RElbow": (26, 0, 0), "LShoulder": (4, 3, 4)},
        turn_rad=0.04,
        seated=True,
    ),
    "Greeting": ActionStyle(
        posture={"RShoulder": (128, 28, 0), "RElbow": (48, 0, 0), "Spine": (8, 0, 0)},
        sway={"RShoulder": (14, 20, 14), "RElbow": (24, 0, 0)},
        tempo=1.7,
    ),
    "Phoning": ActionStyle(
        posture={"RShoulder": (38, 42, 10), "RElbow": (136, 0, 0), "Thorax": (6, -6, 0)},
        sway={"RShoulder": (5, 5, 4), "RElbow": (4, 0, 0), "LShoulder": (14, 8, 12), "LElbow": (26, 0, 0)},
    ),
    "Posing": ActionStyle(
        posture={**_both("Shoulder", (-12, 42, 62)), **_both("Elbow", (92, 0, 0)), "LHip": (10, 12, -12)},
        sway={**_both("Shoulder", (8, 8, 8)), "Thorax": (8, 8, 24)},
    ),
    "Purchases": ActionStyle(
        posture={
            "RShoulder": (62, 12, 8),
            "LShoulder": (46, 10, 10),
            **_both("Elbow", (44, 0, 0)),
            "Spine": (20, 0, 0),
        },
        sway={**_LIVELY_ARMS, "SpineBase": (10, 4, 8)},
    ),
    "Sitting": ActionStyle(
        posture={**_SEATED, **_both("Shoulder", (32, 8, 16)), **_both("Elbow", (42, 0, 0))},
        sway={**_SEATED_SWAY, **_both("Shoulder", (10, 6, 10)), **_both("Elbow", (18, 0, 0))},
        turn_rad=0.04,
        seated=True,
    ),
    "SittingDown": ActionStyle(  # on the floor, legs drawn up
        posture={
            **_both("Hip", (108, 12, -8)),
            **_both("Knee", (84, 0, 0)),
            **_both("Shoulder", (52, 6, 12)),
            **_both("Elbow", (34, 0, 0)),
            "Hip": (-14, 0, 0),
            "Spine": (24, 0, 0),
        },
        sway={**_both("Hip", (4, 4, 4)), **_both("Knee", (8, 0, 0)), **_both("Shoulder", (10, 8, 10))},
        turn_rad=0.05,
    ),
    "Smoking": ActionStyle(
        posture={**_SEATED, "RShoulder": (46, 22, 30), "RElbow": (118, 0, 0), "LShoulder": (30, 8, 14)},
        sway={**_SEATED_SWAY, "RShoulder": (12, 6, 8), "RElbow": (24, 0, 0)},
        tempo=0.7,
        turn_rad=0.04,
        seated=True,
    ),
    "TakingPhoto": ActionStyle(
        posture={**_both("Shoulder", (66, 12, 34)), **_both("Elbow", (104, 0, 0))},
        sway={**_both("Shoulder", (8, 5, 5)), **_both("Elbow", (8, 0, 0)), "Spine": (8, 3, 5)},
    ),
    "Waiting": ActionStyle(
        posture={
            **_both("Shoulder", (16, 8, 62)),
            **_both("Elbow", (96, 0, 0)),
            "LHip": (8, 8, -8),
            "LKnee": (16, 0, 0),
        },
        sway={**_both("Shoulder", (4, 3, 6)), **_both("Elbow", (6, 0, 0)), "Thorax": (8, 5, 30)},
        tempo=0.8,
    ),
    "Walking": ActionStyle(speed_mm_s=700.0),
    "WalkingDog": ActionStyle(
        posture={"RShoulder": (34, 12, 6), "RElbow": (38, 0, 0), "Spine": (9, 0, 0)}, speed_mm_s=640.0, busy_arms="R"
    ),
    "WalkingTogether": ActionStyle(sway={"Thorax": (6, 4, 28)}, speed_mm_s=670.0),
}
