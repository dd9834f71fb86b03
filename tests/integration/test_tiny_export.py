"""The other forms of the pair hold the same weights, under the names that SDXL was published with."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from safetensors import safe_open

from training.export import export

MODEL = Path("models/tiny")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
STAGES = {"base": StableDiffusionXLPipeline, "refiner": StableDiffusionXLImg2ImgPipeline}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(MODEL, folder)
    return folder


def _stock(stage: str, **options):
    return STAGES[stage].from_pretrained(MODEL / stage, local_files_only=True, **options)


@pytest.mark.parametrize("stage", STAGES)
def test_a_single_file_loads_to_the_same_weights(stage, exported):
    loaded = STAGES[stage].from_single_file(
        str(exported / f"{stage}.safetensors"), config=str(MODEL / stage), local_files_only=True
    )
    stock = _stock(stage)
    for part in PARTS:
        if getattr(stock, part) is None:
            continue
        wanted = getattr(stock, part).state_dict()
        found = getattr(loaded, part).state_dict()
        assert wanted.keys() == found.keys(), part
        assert all(torch.equal(wanted[key], found[key]) for key in wanted), part


def test_single_files_bear_the_original_names(exported):
    published = {
        "base": (
            "model.diffusion_model.input_blocks.0.0.weight",
            "model.diffusion_model.input_blocks.2.0.op.weight",
            "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
            "model.diffusion_model.output_blocks.1.2.conv.weight",
            "model.diffusion_model.label_emb.0.0.weight",
            "first_stage_model.encoder.down.0.block.0.conv1.weight",
            "first_stage_model.decoder.mid.attn_1.q.weight",
            "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
            "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight",
            "conditioner.embedders.1.model.text_projection",
        ),
        "refiner": ("conditioner.embedders.0.model.transformer.resblocks.0.mlp.c_fc.weight",),
    }
    for stage, names in published.items():
        with safe_open(exported / f"{stage}.safetensors", "pt") as file:
            found = set(file.keys())
        assert set(names) <= found
        # Nothing keeps a name that only diffusers uses.
        assert not [name for name in found if re.search(r"down_blocks|up_blocks|resnets|mid_block", name)]


@pytest.mark.parametrize("stage", STAGES)
def test_the_half_precision_folder_is_the_same_model_rounded(stage, exported):
    folder = exported / "fp16" / stage
    files = [file.name for file in folder.rglob("*.safetensors")]
    assert files
    assert all(name.endswith(".fp16.safetensors") for name in files)
    half = STAGES[stage].from_pretrained(
        folder, variant="fp16", dtype=torch.float16, local_files_only=True, use_safetensors=True
    )
    wanted = _stock(stage).unet.state_dict()
    for key, value in half.unet.state_dict().items():
        assert value.dtype == torch.float16
        assert torch.equal(value, wanted[key].half()), key
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == STAGES[stage].__name__
