"""Keys that are none, keys without the scope, and ids and names that are nobody's or another tenant's."""

from __future__ import annotations

from urllib.parse import quote

from tests.corpus.case import NOBODY, Case

SECRET = "s" * 43
AUTHORIZATIONS = [
    b"",
    b"Bearer",
    b"bearer",
    b"Basic",
    b"Basic dXNlcjpwYXNz",
    b"Digest username=x",
    b"Token lf_abcd1234_" + SECRET.encode(),
    b"lf_abcd1234_" + SECRET.encode(),
    b"Bearer lf_abcd1234_" + SECRET.encode(),
    b"Bearer lf_abcd1234_" + SECRET[:-1].encode(),
    b"Bearer lf_abcd1234_" + SECRET.encode() + b"s",
    b"Bearer lf_ABCD1234_" + SECRET.encode(),
    b"Bearer lf_abcd123_" + SECRET.encode(),
    b"Bearer lf__" + SECRET.encode(),
    b"Bearer lf_",
    b"Bearer LF_abcd1234_" + SECRET.encode(),
    b"Bearer sk-abcdefgh",
    b"Bearer null",
    b"Bearer undefined",
    b"Bearer {}",
    b"Bearer *",
    b"Bearer %00",
    b"Bearer ' OR '1'='1",
    b"Bearer lf_abcd1234_' OR '1'='1' --",
    b"Bearer \xff\xfe",
    b"Bearer \xc3\xa9",
    b"Bearer " + b"a" * 8_000,
    b"Bearer a, Bearer b",
    b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
]
ROUTES = ["GET /v1/jobs", "POST /v1/jobs", "GET /v1/keys", "GET /metrics"]
NO_ADMIN = [
    "GET /v1/keys",
    "POST /v1/keys",
    "GET /v1/tenants",
    "PATCH /v1/tenants/acme",
    "GET /v1/workers",
    "POST /v1/workers/drain",
    "GET /v1/queues",
    "POST /v1/queues/base.tiny.bulk/drain",
    "DELETE /v1/keys/abcd1234",
    "POST /v1/keys/abcd1234/rotate",
    "GET /metrics",
    "GET /v1/jobs",
    "GET /v1/datasets",
    f"POST /v1/jobs/{NOBODY}/cancel",
]
"""What a key with the scope `submit` alone may not do."""
NO_IDS = [
    "nope",
    "0",
    "-1",
    "00000000-0000-0000-0000-000000000000",
    NOBODY,
    NOBODY[:-1],
    NOBODY + "0",
    NOBODY.replace("-", "_"),
    "null",
    "undefined",
    "*",
    "..%2f..%2fetc",
    "%00",
    "%0d%0aX:%20y",
    "%ff",
    "' OR 1=1 --",
    "${7*7}",
    "🎈",
    "a" * 2_000,
]
OF_JOBS = [
    "GET {}",
    "GET {}/events",
    "GET {}/images/0",
    "GET {}/images/0/attempts",
    "POST {}/cancel",
    "POST {}/pause",
]
OF_DATASETS = ["GET {}", "GET {}/files", "GET {}/failures", "POST {}/cancel", "POST {}/retry-failed"]
INDICES = ["-1", "one", "1.5", "0x0", "99999999999999999999", "%00", "\u0660", "+1", "1e3", "' OR 1=1"]
TENANTS = [
    b"",
    b"a b",
    b"../x",
    b"a/b",
    b"a" * 65,
    b"-",
    b"-a",
    b".a",
    b"\xe9",
    b"acme, other",
    b"*",
    b"%00",
]


def cases(mine: str) -> list[Case]:
    """All of them.

    Args:
        mine: id of a job of the tenant `acme`.
    """
    found = []
    for route in ROUTES:
        method, path = route.split(" ")
        found += [
            Case(
                "keys", 401, "unauthorized", None, method, path, headers=((b"Authorization", value),), key=""
            )
            for value in AUTHORIZATIONS
        ]
        found.append(Case("keys", 401, "unauthorized", None, method, path, key=""))
    for route in NO_ADMIN:
        method, path = route.split(" ")
        found.append(Case("keys", 403, "forbidden", None, method, path, key="submit"))
    for one in NO_IDS:
        segment = one if "%" in one else quote(one, safe="")
        for route in OF_JOBS:
            method, path = route.format(f"/v1/jobs/{segment}").split(" ", 1)
            found.append(Case("ids", 404, "not_found", None, method, path))
    for route in OF_JOBS:
        method, path = route.format(f"/v1/jobs/{mine}").split(" ", 1)
        found.append(Case("ids", 404, "not_found", None, method, path, key="other"))
    for route in OF_DATASETS:
        method, path = route.format("/v1/datasets/unicorns").split(" ", 1)
        found += [Case("ids", 404, "not_found", None, method, path, key=key) for key in ("admin", "other")]
    found += [
        Case("ids", 404, "not_found", None, "GET", f"/v1/jobs/{mine}/images/{quote(index, safe='%')}{rest}")
        for index in INDICES
        for rest in ("", "/attempts")
    ]
    found += [
        Case(
            "tenants",
            422,
            "invalid",
            "X-Latentfarm-Tenant",
            "GET",
            "/v1/jobs",
            headers=((b"X-Latentfarm-Tenant", name),),
        )
        for name in TENANTS
    ]
    found.append(
        Case(
            "tenants",
            403,
            "forbidden",
            None,
            "GET",
            "/v1/jobs",
            headers=((b"X-Latentfarm-Tenant", b"acme"),),
            key="other",
        )
    )
    return found
