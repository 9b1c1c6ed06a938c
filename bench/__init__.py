"""The benchmark: each figure is a ratio, measured in one run against something that stands beside it.

``figures`` holds what was measured; ``parts`` finds programs; ``processes`` starts and reads them; ``fleet`` makes Chef
servers and configurations. One module for each promise: ``shim`` (a), ``recipe`` (b), ``detection`` (c), ``rest`` (d).
"""
