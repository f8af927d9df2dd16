"""MRI forward: from tissues to the series that a scanner gives, with their truth.

Magnitudes with Rician noise on the grid of the scene; no motion, no partial volume, no inhomogeneity of the fields. In
the first pass the agent stays in the vessels, unless the protocol lets it leak. In DCE R2* is taken as unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timelens.engines.kinetics import Frames, InputFunction
from timelens.engines.mr_signal import (
    diffusion_decay,
    echo_decay,
    inversion_recovery,
    ivim_decay,
    look_locker,
    saturation_recovery,
    spoiled_gradient_echo,
    with_contrast,
)
from timelens.engines.perfusion import population_input
from timelens.engines.perfusion.first_pass import HAEMATOCRIT_FACTOR, TISSUE_DENSITY
from timelens.knowledge import quantities
from timelens.knowledge.relaxivity import relaxivity
from timelens.lenses.mri.enhancement import NAMES, enhancement_numbers
from timelens.lenses.mri.physics import exchange_concentration, k_trans_of
from timelens.lenses.mri.protocol import MrProtocol, mr_protocol
from timelens.lenses.mri.scene import MrScene
from timelens.study.acquisition import Acquisition
from timelens.study.axes import Axis
from timelens.study.contract import Administration, Protocol, Simulated, Truth
from timelens.study.image import Image
from timelens.study.mr import MrSettings
from timelens.study.timing import FrameTiming

__all__ = ["plasma_of", "simulate"]

Floats = NDArray[np.float64]
#: dR2* per plasma concentration in a voxel, L/mmol/s: the same in artery and tissue, so that it cancels.
FIRST_PASS_RELAXIVITY = 12.0
#: The same of agent between cells, where it is spread more evenly; an assumption, as tissues differ.
LEAKED_RELAXIVITY = 6.0


def simulate(
    scene: MrScene,
    administrations: Sequence[Administration],
    protocol: Protocol | MrProtocol,
    rng: np.random.Generator,
) -> Simulated:
    """Measure a scene.

    Parameters
    ----------
    scene
        Tissues on a grid.
    administrations
        The contrast agent, where it is another than the protocol's.
    protocol
        See :class:`timelens.lenses.mri.protocol.MrProtocol`.
    rng
        Source of noise.

    Returns
    -------
    Simulated
        One acquisition a series, without and with noise; the outlines; the mean of every quantity in each region that
        is no blood.
    """
    plan = protocol if isinstance(protocol, MrProtocol) else mr_protocol(protocol)
    agent = administrations[0].agent if administrations else plan.agent
    clean, noisy, truth = [], [], []
    for name in plan.series:
        values, image, settings = _SERIES[name](scene, plan, agent)
        made = [
            _acquisition(name, v, image, settings, scene, agent) for v in (values, _noise(values, scene, plan, rng))
        ]
        clean.append(made[0])
        noisy.append(made[1])
        truth += _truth(scene, plan, name)
    return Simulated(tuple(noisy), (scene.region,), tuple(truth), tuple(clean))


def plasma_of(plan: MrProtocol, end_s: float) -> InputFunction:
    """Arterial plasma on the clock of the series, mmol/L."""
    name: Any = plan.population
    return population_input(name, end_s, haematocrit=plan.haematocrit, delay=plan.arrival_s)


def _flips(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    flips = np.asarray(plan.flips_deg)
    signal = spoiled_gradient_echo(
        scene.maps["m0"], 1 / scene.maps["t1"], flip=flips[:, None, None, None], tr=plan.flip_tr_s
    )
    settings = MrSettings("flip", tr_s=plan.flip_tr_s, field_t=plan.field_t, gradient_echo=True, spoiled=True)
    return np.asarray(signal), Axis("flip", "flip", "deg", flips), settings


def _inversions(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    times = np.asarray(plan.inversions_s)
    signal = inversion_recovery(scene.maps["m0"], 1 / scene.maps["t1"], ti=times[:, None, None, None])
    axis = Axis("inversion", "other", "s", times)
    return np.abs(signal), axis, MrSettings("inversion", field_t=plan.field_t)


def _saturations(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    times = np.asarray(plan.inversions_s)
    signal = saturation_recovery(scene.maps["m0"], 1 / scene.maps["t1"], ts=times[:, None, None, None])
    return signal, Axis("inversion", "other", "s", times), MrSettings("saturation", field_t=plan.field_t)


def _look_locker(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    times = plan.look_locker_interval_s * np.arange(1.0, plan.look_locker_pulses + 1)
    signal = look_locker(
        scene.maps["m0"], 1 / scene.maps["t1"], times=times[:, None, None, None], flip=plan.look_locker_flip_deg,
        interval=plan.look_locker_interval_s,
    )  # fmt: skip
    return (
        np.abs(signal),
        Axis("inversion", "other", "s", times),
        MrSettings("look locker", tr_s=plan.look_locker_interval_s, field_t=plan.field_t),
    )


def _echoes(name: str) -> Callable[[MrScene, MrProtocol, str], tuple[Floats, Axis | FrameTiming, MrSettings]]:
    def made(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
        times, gradient = np.asarray(plan.echoes_s), name == "gradient echoes"
        decay = scene.maps["t2_star" if gradient else "t2"]
        signal = echo_decay(scene.maps["m0"], 1 / decay, te=times[:, None, None, None])
        kind: Any = name
        return (
            np.asarray(signal),
            Axis("echo", "echo", "s", times),
            MrSettings(kind, field_t=plan.field_t, gradient_echo=gradient),
        )

    return made


def _diffusion(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    b = np.asarray(plan.b_values)
    at, maps = b[:, None, None, None], scene.maps
    if (maps["ivim_f"] > 0).any():
        signal = ivim_decay(maps["m0"], maps["ivim_f"], maps["adc"], maps["ivim_d_star"], b=at)
    else:
        signal = diffusion_decay(maps["m0"], maps["adc"], b=at)
    return np.asarray(signal), Axis("b", "b-value", "s/mm2", b), MrSettings("diffusion", field_t=plan.field_t)


def _dce(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    timing = _timing(plan.dce_interval_s, plan.dce_frames)
    frames, plasma = Frames.instants(timing.mid), plasma_of(plan, float(timing.end[-1]))
    agent_in_tissue = _concentration(scene, plan, plasma, frames, exchange=True)
    r1 = relaxivity(agent, plan.field_t).r1
    rate = with_contrast(1 / scene.maps["t1"], r1, agent_in_tissue)
    signal = spoiled_gradient_echo(scene.maps["m0"], rate, flip=plan.dce_flip_deg, tr=plan.dce_tr_s)
    settings = MrSettings(
        "dce", tr_s=plan.dce_tr_s, te_s=0.0015, flip_deg=plan.dce_flip_deg, field_t=plan.field_t,
        gradient_echo=True, spoiled=True, agent=agent,
    )  # fmt: skip
    return np.asarray(signal), timing, settings


def _dsc(scene: MrScene, plan: MrProtocol, agent: str) -> tuple[Floats, Axis | FrameTiming, MrSettings]:
    timing = _timing(plan.dsc_interval_s, plan.dsc_frames)
    frames, plasma = Frames.instants(timing.mid), plasma_of(plan, float(timing.end[-1]))
    maps = scene.maps
    if plan.dsc_leakage:
        # The water of vessels is apart from that of the tissue, and fresh in the artery: only leaked agent changes T1.
        inside = _concentration(scene, plan, plasma, frames, part="plasma")
        leaked = _concentration(scene, plan, plasma, frames) - inside
        change = FIRST_PASS_RELAXIVITY * inside + LEAKED_RELAXIVITY * leaked
        rate = with_contrast(1 / maps["t1"], relaxivity(agent, plan.field_t).r1, leaked)
        steady = spoiled_gradient_echo(maps["m0"], rate, flip=plan.dsc_flip_deg, tr=plan.dsc_interval_s)
    else:
        change = FIRST_PASS_RELAXIVITY * _concentration(scene, plan, plasma, frames, exchange=False)
        steady = maps["m0"]
    signal = steady * np.exp(-plan.dsc_te_s * (1 / maps["t2_star"] + change))
    settings = MrSettings(
        "dsc", te_s=plan.dsc_te_s, field_t=plan.field_t, gradient_echo=True, echo_planar=True, agent=agent
    )
    return np.asarray(signal), timing, settings


_SERIES: dict[str, Callable[[MrScene, MrProtocol, str], tuple[Floats, Axis | FrameTiming, MrSettings]]] = {
    "flip": _flips,
    "inversion": _inversions,
    "saturation": _saturations,
    "look locker": _look_locker,
    "gradient echoes": _echoes("gradient echoes"),
    "spin echoes": _echoes("spin echoes"),
    "diffusion": _diffusion,
    "dce": _dce,
    "dsc": _dsc,
}


def _timing(interval: float, count: int) -> FrameTiming:
    return FrameTiming(interval * np.arange(count, dtype=np.float64), np.full(count, interval))


def _concentration(
    scene: MrScene,
    plan: MrProtocol,
    plasma: InputFunction,
    frames: Frames,
    *,
    exchange: bool = True,
    part: Literal["both", "plasma"] = "both",
) -> Floats:
    """mmol/L of tissue (frames, z, y, x); of whole blood in the artery."""
    maps = {name: scene.maps[name].reshape(-1) for name in ("f_p", "ps", "v_p", "v_e")}
    if not exchange:
        maps["ps"] = np.zeros_like(maps["ps"])
    # Voxels of one tissue share one curve.
    unique, back = np.unique(np.stack(list(maps.values())), axis=1, return_inverse=True)
    f_p, ps, v_p, v_e = unique
    curves = exchange_concentration(
        plasma, frames, f_p=f_p, ps=ps, v_p=v_p, v_e=v_e if exchange else 0 * v_e, part=part
    )
    values = curves[:, np.asarray(back).reshape(-1)].reshape(len(frames), *scene.geometry.shape)
    blood = (1 - plan.haematocrit) * plasma.at(frames.middle)
    return np.where(scene.artery, blood[:, None, None, None], values)


def _noise(values: Floats, scene: MrScene, plan: MrProtocol, rng: np.random.Generator) -> Floats:
    """Magnitudes with noise in both channels; its size is the tissue's mean in the brightest image over the SNR."""
    tissue = ~scene.artery
    sigma = float(values[:, tissue].mean(axis=1).max()) / plan.snr
    real = values + sigma * rng.standard_normal(values.shape)
    return np.hypot(real, sigma * rng.standard_normal(values.shape))


