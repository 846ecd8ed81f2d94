from .cascade_psp import CascadePSP

__all__ = ['CascadePSP']
