"""Prints what is in the image, packages of Debian and of Python, as CycloneDX JSON. `collect` runs this.

usage: sbom.py VERSION amd64|arm64 FOLDER ...: folders whose files the image has
"""

import importlib.metadata
import os
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot5
from packageurl import PackageURL

SITE = "usr/lib/python3/dist-packages"


def of_debian(folder: Path) -> Iterator[Component]:
    """Debian's packages, from the fields of each."""
    for file in sorted(folder.glob("var/lib/dpkg/status.d/*")):
        fields = dict(line.split(": ", 1) for line in file.read_text().splitlines() if ": " in line and line[0] != " ")
        name, version, kind = fields["Package"], fields["Version"], {"arch": fields["Architecture"]}
        purl = PackageURL("deb", "debian", name, version, kind)
        yield Component(type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=str(purl))


def of_python(folder: Path) -> Iterator[Component]:
    """Packages of Python, from the metadata of each."""
    found = {
        each.metadata["Name"]: each.version for each in importlib.metadata.distributions(path=[str(folder / SITE)])
    }
    for name, version in sorted(found.items()):
        purl = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
        yield Component(type=ComponentType.LIBRARY, name=name, version=version, purl=purl, bom_ref=str(purl))


def main() -> None:
    """Print it."""
    version, arch, *folders = sys.argv[1:]
    components = [each for folder in map(Path, folders) for of in (of_debian, of_python) for each in of(folder)]
    bom = Bom(components=components)
    image = PackageURL("oci", None, "skvaller", version, {"arch": arch})
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER, name="skvaller", version=version, purl=image, bom_ref="image"
    )
    # The same content gives the same list.
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, " ".join(sorted(str(each.purl) for each in components)))
    bom.register_dependency(bom.metadata.component, components)
    sys.stdout.write(JsonV1Dot5(bom).output_as_string(indent=1) + "\n")


if __name__ == "__main__":
    main()
