"""kill -9 of each part in the middle of an event, on a whole site; `make soak` has them in pairs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole_site import PARTS, WholeSite, kill_in_mid_event, whole_site

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(nvml_library: Path) -> Iterator[WholeSite]:
    with (
        tempfile.TemporaryDirectory(prefix="gg-", ignore_cleanup_errors=True) as folder,
        whole_site(Path(folder), nvml_library) as made,
    ):
        yield made


@pytest.mark.parametrize("part", PARTS)
def test_whoever_dies_everything_is_put_back(site: WholeSite, part: str) -> None:
    kill_in_mid_event(site, (part,))
