"""Makes the tree of Python code that is installed: ``vendor.py WHEELS TREE LICENSES SBOM [NAME...]``.

No network, no pip. With names, of the requirements only these are taken.

Every wheel must be one of requirements/run.txt, by its hash. What no node needs is left out: machine code, where the
package does without it by itself, and AWS services that we do not call. So one tree serves 3.11 to 3.14 on any machine.
"""

from __future__ import annotations

import email
import hashlib
import json
import os
import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

from pins import Pin, packaged

SOURCE = Path(__file__).parents[1] / "sidecar" / "chef_failover"
AWS_SERVICES = {"s3", "secretsmanager", "ssm", "sts"}
"""The last one for credentials by an assumed role. Models that botocore does not have come with our own code."""
UNUSED = (
    "markupsafe/_speedups*",  # without it, MarkupSafe takes its _native.py
    "yaml/_yaml*",  # the bindings to libyaml, which PyYAML has as an option; we use the loader written in Python
    "boto3/data",  # resources; we use clients
    "boto3/examples",
    "botocore/data/*/*/examples-1.json",
    "**/tests",
    "**/*.pyi",
    "**/*.c",
    "*.data",
    "*.dist-info/RECORD",
    "*.dist-info/WHEEL",
)
LICENSE_NAMES = ("licenses/*", "LICEN[CS]E*", "NOTICE*", "COPYING*")
SPDX = {
    "Apache License 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",  # python-dateutil
    "MIT License": "MIT",
    "ZPL 2.1": "ZPL-2.1",
}
"""What metadata without an SPDX expression calls them."""


def main() -> None:
    """Build the tree, and end with code 1 and a sentence if it cannot be right."""
    wheels, tree, licenses, sbom = map(Path, sys.argv[1:5])
    pins = [pin for pin in packaged().values() if pin.name in sys.argv[5:] or not sys.argv[5:]]
    try:
        found = _verified(wheels, pins)
        for wheel in found.values():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(tree)
        shutil.copytree(SOURCE, tree / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__"))
        _prune(tree)
        _refuse_machine_code(tree)
        components = [_component(tree, licenses, pin, found[pin.name]) for pin in pins]
        sbom.parent.mkdir(parents=True, exist_ok=True)
        sbom.write_text(json.dumps(_sbom(components), indent=1) + "\n")
    except (OSError, ValueError) as error:
        sys.exit(f"vendor.py: {error}")


def _verified(wheels: Path, pins: Iterable[Pin]) -> dict[str, Path]:
    """The wheel of each pin."""
    by_hash = {hashlib.sha256(wheel.read_bytes()).hexdigest(): wheel for wheel in sorted(wheels.glob("*.whl"))}
    found = {}
    for pin in pins:
        matching = [wheel for digest, wheel in by_hash.items() if digest in pin.hashes]
        if len(matching) != 1:
            raise ValueError(f"{len(matching)} wheels in {wheels} are {pin.name}=={pin.version}: run make wheelhouse")
        found[pin.name] = matching[0]
    return found


def _prune(tree: Path) -> None:
    data = tree / "botocore" / "data"
    unwanted = [path for pattern in UNUSED for path in tree.glob(pattern)]
    for service in (path for path in data.glob("*") if path.is_dir()):
        versions = sorted(service.iterdir())
        unwanted += versions[:-1] if service.name in AWS_SERVICES else [service]
    for path in unwanted:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _refuse_machine_code(tree: Path) -> None:
    compiled = [str(path.relative_to(tree)) for path in tree.rglob("*.so")]
    if compiled:
        raise ValueError(f"the package is for every architecture, and these are not: {', '.join(compiled)}")


def _component(tree: Path, licenses: Path, pin: Pin, wheel: Path) -> dict[str, object]:
    """The SBOM's entry; the licence texts move to ``licenses``."""
    name = pin.name.replace("-", "_")
    (info,) = (path for path in tree.glob("*.dist-info") if path.name.lower() == f"{name}-{pin.version}.dist-info")
    texts = [path for pattern in LICENSE_NAMES for path in info.glob(pattern) if path.is_file()]
    if not texts:
        raise ValueError(f"{wheel.name} holds no licence")
    (licenses / pin.name).mkdir(parents=True)
    for text in texts:
        text.replace(licenses / pin.name / text.name)
    shutil.rmtree(info / "licenses", ignore_errors=True)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{pin.name}@{pin.version}",
        "name": pin.name,
        "version": pin.version,
        "purl": f"pkg:pypi/{pin.name}@{pin.version}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "licenses": [{"expression": _license(pin.name, email.message_from_bytes((info / "METADATA").read_bytes()))}],
    }


def _license(name: str, metadata: Message) -> str:
    """Its SPDX expression."""
    if metadata["License-Expression"]:
        return metadata["License-Expression"]
    classified = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier", []) if "License" in text]
    told = metadata["License"] or " and ".join(classified)
    expression = SPDX.get(told, told)
    if not expression or (" " in expression and told not in SPDX):
        raise ValueError(f"which licence {name} has must be told in SPDX: {told!r}")
    return expression


def _sbom(components: list[dict[str, object]]) -> dict[str, object]:
    """CycloneDX 1.6, the same bytes for the same tree: the serial number is drawn from the content."""
    version = next(line for line in (SOURCE / "__init__.py").read_text().splitlines() if "__version__" in line)
    own = {
        "type": "application",
        "bom-ref": "chef-failover",
        "name": "chef-failover",
        "version": version.split('"')[1],
        "licenses": [{"expression": "Apache-2.0"}],
    }
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    content = json.dumps([own, components])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": own},
        "components": components,
        "dependencies": [{"ref": "chef-failover", "dependsOn": [component["bom-ref"] for component in components]}],
    }


main()
