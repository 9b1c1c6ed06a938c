"""Shell: ``python -m chef_failover``."""

from chef_failover.cli.main import main

main()
