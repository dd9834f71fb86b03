"""Jobs as predictions, and the links in them."""

from __future__ import annotations

import dataclasses
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.replicate.translation import to_spec
from latentfarm.model_versions import version_of
from latentfarm.prediction_events import job_of, predict, predictor
from latentfarm.predictions import MOST_SHOWN, UNREGISTERED, PredictionView, Teller, inputs_of
from latentfarm.records import Image, Job, ObjectRef
from latentfarm.registry import load_registry
from latentfarm.settings import Settings
from latentfarm.signed_links import Linked, LinkSigner
from latentfarm.spec import RenderSpec
from latentfarm.states import JobState, RenderState, Stage
from latentfarm.validation import complete
from latentfarm.webhooks import replicate
from latentfarm.webhooks.told import STARTED, Told

REGISTRY = load_registry(Path(__file__).resolve().parents[2] / "models" / "models.toml")
SIGNER = LinkSigner(b"secret")
TELLER = Teller(REGISTRY, SIGNER, "https://farm.example", 900)
NOW = 1_800_000_000.0
BEGUN = datetime(2026, 5, 1, tzinfo=UTC)
LINK = re.compile(r"https://farm\.example/replicate/v1/outputs/([\w-]+)/out-(\d+)\.(\w+)")


def job(state: JobState = JobState.SUCCEEDED, **fields: Any) -> Job:
    asked = RenderSpec.model_validate({"prompt": "a", "seed": 7, "num_images": 2, **fields})
    spec = complete(asked, REGISTRY.get(asked.model))
    ended = state not in (JobState.QUEUED, JobState.RUNNING)
    return Job(
        id=uuid.UUID(int=5),
        kind="single",
        tenant="acme",
        state=state,
        lane=spec.lane,
        priority=spec.priority,
        seed=7,
        num_images=spec.num_images,
        remaining=0 if ended else spec.num_images,
        failed=int(state is JobState.FAILED),
        keep_latents=spec.keep_latents,
        spec=spec.picture(),
        metadata=spec.metadata,
        created_at=BEGUN,
        started_at=None if state is JobState.QUEUED else BEGUN + timedelta(seconds=1),
        finished_at=BEGUN + timedelta(seconds=3.5) if ended else None,
    )


def image(index: int, state: RenderState = RenderState.SUCCEEDED, error: str | None = None) -> Image:
    ref = ObjectRef(f"v1/images/{index}/3.webp", b"x" * 32, 5) if state is RenderState.SUCCEEDED else None
    return Image(index, 7 + index, state, Stage.BASE, ref, {}, error)


def told(job: Job, *images: Image) -> PredictionView:
    return TELLER.tell(job, list(images), NOW)


def test_a_prediction_that_ended_well_holds_links_to_its_images() -> None:
    shown = told(job(), image(0), image(1))
    assert (shown.status, shown.error, shown.model) == ("succeeded", None, "latentfarm/tiny")
    assert shown.version == version_of(REGISTRY.get("tiny"))
    assert shown.metrics == {"predict_time": 2.5, "total_time": 3.5}
    assert (shown.created_at, shown.completed_at) == (BEGUN, BEGUN + timedelta(seconds=3.5))
    assert shown.urls.get == f"https://farm.example/replicate/v1/predictions/{uuid.UUID(int=5)}"
    assert shown.urls.cancel == f"{shown.urls.get}/cancel"
    links = [LINK.fullmatch(link) for link in shown.output or []]
    assert [(link[2], link[3]) for link in links if link] == [("0", "webp"), ("1", "webp")]
    linked = [SIGNER.read(link[1], NOW) for link in links if link]
    assert linked == [Linked(uuid.UUID(int=5), index, "acme", int(NOW) + 900) for index in (0, 1)]


@pytest.mark.parametrize(
    ("state", "status"), [(JobState.QUEUED, "starting"), (JobState.RUNNING, "processing")]
)
def test_a_prediction_that_has_not_ended_has_no_output(state: JobState, status: str) -> None:
    shown = told(job(state), image(0))
    assert (shown.status, shown.output, shown.completed_at, shown.metrics) == (status, None, None, {})
    assert shown.logs.endswith("  0%|          | 0/2\n")


def test_a_prediction_that_failed_says_why_and_keeps_what_is_there() -> None:
    shown = told(job(JobState.FAILED), image(0), image(1, RenderState.FAILED, "cannot be drawn"))
    assert (shown.status, len(shown.output or [])) == ("failed", 1)
    assert shown.error == "image 1: cannot be drawn (1 of 2 images failed)"
    assert told(job(JobState.FAILED)).error == "1 of 2 images failed"
    assert told(job(JobState.CANCELLED), image(0, RenderState.CANCELLED)).output is None
    assert told(job(JobState.CANCELLED)).status == "canceled"


def test_images_that_are_kept_no_longer_have_no_links() -> None:
    shown = told(dataclasses.replace(job(), gone_at=BEGUN), image(0))
    assert (shown.output, shown.data_removed) == (None, True)


