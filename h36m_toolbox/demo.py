"""The demonstration: a synthetic archive and every command a user would type on a real one, in order."""

from __future__ import annotations

from pathlib import Path

# Enough to leave an untrained network far behind, in half a minute on two cores.
EPOCHS = {"semgcn": 10, "martinez": 20}
LABEL_FORMATS = ("parquet", "toolbox", "poseformer", "multiview")


def demo_commands(folder: Path, seed: int, jobs: int) -> list[tuple[str, ...]]:
    """Arguments of `h36m`, command after command, that fill `folder` with `raw`, `data` and `runs`."""
    raw, data, runs = (str(folder / name) for name in ("raw", "data", "runs"))
    many = ("--jobs", str(jobs))
    other = str(folder / "raw-mpi-inf-3dhp")
    detections = folder / "raw" / "detections"
    cpn, sh = (
        str(detections / name)
        for name in ("data_2d_h36m_cpn_ft_h36m_dbb.npz", "stacked_hourglass_fined_tuned_240.tar.gz")
    )
    formats = [word for name in LABEL_FORMATS for word in ("--format", name)]
    commands: list[tuple[str, ...]] = [
        ("synth", raw, "--size", "demo", "--subaction", "1", "--seed", str(seed), *many),
        ("extract", raw, "--out", data, *many),
        ("detections", raw, "--out", data, "--cpn", cpn, "--sh", sh),
        ("labels", raw, "--out", data, *formats, *many),
        ("stats", data, "--select", "all"),
        ("pelvis", data, "--detections", "sh"),
        ("synth", other, "--data-set", "mpi-inf-3dhp", "--seed", str(seed), *many),
        ("extract", other, "--out", data, *many),
        ("extract", other, "--out", data, "--crop", "poseformer", *many),
        ("labels", other, "--out", data, "--format", "parquet", "--format", "lifting", *many),
    ]
    where = ("--data", data, "--runs", runs)
    commands.append(("bench", "--model", "semgcn", *where, "--detections", "gt", "--untrained"))
    for model, epochs in EPOCHS.items():
        name = f"train-{model}-gt"
        weights = str(folder / "runs" / name / "checkpoint_best.pt")
        commands.append(
            ("train", "--model", model, *where, "--name", name, "--epochs", str(epochs), "--seed", str(seed))
        )
        commands += [
            ("bench", "--model", model, *where, "--detections", detected, "--weights", weights)
            for detected in ("gt", "cpn")
        ]
        commands.append(("bench", "--model", model, *where, "--dataset", "mpi-inf-3dhp", "--weights", weights))
    return [*commands, ("leaderboard", "--runs", runs)]


def demo_tour(folder: Path) -> str:
    """Where everything is that the demonstration made."""
    places = {
        "raw": "the synthetic archive in the original's formats: S1/MyPoseFeatures/..., S1/Videos/..., detections",
        "data/images": "frames, named as H36M-Toolbox names them",
        "data/labels/parquet": "the label table: train.parquet, val.parquet",
        "data/labels/toolbox": "h36m_train.pkl, h36m_validation.pkl of H36M-Toolbox",
        "data/labels/poseformer": "the same of Context-Aware PoseFormer",
        "data/labels/multiview": "boxes and labels of learnable triangulation and ContextPose",
        "data/detections": "gt, cpn and sh detections, one table each",
        "data/stats": "limb lengths: mean_and_std_limb_length.h5, limb_lengths.csv",
        "data/mpi-inf-3dhp": "frames, crops, label table and npz files of a second, smaller data set, MPI-INF-3DHP",
        "data/pelvis": "pelvis positions triangulated from sh: train.parquet, val.parquet",
        "runs": "checkpoints, predictions, reports",
        "runs/leaderboard.csv": "a row for every run",
    }
    lines = [f"  {folder / place!s:40} {what}" for place, what in places.items()]
    return "\n".join(["Where everything is (synthetic: the errors say nothing about real accuracy):", *lines])
