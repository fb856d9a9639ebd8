"""Images of CIFAR-10's form, read from its binary files or made, and how training changes them."""

from pathlib import Path

IMAGE_BYTES = 3 * 32 * 32
RECORD_BYTES = 1 + IMAGE_BYTES  # a label, then the red, green and blue planes
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2470, 0.2435, 0.2616)


def read_batches(mx, directory: str):
    """The training images of CIFAR-10's binary version.

    Args:
      mx: MLX's core module.
      directory: Where ``data_batch_1.bin`` to ``data_batch_5.bin`` lie, or some of them.

    Returns:
      tuple[array, array]: Images (count, 32, 32, 3) of uint8, and labels (count,) of int32.
    """
    files = sorted(Path(directory).glob("data_batch_*.bin"))
    if not files:
        raise FileNotFoundError(
            f"[resnet] no data_batch_*.bin in {directory}, expected CIFAR-10's binary version"
        )
    parts = []
    for file in files:
        data = file.read_bytes()
        if not data or len(data) % RECORD_BYTES:
            raise ValueError(
                f"[resnet] {file} has {len(data)} bytes, expected a multiple of {RECORD_BYTES}"
            )
        parts.append(mx.array(memoryview(data)).reshape(-1, RECORD_BYTES))
    records = mx.concatenate(parts)
    labels = records[:, 0].astype(mx.int32)
    highest = labels.max().item()
    if highest > 9:
        raise ValueError(f"[resnet] a label {highest} in {directory}, expected 0 to 9")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return mx.contiguous(images), labels


def make_batches(mx, count: int):
    """Images of noise whose brightness tells the label, in the form of `read_batches()`."""
    labels = mx.random.randint(0, 10, (count,))
    brightness = (labels * 12 + 70).astype(mx.float32)[:, None, None, None]
    images = brightness + 30 * mx.random.normal((count, 32, 32, 3))
    return mx.clip(images, 0, 255).astype(mx.uint8), labels.astype(mx.int32)


def augmented(mx, images):
    """Normalized images, each moved by up to 4 pixels and mirrored by chance.

    Args:
      mx: MLX's core module.
      images: Of shape (count, 32, 32, 3), uint8.

    Returns:
      array: The same shape, float32.
    """
    count = images.shape[0]
    x = (images.astype(mx.float32) / 255 - mx.array(MEAN)) / mx.array(DEVIATION)
    x = mx.pad(x, [(0, 0), (4, 4), (4, 4), (0, 0)])
    rows, columns = (mx.random.randint(0, 9, (count, 1)) + mx.arange(32) for _ in range(2))
    mirrored = mx.random.bernoulli(0.5, (count, 1))
    columns = mx.where(mirrored, columns[:, ::-1], columns)
    image = mx.arange(count)[:, None, None]
    return x[image, rows[:, :, None], columns[:, None, :]]
