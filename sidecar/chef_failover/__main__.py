"""Shell: ``python -m chef_failover``."""

import gc

gc.disable()  # what is loaded is no garbage, and looking for some takes a tenth of the start
from chef_failover.cli import main  # noqa: E402

gc.enable()
main()
