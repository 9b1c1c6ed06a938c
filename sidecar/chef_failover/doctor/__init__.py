"""What `check --node` looks at on this node, in small checks.

A check gives None when all is well, or else a sentence with what to do; what cannot be seen raises `UnseenError`.
"""
