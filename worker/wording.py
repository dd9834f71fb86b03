"""What a log may say of a failed render."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentfarm.errors import ErrorClass

if TYPE_CHECKING:
    from latentfarm.errors import RenderError

UNTOLD = "told by the image's attempts"
_QUOTING = (ErrorClass.USER, ErrorClass.DEFECT)
"""Classes whose messages may quote the prompt: what is wrong with it, or what nobody foresaw."""


def loggable(error: RenderError) -> str:
    """The message, or where to find it when a user's words may be in it."""
    return UNTOLD if error.error_class in _QUOTING else str(error)
