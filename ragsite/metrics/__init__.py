"""Metrics in Prometheus's format, of all processes of this machine.

``definitions`` has each metric, ``record`` is where the code tells what happened (to Prometheus and to the service
level alike), ``gauges`` asks at each scrape what is counted nowhere, ``exposition`` answers /metrics.
"""
