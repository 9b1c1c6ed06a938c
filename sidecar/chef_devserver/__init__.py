"""Embedded Chef servers for the demo and the tests: small, but with real TLS, checked signatures and fault switches.

``front`` (nginx) and ``chef`` (erchef's order of checks) take a request. ``authentication`` and ``documents`` say if it
is in order, ``rights`` who may do it; ``resources``, ``nodes`` and ``clients`` do it to the ``state``, and ``faults``
spoils the answer. ``authority`` makes certificates, ``door`` is the port, ``wire`` one connection, ``connections`` all
of them, and ``server`` ties everything together. README.md says where each fact on real servers comes from.
"""
