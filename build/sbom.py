"""CycloneDX lists of what is in the files of a release.

`sbom.py ROOT LIBRARIES` adds to a list of Python libraries what else is in the executable: CPython,
the page's libraries, and the system's libraries that PyInstaller took in. ROOT is the Debian that
it was built in. `sbom.py page` lists the page's libraries alone, for the wheel of the server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def component(name: str, version: str, purl: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        **more,
    }


def libraries(root: Path) -> list[Path]:
    """The system's files in the executable, as paths in its root."""
    toc = next(root.glob("source/build/work/fetchml/Analysis-*.toc")).read_text()
    words = {word for word in toc.split("'") if word.startswith(("/lib/", "/usr/lib/"))}
    return sorted(Path(word) for word in words if ".so" in word)


def package_of(root: Path, file: Path) -> str:
    """Debian's package. Files may be known below / or /usr."""
    for name in (file, Path("/usr") / file.relative_to("/"), Path(str(file).removeprefix("/usr"))):
        found = subprocess.run(
            ["chroot", root, "dpkg", "-S", name], capture_output=True, text=True, check=False
        )
        if found.returncode == 0:
            return found.stdout.partition(":")[0]
    raise LookupError(f"{file} is of no package")


def version_of(root: Path, package: str) -> str:
    return subprocess.run(
        ["chroot", root, "dpkg-query", "-W", "-f=${Version}\n", package],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[0]


def page_libraries() -> list[dict[str, Any]]:
    """The page's own libraries, not the tools that build it."""
    web = Path(__file__).parents[1] / "web"
    bundled = json.loads((web / "package.json").read_text())["dependencies"]
    packages = json.loads((web / "package-lock.json").read_text())["packages"]
    waiting, names = list(bundled), set[str]()
    while waiting:
        if (name := waiting.pop()) not in names:
            names.add(name)
            waiting += packages[f"node_modules/{name}"].get("dependencies", {})
    return [
        component(name, version, f"pkg:npm/{name.replace('@', '%40')}@{version}")
        for name in sorted(names)
        for version in [packages[f"node_modules/{name}"]["version"]]
    ]


def write(bom: dict[str, Any]) -> None:
    json.dump(bom, sys.stdout, indent=2, sort_keys=True)
    print()


def main() -> None:
    if sys.argv[1:] == ["page"]:
        bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": page_libraries()}
        write(bom)
        return
    root, found = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    version = subprocess.run(
        [
            "chroot",
            root,
            "/opt/python/bin/python3",
            "-c",
            "import platform as p; print(p.python_version())",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    found["components"].append(component("cpython", version, f"pkg:generic/cpython@{version}"))
    built = (root / "opt/openssl/version").read_text().strip()
    purl = f"pkg:deb/debian/openssl@{built}?distro=bookworm&arch=source"
    found["components"].append(component("openssl", built, purl))
    for package in sorted({package_of(root, file) for file in libraries(root)}):
        version = version_of(root, package)
        purl = f"pkg:deb/debian/{package}@{version}?distro=bullseye"
        found["components"].append(component(package, version, purl))
    found["components"] += page_libraries()
    write(found)


main()
