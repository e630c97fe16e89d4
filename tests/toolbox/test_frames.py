from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.extraction import JPEG_QUALITY, Recipe, extract_frames, extraction_summary
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.stores import FrameStore, open_frames, stored_frames
from h36m_toolbox.frames.videos import decoded_frames, encoded, full_range_planes
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.synthetic.video import BarCode, read_bar_code

VIEW = Sequence("S9", "Walking", 1, "54138969")
UNREADABLE = Sequence("S11", "Directions", 2, "54138969")


def video_of(unpacked: Path, sequence: Sequence) -> Path:
    return unpacked / sequence.subject / "Videos" / f"{sequence.recording.stem}.{sequence.camera}.mp4"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def jpeg_of(frame: av.VideoFrame) -> bytes:
    return encoded(full_range_planes(frame), 95)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_names_sizes_and_pictures_are_the_toolboxs(prepared: Path, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "images.npz")
    written = {path.relative_to(prepared / "images").as_posix() for path in (prepared / "images").rglob("*.jpg")}
    assert written == set(golden["name"])
    for i in range(0, len(golden["name"]), 10):
        image = cv2.imread(str(prepared / "images" / golden["name"][i]))
        assert image.shape[:2] == tuple(golden["height_width"][i])
        thumbnail = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (24, 24), interpolation=cv2.INTER_AREA)
        difference = np.abs(thumbnail.astype(float) - golden["gray24"][i])
        assert difference.mean() <= 3, golden["name"][i]
        assert difference.max() <= 8, golden["name"][i]


def test_a_frame_is_as_close_to_ffmpegs_as_the_golden_demands(prepared: Path, golden_folder: Path) -> None:
    name = "s_01_act_14_subact_01_ca_01_000001.jpg"
    ours = cv2.imread(str(prepared / "images" / name[:-11] / name))
    assert psnr(ours, cv2.imread(str(golden_folder / name))) >= 36


def corner_as_filmed(image: np.ndarray) -> np.ndarray:
    """The corner with the bar code of an undistorted frame, with the lens' distortion put back."""
    pixels = np.stack(np.meshgrid(np.arange(300.0), np.arange(64.0)), axis=-1)
    places = h36m_camera(VIEW.subject, VIEW.camera).undistort(pixels).astype(np.float32)
    return cv2.remap(image, places, None, cv2.INTER_LINEAR)


@pytest.mark.parametrize("every", [1, 5, 64])
def test_each_image_holds_the_frame_its_name_says(unpacked: Path, tmp_path: Path, every: int) -> None:
    extract_frames({VIEW: video_of(unpacked, VIEW)}, tmp_path, Recipe(f"every:{every}"))
    frames = stored_frames(tmp_path, VIEW)
    assert frames == tuple(range(0, 132, every))
    for frame in frames[:: max(1, len(frames) // 8)]:
        image = cv2.imread(str(tmp_path / "images" / VIEW.folder / f"{VIEW.folder}_{frame + 1:06d}.jpg"))
        assert read_bar_code(image) == BarCode(VIEW, frame)


def test_colours_survive_the_way_through_yuv(unpacked: Path) -> None:
    frame = next(decoded_frames(video_of(unpacked, VIEW)))
    ours = cv2.imdecode(np.frombuffer(jpeg_of(frame), np.uint8), cv2.IMREAD_COLOR)
    assert psnr(ours, frame.to_ndarray(format="bgr24")) > 40
    # the mean colour by the matrix of ITU-R BT.601; ffmpeg's own conversion is a grey level too dark
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : plane.width].mean()
        for plane in frame.planes
    )
    luma = 255 / 219 * (y - 16)
    blue_red = (luma + 1.772 * 255 / 224 * (u - 128), luma + 1.402 * 255 / 224 * (v - 128))
    np.testing.assert_allclose(ours.mean(axis=(0, 1))[[0, 2]], blue_red, atol=0.3)


