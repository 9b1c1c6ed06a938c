"""Shell: ``python -m chef_failover``."""

from chef_failover.entry import main

main()
