"""Pictures as a user asks for them: what is in them, what is written, and every refusal."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path
from unittest.mock import MagicMock

import av
import numpy as np
import pytest
from judged_tables import predictions_of
from PIL import Image
from synthetic_data import done, h36m, refused

from h36m_toolbox.benchmarks.pictures.drawing import VIVID, draw_floor, draw_pose_2d, draw_pose_3d, spectator
from h36m_toolbox.benchmarks.pictures.files import BITRATE_KBIT_S
from h36m_toolbox.benchmarks.pictures.panels import Window, window_of
from h36m_toolbox.benchmarks.pictures.scenes import Selection, read_scene
from h36m_toolbox.benchmarks.pictures.viewing import ViewRequest
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.cli import main
from h36m_toolbox.labels import label_sequences
from h36m_toolbox.pose_tables import pose_array
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, INTEGRAL_18, LSP_14, MULTIVIEW_17, PELVIS, Skeleton

CAMERA = "54138969"
WALK = Sequence("S9", "Walking", 1, CAMERA)
WORDS = ("--subject", "S9", "--action", "Walking", "--camera", CAMERA)
SIZE = 200
LIMBS = [joint for joint in H36M_17.joints if joint[0] in "LR" and joint[1:] in ("Knee", "Foot", "Elbow", "Wrist")]


def labelled(data: Path, column: str, sequence: Sequence = WALK) -> np.ndarray:
    """Poses (frames, 17, dims) of one sequence."""
    table = next(table for found, table in label_sequences(data, "val", [column]) if found == sequence)
    return pose_array(table, column)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def colours_at(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    columns, rows = np.rint(pixels).astype(int).T
    return image[rows, columns]


@pytest.fixture(scope="module")
def predictions(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the first 20 frames, every second one: true but for the left wrist, 160 mm off in a pose of 16 joints."""
    poses = H36M_17.select(labelled(prepared, "joints_3d_camera"), H36M_16.joints)[:20:2].copy()
    poses -= poses[:, :1]
    poses[:, H36M_16.joints.index("LWrist")] += (0, 0, 160)
    folder = tmp_path_factory.mktemp("run")
    predictions_of(folder, {WALK: poses}, H36M_16, {WALK: np.arange(0, 20, 2)})
    return folder / "predictions.parquet"


# What is in a picture


