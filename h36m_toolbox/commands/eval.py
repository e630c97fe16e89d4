"""`h36m eval`."""

from __future__ import annotations

from pathlib import Path

import click

from h36m_toolbox.commands.options import FILE, FOLDER, THERE, Numbers, arguments_as_given


@click.command("eval")
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--data", type=THERE, required=True, help="The prepared folder.")
@click.option("--protocol", default="videopose3d", show_default=True, help="One of `h36m protocols`, or all.")
@click.option("--split", type=click.Choice(["val", "train"]), default="val", show_default=True)
@click.option("--joints", default="", metavar="CONVENTION", help="Joint order: h36m-17, h36m-16, multiview-17, ...")
@click.option("--unit", type=click.Choice(["mm", "m"]), help="Unit, where the file does not say it.")
@click.option("--root", type=click.Choice(["relative", "absolute"]), help="Default: as the poses look.")
@click.option("--coordinates", type=click.Choice(["camera", "world"]), help="Default: as the format has it.")
@click.option("--subtract-root", is_flag=True, help="Make absolute poses relative to their pelvis first.")
@click.option("--frames", default="", metavar="scored|all|N", help="Frames of an array in label order; every N-th.")
@click.option("--labels", type=FILE, help="Multi-view label npy of a results pickle. Default: that of DATA.")
@click.option("--as-stated", is_flag=True, help="Score even where unit, joints, axes or frame order look wrong.")
@click.option("--model", default="", help="What to call the model. Default: the file's name.")
@click.option("--pck", type=Numbers(), default=(), metavar="MM,...", help="PCK at these thresholds, too.")
@click.option("--out", type=FOLDER, help="Write the report, and the predictions as ours, there.")
@click.option("--runs", type=FOLDER, help="Keep it as a run: a folder in RUNS and a row in its leaderboard.")
def command(
    predictions: Path,
    data: Path,
    protocol: str,
    split: str,
    joints: str,
    unit: str | None,
    root: str | None,
    coordinates: str | None,
    subtract_root: bool,
    frames: str,
    labels: Path | None,
    as_stated: bool,
    model: str,
    pck: tuple[float, ...],
    out: Path | None,
    runs: Path | None,
) -> None:
    """Score PREDICTIONS, a file of poses from any model or a run's folder, under a protocol.

    Read are Parquet and CSV tables, npz and npy arrays, VideoPose3D's positions and the results pickles of learnable
    triangulation and ContextPose. What a file does not say of itself is said with options.

    Of MPI-INF-3DHP: the official inference_data.mat, an npz of its arrays, each (frames, 17, 3), or a run's folder,
    under a protocol mpi-inf-3dhp; all of them side by side under mpi-inf-3dhp-all.
    """
    if protocol.startswith("mpi-inf-3dhp"):
        if (runs or out) and (protocol.endswith("-all") or (runs and out)):
            raise click.UsageError("--runs and --out are for one protocol at a time, and not for each other")
        _eval_mpi_inf_3dhp(predictions, data, protocol, as_stated, out, runs, model)
        return
    from h36m_toolbox.benchmarks.foreign.poses import Facts, Statement
    from h36m_toolbox.benchmarks.foreign.scoring import score_as_run, score_file, score_under_all

    facts = Facts(joints, unit or "", root or "", coordinates or "")
    statement = Statement(facts, frames, labels, subtract_root, as_stated)
    if pck and (runs or protocol == "all"):
        raise click.UsageError("--pck is for the report of one protocol; give it without --runs")
    if runs and (out or protocol == "all"):
        raise click.UsageError("--runs keeps the score under one protocol as a run; give it without --out")
    arguments = arguments_as_given()
    written = ["report.json", "per_action.csv", "predictions.parquet", "environment.json", "complete.json"]
    if runs:
        result = score_as_run(predictions, data, protocol, runs, split, statement, model, arguments)
        click.echo(result.report.to_markdown())
        click.echo(f"wrote {result.folder}, a row in {runs / 'leaderboard.csv'}")
    elif protocol == "all":
        click.echo(score_under_all(predictions, data, split, statement, model, out).to_markdown())
        written = ["protocols.csv", "predictions.parquet"]
    else:
        report = score_file(predictions, data, protocol, split, statement, model, out, arguments, pck)
        click.echo(report.to_markdown())
    if out:
        click.echo(f"wrote {', '.join(str(out / name) for name in written)}")


def _eval_mpi_inf_3dhp(
    predictions: Path, data: Path, protocol: str, as_stated: bool, out: Path | None, runs: Path | None, model: str
) -> None:
    from h36m_toolbox.benchmarks.mpi_inf_3dhp import scoring

    if protocol == scoring.ALL_PROTOCOLS:
        click.echo(scoring.comparison_markdown(scoring.score_under_all(predictions, data, as_stated)))
        return
    if runs:
        from h36m_toolbox.benchmarks.runs.mpi_inf_3dhp import record_test_predictions

        result = record_test_predictions(predictions, data, runs, protocol, as_stated, model, arguments_as_given())
        click.echo(scoring.report_markdown(result.report))
        click.echo(f"wrote {result.folder}, a row in {runs / 'leaderboard.csv'}")
        return
    report = scoring.score_test_predictions(predictions, data, protocol, as_stated, out)
    click.echo(scoring.report_markdown(report))
    if out:
        click.echo(f"wrote the official tables, report.json and inference_data.mat in {out}")
