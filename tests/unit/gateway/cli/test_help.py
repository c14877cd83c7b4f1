"""Help: what stands in the texts reaches the reader."""

from collections.abc import Iterator
from typing import Any

import typer.main
from rich.text import Text

from gateway.cli.main import app


def texts(command: Any, words: str) -> Iterator[tuple[str, str]]:
    """Every text of the help of a command and of those below it, with the command."""
    yield words, command.help or ""
    for parameter in command.params:
        yield words, getattr(parameter, "help", None) or ""
    for name, below in getattr(command, "commands", {}).items():
        yield from texts(below, f"{words} {name}")


def test_no_words_of_the_help_are_taken_for_markup_and_vanish() -> None:
    found = list(texts(typer.main.get_command(app), "gridgate"))
    assert ("gridgate statement bundle", "File to write; by default STATEMENT_ID.zip.") in found
    lost = [(words, text) for words, text in found if Text.from_markup(text).plain != text]
    assert lost == []
