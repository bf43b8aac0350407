"""A team's file and a file with a lifetime of its own, in the demo with a real worker."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.demo.running import Demo, running_demo

pytestmark = [pytest.mark.any_database, pytest.mark.long]

#: Steps of ``python -m demo --check``. Of the servers, they need only the pause between two polls.
STEPS: Final = """
import sys, time, types, django
django.setup()
from demo.checks import sharing
from demo.checks.person import Person
from demo.checks.steps import Log

servers = types.SimpleNamespace(wait=time.sleep)
people = [Person(sys.argv[1], name) for name in sys.argv[3:]]
for person in people:
    person.sign_in()
getattr(sharing, sys.argv[2])(servers, Log(), *people)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("shop")) as demo:
        yield demo


def test_a_colleague_fetches_the_file_of_the_team_and_others_do_not_see_it(shop: Demo) -> None:
    shop.execute(STEPS, shop.address, "check_team", "ada", "joan", "grace")


def test_keep_for_longer_moves_the_day(shop: Demo) -> None:
    shop.execute(STEPS, shop.address, "check_lifetime", "grace")
