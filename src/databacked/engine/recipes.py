"""What items count by, filled in as what they read becomes known; files are read for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from databacked.display.words import Progress, Progresses
from databacked.engine.items import LOST, Items
from databacked.engine.scheduler import Scheduler
from databacked.engine.tokens import (
    FAILED_TOKEN,
    path_of,
    token_of,
    value_token,
)
from databacked.fingerprint.files import file_tokens
from databacked.graph.futures import Future
from databacked.graph.inputs import Column, Element, Plain
from databacked.graph.nodes import Input, Item, Node, nodes_in
from databacked.project.root import Project

HASHED_AT_ONCE = 64
"""Input files that are read between two looks at the progress."""


class Recipes:
    """Tokens of arguments and recipes of items, from the columns of one run."""

    def __init__(
        self,
        project: Project,
        scheduler: Scheduler,
        show: Callable[[Callable[[], Progresses]], None],
    ) -> None:
        self._project = project
        self._scheduler = scheduler
        self._show = show

    def token(self, node: Node, row: int) -> str | None:
        """Return what an item counts by, if that is known."""
        items = self._scheduler.of(node)
        if items.is_untold:
            self._tell(items)
        return items.token[row]

    def _tell(self, items: Items) -> None:
        """Make out what items count by of which nobody asked before, and what they read with it."""
        untold, todo = {items.node.id: items}, [items]
        while todo:
            read = {one for arg in todo.pop().node.args.values() for one in arg.nodes()}
            for node in (one for above in read for one in nodes_in(above)):
                table = self._scheduler.of(node)
                if table.is_untold and node.id not in untold:
                    untold[node.id] = table
                    todo.append(table)
        for _, table in sorted(untold.items()):  # what a node reads stands before it
            table.is_untold = False
            rows = [
                row
                for row, one in enumerate(table.token)
                if one is None and table.status[row] != LOST
            ]
            for row, recipe in zip(rows, self.of_rows(table, rows), strict=True):
                table.token[row] = None if recipe is None else table.spec.token(recipe)

    def token_or_mark(self, node: Node, row: int) -> str | None:
        """Return what an item counts by, also if it failed: for who takes marks."""
        return FAILED_TOKEN if row in node.lost else self.token(node, row)

    def complete(self, items: Items, rows: Iterable[int]) -> None:
        """Fill in what the arguments of rows count by, as far as it is known by now."""
        spec = items.spec
        for name, arg in items.node.args.items():
            token = self.token_or_mark if spec.marks and arg.may_mark else self.token
            column = _column(items, name, arg)
            if column is None:
                items.columns[name] = token_of(arg.given(0), token, spec.root)
            if isinstance(arg, Plain | Column) or not isinstance(column, list):
                continue
            where = f"{items.node.name}: the argument {name!r}"
            for row in rows:
                if column[row] is None:
                    given = arg.given(row)
                    if type(arg) is Element and type(given) is not Future:
                        column[row] = value_token(given, where, self._project.root)
                    else:
                        column[row] = token_of(given, token, spec.root)

    def tokens_to_send(self, items: Items, row: int) -> tuple[str | None, ...] | None:
        """Return the tokens of an item that is about to run: what failed counts as failed.

        None if nobody asks for them.
        """
        if items.is_untold:
            return None
        if items.spec.marks:
            for name, arg in items.node.args.items():
                if arg.may_mark:
                    token = token_of(arg.given(row), self.token_or_mark, items.spec.root)
                    column = _column(items, name, arg)
                    if isinstance(column, list):
                        column[row] = token
                    else:
                        items.columns[name] = token
        self.complete(items, (row,))
        return tuple(items.row_tokens(row))

    def of_rows(self, items: Items, rows: Sequence[int]) -> list[str | None]:
        """Return the recipes of rows; None for those of which an input is not known yet."""
        self.complete(items, rows)
        columns = [items.columns[name] for name in items.spec.order]
        if any(column is None for column in columns):
            return [None] * len(rows)
        recipe = items.spec.recipe
        if len(rows) == items.n:
            given = [one if isinstance(one, list) else [one] * items.n for one in columns]
        else:
            given = [
                [one[row] for row in rows] if isinstance(one, list) else [one] * len(rows)
                for one in columns
            ]
        if not given:
            return [recipe(())] * len(rows)
        if not any(None in one for one in given):
            return list(items.spec.recipes(given))
        return [None if None in row else recipe(row) for row in zip(*given, strict=True)]

    def signature(self, items: Items, row: int) -> tuple[Any, ...]:
        """Return what tells items apart whose inputs are not all known yet."""
        self.complete(items, (row,))
        tokens: list[Any] = items.row_tokens(row)
        if None in tokens:
            for item in items.node.reads(row):
                node, index = self._scheduler.real(*item)
                tokens.append((node.id, index))
            tokens += [path_of(items.node, name, row) for name in items.unread.get(row, ())]
        return (items.spec.base, *tokens)

    def read(self, wanted: Iterable[Item]) -> dict[Item, BaseException]:
        """Read files, several at once, and fill in what the items count by that name them.

        Returns
        -------
        Items of which a file cannot be read, and why.
        """
        tables = [(self._scheduler.of(node), row) for node, row in dict.fromkeys(wanted)]
        paths: defaultdict[str, list[str]] = defaultdict(list)
        for items, row in tables:
            for name in items.unread.get(row, ()):
                paths[items.spec.how].append(path_of(items.node, name, row))
        tokens = {how: self._hashed(found, how) for how, found in paths.items()}
        errors: dict[Item, BaseException] = {}
        for items, row in tables:
            for name in items.unread.pop(row, ()):
                token = tokens[items.spec.how][path_of(items.node, name, row)]
                if isinstance(token, BaseException):
                    errors[items.node, row] = token
                    break
                items.columns[name][row] = token
        return errors

    def _hashed(self, paths: Sequence[str], how: str) -> dict[str, str | Exception]:
        """Return what files count by, or why one cannot be read; says how far it is."""
        distinct = list(dict.fromkeys(paths))
        tokens: dict[str, str | Exception] = {}
        for start in range(0, len(distinct), HASHED_AT_ONCE):
            some = distinct[start : start + HASHED_AT_ONCE]
            try:
                tokens |= file_tokens(some, how)
            except Exception:
                tokens |= {path: _token_or_error(path, how) for path in some}
            read = Progress(len(distinct), {"made": len(tokens)})
            self._show(lambda read=read: {"reading input files": read})  # type: ignore[misc]
        return tokens


def _column(items: Items, name: str, arg: Input) -> Any:
    """Return the tokens of an argument: a list, made when first asked for, or one for all."""
    if name not in items.columns and arg.length() is not None:
        items.columns[name] = [None] * items.n
    return items.columns.get(name)


def _token_or_error(path: str, how: str) -> str | Exception:
    try:
        return file_tokens([path], how)[path]
    except Exception as error:
        return error
