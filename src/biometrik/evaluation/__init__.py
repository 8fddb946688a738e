"""How well it recognises, on named data: metrics, protocols, and the making of calibration tables."""
