"""HRNet as a detector: heat maps to joints, COCO's keypoints to ours, and `h36m detections --detector`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_data import done, h36m

from h36m_toolbox.detections.bundles import CONFIDENCES, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.models import keypoint_detection
from h36m_toolbox.models.hrnet import PoseHRNet
from h36m_toolbox.models.keypoint_detection import Keypoints, coco_as_h36m, detect, heatmap_keypoints
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.files import sha256_of

pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = 80


def test_a_joint_is_the_largest_value_and_a_quarter_towards_the_larger_neighbour() -> None:
    heatmaps = torch.zeros(1, 3, 64, 48)
    heatmaps[0, 0, 20, 10] = 0.9
    heatmaps[0, 0, 20, 11] = 0.5
    heatmaps[0, 0, 19, 10] = 0.2
    heatmaps[0, 1, 0, 47] = 0.3  # at the edge there is no neighbour to look at
    heatmaps[0, 2] = -1
    found = heatmap_keypoints(heatmaps)
    np.testing.assert_allclose(found.points[0, :2], [[10.25, 19.75], [47, 0]])
    np.testing.assert_allclose(found.confidences[0], [0.9, 0.3, 0])


def test_cocos_keypoints_become_ours_and_means_are_as_sure_as_their_least_sure_part() -> None:
    points = np.arange(34, dtype=np.float32).reshape(1, 17, 2)
    confidences = np.linspace(0.1, 0.9, 17, dtype=np.float32)[None]
    found = coco_as_h36m(Keypoints(points, confidences))
    by_name = dict(zip(H36M_17.joints, found.points[0], strict=True))
    sure = dict(zip(H36M_17.joints, found.confidences[0], strict=True))
    np.testing.assert_allclose(by_name["LFoot"], points[0, 15])
    np.testing.assert_allclose(by_name["RWrist"], points[0, 10])
    np.testing.assert_allclose(by_name["Hip"], points[0, [11, 12]].mean(0))
    np.testing.assert_allclose(by_name["Spine"], points[0, [5, 6, 11, 12]].mean(0))
    np.testing.assert_allclose(by_name["Head"], points[0, [1, 2]].mean(0))
    np.testing.assert_allclose(by_name["Neck/Nose"], points[0, 0])
    assert sure["Spine"] == confidences[0, 5]
    assert sure["RKnee"] == confidences[0, 14]


class Seeing(PoseHRNet):
    """A detector of joints in H36M_17's order, all in the middle of the crop."""

    def __init__(self, width: int) -> None:
        assert width == 32
        super().__init__(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, 256, 192)
        heatmaps = torch.zeros(len(images), 17, 64, 48)
        heatmaps[:, :, 32, 24] = 0.7
        return heatmaps


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keypoint_detection, "PoseHRNet", Seeing)
    path = tmp_path / "pose_hrnet_w32_256x192.pth"
    torch.save(Seeing(32).state_dict(), path)
    return path


def test_detections_of_the_network_lie_where_its_crops_are(
    weights: Path, prepared: Path, archives_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for folder in ("images", "raw", "labels"):
        (data / folder).symlink_to(prepared / folder)
    asked = ("detections", archives_folder, "--out", data, "--detector", "hrnet_32", "--weights", weights)
    said = done(*asked, "--name", "mine", "--every", EVERY, "--device", "cpu")
    assert "mine: Hip is the mean of LHip, RHip; Spine is the mean of" in said
    table = read_detections(data, "mine")
    for split in ("train", "val"):
        labels = read_labels(prepared, split, ["joints_2d"])
        assert set(labels.column("subject").to_pylist()) <= set(table.column("subject").to_pylist())
    assert (table.column("frame").to_numpy() % EVERY == 0).all()
    np.testing.assert_allclose(pose_array(table, CONFIDENCES), 0.7)
    labels = read_labels(prepared, "val", ["joints_2d"])
    labels = labels.filter(labels.column("frame").to_numpy() % EVERY == 0)
    found = pose_array(table.slice(len(table) - len(labels)), "joints_2d")
    hips = pose_array(labels, "joints_2d")[:, 0]
    assert np.abs(found[:, 0] - hips).max() < 60  # the crop's middle is 100 mm below the hip
    bench = (
        "bench",
        "--model",
        "semgcn",
        "--data",
        data,
        "--detections",
        "mine",
        "--untrained",
        "--runs",
        tmp_path / "r",
    )
    assert "semgcn" in done(*bench, "--every", EVERY, "--device", "cpu")
    assert sha256_of(weights) in (data / "detections" / "mine.json").read_text()


def test_what_cannot_be_detected_with_is_refused(
    weights: Path, prepared: Path, archives_folder: Path, tmp_path: Path
) -> None:
    asked = ("detections", archives_folder, "--out", tmp_path)
    assert h36m(*asked, "--detector", "hrnet_32").exit_code == 2
    assert h36m(*asked, "--detector", "hrnet_32", "--weights", weights, "--name", "gt").exit_code == 2
    with pytest.raises(H36MError, match="no detector yolo with coco heads; there are hrnet_32, hrnet_48"):
        detect(prepared, "mine", "yolo", weights)
    with pytest.raises(H36MError, match="no labels, which say where the person is"):
        detect(tmp_path, "mine", "hrnet_32", weights)


def test_a_head_in_our_order_is_taken_as_it_is(weights: Path, prepared: Path, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).symlink_to(prepared / folder)
    report = detect(tmp_path, "ours", "hrnet_32", weights, heads="h36m", every=EVERY)
    assert report.notes == ("ours: joints in the order of h36m-17",)
    assert report.rows == len(read_detections(tmp_path, "ours"))
