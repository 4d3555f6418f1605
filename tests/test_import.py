"""Importing unimodel, and all that is public in it, brings in no framework and changes nothing; a name is loaded when it is asked for, and any may be the first."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

EVERYTHING = "from unimodel import *"
"""What loads all public names: ``import unimodel`` alone loads none."""
FRAMEWORKS = ["torch", "tensorflow", "mxnet", "jax", "keras"]


def in_a_fresh_process(code: str, **environment: str) -> Any:
    """What the code prints as JSON in a Python of its own, in an empty folder."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_import_brings_in_no_framework_and_no_backend() -> None:
    modules = in_a_fresh_process(f"{EVERYTHING}; import sys, json; print(json.dumps(sorted(sys.modules)))")
    roots = {name.partition(".")[0] for name in modules}
    assert "unimodel" in roots
    assert not roots & set(FRAMEWORKS)
    assert not {name for name in roots if name.startswith("unimodel_")}, "backends are imported when they are asked for"
    assert not roots & {"pytest", "hypothesis", "pandas", "sklearn", "scipy", "matplotlib"}


@pytest.mark.parametrize(
    ("code", "loaded", "not_loaded"),
    [
        ("import unimodel", ["unimodel"], ["numpy", "pluggy", "unimodel.*"]),
        ("import unimodel as um; um.errors", ["unimodel.errors"], ["numpy", "unimodel.ops", "unimodel.trainer"]),
        ("import unimodel as um; um.Model, um.ops", ["unimodel.model", "unimodel.ops.activation"], ["unimodel.nn", "unimodel.trainer", "unimodel.plugins"]),
        ("import unimodel as um; um.nn, um.losses, um.optim, um.Trainer", ["unimodel.nn.linear"], ["unimodel.models", "unimodel.diff", "unimodel.bench"]),
    ],
)
def test_a_program_loads_what_it_uses(code: str, loaded: list[str], not_loaded: list[str]) -> None:
    """``import unimodel`` is quick because it loads nothing, not even NumPy; a name loads its module."""
    modules = in_a_fresh_process(f"{code}; import sys, json; print(json.dumps(sorted(sys.modules)))")
    assert set(loaded) <= set(modules)
    assert [m for m in modules if any(fnmatch(m, pattern) for pattern in not_loaded)] == []


def test_any_public_name_and_any_module_may_be_the_first(tmp_path: Path) -> None:
    """In one process, which forgets all of unimodel before each; compiled once."""
    failed = in_a_fresh_process(
        """
        import importlib, json, pkgutil, sys
        sys.dont_write_bytecode = False
        import numpy, pluggy
        import unimodel
        path = list(unimodel.__path__)
        firsts = ["unimodel:" + name for name in unimodel.__all__]
        firsts += ["unimodel." + module.name for module in pkgutil.iter_modules(path)]
        firsts += ["unimodel.optim.sgd", "unimodel.nn.conv", "unimodel.ops.conv", "unimodel.passes.fold", "unimodel.models.mlp", "unimodel.losses.regression"]
        failed = []
        for first in firsts:
            for name in [n for n in sys.modules if n.partition(".")[0] == "unimodel"]:
                del sys.modules[name]
            module, _, name = first.partition(":")
            try:
                if not module.endswith("__main__"):
                    getattr(importlib.import_module(module), name or "__name__")
            except Exception as error:
                failed.append([first, repr(error)])
        print(json.dumps(failed))
        """,
        PYTHONPYCACHEPREFIX=str(tmp_path),
    )
    assert failed == []


def test_what_type_checkers_read_is_what_is_loaded() -> None:
    """The table of public names, the imports that stand there for type checkers, ``__all__`` and ``dir`` agree."""
    import unimodel as um

    assert um.__file__
    (guarded,) = [n for n in ast.parse(Path(um.__file__).read_text()).body if isinstance(n, ast.If)]
    read = {name.name: statement.module for statement in guarded.body if isinstance(statement, ast.ImportFrom) for name in statement.names}
    assert sorted(read) == sorted(um.__all__) and set(um.__all__) <= set(dir(um))
    for name, module in read.items():
        assert getattr(um, name) is getattr(sys.modules[str(module)], name)


