"""One conversation with a Chef server.

Name lookup, deadline, trust, HTTPS, signing, what answers mean, a probe, the node object.
"""

import warnings

# requests guesses the encoding of a text that does not say it by a library of 3 MB. What a Chef server sends is JSON,
# so nodes do without it (see `make lock`), and requests need not say so.
warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
