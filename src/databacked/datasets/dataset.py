"""Datasets: a table of files with readme, metadata and the provenance of every row.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.datasets.layout import PARTS, provenance_of
from databacked.datasets.validate import problems_on_disk
from databacked.errors import DatasetError, ResultChangedError
from databacked.fingerprint.hashes import hash_bytes
from databacked.pictures.html import sorry_html, table_html
from databacked.project.root import find_project


@dataclass(frozen=True)
class Dataset:
    """A working dataset: manifest, readme and provenance; the files stay where they are."""

    name: str
    """``owner/project/dataset`` or ``owner/name``."""

    path: Path
    """The folder."""

    filepath_columns: tuple[str, ...]
    """Columns of `table` that name files."""

    dropped: int = 0
    """Rows that were left out because their items failed; ``dropped.csv`` lists them."""

    root: Path = Path()
    """The project's root, which paths on disk are relative to."""

    written: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Hash of each of its files as it was written, by name."""

    @property
    def table(self) -> pd.DataFrame:
        """The manifest, with absolute paths in its filepath columns.

        Raises
        ------
        ResultChangedError
            If it is no longer the table that this dataset had: another run wrote it meanwhile.
        """
        data = (self.path / "manifest.parquet").read_bytes()
        expected = self.written.get("manifest.parquet")
        if expected is not None and hash_bytes(data) != expected:
            raise ResultChangedError(
                f"{self.path} was written again since this dataset was opened or made. Run the "
                "flow again, or open it with Dataset.load."
            )
        table = pd.read_parquet(io.BytesIO(data))
        for name in self.filepath_columns:
            table[name] = [
                None if path is None or path != path else str(self.root / path)
                for path in table[name]
            ]
        return table

    @property
    def readme(self) -> str:
        """The readme's text."""
        return (self.path / "README.md").read_text(encoding="utf-8")

    @property
    def provenance(self) -> dict[str, Any]:
        """Which run, task and code made it, and the record of every file."""
        return dict(json.loads((self.path / "provenance.json").read_text(encoding="utf-8")))

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> Dataset:
        """Return the working dataset in a folder.

        Parameters
        ----------
        folder
            Where it lies: what `Dataset.path` was.

        Returns
        -------
        The dataset, with the project's root as its provenance says it.

        Raises
        ------
        DatasetError
            If there is none.
        """
        path = Path(folder).absolute()
        missing = [name for name in PARTS if not (path / name).is_file()]
        if missing:
            raise DatasetError(f"{path} holds no dataset: {', '.join(missing)} is missing.")
        said = provenance_of(path)
        if isinstance(said, str):
            raise DatasetError(f"{path} holds no whole dataset: {said}.")
        # Kept with the dataset: a project that was given has no marks to find it by.
        root = said.get("root")
        return Dataset(
            said["name"],
            path,
            tuple(said["filepath_columns"]),
            int(said["dropped"]),
            Path(os.path.normpath(path / root)) if root else find_project(path).root,
            dict(said.get("written", {})),
        )

    def validate(self) -> list[str]:
        """Return what is wrong with the dataset as it lies on disk; nothing if it is whole.

        Its own files, the two manifests against each other, the files that they name (all hashes
        that are known are computed again, in parallel), the links of its readme.

        Returns
        -------
        One text a problem.
        """
        return problems_on_disk(self.path, self.root)

    def __repr__(self) -> str:
        return f"<Dataset {self.name} at {self.path}>"

    def _repr_html_(self) -> str:
        try:
            table = self.table
        except Exception as error:  # the folder is gone, or is no dataset any more
            return sorry_html(repr(self), error)
        return table_html(table, self.filepath_columns, title=self.name, note=str(self.path))
