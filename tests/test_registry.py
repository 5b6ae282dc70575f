"""Names are found, options are validated, and parts go through JSON, whatever comes in."""

import contextlib
import json
import math
import random

import pytest

from ganzoo.errors import AmbiguousNameError, ExportError, GanzooError, OptionError, PluginError, UnknownNameError
from ganzoo.part import KINDS, Option, Part
from ganzoo.plugins import registry
from ganzoo.registry import Entry, Registry
from ganzoo.terms import Criticise
from ganzoo.zoo.divergences import JensenShannon
from ganzoo.zoo.updates import Adam, Cosine

COUNT = Option("count", int, low=1, high=10)
SHARE = Option("share", float, low=0.0, high=1.0)
FLAG = Option("flag", bool)
LAW = Option("law", str, choices=("normal", "uniform"))
SHAPE = Option("shape", int, low=1, many=True)


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (COUNT, 3, 3),
        (COUNT, "3", 3),
        (COUNT, "1_0", 10),
        (COUNT, 3.0, 3),
        (SHARE, "1e-3", 1e-3),
        (SHARE, 1, 1.0),
        (FLAG, "yes", True),
        (FLAG, "Off", False),
        (FLAG, 0, False),
        (LAW, "uniform", "uniform"),
        (SHAPE, [1, 8, 8], (1, 8, 8)),
        (SHAPE, "1x8x8", (1, 8, 8)),
        (SHAPE, "1, 8, 8", (1, 8, 8)),
        (Option("n", int, optional=True), "none", None),
        (Option("n", int, optional=True, fit="classes"), None, None),
        (Option("words", str, many=True), "max, exp", ("max", "exp")),
    ],
)
def test_a_value_is_read_from_python_json_and_text(option, given, value):
    parsed = option.parse(given, "it")
    assert parsed == value
    assert type(parsed) is type(value)


HOSTILE = [
    None,
    "",
    "x",
    [],
    {},
    [1],
    {"a": 1},
    math.nan,
    math.inf,
    -math.inf,
    "nan",
    "inf",
    10**400,
    -(10**400),
    "1e999",
]


@pytest.mark.parametrize("value", [*HOSTILE, True, 0, 11, 1.5, "1.5", "0x3"])
def test_an_integer_takes_no(value):
    with pytest.raises(OptionError, match=r"it: count=.* is not allowed; it takes int ≥ 1 ≤ 10"):
        COUNT.parse(value, "it")


@pytest.mark.parametrize("value", [*HOSTILE, True, -1e-9, 1.1])
def test_a_number_takes_no(value):
    with pytest.raises(OptionError, match=r"share=.* it takes float ≥ 0 ≤ 1"):
        SHARE.parse(value, "it")


@pytest.mark.parametrize("value", [*HOSTILE, 2, "maybe"])
def test_a_flag_takes_no(value):
    with pytest.raises(OptionError, match="flag="):
        FLAG.parse(value, "it")


@pytest.mark.parametrize("value", [*HOSTILE, 1, "Normal"])
def test_a_choice_takes_no(value):
    with pytest.raises(OptionError, match="it takes normal or uniform"):
        LAW.parse(value, "it")


@pytest.mark.parametrize("value", [3, "3xx", {}, [0], [1, "b"], [[1]], [True]])
def test_a_list_takes_no(value):
    if value == "3xx":  # empty pieces are left out
        assert SHAPE.parse(value, "it") == (3,)
        return
    with pytest.raises(OptionError, match=r"a list of int ≥ 1|shape="):
        SHAPE.parse(value, "it")


ATOMS = [*HOSTILE, True, 0, -1, 2.5, "js", "ring", "Part", "\x00", "9" * 400, "kind", "name", "options", "divergence"]


def anything(draw: random.Random, depth: int = 3):
    """Whatever a JSON file may hold."""
    shape = draw.randrange(4) if depth else 0
    if shape == 2:
        return [anything(draw, depth - 1) for _ in range(draw.randrange(4))]
    if shape == 3:
        return {str(draw.choice(ATOMS)): anything(draw, depth - 1) for _ in range(draw.randrange(4))}
    return draw.choice(ATOMS)


def test_whatever_is_given_an_option_and_a_part_parse_or_refuse_it():
    draw = random.Random(0)
    options = (COUNT, SHARE, FLAG, LAW, SHAPE, Option("d", "divergence"), Option("ds", "divergence", many=True))
    for _ in range(3_000):
        value = anything(draw)
        tries = [lambda v=value, o=o: o.parse(v, "it") for o in options]
        parts = (value, {"kind": value, "name": "js"}, {"kind": "divergence", "name": "js", "options": value})
        tries += [lambda d=data: Part.parse(d) for data in parts]
        for attempt in tries:
            with contextlib.suppress(GanzooError):
                attempt()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"kind": "os", "name": "system"}, "unknown kind 'os'"),
        ({"kind": ["divergence"], "name": "js"}, "unknown kind"),
        ({"name": "js"}, "unknown kind"),
        ({"kind": "divergence", "name": "js", "target": "os:system"}, "unknown fields: target"),
        ({"kind": "divergence", "name": "js", "options": [1]}, "must be an object"),
        ({"kind": "divergence", "name": "js", "options": {"alpha": 1}}, "has no option 'alpha'"),
        ({"kind": "divergence", "name": "os:system"}, "no divergence is called 'os:system'"),
        ({"kind": "divergence", "name": "os.system"}, "no divergence is called 'os.system'"),
        ({"kind": "divergence", "name": "../js"}, "no divergence is called"),
        ({"kind": "divergence", "name": 5}, "must be an object"),
        ("js", "must be an object"),
        (None, "must be an object"),
        (
            {"kind": "term", "name": "fool", "options": {"divergence": {"kind": "executor", "name": "local"}}},
            "not the executor",
        ),
        ({"kind": "term", "name": "fool", "options": {"divergence": 7}}, "divergence=7 is not allowed"),
        ({"kind": "optimizer", "name": "adam", "options": {"lr": "1e999"}}, "lr="),
    ],
)
def test_a_part_of_hostile_json_is_refused_with_the_reason(data, reason):
    with pytest.raises(GanzooError, match=reason) as error:
        Part.parse(data)
    assert error.value.exit_code == 2


