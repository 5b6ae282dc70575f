"""A registered entry against all that it declares."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, Final

import torch

from ganzoo.errors import DataError, GanzooError, IncompatibleError
from ganzoo.part import KINDS, Option, Part
from ganzoo.plugins import NAME, registry
from ganzoo.recipe import create_recipe, recipe_names
from ganzoo.registry import Entry, Registry, SuiteEntry
from ganzoo.testing.common import CLASSES, SMALL_IMAGES, SMALL_TRANSLATING, STEEP_IMAGES, Make, attempt, expect
from ganzoo.testing.data import check_dataset, check_extractor, check_metric, check_pair
from ganzoo.testing.game import (
    check_method,
    check_method_on_data,
    check_optimizer,
    check_penalty,
    check_projection,
    check_recipe,
    check_schedule,
    check_term,
)
from ganzoo.testing.mathematics import check_divergence
from ganzoo.testing.networks import check_discriminator, check_generator

Options = Mapping[str, Any]

VECTORS: Final = ((1,), (2,))
#: The first of these that a network takes stands for all images.
IMAGES: Final = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128))


def check_entry(entry: Entry) -> None:
    """Everything that can be checked of a registered entry, for its defaults and for each value of each small option.

    Raises `ConformanceError` with the contract that is not kept, and `DataError` where data are needed that are not at
    hand: a test may take that for a reason to be skipped.
    """
    name = f"{entry.kind} {entry.qualified}"
    expect(registry().find(entry.kind, entry.qualified) is entry, f"{name}: is not what {entry.qualified!r} finds")
    _check_declaration(entry, name)
    if entry.target:
        _check_target(entry, name)
    CHECKS[entry.kind](entry, name)


def _check_declaration(entry: Entry, name: str) -> None:
    pieces = entry.name.split(".") if entry.kind == "recipe" else [entry.name]
    expect(all(map(NAME.fullmatch, pieces)), f"{name}: names are letters, digits and single - or _ between them")
    expect(bool(entry.summary) and "\n" not in entry.summary, f"{name}: needs a summary of one line")
    expect(
        bool(entry.target) == bool(KINDS[entry.kind]),
        f"{name}: a {entry.kind} has {'a' if KINDS[entry.kind] else 'no'} target",
    )
    declared = [option.name for option in entry.options]
    expect(len(set(declared)) == len(declared), f"{name}: declares an option twice")
    for option in entry.options:
        known = option.type in (int, float, bool, str) or option.type in KINDS
        expect(known, f"{name}: option {option.name} is of type {option.type!r}, no int, float, bool, str or kind")
        if option.default is not ...:
            with attempt(f"{name}: the default of option {option.name}"):
                option.parse(option.default, name)
    if entry.paper:
        with attempt(f"{name}: the paper's BibTeX"):
            expect(str(entry.paper.year) in entry.paper.bibtex(), f"{name}: the paper has no year")


def _check_target(entry: Entry, name: str) -> None:
    """Its options are what the target takes, with the same defaults."""
    expect(
        re.fullmatch(r"[\w.]+:\w+", entry.target) is not None,
        f"{name}: target {entry.target!r} is not 'package.module:Name'",
    )
    with attempt(f"{name}: import of its target"):
        target = entry.resolve()
    expect(callable(target), f"{name}: its target is not callable")
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in entry.options:
        expect(
            option.name in parameters or anything,
            f"{name}: its target takes no {option.name!r}, which the entry declares",
        )
        given = parameters[option.name].default if option.name in parameters else inspect.Parameter.empty
        if option.default is not ... and given is not inspect.Parameter.empty and not isinstance(option.type, str):
            agree = option.parse(option.default, name) == option.parse(given, name)
            expect(
                agree, f"{name}: option {option.name} is {option.default!r} by the entry and {given!r} by its target"
            )
    declared = {option.name for option in entry.options}
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for parameter in parameters.values():
        optional = parameter.default is not inspect.Parameter.empty or parameter.kind in variadic
        expect(
            parameter.name in declared or optional,
            f"{name}: its target needs {parameter.name!r}, which the entry does not declare",
        )


def variants(entry: Entry, **fitted: Any) -> Iterator[dict[str, Any]]:
    """Options to try: the defaults, then one small option (a flag, a choice, a part, classes) changed at a time."""
    needed = {
        o.name: _example(o, entry, fitted) for o in entry.options if o.default is ... and (not o.fit or o.fit in fitted)
    }
    yield needed
    for option in entry.options:
        usual = needed.get(option.name, option.default)
        for value in _alternatives(option, entry):
            if value != usual:
                yield {**needed, option.name: value}


def _example(option: Option, entry: Entry, fitted: Options) -> Any:
    if option.fit:
        return fitted[option.fit]
    if found := [*_alternatives(option, entry), *(x for x in (option.low, option.high) if x is not None)]:
        return found[0]
    numbers = {int: 1, float: 1.0}
    expect(
        option.type in numbers,
        f"{entry.kind} {entry.name}: option {option.name} needs a default or choices to be tried with",
    )
    return numbers[option.type]  # type: ignore[index]


def _alternatives(option: Option, entry: Entry) -> list[Any]:
    if option.many:
        return []
    if isinstance(option.type, str):
        own = (Registry.core, entry.distribution)  # what other plugins do is not this entry's fault
        parts = (e for e in registry().all(option.type) if e.distribution in own and _complete(e))
        return [registry().name(part) for part in parts]
    if option.type is bool:
        return [True, False]
    if option.type is int and "classes" in (option.name, option.fit):
        return [CLASSES]
    return list(option.choices)


def _complete(entry: Entry) -> bool:
    return all(option.default is not ... for option in entry.options)


def _tried(entry: Entry, name: str, **fitted: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Each variant that fits, with its options in its name, after it went through JSON; at least one must fit."""
    fits, reasons = 0, list[str]()
    for options in variants(entry, **fitted):
        what = name + (f" ({', '.join(f'{k}={v}' for k, v in options.items())})" if options else "")
        with attempt(f"{what}: JSON"):
            part = Part(entry.kind, entry.qualified, entry.parse(options))
            expect(
                Part.parse(json.loads(json.dumps(part.json()))) == part,
                f"{what}: its options do not go through JSON and back",
            )
        try:
            with attempt(f"{what}: construction"), torch.device("meta" if fitted else "cpu"):
                entry.create(options)
            yield options, what
        except IncompatibleError as error:
            reasons.append(str(error))
        else:
            fits += 1
    expect(fits > 0, f"{name}: fits nothing that was tried: {'; '.join(reasons)}")


