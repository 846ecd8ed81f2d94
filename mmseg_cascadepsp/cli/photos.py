"""The sample photos of ``demo``: their names in scikit-image, and which runs take which."""

PHOTOS = {
    'astronaut': 'astronaut',
    'chelsea': 'chelsea',
    'coffee': 'coffee',
    'rocket': 'rocket',
    'motorcycle': 'stereo_motorcycle',
}
"""Name -> function of skimage.data."""
CHAIN = 'deeplabv3plus_refined_persons-cats-horses.py'
CHAINED = {'astronaut': 'person', 'chelsea': 'cat'}
"""Photo -> what the segmentor of the chain should find on it."""
SMALL, LARGE = 'motorcycle', 'astronaut'
"""The photos of the run with a small L and of the enlarged one."""
