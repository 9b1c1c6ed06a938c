"""Shell: ``python -m chef_failover``."""

from chef_failover.cli.entry import main

main()
