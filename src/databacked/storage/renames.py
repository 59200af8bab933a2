"""Renames: what makes a file or folder visible at once, and a second way where a disk has none.

A rename fails between two disks, and for a folder in a lower layer of an overlay (a container's):
there it is a copy, whole before what was copied goes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

_NOREPLACE, _EXCHANGE = 1, 2


_AT_FDCWD = -100


_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def _renameat2() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = [
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        ]
    return call


_call = _renameat2()


def rename_new(source: str, target: str) -> bool:
    """Rename without replacing; False if `target` exists."""
    if _call is not None:
        if _call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE) == 0:
            return True
        number = ctypes.get_errno()
        if number == errno.EEXIST:
            return False
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number), target)
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:
        # Neither call is there on this disk (FAT, some network mounts): look, then rename.
        if os.path.lexists(target):
            return False
        os.rename(source, target)
        return True
    os.unlink(source)
    return True


def exchange(one: str, other: str) -> bool:
    """Exchange two names at once; False where the system cannot."""
    if _call is None:
        return False
    if _call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), other)


def move_new(source: str, target: str) -> bool:
    """Rename without replacing, to wherever it is; False if `target` exists."""
    try:
        return rename_new(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    if os.path.lexists(target):
        return False
    copy(source, target)
    remove(source)
    return True


def replace(source: str, target: str) -> None:
    """Put a file in the place of another one at once, from whatever disk it comes."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = f"{target}.{os.getpid()}"
        copy(source, beside)
        try:
            os.replace(beside, target)
        except BaseException:
            remove(beside)
            raise
        remove(source)


def copy(source: str, target: str) -> None:
    """Copy a file, link or folder with its times to a new name; all of it, or nothing is left."""
    try:
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    except BaseException:
        remove(target)
        raise


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it: what lies on top, its metadata, first.

    What is gone already is what was wanted: several threads and runs may clear one leftover.
    """
    try:
        os.unlink(path)  # nearly always it is a file: no look before
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # systems differ in what they say of a folder
        while (mode := _mode(path)) is not None:
            if not stat.S_ISDIR(mode):
                raise
            with suppress(FileNotFoundError):  # another one removes it, too
                _remove_folder(path)


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None


def _remove_folder(path: str) -> None:
    with os.scandir(path) as entries:
        on_top = [one.path for one in entries if not one.is_dir(follow_symlinks=False)]
    for one in on_top:  # a kill in between leaves what no reader takes for whole
        os.unlink(one)
    shutil.rmtree(path)


def clear_folder(folder: str | Path) -> None:
    """Remove a folder; what is none is somebody's (and a pipe would be waited for)."""
    if os.path.isdir(folder) and not os.path.islink(folder):
        shutil.rmtree(folder, ignore_errors=True)
