"""A file of requests, read once and a line at a time: what can be rendered becomes a row of a manifest.

What is wrong with the file as a whole (a line that is no request, an id twice, another route) fails the batch, as at
OpenAI; what is wrong with the parameters of one request is told in the error file, and the others are rendered.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from api.limits import checked
from api.openai.batch_request import MAX_CUSTOM_ID, RequestLine
from api.openai.errors import error_of, status_of
from api.openai.requests import GenerationRequest
from api.openai.translation import shown_quality, to_fields
from api.problems import ProblemError, refused
from latentfarm import strict_json
from latentfarm.errors import InvalidInput
from latentfarm.explain import explain
from latentfarm.manifests.checking import name_of
from latentfarm.manifests.drafts import Drafts
from latentfarm.manifests.effort import Effort
from latentfarm.manifests.row import Row
from latentfarm.manifests.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latentfarm.manifests.lines import Line
    from latentfarm.manifests.request import DatasetRequest
    from latentfarm.registry import Registry

MAX_REQUESTS = 50_000
TOLD = 20
"""Errors of a whole file that are told; then it is read no further."""
_SHOWN = 200
_OF_A_LINE = {
    "custom_id": ("invalid_custom_id", f"text of 1 to {MAX_CUSTOM_ID} characters"),
    "method": ("invalid_method", "POST"),
    "url": ("invalid_url", "the endpoint of the batch"),
    "body": ("invalid_body", "an object with the parameters of the request"),
}


class Sorting:
    """One file on its way.

    Args:
        request: the dataset that is to be made of it.
        rows: takes the manifest.
        lines: takes, for each request, its id, and what it asks for or why it cannot be.
    """

    def __init__(
        self, registry: Registry, request: DatasetRequest, endpoint: str, rows: BinaryIO, lines: BinaryIO
    ) -> None:
        self._registry = registry
        self._endpoint = endpoint
        self._rows = rows
        self._lines = lines
        # What it finds right, the dataset finds right: both ask the same code.
        self._drafts = Drafts(request, registry, 0, Effort(MAX_REQUESTS))
        self._ids = Seen(lines=True)
        self.requests = self.refused = self.images = 0
        self.single = True
        self.errors: list[dict[str, Any]] = []

    def read(self, lines: Iterable[Line]) -> None:
        """Reads a file to its end, or until enough is wrong with it.

        Raises:
            ManifestError: it begins with a byte order mark.
        """
        for line in lines:
            if line.error is None and (not line.text or line.text.isspace()):
                continue
            self.requests += 1
            if self.requests > MAX_REQUESTS:
                message = f"the file has more than {MAX_REQUESTS} requests"
                self._complain("too_many_requests", message, line.number)
                return
            self._take(line)
            if len(self.errors) >= TOLD:
                return
        if not self.requests:
            self._complain("empty_file", "the file has no requests", None)

    def _take(self, line: Line) -> None:
        asked = self._request(line)
        if asked is None:
            return
        told: dict[str, Any] = {"custom_id": asked.custom_id}
        try:
            row, what = self._row(asked, line.number)
        except (InvalidInput, ProblemError) as error:
            problem = refused([error]) if isinstance(error, InvalidInput) else error
            told |= {"n": 0, "status": int(status_of(problem)), "error": error_of(problem)}
            names = []
            row = None
        else:
            told |= what
            names = [name_of(asked.custom_id, k, several=what["n"] > 1) for k in range(what["n"])]
        if not self._are_new([asked.custom_id, *names], line.number) or self.errors:
            return
        if row is None:
            self.refused += 1
        else:
            self.images += told["n"]
            self.single = self.single and told["n"] == 1
            _write(self._rows, {"id": asked.custom_id, **row})
        _write(self._lines, {"line": line.number, **told})

    def _request(self, line: Line) -> RequestLine | None:
        if line.error is not None:
            self._complain("invalid_json_line", line.error.message, line.number)
            return None
        try:
            document = strict_json.loads(line.text.encode())
        except InvalidInput as error:
            self._complain("invalid_json_line", f"this line cannot be read: {error.message}", line.number)
            return None
        if not isinstance(document, dict):
            self._complain("invalid_json_line", "this line is no object", line.number)
            return None
        try:
            asked = RequestLine.model_validate(document, strict=True)
        except ValidationError as error:
            first = explain(error, RequestLine)[0]
            code, allowed = _OF_A_LINE.get(first.field.partition(".")[0], ("unknown_parameter", ""))
            told = InvalidInput(first.field, first.message, allowed or first.allowed)
            self._complain(code, str(told), line.number, first.field)
            return None
        if asked.url != self._endpoint:
            told = InvalidInput("url", f"{asked.url[:64]!r} is not the endpoint of the batch", self._endpoint)
            self._complain("mismatched_endpoint", str(told), line.number, "url")
            return None
        return asked

    def _row(self, line: RequestLine, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row of a request, and what its answer will say of it."""
        asked = checked(line.body, GenerationRequest)
        if asked.stream:
            raise InvalidInput("stream", "a batch is no stream", "leave it out")
        if asked.response_format == "url":
            message = "the images of a batch are packed together, so that there is no link to one"
            raise InvalidInput("response_format", message, "b64_json")
        row = to_fields(asked, self._registry)
        place = Row(number, row)
        self._drafts.labels(place)
        (draft,) = self._drafts.of(place, 0)
        spec = draft.recipe.spec
        shown = {
            "background": "opaque",
            "output_format": spec.output.format,
            "quality": shown_quality(asked),
            "size": f"{spec.width}x{spec.height}",
        }
        return row, {"n": draft.images, "seed": draft.seed, "shown": shown}

    def _are_new(self, names: list[str], number: int) -> bool:
        """Whether no earlier request has one of these names for an image of its own."""
        for name in names:
            if (before := self._ids.add(name, number)) is not None and before != number:
                message = f"{name!r} is of line {before} too; of a request with several images image k is <custom_id>-k"
                self._complain("duplicate_custom_id", message, number, "custom_id")
                return False
        return True

    def _complain(self, code: str, message: str, line: int | None, param: str | None = None) -> None:
        shown = message[:_SHOWN].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        self.errors.append({"code": code, "line": line, "message": shown, "param": param})


def _write(file: BinaryIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
