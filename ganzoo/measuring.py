"""What `ganzoo measure` does: finds the two sides, has them measured, says, draws and keeps what was found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from rich.table import Table
from rich.text import Text

from ganzoo import meter, model, pictures, sides
from ganzoo.bench import interval
from ganzoo.dataset import Dataset
from ganzoo.device import pick_device
from ganzoo.divergence import Divergence, SampleDivergence
from ganzoo.errors import IncompatibleError, OptionError, UsageError, suggest
from ganzoo.files import finite, write_json
from ganzoo.meter import Reading, Settings
from ganzoo.origin import locate
from ganzoo.pair import Pair
from ganzoo.part import Part
from ganzoo.plugins import registry
from ganzoo.provenance import environment
from ganzoo.report import interval as in_words
from ganzoo.report import number
from ganzoo.sides import Side

FORMAT: Final = 1
ALL: Final = "all"
LOG2: Final = math.log(2.0)

Json = dict[str, Any]


@final
@dataclass(frozen=True)
class Question:
    """What is to be measured: ``what`` from ``against``, by ``divergences``, which have names; ``folder`` is one of its
    own."""

    what: str
    against: str
    p: Side
    q: Side
    divergences: Mapping[str, Divergence | SampleDivergence]
    critic: Part | None
    folder: str


def about_model(
    path: str,
    against: str | None,
    divergences: Sequence[str],
    options: Mapping[str, str],
    device: str,
    heard: Callable[[str], None],
) -> Question:
    """A model's samples, against what it was trained on or another dataset."""
    found = model.open_model(locate(path, heard=heard), device)
    dataset: Dataset = Part("dataset", against).resolved().build() if against else found.dataset
    made = tuple(found.data.shape)
    if made != tuple(dataset.shape):
        raise IncompatibleError(f"{found.name} makes samples of shape {made}, and {against} has {tuple(dataset.shape)}")
    if against and getattr(found.generator, "classes", 0) and found.dataset.classes != dataset.classes:
        raise IncompatibleError(
            f"{found.name} reads {found.dataset.classes} labels, and {against} has {dataset.classes}"
        )
    named, critic, rest = _sorted(divergences, options)
    if rest:
        raise OptionError(f"-o {min(rest)}: {_known(named)}")
    name = against or found.config["recipe"]["dataset"]["name"]
    p, q = sides.of_dataset(dataset), sides.of_generator(found.generator, dataset)
    return Question(found.name, name, p, q, named, critic, _folder(found.name, *([against] if against else [])))


def about_pair(name: str, divergences: Sequence[str], options: Mapping[str, str]) -> Question:
    """A known pair of distributions; options that are nobody else's are the pair's."""
    named, critic, rest = _sorted(divergences, options)
    pair: Pair = Part("pair", name, rest).resolved().build()
    p, q = sides.of_density(pair.p), sides.of_density(pair.q)
    own = [f"{option}={value}" for option, value in sorted(rest.items())]
    return Question(f"q of {name}", "p", p, q, named, critic, _folder(name, *own))


def _folder(*words: str) -> str:
    return "-".join(re.sub(r"[^\w.=+-]+", "-", word) for word in words)


def _sorted(
    names: Sequence[str], options: Mapping[str, str]
) -> tuple[dict[str, Divergence | SampleDivergence], Part | None, dict[str, str]]:
    """The divergences with their options, the critic with its own, and the options that are left."""
    wanted = [name.strip() for each in names for name in each.split(",") if name.strip()]
    if not wanted:
        raise UsageError(f"which divergence? {suggest('', registry().names('divergence'))}")
    if ALL in wanted:
        wanted = registry().names("divergence")
    own: dict[str, dict[str, str]] = {name: {} for name in dict.fromkeys(wanted)}
    critic: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, value in options.items():
        owner, dot, option = key.partition(".")
        if dot and owner not in own and owner in registry().names("divergence"):
            raise OptionError(f"-o {key}={value} goes with --divergence {owner}")
        if owner == "critic":
            critic[option] = value
        elif dot and owner in own:
            own[owner][option] = value
        else:
            rest[key] = value
    named = {name: Part("divergence", name, given).resolved().build() for name, given in own.items()}
    kind = critic.pop("", None) or ("fourier-mlp" if critic else None)
    return named, Part("discriminator", kind, critic) if kind else None, rest


def _known(named: Mapping[str, Any]) -> str:
    return f"options are critic, critic.OPTION{''.join(f', {name}.OPTION' for name in named)}"


