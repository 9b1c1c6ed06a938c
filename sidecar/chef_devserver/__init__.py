"""Embedded Chef servers for the demo and the tests: small, but with real TLS, checked signatures and fault switches.

``front`` (nginx), ``chef`` (erchef's order of checks), ``authentication`` and ``resources`` turn a request and the
``state`` into an answer; ``faults`` spoils it. ``authority`` makes certificates, ``door`` is the port, ``wire`` one
connection, ``connections`` all of them, and ``server`` ties everything together.
"""
