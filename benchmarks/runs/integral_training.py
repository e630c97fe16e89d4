"""A training run of integral or direct regression: frames of DATA, and MPII's and COCO's people mixed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from h36m_toolbox.benchmarks import metrics
from h36m_toolbox.benchmarks.runs.integral import PatchSamples, patch_samples
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import WHOLE_FRAMES, making, stored_frames
from h36m_toolbox.labels import label_sequences
from h36m_toolbox.models import create_model
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.pose_datasets.challenge import (
    fitted_similarity,
    posed_images,
    posed_people,
    read_keypoints,
    scaled_to_bones,
)
from h36m_toolbox.pose_datasets.coco import read_coco_people
from h36m_toolbox.pose_datasets.mpii import mpii_annotations, mpii_people
from h36m_toolbox.pose_datasets.patches import cut_patch
from h36m_toolbox.pose_datasets.people import People, read_image
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.sequences import SPLITS, Sequence
from h36m_toolbox.skeletons import H36M_17

if TYPE_CHECKING:
    from torch import nn

    from h36m_toolbox.benchmarks.runs.lifting_data import FrameChoice
    from h36m_toolbox.benchmarks.runs.training import TrainRequest
    from h36m_toolbox.models.processes import Processes
    from h36m_toolbox.models.training import Progress, TrainingResult, Watch

_LEARNT, _VALIDATED = 200, 10  # frames drawn of a sequence: the official sets train and validmin
_BATCH = 32
_READERS = 4  # threads that decode and cut


def train_on_patches(
    request: TrainRequest, contract: FromPatches, folder: Path, progress: Progress | None, processes: Processes
) -> TrainingResult:
    """As `training_runs.train_model`, for a model that sees patches.

    `request.mpii` and `request.coco` are the folders of those data sets, `request.start` torchvision's ImageNet weights
    for the trunk. Of each sequence 200 frames are learnt from, drawn once. Raises H36MError, with the command that
    makes it, for what is missing, and for depths in pixels, which Human3.6M's program does not have.
    """
    import torch

    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.integral import DirectPose, IntegralPose
    from h36m_toolbox.models.integral_data import Mixture
    from h36m_toolbox.models.integral_training import load_imagenet, train

    if request.challenge is None and contract.patch.depth_mm is None:
        raise H36MError(f"model {request.model} learns from Human3.6M with depths in mm; leave depth_in=image out")
    recipe, device = request.patch_recipe, device_named(request.device)
    if request.challenge:
        deep = challenge_people(request.challenge, "Train", request.keypoints, contract)[0]
        validate = _challenge_validation(request, contract, device, processes)
    else:
        deep = _human36m(request, contract, recipe.seed)
        validate = _validation(request, contract, recipe.seed, device, processes)
    sets = (*_flat_people(request, contract), deep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = create_model(request.model, **request.options)
    assert isinstance(model, IntegralPose | DirectPose)
    if request.start:
        load_imagenet(model.backbone, request.start)
    mixture = Mixture(sets, contract.patch)
    watch = _pictures(request, folder)
    return train(model, mixture, recipe, folder, device, validate, progress, watch, _READERS, processes)


def drawn_rows(data: Path, frames: FrameChoice, count: int, seed: int) -> pa.Table:
    """Rows of the label tables with `joints_3d_camera`: at most `count` of each sequence, of those that have an image.

    Raises H36MError where there are none.
    """
    rng, parts = np.random.default_rng((seed, 3)), []
    for sequence, table in _chosen_sequences(data, frames):
        there = np.isin(table.column("frame").to_numpy(), stored_frames(data, sequence))
        rows = np.flatnonzero(there & (table.column("frame").to_numpy() % frames.every == 0))
        parts.append(table.take(np.sort(rng.permutation(rows)[:count])))
    if not sum(map(len, parts)):
        raise H36MError(
            f"{data}: no labelled frames with an image of {', '.join(frames.subjects)}; {making(data, WHOLE_FRAMES)}"
        )
    return pa.concat_tables(parts)


def _chosen_sequences(data: Path, frames: FrameChoice) -> Iterator[tuple[Sequence, pa.Table]]:
    for split, subjects in SPLITS.items():
        if set(frames.subjects) & set(subjects):
            for sequence, table in label_sequences(data, split, ["joints_3d_camera"]):
                if sequence.subject in frames.subjects and sequence.action in frames.actions:
                    yield sequence, table


def _human36m(request: TrainRequest, contract: FromPatches, seed: int) -> People:
    rows = drawn_rows(request.data, request.trained_on, _LEARNT, seed)
    samples = patch_samples(request.data, rows, contract.patch)
    return samples.filmed.people(_images(samples), samples.boxes)


def _images(samples: PatchSamples) -> tuple[Path, ...]:
    """Where the frames lie; an H36MError where they are packed, because an epoch jumps about in all of them."""
    paths = []
    for key in samples.keys.tolist():
        sequence, frame = sequence_of_code(key >> 32), key & 0xFFFFFFFF
        paths.append(WHOLE_FRAMES.folder(samples.data, sequence) / WHOLE_FRAMES.file_name(sequence, frame))
    if not paths[0].is_file():
        raise H36MError(f"{paths[0]}: training reads loose frames; run `h36m extract` without --pack")
    return tuple(paths)


def _flat_people(request: TrainRequest, contract: FromPatches) -> Iterator[People]:
    aspect = contract.patch.aspect
    if request.mpii:
        annotations = mpii_annotations(request.mpii)
        yield mpii_people(annotations, request.mpii / "images", aspect, tight=request.challenge is not None)
    if request.coco:
        path = request.coco / "annotations" / "person_keypoints_train2017.json"
        yield read_coco_people(path, request.coco / "images" / "train2017", aspect)


def _validation(
    request: TrainRequest, contract: FromPatches, seed: int, device: str, processes: Processes
) -> Callable[[nn.Module], float] | None:
    from h36m_toolbox.models.patch_models import patch_predictor, predict_patches

    if request.validated_on is None:
        return None
    rows = drawn_rows(request.data, request.validated_on, _VALIDATED, seed)
    share = processes.share(len(rows))
    samples = patch_samples(request.data, rows.slice(share.start, share.stop - share.start), contract.patch)
    true = samples.filmed.camera - samples.filmed.camera[:, :1]

    def root_relative_mpjpe_mm(model: nn.Module) -> float:
        errors = np.empty(0)
        if len(samples.keys):
            predict = patch_predictor([model.eval()], contract)
            count = len(samples.keys)
            found = predict_patches(predict, lambda i: samples.load(i, contract), count, device, _BATCH, _READERS)
            poses = samples.in_camera(found, contract)
            joints = slice(len(H36M_17))
            errors = metrics.mpjpe((poses - poses[:, :1])[:, joints], true[:, joints])
        return float(processes.gathered(errors).mean(dtype=np.float64))

    return root_relative_mpjpe_mm


def challenge_people(root: Path, part: str, keypoints: Path | None, contract: FromPatches) -> tuple[People, np.ndarray]:
    """The people of CHALL_H80K's Train or Val with labels in pixels, and their poses (n, 18, 3), mm.

    Raises H36MError for a model with depths in mm, for missing or damaged files, and where no 2D joints are given.
    """
    if contract.patch.depth_mm is not None:
        raise H36MError("the challenge has no cameras, so depths are pixels; leave depth_in=mm out")
    if keypoints is None:
        raise H36MError(f"{root}: 2D joints of {part} place its poses in the images; give --keypoints FILE")
    images, poses = posed_images(root, part)
    similarity = fitted_similarity(poses, read_keypoints(keypoints, len(images)))
    return posed_people(images, poses, similarity, contract.patch.aspect), poses


def _challenge_validation(
    request: TrainRequest, contract: FromPatches, device: str, processes: Processes
) -> Callable[[nn.Module], float] | None:
    from h36m_toolbox.models.patch_models import patch_predictor, predict_patches

    if request.challenge is None or request.val_keypoints is None:
        return None
    people, true = challenge_people(request.challenge, "Val", request.val_keypoints, contract)
    share = processes.share(len(people))
    places = range(share.start, share.stop)

    def load(number: int) -> np.ndarray:
        place = places[number]
        return cut_patch(read_image(people.images[place]), people.boxes[place], contract.patch)

    def mpjpe_mm(model: nn.Module) -> float:
        errors = np.empty(0)
        if places:
            predict = patch_predictor([model.eval()], contract)
            found = scaled_to_bones(predict_patches(predict, load, len(places), device, _BATCH, _READERS))
            joints = slice(len(H36M_17))
            errors = metrics.mpjpe(found[:, joints], true[share][:, joints])
        return float(processes.gathered(errors).mean(dtype=np.float64))

    return mpjpe_mm


def _pictures(request: TrainRequest, folder: Path) -> Watch:
    from h36m_toolbox.models.recipe_files import recipe_as_toml
    from h36m_toolbox.models.training_curves import run_watch

    asked = recipe_as_toml(request.model, request.detections, request.options, request.patch_recipe)
    return run_watch(folder, asked, request.patch_recipe.epochs, request.tensorboard)
