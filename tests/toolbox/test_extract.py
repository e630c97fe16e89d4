"""`h36m extract` with its selections, stores and crops, on the reduced archive."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_data import digests, done, h36m, refused

from h36m_toolbox.frames.crops import cropped_image
from h36m_toolbox.frames.manifests import read_manifest
from h36m_toolbox.frames.stores import Frames, FrameStore, open_frames, stored_frames
from h36m_toolbox.frames.undistortion import undistort_map, undistorted
from h36m_toolbox.raw.archive import Kind, RawArchive
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.storage.safe_pickle import read_plain_pickle
from h36m_toolbox.synthetic.video import BarCode, read_bar_code

VIEW = Sequence("S1", "Walking", 1, "54138969")
FETCH = FrameStore("h36m-fetch")


@pytest.fixture(scope="module")
def raw(archives_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reduced archive unpacked, masks included."""
    into = tmp_path_factory.mktemp("raw")
    RawArchive.open(archives_folder).unpacked(tuple(Kind), into)
    return into


def only(raw: Path, into: Path, *kinds: Kind) -> Path:
    """A RAW folder that holds nothing but these kinds."""
    for kind in kinds:
        for subject in ("S1", "S9"):
            place = Path(subject, kind.parent, kind.value)
            (into / place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copytree(raw / place, into / place)
    return into


def extract(raw: Path, data: Path, *options: object) -> str:
    return done("extract", raw, "--out", data, "--jobs", 1, *options)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def golden_selection(golden_folder: Path) -> dict[Sequence, tuple[int, ...]]:
    """The frames (from 0) that h36m-fetch keeps of each view."""
    golden = np.load(golden_folder / "h36m_fetch_frames.npz")
    selection = {}
    for name in (name.removesuffix("/frame") for name in golden if name.endswith("/frame")):
        subject, take = name.split("/")
        frames, cameras = golden[f"{name}/frame"] - 1, golden[f"{name}/camera"]
        for camera in CAMERA_IDS:
            view = Recording(subject, *take.split("-")[:1], int(take.split("-")[1])).view(camera)
            selection[view] = tuple(frames[cameras == int(camera)].tolist())
    # h36m-fetch fails on a view whose pose files differ in length, there is one here; its frames are no less there
    return {view: frames for view, frames in selection.items() if frames}


def test_h36m_fetchs_selection_and_layout_are_the_official_ones(raw: Path, golden_folder: Path, tmp_path: Path) -> None:
    extract(raw, tmp_path, "--select", "h36m-fetch", "--layout", "h36m-fetch")
    golden = golden_selection(golden_folder)
    assert {view: stored_frames(tmp_path, view, FETCH) for view in golden} == golden
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "processed").rglob("*.jpg")}
    assert files >= {
        f"processed/{view.subject}/Walking-{view.subaction}/imageSequence/{view.camera}/img_{frame + 1:06d}.jpg"
        for view, frames in golden.items()
        for frame in frames
    }
    for view, frames in golden.items():
        assert read_bar_code(open_frames(tmp_path, view, FETCH).image(frames[-1])) == BarCode(view, frames[-1])


