"""SeaweedFS as one small process (`weed mini`) that speaks S3."""

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from latentfarm.embedded import binaries, ports
from latentfarm.embedded.program import SERVICE_BACKOFF, Program
from latentfarm.keys import PREFIX, WORKERS_READ, WORKERS_WRITE

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Its parts, each with an HTTP port and a gRPC port.
PARTS = ("s3", "master", "volume", "filer", "admin")
REGION = "us-east-1"
IDENTITIES = "identities.json"


class Seaweed:
    """The object store of a stack; `port` has a port for each of `PARTS`."""

    def __init__(
        self,
        data: Path,
        log: Path,
        port: dict[str, int],
        keys: tuple[str, str],
        worker_keys: tuple[str, str],
        bucket: str,
    ) -> None:
        self.data = data
        self.log = log
        self.port = port
        self.access_key_id, self.secret_access_key = keys
        self.worker_access_key_id, self.worker_secret_access_key = worker_keys
        self.bucket = bucket
        self.url = f"http://{ports.HOST}:{port['s3']}"

    def program(self) -> Program:
        """How the supervisor runs it."""
        return Program(
            name="s3",
            argv=(str(binaries.weed()), *self._flags()),
            log=self.log,
            env={
                **binaries.plain_environment(),
                # Its own settings are looked for at home, its logs and caches go to the temporary folder.
                "HOME": str(self.data),
                "TMPDIR": str(self.data),
            },
            cwd=self.data,
            prepare=self._prepare,
            ready=self._answers,
            backoff=SERVICE_BACKOFF,
        )

    def _flags(self) -> tuple[str, ...]:
        return (
            "-logtostderr=true",
            "mini",
            "-dir=.",
            f"-ip={ports.HOST}",
            f"-ip.bind={ports.HOST}",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            # Limits, not sizes: a volume file grows as it is filled.
            "-master.volumeSizeLimitMB=256",
            "-volume.max=4096",
            "-volume.preStopSeconds=0",
            f"-bucket={self.bucket}",
            f"-s3.config={IDENTITIES}",
            # Relative to the working folder: a socket's path may be no longer than 107 bytes.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            *(f"-{part}.port={self.port[part]}" for part in PARTS),
        )

    def _prepare(self) -> None:
        self.remove_sockets()
        path = self.data / IDENTITIES
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"identities": self._identities()}, file)

    def _identities(self) -> list[dict[str, object]]:
        """The farm, which may do all, and its workers, which have folders to write and folders to read."""
        folders = {"Write": WORKERS_WRITE, "Read": WORKERS_READ}
        workers = [
            f"{action}:{self.bucket}/{PREFIX}{folder}/*" for action in folders for folder in folders[action]
        ]
        return [
            _identity("farm", self.access_key_id, self.secret_access_key, ["Admin", "Read", "Write", "List"]),
            _identity("workers", self.worker_access_key_id, self.worker_secret_access_key, workers),
        ]

    def remove_sockets(self) -> None:
        """Its gRPC sockets lie in /tmp whatever it is told, and stay there after kill -9."""
        for part in PARTS:
            name = f"seaweedfs-{part}-grpc-{self.port[part] + ports.GRPC_OFFSET}.sock"
            with contextlib.suppress(OSError):
                (Path("/tmp") / name).unlink(missing_ok=True)  # noqa: S108  the path is SeaweedFS's own

    def _answers(self) -> bool:
        return self._has_bucket() and self._knows_its_volumes()

    def _has_bucket(self) -> bool:
        client = self._client()
        try:
            # Refused until the server has made the bucket that `-bucket` names.
            client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
        finally:
            client.close()
        return True

    def _knows_its_volumes(self) -> bool:
        """Whether the part that holds the bytes has told the master of them.

        It does so 5 s late when the master was not up yet at its first try. Until then names can be
        listed, and every object that was there before answers with an internal error.
        """
        import httpx

        url = f"http://{ports.HOST}:{self.port['master']}/dir/status"
        topology = httpx.get(url, timeout=2, trust_env=False).raise_for_status().json()["Topology"]
        racks = [rack for center in topology["DataCenters"] or () for rack in center["Racks"] or ()]
        return any(rack["DataNodes"] for rack in racks)

    def _client(self) -> "S3Client":
        import boto3
        from botocore.config import Config

        quick = Config(
            signature_version="s3v4",
            connect_timeout=2,
            read_timeout=5,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=quick,
        )


def _identity(name: str, access_key_id: str, secret: str, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": access_key_id, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": actions}
