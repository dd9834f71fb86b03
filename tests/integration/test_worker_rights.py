"""What somebody could do with the credentials of a worker: what it needs for its work, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import TextClause, text
from sqlalchemy.exc import ProgrammingError

from latentfarm.api_keys import Scope
from latentfarm.database import connect
from latentfarm.key_ring import KeyRing
from latentfarm.keys import PREFIX, WORKERS_READ, WORKERS_WRITE
from latentfarm.repository import (
    blaming,
    checkpointing,
    claiming,
    dispatching,
    draining,
    failing,
    finishing,
    holding,
    inputs,
    redrawing,
    resting,
    sealing,
    settling,
    sharding,
    submitting,
    sweeping,
    working,
    yielding,
)
from latentfarm.storage import S3Store
from tests.acceptance.farm import ROOT
from tests.integration.seeding import Ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from latentfarm.repository.facade import Repository
    from latentfarm.settings import Settings

#: What a thief would try, by what it would be good for. Each must be refused for want of rights, and for nothing else.
FORBIDDEN_SQL = {
    "read the hashes of API keys": "SELECT digest FROM api_keys",
    "make a key": "INSERT INTO api_keys (prefix, tenant, name, digest, scopes)"
    " VALUES ('abcd1234', '', 'x', decode(repeat('00', 32), 'hex'), '{admin}')",
    "let an expired key go on": "UPDATE api_keys SET expires_at = NULL",
    "read what tenants may have": "SELECT * FROM tenants",
    "raise its own weight": "UPDATE tenants SET weight = 100",
    "lift a quota": "UPDATE quotas SET max_cost_per_day = NULL",
    "see whose a job is": "SELECT tenant FROM jobs",
    "read what users say of their jobs": "SELECT user_metadata FROM jobs",
    "give a job to somebody else": "UPDATE jobs SET tenant = 'b'",
    "submit a job": "INSERT INTO jobs (id, kind, spec_id, lane, priority, state, seed, num_images, remaining, queued,"
    " keep_latents) VALUES (gen_random_uuid(), 'single', 1, 'bulk', 0, 'queued', 1, 1, 1, 1, 0)",
    "delete a job": "DELETE FROM jobs",
    "cancel a job": "UPDATE jobs SET cancelled_at = now()",
    "delete renders": "DELETE FROM renders",
    "give a render to another job": "UPDATE renders SET job_id = gen_random_uuid()",
    "delete objects that are in use": "DELETE FROM objects",
    "lead an image to another object": "UPDATE objects SET key = 'v1/inputs/x'",
    "change what a picture is made from": "UPDATE specs SET body = '{}'",
    "read the events of all jobs": "SELECT data FROM outbox",
    "forget what was delivered": "DELETE FROM outbox",
    "change a manifest": "UPDATE datasets SET request = '{}'",
    "read idempotency keys": "SELECT key FROM idempotency",
    "read uploads": "SELECT id FROM uploads",
    "end a drain": "DELETE FROM drains",
    "assign models": "UPDATE workers SET assigned_models = '{tiny}'",
    "alter a table": "ALTER TABLE renders ADD COLUMN x int",
    "drop a table": "DROP TABLE renders",
    "empty a table": "TRUNCATE attempts",
    "make a table": "CREATE TABLE mine (x int)",
    "make a function that runs as somebody else": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "give itself rights": "GRANT SELECT ON api_keys TO latentfarm_worker",
    "become the owner": "SET ROLE latentfarm",
    "make a role": "CREATE ROLE mine SUPERUSER LOGIN",
    "read a file of the server": "SELECT pg_read_file('/etc/passwd')",
    "run a program": "COPY specs TO PROGRAM 'cat'",
    "end another session": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'latentfarm'",
    "tamper with the migrations": "UPDATE alembic_version SET version_num = '0001'",
}


#: Modules whose statements workers issue, but for those that others do: the scheduler, the API, `verify`.
MODULES = (
    blaming, checkpointing, claiming, dispatching, draining, failing, finishing, holding, inputs,
    redrawing, resting, sealing, settling, sharding, submitting, sweeping, working, yielding,
)  # fmt: skip
WORKERS_TOO = {
    "draining": {"_IS_DRAINED"},
    "dispatching": {"_DOUBT"},
    "inputs": {"_REFS"},
    "submitting": {"_QUEUE"},
    "sweeping": {"_GOING", "_FORGET"},
}
"""Of modules that are others' for the most part, the statements that a worker issues."""
OTHERS = {
    "checkpointing": {"_USELESS", "_FORGET"},
    "holding": {"_REASSIGN", "_LOADS"},
    "resting": {"_RESTING"},
    "sharding": {"_REOPEN"},
    "working": set[str](),
}


