"""The authors' archives of the paper's training sets, with a few tiny pairs each."""

import io
import tarfile
import zipfile

import cv2
import numpy as np

#: In each set.
PAIRS = 3


def encoded(suffix, size=(12, 16), seed=0):
    """Bytes of a picture."""
    random = np.random.RandomState(seed)
    if suffix == '.png':
        pixels = np.zeros(size, np.uint8)
        pixels[3:9, 4:12] = 255
    else:
        pixels = random.randint(0, 255, (*size, 3)).astype(np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def both(name):
    return {name + suffix: encoded(suffix, seed=len(name)) for suffix in ('.jpg', '.png')}


def authors_archives():
    """Archive -> member -> bytes."""
    numbers = range(1, PAIRS + 1)
    masks = {f'ground_truth_mask/{n:04}.png': encoded('.png') for n in numbers}
    archives = {
        'MSRA10K_Imgs_GT.zip': {'MSRA10K_Imgs_GT/Readme.txt': b'words'},
        'images.zip': {f'images/{n:04}.jpg': encoded('.jpg', seed=n) for n in numbers},
        'ground_truth_mask.zip': masks,
        'fewshot_data.zip': {'__MACOSX/fewshot_data/fewshot_data/ant/._1.jpg': b'junk'},
        'DUTS-TR.zip': {},
        'DUTS-TE.zip': {},
    }
    for n in numbers:
        archives['MSRA10K_Imgs_GT.zip'].update(both(f'MSRA10K_Imgs_GT/Imgs/{n}00'))
        name = ('ant', 'bee', 'cat')[n - 1]
        archives['fewshot_data.zip'].update(both(f'fewshot_data/fewshot_data/{name}/{n}'))
        for name in ('DUTS-TR', 'DUTS-TE'):
            archives[f'{name}.zip'].update(
                {
                    f'{name}/{name}-Image/ILSVRC2012_{n}.jpg': encoded('.jpg', seed=n),
                    f'{name}/{name}-Mask/ILSVRC2012_{n}.png': encoded('.png'),
                }
            )
    return archives


def write_archive(path, members):
    """A zip or tar of member -> bytes (a TarInfo goes in as it is)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, 'w:gz' if path.suffix == '.gz' else 'w') as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_archives(folder, archives=None):
    """All of them into a folder."""
    for name, members in (archives or authors_archives()).items():
        write_archive(folder / name, members)
    return folder
