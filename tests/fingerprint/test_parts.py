"""The parts of the fingerprint of code, each alone."""

from __future__ import annotations

import ast
import collections.abc
import functools
import sys
from textwrap import dedent
from typing import Any

import pytest

from databacked.fingerprint.code.effects import effects
from databacked.fingerprint.code.firsts import ABSENT, as_first_seen
from databacked.fingerprint.code.members import functions_in, methods_of, stands_in, statement_of
from databacked.fingerprint.code.normal_form import normal_form
from databacked.fingerprint.code.ownership import Ownership
from databacked.fingerprint.code.scope import absolute
from databacked.fingerprint.code.state import Constant, without_docs
from databacked.fingerprint.code.symbols import Symbols, cut, short

# ---------------------------------------------------------------- normal form

SAME = {
    "brackets around what is deleted": ("del a, b", "del (a, b)"),
    "brackets inside of brackets": ("del a, (b, [c])", "del a, b, c"),
    "the order of imports": ("import b\nimport a", "import a\nimport b"),
    "imports from one module": ("from a import b\nfrom a import c", "from a import c, b"),
    "what a docstring says": ("'''One.'''\nreturn 1", "'''Two.'''\nreturn 1"),
    "pass": ("pass\nreturn 1", "return 1"),
    "annotations of variables": ("x: int = 1", "x = 1"),
    "texts that stand side by side": ("return 'a' 'b'", "return 'ab'"),
    "quotes": ('return f"{x}a"', "return f'{x}' 'a'"),
}
OTHER = {
    "imports that bind one name": ("import a as x\nimport b as x", "import b as x\nimport a as x"),
    "imports before and after a statement": ("import a\nf()\nimport b", "import b\nf()\nimport a"),
    "everything of two modules": (
        "from a import *\nfrom b import *",
        "from b import *\nfrom a import *",
    ),
    "what an import is called": ("import a as b", "import a as c"),
    "the type of a number": ("return 1", "return 1.0"),
    "the sign of zero": ("return 0.0", "return -0.0"),
    "True and 1": ("return True", "return 1"),
    "bytes and text": ("return b'a'", "return 'a'"),
    "order": ("a()\nb()", "b()\na()"),
}


