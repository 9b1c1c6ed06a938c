"""A simulated fleet: what thousands of sidecars do to their Chef servers, and to the limits of AWS.

Real
    All that decides on a node: health, selection and hold-down, where a run goes and whom it asks, when a server is
    probed and read, how a registration goes on, how the fleet's list is asked for. It is the code of sidecar/.

Simulated
    The clock; nothing waits. Chef servers with a capacity, in seconds of CPU: one queue, where whatever was taken in is
    worked off even if its client has left, and which answers 503 beyond 10 s of backlog. Limits of AWS and of fronts:
    buckets of tokens, 429 when they are empty. chef-client: a run of 15 requests, 30 min and up to 5 min more after the
    one before, with chef-client's own retries.

Approximated
    A request costs its server what goiardi took for one of its kind, and 3 to 150 kB (bench/fleet/server.py); the
    network takes 2 ms. One question for each run, where the shim asks twice within 0.2 s. What a run's probe and a
    reading ask follows `chef.probes` and `chef.node_objects` by hand, as do registrar and upkeep (bench/fleet/node.py).
    Nodes go by a policy, named in an object of 150 kB. Nothing is restarted.
    A sample of some hundred nodes stands for the fleet: capacities and limits shrink with it, so each node meets the
    same server. A figure that counts few events is missed only where chance explains it less than once in a hundred.
"""
