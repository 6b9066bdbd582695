"""Eight GPUs described by CDI for a Docker engine on a machine without any, and images for them."""

from typing import Any

import docker

from examples.local_image import build_base
from testbed.gpu.stand_in import uuid

GPUS = 8
PARTS = [f"MIG-{n:08x}" for n in range(2)]
"""MIG devices of the last GPU."""
IMAGE = "python:1"
GREEDY = "greedy:1"
"""An image that asks for all GPUs, as many do."""


def specification() -> dict[str, Any]:
    """Each GPU by UUID and by index, as nvidia-ctk describes them; each leaves two marks."""
    cards = [(name, n) for n in range(GPUS) for name in (uuid(n), str(n))]
    cards += [(part, GPUS - 1) for part in PARTS]
    edits: dict[str, dict[str, Any]] = {
        name: {
            "deviceNodes": [{"path": f"/dev/nvidia{n}", "hostPath": "/dev/null"}],
            "env": [f"GIVEN_{name.replace('-', '_')}=1"],
        }
        for name, n in cards
    }
    devices = [{"name": name, "containerEdits": edit} for name, edit in edits.items()]
    nodes = [edits[str(n)]["deviceNodes"][0] for n in range(GPUS)]
    devices.append({"name": "all", "containerEdits": {"deviceNodes": nodes}})
    return {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}


def add_images(client: docker.DockerClient) -> None:
    build_base(client, IMAGE)
    container = client.containers.create(IMAGE)
    container.commit("greedy", "1", changes="ENV NVIDIA_VISIBLE_DEVICES=all")
    container.remove()
