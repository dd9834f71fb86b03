"""The rival of a worker's start: a script that imports and loads the same pipelines, and says when they are there."""

import sys

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

if __name__ == "__main__":
    folder = sys.argv[1]
    base = StableDiffusionXLPipeline.from_pretrained(f"{folder}/base", dtype=torch.float32)
    refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(f"{folder}/refiner", dtype=torch.float32)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
