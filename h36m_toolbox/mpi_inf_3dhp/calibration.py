"""The two calibration texts: `camera.calibration` of a training sequence, `*.calib` of the test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError

_MATRIX = 16  # numbers of a 4 x 4 matrix, row by row
_TEST_KEYS = {"sensorSize": 2, "focalLength": 1, "pixelAspect": 1, "centerOffset": 2, "distortion": 5}
_TEST_POSE = {"origin": 3, "up": 3, "right": 3}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class TestCalibration:
    """The camera of test sequences without its lens, and the lens: OpenCV's k1 k2 p1 p2 k3.

    The annotations' pixels are projected without the lens.
    """

    __test__ = False

    camera: Camera
    distortion: np.ndarray  # (5,)


def read_train_cameras(path: Path) -> dict[int, Camera]:
    """The cameras of a training sequence by number; world in mm, no lens distortion.

    Raises H36MError for a file that is no `camera.calibration`.
    """
    cameras: dict[int, Camera] = {}
    with_name: dict[str, list[str]] = {}
    for words in [*(line.split() for line in _text(path).splitlines()), ["name", "end"]]:
        if not words:
            continue
        if words[0] == "name" and "name" in with_name:
            number = int(_numbers(path, with_name, "name", 1)[0])
            cameras[number] = _train_camera(path, with_name)
        if words[0] == "name":
            with_name = {}
        with_name[words[0]] = words[1:]
    if not cameras:
        raise H36MError(f"{path}: describes no camera; expected camera.calibration of MPI-INF-3DHP, get it again")
    return cameras


def _train_camera(path: Path, lines: dict[str, list[str]]) -> Camera:
    inner = _numbers(path, lines, "intrinsic", _MATRIX).reshape(4, 4)
    outer = _numbers(path, lines, "extrinsic", _MATRIX).reshape(4, 4)
    width, height = _numbers(path, lines, "size", 2)
    return _camera(
        path, outer[:3, :3], outer[:3, 3], (inner[0, 0], inner[1, 1], inner[0, 2], inner[1, 2]), (width, height)
    )


def read_test_camera(path: Path, size: tuple[int, int]) -> TestCalibration:
    """The camera of test sequences whose images are `size` (width, height) px; H36MError for no such file."""
    lines: dict[str, list[str]] = {}
    for line in _text(path).splitlines():
        words = line.split("#")[0].split()
        if words and words[0] in {**_TEST_KEYS, **_TEST_POSE}:
            lines[words[0]] = words[1:]
    sensor, (focal,), (aspect,), offset, lens = (_numbers(path, lines, key, n) for key, n in _TEST_KEYS.items())
    origin, up, right = (_numbers(path, lines, key, n) for key, n in _TEST_POSE.items())
    rotation = np.stack([right, -up, np.cross(right, -up)])
    with np.errstate(divide="ignore", invalid="ignore"):
        focal_x = focal / sensor[0] * size[0]
        center = (offset / sensor + 0.5) * size
    inner = (float(focal_x), float(focal_x * aspect), float(center[0]), float(center[1]))
    return TestCalibration(_camera(path, rotation, -rotation @ origin, inner, size), lens)


def _camera(
    path: Path,
    rotation: np.ndarray,
    translation: np.ndarray,
    inner: tuple[float, float, float, float],
    size: tuple[float, float],
) -> Camera:
    numbers = np.array([*rotation.ravel(), *translation, *inner, *size])
    if not np.isfinite(numbers).all() or abs(abs(np.linalg.det(rotation)) - 1) > 1e-2:
        raise H36MError(f"{path}: holds a camera with numbers that are no calibration; get the file again")
    return Camera(
        rotation=rotation,
        center=np.linalg.solve(rotation, -translation),
        focal=np.array(inner[:2]),
        principal=np.array(inner[2:]),
        radial=np.zeros(3),
        tangential=np.zeros(2),
        size=(int(size[0]), int(size[1])),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin1")
    except FileNotFoundError as error:
        raise H36MError(f"{path}: is not there; it comes with the data set, get it again") from error


def _numbers(path: Path, lines: dict[str, list[str]], key: str, count: int) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in lines[key]])
    except (KeyError, ValueError) as error:
        raise H36MError(f"{path}: {key} is not there or no numbers ({error}); get the file again") from error
    if len(numbers) != count:
        raise H36MError(f"{path}: {key} has {len(numbers)} numbers, expected {count}; get the file again")
    return numbers
