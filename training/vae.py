"""Train the VAE: pictures to latents an eighth of their size, and back."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from training.loop import Course, fit
from training.picture import random_plan, render
from training.share import processes

Pixels = NDArray[np.uint8]
COURSE: Final = Course(steps=4000, rate=2e-3, average=0.998)
BATCH: Final = 8
# Windows of this many pixels: a fully convolutional net needs no whole pictures to learn from.
_WINDOW: Final = 64
_KL: Final = 2e-4  # keeps the latents near a unit Gaussian and the decoder calm about small errors


class Windows(Dataset[Tensor]):
    """Batches `[n, 3, 64, 64]` from -1 to 1 of windows; batch i depends on the seed and i alone."""

    def __init__(self, seed: int, numbers: range) -> None:
        self._seed, self._numbers = seed, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Tensor:
        first = self._numbers[index] * BATCH
        return torch.stack([self._picture(first + place) for place in range(BATCH)])

    def _picture(self, number: int) -> Tensor:
        rng = random.Random(f"vae {self._seed} {number}")
        pixels = np.asarray(render(random_plan(rng)))
        window = _window(pixels, rng)
        if window.std() < 8:  # plain ground: look once more
            window = _window(pixels, rng)
        return torch.from_numpy(window.copy()).permute(2, 0, 1).float() / 127.5 - 1


def train_vae(vae: Any, seed: int, checkpoint: Path, course: Course = COURSE) -> dict[str, float]:
    """Train in place, set the scaling factor to what makes latents of unit variance, report figures."""

    def batches(numbers: range) -> Iterable[Tensor]:
        return DataLoader(Windows(seed, numbers), batch_size=None, num_workers=1, prefetch_factor=4)

    def loss_of(images: Tensor, number: int) -> Tensor:
        torch.manual_seed(seed * 1_000_003 + number)
        images = images.to(vae.device, memory_format=torch.channels_last)
        posterior = vae.encode(images).latent_dist
        shown: Tensor = vae.decode(posterior.sample()).sample
        kl: Tensor = posterior.kl() / posterior.mean[0].numel()
        anchor = _anchor_weight(number / (course.steps * processes())) * _off_thumbnail(
            posterior.mean, images
        )
        return _error(shown, images) + _KL * kl.mean() + anchor

    vae.to(memory_format=torch.channels_last)  # several times faster on a CPU
    loss = fit(nn.ModuleDict({"vae": vae}), course, batches, loss_of, checkpoint)
    deviation = _latent_deviation(vae, seed)
    vae.register_to_config(scaling_factor=round(1 / deviation, 5))
    return {"loss": loss, "scaling_factor": vae.config.scaling_factor}


def _error(shown: Tensor, images: Tensor) -> Tensor:
    """Squared error, colour counted twice: else lightness takes all four channels for thousands of steps."""
    off = shown - images
    return off.square().mean() + (off - off.mean(dim=1, keepdim=True)).square().mean()


def _off_thumbnail(latents: Tensor, images: Tensor) -> Tensor:
    """How far the first three channels are from a thumbnail of the picture.

    It gives the net a start from which colours are right at once, and latents that a small
    UNet finds easy; the fourth channel and the differences hold the detail.
    """
    return nn.functional.mse_loss(latents[:, :3], 1.5 * nn.functional.avg_pool2d(images, 8))


def _anchor_weight(done: float) -> float:
    return max(0.05, 1 - done / 0.2)


def _window(pixels: Pixels, rng: random.Random) -> Pixels:
    top, left = (rng.randint(0, side - _WINDOW) for side in pixels.shape[:2])
    return pixels[top : top + _WINDOW, left : left + _WINDOW]


@torch.no_grad()
def _latent_deviation(vae: Any, seed: int) -> float:
    rng = random.Random(f"scale {seed}")
    pictures = [np.asarray(render(random_plan(rng))) for _ in range(128)]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    images = images.to(vae.device)
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in torch.split(images, 16)])
    return latents.std().item()
