"""The ECCV 2018 challenge: a model of patches on a set of CHALL_H80K, scored as its authors did, and the submission.

`<part>_Prediction.JSON` in the submission's form; `scores.json` and `integral_per_joint.csv` where poses are known.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.evaluator import evaluate_poses
from h36m_toolbox.benchmarks.integral_scores import integral_joint_errors, integral_scores, per_joint_csv
from h36m_toolbox.benchmarks.protocols import CHALLENGE_2018
from h36m_toolbox.benchmarks.runs.integral import JOINTS_NAME, created_models
from h36m_toolbox.benchmarks.runs.origins import described_options, weights_sha256
from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.patch_models import FromPatches
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.pose_datasets.challenge import (
    challenge_images,
    fitted_similarity,
    posed_images,
    posed_people,
    read_keypoints,
    scaled_to_bones,
    seen_people,
    whole_images,
)
from h36m_toolbox.pose_datasets.patches import cut_patch
from h36m_toolbox.pose_datasets.people import People, read_image
from h36m_toolbox.pose_datasets.submissions import read_submission, write_pose_csvs, write_submission
from h36m_toolbox.skeletons import H36M_17, INTEGRAL_18
from h36m_toolbox.storage.files import folder_written_whole

if TYPE_CHECKING:
    from h36m_toolbox.benchmarks.runs.bench import BenchRequest

SCORES_NAME = "scores.json"
_READERS = 4  # threads that decode and cut


@dataclass(frozen=True)
class ChallengeScores:
    """What a set of known poses says of a model; errors in mm. `figures` are the program's own, by name."""

    model: str
    options: dict[str, Any]
    weights_sha256: str
    part: str
    images: int
    boxes: str
    protocol: str
    mpjpe_mm: float
    aligned_mm: float
    figures: dict[str, float]
    h36m_version: str = __version__

    def summary(self) -> str:
        """Two lines for a reader."""
        return (
            f"{self.model} on CHALL_H80K {self.part}, {self.images} images, {self.boxes}\n"
            f"{self.protocol}: 17j {self.mpjpe_mm:.2f} mm, after rotation and translation {self.aligned_mm:.2f} mm"
        )


def run_challenge(
    request: BenchRequest, part: str, keypoints: Path | None, out: Path, csvs: bool = False
) -> ChallengeScores | None:
    """Run a model on a set of `request.data`, the folder of CHALL_H80K, and write the files into `out`.

    `keypoints` is a file of 2D joints as `read_keypoints` takes it; boxes come from it, and in Train and Val from the
    true poses that are placed by it, as officially. None: one box for all, the whole image. `csvs` also writes `POSE`.
    Scores are None for Test. Raises H36MError for missing or damaged files and for depths that are no pixels; nothing
    is written then.
    """
    contract = model_card(request.model).contract(**request.options)
    if not isinstance(contract, FromPatches) or contract.patch.depth_mm is not None:
        raise H36MError(
            f"model {request.model} with options {request.options}: the challenge needs depths in pixels; use "
            "integral or integral-direct with depth_in=image"
        )
    poses: np.ndarray | None = None
    if part == "Test":
        images = challenge_images(request.data, part)
    else:
        images, poses = posed_images(request.data, part)
    people, boxes = _people(images, poses, keypoints, contract)
    found = scaled_to_bones(_predicted(request, contract, people))
    if not np.isfinite(found).all():
        raise H36MError(f"model {request.model} predicts NaN or infinite numbers; look for such numbers in the weights")
    scores = None if poses is None else _scores(request, part, boxes, found, poses)
    with folder_written_whole(out) as folder:
        relative = found[:, : len(H36M_17)]
        write_submission(folder / f"{part}_Prediction.JSON", relative)
        if csvs:
            write_pose_csvs(folder / "POSE", relative)
        if scores and poses is not None:
            joints = per_joint_csv(integral_joint_errors(found, poses, challenge=True))
            (folder / JOINTS_NAME).write_text(joints, encoding="ascii")
            (folder / SCORES_NAME).write_text(json.dumps(asdict(scores), indent=1) + "\n", encoding="utf-8")
    return scores


def check_submission(root: Path, part: str, submission: Path) -> int:
    """How many images a set of CHALL_H80K in `root` has, each of which has its pose in this submission.

    Raises H36MError for a submission of another form or number.
    """
    return len(read_submission(submission, len(challenge_images(root, part))))


def _people(
    images: tuple[Path, ...], poses: np.ndarray | None, keypoints: Path | None, contract: FromPatches
) -> tuple[People, str]:
    aspect = contract.patch.aspect
    if keypoints is None:
        return whole_images(images, aspect), "whole images"
    seen = read_keypoints(keypoints, len(images))
    if poses is None:
        return seen_people(images, seen, aspect), "boxes around 2D joints"
    people = posed_people(images, poses, fitted_similarity(poses, seen), aspect)
    return people, "boxes around the true pose, placed by 2D joints"


def _predicted(request: BenchRequest, contract: FromPatches, people: People) -> np.ndarray:
    from h36m_toolbox.models.devices import device_named
    from h36m_toolbox.models.patch_models import default_batch_size, patch_predictor, predict_patches

    device = device_named(request.device)
    created = [model.to(device).eval() for model in created_models(request, contract)]
    models = [request.execution.applied(model) for model in created]

    def load(place: int) -> np.ndarray:
        return cut_patch(read_image(people.images[place]), people.boxes[place], contract.patch)

    predict = patch_predictor(models, contract, request.flip)
    batch_size = request.batch_size or default_batch_size(device)
    return predict_patches(predict, load, len(people), device, batch_size, _READERS)


def _scores(request: BenchRequest, part: str, boxes: str, found: np.ndarray, true: np.ndarray) -> ChallengeScores:
    figures = evaluate_poses(found, true, INTEGRAL_18, INTEGRAL_18, CHALLENGE_2018)
    return ChallengeScores(
        model=request.model,
        options=described_options(request),
        weights_sha256=weights_sha256(request),
        part=part,
        images=len(found),
        boxes=boxes,
        protocol=CHALLENGE_2018.name,
        mpjpe_mm=figures.mpjpe,
        aligned_mm=figures.p_mpjpe,
        figures={name: float(values.mean()) for name, values in integral_scores(found, true, challenge=True).items()},
    )
