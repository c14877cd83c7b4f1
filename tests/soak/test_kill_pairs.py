"""kill -9 of every two parts at once in the middle of an event, on a whole site."""

import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.whole_site import PARTS, WholeSite, kill_in_mid_event, whole_site

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(nvml_library: Path) -> Iterator[WholeSite]:
    with (
        tempfile.TemporaryDirectory(prefix="gg-", ignore_cleanup_errors=True) as folder,
        whole_site(Path(folder), nvml_library) as made,
    ):
        yield made


@pytest.mark.parametrize("parts", list(combinations(PARTS, 2)), ids="-".join)
def test_whoever_dies_together_everything_is_put_back(site: WholeSite, parts: tuple[str, str]) -> None:
    kill_in_mid_event(site, parts)
