"""Who runs: what each contestant is called, what it needs and how its server is started."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

BENCH = Path(__file__).parent
ROOT = BENCH.parent.parent
SERVERS = ("uvicorn", "granian")
NPM_PACKAGES = {"better-sse": "0.16.1", "eventsource-parser": "4.1.3"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """An implementation to measure; `target` is a module of `apps` or a script of `node`."""

    name: str
    label: str
    target: str
    modules: tuple[str, ...] = ()
    distribution: str = ""
    npm: str = ""
    on_node: bool = False

    def missing(self) -> str | None:
        """Say which part is missing, or None."""
        if self.on_node:
            return missing_on_node(self.npm)
        absent = [module for module in self.modules if not importable(module)]
        return f"Python module {absent[0]} is not installed" if absent else None

    def version(self) -> str:
        """Return the version of the package that is measured."""
        if self.npm:
            return NPM_PACKAGES[self.npm]
        return installed_version(self.distribution)


CONTESTANTS = (
    Contestant("raw", "raw loop", "raw"),
    Contestant("sse_asgi", "sse_asgi", "ours", ("sse_asgi.app",)),
    Contestant("starlette", "Starlette StreamingResponse", "starlette_streaming",
               ("starlette",), "starlette"),
    Contestant("middleware", "the same + EventStreamMiddleware", "middleware",
               ("starlette", "sse_asgi.middleware")),
    Contestant("sse-starlette", "sse-starlette", "sse_starlette",
               ("sse_starlette",), "sse-starlette"),
    Contestant("fastapi", "FastAPI SSE", "fastapi_sse", ("fastapi.sse",), "fastapi"),
    Contestant("litestar", "Litestar SSE", "litestar_sse", ("litestar",), "litestar"),
    Contestant("node", "Node res.write", "raw.mjs", on_node=True),
    Contestant("better-sse", "better-sse on Node", "better_sse.mjs", npm="better-sse",
               on_node=True),
)  # fmt: skip


def importable(module: str) -> bool:
    """Tell whether `module` can be found, without running more than its parent packages."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def installed_version(distribution: str) -> str:
    """Return the installed version of `distribution`, or an empty string."""
    try:
        return version(distribution) if distribution else ""
    except PackageNotFoundError:
        return ""


def missing_on_node(package: str) -> str | None:
    """Say what keeps a Node contestant from running, or None."""
    if not shutil.which("node"):
        return "node is not on the PATH"
    if package and node_modules() is None:
        return f"npm could not install {package}"
    return None


@cache
def node_modules() -> Path | None:
    """Return the folder of the npm packages, installed once into the user's cache."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache_home) / "sse_asgi-bench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="sse_asgi-bench-"))
    if not all(npm_installed(folder, name) for name in NPM_PACKAGES) and not npm_install(folder):
        return None
    return folder


def npm_installed(folder: Path, name: str) -> bool:
    manifest = folder / "node_modules" / name / "package.json"
    return manifest.exists() and f'"version": "{NPM_PACKAGES[name]}"' in manifest.read_text()


def npm_install(folder: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    packages = [f"{name}@{number}" for name, number in NPM_PACKAGES.items()]
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@cache
def node_version() -> str:
    """Return Node's version, without the v."""
    command = ["node", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip("v\n")


def server_command(contestant: Contestant, server: str, port: int) -> list[str]:
    """Return the command that serves `contestant` on `port` with one worker."""
    if contestant.on_node:
        return ["node", str(BENCH / "node" / contestant.target), str(port)]
    app = f"tests.bench.apps.{contestant.target}:app"
    if server == "uvicorn":
        return uvicorn_command(app, port)
    return granian_command(app, port)


def uvicorn_command(app: str, port: int) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop",
        "--http", "httptools", "--log-level", "warning", "--no-access-log", "--backlog", "8192",
    ]  # fmt: skip


def granian_command(app: str, port: int) -> list[str]:
    return [
        sys.executable, "-m", "granian", app, "--port", str(port), "--interface", "asgi",
        "--http", "1", "--loop", "uvloop", "--workers", "1", "--no-ws", "--log-level", "warning",
        "--backlog", "8192", "--backpressure", "8192",
    ]  # fmt: skip
