"""Human3.6M, MPII and COCO become people with 18 joints, boxes and labels as the official classes make them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from integral_goldens import Golden, golden

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.coco import read_coco_people
from h36m_toolbox.pose_datasets.human36m import image_set, read_meta_folder
from h36m_toolbox.pose_datasets.mixing import mixed_epochs, padded_order
from h36m_toolbox.pose_datasets.mpii import MATLAB_NAME, mpii_annotations, mpii_people, read_mpii, read_mpii_matlab
from h36m_toolbox.pose_datasets.patches import patch_labels
from h36m_toolbox.pose_datasets.people import COCO_17, MPII_16, People, converted, summed_bone_lengths
from h36m_toolbox.pose_datasets.person_boxes import corner_boxes, tight_boxes
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18, Skeleton

FOLDER = "s_01_act_02_subact_01_ca_01"


def assert_labels(case: Golden, people: People, image_width: int) -> None:
    for number, (patch, disturbed) in enumerate(case.variants()):
        labels, weights = patch_labels(people.joints, people.weights, people.boxes, image_width, patch, disturbed)
        expected = case.expected(f"label_{number}").reshape(labels.shape)
        np.testing.assert_allclose(labels, expected, rtol=0, atol=1e-5)
        assert (weights == case.expected(f"label_weight_{number}").reshape(weights.shape)).all()


def test_the_joint_tables_are_the_official_ones() -> None:
    facts = golden("joint_tables").facts
    sources = facts["source_index_for_each_hm36_joint"]
    for name, skeleton in (("mpii", MPII_16), ("coco", COCO_17)):
        numbers = np.arange(1.0, len(skeleton) + 1)[:, None]
        found, weights = converted(numbers, np.ones_like(numbers), skeleton)
        assert (found[:, 0] - 1).tolist() == sources[name]
        assert (weights[:, 0] > 0).tolist() == [source >= 0 for source in sources[name]]
        assert mirrored(skeleton) == {frozenset(pair) for pair in facts[f"flip_pairs_{name}"]}
    assert mirrored(INTEGRAL_18) == {frozenset(pair) for pair in facts["flip_pairs_hm36"]}
    assert [max(parent, 0) for parent in INTEGRAL_18.parents] == facts["parent_ids_hm36"]
    assert {frozenset(bone) for bone in H36M_17.bones} == {frozenset(bone) for bone in facts["bones_16"]}


def mirrored(skeleton: Skeleton) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in zip(skeleton.left, skeleton.right, strict=True)}


def test_human36m_from_the_official_tree(tmp_path: Path) -> None:
    case = golden("hm36_label")
    images, filmed = read_meta_folder(case.write_files(tmp_path), FOLDER)
    assert [path.relative_to(tmp_path).as_posix() for path in images] == case.facts["image_names"]
    for name, found in {
        "gt_db.joints_3d": filmed.image,
        "gt_db.joints_3d_cam": filmed.camera,
        "gt_db.pelvis": filmed.roots,
        "gt_db.fl": filmed.focal,
        "gt_db.c_p": filmed.principal,
        "gt_db.bone_len": summed_bone_lengths(filmed.camera[:, :17], H36M_17),
        "jnt_bbox_db.bone_len": summed_bone_lengths(filmed.camera),
        "jnt_bbox_db.joints_3d_relative": filmed.camera - filmed.roots[:, None],
    }.items():
        np.testing.assert_allclose(found, case.expected(name), rtol=1e-8, atol=1e-8, err_msg=name)
    for name, boxes in {
        "gt_db": filmed.window_boxes(),
        "jnt_bbox_db": filmed.tight_boxes(1.0),
        "dt_db": corner_boxes(case.given("detections"), 1.0),
    }.items():
        np.testing.assert_allclose(boxes, case.boxes(f"output.{name}"), rtol=1e-8, err_msg=name)
    assert_labels(case, filmed.people(images, filmed.window_boxes()), 1000)


def test_the_official_image_sets() -> None:
    for name, facts in golden("hm36_image_sets").facts["sets"].items():
        found = image_set(name)
        folders = [view.folder for view in found.views]
        assert hashlib.sha1("\n".join(folders).encode()).hexdigest() == facts["sha1_of_newline_joined"], name
        assert (found.drawn or -1) == facts["frames_per_folder"], name
        assert found.drawn or found.step == facts["step"], name


def test_frames_of_a_set_are_every_nth_or_drawn_once_each() -> None:
    rng = np.random.default_rng(0)
    assert image_set("validsample10").frames(25, rng).tolist() == [0, 10, 20]
    drawn = image_set("validmin").frames(12, rng)
    assert len(set(drawn.tolist())) == 10
    with pytest.raises(H36MError, match="has 12 frames, the set draws 200"):
        image_set("train").frames(12, rng)
    with pytest.raises(H36MError, match="no image set act15; there are train, valid"):
        image_set("act15")


@pytest.mark.parametrize(("entry", "tight"), [("gt_db", False), ("jnt_bbox_db", True)])
def test_mpii_with_both_kinds_of_boxes(entry: str, tight: bool, tmp_path: Path) -> None:
    case = golden("mpii_conversion")
    annotations = read_mpii(case.write_files(tmp_path) / "annot" / "train.json")
    people = mpii_people(annotations, tmp_path, 1.0, tight)
    assert [path.name for path in people.images] == case.facts["image_names"][entry]
    np.testing.assert_allclose(people.boxes, case.boxes(f"output.{entry}"), rtol=1e-8)
    np.testing.assert_allclose(people.joints, case.expected(f"{entry}_hm36.joints_3d"), rtol=1e-8)
    assert (people.weights == case.expected(f"{entry}_hm36.joints_3d_vis")).all()
    if tight:
        assert_labels(case, people, 1280)


def test_mpii_s_own_boxes_are_refused_for_wide_patches(tmp_path: Path) -> None:
    annotations = read_mpii(golden("mpii_conversion").write_files(tmp_path) / "annot" / "train.json")
    with pytest.raises(H36MError, match="no wider than high"):
        mpii_people(annotations, tmp_path, 4 / 3, tight=False)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '[{"image": "x.jpg"}]', '[{"image": 1, "joints": [[1, 2]]}]'])
def test_another_file_is_no_list_of_people(text: str, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(text)
    with pytest.raises(H36MError, match=r"train\.json: no list of MPII's people"):
        read_mpii(path)
    with pytest.raises(H36MError, match=r"train\.json: no COCO keypoints file"):
        read_coco_people(path, tmp_path, 1.0)


def test_coco(tmp_path: Path) -> None:
    case = golden("coco_conversion")
    path = case.write_files(tmp_path) / "annotations" / "person_keypoints_train2017.json"
    people = read_coco_people(path, Path("images/train2017"), 288 / 384)
    assert [image.as_posix() for image in people.images] == case.facts["image_names"]
    np.testing.assert_allclose(people.boxes, case.boxes("output.db"), rtol=1e-8)
    np.testing.assert_allclose(people.joints, case.expected("db_hm36.joints_3d"), rtol=1e-8)
    assert (people.weights == case.expected("db_hm36.joints_3d_vis")).all()
    assert_labels(case, people, 640)


@pytest.mark.parametrize(
    "spoiled",
    [
        {"iscrowd": 1},
        {"area": 0},
        {"bbox": [700, 20, 50, 60]},
        {"keypoints": [0] * 51},
        {"keypoints": [*(50, 60, 2), *([0] * 48)]},
    ],
    ids=lambda spoiled: next(iter(spoiled)),
)
def test_coco_leaves_out_whom_nobody_can_learn_from(spoiled: dict, tmp_path: Path) -> None:
    person = {"image_id": 7, "iscrowd": 0, "area": 900, "bbox": [20, 20, 50, 60], "keypoints": [30, 40, 1] * 17}
    content = {"images": [{"id": 7, "width": 640, "height": 480}], "annotations": [person, person | spoiled]}
    path = tmp_path / "keypoints.json"
    path.write_text(json.dumps(content))
    assert len(read_coco_people(path, tmp_path, 1.0)) == 1


@pytest.mark.parametrize("name", ["mpii_hm36", "mpii_hm36_eccv_challenge", "mpii_coco_hm36_eccv_challenge"])
def test_an_epoch_mixes_the_data_sets_in_the_official_order(name: str) -> None:
    facts = golden("dataset_mixing").facts["mixing"][name]
    names = list(facts["sizes"])
    epochs = mixed_epochs(list(facts["sizes"].values()), np.random.RandomState(facts["numpy_seed"]))
    for expected in facts["two_epochs_in_index_order_single_process"]:
        found = [[names[number], index] for number, index in next(epochs).tolist()]
        assert found == expected
        assert len(found) == facts["epoch_length"]


def test_the_frozen_loader_shows_the_same_samples_for_ever() -> None:
    epochs = mixed_epochs([4, 30], np.random.default_rng(0), frozen=True)
    first = next(epochs)
    assert all((next(epochs) == first).all() for _ in range(3))
    fresh = mixed_epochs([4, 30], np.random.default_rng(0))
    assert (next(fresh) != next(fresh)).any()


def test_a_small_data_set_is_gone_through_again_and_an_empty_one_refused() -> None:
    indices = next(mixed_epochs([5, 2], np.random.default_rng(0)))[5:, 1]
    assert sorted(indices.tolist()) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    with pytest.raises(H36MError, match="5, 0 samples cannot be mixed"):
        next(mixed_epochs([5, 0], np.random.default_rng(0)))


def test_an_evaluation_fills_its_last_batch() -> None:
    for facts in golden("dataset_mixing").facts["padding"]:
        assert padded_order(facts["samples"], facts["batch"]).tolist() == facts["order"]


def test_nobody_without_a_box_is_boxed() -> None:
    points = np.array([[[10.0, 10], [30, 50]], [[10, 10], [30, 50]]])
    with pytest.raises(H36MError, match=r"1 of 2 people have no box .* the first is row 1"):
        tight_boxes(points, np.array([[1.0, 1], [1, 0]]), 1.0)


def _struct(**fields: object) -> np.ndarray:
    """A MATLAB struct of 1 x 1."""
    made = np.empty((1, 1), [(name, object) for name in fields])
    for name, value in fields.items():
        made[name][0, 0] = value
    return made


def _structs(*each: np.ndarray) -> np.ndarray:
    """A MATLAB struct array of 1 x n."""
    return np.concatenate(each, axis=1)


def write_mpii_matlab(path: Path, people: list[dict]) -> None:
    """People of a simple-baselines list in the layout of MPII's own file, with rows that are to be left out."""
    images = []
    for person in people:
        points = [
            _struct(x=float(x), y=float(y), id=float(number), is_visible=np.empty((0, 0)) if number > 9 else 0.0)
            for number, (x, y) in enumerate(person["joints"])
            if person["joints_vis"][number]
        ]
        place = _struct(x=float(person["center"][0]), y=float(person["center"][1]))
        whole = _struct(scale=float(person["scale"]), objpos=place, annopoints=_struct(point=_structs(*points)))
        empty = np.empty((0, 0))
        rects = _structs(whole, _struct(scale=empty, objpos=empty, annopoints=empty))
        images.append(_struct(image=_struct(name=person["image"]), annorect=rects))
    nobody = _struct(image=_struct(name="nobody.jpg"), annorect=np.empty((0, 0)))
    untrained = images[0]
    learnt = np.array([[*[1.0] * len(images), 1.0, 0.0]])
    release = _struct(annolist=_structs(*images, nobody, untrained), img_train=learnt)
    scipy.io.savemat(path, {"RELEASE": release})


