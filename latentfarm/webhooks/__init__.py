"""Webhooks: who is told of the end of jobs, in which words, and how that is signed and sent."""
