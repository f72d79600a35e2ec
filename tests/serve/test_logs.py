import json
import logging

from heedful.serve.logs import JsonLines, event, logger


def test_an_event_is_one_line_whatever_is_in_it(caplog):
    with caplog.at_level(logging.INFO, "heedful.serve"):
        event("policy_refused", level=logging.ERROR, error='a\nb\u2028{"event": "forged"}')
    line = JsonLines().format(caplog.records[0])
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("policy_refused", "error")
    assert told["error"].startswith("a\nb")


def test_a_fault_is_told_by_its_place_not_by_its_words(caplog):
    try:
        raise RuntimeError("could not serve ada@example.org")
    except RuntimeError as error:
        logger.error("engine_failed", exc_info=error)
    line = JsonLines().format(caplog.records[0])
    assert "ada" not in line
    told = json.loads(line)
    assert told["error"] == "RuntimeError"
    assert "test_logs.py" in told["where"]