def test_mpii_s_own_matlab_file_has_the_same_people(tmp_path: Path) -> None:
    folder = golden("mpii_conversion").write_files(tmp_path)
    people = json.loads((folder / "annot" / "train.json").read_text())
    people = [person for person in people if any(person["joints_vis"])]
    (folder / "annot" / "train.json").write_text(json.dumps(people))
    listed = mpii_annotations(folder)
    write_mpii_matlab(folder / MATLAB_NAME, people)
    (folder / "annot" / "train.json").unlink()
    own = mpii_annotations(folder)
    assert own.images == listed.images
    for name in ("centers", "scales", "visible"):
        np.testing.assert_array_equal(getattr(own, name), getattr(listed, name))
    seen = listed.visible > 0
    np.testing.assert_array_equal(own.joints[seen], listed.joints[seen])
    boxes = [mpii_people(each, tmp_path, 1.0, tight=True).boxes for each in (own, listed)]
    np.testing.assert_array_equal(*boxes)


def test_a_damaged_matlab_file_of_mpii_is_refused(tmp_path: Path) -> None:
    path = tmp_path / MATLAB_NAME
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(H36MError, match="no annotations of MPII"):
        read_mpii_matlab(path)
    path.unlink()
    with pytest.raises(H36MError, match="give MPII's folder"):
        mpii_annotations(tmp_path)
