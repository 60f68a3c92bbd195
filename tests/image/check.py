"""Checks the images that `make image image-emulator` built. Run it with run.sh."""

import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

HERE = pathlib.Path(__file__).resolve().parent
ROOT, IMAGES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
PRODUCT, EMULATOR = "serverprotection", "azure-emulator"
# Architecture: folder of the libraries, file of the loader, links besides lib.
SYSTEMS = {
    "amd64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2", "usr/lib64", ["lib64 -> usr/lib64"]),
    "arm64": ("aarch64-linux-gnu", "ld-linux-aarch64.so.1", "usr/lib", []),
}


class Image:
    """An image, read from an OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (descriptor,) = json.loads((folder / "index.json").read_text())["manifests"]
        self.descriptor = descriptor
        self.manifest = json.loads(self.blob(descriptor))
        self.document = json.loads(self.blob(self.manifest["config"]))
        (self.layer,) = self.manifest["layers"]

    def blob(self, descriptor):
        content = (self.folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
        assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}", descriptor
        assert descriptor["size"] == len(content), descriptor
        return content

    @functools.cached_property
    def entries(self):
        """The entries of the layer: `{name: (kind, mode, owner, link, time, sha256)}`."""
        with tempfile.TemporaryFile() as file:
            file.write(self.blob(self.layer))
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                return {info.name: self.entry(archive, info) for info in archive}

    @staticmethod
    def entry(archive, info):
        content = hashlib.sha256(archive.extractfile(info).read()).hexdigest() if info.isfile() else None
        return (info.type, info.mode & 0o7777, (info.uid, info.gid), info.linkname, info.mtime, content)

    def unpack(self, folder):
        (folder / "layer").write_bytes(self.blob(self.layer))
        with tarfile.open(folder / "layer") as archive:
            archive.extractall(folder, filter="tar")


def of_archive(program, folder):
    with tarfile.open(IMAGES / f"{program}.oci.tar") as archive:
        archive.extractall(folder, filter="data")
    return Image(folder)


class Cases(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory()
        cls.addClassCleanup(work.cleanup)
        cls.work = pathlib.Path(work.name)
        cls.images = {}
        for program in (PRODUCT, EMULATOR):
            (cls.work / program).mkdir()
            cls.images[program] = of_archive(program, cls.work / program)

    def test_it_has_exactly_the_expected_files(self):
        for program, image in self.images.items():
            with self.subTest(program):
                libraries, loader, loaders, links = SYSTEMS[image.document["architecture"]]
                expected = (HERE / "files.txt").read_text()
                for word, value in {"PROGRAM": program, "LIBRARIES": libraries, "LOADER": loader}.items():
                    expected = expected.replace(word, value)
                expected = {*expected.splitlines(), *links, f"{loaders}/{loader} -> " + os.path.relpath(
                    f"usr/lib/{libraries}/{loader}", loaders)}
                found = {
                    f"{name} -> {link}" if kind == tarfile.SYMTYPE else name
                    for name, (kind, _, _, link, _, _) in image.entries.items()
                    if kind != tarfile.DIRTYPE
                }
                self.assertEqual(found, expected)

    def test_only_the_program_and_the_libraries_can_be_executed(self):
        # The list of files has no shell either. Neither setuid nor setgid, nobody but root owns or may write anything.
        for program, image in self.images.items():
            with self.subTest(program):
                libraries, loader, _, _ = SYSTEMS[image.document["architecture"]]
                executable = set()
                for name, (kind, mode, owner, _, _, _) in image.entries.items():
                    self.assertIn(kind, (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE), name)
                    self.assertEqual(owner, (0, 0), name)
                    if kind != tarfile.SYMTYPE:
                        self.assertIn(mode, (0o644, 0o755), name)
                    if kind == tarfile.REGTYPE and mode & 0o111:
                        executable.add(name)
                folder = f"usr/lib/{libraries}"
                self.assertEqual(executable, {f"usr/bin/{program}", f"{folder}/{loader}", f"{folder}/libc.so.6"})

    def test_the_emulator_is_not_in_the_product(self):
        product = {sha256 for *_, sha256 in self.images[PRODUCT].entries.values()}
        emulator = self.images[EMULATOR].entries[f"usr/bin/{EMULATOR}"][-1]
        self.assertNotIn(emulator, product)
        self.assertNotIn("emulator", (IMAGES / f"{PRODUCT}.cdx.json").read_text())

    def test_the_configuration_is_restricted_and_labelled(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        for program, image in self.images.items():
            with self.subTest(program):
                config = dict(image.document["config"])
                labels = {
                    name.removeprefix("org.opencontainers.image."): value
                    for name, value in config.pop("Labels").items()
                }
                self.assertEqual(
                    config,
                    {
                        "User": "65532:65532",
                        "Entrypoint": [f"/usr/bin/{program}"],
                        "Env": ["PATH=/usr/bin"],
                        "WorkingDir": "/",
                    },
                )
                self.assertEqual(
                    set(labels), {"title", "description", "source", "version", "revision", "licenses", "created"}
                )
                self.assertEqual((labels["version"], labels["licenses"]), (version, "Apache-2.0"))
                self.assertEqual(labels["created"], image.document["created"])
                self.assertRegex(labels["revision"], "^[0-9a-f]{40}(-modified)?$")
                self.assertEqual(image.manifest["annotations"], image.document["config"]["Labels"])
                name = f"ghcr.io/serverprotection/{program}:{version}"
                self.assertEqual(image.descriptor["annotations"]["io.containerd.image.name"], name)
                self.assertEqual((IMAGES / f"{program}.digest").read_text().strip(), image.descriptor["digest"])

    def test_the_program_runs_with_the_files_of_the_image_only(self):
        for program, image in self.images.items():
            with self.subTest(program):
                root = self.work / f"{program}-root"
                root.mkdir()
                image.unpack(root)
                commit = image.document["config"]["Labels"]["org.opencontainers.image.revision"]
                command = ["chroot", "--userspec=65532:65532", root, f"/usr/bin/{program}", "--version"]
                done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                if program == PRODUCT:
                    self.assertIn(commit[:12], done.stdout)

    def test_the_bill_of_materials_is_valid_and_in_the_image(self):
        for program, image in self.images.items():
            with self.subTest(program):
                text = (IMAGES / f"{program}.cdx.json").read_text()
                self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(text))
                entry = image.entries[f"usr/share/sbom/{program}.cdx.json"]
                self.assertEqual(entry[-1], hashlib.sha256(text.encode()).hexdigest())
                names = {component["name"] for component in json.loads(text)["components"]}
                self.assertLessEqual({"libc6", "libgcc-s1", "ca-certificates", "tokio", "rustls"}, names)
                self.assertFalse(names & {"proptest", "serverprotection-xtask"}, "they are not part of the program")

    def test_no_path_of_the_build_is_in_the_program(self):
        # Such a path would make the digest depend on the folder.
        rust = subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip()
        cargo = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
        paths = [f"{ROOT}/crates", f"{IMAGES}/cargo", f"{cargo}/registry", f"{rust}/lib"]
        for program, image in self.images.items():
            with self.subTest(program):
                content = (IMAGES / program / "root/usr/bin" / program).read_bytes()
                self.assertEqual([path for path in paths if path.encode() in content], [])

    def test_the_dockerfile_gives_the_same_image(self):
        image = self.images[PRODUCT]
        labels = image.document["config"]["Labels"]
        store = self.work / "buildah"
        buildah = ["buildah", "--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs"]
        build = [*buildah, "build", "--quiet", "--isolation", "chroot", "--tag", "localhost/image"]
        # The time of all files.
        (time,) = {time for *_, time, _ in image.entries.values()}
        build += ["--timestamp", str(time), "--file", ROOT / "deploy/image/Dockerfile"]
        for argument in ("created", "revision", "version"):
            build += ["--build-arg", f"{argument.upper()}={labels[f'org.opencontainers.image.{argument}']}"]
        subprocess.run([*build, IMAGES / PRODUCT], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*buildah, "push", "--quiet", "localhost/image", f"oci:{store}/layout"], check=True)
        built = Image(store / "layout")
        self.assertEqual(built.entries, image.entries)
        config = built.document["config"]
        config["Labels"].pop("io.buildah.version", None)
        self.assertEqual(config, image.document["config"])
        for member in ("architecture", "os", "created"):
            self.assertEqual(built.document[member], image.document[member])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
