"""Where frames lie, and one reader of them, loose or packed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.frames.packs import FRAMES_A_GROUP, PackedImage, pack_written_whole
from h36m_toolbox.frames.stores import LAYOUTS, FrameStore, cropped_camera, open_frames, stored_frames
from h36m_toolbox.sequences import Sequence, sequences

VIEW = Sequence("S1", "WalkingDog", 2, "58860488")
FRAMES = tuple(range(0, 300, 3))


def jpeg_of(level: int) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.full((16, 24, 3), level, np.uint8), 95, "RGB", "420"))


def level(frame: int) -> int:
    return frame % 256


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loose frames in H36M-Toolbox's layout, packed ones of crops."""
    data = tmp_path_factory.mktemp("stores")
    store = FrameStore()
    store.folder(data, VIEW).mkdir(parents=True)
    for frame in FRAMES:
        (store.folder(data, VIEW) / store.file_name(VIEW, frame)).write_bytes(jpeg_of(level(frame)))
    (store.folder(data, VIEW) / "notes.txt").write_text("not a frame")
    with pack_written_whole(CROPS.shard(data, VIEW), VIEW, {"store": CROPS.name, "quality": 95}, True) as writer:
        for frame in FRAMES:
            writer.add(PackedImage(frame, jpeg_of(level(frame)), CROPS.file_name(VIEW, frame), box_of(frame)))
    return data


CROPS = FrameStore(crop="toolbox-24x16")


def box_of(frame: int) -> Box:
    return frame - 100.0, 10.5, frame + 140.0, 170.5


@pytest.mark.parametrize(
    ("store", "folder", "name"),
    [
        (FrameStore(), "images/s_01_act_15_subact_02_ca_03", "s_01_act_15_subact_02_ca_03_000008.jpg"),
        (FrameStore(undistorted=True), "images-undistorted/s_01_act_15_subact_02_ca_03", None),
        (CROPS, "images-crop-toolbox-24x16/s_01_act_15_subact_02_ca_03", None),
        (FrameStore("h36m-fetch"), "processed/S1/WalkingDog-2/imageSequence/58860488", "img_000008.jpg"),
        (FrameStore("h36m-fetch", True), "processed/S1/WalkingDog-2/imageSequence-undistorted/58860488", None),
        (
            FrameStore("h36m-fetch", True, "mask-9x9"),
            "processed/S1/WalkingDog-2/imageSequence-undistorted-crop-mask-9x9/58860488",
            None,
        ),
    ],
)
def test_folders_and_files_have_the_names_of_their_layout(store: FrameStore, folder: str, name: str | None) -> None:
    assert store.folder(Path("data"), VIEW) == Path("data", folder)
    assert store.shard(Path("data"), VIEW) == Path("data", f"{folder}.parquet")
    if name:
        assert store.file_name(VIEW, 7) == name


@given(st.sampled_from(LAYOUTS), st.sampled_from(sequences()), st.integers(0, 2_000_000))
def test_a_file_name_tells_its_frame(layout: str, sequence: Sequence, frame: int) -> None:
    store = FrameStore(layout)
    assert store.frame_of(sequence, store.file_name(sequence, frame)) == frame


@pytest.mark.parametrize("name", ["img_1.jpg", "img_000000.jpg", "img_000001.png", "img_-00001.jpg", "img_00000a.jpg"])
def test_other_names_are_no_frames(name: str) -> None:
    assert FrameStore("h36m-fetch").frame_of(VIEW, name) is None


@pytest.mark.parametrize("store", [("mpii",), ("toolbox", False, "256x256"), ("toolbox", False, "mask-0x9")])
def test_a_store_that_cannot_be_is_refused(store: tuple) -> None:
    with pytest.raises(H36MError, match=r"no layout|no crop"):
        FrameStore(*store)


@pytest.mark.parametrize("store", [FrameStore(), CROPS], ids=["loose", "packed"])
def test_the_reader_gives_every_frame_in_any_order(data: Path, store: FrameStore) -> None:
    frames = open_frames(data, VIEW, store)
    assert frames.frames == stored_frames(data, VIEW, store) == FRAMES
    for frame in np.random.default_rng(0).permutation(FRAMES)[:40].tolist():
        assert frames.jpeg(frame) == jpeg_of(level(frame))
        image = frames.image(frame)
        assert image.shape == (16, 24, 3) and image.dtype == np.uint8
        np.testing.assert_allclose(image, level(frame), atol=1)


@pytest.mark.parametrize("store", [FrameStore(), CROPS], ids=["loose", "packed"])
def test_an_opened_sequence_can_be_sent_to_another_process(data: Path, store: FrameStore) -> None:
    frames = open_frames(data, VIEW, store)
    assert pickle.loads(pickle.dumps(frames)).jpeg(FRAMES[-1]) == frames.jpeg(FRAMES[-1])


