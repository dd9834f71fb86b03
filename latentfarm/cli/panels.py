"""Help in sections: a command with an option for every field of a spec is no list to read from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    import typer

OWN = "Options"
"""Section of the options that belong to no panel."""
#: Sections, each with the fields of the spec that stand in it; nested fields go with the one above them.
PANELS: dict[str, tuple[str, ...]] = {
    "What to paint": (
        "model",
        "prompt_2",
        "negative_prompt",
        "negative_prompt_2",
        "prompt_weighting",
        "width",
        "height",
        "num_images",
        "seed",
    ),
    "Denoising": (
        "num_inference_steps",
        "guidance_scale",
        "guidance_rescale",
        "clip_skip",
        "sampler",
        "sigma_schedule",
        "timestep_spacing",
        "timesteps",
        "sigmas",
        "eta",
        "rescale_betas_zero_snr",
    ),
    "Sizes and crops that the model is told": (
        "original_size",
        "target_size",
        "crops_coords_top_left",
        "negative_original_size",
        "negative_target_size",
        "negative_crops_coords_top_left",
    ),
    "Starting from a picture": ("image", "mask_image", "strength", "padding_mask_crop"),
    "Refiner": ("refiner",),
    "LoRAs and embeddings": ("loras", "embeddings"),
    "Result": ("output", "reproducible"),
    "Job": ("lane", "priority", "keep_latents", "retain_days", "metadata", "webhook"),
}
OTHER = "Other fields"
"""Section of fields that the panels do not name yet."""


def panel_of(field: str) -> str:
    """The section of a field of the spec, which may be an outer one."""
    return next((panel for panel, fields in PANELS.items() if field in fields), OTHER)


class PanelledCommand(TyperCommand):
    """A command whose options are listed panel by panel, in whole lines.

    Rich's boxes would do it too, but cut long names off at 80 columns.
    """

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # Typer hides click's types
        """Writes the arguments, and each panel in the order of its first option."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panel = getattr(param, "rich_help_panel", None) or OWN
                title = "Arguments" if param.param_type_name == "argument" else panel
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
