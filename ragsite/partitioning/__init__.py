"""The partitions of large tables, once there is data in them: how they fare, more of them, old ones away."""
