"""Turns root-filesystem trees into OCI images, byte for byte the same each time.

A layer is what changed between two looks at one tree. An image is written as an OCI image layout
(https://github.com/opencontainers/image-spec/blob/main/image-layout.md), one directory an image.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

TAG = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Layer:
    """A compressed layer on disk."""

    path: Path
    media_type: str
    digest: str
    size: int
    diff_id: str
    created_by: str

    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


# --- trees to tar ---------------------------------------------------------------------------------


def snapshot(root):
    """What every path of the tree looks like now."""
    return {path: _look(os.lstat(root / path)) for path in _walk(root)}


def _look(st):
    """A directory is the same while its owner and mode are; of all else the change time hides no edit."""
    owner = (st.st_mode, st.st_uid, st.st_gid)
    return owner if stat.S_ISDIR(st.st_mode) else (*owner, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


def write_changes(root, before, out, epoch):
    """Writes to the stream `out` a tar of what differs from the snapshot `before`, with whiteouts."""
    now = snapshot(root)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in _removed(before, now):
            head, tail = os.path.split(path)
            tar.addfile(tarfile.TarInfo(os.path.join(head, ".wh." + tail)))
        first_name = {}
        for path in sorted(_with_parents(p for p in now if before.get(p) != now[p])):
            _add(tar, root, path, epoch, first_name)


def _with_parents(paths):
    """A layer says what its directories are like, lest whoever unpacks it invent them."""
    found = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return found


def _walk(root):
    for here, dirs, files in os.walk(root):
        for name in dirs + files:
            yield os.path.relpath(os.path.join(here, name), root)


def _removed(before, now):
    """Paths to white out: for a removed directory only the directory itself."""
    gone = [p for p in before if p not in now]
    return sorted(p for p in gone if os.path.dirname(p) == "" or os.path.dirname(p) in now)


def _add(tar, root, path, epoch, first_name):
    full = root / path
    st = os.lstat(full)
    if stat.S_ISSOCK(st.st_mode):
        return
    info = tar.gettarinfo(full, arcname=path)
    info.uname = info.gname = ""
    # Files of packages keep their date; what this build made gets the date of the package index.
    info.mtime = min(int(st.st_mtime), epoch)
    info.type, info.linkname = _kind(info, st, path, first_name)
    info.size = st.st_size if info.type == tarfile.REGTYPE else 0
    info.pax_headers = _xattrs(full)
    if info.type == tarfile.REGTYPE:
        with open(full, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def _kind(info, st, path, first_name):
    """tarfile finds hard links by itself only within one TarFile's memory; the map makes it ours."""
    if not stat.S_ISREG(st.st_mode):
        return info.type, info.linkname
    first = first_name.setdefault((st.st_dev, st.st_ino), path)
    return (tarfile.REGTYPE, "") if first == path else (tarfile.LNKTYPE, first)


def _xattrs(full):
    """File capabilities and the like, as PAX records. Binary values travel as surrogates."""
    names = os.listxattr(full, follow_symlinks=False)
    return {
        "SCHILY.xattr." + name: os.getxattr(full, name, follow_symlinks=False).decode(
            "utf-8", "surrogateescape"
        )
        for name in sorted(names)
        if not name.startswith("security.selinux")
    }


# --- tar to layer ---------------------------------------------------------------------------------


class _Tee(io.RawIOBase):
    """Passes bytes on, counting and hashing them."""

    def __init__(self, to):
        self.to, self.sha, self.size = to, hashlib.sha256(), 0

    def writable(self):
        return True

    def write(self, data):
        self.sha.update(data)
        self.size += len(data)
        self.to.write(data)
        return len(data)

    def digest(self):
        return "sha256:" + self.sha.hexdigest()


def make_layer(path, created_by, fill):
    """Runs `fill(stream)` to write a tar and keeps it gzipped at `path`."""
    with open(path, "wb") as file:
        packed = _Tee(file)
        with gzip.GzipFile("", "wb", 6, packed, mtime=0) as zipped:
            plain = _Tee(zipped)
            fill(plain)
    return Layer(path, OCI_LAYER + "+gzip", packed.digest(), packed.size, plain.digest(), created_by)


