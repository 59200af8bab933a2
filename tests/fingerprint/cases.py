"""What a fingerprint of code must see and what it must not: small projects, each with one edit.

Every project has a function ``f`` of one number in ``main.py``. An edit that must be seen changes
what ``f(3)`` returns, one that must not be seen doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class Case:
    """One project and one edit."""

    name: str
    """What is edited, in words."""

    files: Mapping[str, str]
    """Texts by path below the project's root."""

    edit: tuple[str, str, str]
    """File, what stands there, what stands there afterwards."""

    seen: bool = True
    """Whether the edit must change the fingerprint."""

    reason: str = ""
    """What the reason says."""

    python: tuple[int, int] = (3, 11)
    """The first version of Python that can read it."""

    def written(self, *, edited: bool) -> dict[str, str]:
        """Return the texts by path, before or after the edit."""
        texts = {name: dedent(text).lstrip("\n") for name, text in self.files.items()}
        if edited:
            file, old, new = self.edit
            if texts[file].count(old) != 1:
                raise ValueError(f"{self.name!r}: {old!r} must stand once in {file}")
            texts[file] = texts[file].replace(old, new)
        return texts


def _main(name: str, text: str, old: str, new: str, *, reason: str = "", seen: bool = True) -> Case:
    return Case(name, {"main.py": text}, ("main.py", old, new), seen, reason)


