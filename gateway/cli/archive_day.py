"""Writing one day into the archive by command. Apart from the command, so that its ``--help`` loads none of this."""

from datetime import date

from gateway.app import open_archive
from gateway.archive import ArchiveError
from gateway.cli.ask import read_record
from gateway.cli.output import BAD_USAGE, FAILED, fail
from gateway.clock import SystemClock
from gateway.config import ConfigError, Settings
from gateway.domain.closed_day import ClosedDay, DayManifest
from gateway.ledger import Ledger
from gateway.services.archiving import closed_day, statements_by_day


def written(settings: Settings, day: date, *, json_wanted: bool) -> DayManifest | None:
    """Write the day; ``None`` where the record has nothing of it. Ends the command where it cannot be done."""
    site = settings.site.site()
    now = SystemClock().now()
    if day >= now.astimezone(site.timezone).date():
        fail(f"{day} is not over at {site.timezone.key}", code=BAD_USAGE, json_wanted=json_wanted)
    try:
        archive = open_archive(settings)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    if archive is None:
        fail("there is no [archive] in the config file: give it a folder", code=BAD_USAGE, json_wanted=json_wanted)

    async def content(ledger: Ledger) -> ClosedDay:
        return await closed_day(ledger, site, day, (await statements_by_day(ledger, site)).get(day, ()))

    found = read_record(settings.gateway.database, content, json_wanted=json_wanted)
    if not (found.readings or found.energy or found.statements):
        return None
    try:
        return archive.write(found, now)
    except ArchiveError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
