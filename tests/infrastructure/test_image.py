"""The image's file tree, made by the Dockerfile's own steps, looked through and run.

No Docker engine: each step runs in a plain folder as root (``infra/image/``), without a
network. The service then runs from that tree as the recipe's user, on a read-only root.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from infra.checks import image_tree, packages
from infra.checks.commands import ROOT
from infra.image import builder, recipe
from infra.image.builder import Built
from infra.image.room import Room
from tests.serving import Serve, Server

WHEELS: Final = ROOT / "build" / "wheels"
_HOME: Final = "/state"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The image, built from this work tree."""
    folder = tmp_path_factory.mktemp("image")
    builder.fetch(packages.LOCK, WHEELS)
    yield builder.build(recipe.read(packages.DOCKERFILE), ROOT, WHEELS, folder)
    shutil.rmtree(folder)


def room(image: Built, **options: object) -> Room:
    """Where the image runs: its own user, nothing to write but /tmp."""
    return Room(image.root, user=image.user, read_only=True, **options)  # type: ignore[arg-type]


def run(image: Built, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Its Python with these arguments, as its user, on a read-only root, without a network."""
    command = room(image).command(
        ["/opt/strongroom/bin/python", *arguments], image.environment, image.folder
    )
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_holds_what_the_lock_names_and_nothing_else_that_runs(image: Built) -> None:
    # PCI-DSS 2.2.4, 6.3.2
    assert image_tree.look(image.root, packages.of_image()) == []


def _setuid(root: Path) -> None:
    path = root / "opt/strongroom/bin/strongroom"
    path.chmod(0o4755)


def _shell(root: Path) -> None:
    shutil.copy("/bin/sh", root / "opt/strongroom/bin/sh")


def _compiler(root: Path) -> None:
    (root / "opt/cc.h").write_text("")


def _writable(root: Path) -> None:
    (root / "etc/strongroom").chmod(0o777)


def _package(root: Path) -> None:
    (site,) = (root / "opt/strongroom/lib").glob("python3.*/site-packages")
    folder = site / "pytest-9.9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest\nVersion: 9.9.9\n")


def _tests(root: Path) -> None:
    (root / "usr/lib/test").mkdir(parents=True)


def _library(root: Path) -> None:
    next(root.glob("lib/*/libssl.so.3")).unlink()


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_setuid, "no-setuid"),
        (_shell, "no-other-program"),
        (_compiler, "nothing-to-compile"),
        (_writable, "not-writable"),
        (_package, "packages-as-locked"),
        (_tests, "no-tests"),
        (_library, "libraries-are-there"),
    ],
)
def test_what_does_not_belong_there_is_found(
    image: Built, tmp_path: Path, spoil: Callable[[Path], None], rule: str
) -> None:
    copied = tmp_path / "root"
    # Hard links: half a gigabyte need not be copied. What is spoiled is a file of its own.
    shutil.copytree(image.root, copied, symlinks=True, copy_function=os.link)
    program = copied / "opt/strongroom/bin/strongroom"
    program.unlink()
    shutil.copy2(image.root / "opt/strongroom/bin/strongroom", program)
    spoil(copied)
    found = {finding.rule for finding in image_tree.look(copied, packages.of_image())}
    assert found == {rule}


def test_nothing_can_be_written_but_tmp(image: Built) -> None:
    # PCI-DSS 2.2.6
    program = """
import pathlib
for folder in ("/", "/etc", "/opt/strongroom/bin", "/etc/strongroom/policies", "/dev", "/tmp"):
    try:
        pathlib.Path(folder, "x").write_text("x")
        print(folder)
    except OSError:
        pass
"""
    assert run(image, "-c", program).stdout == "/tmp\n"


def test_it_cannot_become_root_or_start_a_shell_or_install(image: Built) -> None:
    program = """
import importlib.util, os, pathlib, subprocess
print(os.getuid(), os.getgid(), os.getgroups())
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print([line.split()[1] for line in status if line.startswith(("CapEff", "CapPrm", "NoNewPrivs"))])
try:
    os.setuid(0)
except PermissionError:
    print("no root")
for command in ("sh", "bash", "cc", "apt"):
    try:
        subprocess.run([command])
        print(command)
    except FileNotFoundError:
        pass
try:
    subprocess.run("true", shell=True)
except FileNotFoundError:
    print("no shell")
names = ("pip", "ensurepip", "setuptools", "pytest")
print([name for name in names if importlib.util.find_spec(name)])
"""
    done = run(image, "-c", program)
    user = image.user
    nothing = "0" * 16
    assert done.stdout.splitlines() == [
        f"{user} {user} []",
        f"['{nothing}', '{nothing}', '1']",
        "no root",
        "no shell",
        "[]",
    ], done.stderr


def test_it_refuses_to_start_as_it_is_made_without_settings(image: Built) -> None:
    command = room(image).command(image.program(), image.environment, image.folder)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "STRONGROOM_ENV=prod refuses" in done.stderr
    assert "set STRONGROOM_DATABASE_URL" in done.stderr


@dataclass(frozen=True, slots=True)
class Container:
    """The service of the image, with the environment that it was started with."""

    server: Server
    environment: dict[str, str]


@pytest.fixture
def container(image: Built, serve: Serve) -> Container:
    """The service of the image, on a real PostgreSQL."""
    server = serve(start=False)
    server.home.mkdir(mode=0o700)
    for name in ("checkout", "chargeback-service"):
        server.key(name)
    for path in (server.home, *server.home.rglob("*")):
        os.chown(path, image.user, image.user)
    settings = {
        name: value for name, value in server.settings().items() if name.startswith("STRONGROOM_")
    }
    environment = {
        **image.environment,
        **settings,
        "STRONGROOM_HOME": _HOME,
        "STRONGROOM_POLICY_DIR": image.environment["STRONGROOM_POLICY_DIR"],
    }
    command = room(image, network=True, volumes={_HOME: server.home}).command(
        image.program(), environment, image.folder
    )
    with server.stdout.open("wb") as stdout, server.stderr.open("wb") as stderr:
        server.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
    server.wait()
    return Container(server, environment)


def test_the_service_runs_from_it(image: Built, container: Container) -> None:
    served = container.server
    (token,) = served.caller("checkout").tokenize("pan", ["4111111111111111"])
    answer = served.caller("chargeback-service").detokenize([token], "chargeback", case="CB-1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["items"][0]["value"] == "4111111111111111"

    health = image.stage.last("HEALTHCHECK")
    assert health is not None
    command = room(image, network=True).command(health.program, container.environment)
    assert subprocess.run(command, check=False).returncode == 0

    users = {
        process.stat().st_uid
        for process in Path("/proc").glob("[0-9]*")
        if (process / "cmdline").read_bytes().startswith(b"/opt/strongroom/bin/")
    }
    assert users == {image.user}
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700