def answer(question: Question, settings: Settings, device: str, out: Path, heard: Callable[[str], None]) -> Json:
    """Measure, keep ``measure.json`` in ``out``, and draw the critic there, where there are one or two dimensions."""
    where = pick_device(device)
    readings, critic = meter.measure(question.divergences, question.p, question.q, settings, device=where, heard=heard)
    kept: Json = {
        "format": FORMAT,
        "what": question.what,
        "against": question.against,
        "critic": settings.network(question.p.shape).json(),
        **{name: value for name, value in asdict(settings).items() if name != "critic"},
        "readings": [_reading_json(reading) for reading in readings],
        "environment": environment(where),
    }
    kept = finite(kept)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "measure.json", kept)
    (out / "critic.png").unlink(missing_ok=True)  # of what was measured here before
    if critic is not None and math.prod(question.p.shape) <= 2:
        real, fake = question.p.draw(0).read, question.q.draw(1).read
        pictures.draw_critic(
            lambda x: critic.score(x.to(where)).cpu(),
            (real, fake),
            (question.p.density, question.q.density),
            out / "critic.png",
            f"{question.what} against {question.against}",
        )
        kept["picture"] = "critic.png"
    return kept


def _reading_json(reading: Reading) -> Json:
    truth = reading.truth
    return {
        "divergence": reading.divergence,
        "unit": reading.unit,
        "how": reading.how,
        "estimate": interval(reading.values),
        "control": interval(reading.control),
        "lower": 0.0,
        "upper": None if math.isinf(reading.supremum) else reading.supremum,
        "saturated": reading.saturated,
        "truth": None
        if truth is None
        else {"value": "infinite" if math.isinf(truth.value) else truth.value, "error": truth.error},
    }


def table(kept: Json) -> Table:
    """The readings, one a line."""
    there = any(reading["truth"] for reading in kept["readings"])
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("divergence", "estimate", *(["true"] if there else []), "real vs real", "at most", "unit"):
        words = name in ("divergence", "unit")
        side, fold = ("left" if words else "right"), name == "unit"
        shown.add_column(Text(name), justify=side, no_wrap=not fold, overflow="fold", min_width=8 if fold else None)
    for reading in kept["readings"]:
        upper = "∞" if reading["upper"] is None else number(reading["upper"])
        cells = [f"{reading['divergence']}", _in_words(reading["estimate"])]
        cells += [_truth(reading["truth"])] if there else []
        cells += [_in_words(reading["control"]), upper]
        shown.add_row(*map(Text, [*cells, reading["unit"] + ", saturated" * reading["saturated"]]))
    return shown


def _in_words(found: Json) -> str:
    rounding = found["mean"] is not None and abs(found["mean"]) < 1e-12
    return in_words(0.0 if rounding else found["mean"], found["half_width"])


def _truth(truth: Json | None) -> str:
    if truth is None:
        return "unknown"
    if truth["value"] == "infinite":
        return "∞"
    return in_words(truth["value"], 1.96 * truth["error"]) if truth["error"] else number(truth["value"])


def words(kept: Json) -> list[str]:
    """What the numbers mean."""
    n, readings = kept["critics"], kept["readings"]
    error = f"± 95 % interval over {n} critics (Student's t)" if n > 1 else "of one critic: no interval"
    said = [
        f"Each estimate is {error}, read off samples that nothing was fitted to.",
        "By a critic it is in expectation at most the truth.",
        "Real vs real is the same between halves of the real data, where the truth is 0.",
        "A reading of exactly 0: no critic found anything that held on other samples.",
    ]
    for how in dict.fromkeys(reading["how"] for reading in readings):
        said.append(f"{', '.join(r['divergence'] for r in readings if r['how'] == how)}: {how}.")
    for reading in readings:
        jsd = reading["estimate"]["mean"]
        if reading["divergence"] == "js" and jsd is not None:
            loss = number(2 * LOG2 - 2 * jsd)
            said.append(
                f"A discriminator of the original GAN that is as good has the loss 2 log 2 − 2 JSD = {loss}: at 1.386 "
                "it cannot tell the two apart, at 0 it always can."
            )
    if any(reading["saturated"] for reading in readings):
        others = [name for name in ("wasserstein", "energy-distance") if name in registry().names("divergence")]
        said.append(
            "Saturated: the two sides hardly overlap, and this divergence no longer says how far apart they are; or "
            "the samples are too few to show more." + (f" {' and '.join(others)} still say it." if others else "")
        )
    return said
