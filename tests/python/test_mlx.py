"""Programs that import mlx run on narrows, as Python would run them."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap

import narrows.core as mx
import narrows.mlx
import pytest


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return str(path)


def python(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def run(*arguments, cwd, **options):
    return python("-m", "narrows.mlx", *arguments, cwd=cwd, **options)


def output(*arguments, cwd):
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


EVERY_IMPORT = """
    import mlx
    import mlx.core as mx
    import mlx.core.fast
    import mlx.core.random
    import mlx.core.metal
    import mlx.core.cuda
    import mlx.core.distributed as distributed
    import mlx.nn as nn
    import mlx.nn.layers.linear
    import mlx.nn.losses
    import mlx.optimizers as optim
    from mlx import nn as again, utils
    from mlx.nn.layers.base import Module
    from mlx.utils import tree_map
    import narrows.core, narrows.nn, narrows.optimizers, narrows.utils

    assert mlx.core is mx is narrows.core
    assert mx.fast is mlx.core.fast is narrows.core.fast
    assert nn is again is narrows.nn and nn.Module is Module
    assert mlx.nn.layers.linear.Linear is nn.Linear
    assert optim is narrows.optimizers and utils is narrows.utils
    assert utils.tree_map is tree_map and distributed is mx.distributed
    print(tree_map(lambda a: (a + 1).item(), {"a": mx.array(1)}))
