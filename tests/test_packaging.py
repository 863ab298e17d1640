"""What is installed is what the project says: metadata, files, dependencies, levels, floors."""

import ast
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import csmooth

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALLED = importlib.resources.files("csmooth")


def run_python(code, folder, **environment):
    """Run ``code`` in a fresh interpreter in an empty folder, where no source shadows csmooth."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- metadata and files ---------------------------------------------------------------------------


def test_the_tests_import_the_installed_package():
    distribution = importlib.metadata.distribution("csmooth")
    direct_url = json.loads(distribution.read_text("direct_url.json") or "{}")
    if direct_url.get("dir_info", {}).get("editable"):
        expected = ROOT / "csmooth" / "__init__.py"
    else:
        expected = Path(distribution.locate_file("csmooth/__init__.py"))
    assert Path(csmooth.__file__).resolve() == expected.resolve()


def test_versions_agree():
    assert csmooth.__version__ == PROJECT["version"]
    assert importlib.metadata.version("csmooth") == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["py.typed", "__init__.pyi", "__init__.pxd", "cython_api.pxd", "_coefficients.h"]
)
def test_file_is_shipped(name):
    assert INSTALLED.joinpath(name).is_file()


def test_stub_agrees_with_the_module():
    tree = ast.parse((ROOT / "csmooth" / "__init__.pyi").read_text(encoding="utf-8"))
    names, parameters = None, {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            a = node.args
            parameters[node.name] = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        elif isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            names = ast.literal_eval(node.value)
    assert sorted(names) == sorted(csmooth.__all__)
    for name, stub in parameters.items():
        assert list(inspect.signature(getattr(csmooth, name)).parameters) == stub, name


def test_runtime_dependency_is_numpy_alone(tmp_path):
    needed = [r for r in importlib.metadata.requires("csmooth") if "extra ==" not in r]
    assert [re.match(r"[\w-]+", requirement)[0] for requirement in needed] == ["numpy"]
    code = """if True:
        import sys
        before = set(sys.modules)
        import csmooth
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        cython = {name for name in new if name == "cython_runtime" or name.startswith("_cython_")}
        print(sorted(new - cython - set(sys.stdlib_module_names)))
    """
    process = run_python(code, tmp_path)
    assert process.stdout.strip() in ("['csmooth', 'numpy']", "['csmooth']"), process


# --- README and .ci/run ---------------------------------------------------------------------------

TEST_COMMAND = 'pip install ".[test]" && pytest'
AUDIT_COMMAND = 'pip install ".[audit]" && csmooth audit'


def test_readme_has_the_set_up_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines.count(TEST_COMMAND) == 1
    assert lines.count(AUDIT_COMMAND) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="runs bash")
def test_ci_runs_the_readme_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (extraction,) = re.findall(r"^test_command=.*$", script, re.MULTILINE)
    assert re.search(r'^eval "\$test_command"', script, re.MULTILINE)
    extracted = subprocess.run(
        ["bash", "-c", f'{extraction}\nprintf %s "$test_command"'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert extracted.stdout == TEST_COMMAND


def test_readme_has_the_place_of_the_accuracy_table():
    from csmooth.audit.report import MARKERS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [text.count(marker) for marker in MARKERS] == [1, 1]


# --- SIMD levels ----------------------------------------------------------------------------------

LEVELS = sorted({path.name.split(".")[0][5:] for path in INSTALLED.iterdir()
                 if re.match(r"_isa_\w+\..*(so|pyd)$", path.name)})  # fmt: skip


def test_baseline_is_built():
    assert "baseline" in LEVELS


@pytest.mark.parametrize("level", LEVELS)
def test_built_level_can_be_forced(level, tmp_path):
    code = "import csmooth; print(csmooth.softmax([0.0, 0.0])); csmooth.show_config()"
    process = run_python(code, tmp_path, CSMOOTH_ISA=level)
    if level != "baseline" and "not supported by this processor" in process.stderr:
        pytest.skip(process.stderr.splitlines()[-1])
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("[0.5 0.5]")
    assert re.search(rf"active\W.*\b{level}\b", process.stdout), process.stdout


@pytest.mark.parametrize("name", ["sse9", "../avx2"])
def test_unknown_level_is_an_import_error_that_lists_the_choices(name, tmp_path):
    process = run_python("import csmooth", tmp_path, CSMOOTH_ISA=name)
    assert process.returncode == 1
    message = process.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: ")
    assert name in message
    assert "baseline" in message.split("choices", 1)[1]


# --- floors: a module imports from its own floor or from below ------------------------------------

FLOORS = [
    (r"csmooth\.(audit(\..*)?|spec|dask)", 5),
    (r"csmooth|csmooth\.cython_api", 4),
    (r"csmooth\.([a-z]\w*|_reductions|_losses|_solve|_load|_workers|_config|_ufuncs)", 3),
    (r"csmooth\.(_arrays|_scipy_patch|_dtypes|_complex|_longdouble)", 3),
    (r"csmooth\.(_dispatch|_pool|_bigint|_bigcomplex)", 2),
    (r"csmooth\.(_isa_\w+|_fill)", 1),
    (r"csmooth\._\w+", 0),
]

IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n#]*)"
    r"|c?import[ \t]+(?P<modules>[^\n#(]*))",
    re.MULTILINE,
)


def module_of(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module):
    return next(floor for pattern, floor in FLOORS if re.fullmatch(pattern, module))


def imported_modules(text, module, is_package, known):
    """The modules of csmooth that ``text`` (Python or Cython) imports or cimports."""
    found = set()
    for match in IMPORT.finditer(text):
        if match["base"] is None:
            found.update(part.split(" as ")[0].strip() for part in match["modules"].split(","))
            continue
        base = match["base"]
        dots = len(base) - len(base.lstrip("."))
        if dots:
            parts = module.split(".")
            parts = parts[: len(parts) - dots + is_package]
            base = ".".join([*parts, *filter(None, [base.lstrip(".")])])
        names = [name.split(" as ")[0].strip(" ()\n") for name in match["names"].split(",")]
        submodules = {f"{base}.{name}" for name in names} & known
        found.update(submodules)
        if len(submodules) < len([name for name in names if name]):
            found.add(base)
    return {name for name in found if name.partition(".")[0] == "csmooth"}


def upward_imports(root):
    files = [p for suffix in ("py", "pyx", "pxd") for p in (root / "csmooth").rglob(f"*.{suffix}")]
    known = {module_of(path, root) for path in files}
    return sorted(
        f"{path.relative_to(root)} (floor {floor_of(module)}) imports {name} "
        f"(floor {floor_of(name)})"
        for path in files
        for module in [module_of(path, root)]
        for name in imported_modules(
            path.read_text(encoding="utf-8"), module, path.stem == "__init__", known
        )
        if floor_of(name) > floor_of(module)
    )


def test_no_module_imports_from_a_floor_above():
    assert upward_imports(ROOT) == []


def test_upward_imports_are_found(tmp_path):
    package = tmp_path / "csmooth"
    (package / "audit").mkdir(parents=True)
    (package / "__init__.py").write_text("from csmooth.reductions import softmax\n")
    (package / "reductions.pyx").write_text(
        "from csmooth import (\n    _dispatch,\n    spec)\nfrom csmooth import __version__\n"
    )
    (package / "spec.py").write_text("import math\n")
    (package / "_dispatch.pyx").write_text("from . cimport _rows\n")
    (package / "_rows.pxd").write_text("from libc.math cimport fma\ncimport csmooth._dispatch\n")
    (package / "audit" / "__init__.py").write_text("from .. import softmax\nfrom ..spec import x\n")
    assert upward_imports(tmp_path) == [
        "csmooth/_rows.pxd (floor 0) imports csmooth._dispatch (floor 2)",
        "csmooth/reductions.pyx (floor 3) imports csmooth (floor 4)",
        "csmooth/reductions.pyx (floor 3) imports csmooth.spec (floor 5)",
    ]
