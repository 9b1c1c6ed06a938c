"""chef-failover: a node's chef-client always finds a Chef server that works.

The folder listing is the data flow: config -> probes -> health -> fleet -> selection -> render -> api, cli.
"""

__version__ = "0.1.0"
