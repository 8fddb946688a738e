"""How fast and how accurate it is: ``scripts/bench`` runs these and renders README.md from the recorded history."""