def test_a_large_job_shows_its_first_images() -> None:
    shown = told(job(num_images=100), *(image(index) for index in range(100)))
    assert len(shown.output or []) == MOST_SHOWN
    assert len(shown.model_dump_json()) < 65_536


def test_a_model_that_is_gone_has_a_version_all_the_same() -> None:
    gone = job()
    assert told(dataclasses.replace(gone, spec=gone.spec | {"model": "old"})).version == UNREGISTERED


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sampler": "dpmpp_2m", "sigma_schedule": "karras", "negative_prompt": ""},
        {"refiner": {"mode": "ensemble", "high_noise_frac": 0.7}, "output": {"format": "webp", "quality": 5}},
        {"refiner": {"mode": "image", "num_inference_steps": 9}, "lane": "bulk", "priority": 3},
        {"image": f"sha256:{'0' * 64}", "mask_image": f"sha256:{'1' * 64}", "strength": 0.4},
        {"metadata": {"a": "b"}, "reproducible": True, "retain_days": 2.0, "keep_latents": 0},
        {"original_size": [64, 64], "eta": 0.5, "sampler": "ddim", "output": {"format": "jpeg"}},
    ],
)
def test_its_inputs_make_the_same_images_again(fields: dict[str, Any]) -> None:
    record = dataclasses.replace(job(**fields), retain_days=fields.get("retain_days"))
    entry = REGISTRY.get("tiny")
    asked = RenderSpec.model_validate({"prompt": "a", "seed": 7, "num_images": 2, **fields})
    assert complete(to_spec(inputs_of(record), entry), entry) == complete(asked, entry)


def event(name: str, **facts: Any) -> Told:
    given = {
        "id": str(uuid.UUID(int=5)),
        "kind": "single",
        "state": name.removeprefix("job."),
        "model": "tiny",
        "lane": "interactive",
        "priority": 0,
        "seed": 7,
        "num_images": 2,
        "failed": 0,
        "metadata": {},
        "dataset": None,
        "created_at": "2026-05-01T00:00:00+00:00",
        "started_at": "2026-05-01T00:00:01+00:00",
        "finished_at": None if name == STARTED else "2026-05-01T00:00:03.5+00:00",
    }
    return Told(uuid.UUID(int=1), name, BEGUN, {**given, **facts}, picture=job().spec, tenant="acme")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (STARTED, "start"),
        ("job.succeeded", "completed"),
        ("job.failed", "completed"),
        ("job.cancelled", "completed"),
    ],
)
def test_an_event_is_told_as_a_prediction(name: str, kind: str) -> None:
    assert replicate.render(event(name)) == (kind, {})
    written = dataclasses.replace(event(name), predict=lambda one: {"of": one.event})
    assert replicate.render(written) == (kind, {"of": name})


def test_of_what_is_no_prediction_nothing_is_told() -> None:
    assert replicate.render(event("job.succeeded", kind="dataset")) is None
    assert replicate.render(event("job.succeeded", kind="refine")) is None
    assert replicate.render(event("dataset.rejected")) is None


def test_the_prediction_of_an_event_is_that_of_its_job() -> None:
    ended = dataclasses.replace(event("job.succeeded"), images=(image(0), image(1)))
    assert TELLER.tell(job_of(ended), list(ended.images), NOW) == told(job(), image(0), image(1))
    started = TELLER.tell(job_of(event(STARTED)), [], NOW)
    assert (started.status, started.output, started.completed_at) == ("processing", None, None)
    removed = predict(TELLER, dataclasses.replace(event("job.succeeded"), picture=None))
    assert (removed["status"], removed["input"], removed["output"]) == ("succeeded", {}, None)


def test_without_a_bucket_nobody_writes_predictions() -> None:
    assert predictor(Settings(s3_secret_access_key=SecretStr("")), REGISTRY) is None


@given(st.uuids(), st.integers(0, 2**32 - 1), st.text("abc._-09", max_size=64), st.integers(0, 2**40))
def test_a_token_leads_back_until_its_time_is_over(
    job_id: uuid.UUID, index: int, tenant: str, end: int
) -> None:
    linked = Linked(job_id, index, tenant, end)
    token = SIGNER.token(linked)
    assert re.fullmatch(r"[\w-]{1,512}", token)
    assert SIGNER.read(token, end - 1) == linked
    assert SIGNER.read(token, end) is None
    assert LinkSigner(b"other").read(token, end - 1) is None


@given(st.integers(0, 100), st.integers(1, 255))
def test_a_token_that_was_changed_leads_nowhere(place: int, by: int) -> None:
    import base64

    token = SIGNER.token(Linked(uuid.UUID(int=9), 1, "acme", 2**33))
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= by
    assert SIGNER.read(base64.urlsafe_b64encode(raw).decode().rstrip("="), NOW) is None


@given(st.text(max_size=200))
def test_any_other_text_leads_nowhere(text: str) -> None:
    assert SIGNER.read(text, NOW) is None


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        LinkSigner(b"")
