"""Cursors of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from api import cursors
from latentfarm.errors import InvalidInput

if TYPE_CHECKING:
    import uuid


@given(st.uuids())
def test_a_cursor_leads_back(job_id: uuid.UUID) -> None:
    assert cursors.decode(cursors.encode(job_id)) == job_id


@given(st.text(max_size=40))
def test_any_other_text_is_no_cursor(text: str) -> None:
    try:
        found = cursors.decode(text)
    except InvalidInput:
        return
    assert cursors.encode(found) == text.rstrip("=")
