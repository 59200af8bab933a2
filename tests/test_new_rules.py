"""The rules of the fingerprint change: what did not change stays, what is made again says so."""

from __future__ import annotations

import pytest

from databacked import LocalResult, flow, last_run, task, testing
from databacked.fingerprint.code import CodeFingerprint, fingerprint

SCALE = 2


@task(result=LocalResult("scaled"), target="{x}.json")
def scaled(x):
    return x * SCALE


@task(keep=True)
def known(x):
    return x + SCALE


@task(result=LocalResult("sums"), target="{x}.json")
def added(x, one, other):
    return one + other


@flow
def sums(xs):
    return added.map(xs, scaled.map(xs), known.map(xs))


@pytest.fixture
def other_rules(monkeypatch, tmp_path):
    """Begin a project, run once, and change the rules."""
    with testing.project(tmp_path):
        assert sums([1, 2]) == [5, 8]
        monkeypatch.setattr(fingerprint, "RULES", fingerprint.RULES + 1)
        monkeypatch.setattr(CodeFingerprint, "rules", fingerprint.RULES)
        yield


def counts() -> dict[str, dict[str, int]]:
    return {name: dict(found) for name, found in last_run().counts.items()}


@pytest.mark.usefixtures("other_rules")
def test_what_is_the_same_by_both_rules_is_not_made_again():
    assert sums([1, 2, 3]) == [5, 8, 11]
    assert counts() == {name: {"reused": 2, "made": 1} for name in ("scaled", "known", "added")}
    assert sums([1, 2, 3]) == [5, 8, 11]
    assert counts() == {name: {"reused": 3} for name in ("scaled", "known", "added")}


@pytest.mark.usefixtures("other_rules")
def test_what_changed_is_made_again(monkeypatch):
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert sums([1, 2]) == [7, 11]
    assert counts()["scaled"] == counts()["known"] == {"made": 2}


@pytest.mark.usefixtures("other_rules")
def test_that_the_rules_changed_is_said_where_symbols_differ(monkeypatch, capsys):
    digests = fingerprint.walked  # type: ignore[attr-defined]

    def others(*given):
        walk = digests(*given)
        walk.symbols.all[0].add("by other rules: ", "more")
        return walk

    monkeypatch.setattr(fingerprint, "walked", others)
    assert sums([1, 2]) == [5, 8]
    assert {*counts()["scaled"]} == {"made"}
    assert "the rules of the fingerprint changed" in capsys.readouterr().err
    assert sums([1, 2]) == [5, 8]
    assert {*counts()["scaled"]} == {"reused"}