SEEN = (
    _main("the body", "def f(x):\n    return x + 1\n", "x + 1", "x + 2", reason="main.f changed"),
    _main(
        "a helper in the same file",
        """
        def blur(x):
            return x * 2
        def f(x):
            return blur(x)
        """,
        "x * 2",
        "x * 3",
        reason="main.blur changed",
    ),
    Case(
        "a helper in another module",
        {
            "main.py": "from helpers import blur\ndef f(x):\n    return blur(x)\n",
            "helpers.py": "def blur(x):\n    return x * 2\n",
        },
        ("helpers.py", "x * 2", "x * 3"),
        reason="helpers.blur changed",
    ),
    Case(
        "a helper's helper",
        {
            "main.py": "import helpers\ndef f(x):\n    return helpers.blur(x)\n",
            "helpers.py": "import geometry\ndef blur(x):\n    return geometry.scale(x)\n",
            "geometry.py": "def scale(x):\n    return x * 2\n",
        },
        ("geometry.py", "x * 2", "x * 3"),
        reason="geometry.scale changed",
    ),
    Case(
        "a helper in a package, imported relatively",
        {
            "main.py": "from lab import entry as f\n",
            "lab/__init__.py": "from .core import entry\n",
            "lab/core.py": "from .deep.tools import scale\ndef entry(x):\n    return scale(x)\n",
            "lab/deep/__init__.py": "",
            "lab/deep/tools.py": "def scale(x):\n    return x * 2\n",
        },
        ("lab/deep/tools.py", "x * 2", "x * 3"),
        reason="lab.deep.tools.scale changed",
    ),
    Case(
        "a function by a dotted name",
        {
            "main.py": "import lab.deep\ndef f(x):\n    return lab.deep.scale(x)\n",
            "lab/__init__.py": "",
            "lab/deep.py": "def scale(x):\n    return x * 2\n",
        },
        ("lab/deep.py", "x * 2", "x * 3"),
        reason="lab.deep.scale changed",
    ),
    _main(
        "functions that call each other",
        """
        def even(x):
            return True if x == 0 else odd(x - 1)
        def odd(x):
            return False if x == 0 else even(x - 1)
        def f(x):
            return even(x)
        """,
        "return False if",
        "return None if",
        reason="main.odd changed",
    ),
    _main(
        "a constant",
        "SIGMA = 2.0\ndef f(x):\n    return x * SIGMA\n",
        "2.0",
        "2.5",
        reason="main.SIGMA changed (2.0 → 2.5)",
    ),
    Case(
        "a constant of another module, by its name",
        {
            "main.py": "from config import SIGMA\ndef f(x):\n    return x * SIGMA\n",
            "config.py": "SIGMA = 2.0\n",
        },
        ("config.py", "2.0", "2.5"),
        reason="config.SIGMA changed (2.0 → 2.5)",
    ),
    Case(
        "a constant of another module, by its attribute",
        {
            "main.py": "import config\ndef f(x):\n    return x * config.SIGMA\n",
            "config.py": "SIGMA = 2.0\n",
        },
        ("config.py", "2.0", "2.5"),
        reason="config.SIGMA changed (2.0 → 2.5)",
    ),
    Case(
        "a constant of a module with another name",
        {
            "main.py": "import config as c\ndef f(x):\n    return x * c.SIGMA\n",
            "config.py": "SIGMA = 2.0\n",
        },
        ("config.py", "2.0", "2.5"),
        reason="config.SIGMA changed (2.0 → 2.5)",
    ),
    _main(
        "a constant deep in containers",
        """
        SETTINGS = {"filters": [{"sigma": 2.0}, {"sigma": 3.0}]}
        def f(x):
            return x * SETTINGS["filters"][1]["sigma"]
        """,
        "3.0",
        "4.0",
        reason="main.SETTINGS['filters'][1]['sigma'] changed (3.0 → 4.0)",
    ),
    _main(
        "a count that hangs on a function, where it begins",
        "def count(x):\n    count.calls += 1\n    return count.calls + x\ncount.calls = 0\n"
        "def f(x):\n    return count(x)\n",
        "count.calls = 0",
        "count.calls = 5",
        reason="main.count changed",
    ),
    Case(
        "what a module that is imported for its effect does to another",
        {
            "main.py": "def f(x):\n    import effect\n    import other\n    return other.V * x\n",
            "effect.py": "import other\nother.V = 5\n",
            "other.py": "V = 1\n",
        },
        ("effect.py", "V = 5", "V = 6"),
        reason="other.V changed (5 → 6)",
    ),
    _main(
        "one of two lambdas on a line that return constants",
        "A, B = lambda x: 1, lambda x: 2\ndef f(x):\n    return A(x) + B(x)\n",
        "x: 2",
        "x: 3",
        reason="main.<lambda>",
    ),
    _main(
        "another key of a table that nobody names",
        'SIZES = {"a": 2, "b": [3]}\ndef f(x):\n    return x * SIZES["b"][0]\n',
        "[3]",
        "[4]",
        reason="main.SIZES['b'][0] changed (3 → 4)",
    ),
    _main(
        "a constant made from another one",
        "BASE = 2\nTWICE = BASE * 2\ndef f(x):\n    return x * TWICE\n",
        "BASE = 2",
        "BASE = 3",
        reason="main.TWICE changed (4 → 6)",
    ),
    _main(
        "an array constant",
        """
        import numpy as np
        KERNEL = np.arange(5000) * 2
        def f(x):
            return int(KERNEL.sum()) * x
        """,
        "* 2",
        "* 3",
        reason="main.KERNEL changed",
    ),
    _main(
        "a constant set",
        'NAMES = {"nucleus", "membrane", "a"}\ndef f(x):\n    return x * len(NAMES)\n',
        ', "a"',
        "",
        reason="main.NAMES changed",
    ),
    Case(
        "the file of a Path constant",
        {
            "main.py": """
                from pathlib import Path
                MODEL = Path(__file__).parent / "model.txt"
                def f(x):
                    return x * float(MODEL.read_text())
                """,
            "model.txt": "2.0\n",
        },
        ("model.txt", "2.0", "2.5"),
    ),
    _main(
        "a class",
        """
        class Box:
            def __init__(self, x):
                self.x = x * 2
        def f(x):
            return Box(x).x
        """,
        "x * 2",
        "x * 3",
        reason="main.Box changed",
    ),
    _main(
        "a method that another method calls",
        """
        class Box:
            def area(self, x):
                return self.side(x) ** 2
            def side(self, x):
                return x
        def f(x):
            return Box().area(x)
        """,
        "return x\n",
        "return x + 1\n",
        reason="main.Box changed",
    ),
    Case(
        "a base class",
        {
            "main.py": """
                from base import Base
                class Box(Base):
                    pass
                def f(x):
                    return Box().scale(x)
                """,
            "base.py": "class Base:\n    def scale(self, x):\n        return x * 2\n",
        },
        ("base.py", "x * 2", "x * 3"),
        reason="base.Base changed",
    ),
    Case(
        "a metaclass",
        {
            "main.py": """
                class Meta(type):
                    @property
                    def factor(cls):
                        return 2
                class Box(metaclass=Meta):
                    pass
                def f(x):
                    return Box.factor * x
                """,
        },
        ("main.py", "return 2", "return 3"),
        reason="main.Meta changed",
    ),
    _main(
        "a class attribute",
        "class Box:\n    factor = 2\ndef f(x):\n    return Box.factor * x\n",
        "= 2",
        "= 3",
        reason="main.Box changed",
    ),
    _main(
        "a class attribute made from a constant",
        """
        def two():
            return 2
        class Box:
            factor = two()
        def f(x):
            return Box.factor * x
        """,
        "return 2",
        "return 5",
        reason="main.two changed",
    ),
    _main(
        "a class attribute that is set from outside",
        """
        class Box:
            factor = 1
        Box.factor = 2
        def f(x):
            return Box.factor * x
        """,
        "= 2",
        "= 3",
        reason="main.Box changed",
    ),
    _main(
        "the annotation of a dataclass's field",
        """
        from dataclasses import dataclass, fields
        @dataclass
        class Box:
            x: int
        def f(x):
            return str(fields(Box)[0].type)
        """,
        "x: int",
        "x: float",
        reason="main.Box changed",
    ),
    _main(
        "the default of a dataclass's field",
        """
        from dataclasses import dataclass
        @dataclass
        class Box:
            x: int = 2
        def f(x):
            return Box().x
        """,
        "= 2",
        "= 3",
        reason="main.Box changed",
    ),
    _main(
        "a property",
        """
        class Box:
            @property
            def factor(self):
                return 2
        def f(x):
            return Box().factor * x
        """,
        "return 2",
        "return 3",
        reason="main.Box changed",
    ),
    _main(
        "a class method and a constant that it reads",
        """
        START = 2
        class Box:
            @classmethod
            def make(cls):
                return START
        def f(x):
            return Box.make()
        """,
        "= 2",
        "= 3",
        reason="main.START changed (2 → 3)",
    ),
    _main(
        "an overloaded operator",
        """
        class Length:
            def __init__(self, x):
                self.x = x
            def __add__(self, other):
                return self.x + other.x
        def f(x):
            return Length(x) + Length(1)
        """,
        "+ other.x",
        "- other.x",
        reason="main.Length changed",
    ),
    _main(
        "a member of an enum",
        """
        from enum import Enum
        class Channel(Enum):
            DNA = 1
            MEMBRANE = 2
        def f(x):
            return Channel.MEMBRANE.value * x
        """,
        "= 2",
        "= 4",
        reason="main.Channel changed",
    ),
    _main(
        "the value of an enum's member that is a constant",
        """
        from enum import Enum
        class Channel(Enum):
            DNA = 1
        DEFAULT = Channel.DNA
        def f(x):
            return DEFAULT.value * x
        """,
        "= 1",
        "= 4",
        reason="main.Channel changed",
    ),
    _main(
        "the state of an object",
        """
        class Box:
            def __init__(self, factor):
                self.factor = factor
        BOX = Box(2)
        def f(x):
            return BOX.factor * x
        """,
        "Box(2)",
        "Box(3)",
        reason="main.BOX.factor changed (2 → 3)",
    ),
    _main(
        "the class of an object",
        """
        class Box:
            def scale(self, x):
                return x * 2
        BOX = Box()
        def f(x):
            return BOX.scale(x)
        """,
        "x * 2",
        "x * 3",
        reason="main.Box changed",
    ),
    _main(
        "an object that is called",
        """
        class Scale:
            def __init__(self, factor):
                self.factor = factor
            def __call__(self, x):
                return x * self.factor
        scale = Scale(2)
        def f(x):
            return scale(x)
        """,
        "x * self",
        "x + self",
        reason="main.Scale changed",
    ),
    _main(
        "a bound method and its object",
        """
        class Scale:
            def __init__(self, factor):
                self.factor = factor
            def apply(self, x):
                return x * self.factor
        scale = Scale(2).apply
        def f(x):
            return scale(x)
        """,
        "Scale(2)",
        "Scale(3)",
    ),
    _main("a default argument", "def f(x, y=2):\n    return x * y\n", "y=2", "y=3"),
    _main(
        "a default argument that is a name",
        "TWO = 2\ndef f(x, y=TWO):\n    return x * y\n",
        "TWO = 2",
        "TWO = 3",
        reason="main.f changed",
    ),
    _main(
        "a default that must be named",
        "TWO = 2\ndef f(x, *, y=TWO):\n    return x * y\n",
        "TWO = 2",
        "TWO = 3",
        reason="main.f changed",
    ),
    _main(
        "the value in a closure",
        """
        def make(factor):
            def inner(x):
                return x * factor
            return inner
        f = make(2)
        """,
        "make(2)",
        "make(3)",
    ),
    _main(
        "the body of a closure",
        """
        def make(factor):
            def inner(x):
                return x * factor
            return inner
        f = make(2)
        """,
        "x * factor",
        "x + factor",
    ),
    _main(
        "a function in a closure",
        """
        def twice(x):
            return x * 2
        def make(inner):
            def outer(x):
                return inner(x)
            return outer
        f = make(twice)
        """,
        "x * 2",
        "x * 3",
        reason="main.twice changed",
    ),
    _main(
        "the wrapper of a decorator",
        """
        import functools
        def plus(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(x) + 1
            return wrapper
        @plus
        def f(x):
            return x
        """,
        "+ 1",
        "+ 2",
    ),
    _main(
        "the argument of a decorator",
        """
        import functools
        def plus(amount):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(x):
                    return function(x) + amount
                return wrapper
            return decorate
        AMOUNT = 1
        @plus(AMOUNT)
        def f(x):
            return x
        """,
        "AMOUNT = 1",
        "AMOUNT = 2",
    ),
    _main(
        "a decorated helper",
        """
        import functools
        def plus(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(x) + 1
            return wrapper
        @plus
        def blur(x):
            return x * 2
        def f(x):
            return blur(x)
        """,
        "x * 2",
        "x * 3",
    ),
    _main(
        "a helper that is decorated without wraps",
        """
        def plus(function):
            def wrapper(x):
                return function(x) + 1
            return wrapper
        @plus
        def blur(x):
            return x * 2
        def f(x):
            return blur(x)
        """,
        "x * 2",
        "x * 3",
    ),
    _main(
        "a helper under lru_cache",
        """
        from functools import lru_cache
        @lru_cache(maxsize=None)
        def blur(x):
            return x * 2
        def f(x):
            return blur(x)
        """,
        "x * 2",
        "x * 3",
    ),
    _main(
        "a helper that is another task",
        """
        from databacked import task
        @task
        def blur(x):
            return x * 2
        def f(x):
            return blur.fn(x)
        """,
        "x * 2",
        "x * 3",
    ),
    Case(
        "something imported inside the function",
        {
            "main.py": "def f(x):\n    from helpers import blur\n    return blur(x)\n",
            "helpers.py": "def blur(x):\n    return x * 2\n",
        },
        ("helpers.py", "x * 2", "x * 3"),
        reason="helpers.blur changed",
    ),
    Case(
        "a module imported inside the function",
        {
            "main.py": "def f(x):\n    import lab.config as c\n    return c.SIGMA * x\n",
            "lab/__init__.py": "",
            "lab/config.py": "SIGMA = 2.0\n",
        },
        ("lab/config.py", "2.0", "2.5"),
        reason="lab.config.SIGMA changed (2.0 → 2.5)",
    ),
    _main(
        "a function in a dict",
        """
        def blur(x):
            return x * 2
        FILTERS = {"blur": blur}
        def f(x):
            return FILTERS["blur"](x)
        """,
        "x * 2",
        "x * 3",
        reason="main.blur changed",
    ),
    Case(
        "a function in a registry, put there by a decorator",
        {
            "main.py": """
                import filters
                from registry import FILTERS
                def f(x):
                    return FILTERS["blur"](x)
                """,
            "registry.py": """
                FILTERS = {}
                def register(function):
                    FILTERS[function.__name__] = function
                    return function
                """,
            "filters.py": """
                from registry import register
                @register
                def blur(x):
                    return x * 2
                """,
        },
        ("filters.py", "x * 2", "x * 3"),
        reason="filters.blur changed",
    ),
    _main(
        "the argument of a partial",
        """
        from functools import partial
        def scale(x, factor):
            return x * factor
        twice = partial(scale, factor=2)
        def f(x):
            return twice(x)
        """,
        "factor=2",
        "factor=3",
        reason="main.twice changed",
    ),
    _main(
        "the function of a partial",
        """
        from functools import partial
        def scale(x, factor):
            return x * factor
        twice = partial(scale, factor=2)
        def f(x):
            return twice(x)
        """,
        "x * factor",
        "x + factor",
        reason="main.scale changed",
    ),
    _main("a lambda", "f = lambda x: x * 2\n", "x * 2", "x * 3"),
    _main(
        "one of several lambdas on a line",
        "g, f, h = lambda x: x * 2, lambda x: x * 4, lambda x: x * 6\n",
        "x * 4",
        "x * 5",
    ),
    _main(
        "a lambda inside a lambda on one line",
        "f = (lambda y: lambda x: x * y)(2)\n",
        "x * y",
        "x + y",
    ),
    _main(
        "a nested function",
        "def f(x):\n    def inner(y):\n        return y * 2\n    return inner(x)\n",
        "y * 2",
        "y * 3",
        reason="main.f changed",
    ),
    _main(
        "a helper of a nested function",
        """
        def blur(x):
            return x * 2
        def f(x):
            return [(lambda: blur(y))() for y in range(x)]
        """,
        "x * 2",
        "x * 3",
        reason="main.blur changed",
    ),
    _main(
        "a name given with the keyword global",
        """
        LEVEL = 1
        def up():
            global LEVEL
            LEVEL += 2
        up()
        def f(x):
            return x * LEVEL
        """,
        "+= 2",
        "+= 3",
        reason="main.LEVEL changed (3 → 4)",
    ),
    _main(
        "a generator",
        """
        def numbers(x):
            for one in range(x):
                yield one * 2
        def f(x):
            return sum(numbers(x))
        """,
        "one * 2",
        "one * 3",
        reason="main.numbers changed",
    ),
    _main(
        "a coroutine",
        """
        import asyncio
        async def fetch(x):
            return x * 2
        def f(x):
            return asyncio.run(fetch(x))
        """,
        "x * 2",
        "x * 3",
        reason="main.fetch changed",
    ),
    _main(
        "a match statement",
        """
        def f(x):
            match x:
                case 1 | 3:
                    return "odd"
                case _:
                    return "other"
        """,
        "1 | 3",
        "1 | 5",
    ),
    _main("the format in an f-string", 'def f(x):\n    return f"{x:.1f}"\n', ".1f", ".2f"),
    _main("the conversion in an f-string", 'def f(x):\n    return f"{x!s:>9}"\n', ":>9", ":>8"),
    _main(
        "a walrus",
        "def f(x):\n    return (y := x * 2) + y\n",
        ":= x * 2",
        ":= x * 3",
    ),
    _main("1 and 1.0", "def f(x):\n    return repr(1)\n", "1", "1.0"),
    _main("1 and True", "def f(x):\n    return repr(1)\n", "1", "True"),
    _main("an operator", "def f(x):\n    return x < 3\n", "<", "<="),
    _main("the order of arguments", "def f(x):\n    return divmod(x, 2)\n", "(x, 2)", "(2, x)"),
    _main(
        "a string's text, not only its length",
        'def f(x):\n    return "abc"\n',
        '"abc"',
        '"abd"',
    ),
    _main(
        "the value of an annotated variable",
        "def f(x):\n    y: int = 2\n    return x * y\n",
        "= 2",
        "= 3",
    ),
    _main(
        "a global that is chosen when the module is loaded",
        """
        def one(x):
            return 1
        def two(x):
            return 2
        chosen = one
        def f(x):
            return chosen(x)
        """,
        "chosen = one",
        "chosen = two",
    ),
    _main(
        "the base of a generic class",
        """
        class Two:
            factor = 2
        class Three:
            factor = 3
        class Box(Two):
            pass
        def f(x):
            return Box.factor
        """,
        "Box(Two)",
        "Box(Three)",
    ),
    _main(
        "a helper under singledispatch",
        """
        from functools import singledispatch
        @singledispatch
        def blur(x):
            return x
        @blur.register
        def _(x: int):
            return x * 2
        def f(x):
            return blur(x)
        """,
        "x * 2",
        "x * 3",
    ),
    _main(
        "a context manager made of a generator",
        """
        from contextlib import contextmanager
        @contextmanager
        def opened(x):
            yield x * 2
        def f(x):
            with opened(x) as y:
                return y
        """,
        "x * 2",
        "x * 3",
        reason="main.opened changed",
    ),
    _main(
        "a function wrapped by another package",
        """
        import numpy as np
        def scale(x):
            return x * 2
        blur = np.vectorize(scale)
        def f(x):
            return int(blur(x))
        """,
        "x * 2",
        "x * 3",
        reason="main.scale changed",
    ),
    _main(
        "a compiled pattern",
        """
        import re
        PATTERN = re.compile("a|3")
        def f(x):
            return bool(PATTERN.match(str(x)))
        """,
        "a|3",
        "a|b",
        reason="main.PATTERN changed",
    ),
    Case(
        "the file of a Path among others in a dict",
        {
            "main.py": """
                from pathlib import Path
                HERE = Path(__file__).parent
                MODELS = {"one": [HERE / "model.txt"]}
                def f(x):
                    return x * float(MODELS["one"][0].read_text())
                """,
            "model.txt": "2.0\n",
        },
        ("model.txt", "2.0", "2.5"),
    ),
    Case(
        "something imported inside a method",
        {
            "main.py": """
                class Box:
                    def scale(self, x):
                        from helpers import blur
                        return blur(x)
                def f(x):
                    return Box().scale(x)
                """,
            "helpers.py": "def blur(x):\n    return x * 2\n",
        },
        ("helpers.py", "x * 2", "x * 3"),
        reason="helpers.blur changed",
    ),
    Case(
        "what is behind a module that is imported inside the function",
        {
            "main.py": "def f(x):\n    from lab import core\n    return core.blur(x)\n",
            "lab/__init__.py": "",
            "lab/core.py": "from .deep import scale\ndef blur(x):\n    return scale(x)\n",
            "lab/deep.py": "def scale(x):\n    return x * 2\n",
        },
        ("lab/deep.py", "x * 2", "x * 3"),
        reason="lab.deep.scale changed",
    ),
    Case(
        "a name that came with a star",
        {
            "main.py": "from helpers import *\ndef f(x):\n    return blur(x) * SIGMA\n",
            "helpers.py": "SIGMA = 2.0\ndef blur(x):\n    return x\n",
        },
        ("helpers.py", "2.0", "2.5"),
        reason="SIGMA changed (2.0 → 2.5)",
    ),
    _main(
        "a method that is set from outside",
        """
        class Box:
            def scale(self, x):
                return x
        def scale(self, x):
            return x * 2
        Box.scale = scale
        def f(x):
            return Box().scale(x)
        """,
        "x * 2",
        "x * 3",
        reason="main.scale changed",
    ),
    _main(
        "the wrapper around a method",
        """
        def plus(function):
            def wrapper(self, x):
                return function(self, x) + 1
            return wrapper
        class Box:
            @plus
            def scale(self, x):
                return x
        def f(x):
            return Box().scale(x)
        """,
        "+ 1",
        "+ 2",
    ),
    _main(
        "a method inside a wrapper",
        """
        def plus(function):
            def wrapper(self, x):
                return function(self, x) + 1
            return wrapper
        class Box:
            @plus
            def scale(self, x):
                return x * 2
        def f(x):
            return Box().scale(x)
        """,
        "x * 2",
        "x * 3",
    ),
    _main(
        "a class decorator",
        """
        def named(kind):
            kind.factor = 2
            return kind
        @named
        class Box:
            pass
        def f(x):
            return Box.factor * x
        """,
        "= 2",
        "= 3",
        reason="main.named changed",
    ),
    _main(
        "a cached property",
        """
        from functools import cached_property
        class Box:
            @cached_property
            def factor(self):
                return 2
        def f(x):
            return Box().factor * x
        """,
        "return 2",
        "return 3",
        reason="main.Box changed",
    ),
    _main(
        "a static method's helper",
        """
        def blur(x):
            return x * 2
        class Box:
            @staticmethod
            def scale(x):
                return blur(x)
        def f(x):
            return Box.scale(x)
        """,
        "x * 2",
        "x * 3",
        reason="main.blur changed",
    ),
    _main(
        "the fields of a namedtuple",
        """
        from collections import namedtuple
        Box = namedtuple("Box", "width height")
        def f(x):
            return Box(x, 1)._fields
        """,
        "width height",
        "width depth",
        reason="main.Box changed",
    ),
    _main(
        "an enum made by a call",
        """
        from enum import Enum
        Channel = Enum("Channel", ["DNA", "MEMBRANE"])
        def f(x):
            return [one.name for one in Channel]
        """,
        '"MEMBRANE"',
        '"GOLGI"',
        reason="main.Channel changed",
    ),
    _main(
        "a class made by a call",
        """
        Box = type("Box", (), {"factor": 2, "scale": lambda self, x: x * self.factor})
        def f(x):
            return Box().scale(x)
        """,
        ": 2",
        ": 3",
    ),
    _main(
        "a class made inside a function, with a value of that function",
        """
        def make(factor):
            class Box:
                def scale(self, x):
                    return x * factor
            return Box
        Box = make(2)
        def f(x):
            return Box().scale(x)
        """,
        "make(2)",
        "make(3)",
    ),
    _main(
        "the attribute of a function",
        """
        def scale(x):
            return x * scale.factor
        scale.factor = 2
        def f(x):
            return scale(x)
        """,
        "= 2",
        "= 3",
        reason="main.scale.factor changed (2 → 3)",
    ),
    _main(
        "a type's argument in a constant",
        "KIND = dict[str, int]\ndef f(x):\n    return str(KIND)\n",
        "int",
        "float",
        reason="main.KIND changed",
    ),
    _main(
        "an array of a class derived from numpy's",
        """
        import numpy as np
        class Stack(np.ndarray):
            pass
        STACK = np.arange(4).view(Stack)
        def f(x):
            return int(STACK.sum())
        """,
        "arange(4)",
        "arange(5)",
        reason="main.STACK changed",
    ),
    _main(
        "an object with slots that is called",
        """
        class Scale:
            __slots__ = ("factor",)
            def __init__(self, factor):
                self.factor = factor
            def __call__(self, x):
                return x * self.factor
        scale = Scale(2)
        def f(x):
            return scale(x)
        """,
        "Scale(2)",
        "Scale(3)",
        reason="main.scale changed",
    ),
    _main(
        "the column of an itemgetter",
        """
        from operator import itemgetter
        second = itemgetter(1)
        def f(x):
            return second([1, 2, 3])
        """,
        "getter(1)",
        "getter(2)",
        reason="main.second changed",
    ),
    _main(
        "the dict behind a method that was taken from it",
        """
        lookup = {3: "a"}.get
        def f(x):
            return lookup(x)
        """,
        '"a"',
        '"b"',
        reason="main.lookup changed",
    ),
    _main(
        "a helper under lru_cache in a partial",
        """
        from functools import lru_cache, partial
        @lru_cache
        def blur(x, y):
            return x * y
        FILTERS = [partial(blur, y=2)]
        def f(x):
            return FILTERS[0](x)
        """,
        "x * y",
        "x + y",
        reason="main.blur changed",
    ),
    _main(
        "a generator expression's helper",
        """
        def blur(x):
            return x * 2
        def f(x):
            return sum(blur(y) for y in range(x))
        """,
        "x * 2",
        "x * 3",
        reason="main.blur changed",
    ),
    _main(
        "a name used in a class inside the function",
        """
        SIGMA = 2
        def f(x):
            class Box:
                factor = SIGMA
            return Box.factor
        """,
        "= 2",
        "= 3",
        reason="main.SIGMA changed (2 → 3)",
    ),
    Case(
        "what a type alias stands for",
        {"main.py": "type Number = int\ndef f(x):\n    return str(Number.__value__)\n"},
        ("main.py", "= int", "= float"),
        python=(3, 12),
    ),
)

