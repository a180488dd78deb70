"""The frames of a video that are used, as files: two passes, one to measure all frames, one to keep the chosen ones."""

from pathlib import Path

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, replacing
from dvr_cli.preparing.frames import FrameMeasures, choose_frames, measure_frames
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop, Stopped, WorkFolder, file_digest, fingerprint
from dvr_cli.preparing.videos import chosen_frames, small_frames

FRAMES_FOLDER = "frames"
JPEG_QUALITY = 97
VERSION = 1


def extract_frames(
    video: Path, wanted: int | None, work: WorkFolder, report: Report, stop: Stop
) -> tuple[Path, tuple[str, ...]]:
    """The folder with the chosen frames of a video, and a note about them; see `frames` for the choice.

    Frames are named by their number. SceneError for a video that cannot be decoded or has too few frames.
    """
    folder = work.path / FRAMES_FOLDER
    try:
        made_from = fingerprint("frames", file_digest(video), wanted, VERSION)
    except OSError as cause:
        raise SceneError(f"{video} cannot be read: {cause.strerror}.") from cause
    done = work.done("frames", made_from)
    if done is None or not all((folder / name).is_file() for name in done["names"]):
        work.begin("frames")
        done = work.finish("frames", made_from, _extract(video, wanted, folder, report, stop))
    note = f"{len(done['names'])} of {done['frames']} frames are used, the sharpest of each stretch of the way."
    return folder, (note,)


def _extract(video: Path, wanted: int | None, folder: Path, report: Report, stop: Stop) -> dict[str, object]:
    def counted(count: int) -> None:
        if stop():
            raise Stopped
        # How many there are is known at the end only.
        if count % 25 == 0:
            report("measuring frames", count, count)

    measures: FrameMeasures = measure_frames(small_frames(video), counted)
    numbers = choose_frames(measures, wanted)
    if len(numbers) < 2:
        raise SceneError(
            f"{video} has {len(measures.path)} frames, of which {len(numbers)} differ: at least 2 that show the thing "
            "from different places are needed.\nWalk around it while filming."
        )
    names = [f"frame_{int(number):06d}.jpg" for number in numbers]
    with disk_errors(folder, SceneError, SPACE_ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink()
        written = _write_frames(video, numbers, names, folder, report, stop)
    return {"frames": len(measures.path), "names": names[:written]}


def _write_frames(video: Path, numbers, names: list[str], folder: Path, report: Report, stop: Stop) -> int:  # type: ignore[no-untyped-def]
    from PIL import Image

    written = 0
    for name, frame in zip(names, chosen_frames(video, numbers), strict=False):
        if stop():
            raise Stopped
        with replacing(folder / name) as temporary:
            Image.fromarray(frame).save(temporary, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
        written += 1
        report("frames", written, len(names))
    return written