def statements() -> Iterator[tuple[str, TextClause]]:
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        for attribute, value in vars(module).items():
            own = (
                attribute in WORKERS_TOO[name]
                if name in WORKERS_TOO
                else attribute not in OTHERS.get(name, ())
            )
            if isinstance(value, TextClause) and own:
                yield f"{name}.{attribute}", value


def test_every_statement_of_a_worker_is_granted(thief: psycopg.Connection[Any], settings: Settings) -> None:
    """As PostgreSQL sees it that is asked for the plan: rights are looked at before anything is run."""
    engine = connect(settings.for_worker().database_url, pool=1, application="tests")
    refused: dict[str, str] = {}
    with engine.connect() as connection:
        for name, statement in statements():
            values = dict.fromkeys(statement.compile().params)
            try:
                connection.execute(text(f"EXPLAIN {statement.text}"), values)
            except ProgrammingError as error:
                refused[name] = str(error.orig).splitlines()[0]
            connection.rollback()
    engine.dispose()
    assert refused == {}


@pytest.fixture
def owner(repository: Repository) -> Repository:
    """A farm with a row in every table that a thief would look for."""
    KeyRing(repository).create(tenant="a", name="x", scopes=[Scope.ADMIN])
    return repository


@pytest.fixture
def thief(settings: Settings, owner: Repository) -> Iterator[psycopg.Connection[Any]]:
    url = settings.for_worker().database_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _outcome(thief: psycopg.Connection[Any], statement: str) -> str:
    try:
        thief.execute(statement)
    except psycopg.Error as error:
        return "" if isinstance(error, psycopg.errors.InsufficientPrivilege) else str(error)
    return "allowed"


def test_the_database_refuses_and_forgets_no_object_in_use(
    thief: psycopg.Connection[Any], owner: Repository, store: S3Store
) -> None:
    outcomes = {what: _outcome(thief, statement) for what, statement in FORBIDDEN_SQL.items()}
    assert {what: outcome for what, outcome in outcomes.items() if outcome} == {}
    assert thief.execute("SELECT current_user").fetchone() == ("latentfarm_worker",)
    rights = "SELECT has_function_privilege('public', 'forget_objects(bigint[], integer[])', 'EXECUTE')"
    assert owner.transact(lambda c: c.exec_driver_sql(rights).scalar()) is False
    ground = Ground(owner, store)
    ground.create(2)
    ground.render()
    owner.transact(lambda c: c.exec_driver_sql("UPDATE objects SET state = 'going' WHERE render_id = 1"))
    thief.execute(
        "SELECT forget_objects(array_agg(render_id), array_agg(fence)) FROM objects WHERE kind = 'image'"
    )
    assert ground.rows("SELECT state FROM objects") == [("visible",)]


#: What a thief puts in the way of functions that run as their owner: tables of its own session, and what notes who used them.
SHADOWS = (
    "CREATE TEMPORARY TABLE seen (who text)",
    """CREATE FUNCTION pg_temp.used() RETURNS boolean LANGUAGE plpgsql AS
       $$ BEGIN INSERT INTO pg_temp.seen VALUES (current_user); RETURN true; END $$""",
    """CREATE FUNCTION pg_temp.note() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN PERFORM pg_temp.used(); RETURN NULL; END $$""",
    "CREATE TEMPORARY TABLE news (job_id uuid, event text, tenant text, webhook jsonb, facts jsonb)",
    "CREATE TRIGGER note BEFORE INSERT ON pg_temp.news FOR EACH ROW EXECUTE FUNCTION pg_temp.note()",
    "CREATE TEMPORARY TABLE objects AS SELECT 1::bigint AS render_id, 1 AS fence, 'going' AS state",
    "CREATE TRIGGER note BEFORE DELETE ON pg_temp.objects FOR EACH ROW EXECUTE FUNCTION pg_temp.note()",
    """CREATE TEMPORARY VIEW webhooks AS SELECT ''::text AS tenant, ''::text AS url, NULL::timestamptz AS disabled_at,
       '{job.queued}'::text[] AS events WHERE pg_temp.used()""",
)
BORROWED = {
    "tell": "SELECT tell(id, 'job.queued') FROM public.jobs",
    "heard": "SELECT heard(id, 'job.queued') FROM public.jobs",
    "forget_objects": "SELECT forget_objects('{1}', '{1}')",
}


