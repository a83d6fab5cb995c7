"""The page about models shows the faults that the tests play, and what they say becomes of them."""

from pathlib import Path

from tests.integration.agents.fault_table import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "models.md"


def test_the_table_of_faults_is_the_one_that_is_tested() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| fault |")) + 2
    rows = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
    assert rows == [(row.name, row.lasting, row.of_one or "–") for row in TABLE]
