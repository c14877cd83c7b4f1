from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.storage.object_store import SqlObjectStore
from gateway.storage.sql_ledger import open_ledger
from protocols.object_store import Asked, ObjectStore, StoredObject

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def an_object(object_id: str = "e1", **changes) -> StoredObject:
    stored = StoredObject(
        kind="EVENT",
        object_id=object_id,
        owner="client-1",
        program_id="p1",
        parent_id="v1",
        name="a name",
        created_at=NOON,
        modified_at=NOON,
        body='{"id":"e1"}',
    )
    return replace(stored, **changes)


async def test_what_is_kept_comes_back_whole_also_after_a_restart(url: str) -> None:
    stored = an_object(unique_key="key", modified_at=NOON + timedelta(microseconds=1))
    async with open_ledger(url, migrate=False) as ledger:
        await SqlObjectStore(ledger).change("program", kept=[stored])
    async with open_ledger(url, migrate=False) as ledger:
        assert await SqlObjectStore(ledger).objects("program", Asked(kind="EVENT")) == (stored,)


async def test_objects_come_in_order_of_creation_then_of_id_by_pages(objects: ObjectStore) -> None:
    later, b, a = an_object("a0", created_at=NOON + MINUTE), an_object("b"), an_object("a")
    await objects.change("program", kept=[later, b, a])
    assert [item.object_id for item in await objects.objects("program", Asked(kind="EVENT"))] == ["a", "b", "a0"]
    page = await objects.objects("program", Asked(kind="EVENT", skip=1, limit=1))
    assert [item.object_id for item in page] == ["b"]
    assert await objects.objects("program", Asked(kind="EVENT", limit=0)) == ()
    assert len(await objects.objects("program", Asked(kind="EVENT", skip=2))) == 1


@pytest.mark.parametrize("column", ["object_id", "owner", "program_id", "parent_id", "name", "unique_key"])
async def test_objects_are_found_by_each_column(objects: ObjectStore, column: str) -> None:
    one, other = an_object("one", unique_key="one"), an_object("other", unique_key="other")
    one = replace(one, **{column: "wanted"})
    await objects.change("program", kept=[one, other])
    assert await objects.objects("program", Asked(kind="EVENT", **{column: "wanted"})) == (one,)
    assert await objects.objects("program", Asked(kind="EVENT", **{column: "nobody's"})) == ()


async def test_kinds_and_connections_are_kept_apart(objects: ObjectStore) -> None:
    await objects.change("program", kept=[an_object(unique_key="k"), an_object(kind="VEN", unique_key="k")])
    await objects.change("another", kept=[an_object(unique_key="k")])
    await objects.change("program", gone=[("EVENT", "e1")])
    assert await objects.objects("program", Asked(kind="EVENT")) == ()
    assert len(await objects.objects("program", Asked(kind="VEN"))) == 1
    assert len(await objects.objects("another", Asked(kind="EVENT"))) == 1


async def test_a_change_replaces_what_has_the_same_id(objects: ObjectStore) -> None:
    await objects.change("program", kept=[an_object(), an_object("e2")])
    changed = an_object(body="{}", name="another", modified_at=NOON + MINUTE)
    await objects.change("program", kept=[changed], gone=[("EVENT", "e2"), ("EVENT", "never there")])
    assert await objects.objects("program", Asked(kind="EVENT")) == (changed,)


async def test_a_change_that_cannot_be_is_not_done_by_half(objects: ObjectStore) -> None:
    first = an_object("first", unique_key="taken")
    await objects.change("program", kept=[first])
    clash = [an_object("second"), an_object("third", unique_key="taken")]
    with pytest.raises(IntegrityError):
        await objects.change("program", kept=clash, gone=[("VEN", "nobody")])
    assert await objects.objects("program", Asked(kind="EVENT")) == (first,)


async def test_a_key_is_free_again_once_its_object_is_gone(objects: ObjectStore) -> None:
    await objects.change("program", kept=[an_object("first", unique_key="k")])
    second = an_object("second", unique_key="k")
    await objects.change("program", gone=[("EVENT", "first")], kept=[second])
    assert await objects.objects("program", Asked(kind="EVENT")) == (second,)


async def test_the_body_is_not_shown_in_logs() -> None:
    assert "bearer" not in repr(an_object(body='{"bearerToken":"bearer"}'))
