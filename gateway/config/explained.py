"""What is wrong with a file of ours, in plain words."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel


def explain(error: Any, root: type[BaseModel]) -> str:
    """One error of pydantic's about a file described by ``root``, naming the nearest known key for an unknown one."""
    place: Sequence[str | int] = error["loc"]
    # What pydantic names the choice among kinds and roles by stands in no file.
    where = ".".join(str(part) for part in place if " " not in str(part)) or "settings"
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    known = sorted(_fields_at(place[:-1], root))
    nearest = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.0)
    return f"{where}: unknown key; did you mean {nearest[0]!r}? Known here: {', '.join(known)}"


def _fields_at(place: Sequence[str | int], root: type[BaseModel]) -> Sequence[str]:
    """Names of the keys that are known at a place in the file."""
    models: list[type[BaseModel]] = [root]
    for part in place:
        if isinstance(part, int):
            continue
        if part in models[0].model_fields:
            models = list(_models_in(models[0].model_fields[part].annotation))
        else:
            # Pydantic names the kind (and role, where there are several) that was chosen.
            models = [model for model in models if part in _tags(model)]
    return list(models[0].model_fields)


def _tags(model: type[BaseModel]) -> Iterator[str]:
    fields = model.model_fields
    for kind in get_args(fields["kind"].annotation):
        yield kind
        if "role" in fields:
            yield from (f"{kind} {role}" for role in get_args(fields["role"].annotation))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
