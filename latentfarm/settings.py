"""Every setting of the farm. Read by entry points only: `Settings()` looks at the environment.

Each has a name in `deploy/env.example`, which a test holds against this class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from latentfarm.rates import PATTERN as RATES
from latentfarm.spec import MAX_RETAIN_DAYS

Rates = Annotated[str, Field(pattern=RATES)]
_MODELS_FILE = Path(__file__).resolve().parent.parent / "models" / "models.toml"


class Settings(BaseSettings):
    """Environment variables with the prefix `LATENTFARM_`."""

    model_config = SettingsConfigDict(env_prefix="LATENTFARM_", extra="ignore", frozen=True)

    database_url: str = Field(
        "postgresql+psycopg://latentfarm@127.0.0.1:5432/latentfarm",
        description="PostgreSQL, as SQLAlchemy writes it.",
    )
    database_pool: int = Field(8, ge=1, description="Connections per process, at most.")
    worker_database_url: str | None = Field(
        None,
        description="The same database as workers reach it, as a role that may claim, renew and finish, and nothing"
        " else. `alembic upgrade head` makes it and keeps its rights. Default: as everybody.",
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis 6.2 or newer, or Valkey.")
    s3_endpoint_url: str = Field("http://127.0.0.1:8333", description="S3 as the services reach it.")
    s3_public_url: str | None = Field(
        None, description="S3 as users reach it: signs links. Default: the endpoint."
    )
    s3_bucket: str = Field("latentfarm", description="Bucket; `latentfarm doctor` says when it is missing.")
    s3_region: str = Field("us-east-1", description="Region that requests are signed for.")
    s3_access_key_id: str = Field("latentfarm", description="S3 access key.")
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="S3 secret key.")
    worker_s3_access_key_id: str | None = Field(
        None, description="S3 access key of workers. Default: as everybody."
    )
    worker_s3_secret_access_key: SecretStr = Field(SecretStr(""), description="S3 secret key of workers.")
    link_s: int = Field(900, ge=1, le=86_400, description="Seconds that a link to an image is good for.")
    upload_s: int = Field(
        3_600, ge=60, le=86_400, description="Seconds that an upload may be made and used in jobs."
    )
    input_keep_days: float = Field(
        30.0,
        ge=0,
        description="Days that a picture is kept after the end of the last job that started from it.",
    )
    retain_days: float = Field(
        0.0,
        ge=0,
        le=MAX_RETAIN_DAYS,
        description="Days that images and files are kept after the end of a job or dataset that does not say so"
        " itself; 0: for ever. Counts for what is accepted from then on.",
    )

    models_file: Path = Field(_MODELS_FILE, description="The model registry, models.toml.")
    models: str = Field(
        "", description="Models that a worker may serve, comma-separated; empty: all of the registry."
    )
    models_held: int = Field(
        0,
        ge=0,
        description="Models that a worker holds at once; the scheduler chooses which of those that it may serve."
        " 0: all of them.",
    )

    api_host: str = Field(
        "127.0.0.1",
        description="Address that the API listens on. One that others reach needs a key with the scope admin, or"
        " LATENTFARM_REQUIRE_KEYS.",
    )
    require_keys: bool = Field(
        False,
        description="Whether requests without a key are refused on loopback too; say so behind a proxy.",
    )
    rate_limit: Rates | None = Field(
        None,
        description="Requests that each key, or each tenant without one, may make of an API, such as"
        " 100/second;3000/minute, which is the default where others than this machine reach it; none on loopback.",
    )
    auth_failure_limit: Rates | None = Field(
        None,
        description="Wrong keys that may come from one address, such as 20/minute, which is the default where others"
        " than this machine reach the API; none on loopback.",
    )
    api_port: int = Field(8400, ge=0, le=65_535, description="Port of the API.")
    api_url: str = Field("http://127.0.0.1:8400", description="Where clients find the API.")

    openai_wait_s: float = Field(
        570.0,
        ge=1,
        le=86_400,
        description="Seconds that a request of the OpenAI and Hugging Face routes waits for its images; OpenAI's clients"
        " wait 600.",
    )

    engine: str = Field(
        "worker.assembly:load", description="module:function that makes a worker's engine; tests have others."
    )
    offload: Literal["", "none", "model", "sequential"] = Field(
        "",
        description="What a worker keeps in the machine's memory until it runs: none, whole networks (model) or"
        " single layers (sequential); empty: as models.toml says.",
    )
    torch_threads: int = Field(1, ge=1, description="Threads of one forward on a CPU; part of provenance.")
    lease_s: float = Field(
        20.0, gt=0, description="Seconds after which a silent worker's renders are taken back."
    )
    renew_s: float = Field(4.0, gt=0, description="Seconds between two renewals of the lease.")
    stall_s: float = Field(
        12.0, gt=0, description="Least seconds without a step before a child counts as stalled."
    )
    load_s: float = Field(
        900.0, gt=0, description="Seconds that a child may take to load and warm its models."
    )
    checkpoint_s: float = Field(
        5.0,
        ge=0,
        description="Seconds between two checkpoints of a render that runs; 0: none but at SIGTERM.",
    )
    child_rss_gib: float = Field(
        0.0,
        ge=0,
        description="GiB of memory above which a worker's child drains and the next one starts; 0: never.",
    )
    drain_s: float = Field(20.0, ge=0, description="Seconds that a child may take to stop after SIGTERM.")
    quarantine_s: float = Field(
        30.0,
        gt=0,
        description="Seconds that a device rests which failed several renders; doubled, up to 15 minutes, for each"
        " time that it happens again within an hour.",
    )

    sweep_s: float = Field(1.0, gt=0, description="Seconds between two sweeps of a scheduler duty.")
    collect_after_s: float = Field(
        600.0, ge=0, description="Seconds after which an unfinished upload is removed."
    )
    outbox_days: int = Field(7, ge=1, description="Days that job events are kept.")
    webhook_days: int = Field(
        30, ge=4, le=365, description="Days that deliveries of webhooks are kept; they are tried for three."
    )

    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING, ERROR."
    )
    log_json: bool | None = Field(None, description="JSON lines; default: when there is no terminal.")

    def for_worker(self) -> Settings:
        """The same, as a worker has it: with its own ways into the database and the bucket, where there are any."""
        own: dict[str, object] = {}
        if self.worker_database_url is not None:
            own["database_url"] = self.worker_database_url
        if self.worker_s3_access_key_id is not None:
            own |= {
                "s3_access_key_id": self.worker_s3_access_key_id,
                "s3_secret_access_key": self.worker_s3_secret_access_key,
            }
        return self.model_copy(update=own)
