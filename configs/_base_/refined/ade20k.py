# Scene parsing on ADE20K (paper, section 4.3): divide and conquer, "stuff" attenuated.
custom_imports = dict(imports=['mmseg_cascadepsp'], allow_failed_imports=False)
custom_hooks = [dict(type='RefinedResultsHook')]
# The paper's fusion: the refiner's probabilities alone, and small parts may be swallowed.
strategy = dict(type='scene', stuff='ade20k', prior_weight=0, protect=False, steps='global')
before_and_after = dict(_delete_=True, type='BoundarySegMetric')
data_help = (
    'get ADEChallengeData2016.zip (scene parsing, 0.9 GB) from '
    'http://sceneparsing.csail.mit.edu, unpack it and put its folder at '
    'data/ade/ADEChallengeData2016 (docs/chaining.md)'
)