NOT_SEEN = tuple(
    Case(name, files, edit, seen=False)
    for name, files, edit in (
        (
            "a comment",
            {"main.py": "def f(x):\n    # doubled\n    return x * 2\n"},
            ("main.py", "# doubled", "# two times"),
        ),
        (
            "a comment above that moves all lines",
            {"main.py": "# a\ndef f(x):\n    return x * 2\n"},
            ("main.py", "# a", "# a\n#\n#\n#"),
        ),
        (
            "line breaks and spaces",
            {"main.py": "def f(x):\n    return max(x, 2)\n"},
            ("main.py", "max(x, 2)", "max(\n        x,\n        2,\n    )"),
        ),
        (
            "parentheses",
            {"main.py": "def f(x):\n    return x * 2 + 1\n"},
            ("main.py", "x * 2 + 1", "(x * 2) + 1"),
        ),
        (
            "quotes",
            {"main.py": "def f(x):\n    return 'abc'\n"},
            ("main.py", "'abc'", '"abc"'),
        ),
        (
            "texts side by side",
            {"main.py": "def f(x):\n    return 'abc' f'def{x}'\n"},
            ("main.py", "'abc' f'def{x}'", "f'abcd' 'ef' f'{x}'"),
        ),
        (
            "how a number is written",
            {"main.py": "def f(x):\n    return x * 1000000\n"},
            ("main.py", "1000000", "1_000_000"),
        ),
        (
            "a function's docstring",
            {"main.py": 'def f(x):\n    """Double."""\n    return x * 2\n'},
            ("main.py", "Double.", "Two times."),
        ),
        (
            "a docstring that comes",
            {"main.py": "def f(x):\n    return x * 2\n"},
            ("main.py", ":\n", ':\n    """Double."""\n'),
        ),
        (
            "a class's docstring",
            {
                "main.py": """
                    class Box:
                        '''One.'''
                        x = 2
                    def f(x):
                        return Box.x
                    """
            },
            ("main.py", "One.", "Two."),
        ),
        (
            "a method's docstring",
            {
                "main.py": """
                    class Box:
                        def x(self):
                            '''One.'''
                            return 2
                    def f(x):
                        return Box().x()
                    """
            },
            ("main.py", "One.", "Two."),
        ),
        (
            "a module's docstring",
            {"main.py": '"""One."""\ndef f(x):\n    return x * 2\n'},
            ("main.py", "One.", "Two."),
        ),
        (
            "a parameter's annotation",
            {"main.py": "def f(x: int):\n    return x * 2\n"},
            ("main.py", "int", "float"),
        ),
        (
            "what a function says it returns",
            {"main.py": "def f(x) -> int:\n    return x * 2\n"},
            ("main.py", "int", "float"),
        ),
        (
            "an annotation that names a class",
            {
                "main.py": """
                    class Box:
                        x = 1
                    def f(x: Box | None = None):
                        return 2
                    """
            },
            ("main.py", "x = 1", "x = 2"),
        ),
        (
            "a variable's annotation",
            {"main.py": "def f(x):\n    y: int = x * 2\n    return y\n"},
            ("main.py", ": int =", " ="),
        ),
        (
            "a method's annotation",
            {
                "main.py": """
                    class Box:
                        def x(self) -> int:
                            y: int = 2
                            return y
                    def f(x):
                        return Box().x()
                    """
            },
            ("main.py", "y: int", "y: float"),
        ),
        (
            "an unrelated function above",
            {"main.py": "def g(x):\n    return 1\ndef f(x):\n    return x * 2\n"},
            ("main.py", "    return 1\n", "    y = x\n    return y\n"),
        ),
        (
            "an unrelated function below",
            {"main.py": "def f(x):\n    return x * 2\ndef g(x):\n    return 1\n"},
            ("main.py", "return 1", "return 2"),
        ),
        (
            "an unrelated lambda on the same line",
            {"main.py": "g, f = lambda x: x, lambda x: x * 2\n"},
            ("main.py", "lambda x: x,", "lambda x: x + 100,"),
        ),
        (
            "an unrelated constant",
            {
                "main.py": "import config\ndef f(x):\n    return config.A\n",
                "config.py": "A = 1\nB = 2\n",
            },
            ("config.py", "B = 2", "B = 3"),
        ),
        (
            "an unrelated function of a module that is used",
            {
                "main.py": "import helpers\ndef f(x):\n    return helpers.a(x)\n",
                "helpers.py": "def a(x):\n    return x\ndef b(x):\n    return 1\n",
            },
            ("helpers.py", "return 1", "return 2"),
        ),
        (
            "the order of functions",
            {"main.py": "def a(x):\n    return 1\ndef f(x):\n    return a(x)\n"},
            (
                "main.py",
                "def a(x):\n    return 1\ndef f(x):\n    return a(x)\n",
                "def f(x):\n    return a(x)\ndef a(x):\n    return 1\n",
            ),
        ),
        (
            "an import that is not used",
            {"main.py": "def f(x):\n    return x\n"},
            ("main.py", "def", "import math\ndef"),
        ),
        (
            "a key of a global that only looks like a parameter",
            {"main.py": "y = 1\ndef f(x):\n    y = 5\n    return x * y\n"},
            ("main.py", "y = 1", "y = 2"),
        ),
        (
            "a module-level name that is an attribute here",
            {
                "main.py": """
                    real = 1
                    class Box:
                        def x(self, real):
                            return real
                    def f(x):
                        return Box().x(2)
                    """
            },
            ("main.py", "real = 1", "real = 2"),
        ),
        (
            "nothing, but constants say where the project lies",
            {
                "main.py": """
                    import logging
                    import threading
                    from pathlib import Path
                    HERE = Path(__file__).resolve().parent
                    PLACES = {"model": HERE / "model.txt", "text": [str(HERE / "model.txt")]}
                    log = logging.getLogger(__name__)
                    class Box:
                        lock = threading.Lock()
                        def __init__(self, place):
                            self.place = place
                    BOX = Box(HERE / "none")
                    def f(x, model=HERE / "model.txt"):
                        log.debug("read")
                        return len(PLACES) + x + len(BOX.place.name)
                    """,
                "model.txt": "2.0\n",
            },
            ("main.py", "PLACES = ", "PLACES  = "),
        ),
        (
            "nothing, but constants are sets and objects without an order",
            {
                "main.py": """
                    NAMES = {"nucleus", "membrane", "golgi", "er"}
                    GROUPS = {frozenset({"a", "b", "c"}), frozenset({"d", "e"})}
                    class Box:
                        names = {"x", "y", "z"}
                    BOX = Box()
                    def f(x):
                        return len(NAMES) + len(GROUPS) + len(BOX.names) + len({"a", "b", "c"})
                    """
            },
            ("main.py", "NAMES = ", "NAMES  = "),
        ),
    )
)

CASES = SEEN + NOT_SEEN
