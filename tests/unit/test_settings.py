"""Settings: where values come from, what is refused, what stays secret."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from latentfarm.registry import load_registry
from latentfarm.settings import Settings


def test_the_environment_wins_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTFARM_LEASE_S", "7.5")
    monkeypatch.setenv("LATENTFARM_S3_BUCKET", "pictures")
    found = Settings()
    assert (found.lease_s, found.s3_bucket) == (7.5, "pictures")


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTFARM_NOT_A_SETTING", "1")
    monkeypatch.setenv("LEASE_S", "1")
    assert Settings() == Settings(lease_s=20.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LATENTFARM_LEASE_S", "0"),
        ("LATENTFARM_LEASE_S", "soon"),
        ("LATENTFARM_API_PORT", "65536"),
        ("LATENTFARM_DATABASE_POOL", "0"),
        ("LATENTFARM_LOG_LEVEL", "LOUD"),
        ("LATENTFARM_TORCH_THREADS", "1.5"),
        ("LATENTFARM_MODELS_HELD", "-1"),
        ("LATENTFARM_MODELS_HELD", "one"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert refused.value.errors()[0]["loc"] == (name.removeprefix("LATENTFARM_").lower(),)


def test_secrets_are_not_printed() -> None:
    shown = repr(Settings(s3_secret_access_key=SecretStr("hush-hush")))
    assert "hush" not in shown


def test_a_parent_renews_its_lease_several_times_before_it_ends() -> None:
    settings = Settings()
    assert settings.lease_s >= 4 * settings.renew_s


def test_the_api_listens_on_loopback_by_default() -> None:
    assert Settings().api_host == "127.0.0.1"
    assert not Settings().require_keys


def test_the_default_registry_is_there() -> None:
    assert "tiny" in load_registry(Settings().models_file).entries