def tar_of(members):
    """A small tar from (path, content) pairs; a path ending in / is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in members:
            info = tarfile.TarInfo(path.rstrip("/"))
            info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
            info.mode = 0o755 if path.endswith("/") else 0o644
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


def recompress(layer, path, how):
    """The same layer as `how`: 'zstd', 'plain' or 'docker' (gzip under Docker's schema 2 name)."""
    with gzip.open(layer.path) as file:
        data = file.read()
    if how == "zstd":
        kind, packed = OCI_LAYER + "+zstd", _zstd(data)
    elif how == "plain":
        kind, packed = OCI_LAYER, data
    else:
        kind, packed = DOCKER_LAYER, layer.path.read_bytes()
    path.write_bytes(packed)
    return Layer(path, kind, digest_of(packed), len(packed), layer.diff_id, layer.created_by)


def _zstd(data):
    return subprocess.run(["zstd", "-q", "-9", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- layers to image layout -----------------------------------------------------------------------


def encode(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class Layout:
    """An OCI image layout being written: blobs first, index last."""

    def __init__(self, path):
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))

    def blob_path(self, digest):
        return self.path / "blobs" / digest.replace(":", "/")

    def add(self, data, media_type):
        digest = digest_of(data)
        self.blob_path(digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def add_layer(self, layer):
        target = self.blob_path(layer.digest)
        if not target.exists():
            _link_or_copy(layer.path, target)

    def add_image(self, layers, config, architecture, created, docker=False):
        """Writes config and manifest; returns the manifest's descriptor with its platform."""
        for layer in layers:
            self.add_layer(layer)
        body = {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": created, "created_by": layer.created_by} for layer in layers],
        }
        manifest_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.add(encode(body), DOCKER_CONFIG if docker else OCI_CONFIG),
            "layers": [layer.descriptor() for layer in layers],
        }
        platform = {"architecture": architecture, "os": "linux"}
        return {**self.add(encode(manifest), manifest_type), "platform": platform}

    def add_index(self, manifests):
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return self.add(encode(index), OCI_INDEX)

    def finish(self, target, repository, tags):
        """Names `target` by each tag. Without index.json a layout is not complete."""
        entries = [
            {**target, "annotations": {TAG: tag, FULL_NAME: f"docker.io/{repository}:{tag}"}}
            for tag in tags
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        (self.path / "index.json").write_bytes(encode(index))


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def entries(layout):
    """The named manifests of a layout on disk: (repository, tag, descriptor)."""
    for entry in json.loads((layout / "index.json").read_bytes())["manifests"]:
        name = entry["annotations"][FULL_NAME].removeprefix("docker.io/")
        repository, _, tag = name.rpartition(":")
        yield repository, tag, entry


def layers_of(layout):
    """The layers of a single-platform layout on disk, to build further images upon."""
    _, _, entry = next(entries(layout))
    manifest = json.loads(_blob(layout, entry["digest"]).read_bytes())
    config = json.loads(_blob(layout, manifest["config"]["digest"]).read_bytes())
    return [
        Layer(_blob(layout, d["digest"]), d["mediaType"], d["digest"], d["size"], diff_id, h["created_by"])
        for d, diff_id, h in zip(manifest["layers"], config["rootfs"]["diff_ids"], config["history"])
    ]


def _blob(layout, digest):
    return layout / "blobs" / digest.replace(":", "/")


def archive(layout, out):
    """One tar that is an OCI layout and a docker-archive at once, for `load` of any engine."""
    names = list(entries(layout))
    manifest = json.loads(_blob(layout, names[0][2]["digest"]).read_bytes())
    in_tar = lambda digest: "blobs/" + digest.replace(":", "/")  # noqa: E731
    docker = {
        "Config": in_tar(manifest["config"]["digest"]),
        "RepoTags": [f"{repository}:{tag}".removeprefix("library/") for repository, tag, _ in names],
        "Layers": [in_tar(layer["digest"]) for layer in manifest["layers"]],
    }
    with tarfile.open(out, "w") as tar:
        data = encode([docker])
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        for path in sorted(layout.rglob("*")):
            if not path.name.startswith("."):
                tar.add(path, arcname=str(path.relative_to(layout)), recursive=False)
