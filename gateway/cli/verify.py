"""``gridgate verify``: a bundle checked without a gateway and without a network."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import JsonOption


def verify(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE.zip", help="What `gridgate statement bundle` wrote.")],
    *,
    head: Annotated[
        list[Path] | None, typer.Option("--head", help="A head that you were given at another time; repeatable.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The trusted key: its id, or a file with it (PEM, or its id).")
    ] = None,
    timestamp_ca: Annotated[
        Path | None, typer.Option("--timestamp-ca", help="Certificates (PEM) of who vouches for time stamps.")
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option("--certificate", help="A certificate (PEM) of who signs the grid's messages; repeatable."),
    ] = None,
    json_wanted: JsonOption = False,
) -> None:
    """Say what of a statement holds, what does not and where, and what is taken on trust."""
    import asyncio

    from gateway.app import check_signature, decode_message
    from gateway.bundle_file import BundleError, read_bundle_file
    from gateway.bundle_verify import verify as verify_bundle
    from gateway.cli.verify_text import in_words, read_pins

    try:
        pins = read_pins(heads=head or [], key=key, timestamp_ca=timestamp_ca, certificates=certificate or [])
    except OSError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    try:
        bundle = read_bundle_file(file)
        found = asyncio.run(verify_bundle(bundle, decode=decode_message, check_signature=check_signature, pins=pins))
    except OSError as cause:
        fail(f"cannot read {file}: {cause.strerror}", code=BAD_USAGE, json_wanted=json_wanted)
    except BundleError as cause:
        fail(f"{file} is no bundle that can be verified: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))
    if not found.holds:
        raise typer.Exit(FAILED)
