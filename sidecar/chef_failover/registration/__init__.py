"""Registration of this node with every Chef server, ahead of need.

`machine` decides, the providers behind `base.Provider` do, `worker` drives one server.
"""
