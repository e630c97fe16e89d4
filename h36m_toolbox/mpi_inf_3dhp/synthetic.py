"""A small synthetic MPI-INF-3DHP in the original's own formats: an invented figure in front of invented cameras."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import scipy.io
import simplejpeg

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.archive import CALIBRATION, IMAGES, TEST_ANNOTATIONS, TRAIN_ANNOTATIONS
from h36m_toolbox.mpi_inf_3dhp.sequences import (
    CAMERA_COUNT,
    CAMERA_SETS,
    TEST_SEQUENCES,
    TRAIN_RECORDINGS,
    TRAIN_SIZE,
    image_size,
)
from h36m_toolbox.mpi_inf_3dhp.synthetic_scene import (
    calibration_texts_of_test_set,
    ring_cameras,
    scene_camera_of_test_set,
    standing_poses,
    train_calibration_text,
)
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28
from h36m_toolbox.storage.files import folder_written_whole

_MATLAB_HEADER = b"MATLAB 7.3 MAT-file, synthetic"
_USER_BLOCK = 512
_MARK, _MARK_TEXT = "SYNTHETIC.txt", "Invented by `h36m synth`; nothing here is of MPI-INF-3DHP.\n"
_BONE_PX = 24
_SIDES, _MIDDLE = {"left": (60, 60, 230), "right": (230, 120, 60)}, (240, 240, 240)
_PELVIS = MPI_INF_3DHP_28.joints.index(MPI_INF_3DHP_28.root)


@dataclass(frozen=True)
class SyntheticPlan:
    """What to invent. Images have the original's size and show the figure, as crops need it.

    `image_side`: flat ones of so many px, whose annotations are those of full-size ones.
    """

    train: tuple[str, ...] = ("S1/Seq1",)
    test: tuple[str, ...] = TEST_SEQUENCES
    cameras: tuple[int, ...] = CAMERA_SETS["vnect"]  # with a video; annotations have all 14
    frames: int = 12
    extra_rows: int = 2  # annotated beyond the videos' ends, as in the original
    image_side: int | None = None

    def image_size(self, original: tuple[int, int]) -> tuple[int, int]:
        """Width and height of images that have `original` ones in the real set."""
        return original if self.image_side is None else (self.image_side, self.image_side)


def write_synthetic_3dhp(folder: Path, rng: np.random.Generator, plan: SyntheticPlan | None = None) -> None:
    """Write `folder/mpi_inf_3dhp/S1/Seq1/...` and `folder/mpi_inf_3dhp_test_set/TS1/...`, each whole or not at all.

    An earlier synthetic set there is replaced; H36MError where something else is in the way, or for sequences that
    MPI-INF-3DHP does not have.
    """
    plan = plan or SyntheticPlan()
    unknown = [
        name for name in (*plan.train, *plan.test) if name not in TRAIN_RECORDINGS and name not in TEST_SEQUENCES
    ]
    if unknown:
        raise H36MError(f"MPI-INF-3DHP has no sequence {', '.join(unknown)}")
    train_set, test_set = folder / "mpi_inf_3dhp", folder / "mpi_inf_3dhp_test_set"
    for part in (train_set, test_set):
        if part.exists() and not (part / _MARK).is_file():
            raise H36MError(f"{part}: is there and is no synthetic set; name another folder to write one to")
    if plan.train:
        with folder_written_whole(train_set) as temporary:
            (temporary / _MARK).write_text(_MARK_TEXT)
            for name in plan.train:
                _write_train(temporary / name, TRAIN_RECORDINGS[name].fps, rng, plan)
    if plan.test:
        with folder_written_whole(test_set) as temporary:
            (temporary / _MARK).write_text(_MARK_TEXT)
            for name in plan.test:
                _write_test(temporary / name, name, rng, plan)
            calibrations = temporary / "test_util" / "camera_calibration"
            calibrations.mkdir(parents=True)
            for file_name, text in calibration_texts_of_test_set().items():
                (calibrations / file_name).write_text(text)


def _write_train(folder: Path, fps: int, rng: np.random.Generator, plan: SyntheticPlan) -> None:
    (folder / IMAGES).mkdir(parents=True)
    cameras = ring_cameras(CAMERA_COUNT)
    world = standing_poses(plan.frames + plan.extra_rows, rng)
    cells = {name: np.empty((CAMERA_COUNT, 1), object) for name in ("annot2", "annot3", "univ_annot3")}
    for number, camera in enumerate(cameras):
        poses = camera.world_to_camera(world)
        arrays = {"annot2": camera.project_linear(poses), "annot3": poses, "univ_annot3": _universal(poses)}
        for name, array in arrays.items():
            cells[name][number, 0] = array.reshape(len(array), -1)
    numbers = {"cameras": np.arange(CAMERA_COUNT)[None] + 0.0, "frames": np.arange(len(world))[:, None] + 0.0}
    scipy.io.savemat(folder / TRAIN_ANNOTATIONS, {**cells, **numbers}, do_compression=True)
    (folder / CALIBRATION).write_text(train_calibration_text(cameras))
    for number in plan.cameras:
        pixels = cameras[number].project_linear(cameras[number].world_to_camera(world[: plan.frames]))
        pictures = _pictures(plan, TRAIN_SIZE, number, pixels)
        _write_video(folder / IMAGES / f"video_{number}.avi", fps, plan.image_size(TRAIN_SIZE), pictures)


def _write_test(folder: Path, name: str, rng: np.random.Generator, plan: SyntheticPlan) -> None:
    (folder / IMAGES).mkdir(parents=True)
    camera = scene_camera_of_test_set(name)
    poses = camera.world_to_camera(MPI_INF_3DHP_28.select(standing_poses(plan.frames, rng), MPI_INF_3DHP_17.joints))
    root = MPI_INF_3DHP_17.joints.index(MPI_INF_3DHP_17.root)
    variables = {
        "annot2": camera.project_linear(poses)[:, None],
        "annot3": poses[:, None],
        "univ_annot3": _universal(poses, root)[:, None],
        "valid_frame": (np.arange(plan.frames) % 3 != 1)[:, None],
        "activity_annotation": (1 + np.arange(plan.frames) % 7)[:, None],
        "bb_crop": np.zeros((plan.frames, 34)),
    }
    (folder / TEST_ANNOTATIONS).write_bytes(_matlab73(variables))
    for number, picture in enumerate(_pictures(plan, image_size(name), 0, variables["annot2"][:, 0]), start=1):
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 90, "BGR", "420")
        (folder / IMAGES / f"img_{number:06d}.jpg").write_bytes(jpeg)


def _universal(poses: np.ndarray, root: int = _PELVIS) -> np.ndarray:
    """Scaled about the pelvis, as `univ_annot3` is for a subject 6 % taller than the universal skeleton."""
    return poses[:, [root]] + (poses - poses[:, [root]]) / 1.06


def _matlab73(variables: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=_USER_BLOCK) as file:
        for name, values in variables.items():
            file[name] = values.astype(np.float64)
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    content.seek(0)
    content.write(_MATLAB_HEADER)
    return content.getvalue()


def _pictures(plan: SyntheticPlan, size: tuple[int, int], camera: int, pixels: np.ndarray) -> Iterator[np.ndarray]:
    """BGR pictures whose blue tells the frame and whose green tells the camera, and the bones of joints at `pixels`."""
    width, height = plan.image_size(size)
    skeleton = MPI_INF_3DHP_28 if pixels.shape[1] == len(MPI_INF_3DHP_28) else MPI_INF_3DHP_17
    for frame in range(plan.frames):
        picture = np.empty((height, width, 3), np.uint8)
        picture[:1] = 20 + 13 * frame % 200, 40 + 12 * camera, 128
        picture[1:] = picture[:1]  # whole rows: pixel by pixel numpy takes six times as long
        for parent, child in skeleton.bones if plan.image_side is None else ():
            ends = np.rint(pixels[frame, [parent, child]]).astype(int).tolist()
            side = _SIDES.get(skeleton.joints[child].split("_")[0], _MIDDLE)
            cv2.line(picture, ends[0], ends[1], side, _BONE_PX)
        yield picture


def _write_video(path: Path, fps: int, size: tuple[int, int], pictures: Iterator[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
