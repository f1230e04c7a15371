"""A day of traffic against the autoscaling rules of deploy/kubernetes: `make scaling-simulation`.

``day`` makes the traffic, ``rules`` is the arithmetic of Kubernetes' autoscaler on the numbers of our manifests,
``costs`` has what was measured, ``simulation`` puts them together, ``plot`` draws it.
"""
