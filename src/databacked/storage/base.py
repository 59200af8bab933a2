"""Where bytes live: what a store of any kind must offer.

task → runner → result → serializer → [storage] → record → dataset → version → remote
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from databacked.storage.looks import Stat

__all__ = ["Stat", "Storage"]


class Storage(ABC):
    """One place: bytes at names (relative, with ``/``), made visible whole or not at all.

    It knows no record, no serializer, and no item: a name is one file, or one folder.
    """

    @abstractmethod
    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        """Return what lies at the targets: one listing a folder, single look-ups for a few.

        Parameters
        ----------
        targets
            Names below the place, with ``/``.

        Returns
        -------
        Size in bytes and time by target; one that is missing, or cannot be anywhere, is left out.
        """

    @abstractmethod
    def stat(self, target: str) -> Stat | None:
        """Return what lies at one target now.

        Parameters
        ----------
        target
            Its name below the place.

        Returns
        -------
        Size in bytes and time; None if nothing is there.
        """

    @abstractmethod
    def read(self, target: str) -> bytes:
        """Return the bytes of a file at a target, or of what was moved aside.

        Parameters
        ----------
        target
            Its name below the place, or what `move_aside` returned.

        Returns
        -------
        All of its bytes.

        Raises
        ------
        OSError
            If it is missing, is a folder, or cannot be read.
        """

    @abstractmethod
    def publish(self, temporary: str, target: str, judged: Stat | None) -> bool:
        """Make a temporary file visible at `target`, if `judged` is still what lies there.

        Parameters
        ----------
        temporary
            A file or folder on the same disk, which is gone afterwards.
        target
            Its name below the place.
        judged
            What was seen there; None: nothing.

        Returns
        -------
        False if something else lies there by now; then nothing was changed.
        """

    @abstractmethod
    def move_aside(self, target: str, run: str) -> str:
        """Move what lies at `target` to ``.databacked/replaced/<run>/``.

        Nothing that was moved there before is replaced.

        Parameters
        ----------
        target
            Its name below the place.
        run
            The run's identity.

        Returns
        -------
        Where it is now.

        Raises
        ------
        StorageError
            If there is nothing, or it cannot be moved.
        """

    @abstractmethod
    def withdraw(self, target: str, judged: Stat, temporary: str) -> bool:
        """Take away what lies at `target`, if `judged` is still what lies there.

        Parameters
        ----------
        target
            Its name below the place.
        judged
            What was seen there.
        temporary
            A name for it that nobody sees, until it is sure that it is the one.

        Returns
        -------
        False if something else lies there by now; then nothing was changed.
        """

    def ignores_case(self) -> bool:
        """Say whether two names that differ only by case are one file here.

        Returns
        -------
        False unless the place says otherwise.
        """
        return False
