"""What a process did to its files, as strace saw it: every write, rename, link and sync, in order."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,open,creat,close,dup,dup2,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,ftruncate,fallocate,msync,"
    "clone,clone3,fork,vfork"
)
COMMAND = ("strace", "-f", "-qq", "-xx", "-s", "4000000", "-e", "signal=none", "-e", f"trace={CALLS}")
BEGINNINGS = {"clone", "clone3", "fork", "vfork"}
LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$", re.DOTALL)
RESULT = re.compile(r"\) += (-?\d+)[^)]*$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Event:
    """`call` is one of open, write, sync, sync-directory, rename, rename-folder, exchange-folders, symlink,
    unlink, rmdir, mkdir, truncate, mark.

    `began` is the number of events that were complete when this one began: a sync covers only those.
    """

    call: str
    began: int
    path: str = ""
    other: str = ""
    file: int = 0
    """Number of the inode."""
    offset: int = 0
    data: bytes = b""
    at_once: bool = False
    """Written with O_DSYNC."""


class UnknownCall(Exception):
    """The trace has something that the model does not know: it would be silently lenient."""


@dataclass
class Open:
    path: str
    file: int
    position: int = 0
    at_once: bool = False
    directory: bool = False


class Trace:
    """Reads the output of strace. Only files below `root` count, and `marks`, where the workload speaks."""

    def __init__(self, root: Path, marks: Path) -> None:
        self._root = str(root)
        self._marks = str(marks)
        self._begun_by: dict[str, str] = {}
        """Thread -> the one that began it, in the same process."""
        self._of_processes: dict[str, dict[int, Open]] = {}
        self._descriptors: dict[int, Open] = {}
        """Of the process that makes the call."""
        self._files: dict[str, int] = {}
        self._count = 0
        self.events: list[Event] = []

    def read(self, output: Path) -> list[Event]:
        # First of all, since a thread may be seen before the call that began it has returned.
        for call, arguments, result, _, thread in complete_calls(output, lambda: 0):
            if call in BEGINNINGS and "CLONE_THREAD" in arguments:
                self._begun_by[str(result)] = thread
        for call, arguments, result, began, thread in complete_calls(output, lambda: len(self.events)):
            if result >= 0 and call not in BEGINNINGS:
                # A new process closes what it inherits, or leaves it alone: what it uses it opens by itself.
                self._descriptors = self._of_processes.setdefault(self._process_of(thread), {})
                self._add(call, arguments, result, began)
        return self.events

    def _process_of(self, thread: str) -> str:
        """By its first thread."""
        while thread in self._begun_by:
            thread = self._begun_by[thread]
        return thread

    def _add(self, call: str, arguments: str, result: int, began: int) -> None:
        match call:
            case "openat" | "open" | "creat":
                self._open(arguments, result, began)
            case "close":
                self._descriptors.pop(first_number(arguments), None)
            case "lseek":
                if opened := self._of(arguments):
                    opened.position = result
            case "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2":
                self._write(call, arguments, result, began)
            case "fsync" | "fdatasync":
                if opened := self._of(arguments):
                    call = "sync-directory" if opened.directory else "sync"
                    self.events.append(Event(call, began, opened.path, file=opened.file))
            case "ftruncate":
                if opened := self._of(arguments):
                    size = int(arguments.rsplit(",", 1)[1])
                    self.events.append(Event("truncate", began, opened.path, file=opened.file, offset=size))
            case "fallocate":
                if opened := self._of(arguments):
                    _, mode, offset, size = map(int, arguments.split(","))
                    if mode:
                        raise UnknownCall(f"{call}({arguments})")
                    end = offset + size
                    self.events.append(Event("write", began, opened.path, file=opened.file, offset=end))
            case "rename" | "renameat" | "renameat2":
                old, new = texts(arguments)
                if "RENAME_EXCHANGE" in arguments:
                    self._exchange(old, new, began)
                else:
                    self._rename(old, new, began)
            case "link" | "linkat":
                old, new = texts(arguments)
                self._link(old, new, began)
            case "symlink" | "symlinkat":
                said, path = texts(arguments)
                if self._counts(path):
                    self.events.append(Event("symlink", began, path, other=said))
            case "unlink" | "unlinkat" | "rmdir":
                self._unlink(call, arguments, began)
            case "mkdir" | "mkdirat":
                if self._counts(path := texts(arguments)[0]):
                    self.events.append(Event("mkdir", began, path))
            case "fcntl":
                if "F_DUPFD" in arguments and (opened := self._of(arguments)):
                    self._descriptors[result] = opened
            case _:
                if self._of(arguments) or any(self._counts(path) for path in texts(arguments)):
                    raise UnknownCall(f"{call}({arguments[:200]})")

    def _counts(self, path: str) -> bool:
        return path == self._marks or path.startswith(self._root)

    def _of(self, arguments: str) -> Open | None:
        return self._descriptors.get(first_number(arguments))

    def _open(self, arguments: str, descriptor: int, began: int) -> None:
        path = self._place(arguments)
        if not self._counts(path):
            self._descriptors.pop(descriptor, None)
            return
        directory = "O_DIRECTORY" in arguments
        file = self._files.get(path, 0)
        if not file and not directory and "O_CREAT" in arguments and path != self._marks:
            self._count += 1
            file = self._files[path] = self._count
            self.events.append(Event("open", began, path, file=file))
        if "O_TRUNC" in arguments:
            self.events.append(Event("truncate", began, path, file=file))
        self._descriptors[descriptor] = Open(path, file, 0, bool(re.search("O_D?SYNC", arguments)), directory)

    def _write(self, call: str, arguments: str, written: int, began: int) -> None:
        if (opened := self._of(arguments)) is None:
            return
        data = b"".join(bytes_of(part) for part in TEXT.findall(arguments))[:written]
        if opened.path == self._marks:
            self.events.append(Event("mark", began, data=data))
            return
        if call in ("write", "writev"):
            offset, opened.position = opened.position, opened.position + written
        else:
            offset = int(arguments.rsplit(",", 1)[1])
        self.events.append(
            Event(
                "write",
                began,
                opened.path,
                file=opened.file,
                offset=offset,
                data=data,
                at_once=opened.at_once,
            )
        )

    def _place(self, arguments: str) -> str:
        """A path may begin at a folder that is open."""
        path, folder = texts(arguments)[0], self._of(arguments)
        return path if folder is None or path.startswith("/") else f"{folder.path}/{path}"

    def _rename(self, old: str, new: str, began: int) -> None:
        if not (self._counts(old) or self._counts(new)):
            return
        if old in self._files:
            self._files[new] = self._files.pop(old)
            self.events.append(Event("rename", began, new, other=old, file=self._files[new]))
            return
        for path in [path for path in self._files if path.startswith(f"{old}/")]:
            self._files[new + path.removeprefix(old)] = self._files.pop(path)
        self.events.append(Event("rename-folder", began, new, other=old))

    def _exchange(self, one: str, other: str, began: int) -> None:
        """Of two folders."""
        if self._counts(one):
            self._files = {exchanged(path, one, other): file for path, file in self._files.items()}
            self.events.append(Event("exchange-folders", began, other, other=one))

    def _link(self, old: str, new: str, began: int) -> None:
        """One more name, as that of a new file is one."""
        if self._counts(new):
            self._files[new] = self._files[old]
            self.events.append(Event("open", began, new, file=self._files[new]))

    def _unlink(self, call: str, arguments: str, began: int) -> None:
        if self._counts(path := self._place(arguments)):
            removes_directory = call == "rmdir" or "AT_REMOVEDIR" in arguments
            self._files.pop(path, None)
            self.events.append(Event("rmdir" if removes_directory else "unlink", began, path))


def complete_calls(output: Path, now: object) -> Iterator[tuple[str, str, int, int, str]]:
    """Name, arguments, result of each call when it is complete, how many events there were when it began, and which
    thread made it."""
    assert callable(now)
    unfinished: dict[str, tuple[str, str, int]] = {}
    with output.open(encoding="ascii", errors="surrogateescape") as lines:
        for line in lines:
            if (match := LINE.match(line.rstrip("\n"))) is None:
                continue
            thread, _resumed, rest, call, arguments = match.groups()
            if call is None:
                call, arguments, began = unfinished.pop(thread, ("", "", 0))
                arguments += rest
            elif call == "close":
                # At its beginning: the kernel may give the number to another thread before the call is over.
                yield call, arguments, 0, now(), thread
                continue
            elif arguments.endswith("<unfinished ...>"):
                unfinished[thread] = (call, arguments.removesuffix("<unfinished ...>"), now())
                continue
            else:
                began = now()
            if result := RESULT.search(arguments):
                yield call, arguments[: result.start()], int(result[1]), began, thread


def exchanged(path: str, one: str, other: str) -> str:
    """Where something lies once the folders `one` and `other` have changed places."""
    for before, after in ((one, other), (other, one)):
        if path == before or path.startswith(f"{before}/"):
            return after + path.removeprefix(before)
    return path


def first_number(arguments: str) -> int:
    found = re.match(r"\s*(\d+)", arguments)
    return int(found[1]) if found else -1


def texts(arguments: str) -> list[str]:
    return [bytes_of(each).decode(errors="surrogateescape") for each in TEXT.findall(arguments)]


def bytes_of(escaped: str) -> bytes:
    return codecs.decode(escaped.replace("\\x", ""), "hex")