def _each(check: Callable[..., None]) -> Callable[[Entry, str], None]:
    """Check the built thing, for every variant."""

    def run(entry: Entry, name: str) -> None:
        fits, reasons, missing = 0, list[str](), list[DataError]()
        for options, what in _tried(entry, name):
            try:
                check(entry.create(options), name=what)
                fits += 1
            except IncompatibleError as error:  # a term that cannot be had with this option
                reasons.append(str(error))
            except DataError as error:
                missing.append(error)
        if missing and not fits:
            raise missing[0]
        expect(fits > 0, f"{name}: fits nothing that was tried: {'; '.join(reasons)}")

    return run


def _played(check: Callable[..., None], *others: Mapping[str, Make]) -> Callable[[Entry, str], None]:
    """Check what is called with a round, between networks of vectors, or between ``others`` where it is for these only:
    networks of images, one that translates."""

    def either(thing: Any, *, name: str) -> None:
        *before, last = (None, *others)
        for networks in before:
            try:
                return check(thing, networks, name=name)
            except IncompatibleError:
                continue
        return check(thing, last, name=name)

    return _each(either)


def _network(check: Callable[..., None]) -> Callable[[Entry, str], None]:
    """Check factories of the network, for every variant, in one dimension, in two, and on the first images it takes."""

    def shapes(entry: Entry) -> list[tuple[int, ...]]:
        image = next((s for s in IMAGES if _takes(entry, s)), None)
        return [*(s for s in VECTORS if _takes(entry, s)), *([image] if image else [])]

    def run(entry: Entry, name: str) -> None:
        found = shapes(entry)
        expect(bool(found), f"{name}: takes none of the shapes {', '.join(map(str, chain(VECTORS, IMAGES)))}")
        for shape in found:
            for options, what in _tried(entry, name, shape=shape):
                check(lambda options=options: entry.create(options), shape, name=what)

    return run


def _takes(entry: Entry, shape: tuple[int, ...]) -> bool:
    for options in variants(entry, shape=shape):
        try:
            with torch.device("meta"):
                entry.create(options)
        except IncompatibleError:
            continue
        return True
    return False


def _dataset(entry: Entry, name: str) -> None:
    for options, what in _tried(entry, name):
        check_dataset(lambda options=options: entry.create(options), name=what)


def _method(entry: Entry, name: str) -> None:
    for options, what in _tried(entry, name):
        check_method(entry.create(options), name=what)
    check_method_on_data(registry().name(entry))


def _recipe(entry: Entry, name: str) -> None:
    with attempt(f"{name}: creation"):
        check_recipe(create_recipe(entry.name))


def _metric(entry: Entry, name: str) -> None:
    brought = [registry().name(each) for each in registry().all("dataset") if each.distribution == entry.distribution]
    _each(partial(check_metric, datasets=() if entry.distribution == Registry.core else brought))(entry, name)


def _suite(entry: Entry, name: str) -> None:
    assert isinstance(entry, SuiteEntry)
    known, missing = set(recipe_names()), list[DataError]()
    for recipe in entry.recipes:
        expect(recipe in known, f"{name}: no recipe is called {recipe!r}")
        try:
            create_recipe(recipe)
        except DataError as error:
            missing.append(error)
        except GanzooError as error:
            expect(False, f"{name}: {recipe}: {error}")
    if missing:
        raise missing[0]


def _created(entry: Entry, name: str) -> None:
    for _ in _tried(entry, name):
        pass


CHECKS: Final[Mapping[str, Callable[[Entry, str], None]]] = {
    "dataset": _dataset,
    "generator": _network(check_generator),
    "discriminator": _network(check_discriminator),
    "divergence": _each(check_divergence),
    "method": _method,
    "metric": _metric,
    "term": _played(check_term, SMALL_IMAGES, SMALL_TRANSLATING),
    "penalty": _played(check_penalty, STEEP_IMAGES),
    "schedule": _each(check_schedule),
    "optimizer": _each(check_optimizer),
    "projection": _each(check_projection),
    "pair": _each(check_pair),
    "extractor": _each(check_extractor),
    "executor": _created,
    "recipe": _recipe,
    "suite": _suite,
}
