"""Versions, the checkout, and the device. Torch is asked in a process of its own: the core has none."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from latentfarm.doctor.finding import Finding, look

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("api", "scheduler", "worker", "migrations")
_SERVICES = ("alembic", "boto3", "celery", "fastapi", "psycopg", "redis", "sqlalchemy", "uvicorn")
_ENGINE = ("torch", "diffusers", "transformers", "compel")
_DEVICE_S = 120.0

_PROBE = """
import json, torch
found = [{"device": "cpu", "name": f"{torch.get_num_threads()} threads"}]
for i in range(torch.cuda.device_count()):
    found.append({"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i)})
if torch.backends.mps.is_available():
    found.append({"device": "mps", "name": "Apple"})
print(json.dumps(found))
"""


def check_software() -> list[Finding]:
    """Python (pip refuses an older one), the packages of the services and of the engine, the rooms, and what torch can compute on."""
    return [
        Finding("python", ok=True, detail=platform.python_version()),
        look("packages of the services", lambda: _versions(_SERVICES), "pip install 'latentfarm[all]'"),
        look("packages of the worker", lambda: _versions(_ENGINE), "pip install 'latentfarm[worker]'"),
        look("checkout", _rooms, "run from a checkout: the wheel holds the client and the core only"),
        look("device", _devices, "pip install 'latentfarm[worker]'"),
    ]


def _versions(names: tuple[str, ...]) -> str:
    missing = []
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise RuntimeError(f"no {', no '.join(missing)}")
    return ", ".join(found)


def _rooms() -> str:
    missing = [room for room in ROOMS if not (ROOT / room / "__init__.py").is_file()]
    if missing:
        raise RuntimeError(f"no {', no '.join(missing)} beside {ROOT / 'latentfarm'}")
    return str(ROOT)


def _devices() -> str:
    ran = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_DEVICE_S, check=False
    )
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise RuntimeError(f"torch cannot be used: {lines[-1]}")
    devices = json.loads(ran.stdout.strip().splitlines()[-1])
    return ", ".join(f"{entry['device']} ({entry['name']})" for entry in devices)
