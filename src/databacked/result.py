"""Where a task's value goes.

task → runner → [result] → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from databacked.errors import SerializerError
from databacked.places.one_file import OneFile
from databacked.places.place import Format, Place
from databacked.places.rules import check_rules, rules_of
from databacked.places.several_files import SeveralFiles
from databacked.plugins import find
from databacked.project.root import Project, project_at, project_of_code
from databacked.serializers.base import Serializer


@dataclass(frozen=True)
class LocalResult:
    """Keep a task's values as files in a folder.

    Parameters
    ----------
    place
        The folder; a relative one is below the project root.
    serializer
        How values are written; a class is as good as an instance. None: by the target's ending. A
        dict names the serializers of a task with several outputs.
    when_stale
        What happens to a file whose recipe is another one by now: ``"recompute"`` makes it again,
        ``"warn"`` keeps it and says so, ``"keep"`` is the plain rule that the file exists.
    when_edited
        What happens to a file that was corrected by hand: ``"keep"`` uses it, ``"replace"`` moves
        it aside and makes it again.
    when_unknown
        What happens to files at the targets of a place without any journal: ``"stop"`` ends the run
        before its first item, ``"accept"`` uses them, ``"replace"`` moves them aside.
    from_path
        Whether the task returns the path of a file or folder that it wrote, to be moved here.

    Raises
    ------
    SerializerError
        If `serializer` is none.
    StorageError
        If a ``when_…=`` says something that does not exist.

    Examples
    --------
    >>> LocalResult("normalized_cells").place
    'normalized_cells'
    """

    place: str | os.PathLike[str]
    serializer: Serializer | type[Serializer] | Mapping[str, Any] | None = None
    when_stale: Literal["recompute", "warn", "keep"] = "recompute"
    when_edited: Literal["keep", "replace"] = "keep"
    when_unknown: Literal["stop", "accept", "replace"] = "stop"
    from_path: bool = False

    def __post_init__(self) -> None:
        given: Any = self.serializer
        for kind in given.values() if isinstance(given, Mapping) else (given,):
            if not (
                kind is None
                or isinstance(kind, Serializer)
                or (isinstance(kind, type) and issubclass(kind, Serializer))
            ):
                raise SerializerError(
                    f"serializer={kind!r}: a Serializer was expected, such as "
                    "ArrayToOmeTiff(dim_order='CZYX') or ArrayToDefaultWriter()."
                )
        check_rules(self)

    def bind(
        self,
        project: Project,
        code_of: Callable[[type], str],
        endings: Mapping[str, str] | None = None,
    ) -> Place:
        """Return the place that the result is in a project.

        Parameters
        ----------
        code_of
            Gives the code fingerprint of a serializer of the user's own.
        endings
            How the files of each of several outputs end; one serializer for all is used for those
            that it writes, the others are written by their endings.
        """
        given = self.serializer
        if endings:
            format: Format = SeveralFiles(self._parts(code_of, endings))
        elif isinstance(given, Mapping):
            raise SerializerError(
                f"serializer= names {', '.join(given)}, but the task has one output: "
                "give it a target= with these keys, or one serializer."
            )
        else:
            format = self._one(code_of, given)
        folder = project.resolve(self.place)
        return Place(folder, find("storage", "local")(folder), format, rules_of(self), project.root)

    def _parts(
        self, code_of: Callable[[type], str], endings: Mapping[str, str]
    ) -> dict[str, OneFile]:
        given = self.serializer
        if isinstance(given, Mapping):
            unknown = [name for name in given if name not in endings]
            if unknown:
                raise SerializerError(
                    f"serializer= names {', '.join(unknown)}, which target= does not; its outputs "
                    f"are {', '.join(endings)}."
                )
        parts: dict[str, OneFile] = {}
        for name, ending in endings.items():
            one = given.get(name) if isinstance(given, Mapping) else given
            fits = one is None or not ending or ending.endswith(tuple(one.suffixes))
            parts[name] = self._one(code_of, one if fits or isinstance(given, Mapping) else None)
        return parts

    def _one(self, code_of: Callable[[type], str], serializer: Any) -> OneFile:
        if serializer is None:
            from databacked.serializers.default.by_ending import ArrayToDefaultWriter

            serializer = ArrayToDefaultWriter()
        elif isinstance(serializer, type):
            serializer = serializer()
        if self.from_path:
            from databacked.serializers.as_written import AsWritten

            serializer = AsWritten(serializer)
        own = None if serializer.format is not None else code_of(type(serializer))
        says: dict[str, Any] = {
            "name": type(serializer).__name__,
            "format": serializer.format if own is None else own,
            "settings": serializer.settings(),
        }
        return OneFile(serializer, says)


# ---------------------------------------------------------------- datasets


@dataclass(frozen=True)
class LocalDatasetResult:
    """Keep a task's table as a working dataset: manifest, readme and provenance.

    The task returns a DataFrame; backed arrays in it become file paths, and the files stay where
    they are. Rows of failed items are left out and listed. The task's value is a `Dataset`.

    Parameters
    ----------
    name
        ``owner/project/dataset`` or ``owner/name``.
    readme
        A Markdown file, relative to the project root.
    filepath_columns
        Columns that name files; the default: those that hold backed arrays or paths.
    metadata_columns
        Columns that come along as they are; the default: all others.
    optional_columns
        Filepath columns in which a cell may be None.
    extra_files
        Further files, relative to the project root.
    usage
        How to use it, as Markdown or a file.
    license
        Under which terms it may be used, as Markdown or a file.
    descriptions
        What a column means, by its name.
    units
        In which unit a column is, by its name, for example ``{"area": "µm²"}``.
    place
        Folder of the project's datasets; each lies in a folder of its own name below it.
    when_stale, when_edited, when_unknown
        As `LocalResult` has them, for the files of the dataset itself.

    Raises
    ------
    StorageError
        If a ``when_…=`` says something that does not exist.

    Examples
    --------
    >>> LocalDatasetResult("aics/my-project/cells", readme="README_cells.md").target
    'manifest.csv'
    """

    name: str
    readme: str | os.PathLike[str]
    filepath_columns: Sequence[str] | None = None
    metadata_columns: Sequence[str] | None = None
    optional_columns: Sequence[str] = ()
    extra_files: Sequence[str | os.PathLike[str]] = ()
    usage: str | None = None
    license: str | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    place: str | os.PathLike[str] = "datasets"
    when_stale: Literal["recompute", "warn", "keep"] = "recompute"
    when_edited: Literal["keep", "replace"] = "replace"
    when_unknown: Literal["stop", "accept", "replace"] = "replace"

    target = "manifest.csv"
    """Its record is that of the manifest, which is written last."""

    marks = True
    """Failed items arrive as `Failed` marks, so that their rows can be listed."""

    def __post_init__(self) -> None:
        check_rules(self)

    def bind(
        self,
        project: Project,
        code_of: Callable[[type], str],
        endings: Mapping[str, str] | None = None,
    ) -> Place:
        """Return the place that the dataset is in a project.

        Raises
        ------
        DatasetError
            If name, readme, columns or extra files cannot be used; every problem at once.
        """
        from databacked.datasets.format import DatasetFormat, ManifestFormat
        from databacked.datasets.layout import FORMAT
        from databacked.datasets.settings import check_settings
        from databacked.datasets.write import fingerprint_of

        settings = self._settings()
        check_settings(**settings, root=project.root)
        says = {
            "name": type(self).__name__,
            "format": FORMAT,
            "settings": fingerprint_of(**settings, root=project.root),
        }
        folder = project.resolve(self.place).joinpath(*self.name.split("/"))
        format = DatasetFormat(OneFile(ManifestFormat(), says), settings)
        return Place(folder, find("storage", "local")(folder), format, rules_of(self), project.root)

    def validate(self, table: Any, *, root: str | os.PathLike[str] | None = None) -> list[str]:
        """Return everything that is wrong with settings and table, without writing anything.

        Parameters
        ----------
        table
            What the task would return.
        root
            The project's root; found from the file that calls this unless given.

        Returns
        -------
        One text a problem, with row labels and positions; empty if a dataset can be made of it.
        """
        from databacked.datasets.write import problems_of

        caller = sys._getframe(1).f_code
        project = project_of_code(caller) if root is None else project_at(Path(root))
        return problems_of(table, root=project.root, **self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name != "place" and not one.name.startswith("when_")
        }
