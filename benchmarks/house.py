"""How much a reader must carry in the head, counted from the source: ``python -m benchmarks.house [--json] [--root FOLDER]``.

Without ``--json`` every place is listed with file and line, and what was left out is summed up. Nothing is imported: the files
are parsed. The counts:

functions_over_12_parameters
    Functions of diffsim, rpg and tasks, nested ones included, with more than 12 parameters; ``self`` and ``cls`` of methods do
    not count, ``*args`` is one. Kernels' entry points (decorated ``@ti.kernel``) are excepted.
bare_offsets
    Integer literals above 0 that a device function (``@ti.func`` or ``@ti.kernel``, in a file that imports ``ti``) adds to a
    position in shared memory: in an index (``reals[own + 15]``), in the position argument of a device function that indexes
    with it (``load(inputs, at + 3)``, traced through the calls and through the fields of named tuples), or on the way to one
    (``at = own + 3``, then ``reals[at]``);
    also a lone literal that indexes an array which the same function indexes by run-time positions (``sizes[3]`` beside
    ``sizes[at]``). Left out, and counted in the listing:
    - indices of local vectors and of tiles, made of literals, named constants and unrolled loop variables alone
      (``v[2]``, ``F[3 * i + 1][t]``);
    - literals inside a product, which number rows and are no fields (``(row + 1) * SIZE``);
    - consecutive entries given to a vector's or matrix's constructor (``vec3(a[at], a[at + 1], a[at + 2])``);
    - a counter's own step (``n = n + 1``).
loose_files_diffsim, loose_files_rpg
    Python files directly in the package's folder, ``__init__.py`` aside.
repeated_module_names
    Names that two or more modules of diffsim, rpg and tasks bear, ``__init__`` aside.
files_to_add_a_joint, files_to_add_a_law, files_to_add_a_shape
    1 for the new member's own file, and 1 for each file of diffsim that singles out members of the family, so that a new
    one has to be added there: it compares with a member (``kind == REVOLUTE``, ``match``, ``isinstance``), lists two or more
    in a tuple, list, set or dictionary (also on the left of an assignment), looks one up by its name (``sizes["ball"]``), or,
    in an ``__init__.py``, imports two or more. Defining a member or making one (``Sphere(0.1)``) is none of these, and
    annotations are not read. Left out, and counted in the listing:
    - members that mark a general distinction, which a new one falls under without an edit: the joints "fixed" (welded) and
      "free" (floating), the shape `Plane` (unbounded);
    - conditions that only raise, and so refuse what is not supported;
    - what decides nothing: the public names in ``diffsim/__init__.py``, and files that import MuJoCo, which name the kinds of
      its file formats.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("diffsim", "rpg", "tasks")
MOST_PARAMETERS = 12
DEVICE = {"func", "real_func", "kernel"}
VECTORS = ("vec", "mat", "Vector", "Matrix")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Place:
    """Where something was found: file (relative to the root), line, and the source in question."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Family:
    """Kinds of one thing: ``members`` and, apart, those that are ``general`` distinctions; all lower case, no underscores."""

    members: frozenset[str]
    general: frozenset[str]
    suffix: str  # of a member's class: RevoluteJoint is "revolute"

    def member(self, name: str) -> str | None:
        """The member that an identifier or a string names."""
        plain = name.replace("_", "").lower()
        for known in (plain, plain.removesuffix(self.suffix)):
            if known in self.members or known in self.general:
                return known
        return None


FAMILIES = {
    "joint": Family(
        frozenset({"revolute", "prismatic", "ball", "universal", "planar"}), frozenset({"fixed", "free"}), suffix="joint"
    ),
    "law": Family(
        frozenset(
            {
                *("elastic", "neohookean", "elastoplastic", "liquid", "sand", "snow", "viscoelastic"),
                *("kelvinvoigt", "mooneyrivlin", "fixedcorotated", "vonmises", "druckerprager"),
            }
        ),
        frozenset(),
        suffix="law",
    ),
    "shape": Family(
        frozenset(
            {
                *("sphere", "capsule", "box", "roundedbox", "cylinder", "torus"),
                *("ellipsoid", "cone", "heightfield", "trianglemesh", "meshshape"),
            }
        ),
        frozenset({"plane"}),
        suffix="shape",
    ),
}


