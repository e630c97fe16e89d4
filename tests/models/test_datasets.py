from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader, get_worker_info

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.packs import PackedImage, pack_written_whole
from h36m_toolbox.frames.stores import FrameStore, open_frames
from h36m_toolbox.frames.undistortion import undistort_map, undistorted
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models.datasets import PoseDataset
from h36m_toolbox.pose_tables import pose_array, row_keys
from h36m_toolbox.sequences import CAMERA_IDS, Sequence, sequences
from h36m_toolbox.skeletons import H36M_16, H36M_17

WHOLE = FrameStore()
CROPS = FrameStore(crop="toolbox-64x48")
UNDISTORTED = FrameStore(undistorted=True)
BOX = (100.0, 50.0, 740.0, 530.0)  # 640 x 480, ten times the crop


@pytest.fixture(scope="module")
def packed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with the same labels and detections; every 16th frame of S9 whole, cropped and undistorted, in shards."""
    data = tmp_path_factory.mktemp("packed")
    for part in ("labels/parquet", "detections"):
        shutil.copytree(prepared / part, data / part)
    for sequence in sequences(("S9",), ("Walking",)):
        pack(prepared, data, sequence)
    return data


def pack(prepared: Path, data: Path, sequence: Sequence) -> None:
    import simplejpeg

    loose = open_frames(prepared, sequence)
    maps = undistort_map(h36m_camera(sequence.subject, sequence.camera))
    for store, box in ((WHOLE, None), (CROPS, BOX), (UNDISTORTED, None)):
        with pack_written_whole(store.shard(data, sequence), sequence, {}, box is not None) as pack:
            for frame in loose.frames[::16]:
                jpeg = loose.jpeg(frame)
                if store is CROPS:
                    jpeg = simplejpeg.encode_jpeg(np.full((48, 64, 3), frame, np.uint8))
                elif store is UNDISTORTED:
                    jpeg = simplejpeg.encode_jpeg(undistorted(loose.image(frame), maps))
                pack.add(PackedImage(frame, jpeg, store.file_name(sequence, frame), box))


def test_an_item_is_the_labels_row_with_its_detection(prepared: Path) -> None:
    dataset = PoseDataset(prepared, "val", "cpn")
    labels = read_labels(prepared, "val")
    assert len(dataset) == len(labels) == 640
    for index in (0, 333, -1):
        item = dataset[index]
        assert set(item) == {"joints_2d", "joints_3d", "camera", "key"}
        row = index % len(labels)
        assert item["key"] == row_keys(labels)[row]
        np.testing.assert_array_equal(item["joints_3d"], pose_array(labels, "joints_3d_camera")[row])
        pixels = match_detections(labels, read_detections(prepared, "cpn"), "cpn", H36M_17.joints)
        np.testing.assert_array_equal(item["joints_2d"], pixels[row])
        sequence, frame = dataset.sequence_and_frame(index)
        assert frame == labels["frame"][row].as_py()
        camera = h36m_camera(sequence.subject, labels["camera"][row].as_py())
        for name, tensor in item["camera"].items():
            assert tensor.dtype == torch.float32
            np.testing.assert_allclose(tensor, getattr(camera, name), rtol=1e-6)
    with pytest.raises(IndexError):
        dataset[640]


def test_two_dimensional_ground_truth_is_the_projection_of_the_target(prepared: Path) -> None:
    dataset = PoseDataset(prepared, "val", "gt")
    sequence, _ = dataset.sequence_and_frame(5)
    camera = h36m_camera(sequence.subject, sequence.camera)
    pixels = camera.project(dataset[5]["joints_3d"].numpy().astype(np.float64))
    np.testing.assert_allclose(dataset[5]["joints_2d"], pixels, rtol=0, atol=0.02)


@pytest.mark.parametrize("target", ["joints_3d_camera", "joints_3d_world", "joints_3d_universal"])
def test_any_pose_column_is_a_target(prepared: Path, target: str) -> None:
    poses = pose_array(read_labels(prepared, "train", [target]), target)
    np.testing.assert_array_equal(PoseDataset(prepared, "train", target=target)[7]["joints_3d"], poses[7])


def test_hourglass_detections_give_16_joints_of_both(prepared: Path) -> None:
    dataset = PoseDataset(prepared, "train", "sh")
    assert dataset.skeleton is H36M_16
    item = dataset[0]
    assert item["joints_2d"].shape == (16, 2)
    labels = read_labels(prepared, "train", ["joints_3d_camera"])
    poses = H36M_17.select(pose_array(labels, "joints_3d_camera"), H36M_16.joints)
    np.testing.assert_array_equal(item["joints_3d"], poses[0])


def test_a_multiview_item_is_an_instant_in_the_world(prepared: Path) -> None:
    dataset = PoseDataset(prepared, "val", "gt", multiview=True)
    assert len(dataset) == 160
    assert dataset.without_views == 0
    for index in (0, 159):
        item = dataset[index]
        assert item["joints_2d"].shape == (4, 17, 2)
        assert {name: tuple(tensor.shape[:1]) for name, tensor in item["camera"].items()} == dict.fromkeys(
            ("rotation", "center", "focal", "principal", "radial", "tangential"), (4,)
        )
        sequence, _ = dataset.sequence_and_frame(index)
        for view, camera_id in enumerate(CAMERA_IDS):
            camera = h36m_camera(sequence.subject, camera_id)
            there = camera.project(camera.world_to_camera(item["joints_3d"].numpy().astype(np.float64)))
            np.testing.assert_allclose(item["joints_2d"][view], there, rtol=0, atol=0.02)
            np.testing.assert_allclose(item["camera"]["center"][view], camera.center, rtol=1e-6)


def test_an_instant_that_one_camera_lacks_is_left_out_and_counted(prepared: Path) -> None:
    def keep(sequence: Sequence) -> bool:
        return (sequence.subaction, sequence.camera) != (2, CAMERA_IDS[1])

    dataset = PoseDataset(prepared, "train", multiview=True, keep=keep)
    single = PoseDataset(prepared, "train", keep=keep)
    assert 0 < len(dataset) < 60
    assert dataset.without_views == len(single) - 4 * len(dataset) > 0
    assert all(dataset.sequence_and_frame(i)[0].subaction == 1 for i in range(len(dataset)))


def test_the_selection_of_h36m_fetch_and_of_sequences(prepared: Path) -> None:
    labels = read_labels(prepared, "train", ["in_h36m_fetch"])
    chosen = PoseDataset(prepared, "train", selection="h36m-fetch")
    assert len(chosen) == pc.sum(labels["in_h36m_fetch"]).as_py() < len(labels)
    one = PoseDataset(prepared, "train", keep=lambda sequence: sequence.camera == CAMERA_IDS[2])
    assert {one.sequence_and_frame(i)[0].camera for i in range(len(one))} == {CAMERA_IDS[2]}
    cameras = read_labels(prepared, "train", [])["camera"].cast("string")
    assert len(one) == pc.sum(pc.equal(cameras, CAMERA_IDS[2])).as_py() > 0


def test_loose_and_packed_frames_give_the_same_images(prepared: Path, packed: Path) -> None:
    loose, shards = (PoseDataset(data, "val", "gt", store=WHOLE) for data in (prepared, packed))
    assert (len(loose), loose.without_image) == (640, 0)
    assert len(shards) + shards.without_image == 640
    places = {int(key): i for i, key in enumerate(loose._keys)}
    for index in (0, len(shards) - 1):
        item = shards[index]
        other = loose[places[item["key"]]]
        assert item["image"].dtype == torch.uint8
        assert item["image"].shape == (3, 1002, 1000)
        assert item["image"].is_contiguous()
        assert torch.equal(item["image"], other["image"])
        assert torch.equal(item["joints_2d"], other["joints_2d"])
        sequence, frame = shards.sequence_and_frame(index)
        rgb = open_frames(prepared, sequence).image(frame)
        np.testing.assert_array_equal(item["image"].permute(1, 2, 0), rgb)


def test_pixels_and_camera_are_those_of_the_crop(packed: Path) -> None:
    whole, crops = (PoseDataset(packed, "val", "gt", store=store) for store in (WHOLE, CROPS))
    item, other = crops[3], whole[3]
    assert item["key"] == other["key"]
    assert item["image"].shape == (3, 48, 64)
    wanted = (other["joints_2d"] - torch.tensor(BOX[:2])) / 10
    torch.testing.assert_close(item["joints_2d"], wanted, rtol=0, atol=1e-4)
    rays = item["joints_3d"] @ torch.eye(3)
    linear = rays[:, :2] / rays[:, 2:] * item["camera"]["focal"] + item["camera"]["principal"]
    assert (linear - item["joints_2d"]).abs().max() < 2  # but for the lens, a tenth of whose distortion is left


def test_pixels_of_undistorted_frames_are_those_of_an_ideal_lens(packed: Path) -> None:
    dataset = PoseDataset(packed, "val", "gt", store=UNDISTORTED)
    item = dataset[2]
    assert not item["camera"]["radial"].any()
    points, camera = item["joints_3d"], item["camera"]
    linear = points[:, :2] / points[:, 2:] * camera["focal"] + camera["principal"]
    torch.testing.assert_close(item["joints_2d"], linear, rtol=0, atol=0.02)
    many = PoseDataset(packed, "val", "gt", store=UNDISTORTED, multiview=True)[0]
    assert [image.shape[0] for image in many["image"]] == [3] * 4
    assert many["joints_2d"].shape == (4, 17, 2)
    assert torch.equal(many["joints_2d"][0], dataset[0]["joints_2d"])


def test_a_batch_is_its_items_in_the_order_asked_for(packed: Path) -> None:
    dataset = PoseDataset(packed, "val", "sh", store=CROPS)
    indices = [5, 0, len(dataset) - 1, 5, 9]
    batch = dataset.__getitems__(indices)
    for item, index in zip(batch, indices, strict=True):
        alone = dataset[index]
        assert item["key"] == alone["key"]
        for name in ("joints_2d", "joints_3d", "image"):
            assert torch.equal(item[name], alone[name])


def half(item: dict[str, Any]) -> dict[str, Any]:
    return {"key": item["key"], "small": item["image"][:, ::2, ::2], "joints_2d": item["joints_2d"] / 2}


def check_shared(_: int) -> None:
    """In a worker: its arrays are those of the other processes, not a copy."""
    worker = get_worker_info()
    assert worker is not None
    assert all(tensor.is_shared() for tensor in (worker.dataset._keys, worker.dataset._joints_2d))


@pytest.mark.slow
def test_spawned_workers_read_shards_and_apply_the_transform(packed: Path, one_thread: None) -> None:
    dataset = PoseDataset(packed, "val", "gt", store=CROPS, transform=half)
    spawn = {"num_workers": 2, "multiprocessing_context": "spawn", "worker_init_fn": check_shared}
    loader = DataLoader(dataset, batch_size=16, **spawn)
    batches = list(loader)
    assert torch.cat([batch["key"] for batch in batches]).tolist() == dataset._keys.tolist()
    first = batches[0]
    assert first["small"].shape == (16, 3, 24, 32)
    assert torch.equal(first["small"][3], dataset[3]["small"])
    assert torch.equal(first["joints_2d"][3], dataset[3]["joints_2d"])


def test_a_multiview_batch_stacks_views_that_differ_in_size(packed: Path, one_thread: None) -> None:
    dataset = PoseDataset(packed, "val", "gt", multiview=True, store=WHOLE)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert [tuple(images.shape) for images in batch["image"]] == [
        (2, 3, 1002, 1000),
        (2, 3, 1000, 1000),
        (2, 3, 1000, 1000),
        (2, 3, 1002, 1000),
    ]
    assert batch["camera"]["rotation"].shape == (2, 4, 3, 3)


def test_open_frames_do_not_travel_to_another_process(packed: Path) -> None:
    dataset = PoseDataset(packed, "val", "gt", store=CROPS)
    unread = len(pickle.dumps(dataset))
    for index in range(0, len(dataset), 5):
        dataset[index]
    assert len(pickle.dumps(dataset)) == unread
    other = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(other[4]["image"], dataset[4]["image"])


def test_what_does_not_exist_is_refused(prepared: Path, packed: Path) -> None:
    with pytest.raises(H36MError, match="no target joints_2d here; choose joints_3d_camera, "):
        PoseDataset(prepared, "val", target="joints_2d")
    with pytest.raises(H36MError, match="no target joints_3d_camera here; choose joints_3d_world"):
        PoseDataset(prepared, "val", target="joints_3d_camera", multiview=True)
    with pytest.raises(H36MError, match="no such detections"):
        PoseDataset(prepared, "val", "other")
    with pytest.raises(H36MError, match="no selection some; there are h36m-fetch, all"):
        PoseDataset(prepared, "val", selection="some")
    with pytest.raises(H36MError, match="none of the sequences that were asked for"):
        PoseDataset(prepared, "val", keep=lambda sequence: False)
    with pytest.raises(H36MError, match=r"no item of the train split is left.*run `h36m extract RAW --out"):
        PoseDataset(packed, "train", store=WHOLE)
