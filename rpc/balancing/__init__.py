"""Which endpoint a call goes to.

A cluster's endpoints stand in levels, one per priority. Each level has a picker over those of its endpoints that are
ready; it is made anew when that changes, so whoever is not ready has no share, and the others have theirs by weight.
What is not ready is dialled beside the calls. A pick has an end: `Pick.done` is told how the attempt ended.
"""

from rpc.balancing.cluster import BalancedCluster, Level
from rpc.balancing.endpoint import Endpoint, Pick, Picker
from rpc.balancing.pickers import PICKERS

__all__ = ["PICKERS", "BalancedCluster", "Endpoint", "Level", "Pick", "Picker"]
