"""Patterns of allowed images."""

import pytest

from fetchml.core.requests import images


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("anything/at:all", ["*"]),
        ("python", ["python"]),
        ("python:3.12", ["python"]),
        ("docker.io/library/python:3.12", ["python:3.*"]),
        ("index.docker.io/library/python", ["docker.io/library/*"]),
        ("docker.io/python", ["python"]),
        ("python@sha256:" + "a" * 64, ["python"]),
        ("acme/train:1", ["acme/*"]),
        ("acme/train:1", ["docker.io/acme/*"]),
        ("ghcr.io/acme/train/gpu:2", ["ghcr.io/acme/*"]),
        ("localhost:5000/a", ["localhost:5000/a"]),
        ("sha256:" + "a" * 64, ["sha256:*"]),
        ("0123abcd", ["sha256:0123abcd*"]),
        ("box", ["a", "*/box"]),
        ("oras://ghcr.io/acme/train:1", ["oras://ghcr.io/acme/*"]),
        ("/shared/images/a.sif", ["/shared/images/*"]),
        ("/shared/images/cuda/12.sqsh", ["*", "/shared/images/*"]),
    ],
)
def test_image_is_allowed(image: str, allowed: list[str]) -> None:
    assert images.fault(image, allowed) is None


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("python", []),
        ("evil/python", ["python"]),
        ("python:3.13", ["python:3.12"]),
        ("python-evil", ["python"]),
        ("ghcr.io/library/python", ["python"]),
        ("ghcr.io.evil.org/acme/train", ["ghcr.io/*"]),
        # The engine ignores the tag of a name with a digest.
        ("python:3.12@sha256:" + "a" * 64, ["python:3.12", "python:3.*"]),
        # An image's id, or the beginning of one, names any image on the machine.
        ("abc", ["docker.io/library/*"]),
        ("a" * 64, ["docker.io/*"]),
        ("sha256:" + "a" * 64, ["docker.io/*"]),
        # The end of a path allows nothing, nor does a pattern of names.
        ("/shared/attempts/x/evil.sif", ["*"]),
        ("/shared/attempts/x/evil.sif", ["*.sif", "*/evil.sif", "shared/*"]),
        ("/shared/attempts/x/evil.sif", ["/shared/images/*"]),
        ("/shared/attempts/x/evil.sqsh", []),
        # Parts that lead elsewhere.
        ("/shared/images/../attempts/x/evil.sqsh", ["/shared/images/*"]),
        ("/shared/images/./../attempts/x/evil.sif", ["/*"]),
        ("/shared/images//a.sif", ["/shared/images/*"]),
        ("//shared/images/a.sif", ["/*"]),
        ("/", ["/*"]),
        ("ghcr.io/acme/../evil/train", ["ghcr.io/acme/*"]),
        ("oras://ghcr.io/acme/../evil/train", ["oras://ghcr.io/acme/*"]),
        ("acme/..", ["*"]),
    ],
)
def test_image_is_rejected(image: str, allowed: list[str]) -> None:
    fault = images.fault(image, allowed)
    assert fault is not None
    assert "allow_images" in fault