def _form(body: str) -> str:
    # Of a function, but where only modules may hold it.
    lines = body.replace("\n", "\n    ")
    text = body if "import *" in body else f"def f(x):\n    {lines}"
    return normal_form(ast.parse(text))


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_forms_that_are_the_same(one, other):
    assert _form(one) == _form(other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_forms_that_are_not(one, other):
    assert _form(one) != _form(other)


def test_a_field_of_a_class_is_more_than_an_annotation():
    assert normal_form(ast.parse("class A:\n    x: int")) != normal_form(ast.parse("class A: pass"))


# ---------------------------------------------------------------- effects

EFFECTS = {
    "np.random.seed(3)": ["numpy.seed"],
    "np.set_printoptions(precision=3)": ["numpy.set_printoptions"],
    "os.environ['A'] = '1'": ["os.environ"],
    "if fast:\n    np.random.seed(3)": ["numpy.seed"],
    "for n in range(3):\n    np.random.seed(n)": ["numpy.seed"],
    "try:\n    np.random.seed(3)\nexcept ValueError:\n    pass": ["numpy.seed"],
    "with a:\n    np.random.seed(3)": ["numpy.seed"],
    "@np.register_it\nclass A: pass": ["numpy.register_it"],
    "Own.register(int)": ["Own.register"],
    "del np.pi": ["numpy.pi"],
    "np.sin(3)": [],
    "own.table['a'] = 3": [],
    "x = np.random.seed(3)": [],
    "def f():\n    np.random.seed(3)": [],
    "if __name__ == '__main__':\n    np.random.seed(3)": [],
    "logging.set_level(3)": [],
}


@pytest.mark.parametrize(("text", "found"), EFFECTS.items(), ids=EFFECTS)
def test_what_a_module_does_to_others(text, found):
    names = {"np": "numpy", "os": "os", "own": "own own", "Own": "own Own", "logging": "logging"}
    tree = ast.parse(text)
    yielded = [*effects(tree, lambda name: names.get(name, ""))]
    assert [what for _, what in yielded] == found
    assert all(statement in tree.body for statement, _ in yielded)


# ---------------------------------------------------------------- members


class Base:
    """Some members."""

    @staticmethod
    def static():
        """Nothing."""

    @classmethod
    def of_class(cls):
        """Nothing."""

    @property
    def both(self):
        """Nothing."""
        return self._both

    @both.setter
    def both(self, value):
        self._both = value

    @functools.cached_property
    def once(self):
        """Nothing."""

    def __init__(self):
        self.known: dict = {}
        self._both = 2

    def __getitem__(self, key):
        self.asked = key

    def __setitem__(self, key, value):
        self.known[key] = value

    def store(self, value):
        """Set and call."""
        self.__hidden = value
        self.once()

    fixed = 3


def test_the_functions_that_members_are_made_of():
    found = {name: len([*functions_in(one)]) for name, one in vars(Base).items()}
    assert {name: count for name, count in found.items() if count} == {
        **dict.fromkeys(["static", "of_class", "once", "store"], 1),
        **dict.fromkeys(["__init__", "__getitem__", "__setitem__"], 1),
        "both": 2,
    }


def test_what_methods_do_to_objects():
    found = {(one.by, *sorted(one.stores)) for one in methods_of(Base) if one.stores}
    assert found == {
        ("=both", "_both"),
        ("", "asked"),
        ("__setitem__", "known"),
        ("store", "_Base__hidden"),
    }
    (store,) = [one for one in methods_of(Base) if one.by == "store"]
    assert {"once", "=__hidden"} <= store.spelled


def test_where_a_class_stands():
    found = statement_of(Base, __file__)
    assert found is not None
    assert found[1].name == "Base"
    (method,), (other,) = functions_in(Base.store), functions_in(cut)
    assert stands_in(method, Base, __file__)
    assert not stands_in(other, Base, __file__)
    assert statement_of(collections.namedtuple("Pair", "a b"), __file__) is None


# ---------------------------------------------------------------- ownership


def test_whose_a_file_is(tmp_path):
    (tmp_path / "main.py").touch()
    library = tmp_path / "lib" / "site-packages" / "them.py"
    library.parent.mkdir(parents=True)
    library.touch()
    owner = Ownership(tmp_path, (), str(tmp_path / "main.py"))
    assert owner.owns_file(str(tmp_path / "main.py"), "main")
    assert not owner.owns_file(str(library), "them")
    assert not owner.owns_file(ast.__file__, "ast")
    assert not owner.owns_file("<frozen abc>", "abc")
    assert not owner.owns(sys)
    assert Ownership(tmp_path, ["them"], "").owns_file(str(library), "them")
    assert owner.symbol(str(tmp_path / "main.py"), "f") == "main.py:f"


def test_names_of_modules():
    assert absolute("..b", {"__package__": "a.c"}) == "a.b"
    assert absolute("b", {}) == "b"
    assert absolute("..b", {"__package__": "a"}) == ""


# ---------------------------------------------------------------- state


class _Looks:
    """Knows nothing but names."""

    def ref(self, value, at=""):
        return f"<{value.__qualname__}>"

    def inner(self, value, symbol):
        return f"<a {type(value).__qualname__}>"

    def path(self, value, at):
        return f"<path {value.name}>"

    def below_root(self, text):
        return text

    def stored_later(self, kind):
        return {"memo"} if kind is Holder else set()


class Holder:
    """Holds things."""

    size: int
    memo: dict


def _token(value) -> str:
    symbol, _ = Symbols().new("a.py:X")
    return Constant(_Looks(), symbol).told(value)


def test_a_constant_counts_by_its_content():
    assert _token({"a": 1, "b": 2}) != _token({"b": 2, "a": 1}) != _token({"b": 2})
    row = [0]
    assert _token([row, row]) != _token([[0], [0]])
    assert _token({1, "a", (2, b"c")}) == _token({(2, b"c"), "a", 1})
    ring: list[Any] = []
    ring[:] = [ring]
    assert _token(ring) == _token(ring)


def test_an_object_counts_without_what_runs_fill():
    first, second = Holder(), Holder()
    first.size = second.size = 3
    assert _token(first) == _token(second)
    second.memo = {}
    assert _token(first) == _token(second)
    second.size = 4
    assert _token(first) != _token(second)


def test_docstrings_that_were_copied_do_not_count():
    state = {"fn": cut, "text": cut.__doc__, "__doc__": "x", "name": "x"}
    assert without_docs(state, None) == {"fn": cut, "text": None, "name": "x"}


def test_what_is_first_seen_stays():
    holder, known = Holder(), dict[str, Any](a=[1])
    assert as_first_seen(holder, "known", known, repr) == "{'a': [1]}"
    known["a"].append(2)
    known["b"] = 3
    assert as_first_seen(holder, "known", known, repr) == "{'a': [1]}"
    assert as_first_seen(holder, "new", ABSENT, repr) == ""
    assert as_first_seen(holder, "new", 3, repr) == ""


# ---------------------------------------------------------------- symbols


def test_symbols_of_one_name_are_told_apart():
    symbols = Symbols()
    one, mark = symbols.new("a.py:X")
    two, other = symbols.new("a.py:X")
    assert (one.name, two.name, two.at) == ("a.py:X", "a.py:X#2", "a.py:X")
    two.add("uses ", mark)
    inner, held = symbols.inner(one)
    inner.add("", "content")
    one.add("holds ", held)
    assert [*symbols.digests()] == ["a.py:X", "a.py:X#2"]
    before = symbols.digests()
    inner.add("", "more")
    after = symbols.digests()
    assert before["a.py:X"] != after["a.py:X"]
    assert before["a.py:X#2"] == after["a.py:X#2"]
    symbols.say(two, "a lock")
    symbols.say(inner, "a lock")
    assert [*symbols.unfollowed] == ["a.py:X: a lock"]
    assert symbols.name_of(other) == "a.py:X#2"


def test_what_is_shown_is_short():
    assert short({"a": 1}) == "{'a': 1}"
    assert short(Holder()) == ""
    assert len(short("x" * 500)) == len(cut("x" * 500)) == 80
    assert short(dedent("a\nb")) == r"'a\nb'"
