"""The archive as Parquet files, a folder for each version of a day, each with a manifest of hashes.

    FOLDER/2026-07-01/v1/energy.parquet  intervals.parquet  readings.parquet  statements.parquet  manifest.json

A version is written beside the others, made durable and moved into its place whole, and nothing is written there again.
Each manifest names the one that was written before it, so that a version cannot be withheld without its successors.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.archive import ArchiveBroken, ArchiveUnavailable, BrokenFile, DayArchive
from gateway.domain.closed_day import FORMAT, ClosedDay, ClosedFile, DayManifest, EventTotal
from gateway.domain.evidence import canonical_json
from gateway.storage.closed_day_tables import tables_of, write_table
from gateway.storage.closed_day_totals import totals_of

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 1 << 20
_UNFINISHED = ".unfinished-"


class ClosedDays(DayArchive):
    """A ``DayArchive`` in a folder, made when the first day is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifests(self) -> tuple[DayManifest, ...]:
        last = {manifest.day: manifest for manifest in self._all()}
        return tuple(last[day] for day in sorted(last))

    def write(self, day: ClosedDay, at: datetime) -> DayManifest:
        known = self._all()
        of_day = [manifest for manifest in known if manifest.day == day.day.isoformat()]
        content_sha256 = day.content_sha256
        if of_day and of_day[-1].content_sha256 == content_sha256:
            return of_day[-1]
        version = len(of_day) + 1
        place = self._folder / day.day.isoformat() / f"v{version}"
        unfinished = place.with_name(f"{_UNFINISHED}v{version}")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            files = [write_table(unfinished / name, table) for name, table in tables_of(day).items()]
            manifest = DayManifest(
                format=FORMAT,
                site_id=day.site_id,
                day=day.day.isoformat(),
                version=version,
                timezone=day.timezone,
                written_at=at,
                content_sha256=content_sha256,
                files=tuple(files),
                previous_sha256=_last_written(known),
            )
            (unfinished / MANIFEST).write_bytes(canonical_json(manifest))
            for path in (*unfinished.iterdir(), unfinished):
                _make_durable(path)
            unfinished.rename(place)
            for folder in (place.parent, self._folder):
                _make_durable(folder)
        except OSError as cause:
            raise ArchiveUnavailable(f"{place}: {cause.strerror or cause}") from cause
        return manifest

    def check(self) -> Sequence[BrokenFile]:
        broken: list[BrokenFile] = []
        manifests: list[DayManifest] = []
        for place in self._places():
            try:
                manifest = self._read(place)
            except ArchiveBroken as fault:
                broken.append(BrokenFile(path=self._named(place / MANIFEST), what=str(fault)))
                continue
            manifests.append(manifest)
            broken += [
                BrokenFile(path=self._named(place / file.name), what=wrong)
                for file in manifest.files
                if (wrong := _difference(place / file.name, file))
            ]
            known = {MANIFEST, *(file.name for file in manifest.files)}
            broken += [
                BrokenFile(path=self._named(path), what="is in no manifest")
                for path in sorted(place.iterdir())
                if path.name not in known
            ]
        return [*broken, *_gaps(manifests)]

    def totals(self, first: date, last: date) -> tuple[EventTotal, ...]:
        manifests = [one for one in self.manifests() if first.isoformat() <= one.day <= last.isoformat()]
        places = [self._folder / one.day / f"v{one.version}" for one in manifests]
        return totals_of(places)

    def _all(self) -> list[DayManifest]:
        """Every version of every day, by day and version."""
        return [self._read(place) for place in self._places()]

    def _places(self) -> list[Path]:
        try:
            found = [path for path in self._folder.glob("*/v*") if path.is_dir() and path.name[1:].isdecimal()]
        except OSError as cause:
            raise ArchiveUnavailable(f"{self._folder}: {cause.strerror or cause}") from cause
        return sorted(found, key=lambda path: (path.parent.name, int(path.name[1:])))

    def _read(self, place: Path) -> DayManifest:
        path = place / MANIFEST
        try:
            with path.open("rb") as file:
                body = file.read(LARGEST_MANIFEST + 1)
        except FileNotFoundError as cause:
            raise ArchiveBroken(f"{self._named(path)} is missing") from cause
        except OSError as cause:
            raise ArchiveUnavailable(f"{path}: {cause.strerror or cause}") from cause
        manifest = _parsed(body, self._named(path))
        if (manifest.day, f"v{manifest.version}") != (place.parent.name, place.name):
            raise ArchiveBroken(f"{self._named(path)} is of {manifest.day}, version {manifest.version}")
        return manifest

    def _named(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _parsed(body: bytes, name: str) -> DayManifest:
    try:
        content: Mapping[str, Any] = json.loads(body) if len(body) <= LARGEST_MANIFEST else {}
        if content["format"] != FORMAT:
            raise ArchiveBroken(f"{name} is of format {content['format']}, this gridgate reads {FORMAT}")
        manifest = DayManifest(
            **{
                **content,
                "written_at": datetime.fromisoformat(content["written_at"]).astimezone(UTC),
                "files": tuple(ClosedFile(**file) for file in content["files"]),
            }
        )
        unchanged = canonical_json(manifest) == body
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise ArchiveBroken(f"{name} is no manifest") from cause
    if not unchanged:
        raise ArchiveBroken(f"{name} is not as it was written")
    return manifest


def _last_written(manifests: Sequence[DayManifest]) -> str:
    """The hash of the manifest that none comes after, empty for none."""
    named = {manifest.previous_sha256 for manifest in manifests}
    return next((digest for manifest in manifests if (digest := manifest.sha256) not in named), "")


def _gaps(manifests: Sequence[DayManifest]) -> list[BrokenFile]:
    """What is wrong with how manifests name each other: a version that is gone, or two that follow the same one."""
    known = {manifest.sha256 for manifest in manifests}
    wrong: list[BrokenFile] = []
    followed: set[str] = set()
    for manifest in sorted(manifests, key=lambda one: (one.written_at, one.day, one.version)):
        path = f"{manifest.day}/v{manifest.version}/{MANIFEST}"
        previous = manifest.previous_sha256
        if previous and previous not in known:
            wrong.append(BrokenFile(path=path, what=f"follows {previous}, which is not here or was changed"))
        elif previous in followed:
            wrong.append(BrokenFile(path=path, what="follows what another version follows already"))
        followed.add(previous)
    return wrong


def _difference(path: Path, stated: ClosedFile) -> str:
    """What is wrong with a file, empty where nothing is."""
    try:
        with path.open("rb") as file:
            digest = _digest_of(file)
    except OSError as cause:
        return "is missing" if isinstance(cause, FileNotFoundError) else str(cause.strerror or cause)
    return "" if digest == stated.sha256 else f"was changed: its SHA-256 is {digest}, not {stated.sha256}"


def _digest_of(file: Any) -> str:
    digest = sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
