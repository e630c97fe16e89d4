"""The invented room of the synthetic MPI-INF-3DHP: a figure that moves, 14 cameras around it, their texts."""

from __future__ import annotations

import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.mpi_inf_3dhp.sequences import TRAIN_SIZE, image_size
from h36m_toolbox.skeletons import MPI_INF_3DHP_28

# Where a standing figure's joints are from their parents: right, up, forward of the body, mm. Sides are mirrored.
_PELVIS_HEIGHT = 950.0
_OFFSETS = {
    **{"spine": (0, 90, 0), "spine2": (0, 120, 0), "spine3": (0, 120, 0), "spine4": (0, 110, 0)},
    **{"neck": (0, 60, 0), "head": (0, 110, 30), "head_top": (0, 150, 0)},
    **{"clavicle": (30, -20, 0), "shoulder": (140, 0, 0), "elbow": (60, -270, 0), "wrist": (30, -240, 40)},
    **{"hand": (0, -80, 20), "hip": (110, -30, 0), "knee": (0, -430, 20), "ankle": (0, -410, -20)},
    **{"foot": (0, -40, 60), "toe": (0, -10, 110)},
}
_SWING_MM = 40.0
_FOCAL_PX = 1500.0
_DISTANCE_MM = 4200.0

_TEST_ORIGINS = {"studio": (300.0, 1300.0, 4300.0), "outdoors": (-500.0, 1200.0, 4500.0)}
_SENSORS = {"studio": (10.0, 10.0), "outdoors": (10.0, 5.625)}
_LENSES = {"studio": "0 0 0 0 0", "outdoors": "-0.28 0.12 -0.0003 -0.001 -0.05"}
_FOCAL_MM = 7.4


def standing_poses(frames: int, rng: np.random.Generator) -> np.ndarray:
    """World poses (frames, 28, 3), mm, y up: every joint swings about its place, as chance has it."""
    joints = MPI_INF_3DHP_28.joints
    rest = np.zeros((len(joints), 3))
    rest[joints.index(MPI_INF_3DHP_28.root)] = (0, _PELVIS_HEIGHT, 0)
    for child in _parents_first():
        side, _, limb = joints[child].rpartition("_") if joints[child] != "head_top" else ("", "", "head_top")
        offset = np.array(_OFFSETS[limb], np.float64) * ((-1 if side == "left" else 1), 1, 1)
        rest[child] = rest[MPI_INF_3DHP_28.parents[child]] + offset
    phase = rng.uniform(0, 2 * np.pi, rest.shape)
    speed = rng.uniform(0.1, 0.5, rest.shape)
    return rest + _SWING_MM * np.sin(phase + speed * np.arange(frames)[:, None, None])


def _parents_first() -> list[int]:
    order, rest = [], [child for _, child in MPI_INF_3DHP_28.bones]
    done = {MPI_INF_3DHP_28.joints.index(MPI_INF_3DHP_28.root)}
    while rest:
        ready = [child for child in rest if MPI_INF_3DHP_28.parents[child] in done]
        order += ready
        done |= set(ready)
        rest = [child for child in rest if child not in done]
    return order


def ring_cameras(count: int) -> list[Camera]:
    """Cameras on a circle around the figure, looking at it."""
    angles = 2 * np.pi * np.arange(count) / count
    origins = [
        (_DISTANCE_MM * np.sin(angle), 900 + 100 * (number % 5), _DISTANCE_MM * np.cos(angle))
        for number, angle in enumerate(angles)
    ]
    focal = np.full(2, _FOCAL_PX)
    return [_looking(np.array(origin), focal, np.array(TRAIN_SIZE) / 2, TRAIN_SIZE) for origin in origins]


def scene_camera_of_test_set(sequence: str) -> Camera:
    """The camera that `calibration_texts_of_test_set` describes for a test sequence."""
    size = image_size(sequence)
    place = _place(sequence)
    focal = np.full(2, _FOCAL_MM / _SENSORS[place][0] * size[0])
    return _looking(np.array(_TEST_ORIGINS[place]), focal, np.array(size) / 2, size)


def _place(sequence: str) -> str:
    return "studio" if image_size(sequence) == TRAIN_SIZE else "outdoors"


def _looking(origin: np.ndarray, focal: np.ndarray, principal: np.ndarray, size: tuple[int, int]) -> Camera:
    """A camera at `origin`, its y axis down, whose middle shows the figure's pelvis."""
    forward = np.array([0, _PELVIS_HEIGHT, 0]) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 1, 0))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Camera(rotation, origin, focal, principal, np.zeros(3), np.zeros(2), size)


def train_calibration_text(cameras: list[Camera]) -> str:
    """`camera.calibration` of these cameras."""
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number, camera in enumerate(cameras):
        inner, outer = np.eye(4), np.eye(4)
        inner[:3, :3] = camera.intrinsics
        outer[:3, :3], outer[:3, 3] = camera.rotation, -camera.rotation @ camera.center
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            f"  size        {camera.size[0]} {camera.size[1]}",
            "  animated    0",
            f"  intrinsic   {_listed(inner)} ",
            f"  extrinsic   {_listed(outer)} ",
            "  radial      0",
        ]
    return "\n".join(lines) + "\n"


def calibration_texts_of_test_set() -> dict[str, str]:
    """The two `.calib` files of the test set by name."""
    return {
        "ts1-4cameras.calib": _test_calibration_text("TS1"),
        "ts5-6cameras.calib": _test_calibration_text("TS5"),
    }


def _test_calibration_text(sequence: str) -> str:
    camera, place = scene_camera_of_test_set(sequence), _place(sequence)
    sensor = _SENSORS[place]
    return "\n".join(
        [
            "tc camera calibration v0.3",
            "camera\t0\tsynthetic",
            "\tframe\t0",
            f"\t\tsensorSize\t{sensor[0]}\t{sensor[1]}\t# in mm",
            f"\t\tfocalLength\t{_FOCAL_MM}\t# in mm",
            "\t\tpixelAspect\t1.0",
            "\t\tcenterOffset\t0.0\t0.0\t# in mm (positive values move right and down)",
            "\t\tdistortionModel\tOpenCV",
            f"\t\tdistortion\t{_LENSES[place]}",
            f"\t\t\torigin\t{_listed(camera.center)}",
            f"\t\t\tup\t{_listed(-camera.rotation[1])}",
            f"\t\t\tright\t{_listed(camera.rotation[0])}",
            "",
        ]
    )


def _listed(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.12g}" for number in numbers.ravel())
