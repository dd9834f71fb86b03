"""How long results are kept, and what is said of them afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from latentfarm.errors import InvalidInput
from latentfarm.manifests.fields import check_field
from latentfarm.manifests.request import DatasetRequest
from latentfarm.retention import at, expires_at, told
from latentfarm.spec import RenderSpec

END = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_results_expire_their_term_after_the_end() -> None:
    assert expires_at(END, 1.5) == datetime(2026, 11, 3, 0, tzinfo=UTC)
    assert expires_at(None, 1.5) is None
    assert expires_at(END, None) is None


def test_times_are_told_in_utc() -> None:
    assert at(END.astimezone(timezone(timedelta(hours=5)))) == "2026-11-01T12:00:00Z"


def test_who_asks_for_what_is_gone_hears_since_when_and_why() -> None:
    assert told("the images of job 7", END, 0.5) == (
        "the images of job 7 are gone since 2026-11-01T12:00:00Z, and were kept for 0.5 days; the record stays"
    )
    assert told("they", END) == "they are gone since 2026-11-01T12:00:00Z; the record stays"


@pytest.mark.parametrize("days", [0, -1, 3_650.1, float("nan"), float("inf"), "a week"])
def test_a_term_is_more_than_nothing_and_at_most_ten_years(days: object) -> None:
    spec: dict[str, object] = {"prompt": "a"}
    dataset: dict[str, object] = {"name": "a", "manifest": {"prompts": ["a"]}}
    with pytest.raises(ValidationError, match="retain_days"):
        RenderSpec.model_validate(spec | {"retain_days": days})
    with pytest.raises(ValidationError, match="retain_days"):
        DatasetRequest.model_validate(dataset | {"retain_days": days})
    assert RenderSpec.model_validate(spec | {"retain_days": 3_650}).retain_days == 3_650
    assert DatasetRequest.model_validate(dataset | {"retain_days": 0.5}).retain_days == 0.5


def test_a_term_makes_no_other_picture() -> None:
    spec = RenderSpec(prompt="a", retain_days=1)
    assert spec.picture() == RenderSpec(prompt="a").picture()


def test_rows_have_no_term_of_their_own() -> None:
    with pytest.raises(InvalidInput, match="retain_days of the run"):
        check_field("retain_days", "retain_days")
