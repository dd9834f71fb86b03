"""What a log leaves out of the words of others."""

from __future__ import annotations

from latentfarm.errors import DefectError, DeviceError, SpecError
from latentfarm.logs import without_rows
from worker.wording import UNTOLD, loggable

ROW = 'DETAIL:  Failing row contains (7, a secret wish,\nwith a second line, {"prompt": "x"}).'


def told(**event: object) -> object:
    return without_rows(None, "error", dict(event))


def test_rows_are_cut_out_of_tracebacks() -> None:
    trace = (
        f'psycopg.errors.CheckViolation: new row violates check "c"\n{ROW}\n\nThe above exception was the direct cause'
        f" of the following exception:\n\nIntegrityError: violates\n{ROW}\n[SQL: INSERT INTO specs]"
    )
    assert told(exception=trace) == {
        "exception": 'psycopg.errors.CheckViolation: new row violates check "c"\nDETAIL: left out\n\nThe above'
        " exception was the direct cause of the following exception:\n\nIntegrityError: violates\nDETAIL: left"
        " out\n[SQL: INSERT INTO specs]"
    }


def test_rows_are_cut_out_of_short_words_too() -> None:
    assert told(error=f"violates\n{ROW}") == {"error": "violates\nDETAIL: left out"}
    assert told(error=repr(ValueError(ROW)), other=7) == {"error": "ValueError('DETAIL: left out", "other": 7}


def test_other_words_stay() -> None:
    event = {"error": "no such table", "exception": "Traceback\n  File", "renders": 3}
    assert told(**event) == event


def test_what_may_quote_a_prompt_is_left_to_the_attempts() -> None:
    assert loggable(SpecError("prompt: cannot read 'a wish'")) == UNTOLD
    assert loggable(DefectError("KeyError('a wish')")) == UNTOLD
    assert loggable(DeviceError("CUDA error: an illegal address")) == "CUDA error: an illegal address"