def test_a_png_shows_the_frame_with_each_limb_in_the_colour_of_its_side(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.png"
    done("view", "--data", prepared, *WORDS, "--frame", 30, "--size", 1000, "--full-frame", "--out", out)
    image = picture(out)
    assert image.shape == (1000, 2000, 3)
    camera = h36m_camera("S9", CAMERA)
    joints = Window(0, 0, *camera.size, 1000).placed(labelled(prepared, "joints_2d")[30])
    for joint in LIMBS:
        (colour,) = colours_at(image, joints[[H36M_17.joints.index(joint)]])
        assert tuple(colour) == (VIVID.left if joint[0] == "L" else VIVID.right), joint
    frame = picture(prepared / "images" / WALK.folder / f"{WALK.folder}_000031.jpg")
    np.testing.assert_allclose(image[600:990, 500:990].mean(), frame[600:990, 500:990].mean(), atol=2)


def test_the_window_follows_the_person_and_the_same_joints_are_found_in_it(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.png"
    done("view", "--data", prepared, *WORDS, "--frame", 30, "--size", 600, "--out", out)
    pose, camera = labelled(prepared, "joints_2d")[30], h36m_camera("S9", CAMERA)
    window = window_of(pose, camera, 600, full_frame=False)
    assert window.width < 0.7 * camera.size[0]
    for joint in LIMBS:
        (colour,) = colours_at(picture(out), window.placed(pose)[[H36M_17.joints.index(joint)]])
        assert tuple(colour) == (VIVID.left if joint[0] == "L" else VIVID.right), joint


def test_the_3d_panels_show_truth_and_prediction_where_the_spectator_sees_them(
    prepared: Path, predictions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "walk.png"
    said = done(
        *("view", "--data", prepared, "--predictions", predictions, *WORDS, "--frame", 4, "--size", 600, "--out", out)
    )
    assert "semgcn: 10.00 mm on average over 1 frame\n" in said  # one joint of 16 is 160 mm off
    image = picture(out)
    assert image.shape == (600, 1800, 3)
    camera = h36m_camera("S9", CAMERA)
    pose = labelled(prepared, "joints_3d_world")[4].astype(float)
    pose -= pose[0] * (1, 1, 0)
    view = spectator(camera, 50, max(2000, 2 * np.abs(pose[:, :2]).max(), pose[:, 2].max()), 600)
    wrist = H36M_17.joints.index("LWrist")
    moved = pose[wrist] + (0, 0, 160) @ camera.rotation
    true, predicted = view.project_linear(view.world_to_camera(np.stack([pose[wrist], moved])))
    assert np.linalg.norm(true - predicted) > 15  # what the camera cannot see, the spectator does
    assert tuple(colours_at(image, true[None] + (600, 0))[0]) == VIVID.left
    assert tuple(colours_at(image, predicted[None] + (1200, 0))[0]) == VIVID.left
    assert tuple(colours_at(image, predicted[None] + (600, 0))[0]) != VIVID.left


@pytest.mark.parametrize("skeleton", [LSP_14, MULTIVIEW_17, INTEGRAL_18], ids=lambda skeleton: skeleton.name)
def test_predictions_of_other_conventions_lie_on_the_truth(prepared: Path, tmp_path: Path, skeleton: Skeleton) -> None:
    joints = H36M_17.joints
    true = labelled(prepared, "joints_3d_camera")[:3]
    centre = H36M_17.select(true, ("LShoulder", "RShoulder")).mean(axis=1)
    poses = np.stack([true[:, joints.index(j)] if j in joints else centre for j in skeleton.joints], axis=1)
    predictions_of(tmp_path, {WALK: poses}, skeleton, root="absolute")
    words = ("view", "--data", prepared, "--run", tmp_path, *WORDS, "--size", SIZE, "--out", tmp_path / "w.png")
    assert "semgcn: 0.00 mm on average" in done(*words)


def test_predictions_that_cannot_be_placed_are_refused(prepared: Path, tmp_path: Path) -> None:
    predictions_of(tmp_path, {WALK: np.zeros((3, 1, 3))}, PELVIS)
    message = refused("view", "--data", prepared, "--run", tmp_path, *WORDS, "--out", tmp_path / "w.png")
    assert "poses of pelvis have no hips, so they cannot be placed on the true ones" in message


def test_all_cameras_are_a_square_of_four_views(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.png"
    done("view", "--data", prepared, *WORDS[:4], "--camera", "all", "--frame", 30, "--size", 600, "--out", out)
    image = picture(out)
    assert image.shape == (600, 1200, 3)
    for number, camera_id in enumerate(CAMERA_IDS):
        pose = labelled(prepared, "joints_2d", WALK.recording.view(camera_id))[30]
        window = window_of(pose, h36m_camera("S9", camera_id), 300, full_frame=False)
        corner = (300 * (number % 2), 300 * (number // 2))
        (colour,) = colours_at(image, window.placed(pose)[[H36M_17.joints.index("LFoot")]] + corner)
        np.testing.assert_allclose(colour, VIVID.left, atol=40)  # limbs are thin in a small panel


def test_without_frames_the_skeleton_stands_on_plain_ground_and_the_count_is_told(
    synthetic_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "eating.png"
    words = ("--subject", "S11", "--action", "Eating", "--camera", "all", "--limit", 2, "--size", SIZE)
    said = done("view", "--data", synthetic_data, *words, "--out", out)
    assert "8 frames without an image, drawn on plain ground (`h36m extract RAW --out" in said
    image = picture(out)
    assert image.shape == (2 * SIZE, 2 * SIZE, 3)
    assert tuple(image[1, 1]) == (250, 250, 250)


def test_a_video_stands_in_for_the_frames(prepared: Path, unpacked: Path, tmp_path: Path) -> None:
    video = unpacked / "S9" / "Videos" / f"{WALK.recording.stem}.{CAMERA}.mp4"
    frames, filmed = tmp_path / "frames.png", tmp_path / "filmed.png"
    words = ("view", "--data", prepared, *WORDS, "--skip", 3, "--limit", 3, "--downsample", 4, "--size", SIZE)
    done(*words, "--out", frames)
    said = done(*words, "--video", video, "--out", filmed)
    assert "without an image" not in said
    difference = np.abs(picture(frames).astype(int) - picture(filmed))
    assert difference.mean() < 3  # a JPEG lies between them
    assert (difference[:, SIZE:] == 0).all()


def test_packed_undistorted_frames_are_found_and_the_skeleton_lies_on_them(
    prepared: Path, unpacked: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "walk.png"
    shutil.copytree(prepared / "labels" / "parquet", data / "labels" / "parquet")
    one = ("--subjects", "S9", "--cameras", CAMERA, "--select", "every:60", "--jobs", 1)
    done("extract", unpacked, "--out", data, "--undistort", "--pack", *one)
    said = done("view", "--data", data, *WORDS, "--frame", 60, "--size", 1000, "--full-frame", "--out", out)
    assert "without an image" not in said
    camera, pose = h36m_camera("S9", CAMERA), labelled(prepared, "joints_2d")[60]
    ideal = camera.undistort(pose)
    assert np.abs(ideal - pose).max() > 2
    joints = Window(0, 0, *camera.size, 1000).placed(ideal)
    for joint in LIMBS:
        (colour,) = colours_at(picture(out), joints[[H36M_17.joints.index(joint)]])
        assert tuple(colour) == (VIVID.left if joint[0] == "L" else VIVID.right), joint


@pytest.mark.parametrize("dims", [2, 3])
def test_joints_that_are_not_finite_are_left_out(dims: int) -> None:
    rng = np.random.default_rng(0)
    image = np.full((SIZE, SIZE, 3), 250, np.uint8)
    pose = np.full((17, dims), np.nan)
    view = spectator(h36m_camera("S9", CAMERA), 0, 2000, SIZE)
    draw = (
        (lambda: draw_pose_2d(image, pose, H36M_17)) if dims == 2 else lambda: draw_pose_3d(image, pose, H36M_17, view)
    )
    draw()
    assert (image == 250).all()
    pose[:3] = rng.uniform(50, 150, (3, dims))  # the right leg down to the knee
    draw()
    drawn = {tuple(colour) for colour in image.reshape(-1, 3)}
    assert VIVID.right in drawn and VIVID.left not in drawn


@pytest.mark.parametrize("camera_id", CAMERA_IDS)
def test_the_spectator_stands_upright_on_the_cameras_side_and_turns(camera_id: str) -> None:
    camera = h36m_camera("S9", camera_id)
    straight, turned = (spectator(camera, degrees, 2000, SIZE) for degrees in (0, 90))
    for view in (straight, turned):
        np.testing.assert_allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(view.rotation) > 0
        feet, head = view.project_linear(view.world_to_camera(np.array([[0, 0, 0], [0, 0, 1800.0]])))
        np.testing.assert_allclose([feet[0], head[0]], SIZE / 2)
        assert 0 < head[1] < feet[1] < SIZE
    assert straight.rotation[0] @ camera.rotation[0] > 0.99
    np.testing.assert_allclose(straight.rotation[0] @ turned.rotation[0], 0, atol=1e-12)


def test_the_lines_of_the_floor_are_fixed_in_the_world() -> None:
    view = spectator(h36m_camera("S9", CAMERA), 0, 2000, SIZE)

    def floor(*passing: float) -> np.ndarray:
        image = np.full((SIZE, SIZE, 3), 250, np.uint8)
        draw_floor(image, view, np.array(passing))
        return image

    np.testing.assert_array_equal(floor(0, 0), floor(400, -800))
    assert (floor(0, 0) != floor(100, 0)).any()
    assert (floor(0, 0) != floor(0, 100)).any()


# What is written


def test_a_gif_has_its_frames_at_the_speed_of_life(prepared: Path, predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.gif"
    done(
        *("view", "--data", prepared, "--run", predictions.parent, *WORDS, "--downsample", 2, "--size", SIZE),
        *("--out", out),
    )
    with Image.open(out) as gif:
        assert (gif.n_frames, gif.size) == (5, (3 * SIZE, SIZE))  # of ten predicted frames
        delays = []
        for number in range(gif.n_frames):
            gif.seek(number)
            delays.append(gif.info["duration"])
        assert gif.info["loop"] == 0
    assert delays == [40] * 5  # ms: every second frame of 50 a second


def test_delays_that_are_no_whole_hundredths_add_up(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.gif"
    done("view", "--data", prepared, *WORDS, "--limit", 6, "--fps", 30, "--size", SIZE, "--out", out)
    with Image.open(out) as gif:
        delays = [gif.seek(number) or gif.info["duration"] for number in range(gif.n_frames)]
    assert sum(delays) == 200
    assert set(delays) == {30, 40}


def test_an_mp4_decodes_to_its_frames(prepared: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small.mp4", tmp_path / "large.mp4"
    words = ("view", "--data", prepared, *WORDS, "--skip", 1, "--limit", 7, "--fps", 12.5, "--size", SIZE + 1)
    done(*words, "--bitrate", 100, "--out", small)
    done(*words, "--bitrate", 4000, "--out", large)
    with av.open(str(large)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12.5
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 7
    assert frames[0].shape == (SIZE + 2, 2 * (SIZE + 2), 3)  # encoders want even sides
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 0.5
    assert small.stat().st_size < large.stat().st_size


def test_without_h264_an_mp4_is_mpeg4(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    out = tmp_path / "walk.mp4"
    done("view", "--data", prepared, *WORDS, "--limit", 2, "--size", SIZE, "--out", out)
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert len(list(container.decode(video=0))) == 2


@pytest.mark.parametrize("name", ["walk.png", "walk.gif", "walk.mp4"])
def test_a_frame_that_cannot_be_read_leaves_nothing_half_written(prepared: Path, tmp_path: Path, name: str) -> None:
    data, out = tmp_path / "data", tmp_path / "out" / name
    shutil.copytree(prepared / "labels" / "parquet", data / "labels" / "parquet")
    images = data / "images" / WALK.folder
    images.mkdir(parents=True)
    for number in (1, 2, 3):
        shutil.copy(prepared / "images" / WALK.folder / f"{WALK.folder}_{number:06d}.jpg", images)
    damaged = images / f"{WALK.folder}_000003.jpg"
    damaged.write_bytes(b"no picture")
    message = refused("view", "--data", data, *WORDS, "--limit", 3, "--size", SIZE, "--out", out)
    assert f"{damaged}: cannot be read as an image" in message
    assert not out.parent.exists() or not list(out.parent.iterdir())
    assert "1 frame without an image" in done(
        "view", "--data", data, *WORDS, "--frame", 3, "--size", SIZE, "--out", out
    )


def test_skip_downsample_and_limit_pick_frames_and_a_frame_is_picked_alone(prepared: Path) -> None:
    def frames(**selection: int) -> list[int]:
        return read_scene(prepared, WALK.recording, (CAMERA,), Selection(**selection)).frames.tolist()

    assert frames(skip=5, downsample=10, limit=4) == [5, 15, 25, 35]
    assert frames(skip=129) == [129, 130]
    assert frames(only=7, skip=100) == [7]


def test_defaults_of_the_command_are_those_of_the_library() -> None:
    for param in main.commands["view"].params:
        if param.name in ("subaction", "camera", "size", "turn", "skip", "downsample", "bitrate"):
            assert param.default == getattr(ViewRequest(Path(), "S9", "Walking"), param.name), param.name
    assert ViewRequest(Path(), "S9", "Walking").bitrate == BITRATE_KBIT_S


# Refusals


REFUSED = {
    "a suffix of no format": (("--out", "walk.avi"), "no format for the suffix '.avi'; the name must end in .png"),
    "no suffix": (("--out", "walk"), "no format for the suffix ''"),
    "a camera of nobody": (("--camera", "1", "--out", "w.png"), "Human3.6M has no camera 1; cameras are 54138969"),
    "an action of nobody": (("--action", "Jump", "--out", "w.png"), "Human3.6M has no action Jump; actions are Dir"),
    "a subject of nobody": (("--subject", "S2", "--out", "w.png"), "Human3.6M has no poses of S2; subjects are S1, S5"),
    "a subject without labels": (("--subject", "S11", "--out", "w.png"), "no labels of S11/Walking 1.54138969; it has"),
    "an action without labels": (("--action", "Eating", "--out", "w.png"), "it has S9 Walking 1 54138969, S9 Walking"),
    "a frame too many": (("--frame", "131", "--out", "w.png"), "S9 Walking 1 has no frame 131; it has 131, from 0 to"),
    "a skip too far": (("--skip", "200", "--out", "w.gif"), "has no frame after the first 200; it has 131"),
    "a PNG too long": (("--limit", "41", "--out", "w.png"), "41 pictures below each other are too many for a PNG"),
    "a GIF too fast": (("--fps", "101", "--out", "w.gif"), "a GIF shows at most 100 pictures a second"),
    "a video that is not there": (("--video", "no.mp4", "--out", "w.png"), "no.mp4: no such file; give the video of"),
    "a video of all cameras": (("--camera", "all", "--video", "no.mp4", "--out", "w.png"), "a video is of one camera"),
    "a recording of another name": (
        (
            "--rerun",
            "w.txt",
        ),
        "w.txt: a Rerun recording's name must end in .rrd",
    ),
    "predictions that are none": (("--predictions", "p.parquet", "--out", "w.png"), "p.parquet: no such file"),
}


@pytest.mark.parametrize(("words", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused_and_nothing_written(
    words: tuple[str, ...], reason: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason in refused("view", "--data", prepared, *WORDS, *words)
    assert not list(tmp_path.iterdir())


def test_missing_labels_are_refused_with_the_command_that_makes_them(tmp_path: Path) -> None:
    message = refused("view", "--data", tmp_path, *WORDS, "--out", tmp_path / "w.png")
    assert f"no labels of the val split; run `h36m labels RAW --out {tmp_path}` first" in message


def test_predictions_of_other_sequences_are_refused(prepared: Path, predictions: Path, tmp_path: Path) -> None:
    words = ("view", "--data", prepared, "--predictions", predictions, *WORDS[:4], "--out", tmp_path / "w.png")
    message = refused(*words, "--camera", "55011271")
    assert f"{predictions}: no prediction of S9/Walking 1.55011271; it has S9/Walking 1.54138969" in message
    assert "has no frame 3; it has 10, from 0 to 18" in refused(*words, "--camera", CAMERA, "--frame", 3)


def test_a_damaged_video_and_one_of_another_size_are_refused(prepared: Path, tmp_path: Path) -> None:
    damaged, small, out = tmp_path / "damaged.mp4", tmp_path / "small.mp4", tmp_path / "w.png"
    damaged.write_bytes(b"\0" * 1000)
    words = ("view", "--data", prepared, *WORDS, "--out", out)
    assert f"{damaged}: cannot be" in refused(*words, "--video", damaged)
    done("view", "--data", prepared, *WORDS, "--limit", 2, "--size", SIZE, "--out", small)
    assert f"the frames of {WALK} are 400x200 px, the labels are in pixels of 1000x1002" in refused(
        *words, "--video", small
    )
    assert not out.exists()


def test_a_recording_without_rerun_names_the_extra(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    message = refused("view", "--data", prepared, *WORDS, "--rerun", tmp_path / "w.rrd")
    assert "install it with `pip install 'h36m[rerun]'`" in message
    assert not list(tmp_path.iterdir())


def test_a_recording_has_cameras_frames_and_skeletons_on_two_timelines(
    prepared: Path, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the package is too large for a test; what it makes of these calls was looked at in its viewer's own tools
    rerun = MagicMock()
    stream = rerun.RecordingStream.return_value.__enter__.return_value
    stream.save.side_effect = lambda path: path.write_bytes(b"RRF2")
    monkeypatch.setitem(sys.modules, "rerun", rerun)
    out = tmp_path / "w.rrd"
    done("view", "--data", prepared, "--predictions", predictions, *WORDS, "--limit", 3, "--rerun", out)
    assert [path.name for path in tmp_path.iterdir()] == ["w.rrd"]
    timelines = [(call.args[0], *call.kwargs.items()) for call in stream.set_time.call_args_list]
    assert [number for name, (_, number) in timelines if name == "frame"] == [0, 2, 4]
    assert [seconds for name, (_, seconds) in timelines if name == "time"] == [0, 0.04, 0.08]
    logged = Counter(call.args[0] for call in stream.log.call_args_list)
    at = f"world/{CAMERA}"
    each = (f"{at}/frame", f"{at}/frame/pose_2d", "world/truth/bones", "world/truth/joints", f"error_mm/{CAMERA}")
    assert logged == {
        "world": 1,
        at: 1,
        **dict.fromkeys(each, 3),
        **{f"world/prediction/{CAMERA}/{part}": 3 for part in ("bones", "joints")},
    }
    (place,) = (call.kwargs for call in rerun.Transform3D.call_args_list)
    camera = h36m_camera("S9", CAMERA)
    np.testing.assert_allclose(place["mat3x3"] @ (0, 0, 1), camera.rotation[2])  # looks where the camera looks
    np.testing.assert_allclose(place["translation"], camera.center / 1000)
    true, predicted = (call.args[0] for call in rerun.Points3D.call_args_list[:2])
    np.testing.assert_allclose(true, labelled(prepared, "joints_3d_world")[0] / 1000, rtol=1e-6)
    np.testing.assert_allclose(predicted[0], true[0])
    jpeg = rerun.EncodedImage.call_args_list[0].kwargs["contents"]
    assert Image.open(BytesIO(jpeg)).size == camera.size


@pytest.mark.parametrize(
    "words", [(), ("--run", ".", "--predictions", "p.parquet", "--out", "w.png"), ("--out", "w.png", "--size", "199")]
)
def test_wrong_usage_has_exit_status_2(words: tuple[str, ...], prepared: Path) -> None:
    assert h36m("view", "--data", prepared, *WORDS, *words).exit_code == 2
