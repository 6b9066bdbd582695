"""docs/history.md: every query runs, and the tables of views are those of the code."""

import re
from pathlib import Path

from fetchml.core.sql_views import VIEWS
from tests.support.history_box import history_box

PAGE = (Path(__file__).parents[2] / "docs/history.md").read_text()
QUERIES = re.findall(r"^([^\n]+):\n\n```sql\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
WITHOUT_ROWS = {"Why tasks fail"}
"""No task has."""


async def test_every_query_of_the_page_runs(tmp_path: Path) -> None:
    assert len(QUERIES) >= 15
    async with history_box(tmp_path / "data") as box:
        for title, sql in QUERIES:
            rows = await box.rows(sql)
            assert rows or title in WITHOUT_ROWS, title


def test_the_page_describes_every_view() -> None:
    for view in VIEWS:
        rows = "\n".join(f"| `{c.name}` | `{c.type}` | {c.description} |" for c in view.columns)
        head = "| column | type | meaning |\n|---|---|---|"
        assert f"### {view.name}\n\n{view.description}.\n\n{head}\n{rows}\n" in f"{PAGE}\n"
    assert len(re.findall("^### ", PAGE, re.MULTILINE)) == len(VIEWS)
