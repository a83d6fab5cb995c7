"""The page on projects tells a superuser to grant what the gateway would grant itself."""

import re

from storage.row_security import READABLE, ROLE, WRITABLE, tables_of_projects
from tests.support.dockerfile import ROOT


def test_the_statements_name_every_table_that_the_role_needs() -> None:
    page = (ROOT / "docs" / "how-to" / "projects.md").read_text(encoding="utf-8")
    granted = re.findall(rf"GRANT ([A-Z, ]+) ON\s([\w,\s]+) TO {ROLE};", page)
    tables = {privileges: sorted(re.findall(r"\w+", names)) for privileges, names in granted}
    assert tables == {
        "SELECT, INSERT, UPDATE, DELETE": sorted((*tables_of_projects(), *WRITABLE)),
        "SELECT": sorted(READABLE),
    }
