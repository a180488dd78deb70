"""`dvr reconstruct`: from photographs to a run folder."""

import shlex
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dvr_cli.commands.options import (
    FLAG,
    IMAGE_SIZE_HELP,
    CamerasOption,
    ColmapOption,
    DepthOption,
    DepthScaleOption,
    DeviceOption,
    FieldOption,
    FormatOption,
    HoldOutOption,
    JsonOption,
    MaskFolderOption,
    MasksOption,
    NoMasksOption,
    PresetOption,
    QuietOption,
    SceneArgument,
    SeedOption,
    ThreadsOption,
    ViewsOption,
    parse_duration,
    parse_image_size,
)
from dvr_cli.commands.reading import Reading, reading_options, scene_folder
from dvr_cli.console import Output, duration
from dvr_cli.errors import ConfigError
from dvr_cli.scenes.listing import count_of

if TYPE_CHECKING:
    from dvr_cli.config import Settings

LEAST_IOU = 0.8
"""Good masks and cameras end above 0.95, even on tiny photographs."""


def reconstruct_command(
    scene: SceneArgument,
    masks: MasksOption = None,
    no_masks: NoMasksOption = False,
    mask_folder: MaskFolderOption = None,
    depth: DepthOption = None,
    depth_scale: DepthScaleOption = None,
    colmap: ColmapOption = None,
    cameras: CamerasOption = None,
    format_name: FormatOption = None,
    views: ViewsOption = None,
    hold_out: HoldOutOption = None,
    preset: PresetOption = None,
    field: FieldOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with settings.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run. (default: runs/SCENE-NAME)", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", metavar=FLAG, help="Go on with the run in that folder.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Discard the run in that folder.")
    ] = False,
    time: Annotated[
        float | None,
        typer.Option(
            "--time", parser=parse_duration, metavar="DURATION", help="Optimise this long at most: 60s, 2m, 1h."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimise this many steps. (default: the preset's)")
    ] = None,
    image_size: Annotated[
        Any,
        typer.Option("--image-size", parser=parse_image_size, metavar="PIXELS|full", help=IMAGE_SIZE_HELP),
    ] = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Reconstruct the surface in SCENE from its photographs.

    Ctrl-C stops and saves; --resume goes on. The result is a run folder, from which dvr export writes meshes.
    """
    output = Output(quiet, as_json)
    how = Reading(masks, no_masks, mask_folder, colmap, cameras, format_name, views, depth, depth_scale, hold_out)
    named = preset_for(field, preset, resume)
    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other: go on with the run, or discard it.")
    if steps is not None and config is None and not resume:
        _check_steps(steps, named)
    root = scene_folder(scene)
    run_path = out if out is not None else Path("runs") / (root.resolve().name or "scene")
    reading = reading_options(scene, how)
    overrides = {"time_limit": time, "image_size": image_size, "device": device, "threads": threads, "seed": seed}
    settings, reading = _settings_and_reading(run_path, reading, named, config, overrides, steps, resume, overwrite)
    if field is not None and settings.field != field:
        what = "this run" if resume else f"preset {settings.preset}"
        raise typer.BadParameter(f"{what} fits a field of the kind {settings.field}.", param_hint="--field")

    # Only now, when everything that can be wrong at a glance is right, the slow imports.
    from dvr_cli.commands.made_here import checked, read_and_make
    from dvr_cli.fitting.run_folder import RunFolder
    from dvr_cli.fitting.scene_description import describe_scene

    loaded, reading = read_and_make(root, reading, run_path, settings, output)
    held_out = f", besides those that --hold-out {reading['hold_out']} keeps for judging" if reading["hold_out"] else ""
    output.note(f"{loaded.name}: {count_of(len(loaded.views), 'view')} ({loaded.format}){held_out}")
    output.note(f"Region of interest: {loaded.bounds_source}")
    # It takes two seconds to import, about as long as the checks.
    Thread(target=import_module, args=("torch",)).start()
    checked(loaded, reading, run_path, settings, output)
    if how.no_masks or not any(view.mask_path for view in loaded.views):
        output.note("No masks: everything in the region of interest is reconstructed. (--masks auto makes some)")
    with RunFolder.create(run_path, settings, describe_scene(loaded, reading, run_path), resume, overwrite) as run:
        from dvr_cli.commands.fit import fit_scene

        summary, exit_code = fit_scene(loaded, settings, run, output)
    if run.untouched:
        output.note(f"Stopped before there was anything to save; the earlier run in {run_path} is as it was.")
        output.note("Next: give the same command again to overwrite it.")
    else:
        if summary.finished and any(view.mask_path for view in loaded.views):
            _note_contradicted_masks(summary.silhouette_iou, scene, output)
        _print_summary(asdict(summary), scene, run_path, bool(run.checkpoints.steps()), output)
    raise typer.Exit(exit_code)


def preset_for(field: str | None, preset: str | None, resume: bool) -> str | None:
    """The preset named, or else that of the kind of field; None where neither says, or an earlier run does."""
    from dvr_cli.config import PRESET_OF_FIELD

    return preset if preset is not None or field is None or resume else PRESET_OF_FIELD[field]


def _check_steps(steps: int, preset: str | None) -> None:
    """BadParameter for fewer steps than the preset has levels, where neither a file nor a run says otherwise."""
    from dvr_cli.config import PRESETS
    from dvr_cli.config_io import DEFAULT_PRESET

    try:
        with_steps(PRESETS[preset or DEFAULT_PRESET], steps)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def with_steps(settings: "Settings", steps: int | None) -> "Settings":
    """The settings with the schedule shortened or lengthened to `steps` steps, shared between the levels as before."""
    if steps is None:
        return settings
    levels, planned = settings.levels, sum(level.steps for level in settings.levels)
    if steps < len(levels):
        raise ConfigError(f"--steps {steps} is too small: each of the {len(levels)} levels needs at least one step.")
    # Rounding the running sums instead of the shares makes the total exact.
    ends = [round(steps * sum(level.steps for level in levels[: index + 1]) / planned) for index in range(len(levels))]
    shares: list[int] = []
    for index, end in enumerate(ends):
        taken, later = sum(shares), len(levels) - 1 - index
        shares.append(min(max(end - taken, 1), steps - later - taken))
    changed = tuple(level.model_copy(update={"steps": share}) for level, share in zip(levels, shares, strict=True))
    return settings.model_copy(update={"levels": changed})


def _settings_and_reading(
    run_path: Path,
    reading: dict[str, Any],
    preset: str | None,
    config: Path | None,
    overrides: dict[str, Any],
    steps: int | None,
    resume: bool,
    overwrite: bool,
) -> "tuple[Settings, dict[str, Any]]":
    """Settings and reading options, those of the earlier run standing in for what is not given when it is resumed."""
    from dvr_cli.config_io import resolve_settings
    from dvr_cli.fitting.run_folder import RunFolder, check_target

    check_target(run_path, resume, overwrite)
    earlier = RunFolder.open(run_path) if resume else None
    base = earlier.settings if earlier is not None else None
    if earlier is not None:
        remembered = earlier.scene_description.get("options", {})
        reading = {key: remembered.get(key) if value is None else value for key, value in reading.items()}
        # A run without masks goes on without, whatever the scene has got meanwhile.
        reading["masks"] = reading["masks"] or False
    return with_steps(resolve_settings(preset, config, overrides, base), steps), reading


def _note_contradicted_masks(silhouette_iou: float | None, scene: Path, output: Output) -> None:
    """Say so when the surface does not look like the masks: some of them are wrong then, or the cameras are."""
    if silhouette_iou is not None and silhouette_iou < LEAST_IOU:
        look = shlex.join(["dvr", "inspect", str(scene), "--masks"])
        output.note(
            f"The surface does not fit the masks (silhouette IoU {silhouette_iou:.2f}); look for bad ones: {look}"
        )


def _print_summary(summary: dict[str, Any], scene: Path, run_path: Path, saved: bool, output: Output) -> None:
    """What was reached and written, and what to do next."""
    finished = summary["finished"]
    quality = [f"{count_of(summary['steps'], 'step')} in {duration(summary['seconds'])}"]
    if summary["psnr"] is not None:
        quality.append(f"PSNR {summary['psnr']:.2f} dB")
    if summary["silhouette_iou"] is not None:
        quality.append(f"silhouette IoU {summary['silhouette_iou']:.3f}")
    on, back = ["export", "mesh.ply", "--run", str(run_path)], ["reconstruct", str(scene), "--out", str(run_path)]
    next_command = shlex.join(["dvr", *(on if finished else [*back, "--resume"])])
    written = f"{'Wrote' if finished else 'Stopped and saved'} {run_path} ({', '.join(quality)})."
    if not saved:
        written = "Stopped before there was anything to save."
    text = f"{written}\n{'Next' if finished else 'Go on with' if saved else 'Begin again with'}: {next_command}"
    output.result(text, {"run": str(run_path), **summary, "next": next_command})