def test_import_loads_tools_and_progress_bars_only_where_they_are_used() -> None:
    modules = set(in_a_fresh_process(f"{EVERYTHING}; import sys, json; print(json.dumps(sorted(sys.modules)))"))
    assert not modules & {"rich", "typer", "click", "unimodel.cli"}


def test_import_writes_no_file_sets_no_variable_and_prints_nothing(tmp_path: Path) -> None:
    code = """
        import json, os, sys, warnings
        import numpy  # sets warning filters of its own
        before = dict(os.environ), list(sys.path), list(warnings.filters), os.getcwd()
        from unimodel import *
        after = dict(os.environ), list(sys.path), list(warnings.filters), os.getcwd()
        print(json.dumps(before == after))
        """
    result = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")},
        check=False,
        timeout=120,
    )
    assert (result.stdout, result.stderr) == ("true\n", "")
    assert list(tmp_path.iterdir()) == []


def test_import_opens_no_file_for_writing_and_no_connection() -> None:
    """Python's audit events of the import itself."""
    events = in_a_fresh_process(
        """
        import json, sys
        sys.dont_write_bytecode = True
        import numpy, safetensors.numpy, pluggy
        found = []
        def watch(event, arguments):
            writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if writes or event.startswith(("socket.connect", "subprocess", "os.system", "os.mkdir", "os.putenv", "os.remove", "os.rename")):
                found.append([event, str(arguments)])
        sys.addaudithook(watch)
        from unimodel import *
        print(json.dumps(found))
        """
    )
    assert events == []


def test_import_changes_no_numpy_setting() -> None:
    assert in_a_fresh_process(
        """
        import json
        import numpy as np
        before = np.geterr(), np.get_printoptions(), sorted(np.__dict__)
        from unimodel import *
        print(json.dumps(str(before) == str((np.geterr(), np.get_printoptions(), sorted(np.__dict__)))))
        """
    )


def test_only_the_backend_asked_for_is_imported() -> None:
    roots = in_a_fresh_process(
        """
        import json, sys
        import numpy as np
        import unimodel as um
        model = um.nn.Linear(2, 1)
        trainer = um.Trainer(model, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
        trainer.fit((np.ones((4, 2)), np.ones((4, 1))), verbose=False)
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
        """
    )
    assert "unimodel_numpy" in roots
    assert not set(roots) & {*FRAMEWORKS, "unimodel_torch", "unimodel_tensorflow", "unimodel_mxnet"}


def test_listing_backends_imports_none_of_them() -> None:
    result = in_a_fresh_process(
        """
        import json, sys
        from unimodel import plugins
        names = plugins.names()
        print(json.dumps([names, sorted({name.partition(".")[0] for name in sys.modules})]))
        """
    )
    assert "numpy" in result[0]
    assert not set(result[1]) & {*FRAMEWORKS, "unimodel_numpy", "unimodel_torch"}


def test_an_unknown_backend_in_the_environment_breaks_no_import() -> None:
    assert in_a_fresh_process("import unimodel, json; print(json.dumps(True))", UNIMODEL_BACKEND="nowhere")


def test_the_environment_chooses_the_backend() -> None:
    code = """
        import json
        import unimodel as um
        print(json.dumps(um.Trainer(um.nn.Linear(1, 1)).backend))
        """
    assert in_a_fresh_process(code, UNIMODEL_BACKEND="numpy") == "numpy"


@pytest.mark.parametrize("name", ["ops", "nn", "optim", "losses", "metrics", "callbacks", "init", "errors"])
def test_public_rooms_export_what_they_promise(name: str) -> None:
    import unimodel as um

    room = getattr(um, name)
    public = getattr(room, "__all__", [n for n in vars(room) if not n.startswith("_")])
    assert public and all(hasattr(room, n) for n in public)


def test_public_names_are_all_there() -> None:
    import unimodel as um

    promised = ["Buffer", "History", "Loss", "Model", "Optimizer", "Parameter", "Scalar", "Tensor", "Trainer", "run", "use_backend", "value_and_grad"]
    assert set(promised) <= set(um.__all__) and all(hasattr(um, name) for name in um.__all__)
    assert um.__version__.count(".") == 2
