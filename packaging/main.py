"""What ``python3 /usr/lib/chef-failover`` runs; installed there as ``__main__.py``."""

from chef_failover.cli.main import main

main()
