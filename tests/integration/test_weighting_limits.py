"""What is refused of prompts with weights, by whom, and that a bad one costs its own render alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from latentfarm.errors import ErrorClass, SpecError
from latentfarm.states import Stage
from tests.rig import Rig, with_bucket
from worker.engine.conditioning import cut_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig import MakeSpec
    from worker.engine.model import LoadedModel

#: What passes at submit, and only the parser or the tokenizer sees.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too few weights": ({"prompt": '("a", "b").blend(1)'}, "prompt: compel cannot read it"),
    "too many weights": ({"prompt": '("a", "b").and(1, 2, 3)'}, "prompt: compel cannot read it"),
    "cancelled": ({"prompt": '("a", "b").blend(1, -1)'}, "prompt: the weights of blend cancel"),
    "blend too large": ({"prompt": '("a", "b").blend(1, 99)'}, "prompt: the weight 99 of blend"),
    "and too large": ({"prompt": '("a", "b").and(1, 99)'}, "prompt: the weight 99 of and"),
    "together too large": ({"prompt": "(((a)9)9)9"}, "prompt: the weight 729"),
    "no words": ({"prompt": "()"}, "prompt: holds parentheses and no words"),
    "no operand": ({"prompt": "(a) (b).and()"}, "prompt: compel takes .and(...) for words"),
    "negative weight": ({"prompt": "(a).attend(-1)"}, "prompt: compel takes .attend(...) for words"),
    "too long": ({"prompt": "word " * 399}, "allowed are 8"),
    "too much work": ({"prompt": "red- circle " * 80}, "passes through a text encoder"),
    "in the second": ({"prompt_2": '("a", "b").blend(1)'}, "prompt_2: compel"),
    "in the negative": ({"negative_prompt": '("a", "b").blend(1)'}, "negative_prompt: compel"),
    "in the second negative": (
        {"negative_prompt": "dark", "negative_prompt_2": '("a", "b").blend(1)'},
        "negative_prompt_2: compel",
    ),
}
#: Long to read for a parser that remembers nothing: minutes, or for ever.
SLOW = {
    "deep": "(" * 8 + "red" + ")" * 8,
    "deep and wide": "(" * 7 + "(a) " * 20 + ")" * 7,
    "many": "((red))1.1 " * 60,
    "quoted": '"' + "(a)1.1 " * 60 + '"++',
}


@pytest.fixture(scope="module")
def rig(tiny: LoadedModel) -> Iterator[Rig]:
    with Rig(with_bucket(tiny, 1)) as rig:
        yield rig


@pytest.mark.parametrize("name", BAD)
def test_the_worker_says_what_it_cannot_read(name: str, rig: Rig, make: MakeSpec) -> None:
    fields, reason = BAD[name]
    failed = rig.result(rig.submit(make(prompt_weighting="compel", **fields)))
    assert isinstance(failed, SpecError), failed
    assert failed.error_class is ErrorClass.USER
    assert reason in str(failed)
    rig.picture(rig.submit(make(prompt_weighting="compel", num_inference_steps=1)))


@pytest.mark.parametrize("name", SLOW)
def test_no_prompt_that_passes_takes_long_to_read(name: str, rig: Rig, make: MakeSpec) -> None:
    """The patience of the rig ends it otherwise."""
    rig.picture(rig.submit(make(prompt=SLOW[name], prompt_weighting="compel", num_inference_steps=1)))


@pytest.mark.parametrize(
    "prompt",
    [
        '""0.5 a red circle',
        '("a red circle", "a blue square").and(1, 0.5)',
        "a \\(literal\\)++ circle",
        "a circle (!)0.3 ! ! ! ! ! ! " * 9,
        "漢字++ (😀)0.4",
        "",
        "   ",
    ],
)
def test_odd_prompts_render(prompt: str, rig: Rig, make: MakeSpec) -> None:
    spec = make(
        prompt=prompt, prompt_weighting="compel", num_inference_steps=2, refiner={"high_noise_frac": 0.5}
    )
    rig.picture(rig.submit(spec))


def test_a_long_prompt_is_not_cut_but_its_pooled_embedding_is(rig: Rig, make: MakeSpec) -> None:
    fields = {"prompt": "word " * 90, "negative_prompt": "other " * 80, "num_inference_steps": 2}
    weighted = rig.picture(rig.submit(make(prompt_weighting="compel", **fields)))
    assert weighted.warnings == (
        "prompt: the pooled embedding was made of 77 of 362 tokens",
        "negative_prompt: the pooled embedding was made of 77 of 322 tokens",
    )
    second = make(prompt_weighting="compel", prompt_2="short", **fields)
    assert [line.split(":")[0] for line in rig.picture(rig.submit(second)).warnings] == ["negative_prompt"]


@pytest.mark.parametrize("weighting", [None, "compel"])
def test_a_refiner_does_not_warn_of_what_it_does_not_read(
    weighting: str | None, tiny: LoadedModel, make: MakeSpec
) -> None:
    long = "red " * 90
    spec = make(prompt=long, prompt_2=long, negative_prompt=long, prompt_weighting=weighting)
    warned = cut_warnings(tiny.pipelines[Stage.REFINE], tiny, spec)
    assert [line.split(" was ")[0].split(":")[0] for line in warned] == ["prompt", "negative_prompt"]


def test_provenance_names_the_library(rig: Rig, make: MakeSpec) -> None:
    weighted = rig.picture(rig.submit(make(prompt_weighting="compel", num_inference_steps=1))).notes
    plain = rig.picture(rig.submit(make(num_inference_steps=1))).notes
    assert weighted["versions"].startswith(plain["versions"] + " compel=")
