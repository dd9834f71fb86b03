"""The rows of the farm, as SQLAlchemy tables. `migrations/` makes them; a test compares both.

`renders` is the table that is rewritten all the time: it is narrow, holds no text, keeps free space
in its pages, and its indexes cover live states only, so its cost does not grow with what is finished.
"""

from latentfarm.tables import access, bucket, files, hooks, requests, sets, sharing, work
from latentfarm.tables.naming import metadata

__all__ = ["access", "bucket", "files", "hooks", "metadata", "requests", "sets", "sharing", "work"]
