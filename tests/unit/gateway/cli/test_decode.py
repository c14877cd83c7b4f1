import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app

EVENT = """
<oadr:oadrDistributeEvent xmlns:oadr="http://openadr.org/oadr-2.0b/2012/07"
    xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110"
    xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"
    xmlns:emix="http://docs.oasis-open.org/ns/emix/2011/06"
    xmlns:strm="urn:ietf:params:xml:ns:icalendar-2.0:stream"
    xmlns:power="http://docs.oasis-open.org/ns/emix/2011/06/power"
    xmlns:scale="http://docs.oasis-open.org/ns/emix/2011/06/siscale"
    xmlns="urn:ietf:params:xml:ns:icalendar-2.0">
  <pyld:requestID>r</pyld:requestID><ei:vtnID>VTN</ei:vtnID>
  <oadr:oadrEvent>
    <ei:eiEvent>
      <ei:eventDescriptor>
        <ei:eventID>peak-1</ei:eventID><ei:modificationNumber>2</ei:modificationNumber><ei:priority>1</ei:priority>
        <ei:eiMarketContext><emix:marketContext>http://utility.example/peak</emix:marketContext></ei:eiMarketContext>
        <ei:createdDateTime>2030-01-31T12:00:00Z</ei:createdDateTime><ei:eventStatus>far</ei:eventStatus>
      </ei:eventDescriptor>
      <ei:eiActivePeriod>
        <properties>
          <dtstart><date-time>2030-01-31T13:00:00Z</date-time></dtstart><duration><duration>PT1H</duration></duration>
        </properties>
        <components/>
      </ei:eiActivePeriod>
      <ei:eiEventSignals>
        <ei:eiEventSignal>
          <strm:intervals>
            <ei:interval>
              <duration><duration>PT1H</duration></duration>
              <ei:signalPayload><ei:payloadFloat><ei:value>-5</ei:value></ei:payloadFloat></ei:signalPayload>
            </ei:interval>
          </strm:intervals>
          <ei:signalName>LOAD_DISPATCH</ei:signalName><ei:signalType>delta</ei:signalType><ei:signalID>s</ei:signalID>
          <power:powerReal>
            <power:itemDescription>RealPower</power:itemDescription><power:itemUnits>W</power:itemUnits>
            <scale:siScaleCode>k</scale:siScaleCode>
            <power:powerAttributes>
              <power:hertz>60</power:hertz><power:voltage>480</power:voltage><power:ac>true</power:ac>
            </power:powerAttributes>
          </power:powerReal>
        </ei:eiEventSignal>
      </ei:eiEventSignals>
      <ei:eiTarget/>
    </ei:eiEvent>
    <oadr:oadrResponseRequired>always</oadr:oadrResponseRequired>
  </oadr:oadrEvent>
</oadr:oadrDistributeEvent>
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "event.xml"
    path.write_text(EVENT)
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["decode", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_an_event_in_neutral_form_as_json(file: Path) -> None:
    code, output, _ = run(str(file), "--json")
    assert code == 0
    found = json.loads(output)
    assert (found["message"], found["protocol"], found["version"]) == ("oadrDistributeEvent", "openadr", "2.0b")
    (event,) = found["events"]
    assert (event["event_id"], event["revision"], event["rank"]) == ("peak-1", 2, 1)
    assert (event["starts_at"], event["duration_s"]) == ("2030-01-31T13:00:00Z", 3600.0)
    (signal,) = event["signals"]
    assert signal["kind"] == "adjust"
    (interval,) = signal["intervals"]
    assert (interval["starts_at"], interval["duration_s"]) == ("2030-01-31T13:00:00Z", 3600.0)
    assert (interval["value"], interval["text"], interval["points"]) == (-5000.0, "", [])
    assert found["prices"] == []


def test_an_event_in_words(file: Path) -> None:
    code, output, _ = run(str(file))
    assert code == 0
    assert output.splitlines() == [
        "oadrDistributeEvent (openadr 2.0b)",
        "event peak-1 revision 2 of http://utility.example/peak: far, rank 1",
        "  from 2030-01-31T13:00:00Z, 3600 s",
        "  LOAD_DISPATCH delta: adjust",
        "    2030-01-31T13:00:00Z      3600 s  -5000",
    ]


def test_an_event_that_contradicts_itself_in_words(file: Path) -> None:
    file.write_text(EVENT.replace("PT1H", "PT2H", 1))
    code, output, _ = run(str(file))
    assert code == 0
    assert "event peak-1 revision 2 contradicts itself: signal LOAD_DISPATCH: the intervals take 3600 s" in output


def test_a_message_without_events_in_words(file: Path) -> None:
    file.write_text(
        '<oadrPoll xmlns="http://openadr.org/oadr-2.0b/2012/07"><venID '
        'xmlns="http://docs.oasis-open.org/ns/energyinterop/201110">ven-1</venID></oadrPoll>'
    )
    assert run(str(file)) == (0, "oadrPoll (openadr 2.0b)\n  ven_id: ven-1\n", "")


JSON_EVENT = """
[{"id": "peak-1", "objectType": "EVENT", "programID": "program-1", "priority": 2,
  "createdDateTime": "2030-01-31T12:00:00Z", "modificationDateTime": "2030-01-31T12:00:00Z",
  "payloadDescriptors": [{"payloadType": "DISPATCH_SETPOINT_RELATIVE", "units": "KW"}],
  "intervalPeriod": {"start": "2030-01-31T13:00:00Z", "duration": "PT1H"},
  "intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT_RELATIVE", "values": [-5]}]}]}]
"""


def test_json_is_openadr_3(file: Path) -> None:
    file.write_text(JSON_EVENT, encoding="utf-8-sig")
    code, output, _ = run(str(file))
    assert code == 0
    assert output.splitlines() == [
        "list of 1: Event (openadr 3.1)",
        "event peak-1 revision 1896091200000000 of program-1: far, rank 2, no answer wanted",
        "  from 2030-01-31T13:00:00Z, 3600 s",
        "  DISPATCH_SETPOINT_RELATIVE KW: adjust",
        "    2030-01-31T13:00:00Z      3600 s  -5000",
    ]


def test_json_without_events_in_words(file: Path) -> None:
    file.write_text('{"title": "Not Found", "status": 404}')
    assert run(str(file)) == (0, "Problem (openadr 3.1)\n  title: Not Found\n  status: 404\n", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an empty body"),
        ('{"programID": 5}', "$.programID: 5, expected an object id"),
        ("[" * 300, "levels"),
        (EVENT[:-40], "not well-formed XML"),
        (EVENT.replace("oadr-2.0b", "oadr-2.0a"), "oadr-2.0a"),
        (EVENT.replace(">far<", ">soon<"), "line 16: ei:eventStatus is 'soon'"),
        ("<a>" * 300, "levels"),
    ],
)
def test_what_cannot_be_read_ends_with_one_clear_error(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    code, output, error = run(str(file), "--json")
    assert code == 2
    assert says in json.loads(output)["error"]
    assert error.count("\n") == 1
    assert says in error


def test_a_file_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    code, output, error = run(str(tmp_path / "none.xml"))
    assert (code, output) == (2, "")
    assert "cannot read" in error