def _acquisition(
    name: str, values: Floats, along: Axis | FrameTiming, settings: MrSettings, scene: MrScene, agent: str
) -> Acquisition:
    timed = isinstance(along, FrameTiming)
    axis = Axis("t", "time", "s") if isinstance(along, FrameTiming) else along
    image = Image(
        values.astype(np.float32), unit="1", axes=(axis, *(Axis(n, "space", "mm") for n in "zyx")),
        geometry=scene.geometry, frames=along if isinstance(along, FrameTiming) else None, name=name,
    )  # fmt: skip
    return Acquisition(
        f"mr-{name.replace(' ', '-')}", "mr", image, agent=agent if timed else None, species=scene.species,
        description=name, extra={"mr": settings, "intensity": "arbitrary"},
    )  # fmt: skip


def _truth(scene: MrScene, plan: MrProtocol, series: str) -> list[Truth]:
    """Means over each region that is no blood, in reported units."""
    maps = scene.maps
    factor = HAEMATOCRIT_FACTOR / TISSUE_DENSITY / (1 - plan.haematocrit)
    mtt = np.divide(maps["v_p"], maps["f_p"], out=np.full_like(maps["f_p"], np.nan), where=maps["f_p"] > 0)
    known: dict[str, dict[str, tuple[Floats, str]]] = {
        "flip": {"t1": (1e3 * maps["t1"], "ms")},
        **{n: {"t1": (1e3 * maps["t1"], "ms")} for n in ("inversion", "saturation", "look locker")},
        "gradient echoes": {"t2_star": (1e3 * maps["t2_star"], "ms"), "r2_star": (1 / maps["t2_star"], "1/s")},
        "spin echoes": {"t2": (1e3 * maps["t2"], "ms")},
        "diffusion": {"adc": (maps["adc"], "mm2/s")} if not (maps["ivim_f"] > 0).any() else {
            "ivim_f": (maps["ivim_f"], "1"), "ivim_d": (maps["adc"], "mm2/s"),
            "ivim_d_star": (maps["ivim_d_star"], "mm2/s"),
        },
        "dce": {
            "k_trans": (60 * k_trans_of(maps["f_p"], maps["ps"]), "1/min"),
            "v_e": (maps["v_e"], "mL/mL"),
            "v_p": (maps["v_p"], "mL/mL"),
            "f_p": (60 * maps["f_p"], "mL/min/mL"),
            "ps": (60 * maps["ps"], "mL/min/mL"),
        },
        "dsc": {
            "cbf": (6000 * factor * maps["f_p"], "mL/min/(100.g)"),
            "cbv": (100 * factor * maps["v_p"], "mL/(100.g)"),
            "mtt": (mtt, "s"),
        },
    }  # fmt: skip
    rows = []
    for number, name in scene.names.items():
        inside = scene.labels == number
        if scene.roles.get(number) == "blood pool":
            continue
        for quantity, (values, unit) in known[series].items():
            mean = float(values[inside].mean())
            rows.append(Truth(quantity, unit, name, mean, mean, acquisition=f"mr-{series.replace(' ', '-')}"))
        if series == "dce":
            rows += _enhancement(scene, plan, name, inside)
    return rows


def _enhancement(scene: MrScene, plan: MrProtocol, name: str, inside: NDArray[np.bool_]) -> list[Truth]:
    """What the region's true mean curve shows at the times of the frames, without a model."""
    timing = _timing(plan.dce_interval_s, plan.dce_frames)
    tissue = {key: scene.maps[key][inside] for key in ("f_p", "ps", "v_p", "v_e")}
    unique, counts = np.unique(np.stack(list(tissue.values())), axis=1, return_counts=True)
    f_p, ps, v_p, v_e = unique
    curves = exchange_concentration(
        plasma_of(plan, float(timing.end[-1])), Frames.instants(timing.mid), f_p=f_p, ps=ps, v_p=v_p, v_e=v_e
    )
    found = enhancement_numbers(np.asarray(timing.mid), (curves @ counts / counts.sum())[:, None])
    known = {key: float(values[0]) for key, values in found.items() if key in NAMES and np.isfinite(values[0])}
    return [Truth(key, quantities.get(key).unit, name, v, v, acquisition="mr-dce") for key, v in known.items()]
