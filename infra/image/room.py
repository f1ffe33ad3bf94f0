"""Runs a program in a folder as if it were the root: namespaces, bind mounts, chroot.

By unshare(1), setpriv(1) and mount(8) of util-linux, as root: an unprivileged user cannot
become another one. Nothing that is mounted is seen outside, and all of it is gone with the
program.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PROGRAMS: Final = ("env", "mount", "setpriv", "sh", "unshare")
_DEVICES: Final = ("null", "zero", "random", "urandom")
_TEMPORARY: Final = "mode=1777,size=64m,nosuid,nodev"
MOUNT_POINTS: Final = ("dev", "proc", "tmp")
"""What a container's runtime makes in a root where the image has none."""


class NoRoom(RuntimeError):
    """This machine cannot make such a root; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Room:
    """A root in a folder.

    ``shown`` are paths of this machine that are seen at places of the root, read-only, and
    ``volumes`` those that can be written. ``read_only`` makes all of the root itself so;
    ``/tmp`` is then a small one in memory. ``network``
    is this machine's, or none. ``user`` is a number, and so is its group: for another one than
    0, without capabilities and without a way to get them.
    """

    root: Path
    shown: Mapping[str, Path] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)
    read_only: bool = False
    network: bool = False
    user: int = 0

    def command(
        self, program: Sequence[str], environment: Mapping[str, str], folder: str = "/"
    ) -> list[str]:
        """The command that runs ``program`` in the room, with that environment alone.

        Raises :class:`NoRoom` where this machine cannot.
        """
        missing = [name for name in _PROGRAMS if shutil.which(name) is None]
        if os.geteuid() != 0 or missing:
            raise NoRoom(
                "a root of its own for a program needs root, Linux, and util-linux:"
                f" {', '.join(missing) or 'run this as root'}"
            )
        self._make_places()
        confined = ["setpriv", "--clear-groups"]
        if self.user:
            confined += ["--no-new-privs", "--inh-caps=-all"]
            confined += ["--bounding-set=-all,+sys_chroot,+setuid,+setgid"]
        inside = [
            *(shutil.which("env") or "env", "--ignore-environment"),
            *(f"{name}={value}" for name, value in environment.items()),
            *(shutil.which("unshare") or "unshare", f"--root={self.root}", f"--wd={folder}"),
            *(f"--setgid={self.user}", f"--setuid={self.user}", *program),
        ]
        script = [*self._mounts(), ["exec", *confined, *inside]]
        spaces = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        return [
            *("unshare", *spaces, *([] if self.network else ["--net"])),
            *("sh", "-c", " && ".join(map(shlex.join, script))),
        ]

    def _make_places(self) -> None:
        for name in MOUNT_POINTS:
            (self.root / name).mkdir(exist_ok=True)
        for place, path in {**self.shown, **self.volumes}.items():
            below = self.root / place.lstrip("/")
            below.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                below.mkdir(exist_ok=True)
            else:
                below.touch()

    def _mounts(self) -> Iterator[list[str]]:
        root = str(self.root)
        yield ["mount", "--bind", root, root]
        for place, path in self.shown.items():
            below = f"{root}/{place.lstrip('/')}"
            yield ["mount", "--bind", str(path), below]
            yield ["mount", "-o", "remount,bind,ro", below]
        for place, path in self.volumes.items():
            yield ["mount", "--bind", str(path), f"{root}/{place.lstrip('/')}"]
        yield ["mount", "-t", "proc", "proc", f"{root}/proc"]
        yield ["mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "tmpfs", f"{root}/dev"]
        for name in _DEVICES:
            yield ["touch", f"{root}/dev/{name}"]
            yield ["mount", "--bind", f"/dev/{name}", f"{root}/dev/{name}"]
        yield ["mkdir", "-m", "1777", f"{root}/dev/shm"]
        if self.read_only:
            yield ["mount", "-t", "tmpfs", "-o", _TEMPORARY, "tmpfs", f"{root}/tmp"]
            yield ["mount", "-o", "remount,bind,ro", root]
