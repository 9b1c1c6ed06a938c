"""The zip of the function for AWS Lambda: whole, small, and the same each time."""

import json
import subprocess
import sys
import zipfile

import pytest

from tests.packaging.packages import ROOT, WHEELHOUSE
from tests.support.parts import missing_part

CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])  # as Lambda does: before its runtime, which has boto3
import handler
print(json.dumps([handler.handle({"Records": [{"messageId": "1", "body": ""}]}, None), handler.__file__]))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    if not WHEELHOUSE.is_dir():
        missing_part("there is no wheelhouse (make wheelhouse)")
    path = tmp_path_factory.mktemp("lambda") / "chef-failover-retire.zip"

    def build():
        subprocess.run([sys.executable, "-B", ROOT / "packaging" / "lambda" / "build.py", WHEELHOUSE, path], check=True)
        return path

    return build


def test_the_function_runs_from_its_zip_with_nothing_but_boto3_beside(build, tmp_path):
    zipfile.ZipFile(build()).extractall(tmp_path)
    own = {path.name.partition(".")[0] for path in tmp_path.iterdir()}
    call = [sys.executable, "-I", "-c", CALL, tmp_path]
    ran = subprocess.run(
        call, capture_output=True, text=True, check=True, cwd=tmp_path, env={"CHEF_FAILOVER_TAG": "key=value"}
    )
    lines = ran.stdout.splitlines()
    assert json.loads(lines[0]) == [{"batchItemFailures": []}, str(tmp_path / "handler.py")]
    assert {"attr", "cachetools", "chef_failover", "requests", "urllib3"} <= own
    assert not own & {"boto3", "botocore", "flask", "click"}
    assert not {*json.loads(lines[1])} & {"flask", "click", "yaml", "cattrs", "waitress", "werkzeug", "jinja2"}


def test_the_zip_is_small_tells_what_is_in_it_and_is_the_same_each_time(build):
    first = build().read_bytes()
    assert len(first) < 2_000_000
    with zipfile.ZipFile(build()) as archive:
        parts = {one["name"] for one in json.loads(archive.read("sbom.cdx.json"))["components"]}
        assert parts == {"attrs", "cachetools", "certifi", "idna", "requests", "urllib3"}
        assert {"licenses/LICENSE", *(name for name in archive.namelist() if "licenses/requests/" in name)} >= {
            "licenses/LICENSE",
            "licenses/requests/LICENSE",
        }
        assert not [name for name in archive.namelist() if name.endswith((".so", ".pyc"))]
    assert build().read_bytes() == first
