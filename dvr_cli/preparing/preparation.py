"""The whole way, stage by stage, from a folder of photographs or a video to a scene.

    frames          work/frames/         a video only
    photographs     work/photographs.json
    features        work/features/       one file per photograph
    database        work/database.db
    matching        work/database.db
    poses           work/sparse/
    images          images/
    scene           sparse/0/
    masks           masks/               where they are likely to be good
    prepare.json    the summary, last

Every stage is skipped when it has been done with the same photographs and settings.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dvr_cli.errors import SceneError
from dvr_cli.files import disk_errors, write_text
from dvr_cli.preparing.advice import advice, verdict
from dvr_cli.preparing.features import StoredFeatures, extract_features, feature_file
from dvr_cli.preparing.libraries import quiet_logs
from dvr_cli.preparing.masking import MADE_ALWAYS, MADE_NEVER, mask_scene, remove_own_masks
from dvr_cli.preparing.matching import match_pairs, read_connections, write_database
from dvr_cli.preparing.outcome import Outcome, blurred, judge
from dvr_cli.preparing.pairs import pairs_to_match
from dvr_cli.preparing.photographs import Listing, Photograph, list_photographs
from dvr_cli.preparing.poses import AUTO, solve_poses, write_model
from dvr_cli.preparing.stages import SPACE_ADVICE, Report, Stop, Stopped, WorkFolder, file_digest, fingerprint
from dvr_cli.preparing.undistorting import output_names, write_images, write_scene_model
from dvr_cli.preparing.video_frames import extract_frames
from dvr_cli.preparing.videos import VIDEO_SUFFIXES, is_video

FEWEST_PHOTOGRAPHS = 2
SUMMARY = "prepare.json"


@dataclass(frozen=True)
class Preparing:
    """What is asked for."""

    source: Path
    """A folder of photographs, or a video."""
    out: Path
    camera_model: str = AUTO
    image_size: int | None = None
    """Longest side of the undistorted photographs, pixels; None: as it comes."""
    masks: str = MADE_NEVER
    """One of the words of `masking`: always, never, or if they are good."""
    frames: int | None = None
    """How many frames of a video to use; None: by how far the picture moves."""
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Prepared:
    """What came out, ready for JSON."""

    values: dict[str, Any]
    """Everything that prepare.json holds."""
    repeated: bool
    """True when all of it had been done before."""


def check_places(source: Path, out: Path, overwrite: bool) -> None:
    """Raise SceneError unless `source` can be read from and `out` written to; removes an earlier result on request."""
    if not source.exists():
        raise SceneError(f"{source} does not exist.\nExpected a folder of photographs, or a video.")
    if source.is_file() and not is_video(source):
        raise SceneError(
            f"{source} is neither a folder of photographs nor a video.\n"
            f"Expected a folder, or a file that ends in one of {' '.join(VIDEO_SUFFIXES)}."
        )
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or inner.is_relative_to(outer):
        raise SceneError(
            f"{out} lies in {source}: its pictures would be taken for photographs the next time.\n"
            "Name a folder beside it."
        )
    if outer.is_relative_to(inner):
        raise SceneError(f"{source} lies in {out}, which is to be written.\nName another folder for the result.")
    if out.exists() and not out.is_dir():
        raise SceneError(f"{out} is a file: expected the name of a folder to write.")
    if out.is_dir() and any(out.iterdir()) and not _is_ours(out):
        raise SceneError(
            f"{out} holds files that dvr prepare did not write.\nName an empty folder, or one that does not exist yet."
        )
    if overwrite and out.is_dir():
        remove_result(out)


def remove_result(out: Path) -> None:
    """Remove what an earlier preparation wrote; other files stay."""
    with disk_errors(out, SceneError, "Check the permissions of the folder."), WorkFolder(out) as work:
        remove_own_masks(out, work)
        for name in (SUMMARY, "sparse", "images", "work"):
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)


def _is_ours(out: Path) -> bool:
    return (out / SUMMARY).is_file() or (out / "work" / "lock").is_file()


def prepare(request: Preparing, report: Report, stop: Stop) -> Prepared:
    """Do what is not done yet. SceneError for input that cannot be used, Stopped when `stop` says so."""
    with WorkFolder(request.out) as work:
        if is_video(request.source) and request.source.is_file():
            folder, source_notes = extract_frames(request.source, request.frames, work, report, stop)
        else:
            folder, source_notes = request.source, ()
        listing = _readable(list_photographs(folder, request.threads, _named(report, "photographs", stop)))
        listing = _with_features(listing, work, request, report, stop)
        stages = _Stages(request, work, listing, is_video(request.source), report, stop)
        return stages.finish(source_notes)


def _named(report: Report, stage: str, stop: Stop) -> Any:
    def told(done: int, total: int) -> None:
        report(stage, done, total)
        if stop():
            raise Stopped

    return told


def _readable(listing: Listing) -> Listing:
    if len(listing.photographs) < FEWEST_PHOTOGRAPHS:
        bad = [f"{name}: {reason}" for name, reason in list(listing.unreadable.items())[:3]]
        copies = [f"{name} is a copy of {other}." for name, other in list(listing.copies.items())[:3]]
        found = "\n".join([*bad, *copies, *listing.notes])
        number = len(listing.photographs)
        raise SceneError(
            f"{number or 'No'} photograph{' was' if number == 1 else 's were'} found that can be used: at least "
            f"{FEWEST_PHOTOGRAPHS} are needed, 30 to 80 are usual.\n{found or 'Add photographs of the same thing.'}"
        )
    return listing


def _with_features(listing: Listing, work: WorkFolder, request: Preparing, report: Report, stop: Stop) -> Listing:
    """The listing without photographs that turn out not to be decodable, once features of all others are there."""
    bad = extract_features(listing.photographs, work.path / "features", request.threads, report, stop)
    kept = tuple(photograph for photograph in listing.photographs if photograph.name not in bad)
    return _readable(replace(listing, photographs=kept, unreadable={**listing.unreadable, **bad}))


class _Stages:
    """From features to the scene; each stage's fingerprint contains that of the one before."""

    def __init__(
        self, request: Preparing, work: WorkFolder, listing: Listing, from_video: bool, report: Report, stop: Stop
    ) -> None:
        self.request, self.work, self.listing, self.from_video = request, work, listing, from_video
        self.report, self.stop = report, stop
        self.photographs: Sequence[Photograph] = listing.photographs
        self.names = [photograph.name for photograph in self.photographs]
        self.repeated = True
        folder = work.path / "features"
        described = [_described(photograph, folder) for photograph in self.photographs]
        self.database_from = fingerprint("database", described, request.camera_model)

    def finish(self, notes: Sequence[str]) -> Prepared:
        """Do the rest and write the summary."""
        matched = self._matching()
        solved = self._poses(matched)
        scene = self._images(solved)
        values = self._summary(solved, self._masks(scene), notes)
        return Prepared(values, self.repeated)

    @property
    def _database(self) -> Path:
        return self.work.path / "database.db"

    def _matching(self) -> str:
        wanted = fingerprint("matching", self.database_from, self.from_video, self.request.seed)
        if self.work.done("matching", wanted) and self._database.is_file():
            return wanted
        self.repeated = False
        features = StoredFeatures(self.photographs, self.work.path / "features")
        if not (self.work.done("database", self.database_from) and self._database.is_file()):
            self.work.begin("database", "matching")
            with disk_errors(self._database, SceneError, SPACE_ADVICE):
                write_database(self._database, self.photographs, features, self.request.camera_model)
            self.work.finish("database", self.database_from)
        pairs = pairs_to_match(features, self.from_video)
        blur = [found.blur for found in features]
        match_pairs(self._database, pairs, self.request.threads, self.request.seed, self.report, self.stop)
        inliers = read_connections(self._database, len(self.photographs)).inliers
        self.work.finish("matching", wanted, {"pairs": len(pairs), "blur": blur, "inliers": _sparse(inliers)})
        return wanted

    def _poses(self, matched: str) -> dict[str, Any]:
        wanted = fingerprint("poses", matched, self.request.camera_model, self.request.seed)
        done = self.work.done("poses", wanted)
        if done and (self.work.path / "sparse" / "cameras.bin").is_file():
            return done
        self.repeated = False
        self.work.begin("poses")
        solved = solve_poses(
            self._database, self.work.path, self.request.camera_model, len(self.names), self.request.seed,
            self.report, self.stop,
        )  # fmt: skip
        write_model(solved.model, self.work.path / "sparse")
        outcome = judge(solved.model, self.names, solved.groups)
        return self.work.finish(
            "poses",
            wanted,
            {"outcome": asdict(outcome), "verdict": verdict(outcome)} | {"advice": self._advice(outcome, matched)},
        )

    def _advice(self, outcome: Outcome, matched: str) -> list[str]:
        found = self.work.done("matching", matched) or {}
        count = len(self.names)
        inliers = np.zeros((count, count), dtype=np.int64)
        for first, second, number in found.get("inliers", []):
            inliers[first, second] = inliers[second, first] = number
        unsharp = [self.names[index] for index in blurred(np.array(found.get("blur", []), dtype=np.float64))]
        return advice(outcome, self.names, inliers, unsharp, self.from_video)

    def _images(self, solved: dict[str, Any]) -> str:
        """images/ and sparse/0, and their fingerprint; what lies there of another preparation is removed first."""
        import pycolmap

        model_files = [file_digest(path) for path in sorted((self.work.path / "sparse").glob("*.bin"))]
        wanted = fingerprint("images", solved["fingerprint"], model_files, self.request.image_size)
        images, scene = self.request.out / "images", self.request.out / "sparse" / "0"
        with quiet_logs():
            model = pycolmap.Reconstruction(str(self.work.path / "sparse"))
        outputs = output_names(self.photographs)
        ids = sorted(model.reg_image_ids())
        there = all((images / outputs[image_id - 1]).is_file() for image_id in ids)
        if self.work.done("scene", wanted) and there and (scene / "cameras.bin").is_file():
            return wanted
        self.repeated = False
        if not self.work.done("images", wanted):
            self.work.begin("images", "scene")
            with disk_errors(images, SceneError, SPACE_ADVICE):
                (self.request.out / SUMMARY).unlink(missing_ok=True)
                remove_own_masks(self.request.out, self.work)
                for folder in (scene.parent, images):
                    shutil.rmtree(folder, ignore_errors=True)
            # Says what the files in images/ are made from, whether or not all are there.
            self.work.finish("images", wanted)
        photographs = {outputs[image_id - 1]: self.photographs[image_id - 1] for image_id in ids}
        cameras = {outputs[image_id - 1]: model.cameras[model.images[image_id].camera_id] for image_id in ids}
        write_images(
            photographs, cameras, images, self.request.image_size, self.request.threads, self.report, self.stop
        )
        write_scene_model(model, outputs, images, scene, self.request.image_size)
        self.work.finish("scene", wanted)
        return wanted

    def _masks(self, scene: str) -> dict[str, Any] | None:
        wanted = fingerprint("masks", scene, self.request.masks, self.request.seed)
        folder = self.request.out / "masks"
        done = self.work.done("masks", wanted)
        if done is not None and (done["masks"] is None or not done["masks"]["kept"] or folder.is_dir()):
            found: dict[str, Any] | None = done["masks"]
            return found
        self.repeated = False
        if not remove_own_masks(self.request.out, self.work):
            if self.request.masks == MADE_ALWAYS:
                raise SceneError(
                    f"{folder} holds masks that dvr prepare did not make.\nMove them away, or leave --masks auto out."
                )
            return None
        # Until they are done: whatever lies in masks/ from now on was made here.
        self.work.finish("masks", "unfinished", {"masks": {"kept": True}})
        made = mask_scene(
            self.request.out, self.work, self.photographs, self.request.masks, self.request.threads,
            self.request.seed, self.report, self.stop,
        )  # fmt: skip
        found = self.work.finish("masks", wanted, {"masks": made})["masks"]
        return found

    def _summary(self, solved: dict[str, Any], masks: dict[str, Any] | None, notes: Sequence[str]) -> dict[str, Any]:
        values = {
            "source": str(self.request.source),
            "verdict": solved["verdict"],
            "advice": solved["advice"],
            **solved["outcome"],
            "masks": masks,
            "unreadable": self.listing.unreadable,
            "copies": self.listing.copies,
            "notes": [*notes, *self.listing.notes],
        }
        path = self.request.out / SUMMARY
        with disk_errors(path, SceneError, SPACE_ADVICE):
            write_text(path, json.dumps(values, indent=1, ensure_ascii=False))
        return values


def _described(photograph: Photograph, features: Path) -> list[Any]:
    """What a database depends on."""
    return [
        photograph.name, feature_file(photograph, features).name, photograph.width, photograph.height,
        photograph.focal_length, photograph.lens,
    ]  # fmt: skip


def _sparse(inliers: "np.ndarray") -> list[list[int]]:
    """Rows (first, second, number) of the pairs that have any."""
    return [[int(first), int(second), int(inliers[first, second])] for first, second in np.argwhere(np.triu(inliers))]
