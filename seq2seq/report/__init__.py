"""What a run leaves for its readers: results.json and the page made from it.

Sees plain results only, never models or data.
"""
