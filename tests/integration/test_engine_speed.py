"""Options for memory and speed: what they may change, what a CPU refuses, and that threads take turns."""

from __future__ import annotations

import copy
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentfarm.adapters import LoraEntry
from latentfarm.errors import ModelError
from latentfarm.speed import Speed
from latentfarm.states import Stage
from tests.rig import Rig, largest_difference
from worker.engine.model import load_model
from worker.engine.offload import Turns, stream

if TYPE_CHECKING:
    from latentfarm.registry import ModelEntry
    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

STAGES = [Stage.BASE, Stage.REFINE]
#: Name, options, most steps of 1/255 that a picture may move by.
HARMLESS: dict[str, tuple[dict[str, Any], int]] = {
    "slicing": ({"vae_slicing": True}, 0),
    "tiling of what is small": ({"vae_tiling": True}, 0),
    "kernel": ({"attention": "math"}, 2),
    "flash": ({"attention": "flash"}, 2),
    "layout": ({"channels_last": True}, 2),
    "fused": ({"fused_projections": True}, 2),
}
REFUSED: dict[str, dict[str, Any]] = {
    "offload": {"offload": "model"},
    "attention": {"attention": "xformers"},
    "compile": {"compile": "regional", "fused_projections": False},
    "fused_projections": {"fused_projections": True},
    "cuda_graphs": {"cuda_graphs": True},
}


def paint(model: LoadedModel, make: MakeSpec) -> tuple[torch.Tensor, str]:
    with Rig(dataclasses.replace(model, bucket=1)) as rig:
        picture = rig.picture(rig.submit(make(num_inference_steps=4, refiner={}), seed=7))
    return picture.pixels, picture.notes.get("speed", "")


@pytest.mark.parametrize("name", HARMLESS)
def test_an_option_paints_the_same_picture(
    name: str, tiny: LoadedModel, tiny_entry: ModelEntry, make: MakeSpec
) -> None:
    options, most = HARMLESS[name]
    model = load_model(tiny_entry.model_copy(update={"speed": Speed(**options)}), STAGES)
    pixels, notes = paint(model, make)
    plain, no_notes = paint(tiny, make)
    assert largest_difference(pixels, plain) <= most
    assert no_notes == ""
    assert notes == (
        "" if name == "slicing" else " ".join(f"{key}={value}" for key, value in options.items())
    )


def test_tiles_change_a_large_picture(tiny: LoadedModel, tiny_entry: ModelEntry, make: MakeSpec) -> None:
    """Else the option would not be in effect."""
    model = load_model(tiny_entry.model_copy(update={"speed": Speed(vae_tiling=True)}), [Stage.BASE])
    pictures = []
    for one in (tiny, model):
        with Rig(one) as rig:
            spec = make(num_inference_steps=2, width=200, height=200)
            pictures.append(rig.picture(rig.submit(spec, seed=7)).pixels)
    assert largest_difference(*pictures) > 0


@pytest.mark.parametrize("option", REFUSED)
def test_what_does_not_work_here_is_refused_by_name(option: str, tiny_entry: ModelEntry) -> None:
    lora = (
        {"loras": {"one": LoraEntry(file="/nowhere.safetensors")}}
        if option in {"compile", "fused_projections"}
        else {}
    )
    entry = tiny_entry.model_copy(update={"speed": Speed(**REFUSED[option]), **lora})
    with pytest.raises(ModelError, match=rf"models\.tiny\.speed\.{option}"):
        load_model(entry, STAGES)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, in its own compiler
def test_compiled_blocks_paint_nearly_the_same(
    tiny: LoadedModel, tiny_entry: ModelEntry, make: MakeSpec
) -> None:
    model = load_model(tiny_entry.model_copy(update={"speed": Speed(compile="regional")}), STAGES)
    assert largest_difference(paint(model, make)[0], paint(tiny, make)[0]) <= 2


def test_layers_that_are_streamed_paint_the_same_bits(
    tiny: LoadedModel, tiny_entry: ModelEntry, make: MakeSpec
) -> None:
    """Between a CPU and itself: the hooks and the engine get along. Nothing is saved here."""
    model = load_model(tiny_entry, STAGES)
    networks = {id(net): net for pipe in model.pipelines.values() for net in pipe.components.values()}
    for network in networks.values():
        if isinstance(network, torch.nn.Module):
            stream(network, torch.device("cpu"))
    assert next(model.pipelines[Stage.BASE].unet.parameters()).is_meta
    assert torch.equal(paint(model, make)[0], paint(tiny, make)[0])


def test_networks_that_take_turns_paint_the_same_bits(
    tiny: LoadedModel, tiny_entry: ModelEntry, make: MakeSpec
) -> None:
    model = load_model(tiny_entry, STAGES)
    turns = Turns(torch.device("cpu"))
    for network in {
        id(net): net for pipe in model.pipelines.values() for net in pipe.components.values()
    }.values():
        if isinstance(network, torch.nn.Module):
            turns.take(network)
    assert torch.equal(paint(model, make)[0], paint(tiny, make)[0])


class Net(torch.nn.Module):
    """Remembers where it was when it ran; a stand-in for a device is enough to count."""

    def __init__(self, log: list[tuple[str, str]], name: str) -> None:
        super().__init__()
        self.log, self.name, self.place, self.inside = log, name, "cpu", threading.Semaphore(1)

    def to(self, place: object) -> Any:  # type: ignore[override]
        assert self.inside.acquire(blocking=False), "moved while it runs"
        self.place = str(place)
        self.log.append((self.name, self.place))
        self.inside.release()
        return self

    def forward(self) -> str:
        assert self.inside.acquire(blocking=False)
        try:
            for _ in range(1000):
                pass
            return self.place
        finally:
            self.inside.release()


def test_one_network_at_a_time_is_on_the_device() -> None:
    log: list[tuple[str, str]] = []
    nets = [Net(log, name) for name in "abc"]
    turns = Turns(torch.device("meta"))
    for net in nets:
        turns.take(net)
    log.clear()
    assert [nets[index]() for index in (0, 0, 1, 0)] == ["meta"] * 4
    assert log == [("a", "meta"), ("a", "cpu"), ("b", "meta"), ("b", "cpu"), ("a", "meta")]
    wrong: list[BaseException] = []

    def run(net: Net) -> None:
        try:
            assert [net() for _ in range(200)] == ["meta"] * 200
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_a_network_is_given_comes_to_the_device_with_it() -> None:
    """The pipelines put tokens where the network is, which is not where it will run."""
    linear = torch.nn.Linear(2, 2)
    Turns(torch.device("meta")).take(linear)
    assert linear(torch.ones(1, 2)).device.type == "meta"
    assert linear(input=torch.ones(1, 2)).device.type == "meta"


def test_a_copy_of_a_network_runs_itself() -> None:
    """A picture that is not finite is decoded once more with a copy of the VAE in float32."""
    linear = torch.nn.Linear(2, 2)
    Turns(torch.device("cpu")).take(linear)
    copied = copy.deepcopy(linear)
    with torch.no_grad():
        copied.weight.zero_()
        copied.bias.fill_(5.0)
    assert copied(torch.ones(1, 2)).tolist() == [[5.0, 5.0]]
    assert linear(torch.ones(1, 2)).tolist() != [[5.0, 5.0]]
