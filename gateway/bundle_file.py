"""The file of a bundle: a zip with a manifest, the same bytes for the same content, read with bounds.

Nothing in it is ever written to a disk by its name, and no more is unpacked than the bounds allow, whatever its
headers say.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.domain.evidence import canonical_json

T = TypeVar("T")

FORMAT = 1

MANIFEST = "manifest.json"

MOST_FILES = 1000
MOST_BYTES = 2**29
"""Unpacked. A statement whose baseline looks back over 45 days of readings by the second stays well under it."""

_CHUNK = 2**20
_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)
"""The zip format's first instant: when the file was made would make it another file."""


class BundleError(ValueError):
    """The file is no bundle that can be read; the text says why and what to do."""


class NewerFormat(BundleError):
    """It was written by a newer gridgate, whose format is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """The files of a bundle by name, the manifest left out. ``faults`` name those that it does not fit."""

    product_version: str
    statement_id: str
    files: Mapping[str, bytes]
    faults: tuple[str, ...] = ()


def write_bundle(bundle: BundleFile) -> bytes:
    """The zip's bytes."""
    manifest = {
        "format": FORMAT,
        "product_version": bundle.product_version,
        "statement_id": bundle.statement_id,
        "files": {name: sha256(body).hexdigest() for name, body in bundle.files.items()},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, body in sorted({**bundle.files, MANIFEST: canonical_json(manifest)}.items()):
            member = zipfile.ZipInfo(name, _WRITTEN_AT)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, body)
    return out.getvalue()


def read_bundle_file(path: Path) -> BundleFile:
    """As ``read_bundle``, from a file, which is not read where it is too large. Raises ``OSError`` too."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BundleError(f"it has {size / 2**20:.0f} MB, and no bundle has more than {MOST_BYTES // 2**20}")
    return read_bundle(path.read_bytes())


def read_bundle(body: bytes) -> BundleFile:
    """The bundle in a zip's bytes. Raises ``BundleError``, or ``NewerFormat`` where a newer gridgate is needed."""
    files = _unpacked(body)
    if MANIFEST not in files:
        raise BundleError("no bundle of a statement: it has no manifest.json")
    manifest = _manifest(files.pop(MANIFEST))
    listed = manifest["files"]
    faults = [f"{name} is missing from the file" for name in sorted(listed.keys() - files.keys())]
    faults += [f"{name} is not in the manifest" for name in sorted(files.keys() - listed.keys())]
    faults += [
        f"{name} is not what the manifest says"
        for name in sorted(files.keys() & listed.keys())
        if sha256(files[name]).hexdigest() != listed[name]
    ]
    return BundleFile(
        product_version=str(manifest.get("product_version", "")),
        statement_id=str(manifest["statement_id"]),
        files=files,
        faults=tuple(faults),
    )


def _unpacked(body: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise BundleError(f"it holds {len(members)} files, more than the {MOST_FILES} that are read")
            for member in members:
                _check_name(member, files)
                files[member.filename] = _read(archive, member, left)
                left -= len(files[member.filename])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as cause:
        raise BundleError(f"no zip that can be read: {cause}") from cause
    except ValueError as cause:
        raise BundleError(str(cause)) from cause
    return files


def _check_name(member: zipfile.ZipInfo, known: Mapping[str, bytes]) -> None:
    name = member.filename
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise BundleError(f"it holds {name[:80]!r} packed in a way that no bundle is")
    parts = name.split("/")
    if not name.isascii() or "\\" in name or ":" in name or any(part in {"", ".", ".."} for part in parts):
        raise BundleError(f"it holds a file with a name that no bundle has: {name[:80]!r}")
    if name in known:
        raise BundleError(f"it holds {name} twice")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int) -> bytes:
    """A member's bytes, unpacked piece by piece: its headers may lie."""
    pieces: list[bytes] = []
    with archive.open(member) as file:
        while piece := file.read(_CHUNK):
            left -= len(piece)
            if left < 0:
                raise BundleError(f"unpacked it is over {MOST_BYTES // 2**20} MB")
            pieces.append(piece)
    return b"".join(pieces)


def _manifest(body: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise BundleError("its manifest.json is no JSON") from cause
    known = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(known, int) and known > FORMAT:
        raise NewerFormat(
            f"it is of format {known}, written by gridgate {manifest.get('product_version', '?')}; this one reads "
            f"up to format {FORMAT}: verify it with that gridgate or a newer one"
        )
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if known != FORMAT or not isinstance(files, dict) or not isinstance(manifest.get("statement_id"), str):
        raise BundleError("its manifest.json is none of a bundle of a statement")
    return {**manifest}


def parsed(adapter: TypeAdapter[T], body: bytes, what: str) -> T:
    """What a bundle holds, read into terms of the domain. Raises ``BundleError`` that names ``what`` it is."""
    try:
        return adapter.validate_json(body)
    except ValidationError as cause:
        raise BundleError(f"{what} cannot be read: {cause.errors()[0]['msg']}") from cause
