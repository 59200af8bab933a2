"""What runs fill, and what somebody changes in a session: the first is fresh, the second is not."""

from __future__ import annotations

import pytest

from databacked.fingerprint.code import code_fingerprint

FILLED = {
    "a dict": """
        KNOWN = {}
        def f(x):
            if x not in KNOWN:
                KNOWN[x] = x * 2
            return KNOWN[x]
        """,
    "a list in a dict": """
        KNOWN = {"seen": []}
        def f(x):
            KNOWN["seen"].append(x)
            return x
        """,
    "functions by what they are for": """
        KNOWN = {}
        def twice(x):
            return 2 * x
        def f(x):
            return KNOWN.setdefault(x, twice)(x)
        """,
    "a dict of an object": """
        class Model:
            def __init__(self):
                self.known = {}
            def get(self, x):
                if x not in self.known:
                    self.known[x] = x * 2
                return self.known[x]
        MODEL = Model()
        def f(x):
            return MODEL.get(x)
        """,
    "an object of an object": """
        class Part:
            pass
        class Model:
            def part(self):
                self.made = Part()
                return self.made
        MODEL = Model()
        def f(x):
            return type(MODEL.part()).__name__
        """,
    "a count of a class": """
        class Box:
            made = 0
            def __init__(self):
                Box.made += 1
        def f(x):
            return Box() and x
        """,
    "an attribute of a class that comes later": """
        class Box:
            def __init__(self):
                Box.last = self
        def f(x):
            return Box() and x
        """,
    "what a setter stores": """
        class Context:
            _digits = 15
            def _get(self):
                return self._digits
            def _set(self, digits):
                self._digits = digits
                self.known = {digits: 1}
            digits = property(_get, _set)
        CONTEXT = Context()
        def f(x):
            CONTEXT.digits = 30
            return x / 3, CONTEXT.digits
        """,
    "an attribute read by its name": """
        class Counter:
            def __init__(self):
                self.count = 0
            def add(self):
                self.count += 1
        COUNTER = Counter()
        def f(x):
            COUNTER.add()
            return COUNTER.count and x
        """,
    "a key read by its name": """
        KNOWN = {"a": 1}
        def remember(x):
            KNOWN["b"] = x
        def f(x):
            remember(x)
            return KNOWN["a"] * x
        """,
    "what is loaded once, by global": """
        MODEL = None
        def model():
            global MODEL
            if MODEL is None:
                MODEL = {"gain": 2}
            return MODEL
        def f(x):
            return x * model()["gain"]
        """,
    "a key of what is loaded once": """
        MODEL = None
        def load():
            global MODEL
            MODEL = MODEL or {"gain": 2}
        def f(x):
            load()
            return x * MODEL["gain"]
        """,
    "what a function remembers on itself": """
        def table():
            try:
                return table.known
            except AttributeError:
                table.known = {"a": twice}
                return table.known
        def twice(x):
            return 2 * x
        def f(x):
            return table()["a"](x)
        """,
    "what hangs on a function, and another one changes": """
        def count(x):
            return x
        count.calls = 0
        def add():
            count.calls += 1
        def f(x):
            return count(x) + 0 * count.calls + (add() or 0)
        """,
    "a table that is computed once": """
        from functools import cached_property
        class Tables:
            @cached_property
            def squares(self):
                return {n: n * n for n in range(9)}
        TABLES = Tables()
        def f(x):
            return TABLES.squares[x]
        """,
}


@pytest.mark.parametrize("text", FILLED.values(), ids=FILLED)
def test_what_a_run_fills_is_fresh(text, load, tmp_path):
    module = load(text)
    before = code_fingerprint(module.f, root=tmp_path)
    for value in (3, 4):
        module.f(value)
        after = code_fingerprint(module.f, root=tmp_path)
        assert after.symbols == before.symbols
        assert after.digest == before.digest


