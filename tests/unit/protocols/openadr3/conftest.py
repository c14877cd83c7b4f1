"""The published definition of both versions."""

from pathlib import Path

import pytest

from protocols.openadr3.names import Version
from tests.openadr3_definition import Definition
from tests.openadr3_server import SmallVtn
from tests.unit.protocols.openadr3.joined import Pair


@pytest.fixture(scope="session")
def published(shared: Path) -> Path:
    """The folder of what the OpenADR Alliance publishes."""
    return shared / "data" / "openadr3"


@pytest.fixture(scope="session")
def definitions(published: Path) -> dict[Version, Definition]:
    return {Version.V3_1: Definition(published, "3.1.1"), Version.V3_0: Definition(published, "3.0.1")}


@pytest.fixture(params=list(Version))
def pair(request: pytest.FixtureRequest, definitions: dict[Version, Definition]) -> Pair:
    return Pair(SmallVtn(definitions[request.param], request.param))


@pytest.fixture
def newer(definitions: dict[Version, Definition]) -> Pair:
    """Of 3.1."""
    return Pair(SmallVtn(definitions[Version.V3_1]))
