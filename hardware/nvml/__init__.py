"""NVIDIA GPUs through NVML, by the binding ``pynvml`` (nvidia-ml-py). Nothing else in the tree imports it.

``driver`` is the ``DeviceDriver``, ``gpu`` one GPU behind it. ``policy`` says what each NVML error means for us,
``sensors`` reads watts and joules, ``reasons`` says what holds a GPU's clocks down, ``session`` opens the library.
"""
