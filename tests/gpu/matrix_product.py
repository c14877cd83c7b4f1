"""A process that multiplies matrices on the one GPU that CUDA shows it, with cuBLAS itself: no framework is needed.

Prints, about once a second, how many products it has done in how many seconds. Exits with 3 and one line where there is
no CUDA or no cuBLAS at hand. Written after the reference manuals of cuBLAS (cublasSgemm) and the CUDA runtime.
"""

import ctypes
import sys
import time
from ctypes import c_float, c_int, c_size_t, c_void_p

import numpy as np

SIZE = 8192
AT_ONCE = 4
NO_CUDA = 3
TO_DEVICE = 1
NOT_TRANSPOSED = 0


def library(name: str) -> ctypes.CDLL:
    """The newest release of a CUDA library at hand. Raises ``OSError``."""
    for release in ("", ".13", ".12", ".11"):
        try:
            return ctypes.CDLL(f"lib{name}.so{release}")
        except OSError:
            continue
    raise OSError(f"no lib{name} at hand")


def well(status: int, what: str) -> None:
    if status != 0:
        raise OSError(f"{what} gave {status}")


def matrix(cuda: ctypes.CDLL, seed: int) -> c_void_p:
    """Random numbers on the GPU: what a product draws depends on its operands."""
    numbers = np.random.default_rng(seed).standard_normal(SIZE * SIZE, dtype=np.float32)
    pointer = c_void_p()
    well(cuda.cudaMalloc(ctypes.byref(pointer), c_size_t(numbers.nbytes)), "cudaMalloc")
    source = numbers.ctypes.data_as(c_void_p)
    well(cuda.cudaMemcpy(pointer, source, c_size_t(numbers.nbytes), TO_DEVICE), "cudaMemcpy")
    return pointer


def multiply() -> None:
    cuda, blas = library("cudart"), library("cublas")
    handle = c_void_p()
    well(blas.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
    left, right, product = (matrix(cuda, seed) for seed in range(3))
    one, nothing, size = c_float(1.0), c_float(0.0), c_int(SIZE)
    while True:
        began, done = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            for _ in range(AT_ONCE):
                status = blas.cublasSgemm_v2(
                    handle, NOT_TRANSPOSED, NOT_TRANSPOSED, size, size, size,
                    ctypes.byref(one), left, size, right, size, ctypes.byref(nothing), product, size,
                )  # fmt: skip
                well(status, "cublasSgemm")
            well(cuda.cudaDeviceSynchronize(), "cudaDeviceSynchronize")
            done += AT_ONCE
        print(f"{done} {time.monotonic() - began:.3f}", flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    try:
        multiply()
    except OSError as fault:
        print(f"no matrix product here: {fault}", file=sys.stderr)  # noqa: T201 - its answer
        sys.exit(NO_CUDA)
