"""How many kernels a process keeps. PyTorch reads it when it is imported, which is later."""

#: Variables of the environment for programs that see regions of every size on a CPU. oneDNN, which
#: runs PyTorch's convolutions, and PyTorch itself keep the kernels of 1,024 shapes each. Freed
#: memory of large arrays falls to pieces between them, so the process grows with every new shape.
FEW_KERNELS = {'ONEDNN_PRIMITIVE_CACHE_CAPACITY': '32', 'LRU_CACHE_CAPACITY': '32'}