@pytest.mark.parametrize("store", [FrameStore(), CROPS], ids=["loose", "packed"])
def test_a_frame_that_is_not_there_names_the_command(data: Path, store: FrameStore) -> None:
    with pytest.raises(H36MError, match="no such frame; run `h36m extract RAW --out"):
        open_frames(data, VIEW, store).jpeg(1)


def test_a_sequence_that_is_not_there_names_the_command(data: Path) -> None:
    other = Sequence("S1", "WalkingDog", 1, "58860488")
    store = FrameStore("h36m-fetch", True, "mask-9x9")
    with pytest.raises(H36MError) as caught:
        open_frames(data, other, store)
    options = "--layout h36m-fetch --undistort --crop mask --size 9x9"
    assert f"run `h36m extract RAW --out {data} {options}`" in str(caught.value)
    assert stored_frames(data, other, store) == ()


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = FrameStore().folder(tmp_path, VIEW) / FrameStore().file_name(VIEW, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no jpeg")
    with pytest.raises(H36MError, match=r"_000001\.jpg: cannot be read as an image .* remove it and run"):
        open_frames(tmp_path, VIEW).image(0)


def test_a_parquet_file_of_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    shard = FrameStore().shard(tmp_path, VIEW)
    shard.parent.mkdir(parents=True)
    polars.DataFrame({"frame": [0], "image": [b"jpeg"]}).write_parquet(shard)
    with pytest.raises(H36MError, match=r"\.parquet: cannot be read as a Parquet file of frames"):
        open_frames(tmp_path, VIEW)


@pytest.mark.parametrize("seed", range(40))
def test_a_shard_with_wrong_bytes_reads_or_is_refused(data: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(CROPS.shard(data, VIEW).read_bytes())
    for place in rng.integers(1, 4000, 3):  # most of them in the file's metadata
        content[-place] = rng.integers(256)
    shard = CROPS.shard(tmp_path, VIEW)
    shard.parent.mkdir(parents=True)
    shard.write_bytes(content[: len(content) if seed % 5 else rng.integers(len(content))])
    try:
        frames = open_frames(tmp_path, VIEW, CROPS)
        assert [frames.image(frame) for frame in frames.frames[::30]]
        assert len(frames.boxes) == len(FRAMES)
    except H36MError as error:
        assert str(shard) in str(error)


def test_a_shard_is_plain_bytes_in_small_row_groups_that_say_what_they_are(data: Path) -> None:
    file = pq.ParquetFile(CROPS.shard(data, VIEW))
    names = ["subject", "action", "subaction", "camera", "frame", "image", "left", "top", "right", "bottom"]
    assert file.schema_arrow.names == names
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [FRAMES_A_GROUP, 36]
    group = file.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert not columns["image.bytes"].has_dictionary_page
    facts = json.loads(file.schema_arrow.metadata[b"h36m"])
    assert (facts["table"], facts["unit"], facts["quality"]) == ("frames", "px", 95)
    assert facts["store"] == "images-crop-toolbox-24x16"


def test_hugging_face_datasets_is_told_that_these_are_images(data: Path) -> None:
    schema = pq.read_schema(CROPS.shard(data, VIEW))
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert set(features) == set(schema.names)


def test_duckdb_and_polars_read_the_keys_and_the_bytes(data: Path) -> None:
    shard = CROPS.shard(data, VIEW)
    query = f"SELECT action, frame, image.bytes FROM '{shard}' WHERE frame = 30"
    assert duckdb.sql(query).fetchall() == [("WalkingDog", 30, jpeg_of(30))]
    row = polars.read_parquet(shard).row(10, named=True)
    assert row["image"] == {"bytes": jpeg_of(30), "path": CROPS.file_name(VIEW, 30)}


def test_boxes_are_read_back_and_give_the_camera_of_a_crop(data: Path) -> None:
    frames = open_frames(data, VIEW, CROPS)
    assert frames.boxes == {frame: box_of(frame) for frame in FRAMES}
    assert open_frames(data, VIEW).camera(5).size == (1000, 1000)
    camera = frames.camera(30)
    assert camera.size == (24, 16)
    with pytest.raises(H36MError, match=r"frame 31 .* has no box"):
        frames.camera(31)
    with pytest.raises(H36MError, match="whole frames have no boxes"):
        _ = open_frames(data, VIEW).boxes


@given(
    st.tuples(st.floats(-300, 600), st.floats(-300, 600), st.floats(50, 900), st.floats(50, 900)),
    st.tuples(st.integers(8, 400), st.integers(8, 400)),
)
def test_the_corners_of_a_box_are_the_corners_of_its_crop(
    place: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    whole = FrameStore(undistorted=True).camera(VIEW)
    left, top, width, height = place
    crop = cropped_camera(whole, (left, top, left + width, top + height), size)
    corners = np.array([(left, top), (left + width, top + height)])
    rays = np.concatenate([(corners - whole.principal) / whole.focal, np.ones((2, 1))], axis=1)
    np.testing.assert_allclose(crop.project(rays), [(0, 0), size], atol=1e-6)
