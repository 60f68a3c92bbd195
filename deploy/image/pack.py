#!/usr/bin/env python3
"""Packs a folder into an OCI image (an archive of an OCI image layout) that depends on nothing but its input.

The same files give the same digest, whoever packs them, when and where: files are sorted, belong to root, have the
time of the commit and one of two modes. The layer is compressed by GNU gzip, whose output is the same in all versions.
"""

import argparse
import datetime
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# Numbers, so that Kubernetes can check runAsNonRoot, and the image needs no /etc/passwd.
USER = "65532:65532"


def entry(name, kind, mode, epoch):
    """A tar entry without anything that depends on the machine."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, epoch
    return info


def layer(root, epoch):
    """The files of a folder as an uncompressed tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                info = entry(name, tarfile.SYMTYPE, 0o777, epoch)
                info.linkname = os.readlink(path)
                archive.addfile(info)
            elif path.is_dir():
                archive.addfile(entry(name, tarfile.DIRTYPE, 0o755, epoch))
            elif path.is_file():
                # Only "executable" is taken over: neither the umask nor setuid gets into the image.
                info = entry(name, tarfile.REGTYPE, 0o755 if path.stat().st_mode & 0o100 else 0o644, epoch)
                info.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(info, content)
            else:
                sys.exit(f"pack: {name} is neither a file, a folder nor a symbolic link")
    return out.getvalue()


def document(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """The content of an OCI image layout."""

    def __init__(self):
        self.blobs = {}

    def add(self, media_type, content):
        """Adds a blob and returns its descriptor."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.blobs[sha256] = content
        return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": len(content)}

    def write(self, path, index):
        """Writes the archive. A rename: a file of this name is always complete."""
        files = {"index.json": document(index), "oci-layout": document({"imageLayoutVersion": "1.0.0"})}
        files |= {f"blobs/sha256/{sha256}": content for sha256, content in self.blobs.items()}
        part = path.with_name(path.name + ".part")
        with tarfile.open(part, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for folder in ("blobs", "blobs/sha256"):
                archive.addfile(entry(folder, tarfile.DIRTYPE, 0o755, 0))
            for name in sorted(files):
                info = entry(name, tarfile.REGTYPE, 0o644, 0)
                info.size = len(files[name])
                archive.addfile(info, io.BytesIO(files[name]))
        part.replace(path)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--root", required=True, type=pathlib.Path, help="the folder to pack")
    arguments.add_argument("--output", required=True, type=pathlib.Path, help="the archive to write")
    arguments.add_argument("--reference", required=True, help="name and tag, for an import without a registry")
    arguments.add_argument("--architecture", required=True, help="amd64 or arm64")
    arguments.add_argument("--epoch", required=True, type=int, help="time of all files, in seconds since 1970")
    arguments.add_argument("--entrypoint", required=True, help="path of the program in the image")
    arguments.add_argument("--label", action="append", default=[], help="NAME=VALUE (may be repeated)")
    arguments.add_argument("--limit", type=int, help="largest compressed size in bytes")
    given = arguments.parse_args()
    labels = dict(label.split("=", 1) for label in given.label)
    created = datetime.datetime.fromtimestamp(given.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels["org.opencontainers.image.created"] = created

    layout = Layout()
    files = layer(given.root, given.epoch)
    compressed = subprocess.run(["gzip", "-9", "--no-name"], input=files, stdout=subprocess.PIPE, check=True).stdout
    config = {
        "architecture": given.architecture,
        "os": "linux",
        "created": created,
        "config": {
            "User": USER,
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": [given.entrypoint],
            "WorkingDir": "/",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files).hexdigest()}"]},
        "history": [{"created": created, "created_by": "deploy/image/pack.py"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(CONFIG, document(config)),
        "layers": [layout.add(LAYER, compressed)],
        "annotations": labels,
    }
    size = sum(len(blob) for blob in layout.blobs.values())
    if given.limit and size > given.limit:
        sys.exit(f"pack: the image has {size} bytes, more than the limit of {given.limit}")
    image = layout.add(MANIFEST, document(manifest))
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            image
            | {
                "platform": {"architecture": given.architecture, "os": "linux"},
                # The first is for containerd, the second for skopeo and podman.
                "annotations": {
                    "io.containerd.image.name": given.reference,
                    "org.opencontainers.image.ref.name": given.reference.rpartition(":")[2],
                },
            }
        ],
    }
    layout.write(given.output, index)
    print(f"reference  {given.reference}")
    print(f"digest     {image['digest']}")
    print(f"size       {size / 1e6:.1f} MB compressed, {len(files) / 1e6:.1f} MB unpacked")
    print(f"archive    {given.output}")


if __name__ == "__main__":
    main()