def test_nested_parts_go_through_json_with_every_option_spelt_out():
    part = Part("term", "fool", {"divergence": "js", "saturating": "no"}).resolved()
    assert part.options["saturating"] is False
    assert part.options["divergence"] == Part("divergence", "js")
    assert Part.parse(json.loads(json.dumps(part.json()))) == part


@pytest.mark.parametrize("name", ["Two_Moons", "TWO-MOONS", "ganzoo/two-moons", "GanZoo/two_moons"])
def test_names_are_found_without_case_and_with_either_hyphen(name):
    assert registry().find("dataset", name).name == "two-moons"
    assert Part("dataset", name).resolved().name == "two-moons"


@pytest.mark.parametrize(("name", "near"), [("rign", "ring"), ("gird", "grid"), ("two-moon", "two-moons")])
def test_an_unknown_name_suggests_near_ones(name, near):
    with pytest.raises(UnknownNameError, match=f"no dataset is called '{name}'; did you mean {near}"):
        registry().find("dataset", name)


def test_an_unknown_option_suggests_near_ones():
    with pytest.raises(OptionError, match="optimizer adam has no option 'beta'; did you mean beta"):
        Part("optimizer", "adam", {"beta": 0.5}).build()


def shelf(*distributions: str, name: str = "thing") -> Registry:
    registry = Registry()
    for distribution in distributions:
        registry.adopt("dataset", Entry(name, "json:loads"), distribution, "1.0")
    return registry


def test_core_names_cannot_be_taken_over():
    known = shelf("acme", "ganzoo", "zeta")
    assert known.find("dataset", "thing").distribution == "ganzoo"
    assert known.find("dataset", "acme/thing").distribution == "acme"
    assert known.names("dataset") == ["acme/thing", "thing", "zeta/thing"]


def test_a_name_of_two_plugins_is_ambiguous_and_the_qualified_ones_work():
    known = shelf("acme", "zeta.labs")
    with pytest.raises(AmbiguousNameError, match="say acme/thing or zeta-labs/thing"):
        known.find("dataset", "thing")
    for name in known.names("dataset"):
        assert known.find("dataset", name).qualified == name
    assert known.find("dataset", "Zeta_Labs/THING").distribution == "zeta.labs"


def test_a_qualified_name_of_another_distribution_is_unknown():
    with pytest.raises(UnknownNameError):
        shelf("acme").find("dataset", "zeta/thing")


def test_a_part_of_a_plugin_keeps_naming_it_beside_a_core_name(adopt):
    entry = Entry("js", "ganzoo.zoo.divergences:KullbackLeibler", "not what the core calls js")
    adopt("divergence", entry)
    part = Part("divergence", "acme/js").resolved()
    assert part.name == "acme/js"
    assert type(Part.parse(part.json()).build()).__name__ == "KullbackLeibler"


def test_a_bare_callable_is_refused_for_export_with_the_reason():
    def penalty(round):
        return round.real.x.sum()

    with pytest.raises(ExportError, match=r"penalty.* has no registered name.*Register it as a term or penalty"):
        Part.of(penalty, ("term", "penalty"))
    with pytest.raises(ExportError, match="has no registered name"):
        Part.of(Criticise(penalty), ("term",))  # pyright: ignore


def test_a_dataclass_of_a_registered_class_is_the_part_that_makes_it():
    for thing, kind in ((Adam(lr=0.5), "optimizer"), (Cosine(0.1), "schedule"), (Criticise(JensenShannon()), "term")):
        assert Part.of(thing, (kind,)).build() == thing
    part = Part("optimizer", "adam")
    assert Part.of(part, ("optimizer",)) is part


def test_a_target_that_cannot_be_imported_says_whose_it_is(adopt):
    adopt("dataset", Entry("broken", "no_such_module:Thing"))
    with pytest.raises(PluginError, match=r"dataset broken of acme 1.0 .* its target no_such_module:Thing"):
        Part("dataset", "broken").build()


def test_a_target_that_makes_another_kind_is_refused(adopt):
    adopt("dataset", Entry("odd", "ganzoo.zoo.updates:Cosine"))
    with pytest.raises(PluginError, match=r"made .*Cosine"):
        Part("dataset", "odd").build()


def test_options_of_every_entry_go_through_json():
    for kind in KINDS:
        for entry in registry().all(kind):
            given = {o.name: o.default for o in entry.options if o.default is not ...}
            part = Part(kind, entry.name, entry.parse(given))
            assert Part.parse(json.loads(json.dumps(part.json()))) == part


def test_papers_cite_as_bibtex():
    paper = registry().find("method", "js-gan").paper
    assert paper is not None
    assert paper.bibtex().startswith("@inproceedings{")
    assert "year = {2014}" in paper.bibtex()
