"""The header of requests that are somebody's check, golden rows for example.

The server counts them as requests, but neither logs them nor lets them into the predictions' distribution: the same few
rows every five seconds would hide what users send.
"""

PROBE = "nasflow-probe"
