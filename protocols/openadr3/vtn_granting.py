"""What an event of ours needs beside it: its program, and vens and resources that may read it."""

from dataclasses import replace

from protocols.grid import Target
from protocols.openadr3 import model
from protocols.openadr3.vtn_objects import VtnObjects, id_of


async def program_called(objects: VtnObjects, name: str) -> model.Program:
    """The program of that name, made where there is none."""
    known = next((program for program in objects.all(model.Program) if program.name == name), None)
    return known or await objects.add(model.Program(name=name))


async def grant(objects: VtnObjects, target: Target) -> None:
    """Have those that are meant by their own id or name granted it as a target, so that they can read the event."""
    held: list[model.Ven | model.Resource] = []
    if target.kind == "ven":
        held += [ven for ven in objects.all(model.Ven) if target.value in {id_of(ven), ven.name}]
    elif target.kind == "resource":
        held += [item for item in objects.all(model.Resource) if item.name == target.value]
    for item in held:
        if target.value not in item.targets:
            await objects.change(item, lambda now: replace(now, targets=(*now.targets, target.value)))