"""


def test_every_import_gives_narrows(tmp_path):
    assert output(write(tmp_path / "p.py", EVERY_IMPORT), cwd=tmp_path) == ["{'a': 2}"]


def test_version_is_that_of_the_interface(tmp_path):
    program = "import importlib.metadata as m; print(m.version('mlx'), m.version('numpy'))"
    version, _ = output("-c", program, cwd=tmp_path)[0].split()
    assert version == narrows.mlx.MLX_VERSION
    program = "import importlib.metadata as m; print([d.name for d in m.distributions()])"
    assert "'mlx'" in output("-c", program, cwd=tmp_path)[0]


@pytest.mark.parametrize("name", ["mlx.nothing", "mlx.nn.nothing", "mlx.mlx", "mlx.core.nothing"])
def test_what_is_not_there_is_not_found(name, tmp_path):
    done = run("-c", f"import {name}", cwd=tmp_path)
    assert done.returncode == 1
    assert f"ModuleNotFoundError: No module named '{name}'" in done.stderr


def test_module_can_be_imported_again(tmp_path):
    program = """
        import sys
        import mlx.core as first
        del sys.modules["mlx.core"], sys.modules["mlx"]
        import mlx.core as second
        from importlib import reload
        import mlx.utils
        reload(mlx.utils)
        assert first is second is sys.modules["narrows.core"]
        assert mlx.utils.__name__ == "narrows.utils"
        assert first.__spec__.name == "narrows.core"
        """
    assert output(write(tmp_path / "p.py", program), cwd=tmp_path) == []


SHOW = """
    import sys
    import mlx.core as mx
    import beside
    print(sys.argv[1:], __name__, __file__, __package__, beside.name, mx.arange(3).tolist())
    """


def test_script_sees_what_python_shows_it(tmp_path):
    script = write(tmp_path / "scripts" / "p.py", SHOW.replace("import mlx.core as mx", MX))
    write(tmp_path / "scripts" / "beside.py", "name = 'beside the script'")
    arguments = ["scripts/p.py", "-m", "--scale", "x y"]
    done = python(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    write(tmp_path / "scripts" / "p.py", SHOW)
    assert output(*arguments, cwd=tmp_path) == done.stdout.splitlines()
    assert script.endswith("p.py") and "['-m', '--scale', 'x y'] __main__" in done.stdout


# For Python without narrows.mlx, which is to show the same.
MX = "import narrows.core as mx"


@pytest.mark.parametrize("module", ["package", "package.inner", "plain"])
def test_module_sees_what_python_shows_it(module, tmp_path):
    for name in ("package/__main__.py", "package/inner.py", "plain.py"):
        write(tmp_path / name, SHOW + "\n    print(sys.argv[0], __spec__.name, __spec__.parent)")
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "beside.py", "name = 'in the working directory'")
    found = output("-m", module, "one", "-c", cwd=tmp_path)
    for path in tmp_path.rglob("*.py"):
        path.write_text(path.read_text().replace("import mlx.core as mx", MX))
    done = python("-m", module, "one", "-c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert found == done.stdout.splitlines()


def test_directory_runs_its_main(tmp_path):
    write(tmp_path / "program" / "__main__.py", "import mlx.core as mx; print(mx.array(2).item())")
    assert output("program", cwd=tmp_path) == ["2"]


def test_command_runs(tmp_path):
    assert output("-c", "import sys; print(sys.argv)", "a", cwd=tmp_path) == ["['-c', 'a']"]


@pytest.mark.parametrize("status", ["0", "3", "None", "'a message'"])
def test_exit_status_is_the_programs(status, tmp_path):
    program = write(tmp_path / "p.py", f"import sys, mlx.core; sys.exit({status})")
    ours, pythons = run(program, cwd=tmp_path), python("-c", f"exit({status})", cwd=tmp_path)
    assert (ours.returncode, ours.stderr) == (pythons.returncode, pythons.stderr)


FAILING = """
    def inner():
        raise ValueError("on purpose")

    def outer():
        try:
            {}["missing"]
        except KeyError:
            inner()

    outer()
    """


@pytest.mark.parametrize("program", [FAILING, "x = = 1", "import nothing_of_that_name"])
@pytest.mark.parametrize("as_module", [False, True])
def test_traceback_is_the_programs(program, as_module, tmp_path):
    path = write(tmp_path / "failing.py", program)
    arguments = ["-m", "failing"] if as_module else [path]
    ours, pythons = run(*arguments, cwd=tmp_path), python(*arguments, cwd=tmp_path)
    # Frames within Python, of running a module, are the only difference.
    inner = ("<frozen ", "Traceback (most recent call last)")
    ours_lines, pythons_lines = (
        [line for line in done.stderr.splitlines() if not any(text in line for text in inner)]
        for done in (ours, pythons)
    )
    assert ours_lines == pythons_lines
    assert ours.returncode == pythons.returncode == 1


def test_interrupt_ends_the_program_as_it_ends_python(tmp_path):
    program = "import os, signal, mlx.core; os.kill(os.getpid(), signal.SIGINT); input()"
    done = run("-c", program, cwd=tmp_path)
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr and "narrows" not in done.stderr


@pytest.mark.parametrize("arguments", [["missing.py"], ["-m", "missing"], ["-m"], ["-c"]])
def test_program_that_is_not_there(arguments, tmp_path):
    ours, pythons = run(*arguments, cwd=tmp_path), python(*arguments, cwd=tmp_path)
    assert ours.returncode == pythons.returncode
    said = ours.stderr.partition(": ")[2].splitlines()[0]
    assert said.lower() in pythons.stderr.lower()


def test_usage(tmp_path):
    for arguments, status in (["--help"], 0), ([], 2):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == status
        assert "python -m narrows.mlx script.py" in done.stdout + done.stderr


def test_pickles_of_a_program_load(tmp_path):
    program = """
        import pickle, sys
        import mlx.core as mx, mlx.nn as nn
        from mlx.utils import tree_map

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 2)

        model = pickle.loads(pickle.dumps(Model()))
        assert type(model) is Model
        with open("layer.pickle", "wb") as file:
            pickle.dump([model.layer, mx.arange(3), tree_map], file)
        print(type(pickle.loads(b"cmlx.nn.layers.linear\\nLinear\\n.")) is type(nn.Linear))
        """
    assert output(write(tmp_path / "p.py", program), cwd=tmp_path) == ["True"]
    layer, values, function = pickle.loads((tmp_path / "layer.pickle").read_bytes())
    assert type(layer) is narrows.nn.Linear and layer(mx.ones((1, 2))).shape == (1, 2)
    assert values.tolist() == [0, 1, 2] and function is narrows.utils.tree_map


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_that_a_program_starts_find_mlx(method, tmp_path):
    program = f"""
        import multiprocessing

        def total(values):
            import mlx.core as mx
            return mx.array(values).sum().item(), mx.__name__

        if __name__ == "__main__":
            with multiprocessing.get_context({method!r}).Pool(1) as pool:
                print(pool.map(total, [[1, 2], [3]]))
        """
    expected = ["[(3, 'narrows.core'), (3, 'narrows.core')]"]
    assert output(write(tmp_path / "p.py", program), cwd=tmp_path) == expected


INSTALLED_MLX = """
    raise AssertionError("the installed MLX was imported")
    """


@pytest.fixture
def installed_mlx(tmp_path):
    """A directory for PYTHONPATH with something that is called mlx."""
    write(tmp_path / "site" / "mlx" / "__init__.py", INSTALLED_MLX)
    write(tmp_path / "site" / "mlx" / "core.py", INSTALLED_MLX)
    metadata = tmp_path / "site" / "mlx-0.1.dist-info" / "METADATA"
    write(metadata, "Metadata-Version: 2.1\nName: mlx\nVersion: 0.1\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *python_path()])}


def python_path():
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def test_installed_mlx_is_not_touched(installed_mlx, tmp_path):
    before = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}
    program = """
        import importlib.metadata, multiprocessing

        def name(_):
            import mlx.core
            return mlx.core.__name__

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(name(0), pool.map(name, [0]), importlib.metadata.version("mlx"))
        """
    done = run(write(tmp_path / "p.py", program), cwd=tmp_path, env=installed_mlx)
    assert done.returncode == 0, done.stderr
    version = narrows.mlx.MLX_VERSION
    assert done.stdout.split("\n")[0] == f"narrows.core ['narrows.core'] {version}"
    after = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert after == before
    assert "was imported" in python("-c", "import mlx", cwd=tmp_path, env=installed_mlx).stderr


def test_install_within_a_program(tmp_path):
    program = """
        import narrows.mlx
        try:
            import mlx.core
        except ModuleNotFoundError:
            pass
        narrows.mlx.install()
        narrows.mlx.install()
        import sys
        import mlx.core as mx
        print(mx.__name__, len([f for f in sys.meta_path if "narrows" in type(f).__module__]))
        """
    done = python(write(tmp_path / "p.py", program), cwd=tmp_path)
    assert done.stdout.splitlines() == ["narrows.core 1"], done.stderr


def test_install_is_too_late_after_an_import(tmp_path):
    write(tmp_path / "mlx" / "__init__.py", "")
    done = python("-c", "import mlx, narrows.mlx; narrows.mlx.install()", cwd=tmp_path)
    assert done.returncode == 1
    where = tmp_path / "mlx"
    message = f"[install] mlx is imported from {where}, expected a call before the first import"
    assert done.stderr.splitlines()[-1] == f"RuntimeError: {message}"
