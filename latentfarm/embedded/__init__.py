"""A real PostgreSQL, a real Redis-protocol server and a real S3 server, from wheels, on one machine.

`stack.Stack` starts the three under `supervisor.Supervisor`, which knows nothing of them and runs any
other program as well. The store's inner ports answer without credentials on loopback: the embedded
stack is for one trusted machine.
"""
