"""The samplers that the farm offers: names, the diffusers class of each, and what each one takes.

Data, no code of diffusers: the API validates with this table without importing torch, and the
engine builds from it. Which class takes what was read from the signatures of diffusers 0.42.
"""

from dataclasses import dataclass, field

SIGMA_SCHEDULES = ("default", "karras", "exponential", "beta")
SPACINGS = ("leading", "linspace", "trailing")


@dataclass(frozen=True, slots=True)
class Sampler:
    """One row of the table.

    Attributes:
        cls: class name in diffusers.
        order: UNet evaluations per step (2: all but the last step).
        sigma_schedules: values of `sigma_schedule` that it takes besides `default`.
        config: settings on top of the model's own scheduler config.
        takes_timesteps, takes_sigmas, takes_eta: whether those spec fields apply.
        spacing: whether `timestep_spacing` applies.
    """

    cls: str
    order: int = 1
    sigma_schedules: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)
    takes_timesteps: bool = False
    takes_sigmas: bool = False
    takes_eta: bool = False
    spacing: bool = True


_ALL = ("karras", "exponential", "beta")

SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler("EulerDiscreteScheduler", sigma_schedules=_ALL, takes_timesteps=True, takes_sigmas=True),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler"),
    "dpmpp_2m": Sampler(
        "DPMSolverMultistepScheduler",
        sigma_schedules=_ALL,
        config={"algorithm_type": "dpmsolver++"},
        takes_timesteps=True,
    ),
    "dpmpp_2m_sde": Sampler(
        "DPMSolverMultistepScheduler",
        sigma_schedules=_ALL,
        config={"algorithm_type": "sde-dpmsolver++"},
        takes_timesteps=True,
    ),
    "heun": Sampler("HeunDiscreteScheduler", order=2, sigma_schedules=_ALL, takes_timesteps=True),
    "ddim": Sampler("DDIMScheduler", takes_eta=True),
}
