"""One conversation with a Chef server.

Name lookup, deadline, trust, HTTPS, signing, what answers mean, a probe, the node object.
"""
