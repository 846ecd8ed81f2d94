"""Packaging: the wheel carries configs, tools and demo as MMSegmentation's does, in ``.mim``."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
NAME = 'mmseg_cascadepsp'
# Each other file of requirements/ is an extra of that name.
NO_EXTRAS = ('env', 'oldest', 'runtime')


def read_version() -> str:
    text = (ROOT / NAME / 'version.py').read_text()
    return re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    lines = [line.partition('#')[0].strip() for line in lines]
    return [line for line in lines if line]


class BuildWithConfigs(build_py):
    """Copies folders of the checkout into the built package, not into the source tree."""

    def run(self):
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / NAME, ignore_errors=True)  # of an earlier build
        super().run()
        if self.editable_mode:  # the checkout's own folders are used
            return
        for folder in ('configs', 'demo', 'tools'):
            target = Path(self.build_lib) / NAME / '.mim' / folder
            shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns('__pycache__'))
        # `mim search mmseg_cascadepsp` reads it there.
        shutil.copy(ROOT / 'model-index.yml', Path(self.build_lib) / NAME / '.mim')


setup(
    name=NAME,
    version=read_version(),
    description='CascadePSP in MMSegmentation: masks whose boundaries follow the image',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmseg_cascadepsp contributors',
    license='MIT',
    license_files=['LICENSE'],
    project_urls={
        'Paper': 'https://arxiv.org/abs/2005.02551',
        "Authors' release": 'https://github.com/hkchengrex/CascadePSP',
        'MMSegmentation': 'https://github.com/open-mmlab/mmsegmentation',
    },
    keywords='semantic segmentation, mask refinement, high resolution, MMSegmentation',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)),
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', 'weights/*']},
    python_requires='>=3.10,<3.14',  # mmengine 0.10 calls pkgutil.find_loader, gone in 3.14
    install_requires=read_requirements('runtime'),
    extras_require={
        path.stem: read_requirements(path.stem)
        for path in sorted((ROOT / 'requirements').glob('*.txt'))
        if path.stem not in NO_EXTRAS
    },
    entry_points={'console_scripts': ['mmseg-cascadepsp = mmseg_cascadepsp.cli.command:main']},
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
)
