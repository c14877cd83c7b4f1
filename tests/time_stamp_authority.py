"""A real time-stamp authority (``openssl ts``) on loopback, with a chain of certificates of its own."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.certificates import YEAR, Key, authority
from tests.openadr3_server import serving

POLICY = "1.3.6.1.4.1.55555.1"
TIME_STAMP_CONTENT = "1.2.840.113549.1.9.16.1.4"
GRANTED = b"\x30\x03\x02\x01\x00"
"""A response's status in DER."""


def openssl_program() -> str:
    """OpenSSL's command; absent, the test skips, which under CI is a failure."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no OpenSSL on this machine: apt-get install openssl")
    return program


class TimeStampAuthority:
    """Stamps what it is asked to; its root vouches for an authority between, which vouches for the one that stamps."""

    def __init__(
        self,
        folder: Path,
        *,
        sends_chain: bool = False,
        digests: str = "sha256, sha512",
        accuracy: str = "secs:1, millisecs:500",
        key: Key | None = None,
        began_ago: timedelta = timedelta(days=1),
        lasts: timedelta = YEAR,
    ) -> None:
        self.program = openssl_program()
        self.folder = folder
        self._begins_at = datetime.now(UTC) - began_ago
        root = authority("root", begins_at=self._begins_at)
        self._between = root.vouch("between", begins_at=self._begins_at, authority=True)
        stamps = self._between.vouch(
            "stamps", key=key, begins_at=self._begins_at, lasts=lasts, only_for=ExtendedKeyUsageOID.TIME_STAMPING
        )
        self.root_pem = root.pem
        self.chain_pem = root.pem + self._between.pem
        for name, content in (
            ("stamps.pem", stamps.pem),
            ("stamps.key", stamps.key_pem),
            ("chain.pem", self.chain_pem),
            ("serial", b"01\n"),
        ):
            (folder / name).write_bytes(content)
        self._settings = folder / "tsa.cnf"
        self._settings.write_text(
            "[tsa]\ndefault_tsa = one\n[one]\n"
            f"serial = {folder}/serial\nsigner_cert = {folder}/stamps.pem\nsigner_key = {folder}/stamps.key\n"
            f"signer_digest = sha256\ndefault_policy = {POLICY}\ndigests = {digests}\n"
            "clock_precision_digits = 3\n"
            + (f"accuracy = {accuracy}\n" if accuracy else "")
            + (f"certs = {folder}/chain.pem\n" if sends_chain else "")
        )

    def stamp(self, query: bytes) -> bytes:
        """The response to a request, both in DER."""
        asked, answered = self.folder / "query.tsq", self.folder / "response.tsr"
        asked.write_bytes(query)
        self._run("ts", "-reply", "-config", str(self._settings), "-queryfile", str(asked), "-out", str(answered))
        return answered.read_bytes()

    def signed_again(self, response: bytes, purpose: ObjectIdentifier | None) -> bytes:
        """What the response says, signed by another whom the authority vouches for, for this purpose only or any."""
        other = self._between.vouch("other", begins_at=self._begins_at, only_for=purpose)
        for name, content in (("given.tsr", response), ("other.pem", other.pem), ("other.key", other.key_pem)):
            (self.folder / name).write_bytes(content)
        self._run("ts", "-reply", "-in", "given.tsr", "-token_out", "-out", "token.der")
        self._run("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token.der", "-out", "said.der")
        self._run(
            *("cms", "-sign", "-binary", "-nodetach", "-econtent_type", TIME_STAMP_CONTENT, "-in", "said.der"),
            *("-signer", "other.pem", "-inkey", "other.key", "-outform", "DER", "-out", "token.der"),
        )
        token = (self.folder / "token.der").read_bytes()
        content = GRANTED + token
        return b"\x30\x82" + len(content).to_bytes(2, "big") + content

    def confirms(self, response: bytes, data: bytes) -> bool:
        """Whether OpenSSL takes the response for a stamp over the data, trusting the root and the one between."""
        answered, stamped = self.folder / "checked.tsr", self.folder / "stamped"
        answered.write_bytes(response)
        stamped.write_bytes(data)
        trusted = ("-CAfile", str(self.folder / "chain.pem"))
        return self._run("ts", "-verify", "-in", str(answered), "-data", str(stamped), *trusted) == 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The authority's URL while it answers."""

        async def answer(request: web.Request) -> web.Response:
            if request.content_type != "application/timestamp-query":
                return web.Response(status=415)
            response = await asyncio.to_thread(self.stamp, await request.read())
            return web.Response(body=response, content_type="application/timestamp-reply")

        async with serving(web.post("/tsa", answer)) as url:
            yield url + "/tsa"

    def _run(self, *arguments: str) -> int:
        return subprocess.run(
            [self.program, *arguments], capture_output=True, timeout=20, check=False, cwd=self.folder
        ).returncode
