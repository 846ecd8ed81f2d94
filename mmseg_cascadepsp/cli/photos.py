"""The sample photos of ``demo``: which runs take which."""

CHAIN = 'deeplabv3plus_refined_persons-cats-horses.py'
CHAINED = {'astronaut': 'person', 'chelsea': 'cat'}
"""Photo -> what the segmentor of the chain should find on it."""
SMALL, LARGE = 'motorcycle', 'astronaut'
"""The photos of the run with a small L and of the enlarged one."""