def test_other_pixel_formats_are_converted(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32] = (200, 40, 90)
    path = tmp_path / "video.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=50, options={"crf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")), *stream.encode()]:
            container.mux(packet)
    (frame,) = decoded_frames(path)
    assert frame.format.name == "yuv444p"
    image = cv2.imdecode(np.frombuffer(jpeg_of(frame), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(image[32, 10], picture[32, 10], atol=4)


def test_a_second_run_keeps_what_is_complete_and_repairs_what_is_not(unpacked: Path, tmp_path: Path) -> None:
    videos = {view: video_of(unpacked, view) for view in (VIEW, Sequence("S1", "Walking", 1, "55011271"))}
    extract_frames(videos, tmp_path)
    whole = contents(tmp_path)
    assert [outcome.state for outcome in extract_frames(videos, tmp_path)] == ["kept", "kept"]
    image = next((tmp_path / "images" / VIEW.folder).iterdir())
    image.write_bytes(image.read_bytes()[:100])
    assert [outcome.state for outcome in extract_frames(videos, tmp_path)] == ["written", "kept"]
    assert contents(tmp_path) == whole


def test_other_settings_are_not_mistaken_for_done(unpacked: Path, tmp_path: Path) -> None:
    videos = {VIEW: video_of(unpacked, VIEW)}
    extract_frames(videos, tmp_path, Recipe("every:2"))
    (outcome,) = extract_frames(videos, tmp_path, Recipe("every:64"))
    assert outcome.state == "written"
    assert stored_frames(tmp_path, VIEW) == (0, 64, 128)


def test_a_dry_run_writes_nothing(unpacked: Path, tmp_path: Path) -> None:
    (outcome,) = extract_frames({VIEW: video_of(unpacked, VIEW)}, tmp_path, dry_run=True)
    assert outcome.state == "planned"
    assert not list(tmp_path.iterdir())


def test_the_manifest_tells_how_the_images_were_made(prepared: Path) -> None:
    manifest = read_manifest(prepared, VIEW)
    assert manifest is not None
    assert (manifest.quality, manifest.subsampling, manifest.select) == (JPEG_QUALITY, "4:2:0", "every:1")
    assert (manifest.width, manifest.height, manifest.decoded_frames, manifest.images) == (1000, 1002, 132, 132)


def test_an_unreadable_video_is_reported_and_the_others_go_on(unpacked: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    other = Sequence("S5", "Eating", 1, "54138969")
    videos = {UNREADABLE: broken, other: broken, VIEW: video_of(unpacked, VIEW)}
    outcomes = extract_frames(videos, tmp_path / "data")
    assert [outcome.state for outcome in outcomes] == ["failed", "failed", "written"]
    assert not (tmp_path / "data" / "images" / other.folder).exists()
    manifest = read_manifest(tmp_path / "data", other)
    assert manifest is not None
    assert (manifest.decoded_frames, manifest.images) == (0, 0)  # so that labels can tell it from "not extracted"
    assert extract_frames({other: broken}, tmp_path / "data")[0].state == "failed"  # and is tried again
    summary = extraction_summary(outcomes, tmp_path / "data")
    assert summary.failed == 1  # the one of S11 is broken for everyone
    assert any("broken.mp4: cannot be read as a video" in line for line in summary.lines)


def test_a_truncated_video_gives_the_frames_before_the_damage(unpacked: Path, tmp_path: Path) -> None:
    source = tmp_path / "whole.ts"
    with av.open(video_of(unpacked, VIEW)) as old, av.open(source, "w", format="mpegts") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    (outcome,) = extract_frames({VIEW: cut}, tmp_path / "data")
    assert outcome.manifest is not None
    assert 0 < outcome.manifest.decoded_frames < 132
    assert stored_frames(tmp_path / "data", VIEW) == tuple(range(outcome.manifest.decoded_frames))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": "every:0"}, "no selection of frames 'every:0'"),
        ({"select": "some"}, "no selection of frames 'some'"),
        ({"quality": 101}, "quality is 1 to 100"),
        ({"store": FrameStore(crop="face-64x64")}, "no box rule face"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(H36MError, match=message):
        Recipe(**settings)


STORES = {
    "packed": Recipe("every:40", packed=True),
    "h36m-fetch's layout": Recipe("every:40", FrameStore("h36m-fetch")),
    "packed in h36m-fetch's layout": Recipe("every:40", FrameStore("h36m-fetch"), packed=True),
    "undistorted": Recipe("every:40", FrameStore(undistorted=True)),
}


@pytest.mark.parametrize("name", STORES)
def test_every_store_holds_the_frames_its_names_say_and_is_kept_by_a_second_run(
    unpacked: Path, tmp_path: Path, name: str
) -> None:
    recipe = STORES[name]
    videos = {VIEW: video_of(unpacked, VIEW)}
    extract_frames(videos, tmp_path, recipe)
    frames = open_frames(tmp_path, VIEW, recipe.store)
    assert frames.frames == (0, 40, 80, 120)
    for frame in frames.frames:
        image = frames.image(frame)
        assert read_bar_code(corner_as_filmed(image) if recipe.store.undistorted else image) == BarCode(VIEW, frame)
    whole = contents(tmp_path)
    assert [outcome.state for outcome in extract_frames(videos, tmp_path, recipe)] == ["kept"]
    assert contents(tmp_path) == whole


def test_packed_and_loose_frames_are_the_same_bytes(unpacked: Path, tmp_path: Path) -> None:
    videos = {VIEW: video_of(unpacked, VIEW)}
    extract_frames(videos, tmp_path / "loose", Recipe("every:2"))
    extract_frames(videos, tmp_path / "packed", Recipe("every:2", packed=True))
    loose, packed = (open_frames(tmp_path / kind, VIEW) for kind in ("loose", "packed"))
    assert loose.frames == packed.frames == tuple(range(0, 132, 2))
    assert all(loose.jpeg(frame) == packed.jpeg(frame) for frame in loose.frames)


def test_packing_replaces_loose_frames_and_the_reverse(unpacked: Path, tmp_path: Path) -> None:
    videos = {VIEW: video_of(unpacked, VIEW)}
    names = []
    for packed in (False, True, False):
        (outcome,) = extract_frames(videos, tmp_path, Recipe("every:64", packed=packed))
        assert outcome.state == "written"
        names.append(sorted(path.name for path in (tmp_path / "images").iterdir()))
    assert names == [[VIEW.folder], [f"{VIEW.folder}.parquet"], [VIEW.folder]]


def test_a_damaged_shard_is_made_again(unpacked: Path, tmp_path: Path) -> None:
    videos, recipe = {VIEW: video_of(unpacked, VIEW)}, Recipe("every:20", packed=True)
    extract_frames(videos, tmp_path, recipe)
    whole = contents(tmp_path)
    shard = tmp_path / "images" / f"{VIEW.folder}.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(H36MError, match=r"\.parquet: cannot be read as a Parquet file of frames"):
        open_frames(tmp_path, VIEW)
    assert extract_frames(videos, tmp_path, recipe)[0].state == "written"
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["packed", "h36m-fetch's layout"])
def test_an_unreadable_video_leaves_nothing_in_any_store(tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    (outcome,) = extract_frames({VIEW: broken}, tmp_path / "data", STORES[name])
    assert outcome.state == "failed"
    assert not stored_frames(tmp_path / "data", VIEW, STORES[name].store)
    manifest = read_manifest(tmp_path / "data", VIEW, STORES[name].store)
    assert manifest is not None
    assert (manifest.decoded_frames, manifest.images) == (0, 0)


@pytest.mark.parametrize("every", [5, 64])
def test_the_count_of_a_videos_frames_does_not_depend_on_the_selection(
    unpacked: Path, tmp_path: Path, every: int
) -> None:
    (outcome,) = extract_frames({VIEW: video_of(unpacked, VIEW)}, tmp_path, Recipe(f"every:{every}"))
    assert outcome.manifest is not None
    assert outcome.manifest.decoded_frames == 132


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_bytes(
    unpacked: Path, prepared: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "h36m_toolbox", "extract", str(unpacked), "--out", str(tmp_path), "--jobs", "2"]
    for attempt in range(6):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.5 + 0.2 * attempt)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for manifest in (tmp_path / "manifests" / "images").glob("*.json"):
            images = tmp_path / "images" / manifest.stem
            assert contents(images) == contents(prepared / "images" / manifest.stem), "a manifest vouched for less"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert contents(tmp_path / "images") == contents(prepared / "images")
