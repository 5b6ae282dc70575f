"""The conformance kit: what every registered thing must keep to, whoever wrote it.

Plain functions, for any test runner. Each raises `ConformanceError`, an `AssertionError` whose message says whose
contract is broken and how. Most authors need one line, which checks an entry with its defaults and every value of its
small options, for everything that a plugin registers::

    import pytest
    from ganzoo.testing import check_entry, check_plugin, entries_of

    def test_the_plugin():
        check_plugin("my-plugin")

    @pytest.mark.parametrize("entry", entries_of("my-plugin"), ids=str)
    def test_what_it_registers(entry):
        check_entry(entry)

The others check things that are not registered. What is built from torch's random state (networks) or must be the same
in every process (datasets) is given as a function that makes a fresh one; everything else as the thing itself.
"""

from ganzoo.testing.common import ConformanceError
from ganzoo.testing.data import check_dataset, check_extractor, check_metric, check_pair
from ganzoo.testing.engine import check_engines
from ganzoo.testing.entries import check_entry
from ganzoo.testing.game import (
    check_method,
    check_optimizer,
    check_penalty,
    check_projection,
    check_recipe,
    check_schedule,
    check_term,
)
from ganzoo.testing.mathematics import check_divergence
from ganzoo.testing.networks import check_discriminator, check_generator
from ganzoo.testing.plugin import check_plugin, entries_of

__all__ = [
    "ConformanceError",
    "check_dataset",
    "check_discriminator",
    "check_divergence",
    "check_engines",
    "check_entry",
    "check_extractor",
    "check_generator",
    "check_method",
    "check_metric",
    "check_optimizer",
    "check_pair",
    "check_penalty",
    "check_plugin",
    "check_projection",
    "check_recipe",
    "check_schedule",
    "check_term",
    "entries_of",
]
