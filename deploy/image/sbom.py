#!/usr/bin/env python3
"""Writes the bill of materials of an image, in the format CycloneDX 1.5.

Cargo says which crates are linked into the program, Cargo.lock has their checksums, packages.lock has the Debian
packages. The result depends on nothing else: not on the folder, the time or the order of cargo's output.
"""

import argparse
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import urllib.parse
import uuid

SELF = pathlib.Path(__file__).resolve()
ROOT = SELF.parents[2]
# What Debian's copyright files say, as SPDX expressions.
DEBIAN_LICENSES = {
    "ca-certificates": "MPL-2.0 AND GPL-2.0-or-later",
    "libc6": "LGPL-2.1-or-later",
    "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
}
# One line of `cargo tree`: depth, name, version, folder or kind, licenses, repository, and (*) for a repeated crate.
CRATE = re.compile(r"(\d+)\|(\S+) v(\S+)(?: \([^|]*\))*\|([^|]*)\|(\S*)(?: \(\*\))?")


def crates(package, target):
    """The crates of the program: `{(name, version): (licenses, repository, {crate that it depends on})}`."""
    command = ["cargo", "tree", "--locked", "--package", package, "--target", target]
    # Without macros: they run in the compiler and are not part of the program.
    command += ["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "|{p}|{l}|{r}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = {}
    path = []  # from the program to the current crate
    for line in lines:
        match = CRATE.fullmatch(line)
        if not match:
            sys.exit(f"sbom: cargo tree printed an unexpected line: {line}")
        depth, name, version, licenses, repository = match.groups()
        crate = (name, version)
        found.setdefault(crate, (licenses, repository, set()))
        path[int(depth) :] = [crate]
        if int(depth) > 0:
            found[path[-2]][2].add(crate)
    return found


def checksums():
    """The sha256 of each crate of the registry: `{(name, version): sha256}`."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def purl(kind, name, version, qualifiers=""):
    return f"pkg:{kind}/{name}@{urllib.parse.quote(version, safe='.-_~:')}{qualifiers}"


def cargo_component(crate, licenses, repository, checksum):
    name, version = crate
    reference = purl("cargo", name, version)
    component = {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if licenses:
        # Old manifests write "MIT/Apache-2.0".
        component["licenses"] = [{"expression": " ".join(licenses.replace("/", " OR ").split())}]
    if repository:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    return component


def debian_components(architecture):
    """The Debian packages of packages.lock for one architecture."""
    lines = [line.split() for line in (SELF.parent / "packages.lock").read_text().splitlines()]
    release = next(line[2] for line in lines if line and line[0] == "debian")
    for line in lines:
        if line and line[0] in (architecture, "all"):
            of, name, version, sha256, _ = line
            reference = purl("deb/debian", name, version, f"?arch={of}&distro=debian-{release}")
            yield {
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "purl": reference,
                "hashes": [{"alg": "SHA-256", "content": sha256}],
                "licenses": [{"expression": DEBIAN_LICENSES[name]}],
            }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--package", required=True, help="the crate of the program")
    arguments.add_argument("--target", required=True, help="the target of the compiler")
    arguments.add_argument("--architecture", required=True, help="Debian's name of the architecture")
    arguments.add_argument("--epoch", required=True, type=int, help="time of the commit, in seconds since 1970")
    arguments.add_argument("--compiler", action="append", default=[], help="version of a compiler (may be repeated)")
    given = arguments.parse_args()

    found = crates(given.package, given.target)
    sums = checksums()
    program = next(crate for crate in found if crate[0] == given.package)
    components = {
        crate: cargo_component(crate, licenses, repository, sums[crate])
        for crate, (licenses, repository, _) in found.items()
    }
    components[program]["type"] = "application"
    debian = list(debian_components(given.architecture))
    dependencies = [
        {"ref": components[crate]["bom-ref"], "dependsOn": sorted(components[used]["bom-ref"] for used in uses)}
        for crate, (_, _, uses) in found.items()
    ]
    for dependency in dependencies:
        if dependency["ref"] == components[program]["bom-ref"]:
            dependency["dependsOn"] = sorted(dependency["dependsOn"] + [package["bom-ref"] for package in debian])
    dependencies += [{"ref": package["bom-ref"]} for package in debian]
    subject = components.pop(program)
    time = datetime.datetime.fromtimestamp(given.epoch, datetime.timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": subject,
            "properties": [{"name": "serverprotection.dev:compiler", "value": value} for value in given.compiler],
        },
        "components": sorted([*components.values(), *debian], key=lambda component: component["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda dependency: dependency["ref"]),
    }
    # The serial number is that of the content: the same bill has the same number.
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
