"""The site: ``make docs`` writes it to docs/_build/html, and every warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_cascadepsp import __version__

project = 'mmseg_cascadepsp'
author = copyright = 'the mmseg_cascadepsp contributors'
release = version = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_build']
myst_enable_extensions = ['attrs_inline', 'deflist']
myst_heading_anchors = 3
suppress_warnings = ['config.cache']

html_theme = 'furo'
html_title = 'CascadePSP in MMSegmentation'
html_show_sphinx = False
html_copy_source = False

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_default_options = {'members': True, 'imported-members': True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
