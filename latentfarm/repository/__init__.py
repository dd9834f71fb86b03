"""Every SQL statement of the farm, one file per occasion.

Functions take an open connection and leave the commit to the caller, so that a worker can put many
of them in one transaction. All of them lock in the same order (renders by id, then jobs by id), and
every write on behalf of a worker is fenced.
"""
