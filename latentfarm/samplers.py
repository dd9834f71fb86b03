"""The samplers that the farm offers: names, the diffusers class of each, and what each one takes.

Data, no code of diffusers: the API validates with this table without importing torch, and the
engine builds from it. Which class takes what was read from the signatures of diffusers 0.42, and
a test holds the table against them.
"""

from dataclasses import dataclass, field

SIGMA_SCHEDULES = ("default", "karras", "exponential", "beta")
SPACINGS = ("leading", "linspace", "trailing")


@dataclass(frozen=True, slots=True)
class Sampler:
    """One row of the table.

    Attributes:
        cls: class name in diffusers.
        label: what people, and other tools' files, call it.
        order: UNet evaluations per step (2: all but the last step).
        sigma_schedules: values of `sigma_schedule` that it takes besides `default`.
        config: settings on top of the model's own scheduler config.
        takes_timesteps, takes_sigmas, takes_eta: whether those spec fields apply.
        spacing: whether `timestep_spacing` applies, and what the class takes when nobody says.
        max_steps: above it diffusers raises, whatever the model's config says.
        seeds_itself: draws from a noise source of its own, which must be given the image's seed.
    """

    cls: str
    label: str
    order: int = 1
    sigma_schedules: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)
    takes_timesteps: bool = False
    takes_sigmas: bool = False
    takes_eta: bool = False
    spacing: str | None = "linspace"
    max_steps: int = 1000
    seeds_itself: bool = False


_ALL = ("karras", "exponential", "beta")
_MULTISTEP = "DPMSolverMultistepScheduler"

SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler(
        "EulerDiscreteScheduler", "Euler", sigma_schedules=_ALL, takes_timesteps=True, takes_sigmas=True
    ),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler", "Euler a"),
    "dpmpp_2m": Sampler(
        _MULTISTEP,
        "DPM++ 2M",
        sigma_schedules=_ALL,
        config={"algorithm_type": "dpmsolver++"},
        takes_timesteps=True,
    ),
    "dpmpp_2m_sde": Sampler(
        _MULTISTEP,
        "DPM++ 2M SDE",
        sigma_schedules=_ALL,
        config={"algorithm_type": "sde-dpmsolver++"},
        takes_timesteps=True,
    ),
    "dpmpp_sde": Sampler(
        "DPMSolverSDEScheduler", "DPM++ SDE", order=2, sigma_schedules=_ALL, seeds_itself=True
    ),
    "dpmpp_single": Sampler(
        "DPMSolverSinglestepScheduler", "DPM++ 2S", sigma_schedules=_ALL, takes_timesteps=True, spacing=None
    ),
    "dpm2": Sampler("KDPM2DiscreteScheduler", "DPM2", order=2, sigma_schedules=_ALL),
    "dpm2_ancestral": Sampler("KDPM2AncestralDiscreteScheduler", "DPM2 a", order=2, sigma_schedules=_ALL),
    "heun": Sampler("HeunDiscreteScheduler", "Heun", order=2, sigma_schedules=_ALL, takes_timesteps=True),
    "lms": Sampler("LMSDiscreteScheduler", "LMS", sigma_schedules=_ALL),
    "ddim": Sampler("DDIMScheduler", "DDIM", takes_eta=True, spacing="leading"),
    "ddpm": Sampler("DDPMScheduler", "DDPM", takes_timesteps=True, spacing="leading"),
    "pndm": Sampler("PNDMScheduler", "PLMS", spacing="leading"),
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC", sigma_schedules=_ALL),
    "deis": Sampler("DEISMultistepScheduler", "DEIS", sigma_schedules=_ALL),
    "lcm": Sampler("LCMScheduler", "LCM", takes_timesteps=True, spacing=None, max_steps=50),
    "tcd": Sampler("TCDScheduler", "TCD", takes_timesteps=True, takes_eta=True, spacing=None, max_steps=50),
}
