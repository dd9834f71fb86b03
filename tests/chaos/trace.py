"""Triggers in the farm under test that write down every move of a render and of a job.

They run as who made them: workers have no right to these tables.
Rows are locked while they move, so the ids of one render's lines rise in the order of its commits.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_SQL = """
CREATE TABLE chaos_renders (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), render_id bigint NOT NULL,
    was smallint, state smallint, was_stage smallint, stage smallint, was_fence int, fence int,
    was_owner bigint, owner bigint, was_tries smallint, tries smallint, starts smallint);
CREATE TABLE chaos_jobs (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), job_id uuid NOT NULL,
    was text, state text);

CREATE FUNCTION chaos_render() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.state, OLD.fence, OLD.stage, OLD.tries, OLD.starts, OLD.owner)
        IS NOT DISTINCT FROM (NEW.state, NEW.fence, NEW.stage, NEW.tries, NEW.starts, NEW.owner) THEN
        RETURN NULL;
    END IF;
    INSERT INTO chaos_renders (render_id, was, state, was_stage, stage, was_fence, fence, was_owner, owner,
                               was_tries, tries, starts)
    VALUES (coalesce(NEW.id, OLD.id), OLD.state, NEW.state, OLD.stage, NEW.stage, OLD.fence, NEW.fence,
            OLD.owner, NEW.owner, OLD.tries, NEW.tries, NEW.starts);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos_job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state THEN RETURN NULL; END IF;
    INSERT INTO chaos_jobs (job_id, was, state) VALUES (coalesce(NEW.id, OLD.id), OLD.state, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE OR DELETE ON renders FOR EACH ROW EXECUTE FUNCTION chaos_render();
CREATE TRIGGER chaos AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_job();
"""


def install(connection: Connection) -> None:
    """Adds tables and triggers to a migrated database."""
    connection.execute(text(_SQL))
