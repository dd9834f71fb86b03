"""Imports what the engine stands on, as fast as that goes."""

from __future__ import annotations

import gc


def import_libraries() -> None:
    """Imports torch, diffusers and transformers with all that the pipelines need of them.

    A million objects come into being, hardly one of them garbage, and meanwhile the collector of cycles walks
    through all of them time and again: a fifth of the time of the start. So it pauses, and afterwards leaves
    out what is there by then, for good. The weights come later: what is left over from reading them is collected.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        import diffusers
        import torch
        import transformers

        import worker.engine.engine
        import worker.engine.model  # noqa: F401
        from worker.engine.networks import classes

        # The libraries import their parts when they are first asked for.
        _ = (
            torch,
            transformers,
            diffusers.StableDiffusionXLPipeline,
            diffusers.StableDiffusionXLImg2ImgPipeline,
        )
        classes()
    finally:
        gc.freeze()
        if on:
            gc.enable()
