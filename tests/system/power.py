"""Power cuts: a folder as it was when the current went away.

The journal is what tests/power/shim.c wrote. A cut at a place in it leaves what was synced
before: of a file its bytes as of its last fsync, of a folder its entries as of its last
fsync, and of both whatever a syncfs covered. Of what was not synced a file system may keep
any part, in any order: `keep` decides, write by write and entry by entry.
"""
import os
import pathlib
import struct

HEADER = struct.Struct("=IIIIQQ")
(CREATED, WROTE, CUT, SYNCED, SYNCED_FOLDER, SYNCED_ALL, RENAMED, LINKED, REMOVED,
 MADE_FOLDER) = range(10)


def records(journal, end):
    """The records that are whole before `end`."""
    data = memoryview(pathlib.Path(journal).read_bytes())[:end]
    at = 0
    while at + HEADER.size <= len(data):
        kind, first, second, _, inode, offset = HEADER.unpack_from(data, at)
        at += HEADER.size
        if at + first + second > len(data):
            return
        yield kind, inode, offset, bytes(data[at:at + first]), bytes(data[at + first:
                                                                          at + first + second])
        at += first + second


class File:
    def __init__(self):
        self.durable, self.pending = bytearray(), []

    def apply(self, change):
        offset, data = change
        if data is None:
            self.durable = self.durable[:offset].ljust(offset, b"\0")
            return
        if len(self.durable) < offset:
            self.durable = self.durable.ljust(offset, b"\0")
        self.durable[offset:offset + len(data)] = data

    def sync(self):
        for change in self.pending:
            self.apply(change)
        self.pending = []


class Disk:
    """What is durable, and what is not yet."""

    def __init__(self):
        self.files = {}      # inode -> File
        self.entries = {}    # path -> File, or None for a folder: durable ones
        self.now = {}        # path -> File: as the process sees it
        self.pending = {}    # folder -> [(path, File or None, whether it is there)]

    def enter(self, path, what, there=True):
        self.pending.setdefault(os.path.dirname(path), []).append((path, what, there))
        if there:
            self.now[path] = what
        else:
            self.now.pop(path, None)

    def sync_folder(self, folder):
        for path, what, there in self.pending.pop(folder, []):
            self.set(path, what, there)

    def set(self, path, what, there):
        if there:
            self.entries[path] = what
        else:
            self.entries.pop(path, None)

    def replay(self, kind, inode, offset, first, second):
        path, other = first.decode(errors="replace"), second
        if kind == CREATED:
            self.files[inode] = File()
            self.enter(path, self.files[inode])
        elif kind in (WROTE, CUT):
            file = self.files.setdefault(inode, File())
            file.pending.append((offset, other if kind == WROTE else None))
        elif kind == SYNCED:
            self.files.setdefault(inode, File()).sync()
        elif kind == SYNCED_FOLDER:
            self.sync_folder(path)
        elif kind == SYNCED_ALL:
            for file in self.files.values():
                file.sync()
            for folder in list(self.pending):
                self.sync_folder(folder)
        elif kind == RENAMED:
            self.enter(other.decode(), self.now.get(path) or self.files.get(inode))
            self.enter(path, None, False)
        elif kind == LINKED:
            self.enter(other.decode(), self.now.get(path) or self.files.get(inode))
        elif kind == REMOVED:
            self.enter(path, None, False)
        elif kind == MADE_FOLDER:
            self.enter(path, None)

    def cut(self, keep):
        """The current is gone: of what was pending only what keep() says remains."""
        for folder in list(self.pending):
            for path, what, there in self.pending.pop(folder):
                if keep():
                    self.set(path, what, there)
        for file in self.files.values():
            for change in file.pending:
                if keep():
                    file.apply(change)
            file.pending = []

    def write(self, state, into):
        """Writes what is left of the folder `state` as the folder `into`."""
        into = pathlib.Path(into)
        into.mkdir(mode=0o700, parents=True)
        kept = {str(state)}
        for path, file in sorted(self.entries.items()):
            if os.path.dirname(path) not in kept:
                continue  # its folder's own entry was lost
            target = into / os.path.relpath(path, state)
            if file is None:
                target.mkdir(exist_ok=True)
                kept.add(path)
            else:
                target.write_bytes(file.durable)
                target.chmod(0o600)


def snapshot(state):
    """What a folder holds before the journal begins, taken for durable."""
    found = {}
    for folder, folders, files in os.walk(state):
        for name in folders:
            found[os.path.join(folder, name)] = None
        for name in files:
            path = os.path.join(folder, name)
            found[path] = os.stat(path).st_ino, pathlib.Path(path).read_bytes()
    return found


def rebuild(journal, state, end, into, keep=lambda: False, base=None):
    disk = Disk()
    for path, what in (base or {}).items():
        file = None
        if what:
            file = disk.files[what[0]] = File()
            file.durable = bytearray(what[1])
        disk.entries[path] = disk.now[path] = file
    for record in records(journal, end):
        disk.replay(*record)
    disk.cut(keep)
    disk.write(state, into)
