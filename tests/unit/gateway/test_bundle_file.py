"""A bundle's zip: the same bytes each time, read with bounds, and a clear word for what is none."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import bundle_file
from gateway.bundle_file import (
    FORMAT,
    BundleError,
    BundleFile,
    NewerFormat,
    read_bundle,
    read_bundle_file,
    write_bundle,
)

BUNDLE = BundleFile(product_version="1.0", statement_id="s1", files={"b.txt": b"two", "a/c.txt": b"one"})


def rewritten(body: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    return zipped(list(files.items()))


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files:
            archive.writestr(name, body)
    return out.getvalue()


def test_what_is_written_is_read_and_its_order_does_not_matter() -> None:
    assert read_bundle(write_bundle(BUNDLE)) == BUNDLE
    turned = replace(BUNDLE, files=dict(reversed(BUNDLE.files.items())))
    assert write_bundle(turned) == write_bundle(BUNDLE)


def test_files_that_do_not_fit_the_manifest_are_named() -> None:
    def change(files: dict[str, bytes]) -> None:
        files["b.txt"] = b"three"
        del files["a/c.txt"]
        files["d.txt"] = b""

    assert read_bundle(rewritten(write_bundle(BUNDLE), change)).faults == (
        "a/c.txt is missing from the file",
        "d.txt is not in the manifest",
        "b.txt is not what the manifest says",
    )


def test_a_newer_format_is_said_to_be_one_and_by_whom() -> None:
    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps({"format": FORMAT + 1, "product_version": "9.1"}).encode()

    with pytest.raises(NewerFormat, match=r"format 2, written by gridgate 9\.1; .*with that gridgate or a newer one"):
        read_bundle(rewritten(write_bundle(BUNDLE), change))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no zip"),
        (b"PK\x03\x04 and nothing more", "no zip"),
        (zipped([("a.txt", b"")]), "no manifest"),
        (zipped([("manifest.json", b"{")]), "no JSON"),
        (zipped([("manifest.json", b"[" * 100_000)]), "no JSON"),
        (zipped([("manifest.json", b"[]")]), "none of a bundle"),
        (zipped([("manifest.json", b'{"format":1,"files":{}}')]), "none of a bundle"),
        (zipped([("../../etc/passwd", b"")]), "name that no bundle has"),
        (zipped([("/etc/passwd", b"")]), "name that no bundle has"),
        (zipped([("C:\\x", b"")]), "name that no bundle has"),
        (zipped([(f"{number}.txt", b"") for number in range(1001)]), "1001 files"),
    ],
)
def test_what_is_no_bundle_is_refused_in_plain_words(body: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        read_bundle(body)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="twice"):
        read_bundle(zipped([("a.txt", b"1"), ("a.txt", b"2")]))


def test_no_more_is_unpacked_than_the_bound_whatever_the_headers_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "MOST_BYTES", 2**20)
    bomb = zipped([("a.txt", bytes(2**19)), ("b.txt", bytes(2**20))])
    assert len(bomb) < 3000
    with pytest.raises(BundleError, match="unpacked it is over 1 MB"):
        read_bundle(bomb)


@pytest.mark.parametrize("at", [40, 60, -40])
def test_damage_to_a_zip_is_refused_or_changes_nothing(at: int) -> None:
    body = bytearray(write_bundle(BUNDLE))
    body[at] ^= 0xFF
    try:
        found = read_bundle(bytes(body))
    except BundleError:
        return
    assert found == BUNDLE


def test_a_zip_that_was_cut_short_is_refused_wherever_it_was_cut() -> None:
    body = write_bundle(BUNDLE)
    for length in range(len(body)):
        with pytest.raises(BundleError):
            read_bundle(body[:length])


def test_headers_that_lie_about_sizes_change_nothing_of_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "MOST_BYTES", 2**20)
    bomb = bytearray(zipped([("a.txt", bytes(2**22))]))
    # Unpacked sizes, in the local header and in the central directory: said to be 100 bytes.
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = bomb.index(signature) + at
        assert int.from_bytes(bomb[place : place + 4], "little") == 2**22
        bomb[place : place + 4] = (100).to_bytes(4, "little")
    with pytest.raises(BundleError, match="no zip that can be read"):
        read_bundle(bytes(bomb))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused_before_anything_is_unpacked(method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("manifest.json", bytes(2**20))
    with pytest.raises(BundleError, match="packed in a way that no bundle is"):
        read_bundle(out.getvalue())


@pytest.mark.parametrize("name", ["a/../../b", "./a", "a//b", "a/", "\\\\host\\share", "ä.txt", "con:1"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(BundleError, match="name that no bundle has"):
        read_bundle(zipped([(name, b"")]))


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(write_bundle(BUNDLE))
    assert read_bundle_file(path) == BUNDLE
    monkeypatch.setattr(bundle_file, "MOST_BYTES", 100)
    with pytest.raises(BundleError, match="and no bundle has more than"):
        read_bundle_file(path)