@pytest.mark.parametrize("function", BORROWED)
def test_no_function_of_the_owner_takes_a_table_of_its_caller(
    thief: psycopg.Connection[Any], owner: Repository, store: S3Store, function: str
) -> None:
    """What such a table brings along, a trigger or a view, would run with all rights."""
    Ground(owner, store).create(1)
    for statement in SHADOWS:
        thief.execute(statement)
    thief.execute(BORROWED[function])
    assert thief.execute("SELECT who FROM pg_temp.seen").fetchall() == []


def test_all_functions_that_run_as_their_owner_were_tried(owner: Repository) -> None:
    known = "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    assert set(owner.transact(lambda c: c.exec_driver_sql(known).scalars().all())) == set(BORROWED)


def _batch(s3: S3Client, bucket: str, key: str) -> None:
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    for error in answer.get("Errors", []):
        raise ClientError({"Error": {"Code": error.get("Code", "")}}, "DeleteObjects")


#: Of objects `v1/inputs/secret`, `v1/uploads/secret`, `v1/spool/secret`, `others/secret`.
FORBIDDEN_S3: dict[str, Callable[[S3Client, str], object]] = {
    "list the bucket": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "list a folder of its own": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Prefix="v1/images/"),
    "read an upload": lambda s3, bucket: s3.get_object(Bucket=bucket, Key="v1/uploads/secret"),
    "read what is not the farm's": lambda s3, bucket: s3.get_object(Bucket=bucket, Key="others/secret"),
    "copy it to where it can read": lambda s3, bucket: s3.copy_object(
        Bucket=bucket, Key="v1/images/1/1.png", CopySource={"Bucket": bucket, "Key": "others/secret"}
    ),
    "overwrite an input": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="v1/inputs/secret", Body=b"x"),
    "overwrite rows of a dataset": lambda s3, bucket: s3.put_object(
        Bucket=bucket, Key="v1/spool/secret", Body=b"x"
    ),
    "write beside the farm": lambda s3, bucket: s3.put_object(Bucket=bucket, Key="others/x", Body=b"x"),
    "write in parts": lambda s3, bucket: s3.create_multipart_upload(Bucket=bucket, Key="others/x"),
    "delete an input": lambda s3, bucket: s3.delete_object(Bucket=bucket, Key="v1/inputs/secret"),
    "delete many": lambda s3, bucket: _batch(s3, bucket, "v1/spool/secret"),
    "make a bucket": lambda s3, _: s3.create_bucket(Bucket="mine"),
    "delete the bucket": lambda s3, bucket: s3.delete_bucket(Bucket=bucket),
    "open the bucket to all": lambda s3, bucket: s3.put_bucket_policy(
        Bucket=bucket,
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}],
            }
        ),
    ),
}


def _answer(own: S3Store, request: Callable[[S3Client, str], object]) -> str:
    try:
        request(own.client, own.bucket)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"


def test_the_bucket_refuses_what_is_not_a_workers(settings: Settings, store: S3Store) -> None:
    secrets = ("v1/inputs/secret", "v1/uploads/secret", "v1/spool/secret", "others/secret")
    for key in secrets:
        store.put(key, b"secret", "text/plain")
    own = S3Store.from_settings(settings.for_worker())
    answers = {what: _answer(own, request) for what, request in FORBIDDEN_S3.items()}
    assert {what: answer for what, answer in answers.items() if answer != "AccessDenied"} == {}
    assert [store.read(key, most=10) for key in secrets] == [b"secret"] * len(secrets)
    store.delete(secrets)
    # And what is: it writes and deletes in its folders, and reads those beside them.
    for folder in WORKERS_READ:
        ref = store.put(f"{PREFIX}{folder}/1/x", b"there", "text/plain")
        assert own.get(ref) == b"there"
    for folder in WORKERS_WRITE:
        ref = own.put(f"{PREFIX}{folder}/2/x", b"own", "text/plain")
        own.delete([ref.key])
        assert store.size(ref.key) is None


def test_the_policy_for_other_stores_says_the_same() -> None:
    policy = json.loads((ROOT / "deploy" / "worker-s3-policy.json").read_text())
    folders = {
        action: tuple(
            one.removeprefix("arn:aws:s3:::latentfarm/v1/").removesuffix("/*") for one in part["Resource"]
        )
        for part in policy["Statement"]
        for action in part["Action"]
    }
    assert folders == {
        "s3:PutObject": WORKERS_WRITE,
        "s3:DeleteObject": WORKERS_WRITE,
        "s3:GetObject": WORKERS_READ,
    }
