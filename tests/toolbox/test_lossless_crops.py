"""Lossless crops: `h36m crops` and `h36m extract --crop RULE --lossless`, on the reduced archive."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic_data import done, h36m, refused

from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS, labelled_boxes
from h36m_toolbox.crops.reading import open_crops
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import cropped_image
from h36m_toolbox.frames.extraction import Recipe
from h36m_toolbox.frames.lossless import packed_pixels, unpacked_pixels
from h36m_toolbox.frames.lossless_shards import LosslessCrop, LosslessCrops, lossless_written_whole
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore, open_frames, stored_frames
from h36m_toolbox.sequences import Sequence

VIEW = Sequence("S1", "Walking", 1, "54138969")
ONE_VIEW = ("--subjects", "S1", "--cameras", VIEW.camera, "--jobs", 1)


@pytest.fixture
def data(tmp_path: Path, prepared: Path) -> Path:
    """DATA with labels, and the images of one view of S1 as they were extracted."""
    folder = tmp_path / "data"
    shutil.copytree(prepared / "labels" / "parquet", folder / "labels" / "parquet")
    for part in (WHOLE_FRAMES.folder(prepared, VIEW), prepared / "manifests" / "images" / f"{VIEW.folder}.json"):
        place = folder / part.relative_to(prepared)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(part, place) if part.is_dir() else shutil.copy(part, place)
    return folder


def crops(data: Path, *options: object) -> str:
    return done("crops", data, "--subjects", "S1", "--jobs", 1, *options)


def official_crops(data: Path, every: int = 1) -> dict[int, np.ndarray]:
    """The crops of VIEW's labelled frames from its image files, RGB, by the whole frame's decoding."""
    (labelled,) = (each for each in labelled_boxes(data, "train") if each.sequence == VIEW)
    found = {}
    for frame, (left, top, right, bottom) in zip(labelled.frames.tolist(), labelled.boxes.tolist(), strict=True):
        if frame % every == 0 and frame in stored_frames(data, VIEW):
            whole = simplejpeg.decode_jpeg(open_frames(data, VIEW).jpeg(frame), "RGB")
            found[frame] = cropped_image(whole, (left, top, right, bottom), (192, 256))
    return found


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_packed_pixels_come_back_as_they_were(image: np.ndarray) -> None:
    height, width = image.shape[:2]
    np.testing.assert_array_equal(unpacked_pixels(packed_pixels(image), width, height), image)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=150, unique=True).map(sorted), st.randoms())
def test_any_frame_of_a_shard_is_read_by_itself_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, frames: list[int], random: object
) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard.parquet"
    images = {frame: np.random.default_rng(frame).integers(0, 1 + frame % 256, (5, 4, 3), np.uint8) for frame in frames}
    with lossless_written_whole(path, VIEW, (4, 5), {}) as writer:
        for frame in frames:
            writer.add(LosslessCrop(frame, images[frame], (frame, 0.5, frame + 2, 3), frame))
    opened = LosslessCrops.open(path)
    assert opened.frames == tuple(frames)
    random.shuffle(frames)  # type: ignore[attr-defined]
    for frame in frames:
        np.testing.assert_array_equal(opened.image(frame, np.array([frame, 0.5, frame + 2, 3])), images[frame])
    assert 301 not in opened


def test_crops_are_those_of_the_image_files_byte_for_byte_and_are_kept(data: Path) -> None:
    assert "1 sequences written" in crops(data, "--every", 4)
    shard = POSEFORMER_CROPS.shard(data, VIEW)
    expected = official_crops(data, every=4)
    opened = open_frames(data, VIEW, POSEFORMER_CROPS)
    assert opened.frames == tuple(expected) and len(expected) > 5
    for frame, crop in expected.items():
        np.testing.assert_array_equal(opened.image(frame), crop)
    assert opened.camera(4).size == (192, 256)
    before = shard.stat().st_mtime_ns
    said = crops(data, "--every", 4)
    assert "1 sequences kept" in said and f"{len(expected)} crops" in said
    assert shard.stat().st_mtime_ns == before
    assert {path.name for path in shard.parent.iterdir()} == {shard.name}  # no temporary file is left


def test_crops_from_the_video_are_those_from_its_image_files(data: Path, archives_folder: Path, tmp_path: Path) -> None:
    crops(data, "--every", 9)
    words = ("--out", tmp_path / "other", "--crop", "poseformer", "--lossless", "--every", 9, *ONE_VIEW)
    done("extract", archives_folder, *words)
    assert not (tmp_path / "other" / "images").exists()
    from_video, from_images = (open_frames(place, VIEW, POSEFORMER_CROPS) for place in (tmp_path / "other", data))
    assert from_video.frames == from_images.frames and from_video.boxes == from_images.boxes
    for frame in from_video.frames:
        np.testing.assert_array_equal(from_video.image(frame), from_images.image(frame))
    assert "sequences kept" in done("extract", archives_folder, *words)
    manifest = read_manifest(tmp_path / "other", VIEW, POSEFORMER_CROPS)
    assert manifest is not None
    assert (manifest.quality, manifest.width, manifest.packed) == (88, 192, True)


def test_other_rules_and_undistorted_frames_are_kept_without_loss_too(archives_folder: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path, "--undistort", "--every", 20, *ONE_VIEW)
    done("extract", archives_folder, *options)
    done("extract", archives_folder, *options, "--crop", "toolbox", "--size", "64x64", "--lossless")
    whole = open_frames(tmp_path, VIEW, FrameStore(undistorted=True))
    lossless = open_frames(tmp_path, VIEW, FrameStore(undistorted=True, crop="toolbox-64x64", lossless=True))
    assert lossless.frames == (0, 20)
    for frame in lossless.frames:
        expected = cropped_image(whole.image(frame), lossless.boxes[frame], (64, 64))
        np.testing.assert_array_equal(lossless.image(frame), expected)
    with pytest.raises(H36MError, match="holds pixels, no JPEG files"):
        lossless.jpeg(0)


def test_crops_of_other_images_are_noticed_and_made_again(data: Path, archives_folder: Path) -> None:
    crops(data)
    done("extract", archives_folder, "--out", data, "--quality", 60, *ONE_VIEW)
    with pytest.raises(H36MError, match="its crops are of other images than DATA holds now; run `h36m crops"):
        open_crops(data, VIEW, POSEFORMER_CROPS, (WHOLE_FRAMES,))
    assert "2 sequences written" in crops(data)  # the other trial was extracted too
    opened = open_crops(data, VIEW, POSEFORMER_CROPS, (WHOLE_FRAMES,))
    assert opened is not None
    for frame, crop in official_crops(data, every=10).items():
        np.testing.assert_array_equal(opened.image(frame), crop)


def test_packed_images_are_cut_to_the_same_crops(data: Path, archives_folder: Path) -> None:
    crops(data, "--every", 9)
    loose = POSEFORMER_CROPS.shard(data, VIEW).read_bytes()
    done("extract", archives_folder, "--out", data, "--pack", *ONE_VIEW)
    assert open_crops(data, VIEW, POSEFORMER_CROPS, (WHOLE_FRAMES,)) is not None  # the files are the same
    crops(data, "--every", 9)
    assert POSEFORMER_CROPS.shard(data, VIEW).read_bytes() == loose


def test_a_crop_of_another_box_is_refused(data: Path) -> None:
    crops(data, "--every", 9)
    opened = LosslessCrops.open(POSEFORMER_CROPS.shard(data, VIEW))
    with pytest.raises(H36MError, match=r"crop of frame 9 \(from 0\) shows .*, not the box .* of the labels"):
        opened.image(9, opened.boxes[1] + (0, 0, 0, 1e-9))
    with pytest.raises(H36MError, match=r"no crop of frame 10 \(from 0\)"):
        opened.image(10)


@pytest.mark.parametrize("damage", ["cut short", "rewritten by another program", "pixels overwritten"])
def test_a_damaged_shard_is_named(data: Path, damage: str) -> None:
    crops(data, "--every", 9)
    shard = POSEFORMER_CROPS.shard(data, VIEW)
    if damage == "cut short":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif damage == "pixels overwritten":
        content = bytearray(shard.read_bytes())
        content[5000:-3000] = bytes(len(content) - 8000)
        shard.write_bytes(content)
    else:
        pq.write_table(pq.read_table(shard), shard, compression="zstd")
    with pytest.raises(H36MError, match=f"{shard.name}: cannot be read as a Parquet file of lossless crops"):
        LosslessCrops.open(shard).image(9)


def test_a_damaged_image_fails_its_sequence_and_leaves_no_crops(data: Path) -> None:
    image = WHOLE_FRAMES.folder(data, VIEW) / WHOLE_FRAMES.file_name(VIEW, 9)
    image.write_bytes(image.read_bytes()[:5000])
    result = h36m("crops", data, "--subjects", "S1", "--jobs", 1)
    assert result.exit_code == 1
    assert f"{image.name}: cannot be read as an image" in result.output and "1 sequences failed" in result.output
    assert not POSEFORMER_CROPS.shard(data, VIEW).exists()


def test_what_is_missing_is_named_with_the_command_that_makes_it(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "run `h36m labels RAW --out" in refused("crops", tmp_path / "empty", "--jobs", 1)
    shutil.rmtree(data / "images")
    assert "holds none of the labelled frames; run `h36m extract RAW --out" in refused("crops", data, "--jobs", 1)
    assert "there are S1, S5" in refused("crops", data, "--subjects", "S99")


def test_only_crops_are_kept_without_loss_and_only_in_shards(archives_folder: Path, tmp_path: Path) -> None:
    assert h36m("extract", archives_folder, "--out", tmp_path, "--lossless").exit_code == 2
    with pytest.raises(H36MError, match="only crops are kept without loss"):
        FrameStore(lossless=True)
    with pytest.raises(H36MError, match="lossless crops lie in shards"):
        Recipe(store=POSEFORMER_CROPS)
