"""Manifests of datasets: read as a stream, expanded, checked, and spooled as samples."""
