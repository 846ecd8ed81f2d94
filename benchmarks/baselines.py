"""The baselines of :mod:`mmseg_cascadepsp.evaluation.baselines`, where tools/measure.py looks."""

from mmseg_cascadepsp.evaluation.baselines import BASELINES

__all__ = ['BASELINES']
