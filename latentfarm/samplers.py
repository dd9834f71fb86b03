"""The samplers that the farm offers: names, the diffusers class of each, and what each one takes.

Data, no code of diffusers: the API validates with this table without importing torch, and the
engine builds from it. Which class takes what was read from the signatures of diffusers 0.42, and
a test holds the table against them.
"""

from dataclasses import dataclass, field
from typing import Literal

SIGMA_SCHEDULES = ("default", "karras", "exponential", "beta", "lu")
SPACINGS = ("leading", "linspace", "trailing")
Family = Literal["discrete", "edm"]


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
        takes_zero_snr: whether `rescale_betas_zero_snr` applies.
        spacing: whether `timestep_spacing` applies, and what the class takes when nobody says.
        max_steps: above it diffusers raises, whatever the model's config says.
        seeds_itself: draws from a noise source of its own, which must be given the image's seed.
        family: `edm` samplers fit models of the EDM formulation, and those take no others.
    """

    cls: str
    label: str
    order: int = 1
    sigma_schedules: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)
    takes_timesteps: bool = False
    takes_sigmas: bool = False
    takes_eta: bool = False
    takes_zero_snr: bool = False
    spacing: str | None = "linspace"
    max_steps: int = 1000
    seeds_itself: bool = False
    family: Family = "discrete"


def schedule_settings(row: Sampler, schedule: str) -> dict[str, object]:
    """The settings of the sampler's class that make a sigma schedule.

    Args:
        row: of the sampler.
        schedule: `default`, or one of the row's own.
    """
    if row.family == "edm":  # one setting that names it, and no schedule without a name
        return {} if schedule == "default" else {"sigma_schedule": schedule}
    return {SWITCHES[name]: schedule == name for name in row.sigma_schedules}


SWITCHES = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
    "lu": "use_lu_lambdas",
}
"""The settings by which most classes choose a schedule."""
_ALL = ("karras", "exponential", "beta")
_EDM = ("karras", "exponential")


def _multistep(label: str, order: int, algorithm: str) -> Sampler:
    return Sampler(
        "DPMSolverMultistepScheduler",
        label,
        sigma_schedules=(*_ALL, "lu"),
        config={"algorithm_type": algorithm, "solver_order": order},
        takes_timesteps=True,
        takes_zero_snr=True,
    )


def _singlestep(label: str, algorithm: str) -> Sampler:
    return Sampler(
        "DPMSolverSinglestepScheduler",
        label,
        sigma_schedules=_ALL,
        config={"algorithm_type": algorithm, "solver_order": 2},
        takes_timesteps=True,
        spacing=None,
    )


def _edm(cls: str, label: str, **config: object) -> Sampler:
    return Sampler(cls, label, sigma_schedules=_EDM, config=config, spacing=None, family="edm")


def _distilled(cls: str, label: str, *, takes_eta: bool) -> Sampler:
    return Sampler(
        cls,
        label,
        takes_timesteps=True,
        takes_eta=takes_eta,
        takes_zero_snr=True,
        spacing=None,
        max_steps=50,
    )


_EDM_MULTISTEP = "EDMDPMSolverMultistepScheduler"

SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler(
        "EulerDiscreteScheduler",
        "Euler",
        sigma_schedules=_ALL,
        takes_timesteps=True,
        takes_sigmas=True,
        takes_zero_snr=True,
    ),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler", "Euler a", takes_zero_snr=True),
    "dpmpp_2m": _multistep("DPM++ 2M", 2, "dpmsolver++"),
    "dpmpp_2m_sde": _multistep("DPM++ 2M SDE", 2, "sde-dpmsolver++"),
    "dpmpp_3m": _multistep("DPM++ 3M", 3, "dpmsolver++"),
    "dpmpp_3m_sde": _multistep("DPM++ 3M SDE", 3, "sde-dpmsolver++"),
    "dpmpp_sde": Sampler(
        "DPMSolverSDEScheduler", "DPM++ SDE", order=2, sigma_schedules=_ALL, seeds_itself=True
    ),
    "dpmpp_single": _singlestep("DPM++ 2S", "dpmsolver++"),
    "dpmpp_single_sde": _singlestep("DPM++ 2S SDE", "sde-dpmsolver++"),
    "dpm2": Sampler("KDPM2DiscreteScheduler", "DPM2", order=2, sigma_schedules=_ALL),
    "dpm2_ancestral": Sampler("KDPM2AncestralDiscreteScheduler", "DPM2 a", order=2, sigma_schedules=_ALL),
    "heun": Sampler("HeunDiscreteScheduler", "Heun", order=2, sigma_schedules=_ALL, takes_timesteps=True),
    "lms": Sampler("LMSDiscreteScheduler", "LMS", sigma_schedules=_ALL),
    "ddim": Sampler("DDIMScheduler", "DDIM", takes_eta=True, takes_zero_snr=True, spacing="leading"),
    "ddpm": Sampler("DDPMScheduler", "DDPM", takes_timesteps=True, takes_zero_snr=True, spacing="leading"),
    "pndm": Sampler("PNDMScheduler", "PLMS", spacing="leading"),
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC", sigma_schedules=_ALL, takes_zero_snr=True),
    "deis": Sampler("DEISMultistepScheduler", "DEIS", sigma_schedules=_ALL),
    "sa_solver": Sampler("SASolverScheduler", "SA-Solver", sigma_schedules=_ALL),
    "lcm": _distilled("LCMScheduler", "LCM", takes_eta=False),
    "tcd": _distilled("TCDScheduler", "TCD", takes_eta=True),
    "edm_euler": _edm("EDMEulerScheduler", "EDM Euler"),
    "edm_dpmpp_2m": _edm(_EDM_MULTISTEP, "EDM DPM++ 2M", algorithm_type="dpmsolver++", solver_order=2),
    "edm_dpmpp_2m_sde": _edm(
        _EDM_MULTISTEP, "EDM DPM++ 2M SDE", algorithm_type="sde-dpmsolver++", solver_order=2
    ),
    "edm_dpmpp_3m": _edm(_EDM_MULTISTEP, "EDM DPM++ 3M", algorithm_type="dpmsolver++", solver_order=3),
}
