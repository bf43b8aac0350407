"""The production settings of the demo pass the deployment checks of Django and the package."""

from pathlib import Path

import pytest

from tests.demo.commands import SECRET, check, run


def test_the_settings_pass_the_deployment_checks(tmp_path: Path) -> None:
    checked = check(
        DEMO_SECRET_KEY=SECRET, DEMO_ALLOWED_HOSTS="shop.example.org", DEMO_VAR=str(tmp_path)
    )
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


SIGN_IN_PAGE = """
import django; django.setup()
from django.test import Client
from demo.shop.people import SIGN_INS
page = Client().get("/sign-in/", secure=True, SERVER_NAME="shop.example.org")
shown = [person.username for person in SIGN_INS if person.password in page.text]
insecure = Client().get("/sign-in/", SERVER_NAME="shop.example.org")
print(page.status_code, shown, insecure.status_code)
"""


def test_the_sign_in_page_shows_no_password_and_needs_https(tmp_path: Path) -> None:
    shown = run(
        "-c",
        SIGN_IN_PAGE,
        DEMO_SECRET_KEY=SECRET,
        DEMO_ALLOWED_HOSTS="shop.example.org",
        DEMO_VAR=str(tmp_path),
    )
    assert shown.stdout.strip() == "200 [] 301", shown.stderr


@pytest.mark.parametrize("missing", ["DEMO_SECRET_KEY", "DEMO_ALLOWED_HOSTS"])
def test_the_error_names_a_missing_variable(missing: str, tmp_path: Path) -> None:
    environ = {
        "DEMO_SECRET_KEY": SECRET,
        "DEMO_ALLOWED_HOSTS": "shop.example.org",
        "DEMO_VAR": str(tmp_path),
    }
    del environ[missing]
    checked = check(**environ)
    assert checked.returncode != 0
    assert f"KeyError: '{missing}'" in checked.stderr
