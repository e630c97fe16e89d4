from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames import image_name
from h36m_toolbox.sequences import Recording, Sequence
from h36m_toolbox.undistortion import undistort_map, undistorted, undistorted_folder, write_undistorted

VIEW = Sequence("S1", "Walking", 1, "54138969")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def sequence_and_frame(name: str) -> tuple[Sequence, int]:
    subject, take, _, camera, image = name.split("/")
    action, subaction = take.split("-")
    return Recording(subject, action, int(subaction)).view(camera), int(image[4:-4]) - 1


def test_the_maps_are_the_official_ones(golden_folder: Path) -> None:
    golden = np.load(golden_folder / "undistort_map_every_50px.npz")
    for name in golden:
        np.testing.assert_array_equal(undistort_map(h36m_camera(*name.split("/"))).pixels[::50, ::50], golden[name])


def test_a_point_lands_where_the_ideal_lens_would_have_it() -> None:
    camera = h36m_camera("S9", "58860488")
    points = np.random.default_rng(0).uniform((-900, -900, 3000), (900, 900, 6000), (50, 3))
    ideal = np.rint(camera.project_linear(points)).astype(int)
    rays = (ideal - camera.principal) / camera.focal
    seen = camera.project(np.concatenate([rays, np.ones((50, 1))], axis=1))
    sources = undistort_map(camera).pixels[ideal[:, 1], ideal[:, 0]]
    np.testing.assert_allclose(sources, seen, rtol=0, atol=1 / 64 + 1e-3)


@pytest.mark.parametrize("variant", ["", "_test_every_5th"])
def test_frames_look_as_the_official_ones(prepared: Path, golden_folder: Path, variant: str) -> None:
    golden = np.load(golden_folder / f"undistorted_images{variant}.npz")
    for i in range(0, len(golden["name"]), 7):
        sequence, frame = sequence_and_frame(str(golden["name"][i]))
        image = cv2.imread(str(prepared / "images" / sequence.folder / image_name(sequence, frame)))
        ours = undistorted(image, undistort_map(h36m_camera(sequence.subject, sequence.camera)))
        assert ours.shape[:2] == tuple(golden["height_width"][i])
        thumbnail = cv2.resize(cv2.cvtColor(ours, cv2.COLOR_BGR2GRAY), (24, 24), interpolation=cv2.INTER_AREA)
        difference = np.abs(thumbnail.astype(float) - golden["gray24"][i])
        assert difference.mean() <= 3, golden["name"][i]
        assert difference.max() <= 8, golden["name"][i]


def test_a_written_frame_is_as_close_to_the_official_one_as_the_golden_demands(
    data_with_images: Path, golden_folder: Path
) -> None:
    folder = write_undistorted(data_with_images, VIEW, [0])
    assert folder == undistorted_folder(data_with_images, VIEW)
    official = cv2.imread(str(golden_folder / "undistorted_S1_Walking-1_54138969_000001.jpg"))
    assert psnr(cv2.imread(str(folder / "img_000001.jpg")), official) >= 36


@pytest.fixture
def data_with_images(prepared: Path, tmp_path: Path) -> Path:
    """A DATA folder of its own with the extracted frames of the reduced archive."""
    (tmp_path / "images").symlink_to(prepared / "images")
    return tmp_path


def test_writing_again_replaces_what_was_there(data_with_images: Path) -> None:
    write_undistorted(data_with_images, VIEW, [0, 5])
    folder = write_undistorted(data_with_images, VIEW, [2])
    assert [path.name for path in folder.iterdir()] == ["img_000003.jpg"]


def test_a_frame_that_was_not_extracted_names_the_command_and_leaves_the_folder(data_with_images: Path) -> None:
    folder = write_undistorted(data_with_images, VIEW, [0])
    with pytest.raises(H36MError, match=r"_000500\.jpg: no such frame; run `h36m extract RAW"):
        write_undistorted(data_with_images, VIEW, [1, 499])
    assert [path.name for path in folder.iterdir()] == ["img_000001.jpg"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images" / VIEW.folder / image_name(VIEW, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no jpeg")
    with pytest.raises(H36MError, match=r"_000001\.jpg: cannot be read as an image"):
        write_undistorted(tmp_path, VIEW, [0])


def test_an_image_of_another_size_is_refused() -> None:
    maps = undistort_map(h36m_camera(VIEW.subject, VIEW.camera))
    with pytest.raises(H36MError, match="an image of 64x48 px, but its camera's map is for 1000x1002"):
        undistorted(np.zeros((48, 64, 3), np.uint8), maps)


def test_what_the_lens_did_not_see_is_black() -> None:
    pincushion = replace(h36m_camera(VIEW.subject, VIEW.camera), radial=np.array([0.3, 0.0, 0.0]))
    maps = undistort_map(pincushion)
    white = undistorted(np.full((*maps.fraction.shape, 3), 255, np.uint8), maps)
    width, height = pincushion.size
    beyond = ((maps.pixels < (-2, -2)) | (maps.pixels > (width + 1, height + 1))).any(axis=-1)
    assert beyond[0, 0]
    assert (white[beyond] == 0).all()
    assert (white[300:-300, 300:-300] == 255).all()
