"""Names of objects in the bucket. Made from ids and fences only, never from user text.

    v1/latents/<render>/<fence>.safetensors    stage-one latents, until `keep_latents` is over
    v1/images/<render>/<fence>.<format>        a finished image

Two claims of one render have different fences, so neither can overwrite the other's object.
"""

PREFIX = "v1/"


def latents_key(render_id: int, fence: int) -> str:
    """Where the latents of one claim of the base stage lie."""
    return f"{PREFIX}latents/{render_id}/{fence}.safetensors"


def image_key(render_id: int, fence: int, extension: str) -> str:
    """Where the image made under one claim lies. `extension` is one of the output formats."""
    return f"{PREFIX}images/{render_id}/{fence}.{extension}"
