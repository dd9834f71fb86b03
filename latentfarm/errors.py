"""Every exception of the farm. Each class says what it means and whether trying again can help.

LatentfarmError
├── InvalidInput            the caller's fault: names the field and what is allowed
│   ├── NotSupported        a field whose feature is not built
│   ├── UnknownModel
│   ├── IdempotencyMismatch
│   ├── ManifestChanged     a dataset of that name was made by other parameters
│   ├── MalformedJson       no JSON, or JSON that readers could understand in two ways
│   └── ManifestError       a row of a dataset's manifest, or the whole of it
├── Conflict                a request that races another one
│   └── Ended               what was to go on has ended for good
├── TooMuchQueued           the tenant has as many renders waiting as it may
│   └── OverQuota           it would pass a quota of cost or storage
├── SourceGone              what a job is to be refined from is not there
├── NotFound
├── BadMessage              what came out of Redis is no message of ours
├── CheckpointError         a half-done render cannot be taken up: it starts again, and nobody is charged
├── RenderError             why a render did not end well; carries an `ErrorClass`
│   ├── TransientError      storage, database or network: try again, nobody is charged
│   ├── DeviceMemoryError
│   ├── DeviceError         the device's context is not to be trusted: the child must exit
│   ├── NonFiniteError
│   ├── LatentsError        stage-one latents missing, altered or made for another spec
│   ├── ModelError          weights missing, cut short or of another shape
│   ├── InputError          a picture that the job starts from is gone or ruined
│   ├── DefectError         an exception that nobody foresaw
│   └── SpecError           the spec asks for what the model cannot do; only seen at the worker
└── ServiceUnavailable      SQL, Redis or S3 did not answer
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from latentfarm.image_names import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class ErrorClass(StrEnum):
    """What kind of failure ended an attempt. `retry.decide` has the policy for each."""

    TRANSIENT = "transient"  # storage, database, network: nobody's fault
    MEMORY = "memory"  # the device had too little
    DEVICE = "device"  # the device's context is dead, and with it all that was on it
    NON_FINITE = "non_finite"  # NaN or infinity in latents or pixels
    POISON = "poison"  # the process died while this render ran alone
    LATENTS = "latents"  # stage one must be run again
    MODEL = "model"  # files of the model are not usable
    INPUT = "input"  # a picture that the render starts from is gone or ruined
    DEFECT = "defect"  # an exception that nobody foresaw, in work done for this render alone
    USER = "user"  # the spec cannot be rendered, however often it is tried


class LatentfarmError(Exception):
    """Base of everything that the farm raises on purpose."""

    retryable = False


class InvalidInput(LatentfarmError):  # noqa: N818 - names a state of the input, as HTTP does
    """A value that is not allowed.

    Args:
        field: dotted path of the field, such as `refiner.high_noise_frac`.
        message: what is wrong, in one sentence.
        allowed: what would be right, such as `1 to 200`.
    """

    code = "invalid"

    def __init__(self, field: str, message: str, allowed: str = "") -> None:
        super().__init__(f"{field}: {message}" + (f" (allowed: {allowed})" if allowed else ""))
        self.field = field
        self.message = message
        self.allowed = allowed


class NotSupported(InvalidInput):
    """A known field whose feature is not built yet: refused, never ignored."""

    code = "not_supported"


class UnknownModel(InvalidInput):
    """A model name that is not in the registry."""

    code = "unknown_model"


class IdempotencyMismatch(InvalidInput):
    """An Idempotency-Key that came before with another body."""

    code = "idempotency_mismatch"


class MalformedJson(InvalidInput):
    """Text that is no JSON, or that two readers could understand in two ways."""

    code = "malformed_json"


class ManifestError(InvalidInput):
    """A manifest that cannot be taken; `line` is where it is wrong, None: as a whole.

    Args:
        line: counted from 1; of Parquet and inline rows the row.
        code: of what is wrong with the row, where that has one of its own.
    """

    def __init__(
        self, field: str, message: str, allowed: str = "", *, line: int | None = None, code: str = "invalid"
    ) -> None:
        super().__init__(field, message, allowed)
        self.line = line
        self.code = code

    @classmethod
    def at(cls, line: int, error: InvalidInput) -> ManifestError:
        """What is wrong with one row."""
        return cls(error.field, error.message, error.allowed, line=line, code=error.code)

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}: "
        return place + super().__str__()


class ManifestChanged(InvalidInput):
    """There is a dataset of that name, made by other parameters; each of `changes` tells what it was and is."""

    code = "changed"

    def __init__(self, name: str, changes: Sequence[str]) -> None:
        told = "; ".join(changes)
        super().__init__("name", f"the dataset {name} was made by other parameters: {told}", "another name")

    @classmethod
    def told(cls, field: str, message: str, allowed: str) -> ManifestChanged:
        """The error again, out of what an API said."""
        error = cls("", ())
        InvalidInput.__init__(error, field, message, allowed)
        return error


class Conflict(LatentfarmError):  # noqa: N818 - named as HTTP names it
    """What was asked for races something else, such as the first call with the same Idempotency-Key."""

    code = "conflict"
    retryable = True


class Ended(Conflict):
    """What was to go on has ended for good, such as a dataset that was cancelled."""

    code = "ended"
    retryable = False


class TooMuchQueued(LatentfarmError):  # noqa: N818 - names a state, as HTTP does
    """A tenant has as many renders waiting as it may; `wait_s`: seconds after which there should be room."""

    retryable = True

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class OverQuota(TooMuchQueued):
    """A quota would be passed. `wait_s` 0: waiting does not help; `quota`: `name`, `unit`, `limit`, `used`, `asked`."""

    def __init__(self, message: str, wait_s: int, quota: Mapping[str, Any]) -> None:
        super().__init__(message, wait_s)
        self.quota = quota


SOURCE_CODES = frozenset({"latents_gone", "image_gone", "input_gone"})
"""What is not there, and never will be. `not_ready` is told of in the same way."""


class SourceGone(LatentfarmError):  # noqa: N818 - names a state, as HTTP does
    """What a job is to be refined from is not there; waiting helps with the code `not_ready` alone."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = code == "not_ready"

    @classmethod
    def latents(cls, job: object, indices: Iterable[int]) -> SourceGone:
        """Latents that are not kept."""
        return cls(
            "latents_gone", f"the latents of {named(indices)} of job {job} are not kept, or were never made"
        )

    @classmethod
    def image(cls, job: object, indices: Iterable[int]) -> SourceGone:
        """Images that failed, were cancelled, or are kept no longer."""
        return cls("image_gone", f"{named(indices)} of job {job} failed, was cancelled or is kept no longer")

    @classmethod
    def inputs(cls, job: object) -> SourceGone:
        """Pictures that the job started from, which are swept after a time of their own."""
        return cls("input_gone", f"the pictures that job {job} started from are no longer kept")

    @classmethod
    def not_ready(cls, job: object, indices: Iterable[int]) -> SourceGone:
        """Images whose turn has not come."""
        return cls("not_ready", f"job {job} is still at work on {named(indices)}")


