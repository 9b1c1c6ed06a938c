"""``python -m chef_failover``."""

from chef_failover.cli import main

main()
