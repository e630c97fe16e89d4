from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.extraction import Recipe, extract_frames
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore, open_frames
from h36m_toolbox.frames.undistortion import undistort_map, undistorted
from h36m_toolbox.sequences import Recording, Sequence
from h36m_toolbox.synthetic.video import encode_video

VIEW = Sequence("S1", "Walking", 1, "54138969")
STORE = FrameStore("h36m-fetch", undistorted=True)


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
        image = cv2.imread(str(prepared / "images" / sequence.folder / WHOLE_FRAMES.file_name(sequence, frame)))
        ours = undistorted(image, undistort_map(h36m_camera(sequence.subject, sequence.camera)))
        assert ours.shape[:2] == tuple(golden["height_width"][i])
        thumbnail = cv2.resize(cv2.cvtColor(ours, cv2.COLOR_BGR2GRAY), (24, 24), interpolation=cv2.INTER_AREA)
        difference = np.abs(thumbnail.astype(float) - golden["gray24"][i])
        assert difference.mean() <= 3, golden["name"][i]
        assert difference.max() <= 8, golden["name"][i]


@pytest.fixture(scope="module")
def extracted(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with every tenth frame of a view, undistorted straight from the video, in h36m-fetch's layout."""
    data = tmp_path_factory.mktemp("undistorted")
    video = unpacked / "S1" / "Videos" / f"{VIEW.recording.stem}.{VIEW.camera}.mp4"
    extract_frames({VIEW: video}, data, Recipe("every:10", STORE))
    return data


def test_an_extracted_frame_is_as_close_to_the_official_one_as_the_golden_demands(
    extracted: Path, golden_folder: Path
) -> None:
    path = extracted / "processed" / "S1" / "Walking-1" / "imageSequence-undistorted" / VIEW.camera / "img_000001.jpg"
    official = cv2.imread(str(golden_folder / "undistorted_S1_Walking-1_54138969_000001.jpg"))
    assert psnr(cv2.imread(str(path)), official) >= 36


def test_frames_from_the_video_are_those_of_the_official_chain_but_for_jpeg_noise(
    extracted: Path, prepared: Path
) -> None:
    maps = undistort_map(h36m_camera(VIEW.subject, VIEW.camera))
    whole, ours = open_frames(prepared, VIEW), open_frames(extracted, VIEW, STORE)
    for frame in ours.frames:
        chained = undistorted(whole.image(frame), maps)
        difference = ours.image(frame).astype(float) - chained
        assert psnr(ours.image(frame), chained) >= 36
        assert abs(difference.mean()) < 0.25  # no shift of brightness between the two ways


def test_undistorted_frames_are_written_at_the_official_quality(extracted: Path) -> None:
    manifest = read_manifest(extracted, VIEW, STORE)
    assert manifest is not None
    assert manifest.quality == 95
    camera = open_frames(extracted, VIEW, STORE).camera(0)
    assert not camera.radial.any() and not camera.tangential.any()


def test_a_video_of_another_size_is_reported(unpacked: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.mp4"
    encode_video(path, [np.zeros((480, 640, 3), np.uint8)], (640, 480))
    (outcome,) = extract_frames({VIEW: path}, tmp_path / "data", Recipe(store=STORE))
    assert outcome.state == "failed"
    assert "an image of 640x480 px, but its camera's map is for 1000x1002" in outcome.problem


def test_two_rows_more_or_less_are_taken_from_the_video(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    encode_video(path, [np.full((1000, 1000, 3), 200, np.uint8)], (1000, 1000))
    extract_frames({VIEW: path}, tmp_path / "data", Recipe(store=STORE))
    assert open_frames(tmp_path / "data", VIEW, STORE).image(0).shape == (1000, 1000, 3)


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