class NotFound(LatentfarmError):  # noqa: N818 - named as HTTP names it
    """No such job or image."""


class BadMessage(LatentfarmError):  # noqa: N818 - says what it is
    """A payload from Redis that cannot be read; `payload` is what came."""

    def __init__(self, message: str, payload: object = None) -> None:
        super().__init__(message)
        self.payload = payload


class ServiceUnavailable(LatentfarmError):  # noqa: N818 - named as HTTP names it
    """SQL, Redis or S3 did not answer in time."""

    retryable = True


class CheckpointError(LatentfarmError):
    """The state of a half-done render is missing, altered, or of another render; it is never needed."""


class RenderError(LatentfarmError):
    """Why a render did not end well."""

    error_class = ErrorClass.DEVICE
    retryable = True


class TransientError(RenderError):
    """Storage, database or network failed: the render is tried again and not charged."""

    error_class = ErrorClass.TRANSIENT


class DeviceMemoryError(RenderError):
    """The device had too little memory, also for the smallest batch."""

    error_class = ErrorClass.MEMORY


class DeviceError(RenderError):
    """The device failed in a way that leaves its context dead; the child must exit."""

    error_class = ErrorClass.DEVICE


class NonFiniteError(RenderError):
    """NaN or infinity, also after decoding once more in float32. Never delivered as a black image."""

    error_class = ErrorClass.NON_FINITE


class LatentsError(RenderError):
    """Stage-one latents are missing, altered, or were made for another spec."""

    error_class = ErrorClass.LATENTS


class ModelError(RenderError):
    """A file of the model is missing, cut short, or of another shape than its config says."""

    error_class = ErrorClass.MODEL


class InputError(RenderError):
    """A picture that the job starts from is not kept any more, or is not what was kept."""

    error_class = ErrorClass.INPUT
    retryable = False


class DefectError(RenderError):
    """An exception that nobody foresaw, in work for one render: a bug, or a machine that is set up wrongly."""

    error_class = ErrorClass.DEFECT


class SpecError(RenderError):
    """The model cannot do what the spec asks; trying again cannot help."""

    error_class = ErrorClass.USER
    retryable = False
