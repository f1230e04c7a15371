"""Log lines as JSON, with the request that they belong to."""

import json
import logging
import threading

import pytest

from chat.answers.running import RunningAnswer
from ragsite import origin
from ragsite.fields import new_id
from ragsite.logs import JsonLines
from ragsite.supervisor.output import json_line


def formatted(**changes):
    record = logging.LogRecord("chat", logging.INFO, __file__, 1, "said %s", ("“hello”\nthere",), None)
    for name, value in changes.items():
        setattr(record, name, value)
    return JsonLines().format(record)


def test_a_line_is_one_json_object():
    line = formatted()
    assert "\n" not in line
    found = json.loads(line)
    assert found["message"] == "said “hello”\nthere"
    assert (found["level"], found["logger"]) == ("INFO", "chat")
    assert found["time"].endswith("+0000")


def test_a_line_names_its_request_in_other_threads_too():
    came = origin.begin("request-4711")
    found = []

    def work():
        with origin.continued(came):
            found.append(json.loads(formatted())["request_id"])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [json.loads(formatted())["request_id"]] == ["request-4711"]


def test_an_answer_goes_on_with_the_request_that_asked():
    came = origin.begin()
    assert RunningAnswer(new_id(), 1).origin is came


def test_exceptions_and_further_fields_are_kept():
    try:
        raise ValueError("no")
    except ValueError as error:
        line = formatted(exc_info=(type(error), error, error.__traceback__), seconds=0.5)
    found = json.loads(line)
    assert "ValueError: no" in found["exc_info"]
    assert found["seconds"] == 0.5


def test_each_request_has_a_line_in_json(client, settings, caplog, db):
    settings.LOG_FORMAT = "json"
    with caplog.at_level(logging.INFO, "ragsite.access"):
        client.get("/no/such/page?secret=words")
        client.get("/healthz")
    lines = [record for record in caplog.records if record.name == "ragsite.access"]
    assert [line.getMessage() for line in lines] == ["GET none 404"]
    assert lines[0].status == 404


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"message": "hello", "level": "INFO"}', {"part": "web", "message": "hello", "level": "INFO"}),
        ("LOG:  ready", {"part": "web", "message": "LOG:  ready"}),
        ("{broken", {"part": "web", "message": "{broken"}),
        ("[1]", {"part": "web", "message": "[1]"}),
    ],
)
def test_lines_of_all_parts_are_json(text, expected):
    found = json.loads(json_line("web", text))
    found.pop("time", None)
    assert found == expected
