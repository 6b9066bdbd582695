"""A real uv installs NumPy and scikit-learn, and a task in a container trains with them: in
an environment that is built for it, and in one that is there already."""

import json
from pathlib import Path

import pytest

from testbed.static_uv import download_wheels
from tests.server.environment_tasks import ended, submit, upload
from tests.support.program import Backend, Server
from tests.support.server_fixtures import Serve

pytestmark = pytest.mark.slow

REQUIREMENTS = b"numpy\nscikit-learn\n"
TRAIN = b"""
import json, sys
import numpy, sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split

x = numpy.arange(40.0).reshape(-1, 2) ** 2
line = LinearRegression().fit(x, x @ [3, -2] + 7)
images, digits = load_digits(return_X_y=True)
train, test, wanted, expected = train_test_split(images / 16, digits, random_state=0)
score = LogisticRegression(max_iter=200).fit(train, wanted).score(test, expected)
print(json.dumps({
    "line": [round(float(each), 6) for each in (*line.coef_, line.intercept_)],
    "score": score,
    "inside": all(each.__file__.startswith(sys.prefix) for each in (numpy, sklearn)),
}))
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the requirements need, for builds in containers, which reach no index here."""
    folder = tmp_path_factory.mktemp("wheels")
    download_wheels(folder, *REQUIREMENTS.decode().split())
    folder.chmod(0o755)
    return folder


@pytest.fixture
def server(serve: Serve, containers_backend: Backend, wheels: Path, static_uv: Path) -> Server:
    """Not started yet."""
    return serve(
        containers_backend,
        FETCHML_ENVIRONMENTS_FIND_LINKS=str(wheels),
        FETCHML_ENVIRONMENTS_UV=str(static_uv),
    )


async def test_a_task_trains_with_scikit_learn(server: Server) -> None:
    await server.start()
    code = await upload(server, requirements_txt=REQUIREMENTS, train_py=TRAIN)
    for provided in ("miss", "hit"):
        task = await ended(server, await submit(server, code))
        assert task["status"] == "completed", (task.get("error"), task.get("output"))
        result = json.loads(task["output"])
        assert (result["line"], result["inside"]) == ([3, -2, 7], True)
        assert 0.95 < result["score"] < 1
        metrics = (await server.rest.get("/metrics")).body.decode().splitlines()
        assert f'fetchml_environments_provided_total{{how="{provided}"}} 1.0' in metrics
        assert "fetchml_environments 1.0" in metrics