@dataclass
class Findings:
    """Places by count, and how many places of each kind were left out."""

    functions: list[Place] = field(default_factory=list)
    offsets: list[Place] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    loose: dict[str, list[Place]] = field(default_factory=dict)
    repeated: dict[str, list[str]] = field(default_factory=dict)
    family: dict[str, list[Place]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """What ``--json`` prints."""
        return {
            "functions_over_12_parameters": len(self.functions),
            "bare_offsets": len(self.offsets),
            "loose_files_diffsim": len(self.loose["diffsim"]),
            "loose_files_rpg": len(self.loose["rpg"]),
            "repeated_module_names": len(self.repeated),
            **{f"files_to_add_a_{name}": 1 + len({place.file for place in self.family[name]}) for name in FAMILIES},
        }


# --- functions and modules ---


def last_name(node: ast.AST) -> str:
    """``b`` of ``a.b`` and of ``b``; of a call, its function's."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def decorators(function: Function) -> set[str]:
    return {last_name(decorator) for decorator in function.decorator_list}


def parameters(function: Function, *, method: bool) -> list[str]:
    """Names of all parameters, without ``self`` or ``cls`` of a method."""
    a = function.args
    names = [each.arg for each in (*a.posonlyargs, *a.args)]
    if method and "staticmethod" not in decorators(function):
        names = names[1:]
    return names + [each.arg for each in (a.vararg, *a.kwonlyargs, a.kwarg) if each is not None]


def long_functions(file: str, tree: ast.Module) -> Iterator[Place]:
    """Functions of more than `MOST_PARAMETERS` parameters, kernels excepted."""
    methods = {id(item) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, Function) and "kernel" not in decorators(node):
            count = len(parameters(node, method=id(node) in methods))
            if count > MOST_PARAMETERS:
                yield Place(file, node.lineno, f"{node.name} has {count} parameters")


# --- offsets ---


def imports_ti(tree: ast.Module) -> bool:
    """Whether the file imports the kernel compiler as ``ti``."""
    return any(
        isinstance(node, ast.Import | ast.ImportFrom) and any((a.asname or a.name) == "ti" for a in node.names)
        for node in ast.walk(tree)
    )


def terms(node: ast.expr) -> Iterator[ast.expr]:
    """What is added up in an expression; of a difference the left side, of a choice both, of ``ti.static`` what is in it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from terms(node.left)
        yield from terms(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        yield from terms(node.left)
    elif isinstance(node, ast.IfExp):
        yield from terms(node.body)
        yield from terms(node.orelse)
    elif isinstance(node, ast.Call) and last_name(node) == "static" and len(node.args) == 1:
        yield from terms(node.args[0])
    else:
        yield node


def literals(node: ast.expr) -> list[ast.Constant]:
    """Integer literals above 0 among the terms."""
    return [t for t in terms(node) if isinstance(t, ast.Constant) and type(t.value) is int and t.value > 0]


def in_products(node: ast.expr) -> int:
    """Integer literals that are added to something inside a product or a call within an index."""
    own = {id(literal) for literal in literals(node)}
    inner = [n for n in ast.walk(node) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add)]
    found = {id(literal) for part in inner for literal in literals(part)}
    return len(found - own)


class Device:
    """A device function, and which of its names are positions in memory: they index an array, or are passed on to do so."""

    def __init__(self, file: str, node: Function):
        self.file, self.node = file, node
        self.parameters = parameters(node, method=False)
        nested = {id(n) for each in ast.walk(node) if isinstance(each, Function) and each is not node for n in ast.walk(each)}
        self.nodes = [n for n in ast.walk(node) if id(n) not in nested]
        self.unrolled = {
            name.id
            for n in self.nodes
            if isinstance(n, ast.For | ast.comprehension) and isinstance(n.iter, ast.Call) and last_name(n.iter) == "static"
            for name in ast.walk(n.target)
            if isinstance(name, ast.Name)
        }
        self.assigned = [(target, n.value) for n in self.nodes if isinstance(n, ast.Assign) for target in n.targets]
        self.local = {
            name.id
            for target, _value in self.assigned
            for name in ast.walk(target)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
        self.positions: set[str] = set()
        self.fields: set[str] = set()  # fields of bundles that are positions
        self._calls: list[tuple[ast.expr, Device, str]] | None = None

    def at_run_time(self, index: ast.expr) -> bool:
        """Whether an index has a term that is neither a literal, a named constant nor an unrolled variable."""
        return not all(self.is_constant(term) for term in terms(index))

    def is_constant(self, term: ast.expr) -> bool:
        """Literals, NAMES, Record.fields, unrolled variables, and products of these."""
        if isinstance(term, ast.BinOp):
            return self.is_constant(term.left) and self.is_constant(term.right)
        if isinstance(term, ast.Attribute):
            return last_name(term.value)[:1].isupper()
        if isinstance(term, ast.Name):
            return term.id.isupper() or term.id in self.unrolled
        return isinstance(term, ast.Constant)

    def memory_indices(self) -> Iterator[tuple[ast.Subscript, ast.expr]]:
        """Subscripts of what may be shared memory, with their one-dimensional indices; local vectors are none."""
        for n in self.nodes:
            if isinstance(n, ast.Subscript) and not isinstance(n.slice, ast.Tuple | ast.Slice):
                base = n.value
                if (isinstance(base, ast.Name) and base.id not in self.local) or isinstance(base, ast.Attribute):
                    yield n, n.slice

    def calls(self, known: dict[str, list[Device]]) -> list[tuple[ast.expr, Device, str]]:
        """Arguments of calls to device functions, with the callee and its parameter's name."""
        if self._calls is None:
            self._calls = list(self._find_calls(known))
        return self._calls

    def _find_calls(self, known: dict[str, list[Device]]) -> Iterator[tuple[ast.expr, Device, str]]:
        for n in self.nodes:
            if not isinstance(n, ast.Call) or last_name(n) not in known:
                continue
            for callee in known[last_name(n)]:
                names = dict(zip(callee.parameters, n.args, strict=False))
                names |= {keyword.arg: keyword.value for keyword in n.keywords if keyword.arg}
                for name, argument in names.items():
                    yield argument, callee, name

    def find_unrolled(self, constant: dict[tuple[int, str], bool]) -> bool:
        """One round of the search for parameters that are constants in all calls; whether it found more."""
        found = {name for name in self.parameters if constant.get((id(self), name), False)} - self.unrolled
        self.unrolled |= found
        return bool(found)

    def find_positions(self, known: dict[str, list[Device]]) -> bool:
        """One round of the search; whether it found more."""
        before = len(self.positions) + len(self.fields)
        used = [index for _subscript, index in self.memory_indices()]
        used += [argument for argument, callee, name in self.calls(known) if name in callee.positions]
        used += [v for target, v in self.pairs() if isinstance(target, ast.Name) and target.id in self.positions]
        self.positions |= {
            t.id for index in used for t in terms(index) if isinstance(t, ast.Name) and t.id not in self.unrolled
        }
        self.fields |= {
            t.attr for index in used for t in terms(index) if isinstance(t, ast.Attribute) and not self.is_constant(t)
        }
        return len(self.positions) + len(self.fields) > before

    def pairs(self) -> Iterator[tuple[ast.expr, ast.expr]]:
        """Assignments one by one: ``a, b = c, d`` is two."""
        for target, value in self.assigned:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                yield from zip(target.elts, value.elts, strict=True)
            else:
                yield target, value


def vector_entries(device: Device) -> set[int]:
    """Subscripts (by id) in ``vec3(a[at], a[at + 1], a[at + 2])``: consecutive entries for one vector's constructor."""
    found: set[int] = set()
    for n in device.nodes:
        if isinstance(n, ast.Call) and last_name(n).startswith(VECTORS):
            entries = [a for a in n.args if isinstance(a, ast.Subscript)]
            if len(entries) == len(n.args) and len({ast.dump(each.value) for each in entries}) == 1:
                offsets = [sum(int(str(literal.value)) for literal in literals(each.slice)) for each in entries]
                if offsets == list(range(len(offsets))):
                    found |= {id(each) for each in entries}
    return found


def bare_offsets(trees: dict[str, ast.Module], left_out: Counter[str]) -> Iterator[Place]:
    """Literals added to positions in memory, over all kernel files."""
    devices = [
        Device(file, node)
        for file, tree in trees.items()
        if imports_ti(tree)
        for node in ast.walk(tree)
        if isinstance(node, Function) and decorators(node) & DEVICE
    ]
    known: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        known[device.node.name].append(device)
    # a parameter that is a constant in all calls is an unrolled variable: the column j of a tile in rotate(A, 0, 1)
    found = True
    while found:
        constant = _constant_arguments(devices, known)
        found = any(device.find_unrolled(constant) for device in devices)
    while any(device.find_positions(known) for device in devices):
        pass
    bundles = {name: fields for tree in trees.values() for name, fields in _named_tuples(tree)}
    positions = {name for device in devices for name in device.fields}
    for device in devices:
        made = [each for each in _bundled(device, bundles) if each[0] in positions]
        yield from _offsets_of(device, known, [argument for _field, argument in made], left_out)


def _named_tuples(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """The named tuples that a module defines, with their fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(last_name(base) == "NamedTuple" for base in node.bases):
            fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
            yield node.name, fields


def _bundled(device: Device, bundles: dict[str, list[str]]) -> Iterator[tuple[str, ast.expr]]:
    """Fields of the named tuples that a device function makes, with what it gives them."""
    for n in device.nodes:
        if isinstance(n, ast.Call) and last_name(n) in bundles:
            yield from zip(bundles[last_name(n)], n.args, strict=False)
            yield from ((keyword.arg, keyword.value) for keyword in n.keywords if keyword.arg)


def _constant_arguments(devices: list[Device], known: dict[str, list[Device]]) -> dict[tuple[int, str], bool]:
    """Whether a parameter, by its device's id and its name, is given constants in all calls."""
    given: dict[tuple[int, str], bool] = {}
    for device in devices:
        for argument, callee, name in device.calls(known):
            given[id(callee), name] = given.get((id(callee), name), True) and device.is_constant(argument)
    return given


def _offsets_of(
    device: Device, known: dict[str, list[Device]], bundled: list[ast.expr], left_out: Counter[str]
) -> Iterator[Place]:
    seen: set[int] = set()

    def places(index: ast.expr, where: ast.expr) -> Iterator[Place]:
        left_out["literals inside a product"] += in_products(index)
        for literal in literals(index):
            if id(literal) not in seen:
                seen.add(id(literal))
                yield Place(device.file, literal.lineno, ast.unparse(where))

    vectors = vector_entries(device)
    indices = list(device.memory_indices())
    addressed = {ast.dump(s.value) for s, index in indices if device.at_run_time(index)}
    components = {id(n.value) for n in device.nodes if isinstance(n, ast.Subscript)}  # X[...] of X[...][t]
    for subscript, index in indices:
        memory = ast.dump(subscript.value) in addressed and id(subscript) not in components
        if id(subscript) in vectors:
            left_out["entries of one vector"] += len(literals(index))
        elif device.at_run_time(index) or memory:
            yield from places(index, subscript)
        else:
            left_out["entries of local vectors and tiles"] += len(literals(index))
    for argument, callee, name in device.calls(known):
        if name in callee.positions and list(terms(argument))[1:]:
            yield from places(argument, argument)
    for argument in bundled:
        if list(terms(argument))[1:]:
            yield from places(argument, argument)
    for target, value in device.pairs():
        if isinstance(target, ast.Name) and target.id in device.positions and literals(value) and list(terms(value))[1:]:
            if target.id in {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}:
                left_out["steps of counters"] += 1
            else:
                yield from places(value, value)


# --- families ---


def deciding(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those of annotations, and of conditions that only raise."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        refuses = isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise) and not node.orelse
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns") and not (refuses and name == "test"):
                stack += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, ast.AST)]


def named(node: ast.AST | None, family: Family) -> set[str]:
    """Members that an expression names by itself, or by its parts where these are alternatives (tuples, ``A | B``)."""
    if isinstance(node, ast.Name | ast.Attribute):
        found = family.member(last_name(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found = family.member(node.value)
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        return {member for each in node.elts for member in named(each, family)}
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return named(node.left, family) | named(node.right, family)
    elif isinstance(node, ast.Starred | ast.MatchValue):
        return named(node.value, family)
    elif isinstance(node, ast.MatchClass):
        return named(node.cls, family)
    else:
        found = None
    return {found} if found else set()


def singled_out(node: ast.AST, family: Family, *, package: bool) -> set[str]:
    """The members that a node singles out, as the module's docstring says; ``package`` for an ``__init__.py``."""
    if isinstance(node, ast.Compare):
        return set().union(*(named(each, family) for each in (node.left, *node.comparators)))
    if isinstance(node, ast.Call) and last_name(node) in ("isinstance", "issubclass") and len(node.args) == 2:
        return named(node.args[1], family)
    if isinstance(node, ast.MatchValue | ast.MatchClass):
        return named(node, family)
    if isinstance(node, ast.Subscript):
        return named(node.slice, family) if isinstance(node.slice, ast.Constant) else set()
    several: set[str] = set()
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        several = named(node, family)
    elif isinstance(node, ast.Dict):
        several = set().union(*(named(each, family) for each in node.keys)) or set().union(
            *(named(each, family) for each in node.values)
        )
    elif isinstance(node, ast.Module) and package:
        names = [a.name.split(".")[-1] for n in node.body if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
        several = {member for name in names if (member := family.member(name))}
    return several if len(several) > 1 else set()


def decides_nothing(file: str, tree: ast.Module) -> bool:
    """Whether a file names members only because they are public, or because MuJoCo's files have them."""
    imported = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    return file == "diffsim/__init__.py" or "mujoco" in imported


def family_places(file: str, tree: ast.Module, family: Family) -> Iterator[tuple[Place, bool]]:
    """Where a file singles out members of a family, and whether they are more than general distinctions."""
    places: dict[int, set[str]] = defaultdict(set)
    for node in deciding(tree):
        places[getattr(node, "lineno", 1)] |= singled_out(node, family, package=file.endswith("__init__.py"))
    for line, found in sorted(places.items()):
        if found:
            yield Place(file, line, ", ".join(sorted(found))), bool(found - family.general)


# --- all of it ---


def examine(root: Path) -> Findings:
    """Count over the packages below ``root``.

    Raises:
        SystemExit: a package is missing.
    """
    missing = [package for package in PACKAGES if not (root / package).is_dir()]
    if missing:
        raise SystemExit(f"error: {root} has no {', '.join(missing)}")
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    trees = {path.relative_to(root).as_posix(): ast.parse(path.read_text(), str(path)) for path in paths}
    found = Findings()
    for file, tree in trees.items():
        found.functions += long_functions(file, tree)
    found.offsets = sorted(bare_offsets(trees, found.left_out), key=lambda place: (place.file, place.line))
    for package in PACKAGES:
        loose = [path for path in sorted((root / package).glob("*.py")) if path.stem != "__init__"]
        found.loose[package] = [Place(path.relative_to(root).as_posix(), 1, path.stem) for path in loose]
    modules: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if path.stem != "__init__":
            modules[path.stem].append(path.relative_to(root).as_posix())
    found.repeated = {name: files for name, files in modules.items() if len(files) > 1}
    for name, family in FAMILIES.items():
        found.family[name] = []
        for file, tree in trees.items():
            if file.startswith("diffsim/"):
                places = list(family_places(file, tree, family))
                if decides_nothing(file, tree):
                    found.left_out[f"{name}s' names that decide nothing"] += len(places)
                else:
                    found.family[name] += [place for place, counts in places if counts]
                    found.left_out[f"{name}s' general distinctions"] += sum(not counts for _place, counts in places)
    return found


def report(found: Findings) -> None:
    """Print every place."""
    sections: dict[str, list[Place]] = {
        f"functions of more than {MOST_PARAMETERS} parameters": found.functions,
        "bare offsets": found.offsets,
        **{f"loose files of {package}": found.loose[package] for package in ("diffsim", "rpg")},
        **{f"where {name}s are singled out": found.family[name] for name in FAMILIES},
    }
    for title, places in sections.items():
        print(f"== {title}: {len(places)}")
        for place in places:
            print(f"  {place}")
    print(f"== repeated module names: {len(found.repeated)}")
    for name, files in found.repeated.items():
        print(f"  {name}: {', '.join(files)}")
    print("== left out")
    for what, count in sorted(found.left_out.items()):
        print(f"  {what}: {count}")
    print("== counts")
    for what, count in found.counts().items():
        print(f"  {what}: {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the counts, as one JSON object")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="folder that holds the packages")
    options = parser.parse_args()
    found = examine(options.root)
    if options.json:
        print(json.dumps(found.counts()))
    else:
        report(found)


if __name__ == "__main__":
    main()
