from .refinement_head import PyramidPooling, RefinementHead, UpsamplingBlock

__all__ = ['PyramidPooling', 'RefinementHead', 'UpsamplingBlock']
