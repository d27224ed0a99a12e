"""Which endpoint a call goes to.

A cluster's endpoints stand in levels, one per priority. Each level has a picker over those of its endpoints that are
ready; it is made anew when that changes, so whoever is not ready has no share, and the others have theirs by weight.
What is not ready is dialled beside the calls. A pick has an end: `Pick.done` is told how the attempt ended.

>>> registration = rpc.balancing.register("last", lambda endpoints: Last(endpoints))
>>> registration.close()
"""

from rpc.balancing.cluster import BalancedCluster as BalancedCluster
from rpc.balancing.cluster import Level as Level
from rpc.balancing.cluster import PolicyError as PolicyError
from rpc.balancing.endpoint import Endpoint, Pick, Picker
from rpc.balancing.pickers import PICKERS as PICKERS
from rpc.balancing.policies import Registration, register

__all__ = ["Endpoint", "Pick", "Picker", "Registration", "register"]
