"""The words of the drawn world: everything that a caption can say."""

from typing import Final

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 35, 45),
    "green": (40, 160, 60),
    "blue": (40, 75, 215),
    "yellow": (245, 215, 50),
    "purple": (165, 50, 195),
    "cyan": (50, 200, 215),
}
SHAPES: Final = ("circle", "square", "triangle", "cross")
SIZES: Final = ("small", "large")
# A phrase and the middle of the object as parts of width and height.
PLACES: Final[dict[str, tuple[str, float, float]]] = {
    "left": ("on the left", 0.26, 0.5),
    "right": ("on the right", 0.74, 0.5),
    "top": ("at the top", 0.5, 0.26),
    "bottom": ("at the bottom", 0.5, 0.74),
    "middle": ("in the middle", 0.5, 0.5),
}
BACKGROUNDS: Final[dict[str, tuple[int, int, int]]] = {
    "white": (245, 245, 245),
    "grey": (150, 150, 150),
    "black": (20, 20, 20),
}
# How an object is filled. Meant for the second text encoder (`prompt_2`).
STYLES: Final = ("filled", "outline", "striped", "dotted")
GLUE: Final = ("a", "an", "and", "with", "on", "in", "at", "the", "background", "style", "picture", "of", ",")


def vocabulary() -> list[str]:
    """Every word that must be one token, in a fixed order without repeats."""
    groups = (GLUE, COLOURS, SHAPES, SIZES, PLACES, BACKGROUNDS, STYLES)
    return list(dict.fromkeys(word for group in groups for word in group))