CHANGED = {
    "an attribute by a method": (
        """
        class Filter:
            def __init__(self):
                self.set(1)
            def set(self, sigma):
                self.sigma = sigma
            def run(self, x):
                return x * self.sigma
        FILTER = Filter()
        def f(x):
            return FILTER.run(x)
        """,
        lambda module: module.FILTER.set(3),
    ),
    "an attribute of a class that derives from another": (
        """
        class Base:
            def __init__(self):
                self.sigma = 1
        class Filter(Base):
            def __init__(self):
                super().__init__()
            def run(self, x):
                return x * self.sigma
        FILTER = Filter()
        def f(x):
            return FILTER.run(x)
        """,
        lambda module: setattr(module.FILTER, "sigma", 3),
    ),
    "an attribute by a method that the task calls, on another object": (
        """
        class Filter:
            def __init__(self):
                self.sigma = 1
            def fit(self, sigma):
                self.sigma = sigma
                return self
            def run(self, x):
                return x * self.sigma
        FILTER = Filter()
        def f(x):
            other = Filter().fit(2)
            return FILTER.run(x) + other.run(x)
        """,
        lambda module: module.FILTER.fit(3),
    ),
    "a property": (
        """
        class Filter:
            _sigma = 1
            @property
            def sigma(self):
                return self._sigma
            @sigma.setter
            def sigma(self, value):
                self._sigma = value
        FILTER = Filter()
        def f(x):
            return x * FILTER.sigma
        """,
        lambda module: setattr(module.FILTER, "sigma", 3),
    ),
    "an entry of settings": (
        """
        class Settings:
            def __init__(self):
                self.values = {"sigma": 1}
            def __getitem__(self, name):
                return self.values[name]
            def __setitem__(self, name, value):
                self.values[name] = value
        SETTINGS = Settings()
        def f(x):
            return x * SETTINGS["sigma"]
        """,
        lambda module: module.SETTINGS.__setitem__("sigma", 3),
    ),
    "a key": (
        "SIZES = {'a': {'sigma': 1}}\ndef f(x):\n    return x * SIZES['a']['sigma']\n",
        lambda module: module.SIZES["a"].update(sigma=3),
    ),
    "a key that is missing": (
        "SIZES = {}\ndef f(x):\n    return SIZES['a'] if SIZES else x\n",
        lambda module: module.SIZES.update(a=3),
    ),
    "an item of a list": (
        "SIZES = [1, 2]\ndef f(x):\n    return x * SIZES[-1]\n",
        lambda module: module.SIZES.append(3),
    ),
}


@pytest.mark.parametrize(("text", "change"), CHANGED.values(), ids=CHANGED)
def test_what_somebody_changes_in_a_session_is_seen(text, change, load, tmp_path):
    module = load(text)
    value = module.f(2)
    before = code_fingerprint(module.f, root=tmp_path)
    change(module)
    assert module.f(2) != value
    assert code_fingerprint(module.f, root=tmp_path).digest != before.digest


PARTS = {
    "another key": ("SIZES = {'a': 1, 'b': 2}", "SIZES['a']", lambda m: m.SIZES.update(b=3)),
    "another key inside": (
        "SIZES = {'a': {'x': 1, 'y': 2}}",
        "SIZES['a']['x']",
        lambda m: m.SIZES["a"].update(y=3),
    ),
    "another item": ("SIZES = [1, 2]", "SIZES[0]", lambda m: m.SIZES.append(3)),
    "another attribute": (
        "from types import SimpleNamespace\nSIZES = SimpleNamespace(a=1, b=2)",
        "SIZES.a",
        lambda m: setattr(m.SIZES, "b", 3),
    ),
    "another field": (
        "from dataclasses import dataclass\n@dataclass\nclass Sizes:\n"
        "    a: int = 1\n    b: int = 2\nSIZES = Sizes()",
        "SIZES.a",
        lambda m: setattr(m.SIZES, "b", 3),
    ),
}


@pytest.mark.parametrize(("text", "part", "change"), PARTS.values(), ids=PARTS)
def test_of_what_is_named_by_a_key_the_rest_does_not_count(text, part, change, load, tmp_path):
    module = load(f"{text}\ndef f(x):\n    return x * {part}\n")
    before = code_fingerprint(module.f, root=tmp_path)
    change(module)
    assert code_fingerprint(module.f, root=tmp_path).digest == before.digest
    assert [*before.values] == [f"lab_main.py:{part}"]


WHOLE = {
    "a dict that makes what is missing": (
        "from collections import defaultdict\nSIZES = defaultdict(int, a=1)",
        "SIZES['a']",
        lambda m: m.SIZES.update(b=3),
    ),
    "a class that computes": (
        "class Sizes:\n    b = 2\n    def __init__(self):\n        self.a = 1\n"
        "    def __getattribute__(self, name):\n"
        "        return object.__getattribute__(self, 'b') if name == 'a' else 1\nSIZES = Sizes()",
        "SIZES.a",
        lambda m: object.__setattr__(m.SIZES, "b", 3),
    ),
    "a key that is computed": (
        "SIZES = {'a': 1, 'b': 2}",
        "SIZES[chr(96 + x)]",
        lambda m: m.SIZES.update(b=3),
    ),
}


@pytest.mark.parametrize(("text", "part", "change"), WHOLE.values(), ids=WHOLE)
def test_what_may_be_more_than_a_key_counts_whole(text, part, change, load, tmp_path):
    module = load(f"{text}\ndef f(x):\n    return x * {part}\n")
    before = code_fingerprint(module.f, root=tmp_path)
    change(module)
    assert code_fingerprint(module.f, root=tmp_path).digest != before.digest
