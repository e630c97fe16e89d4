"""Rows and crops of Context-Aware PoseFormer, made from DATA, equal what the official pickles and loader hold."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from poseformer_goldens import golden
from synthetic_data import done

from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS
from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.poseformer import screen_normalised_float32
from h36m_toolbox.formats.poseformer_inputs import import_pickles
from h36m_toolbox.frames.crops import (
    BoxGeometry,
    cropped_image,
    poseformer_boxes,
    poseformer_coordinates,
    poseformer_maps,
)
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore, open_frames, stored_frames
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models.poseformer_data import (
    CROP_STORE,
    CropReader,
    PoseFormerRows,
    batches,
    poseformer_rows,
    rows_of_data,
    rows_with_frames,
)
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.skeletons import H36M_17


@pytest.fixture(scope="module")
def rows(prepared: Path) -> PoseFormerRows:
    labels = read_labels(prepared, "val", ["joints_3d_camera"])
    pixels = match_detections(labels, read_detections(prepared, "cpn"), "cpn", H36M_17.joints)
    return poseformer_rows(labels, pixels)


def test_rows_equal_the_official_pickle(rows: PoseFormerRows, golden_folder: Path) -> None:
    official = np.load(golden_folder / "ca_poseformer_validation.npz")
    chosen = rows.keys & 0xFFFFFFFF < official["image_id"].max()
    rows = rows.taken(chosen)
    assert len(rows) == len(official["image_id"])
    np.testing.assert_array_equal((rows.keys & 0xFFFFFFFF) + 1, official["image_id"])
    np.testing.assert_allclose(rows.joints_2d, official["joints_2d_cpn"], atol=1e-7)
    np.testing.assert_allclose(rows.joints_crop, official["joints_2d_cpn_crop"], atol=1e-3)
    poses = official["joints_3d"]
    np.testing.assert_allclose(rows.targets, poses - poses[:, :1], atol=1e-6)
    geometry = BoxGeometry(official["box"], official["center"], official["scale"])
    np.testing.assert_allclose(rows.boxes, poseformer_boxes(geometry), atol=2e-3)


@pytest.mark.parametrize("number", range(3))
def test_crops_and_coordinates_equal_the_official_functions(number: int) -> None:
    case = golden("crop_and_affine")
    center, scale = (case.arrays[f"input.{name}"][number][None] for name in ("center", "scale"))  # float32, as given
    geometry = BoxGeometry(case.output(f"box{number}")[None], center, scale)
    image, pixels = (case.arrays[f"input.{name}"] for name in (f"image{number}", "keypoints"))
    pixels = pixels[number]
    ((gain,), (offset,)) = poseformer_maps(geometry)
    there = np.column_stack([np.diag(gain), offset])
    np.testing.assert_allclose(there, case.output(f"trans{number}"), rtol=0, atol=1e-5)
    ((left, top, right, bottom),) = poseformer_boxes(geometry)
    np.testing.assert_allclose(
        poseformer_coordinates(pixels[None], geometry)[0], case.output(f"kp_crop{number}"), atol=1e-4
    )
    height, width = image.shape[:2]
    screen = screen_normalised_float32(pixels, width, height)
    np.testing.assert_allclose(screen, case.output(f"kp_screen{number}"), atol=1e-7)
    crop = cropped_image(image, (left, top, right, bottom), (192, 256))
    if number == 0:
        np.testing.assert_array_equal(crop, case.output("crop0"))
    else:
        expected = case.output(f"crop{number}.sample")
        index = case.arrays[f"index.{crop.size}.{expected.size}"]
        np.testing.assert_array_equal(crop.ravel()[index], expected)


def test_batches_hold_the_crops_of_their_rows_in_their_order(rows: PoseFormerRows, prepared: Path) -> None:
    nothing = np.empty(0, np.int64)  # the share of one process too many
    parts = [np.array([500, 3, 77]), np.array([0]), nothing, np.array([160, 161])]
    found = list(batches(rows, CropReader(prepared), parts))
    assert [len(batch) for batch in found] == [3, 1, 0, 2]
    for part, batch in zip(parts, found, strict=True):
        np.testing.assert_array_equal(batch.targets, rows.targets[part])
        for row, crop in zip(part, batch.images, strict=True):
            sequence = sequence_of_code(int(rows.keys[row]) >> 32)
            frame = int(rows.keys[row]) & 0xFFFFFFFF
            file = WHOLE_FRAMES.folder(prepared, sequence) / WHOLE_FRAMES.file_name(sequence, frame)
            left, top, right, bottom = rows.boxes[row]
            expected = cropped_image(cv2.imread(str(file)), (left, top, right, bottom), (192, 256))[..., ::-1]
            assert np.abs(crop.numpy().astype(int) - expected).max() <= 2  # decoders may differ in the last bits


def test_crops_that_lie_ready_are_taken_as_they_are(
    tmp_path: Path, rows: PoseFormerRows, prepared: Path, archives_folder: Path
) -> None:
    done("labels", archives_folder, "--out", tmp_path, "--jobs", 1)
    crop = ("--crop", "poseformer", "--size", "192x256", "--every", 50, "--subjects", "S9", "--cameras", "54138969")
    done("extract", archives_folder, "--out", tmp_path, *crop, "--pack", "--jobs", 1)
    chosen = np.flatnonzero((rows.keys & 0xFFFFFFFF) % 50 == 0)[:3]
    (batch,) = batches(rows, CropReader(tmp_path, CROP_STORE), [chosen])
    for row, image in zip(chosen, batch.images.numpy(), strict=True):
        frames = open_frames(tmp_path, sequence_of_code(int(rows.keys[row]) >> 32), CROP_STORE)
        np.testing.assert_array_equal(image, frames.image(int(rows.keys[row]) & 0xFFFFFFFF))
    (whole,) = batches(rows, CropReader(prepared), [chosen])
    assert np.abs(whole.images.numpy().astype(int) - batch.images.numpy()).mean() < 4  # compressed twice


def test_lossless_crops_are_the_whole_frames_byte_for_byte(
    tmp_path: Path, rows: PoseFormerRows, prepared: Path, archives_folder: Path
) -> None:
    view = ("--subjects", "S9", "--cameras", "54138969", "--jobs", 1)
    chosen = np.flatnonzero((rows.keys >> 32 == rows.keys[0] >> 32) & ((rows.keys & 0xFFFFFFFF) % 20 <= 1))
    (expected,) = batches(rows, CropReader(prepared), [chosen])
    for part in ("images", "labels"):
        (tmp_path / "both" / part).parent.mkdir(exist_ok=True)
        (tmp_path / "both" / part).symlink_to(prepared / part)
    done("crops", tmp_path / "both", "--every", 20, "--subjects", "S9", "--jobs", 1)  # the others are cut as asked for
    done("extract", archives_folder, "--out", tmp_path / "alone", "--crop", "poseformer", "--lossless", *view)
    for data in (tmp_path / "both", tmp_path / "alone"):
        (batch,) = batches(rows, CropReader(data), [chosen[::-1]], threads=3)
        np.testing.assert_array_equal(batch.images.numpy()[::-1], expected.images.numpy())
    alone = rows_with_frames(rows, tmp_path / "alone")
    assert 0 < len(alone) < len(rows) == len(rows_with_frames(rows, tmp_path / "both"))
    other = replace(rows, boxes=rows.boxes + 1)
    with pytest.raises(H36MError, match="not the box"):
        next(batches(other, CropReader(tmp_path / "alone"), [chosen]))


def test_lossless_crops_have_the_boxes_of_the_official_pickles(tmp_path: Path, prepared: Path) -> None:
    pickles = tmp_path / "pickles"
    pickles.mkdir()
    (pickles / "h36m_validation.pkl").symlink_to(prepared / "labels" / "poseformer" / "h36m_validation.pkl")
    import_pickles(pickles, tmp_path / "data", prepared / "images")
    labels = read_labels(tmp_path / "data", "val", ["joints_3d_camera"])
    official = rows_of_data(tmp_path / "data", labels, np.zeros((len(labels), 17, 2), np.float32), "cpn")
    some = np.flatnonzero((official.keys & 0xFFFFFFFF) % 40 == 0)
    (whole,) = batches(official, CropReader(tmp_path / "data"), [some])
    done("crops", tmp_path / "data", "--every", 40, "--jobs", 1)
    assert stored_frames(tmp_path / "data", sequence_of_code(int(official.keys[0]) >> 32), POSEFORMER_CROPS)
    (lossless,) = batches(official, CropReader(tmp_path / "data"), [some])
    np.testing.assert_array_equal(lossless.images.numpy(), whole.images.numpy())


def test_a_missing_frame_stops_the_batches_with_its_name(rows: PoseFormerRows, tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="no frames of S9"):
        next(batches(rows, CropReader(tmp_path), [np.array([0])]))


def test_other_crops_and_other_joints_are_refused(prepared: Path) -> None:
    with pytest.raises(H36MError, match="no crops of images-crop-toolbox-256x256; there are those of images and"):
        CropReader(prepared, FrameStore(crop="toolbox-256x256"))
    labels = read_labels(prepared, "val", ["joints_3d_camera"])
    with pytest.raises(H36MError, match=r"expected .*17, 2"):
        poseformer_rows(labels, np.zeros((len(labels), 16, 2)))
