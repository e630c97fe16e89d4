from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw import masks
from h36m_toolbox.raw.archive import Kind, RawArchive, original_place, recognise
from h36m_toolbox.raw.masks import read_mask_boxes
from h36m_toolbox.sequences import Recording

SIZE = (100, 80)  # width, height of the made-up masks


def write_masks(path: Path, stored: list[np.ndarray], **storage: Any) -> Path:
    """A MATLAB 7.3 file as far as it matters: object references to masks (width, height)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = np.empty((len(stored), 1), h5py.ref_dtype)
        for i, mask in enumerate(stored):
            references[i, 0] = file.create_dataset(f"#refs#/m{i}", data=mask, **storage).ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64")
    return path


def filled(box: tuple[int, int, int, int], dtype: str = "uint8", value: float = 1) -> np.ndarray:
    """A stored mask whose inside is top, left, bottom, right."""
    top, left, bottom, right = box
    mask = np.zeros(SIZE, dtype)
    mask[left:right, top:bottom] = value
    return mask


def test_boxes_of_every_mask_are_the_official_ones(mask_archive: RawArchive, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "bboxes-Human36M-GT.npy", allow_pickle=True).item()
    compared = 0
    for subject, actions in golden.items():
        for action, views in actions.items():
            for camera, official in views.items():
                recording = Recording(subject, *(action.split("-")[0], int(action.split("-")[1])))
                boxes = read_mask_boxes(mask_archive.path(recording.view(camera), Kind.MASK))
                assert boxes.dtype == official.dtype == np.int32
                np.testing.assert_array_equal(boxes, official)
                compared += len(boxes)
    assert compared == 994


@pytest.fixture(scope="module")
def mask_archive(archives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RawArchive:
    """The masks of the reduced archive, unpacked."""
    return RawArchive.open(archives_folder).unpacked((Kind.MASK,), tmp_path_factory.mktemp("masks"))


STORAGE = {
    "contiguous": {},
    "deflated, whole rows": {"chunks": (25, 80), "compression": "gzip"},
    "deflated, padded rows": {"chunks": (33, 80), "compression": "gzip"},
    "deflated, tiles": {"chunks": (40, 30), "compression": "gzip"},
    "deflated, many tiles": {"chunks": (8, 8), "compression": "gzip"},
    "deflated, one chunk": {"chunks": SIZE, "compression": "gzip", "compression_opts": 9},
    "shuffled": {"chunks": (25, 80), "compression": "gzip", "shuffle": True},
    "chunked only": {"chunks": (25, 80)},
}


@pytest.mark.parametrize("storage", STORAGE.values(), ids=STORAGE)
@pytest.mark.parametrize(("dtype", "value"), [("uint8", 1), ("uint8", 255), ("float64", 1), ("int16", -1), ("f4", 0.5)])
def test_masks_of_any_class_and_storage_are_read(tmp_path: Path, storage: dict, dtype: str, value: float) -> None:
    boxes = [(10, 20, 50, 60), (0, 0, 80, 100), (78, 98, 80, 100), (0, 24, 2, 26), (5, 25, 9, 50)]
    path = write_masks(tmp_path / "a.mat", [filled(box, dtype, value) for box in boxes], **storage)
    np.testing.assert_array_equal(read_mask_boxes(path), boxes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), chunk=st.tuples(st.integers(20, 100), st.integers(20, 80)))
def test_any_rectangle_is_found_in_any_chunks(tmp_path: Path, data: st.DataObject, chunk: tuple[int, int]) -> None:
    top, left = data.draw(st.integers(0, 78)), data.draw(st.integers(0, 98))
    box = (top, left, data.draw(st.integers(top + 2, 80)), data.draw(st.integers(left + 2, 100)))
    dtype, value = data.draw(st.sampled_from([("uint8", 1), ("uint8", 255), ("float64", 1.0)]))
    path = write_masks(tmp_path / "a.mat", [filled(box, dtype, value)], chunks=chunk, compression="gzip")
    np.testing.assert_array_equal(read_mask_boxes(path), [box])


def test_golden_masks_are_never_inflated_whole(mask_archive: RawArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(stored: np.ndarray) -> None:
        raise AssertionError("all pixels were read")

    monkeypatch.setattr(masks, "_box_of_pixels", refuse)
    for view in Recording("S9", "Walking", 2).views:
        assert len(read_mask_boxes(mask_archive.path(view, Kind.MASK))) in (51, 53)


@pytest.mark.parametrize("storage", STORAGE.values(), ids=STORAGE)
@pytest.mark.parametrize("place", [(21, 11), (59, 49), (40, 30), (0, 0), (99, 79), (10, 30), (80, 30)])
def test_a_mask_that_is_no_rectangle_is_refused(tmp_path: Path, storage: dict, place: tuple[int, int]) -> None:
    odd = filled((10, 20, 50, 60))
    odd[place] = 1 - odd[place]
    path = write_masks(tmp_path / "a.mat", [filled((10, 20, 50, 60)), odd], **storage)
    with pytest.raises(H36MError, match=r"a\.mat: mask 1 \(from 0\) is not one filled rectangle"):
        read_mask_boxes(path)


@pytest.mark.parametrize("box", [(10, 20, 11, 60), (10, 20, 50, 21)])
def test_a_box_thinner_than_two_pixels_is_refused(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    path = write_masks(tmp_path / "a.mat", [filled(box)], chunks=(25, 80), compression="gzip")
    with pytest.raises(H36MError, match=r"mask 0 \(from 0\) is thinner than 2 px"):
        read_mask_boxes(path)


@pytest.mark.parametrize("storage", STORAGE.values(), ids=STORAGE)
def test_an_empty_mask_is_refused(tmp_path: Path, storage: dict) -> None:
    with pytest.raises(H36MError, match="not one filled rectangle"):
        read_mask_boxes(write_masks(tmp_path / "a.mat", [np.zeros(SIZE, np.uint8)], **storage))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "5.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["Poses"] = np.zeros(3)
    with h5py.File(tmp_path / "numbers.mat", "w") as file:
        file["Masks"] = np.zeros((3, 1))
    three = write_masks(tmp_path / "cube.mat", [np.ones((4, 4, 4), np.uint8)])
    for path in (tmp_path / "5.mat", tmp_path / "other.mat", tmp_path / "numbers.mat", three, tmp_path / "none.mat"):
        with pytest.raises(H36MError, match=rf"{path.name}: damaged or no mask file .* unpack Segments_mat_gt_bb_S"):
            read_mask_boxes(path)


@pytest.mark.parametrize("kept", [0, 100, 600, 3000, 0.5, 0.98])
def test_a_truncated_file_is_refused(mask_archive: RawArchive, tmp_path: Path, kept: float) -> None:
    whole = mask_archive.path(Recording("S1", "Walking", 1).view("54138969"), Kind.MASK).read_bytes()
    path = tmp_path / "cut.mat"
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(H36MError, match=r"cut\.mat: damaged"):
        read_mask_boxes(path)


def test_a_damaged_file_gives_the_right_boxes_or_none(mask_archive: RawArchive, tmp_path: Path) -> None:
    source = mask_archive.path(Recording("S1", "Walking", 1).view("54138969"), Kind.MASK)
    official, whole = read_mask_boxes(source), source.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "bent.mat"
    refused = 0
    for _ in range(30):
        bent = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            bent[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bent)
        try:
            np.testing.assert_array_equal(read_mask_boxes(path), official)
        except H36MError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    "path",
    [
        "x/S1/MySegmentsMat/ground_truth_bb/TakingPhoto 1.54138969.mat",
        "extracted/S1/Segments_mat_gt_bb/TakingPhoto 1.54138969.mat",
        "S1/ground_truth_bb/TakingPhoto 1.54138969.mat",
    ],
)
def test_masks_are_recognised_in_every_layout(path: str) -> None:
    found = recognise(path)
    assert found is not None
    assert (found.kind, found.recording, found.camera) == (Kind.MASK, Recording("S1", "TakingPhoto", 1), "54138969")
    assert original_place(found) == Path("S1/MySegmentsMat/ground_truth_bb/TakingPhoto 1.54138969.mat")


def test_other_matlab_files_are_no_masks_and_no_news(mask_archive: RawArchive, tmp_path: Path) -> None:
    source = mask_archive.path(Recording("S1", "Walking", 1).view("54138969"), Kind.MASK)
    for name in ("S1/MySegmentsMat/ground_truth_bb/Walking 1.54138969.mat", "S1/Background/54138969.mat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(source)
    archive = RawArchive.open(tmp_path)
    assert [file.kind for file in archive.files] == [Kind.MASK]
    assert archive.unrecognised == ()
    assert recognise("S1/MyPoseFeatures/D3_Positions/Walking 1.cdf.mat") is None
    with pytest.raises(H36MError, match=r"get Segments_mat_gt_bb_S9\.tgz"):
        archive.path(Recording("S9", "Walking", 1).view("54138969"), Kind.MASK)
