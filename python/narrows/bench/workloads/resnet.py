"""Training of ResNet-20 on images of CIFAR-10's form, with augmentation."""

from .base import Library, Options, Run, Workload
from .cifar import augmented, make_batches, read_batches


def make_model(library: Library):
    mx, nn = library.mx, library.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm(outputs)
            changes = stride != 1 or inputs != outputs
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None
            self.norm_shortcut = nn.BatchNorm(outputs) if changes else None

        def __call__(self, x):
            y = nn.relu(self.norm1(self.conv1(x)))
            y = self.norm2(self.conv2(y))
            if self.shortcut is not None:
                x = self.norm_shortcut(self.shortcut(x))
            return nn.relu(y + x)

    class ResNet20(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.norm = nn.BatchNorm(16)
            self.blocks, inputs = [], 16
            for outputs, stride in ((16, 1), (32, 2), (64, 2)):
                for i in range(3):
                    self.blocks.append(Block(inputs, outputs, stride if i == 0 else 1))
                    inputs = outputs
            self.linear = nn.Linear(64, 10)

        def __call__(self, x):
            x = nn.relu(self.norm(self.conv(x)))
            for block in self.blocks:
                x = block(x)
            return self.linear(mx.mean(x, axis=[1, 2]))

    return ResNet20()


class ResNet(Workload):
    name = "resnet"
    summary = "training ResNet-20 on CIFAR-10 with Adam and augmentation, float32"
    unit = "images/s"
    shown_phase = "train"
    published = {
        "1": (3152, 1468),
        "10": (3087, 1515),
        "20": (3168, 1671),
        "50": (3887, 1895),
        "unlimited": (4023, 2264),
    }

    def __init__(self, library: Library, options: Options) -> None:
        mx, nn = library.mx, library.nn
        self.mx = mx
        self.batch = 256 if options.is_full else 32
        self.steps = 10 if options.is_full else 5
        mx.random.seed(0)
        if options.cifar:
            self.images, self.labels = read_batches(mx, options.cifar)
        else:
            self.images, self.labels = make_batches(mx, 4 * self.batch)
        self.model = make_model(library)
        mx.eval(self.images, self.labels, self.model.parameters())
        self.optimizer = library.optimizers.Adam(1e-3)

        def loss(model, images, labels):
            return nn.losses.cross_entropy(model(images), labels, reduction="mean")

        self.loss_and_gradients = nn.value_and_grad(self.model, loss)
        self.taken = 0
        for _ in range(2):
            self.step(Run(mx))

    def next_batch(self, run: Run) -> tuple:
        if self.taken + self.batch > self.images.shape[0]:
            self.taken = 0
        rows = slice(self.taken, self.taken + self.batch)
        self.taken += self.batch
        batch = augmented(self.mx, self.images[rows]), self.labels[rows]
        run.evaluate(batch)
        return batch

    def step(self, run: Run):
        images, labels = self.next_batch(run)
        loss, gradients = self.loss_and_gradients(self.model, images, labels)
        self.optimizer.update(self.model, gradients)
        run.evaluate(loss, self.model.state, self.optimizer.state)
        return loss

    def round(self, run: Run) -> None:
        with run.phase("train", self.batch * self.steps):
            for _ in range(self.steps):
                self.step(run)
