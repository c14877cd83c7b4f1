"""TLS with a real handshake: the suites of OpenADR 2.0b, and certificates on both sides."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.tls import Profile, listener_context, vtn_client_context
from tests.certificates import Identity, authority

RSA_ONLY = "AES128-SHA256"
"""TLS_RSA_WITH_AES_128_CBC_SHA256"""


class Files:
    """An authority's certificate, and keys and certificates of both kinds, as files."""

    def __init__(self, folder: Path) -> None:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self.folder = folder
        self.root = authority(begins_at=yesterday)
        self.ca = self._write("ca", self.root)
        key = rsa.generate_private_key(65537, 2048)
        self.rsa = self._write("rsa", self.root.vouch("localhost", key=key, begins_at=yesterday))
        self.curve = self._write("curve", self.root.vouch("localhost", begins_at=yesterday))
        self.stranger = self._write("stranger", authority(begins_at=yesterday).vouch("else", begins_at=yesterday))

    def _write(self, name: str, identity: Identity) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(identity.pem + identity.key_pem)
        return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Suite and version that both agreed on, after a byte went each way."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
        try:
            writer.write(b"x")
            if await reader.read(1) != b"x":
                raise ConnectionResetError("closed by the other side")
            suite, version, _ = writer.get_extra_info("ssl_object").cipher()
            return suite, version
        finally:
            writer.close()


def old_server(files: Files) -> ssl.SSLContext:
    """A server that has the one suite which the profile demands, and TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(RSA_ONLY)
    context.load_cert_chain(str(files.rsa))
    context.load_verify_locations(str(files.ca))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def old_client(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(RSA_ONLY)
    context.load_cert_chain(str(files.rsa))
    return context


@pytest.mark.parametrize("own", ["rsa", "curve"])
async def test_a_vtn_with_the_suite_of_2_0b_alone_is_reached_with_its_profile_only(files: Files, own: str) -> None:
    certificate: Path = getattr(files, own)
    client = vtn_client_context(certificate, None, files.ca, profile="openadr2b")
    assert await handshake(old_server(files), client) == (RSA_ONLY, "TLSv1.2")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(old_server(files), vtn_client_context(certificate, None, files.ca, profile="modern"))


async def test_a_client_with_the_suite_of_2_0b_alone_is_served_with_its_profile_only(files: Files) -> None:
    served = listener_context(files.rsa, None, files.ca, profile="openadr2b")
    assert await handshake(served, old_client(files)) == (RSA_ONLY, "TLSv1.2")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(listener_context(files.rsa, None, files.ca), old_client(files))


@pytest.mark.parametrize(("profile", "version"), [("modern", "TLSv1.3"), ("openadr2b", "TLSv1.2")])
@pytest.mark.parametrize("own", ["rsa", "curve"])
async def test_we_agree_with_ourselves_on_something_better(
    files: Files, profile: Profile, version: str, own: str
) -> None:
    certificate: Path = getattr(files, own)
    suite, agreed = await handshake(
        listener_context(certificate, None, files.ca, profile=profile),
        vtn_client_context(files.curve, None, files.ca, profile=profile),
    )
    assert agreed == version
    assert "GCM" in suite or "POLY1305" in suite


async def test_a_caller_without_our_authoritys_certificate_is_not_served(files: Files) -> None:
    served = listener_context(files.rsa, None, files.ca)
    for certificate in (None, files.stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await handshake(served, vtn_client_context(certificate, None, files.ca))
    behind_a_proxy = listener_context(files.rsa, None, files.ca, demands_certificate=False)
    assert await handshake(behind_a_proxy, vtn_client_context(None, None, files.ca))


async def test_a_vtn_that_our_authority_does_not_vouch_for_is_not_called(files: Files) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(str(files.stranger))
    for ca in (files.ca, None):
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            await handshake(server, vtn_client_context(files.rsa, None, ca))


def test_files_that_cannot_be_used_are_an_error(files: Files, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file|SSL"):
        vtn_client_context(tmp_path / "none.pem", None, files.ca)
    with pytest.raises(ssl.SSLError):
        listener_context(files.ca, files.rsa, files.ca)
