"""The distribution as an installed plugin, and everything it registers against ganzoo's contracts."""

import pytest

from ganzoo.errors import DataError
from ganzoo.testing import check_entry, check_plugin, entries_of

DISTRIBUTION = "ganzoo-stargan"


def test_it_loads_and_imports_no_torch():
    check_plugin(DISTRIBUTION)


@pytest.mark.parametrize("entry", entries_of(DISTRIBUTION), ids=str)
def test_it_keeps_its_contract(entry):
    try:
        check_entry(entry)
    except DataError as error:
        pytest.skip(str(error))
