"""Log a file of 1 GB as an artifact, and read it back; prints whether it is the same."""

import hashlib
import json
import tempfile
from pathlib import Path

import mlflow

MEGABYTES = 1_000


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "large.bin")
    with file.open("wb") as opened:
        for number in range(MEGABYTES):
            opened.write(number.to_bytes(8) * 125_000)
    with mlflow.start_run() as run:
        mlflow.log_artifact(file)
    before = digest(file)
    file.unlink()
    read = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="large.bin", dst_path=folder
    )
    print(json.dumps({"same": digest(Path(read)) == before}))
