"""The fixture that users get by installing the package."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

FLOW = """
    import os
    from pathlib import Path
    from databacked import LocalResult, flow, last_run, task

    @task(result=LocalResult("texts"), target="{n}.json")
    def write(n, source):
        return n + len(Path(source).read_text())

    @flow
    def run(source):
        return write.map([1, 2, 3], source)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the tests of a file with the plugin and no others, as a process of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("DATABACKED_QUIET", "DATABACKED_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / "cache of the user"))

    def run(*files: str) -> pytest.RunResult:
        pytester.makepyfile(*files)
        plugin = "databacked.pytest_plugin"
        result: pytest.RunResult = pytester.runpytest_subprocess("-p", plugin, "-W", "error")
        return result

    return run


def test_each_test_has_a_project_of_its_own(run):
    """The second test makes everything again; inside one test a second run reuses it."""
    run(
        FLOW
        + """
    def test_one(databacked_project):
        Path("source.txt").write_text("abc")
        for _ in range(2):
            assert list(run("source.txt")) == [4, 5, 6]
        assert last_run().counts["write"] == {"reused": 3}
        assert (databacked_project / "texts/2.json").exists()

    def test_two(databacked_project, tmp_path):
        assert Path.cwd() == databacked_project == tmp_path
        assert os.listdir() == []
        Path("source.txt").write_text("abc")
        run("source.txt")
        assert last_run().counts["write"] == {"made": 3}
    """
    ).assert_outcomes(passed=2)


def test_nothing_is_printed_and_the_cache_of_the_user_is_left_alone(run, pytester):
    """A test run leaves nothing outside of pytest's own folders."""
    result = run(
        FLOW
        + """
    def test_one(databacked_project, capfd):
        Path("source.txt").write_text("abc")
        os.utime("source.txt", (1, 1))
        run("source.txt")
        assert capfd.readouterr() == ("", "")
    """
    )
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "cache of the user").exists()


def test_after_a_test_everything_is_as_it_was(run):
    """Folder, environment and project."""
    run(
        """
    import os
    from pathlib import Path
    from databacked.project.root import project_of

    before = Path.cwd(), dict(os.environ)

    def test_one(databacked_project):
        assert project_of(test_one).root == databacked_project

    def test_two(tmp_path):
        assert project_of(test_two).root != tmp_path
        here = dict(os.environ)
        here.pop("PYTEST_CURRENT_TEST")
        assert (Path.cwd(), here) == (before[0], {k: v for k, v in before[1].items() if k in here})
    """
    ).assert_outcomes(passed=2)


def test_pytest_starts_without_anything_heavy(run):
    """Tests that have nothing to do with databacked do not wait for it."""
    run(
        """
    import sys

    def test_one():
        assert "databacked.pytest_plugin" in sys.modules
        heavy = {"numpy", "pandas", "dask", "pyarrow", "xxhash", "tifffile"}
        assert not heavy & set(sys.modules)
    """
    ).assert_outcomes(passed=1)


def test_the_plugin_is_named_in_the_package():
    """Installing is all that a user has to do."""
    import tomllib
    from pathlib import Path

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    plugins = tomllib.loads(text)["project"]["entry-points"]["pytest11"]
    assert plugins == {"databacked": "databacked.pytest_plugin"}
