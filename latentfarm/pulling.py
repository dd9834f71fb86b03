"""Fetches a model's files from the hub, at the commits that its entry names, into the hub's own cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from latentfarm.errors import InvalidInput, ServiceUnavailable
from latentfarm.places import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    from latentfarm.places import Place
    from latentfarm.registry import ModelEntry

_NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
_SMALL = ("model_index.json", "*/config.json", "scheduler/*.json", "tokenizer/*", "tokenizer_2/*")
_STEMS = ("diffusion_pytorch_model", "model")


class Order(NamedTuple):
    """What to fetch of one repository.

    Attributes:
        part: of the entry, such as `base` or `LoRA pixels`.
        allow: patterns of files to take.
        ignore: patterns of files to leave, although `allow` takes them.
    """

    part: str
    place: Place
    allow: tuple[str, ...]
    ignore: tuple[str, ...] = ()


def orders_of(entry: ModelEntry) -> list[Order]:
    """What a model needs from the hub.

    Raises:
        InvalidInput: a part looks like a hub id and has no commit.
    """
    _check_pinned(entry)
    orders = [
        _whole(part, place, entry) if part in {"base", "refiner"} else _component(part, place, entry.variant)
        for part, place in entry.places.items()
        if place.revision
    ]
    adapters = {f"LoRA {name}": one.place for name, one in entry.loras.items()}
    adapters |= {f"embedding {name}": one.place for name, one in entry.embeddings.items()}
    return orders + [
        Order(part, place, (place.inside,)) for part, place in adapters.items() if place.revision
    ]


def _check_pinned(entry: ModelEntry) -> None:
    for part, place in entry.places.items():
        # A path that is not there, of the form owner/name beside models.toml.
        if place.revision is None and not place.single and not place.path.exists():
            field = "revision" if part == "base" else f"{part}_revision"
            raise InvalidInput(
                f"models.{entry.name}.{field}",
                f"there is no {place.path}; if it is a hub id, it needs the commit to be fetched at",
                "40 hexadecimal digits",
            )


def _whole(part: str, place: Place, entry: ModelEntry) -> Order:
    if place.single:
        return Order(part, place, (place.inside,))
    names = [name for name in _NETWORKS if name not in entry.places or (name == "unet" and part != "base")]
    weights = [pattern for name in names for pattern in _weights(f"{name}/", entry.variant)]
    return Order(part, place, (*_SMALL, *weights), _others(entry.variant))


def _component(part: str, place: Place, variant: str | None) -> Order:
    if place.single:
        return Order(part, place, (place.inside,))
    folders = ("", f"{part}/")
    weights = [pattern for folder in folders for pattern in _weights(folder, variant)]
    # A VAE of its own is often published without variants.
    weights += [pattern for folder in folders for pattern in _weights(folder, None)] if variant else []
    return Order(part, place, tuple(f"{folder}config.json" for folder in folders) + tuple(weights))


def _weights(folder: str, variant: str | None) -> list[str]:
    infix = f".{variant}" if variant else ""
    ends = (f"{infix}.safetensors", f"{infix}-*.safetensors", f".safetensors.index{infix}.json")
    return [f"{folder}{stem}{end}" for stem in _STEMS for end in ends]


def _others(variant: str | None) -> tuple[str, ...]:
    return () if variant else ("*.fp16.*", "*.fp16-*", "*.non_ema.*")


def pull(order: Order) -> Path:
    """Fetches one order, with a progress bar; what is in the cache already is not fetched again.

    Raises:
        ServiceUnavailable: the hub did not answer, or has no such commit or file.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        huggingface_hub.snapshot_download(
            order.place.repository,
            revision=order.place.revision,
            cache_dir=cache_folder(),
            allow_patterns=list(order.allow),
            ignore_patterns=list(order.ignore) or None,
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ServiceUnavailable(f"{order.part}: {order.place} could not be fetched: {error}") from error
    if not order.place.path.exists():
        raise ServiceUnavailable(f"{order.part}: {order.place} has no such file")
    return order.place.path
