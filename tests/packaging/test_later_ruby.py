"""The shim's own specs on a later Ruby than this machine's, with the chef-config that goes with it."""

import shutil

from tests.packaging.later import later
from tests.packaging.node import call
from tests.packaging.packages import ROOT
from tests.support.parts import missing_part


def test_the_specs_of_the_shim_pass_there(tmp_path):
    ruby = later("ruby")
    if ruby is None:
        missing_part("there is no root with a later Ruby (make test-packaging as root)")
    shutil.copytree(ROOT / "ruby_shim", tmp_path / "ruby_shim")
    shutil.copytree(ROOT / "tests" / "contract", tmp_path / "tests" / "contract")
    said = call(*ruby, "-W:no-experimental", "/usr/bin/rspec", tmp_path / "ruby_shim" / "spec")
    assert " 0 failures" in said, said
    version = call(*ruby, "-e", "print RUBY_VERSION")
    assert version > "3.1", version