def test_without_raw_poses_the_selection_comes_from_the_label_table(
    raw: Path, golden_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    done("labels", raw, "--out", data, "--jobs", 1)
    extract(only(raw, tmp_path / "videos", Kind.VIDEO), data, "--select", "h36m-fetch", "--subjects", "S1")
    for view, frames in golden_selection(golden_folder).items():
        if view.subject == "S1":
            assert stored_frames(data, view) == frames


@pytest.mark.parametrize("rule", ["toolbox", "poseformer", "joints"])
def test_boxes_from_the_label_table_are_those_from_raw(raw: Path, tmp_path: Path, rule: str) -> None:
    options = ("--subjects", "S1", "--cameras", VIEW.camera, "--crop", rule, "--size", "32x32", "--every", 9)
    store = FrameStore(crop=f"{rule}-32x32")
    extract(raw, tmp_path / "from raw", *options)
    done("labels", raw, "--out", tmp_path / "data", "--jobs", 1)
    extract(only(raw, tmp_path / "videos", Kind.VIDEO), tmp_path / "data", *options)
    first, second = (open_frames(tmp_path / data, VIEW, store) for data in ("from raw", "data"))
    assert first.boxes == second.boxes
    assert first.jpeg(9) == second.jpeg(9)


@pytest.mark.parametrize(
    ("options", "lacking", "by_labels"),
    [
        (("--select", "h36m-fetch"), "Poses_D3_Positions_mono_universal_S1.tgz", True),
        (("--crop", "toolbox"), "Poses_D3_Positions_mono_S1.tgz", True),
        (("--crop", "joints"), "Poses_D2_Positions_S1.tgz", True),
        (("--crop", "mask"), "Segments_mat_gt_bb_S1.tgz", False),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_makes_it(
    raw: Path, tmp_path: Path, options: tuple[str, ...], lacking: str, by_labels: bool
) -> None:
    videos = only(raw, tmp_path / "videos", Kind.VIDEO)
    message = refused("extract", videos, "--out", tmp_path / "data", "--jobs", 1, *options)
    assert lacking in message
    assert ("run `h36m labels RAW --out" in message) == by_labels


def test_a_view_without_poses_is_reported_and_the_others_go_on(raw: Path, tmp_path: Path) -> None:
    partial = only(raw, tmp_path / "partial", Kind.VIDEO, Kind.CAMERA)
    (partial / "S1" / "MyPoseFeatures" / "D3_Positions_mono" / "Walking 1.54138969.cdf").unlink()
    options = ("--subjects", "S1", "--cameras", VIEW.camera, "--crop", "toolbox", "--size", "32x32", "--jobs", 1)
    result = h36m("extract", partial, "--out", tmp_path / "data", *options)
    assert result.exit_code == 1
    assert "S1/Walking 1.54138969 has no D3_Positions_mono files" in result.output
    assert "1 sequences written" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("--every", 5, "--select", "every:6"),
        ("--every", 5, "--select", "all"),
        ("--every", 5, "--select", "h36m-fetch"),
        ("--select", "every:0"),
        ("--select", "protocol2"),
        ("--size", "64x64"),
        ("--crop", "toolbox", "--size", "64"),
        ("--crop", "face"),
        ("--layout", "mpii"),
    ],
)
def test_options_that_disagree_or_do_not_exist_are_bad_usage(raw: Path, tmp_path: Path, words: tuple) -> None:
    assert h36m("extract", raw, "--out", tmp_path / "data", *words).exit_code == 2
    assert not (tmp_path / "data" / "images").exists()


def test_every_and_select_may_agree(raw: Path, tmp_path: Path) -> None:
    view = ("--subjects", "S1", "--cameras", VIEW.camera)
    extract(raw, tmp_path, "--every", 9, "--select", "every:9", *view)
    assert "2 sequences kept" in extract(raw, tmp_path, "--every", 9, *view)


def whole_frame(prepared: Path, frame: int, lens: bool) -> np.ndarray:
    """A frame of VIEW as filmed, or undistorted from its JPEG file, as the official chain does."""
    frames = open_frames(prepared, VIEW)
    return frames.image(frame) if lens else undistorted(frames.image(frame), undistort_map(frames.camera(frame)))


CROPS = ("--subjects", "S1", "--cameras", VIEW.camera, "--every", 10)


@pytest.mark.parametrize("rule", ["toolbox", "mask", "poseformer", "joints"])
@pytest.mark.parametrize("form", [(), ("--pack", "--undistort"), ("--layout", "h36m-fetch")], ids=" ".join)
def test_crops_show_their_box_of_the_whole_frame(
    raw: Path, prepared: Path, tmp_path: Path, rule: str, form: tuple[str, ...]
) -> None:
    extract(raw, tmp_path, *CROPS, "--crop", rule, *form)
    size = (192, 256) if rule == "poseformer" else (256, 256)
    layout = "h36m-fetch" if "--layout" in form else "toolbox"
    frames = open_frames(tmp_path, VIEW, FrameStore(layout, "--undistort" in form, f"{rule}-{size[0]}x{size[1]}"))
    assert frames.frames == tuple(frames.boxes) == (0, 10, 20)
    for frame in frames.frames:
        expected = cropped_image(
            whole_frame(prepared, frame, lens="--undistort" not in form), frames.boxes[frame], size
        )
        assert psnr(frames.image(frame), expected) > 32
    manifest = read_manifest(tmp_path, VIEW, frames.store)
    assert manifest is not None
    assert (manifest.width, manifest.height, manifest.decoded_frames) == (*size, 27)


def crops_of(raw: Path, data: Path, rule: str) -> Frames:
    extract(raw, data, *CROPS, "--crop", rule, "--size", "32x32", "--pack")
    return open_frames(data, VIEW, FrameStore(crop=f"{rule}-32x32"))


def test_toolbox_boxes_are_those_of_its_pickle(raw: Path, prepared: Path, tmp_path: Path) -> None:
    records = read_plain_pickle(prepared / "labels" / "toolbox" / "h36m_train.pkl")
    boxes = {record["image_id"] - 1: record["box"] for record in records if record["image"].startswith(VIEW.folder)}
    ours = crops_of(raw, tmp_path, "toolbox").boxes
    for frame, box in ours.items():
        np.testing.assert_array_equal(box, boxes[frame])


def test_mask_boxes_are_those_of_the_official_labels(raw: Path, golden_folder: Path, tmp_path: Path) -> None:
    table = np.load(golden_folder / "multiview_labels.npy", allow_pickle=True).item()["table"]
    ours = crops_of(raw, tmp_path, "mask").boxes
    rows = table[(table["subject_idx"] == SUBJECTS.index("S1")) & (table["action_idx"] == 24)]  # Walking-1
    compared = 0
    for row in rows:
        if int(row["frame_idx"]) in ours:
            top, left, bottom, right = row["bbox_by_camera_tlbr"][0].tolist()
            assert ours[int(row["frame_idx"])] == (left, top, right, bottom)
            compared += 1
    assert compared


def test_joint_boxes_are_mmposes(raw: Path, golden_folder: Path, tmp_path: Path) -> None:
    golden = np.load(golden_folder / "mmpose_fps50_train.npz")
    ours = crops_of(raw, tmp_path, "joints").boxes
    names = {name.split("/")[-1]: row for row, name in enumerate(golden["imgname"].tolist())}
    for frame, box in ours.items():
        row = names[f"S1_Walking_1.{VIEW.camera}_{frame + 1:06d}.jpg"]
        corners = np.array(box).reshape(2, 2)
        np.testing.assert_allclose(corners.mean(axis=0), golden["center"][row], atol=1e-6)
        np.testing.assert_allclose(corners[1] - corners[0], golden["scale"][row] * 200, atol=1e-6)


def test_the_camera_of_an_undistorted_crop_projects_the_joints_where_they_are(raw: Path, tmp_path: Path) -> None:
    extract(raw, tmp_path, *CROPS, "--crop", "joints", "--undistort")
    frames = open_frames(tmp_path, VIEW, FrameStore(undistorted=True, crop="joints-256x256"))
    joints = H36M_32.select(RawArchive.open(raw).read_poses(VIEW).camera, H36M_17.joints)
    for frame in frames.frames:
        pixels = frames.camera(frame).project(joints[frame].astype(np.float64))
        # the box is tight around them with a tenth of margin on the longer side
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        np.testing.assert_allclose((low + high) / 2, 128, atol=0.1)
        np.testing.assert_allclose((high - low).max(), 256 / 1.2, atol=0.1)


def test_changed_poses_make_new_crops(raw: Path, tmp_path: Path) -> None:
    own = only(raw, tmp_path / "own", Kind.VIDEO, Kind.CAMERA)
    before = crops_of(own, tmp_path / "data", "toolbox")
    jpeg = before.jpeg(10)
    poses = own / "S1" / "MyPoseFeatures" / "D3_Positions_mono"
    shutil.copyfile(poses / "Walking 1.55011271.cdf", poses / "Walking 1.54138969.cdf")
    assert crops_of(own, tmp_path / "data", "toolbox").jpeg(10) != jpeg


def test_every_set_of_options_ends_with_the_same_bytes_again(raw: Path, tmp_path: Path) -> None:
    forms = [("--pack",), ("--crop", "mask", "--size", "40x30"), ("--crop", "joints", "--pack"), ("--undistort",)]
    for data in ("one", "two"):
        for form in forms:
            extract(raw, tmp_path / data, *CROPS, *form)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*.parquet")}
    for form in forms:
        assert "2 sequences kept" in extract(raw, tmp_path / "one", *CROPS, *form)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*.parquet")}


@pytest.mark.parametrize("format_", ["toolbox", "poseformer"])
def test_pickles_list_packed_frames_as_loose_ones(raw: Path, prepared: Path, tmp_path: Path, format_: str) -> None:
    shutil.copytree(prepared / "detections", tmp_path / "detections")
    extract(raw, tmp_path, "--pack", "--subjects", "S1")
    done("labels", raw, "--out", tmp_path, "--format", format_, "--jobs", 1)
    packed, loose = ((data / "labels" / format_ / "h36m_train.pkl").read_bytes() for data in (tmp_path, prepared))
    assert packed == loose
