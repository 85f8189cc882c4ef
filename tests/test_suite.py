"""Suite files: what a document means, that it survives printing, and that every mistake is one line naming the file, the key and
the nearest name."""

from __future__ import annotations

import glob
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import UserError
from benchmark.budget import BuildLimits, DeviceTier
from benchmark.specs import RANKING_METRICS, Scalar
from benchmark.suite import MeasureOptions, OwnTask, PassCall, Recipe, Suite, dump, load, parse, parse_pass, shipped

HEAD = '[suite]\nname = "s"\ntasks = ["a"]\nbackends = ["b", "c"]\n'


def message(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text, "file.toml")
    return str(caught.value)


# What a document means


def test_defaults() -> None:
    assert parse(HEAD, "file.toml") == Suite(
        name="s",
        tasks=("a",),
        backends=("b", "c"),
        recipes=(Recipe(),),
        runtimes=("onnxruntime",),
        architectures={},
        seeds=(0,),
        folds=(0,),
        training={},
        build=BuildLimits(cores=1, memory=1024**3, seconds=60.0),
        tiers=(),
        measure=MeasureOptions(processes=3, rounds=3, calls=300),
    )


def test_everything_given() -> None:
    suite = parse(
        """
        [suite]
        name = "edge-2_x"
        tasks = ["t1", "t2"]
        backends = ["torch", "jax"]
        architectures = {torch = ["cnn", "mlp"]}
        runtimes = ["r1", "r2"]
        seeds = [3, 0]
        folds = [1]
        [train]
        updates = 30
        [train.torch]
        lr = 0.5
        [budget.build]
        cores = 2
        memory = "512 MiB"
        seconds = 20
        [[budget.device]]
        name = "XS"
        bytes = "16 KiB"
        latency_p90 = "1 ms"
        [[budget.device]]
        name = "any"
        [measure]
        processes = 1
        rounds = 2
        calls = 7
        [[recipe]]
        passes = ["prune(sparsity=0.5)", "int8"]
        [[recipe]]
        passes = []
        """,
        "file.toml",
    )
    assert suite == Suite(
        name="edge-2_x",
        tasks=("t1", "t2"),
        backends=("torch", "jax"),
        recipes=(Recipe(), Recipe((PassCall("prune", (("sparsity", 0.5),)), PassCall("int8")))),
        runtimes=("r1", "r2"),
        architectures={"torch": ("cnn", "mlp")},
        seeds=(3, 0),
        folds=(1,),
        training={"": {"updates": 30}, "torch": {"lr": 0.5}},
        build=BuildLimits(cores=2, memory=512 * 1024**2, seconds=20.0),
        tiers=(DeviceTier("XS", 16_384, 0.001), DeviceTier("any")),
        measure=MeasureOptions(processes=1, rounds=2, calls=7),
    )


def test_all_folds_of_every_task() -> None:
    assert parse(HEAD + 'folds = "all"\n', "file.toml").folds is None
    assert "suite.folds must be an array of whole numbers" in message(HEAD + 'folds = "every"\n')


OWN = '[task.a]\nfile = "x.csv"\ntarget = "y"\nmetric = "roc_auc"\n'


def test_a_task_that_is_a_file_of_the_users() -> None:
    given = 'unit = "patient"\nfolds = 3\nmargin = 0.1\ndrop = ["name"]\n'
    suite = parse(HEAD + OWN + given, "file.toml")
    assert suite.own == {"a": OwnTask("x.csv", "y", "roc_auc", unit="patient", folds=3, margin=0.1, drop=("name",))}
    assert parse(HEAD + OWN, "file.toml").own["a"] == OwnTask("x.csv", "y", "roc_auc", folds=5)
    arrays = OWN.replace("x.csv", "x.npz") + 'modality = "image"\n'
    assert parse(HEAD + arrays, "file.toml").own["a"].modality == "image"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (OWN.replace("[task.a]", "[task.b]"), "task.b is not among suite.tasks: a"),
        (OWN.replace("target", "taget"), "unknown key task.a.taget; did you mean 'target'?"),
        (OWN.replace('file = "x.csv"\n', ""), "task.a.file is missing"),
        (OWN.replace('target = "y"\n', ""), "task.a.target is missing"),
        (OWN.replace('metric = "roc_auc"\n', ""), "task.a.metric is missing"),
        (OWN.replace("roc_auc", "auc"), "task.a.metric must be one of accuracy, balanced_accuracy, roc_auc, not 'auc'"),
        (OWN.replace("x.csv", "x.xlsx"), "task.a.file must end in .csv, .parquet or .npz, not '.xlsx'"),
        (OWN.replace("x.csv", "x"), "task.a.file must end in .csv, .parquet or .npz, not 'nothing'"),
        (OWN.replace("x.csv", "x.npz"), "task.a.modality is missing"),
        (OWN + 'modality = "image"\n', "task.a.modality: a .csv file holds a table, so it cannot be 'image'"),
        (OWN + "folds = 1\n", "task.a.folds must be at least 2"),
        (OWN + 'unit = "y"\n', "task.a.target, unit and drop must name different columns"),
        (OWN + 'drop = ["z", "y"]\n', "task.a.target, unit and drop must name different columns"),
        ("[task]\na = 3\n", "task.a must be a table"),
    ],
)
def test_what_is_wrong_with_such_a_task_is_named(entry: str, expected: str) -> None:
    assert message(HEAD + entry) == f"file.toml: {expected}"


def test_its_file_is_looked_for_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(HEAD + OWN, encoding="utf-8")
    with pytest.raises(UserError, match=r"s\.toml: task\.a\.file: there is no file .*x\.csv"):
        load(str(tmp_path / "s.toml"))
    (tmp_path / "x.csv").write_text("a,y\n1,2\n", encoding="utf-8")
    suite = load(str(tmp_path / "s.toml"))
    assert suite.own["a"].file == str(tmp_path / "x.csv")
    assert suite.select(tasks=["a"]).own == suite.own


def test_a_part_of_a_suite_has_the_files_of_its_tasks_alone() -> None:
    suite = parse(HEAD.replace('"a"', '"a", "d"') + OWN, "file.toml")
    assert suite.select(tasks=["d"]).own == {}


def test_the_reference_comes_first_and_once() -> None:
    text = HEAD + '[[recipe]]\npasses = ["x"]\n[[recipe]]\npasses = []\n[[recipe]]\npasses = [" x() "]\n'
    assert list(map(str, parse(text, "file.toml").recipes)) == ["reference", "x"]


def test_recipes_are_told_apart_by_how_they_are_written() -> None:
    text = "".join(f'[[recipe]]\npasses = ["x(a={value})"]\n' for value in ("1", "true", "1.0", "0x1"))
    assert list(map(str, parse(HEAD + text, "file.toml").recipes)) == ["reference", "x(a=1)", "x(a=true)", "x(a=1.0)"]


# Mistakes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[suite\n", "not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (HEAD + "seeds = 0 1\n", "not valid TOML: Expected newline or end of document after a statement (at line 5, column 11)"),
        ("", "suite.name is missing"),
        ("suite = 3", "suite must be a table"),
        ("[[suite]]", "suite must be a table"),
        ("[suit]", "unknown key suit; did you mean 'suite'?"),
        ("[qqq]", "unknown key qqq; known: budget, measure, recipe, search, suite, task, train"),
        ('["a\\nb"]', "unknown key a b; known: budget, measure, recipe, search, suite, task, train"),
        ('[suite]\nname = ""', "suite.name must be a text, not ''"),
        ("[suite]\nname = 3", "suite.name must be a text, not 3"),
        ('[suite]\nname = "../up"', "suite.name: '../up' must be made of letters, digits, '-' and '_'"),
        ('[suite]\nname = "s"\nbackends = ["b"]', "suite.tasks is missing"),
        ('[suite]\nname = "s"\ntasks = ["a"]', "suite.backends is missing"),
        (HEAD.replace('["a"]', "[]"), "suite.tasks must name at least one, and each once"),
        (HEAD.replace('["a"]', '["a", "a"]'), "suite.tasks must name at least one, and each once"),
        (HEAD.replace('["a"]', '"a"'), "suite.tasks must be an array of texts, not 'a'"),
        (HEAD.replace('["a"]', '["a", 1]'), "suite.tasks must be a text, not 1"),
        (HEAD + "task = 1", "unknown key suite.task; did you mean 'tasks'?"),
        (HEAD + "runtimes = []", "suite.runtimes must name at least one, and each once"),
        (HEAD + "seeds = 3", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not 3"),
        (HEAD + "seeds = []", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not []"),
        (HEAD + "seeds = [-1]", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not [-1]"),
        (HEAD + "seeds = [true]", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not [True]"),
        (HEAD + "seeds = [0.0]", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not [0.0]"),
        (HEAD + "seeds = [4294967296]", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not [4294967296]"),
        (HEAD + "folds = [1, 1]", "suite.folds must name each number once"),
        (HEAD + "architectures = 1", "suite.architectures must be a table"),
        (HEAD + "architectures = {b = []}", "suite.architectures.b must name at least one, and each once"),
        (HEAD + 'architectures = {bb = ["x"]}', "unknown key suite.architectures.bb; did you mean 'b'?"),
        (HEAD + "[train]\nupdates = [1]", "train.updates must be a finite number, a text or a truth value, not [1]"),
        (HEAD + "[train]\nlr = nan", "train.lr must be a finite number, a text or a truth value, not nan"),
        (HEAD + "[train]\nlr = -inf", "train.lr must be a finite number, a text or a truth value, not -inf"),
        (
            HEAD + "[train.b]\nlr = 07:32:00",
            "train.b.lr must be a finite number, a text or a truth value, not datetime.time(7, 32)",
        ),
        (HEAD + "[train.x]\nlr = 1", "unknown key train.x; known: b, c"),
        (HEAD + "[budget]\nbuilt = 1", "unknown key budget.built; did you mean 'build'?"),
        (HEAD + "[budget.build]\ncore = 1", "unknown key budget.build.core; did you mean 'cores'?"),
        (HEAD + "[budget.build]\ncores = 0", "budget.build.cores must be a whole number from 1 to 2**32 - 1, not 0"),
        (HEAD + "[budget.build]\ncores = true", "budget.build.cores must be a whole number from 1 to 2**32 - 1, not True"),
        (HEAD + "[budget.build]\nmemory = 1024", "budget.build.memory must be a text, not 1024"),
        (
            HEAD + '[budget.build]\nmemory = "1 GiG"',
            "budget.build.memory: '1 GiG' is not a size: write a number and one of B, KB, MB, GB, KiB, MiB, GiB",
        ),
        (HEAD + "[budget.build]\nseconds = 0", "budget.build.seconds must be a number above 0, not 0"),
        (HEAD + "[budget.build]\nseconds = inf", "budget.build.seconds must be a number above 0, not inf"),
        (HEAD + '[budget.build]\nseconds = "60 s"', "budget.build.seconds must be a number above 0, not '60 s'"),
        (HEAD + "[budget.device]\nname = 1", "budget.device must be an array of tables: [[budget.device]]"),
        (HEAD + '[[budget.device]]\nbytes = "1 KiB"', "budget.device[0].name is missing"),
        (HEAD + '[[budget.device]]\nname = "S"\nbits = 1', "unknown key budget.device[0].bits; did you mean 'bytes'?"),
        (
            HEAD + '[[budget.device]]\nname = "S"\n[[budget.device]]\nname = "M"\nlatency_p90 = "1"',
            "budget.device[1].latency_p90: '1' is not a duration: write a number and one of us, µs, ms, s, min, h",
        ),
        (HEAD + '[[budget.device]]\nname = "S"\n[[budget.device]]\nname = "S"', "budget.device must name each tier once"),
        (HEAD + "[measure]\nround = 1", "unknown key measure.round; did you mean 'rounds'?"),
        (HEAD + "[measure]\ncalls = 1.0", "measure.calls must be a whole number from 1 to 2**32 - 1, not 1.0"),
        (HEAD + "[recipe]\npasses = []", "recipe must be an array of tables: [[recipe]]"),
        (HEAD + "[[recipe]]", "recipe[0].passes is missing"),
        (HEAD + "[[recipe]]\npass = []", "unknown key recipe[0].pass; did you mean 'passes'?"),
        (HEAD + '[[recipe]]\npasses = "x"', "recipe[0].passes must be an array of texts, not 'x'"),
        (HEAD + "[[recipe]]\npasses = []\n[[recipe]]\npasses = [1]", "recipe[1].passes must be a text, not 1"),
        (
            HEAD + '[[recipe]]\npasses = ["x y"]',
            "recipe[0].passes: 'x y' is not a pass: write name or name(parameter=value, ...)",
        ),
        (
            HEAD + '[[recipe]]\npasses = ["reference"]',
            "recipe[0].passes: 'reference' is no pass: every suite has the recipe without passes, which is called reference",
        ),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    assert message(text) == f"file.toml: {expected}"


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000])
def test_what_python_refuses_to_parse_is_not_valid_either(text: str) -> None:
    assert message(text).startswith("file.toml: not valid TOML: ")


@pytest.mark.parametrize("key", ["[train]\nlr", "[budget.build]\nseconds"])
def test_an_integer_that_no_float_can_hold(key: str) -> None:
    assert message(f"{HEAD}{key} = {10**400}").endswith(f"not {10**400}")


HUGE = "0x" + "f" * 4000
"""TOML reads it; Python does not print it."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + f"seeds = [{HUGE}]", "suite.seeds must be an array of whole numbers from 0 to 2**32 - 1, not this value"),
        (HEAD + f"[measure]\ncalls = {HUGE}", "measure.calls must be a whole number from 1 to 2**32 - 1, not this value"),
        (HEAD + f"[train]\nlr = {HUGE}", "train.lr must be a finite number, a text or a truth value, not this value"),
        (f"[suite]\nname = [[{HUGE}]]", "suite.name must be a text, not this value"),
    ],
)
def test_what_python_refuses_to_print_is_a_mistake_like_others(text: str, expected: str) -> None:
    assert message(text) == f"file.toml: {expected}"


def test_tables_in_tables_deeper_than_python_prints() -> None:
    assert message("[suite]\nname" + ".a" * 2000 + " = 1").startswith("file.toml: suite.name must be a text, not ")


# Passes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int8-static", PassCall("int8-static")),
        ("int8-static()", PassCall("int8-static")),
        (" a.b_c-2 ", PassCall("a.b_c-2")),
        ("p(b=1, a=0.5)", PassCall("p", (("a", 0.5), ("b", 1)))),
        ("p ( s = 'x, )y' )", PassCall("p", (("s", "x, )y"),))),
        ('p(s="a#b", t=true)', PassCall("p", (("s", "a#b"), ("t", True)))),
        ("p(n=1_000, h=0x10, e=1e-3)", PassCall("p", (("e", 0.001), ("h", 16), ("n", 1000)))),
    ],
)
def test_passes(text: str, expected: PassCall) -> None:
    assert parse_pass(text) == expected


@pytest.mark.parametrize("text", ["", "(a=1)", "p(", "p)", "p(a=1", "p(a=1) q", "-p", "p q", "p\n(a=1)\nq", "p(a=1\n)"])
def test_what_is_no_pass(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_pass(text)
    assert str(caught.value) == f"{text!r} is not a pass: write name or name(parameter=value, ...)"


@pytest.mark.parametrize(
    "text", ["p(a)", "p(1)", "p(a=b)", "p(a=1, a=2)", "p(a=1,)", "p(a=1 b=2)", "p(a=True)", "p(a=1)(b=2)", "p(})"]
)
def test_arguments_that_are_no_toml(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_pass(text)
    assert str(caught.value) == f'{text!r} is not a pass: its arguments must be TOML values, as in name(a=1, b="x")'


@pytest.mark.parametrize("value", ["[1]", "{b=1}", "inf", "nan", "1979-05-27"])
def test_arguments_that_are_no_scalars(value: str) -> None:
    with pytest.raises(UserError, match="parameter a must be a finite number, a text or a truth value"):
        parse_pass(f"p(a={value})")


TEXTS = st.text()
SCALARS: st.SearchStrategy[Scalar] = (
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True)
PASSES = st.builds(
    lambda name, params: PassCall(name, tuple(sorted(params.items()))),
    NAMES,
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True) | TEXTS, SCALARS, max_size=3),
)
QUICK = settings(max_examples=80, deadline=None, derandomize=True, database=None)


@QUICK
@given(PASSES)
def test_a_pass_reads_as_it_is_shown(call: PassCall) -> None:
    shown = str(call)
    assert "\n" not in shown
    again = parse_pass(shown)
    assert again == call
    assert [type(value) for _, value in again.params] == [type(value) for _, value in call.params]


# Any document


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON leaves DEL bare; TOML forbids it


def document(values: dict[str, Any]) -> str:
    return "\n".join(f"{toml(key)} = {toml(value)}" for key, value in values.items())


JUNK = st.recursive(
    SCALARS | st.floats(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


def table(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the keys, each mostly right and now and then junk; now and then a key that nobody knows."""
    known = st.fixed_dictionaries({}, optional={key: good | good | good | JUNK for key, good in keys.items()})
    return st.builds(
        lambda right, wrong: {**wrong, **right}, known, st.just({}) | st.just({}) | st.dictionaries(TEXTS, JUNK, max_size=1)
    )


UNIQUE = st.lists(NAMES, min_size=1, max_size=3, unique=True)
POSITIVE = st.integers(1, 10)
SIZES = st.sampled_from(["1 B", "64 KiB", "1.5 MiB", "0 B", "x"])
TIMES = st.sampled_from(["1 ms", "250 us", "2 s", "1 KiB"])
RECIPES = st.lists(table(passes=st.lists(PASSES.map(str), max_size=3)), max_size=3)
DOCUMENTS = table(
    suite=table(
        name=NAMES,
        tasks=UNIQUE,
        backends=UNIQUE,
        architectures=st.dictionaries(NAMES, UNIQUE, max_size=2),
        runtimes=UNIQUE,
        seeds=st.lists(st.integers(0, 9), min_size=1, unique=True),
        folds=st.lists(st.integers(0, 9), min_size=1, unique=True),
    ),
    train=st.dictionaries(NAMES, SCALARS | st.dictionaries(NAMES, SCALARS, max_size=2), max_size=2),
    budget=table(
        build=table(cores=POSITIVE, memory=SIZES, seconds=st.integers(1) | st.floats()),
        device=st.lists(table(name=NAMES, bytes=SIZES, latency_p90=TIMES), max_size=3),
    ),
    measure=table(processes=POSITIVE, rounds=POSITIVE, calls=POSITIVE),
    recipe=RECIPES,
)


def survives_printing(suite: Suite) -> None:
    printed = dump(suite)
    again = parse(printed, "printed.toml")
    assert again == suite
    assert dump(again) == printed  # 1, 1.0 and true are equal: the types are kept too


def parses_or_says_why(text: str) -> None:
    try:
        parsed = parse(text, "file.toml")
    except UserError as error:
        said = str(error)
    else:
        assert parsed.recipes[0] == Recipe()
        survives_printing(parsed)
        return
    assert said.startswith("file.toml: ")
    assert len(said.splitlines()) == 1


@QUICK
@given(DOCUMENTS)
def test_any_document_parses_or_says_why(values: dict[str, Any]) -> None:
    text = document(values)
    assert set(tomllib.loads(text)) == set(values)  # the writer above is right
    parses_or_says_why(text)


@QUICK
@given(st.text() | st.builds(str.__add__, st.just(HEAD), st.text()))
def test_any_text_parses_or_says_why(text: str) -> None:
    parses_or_says_why(text)


@QUICK
@given(
    name=NAMES,
    tasks=UNIQUE,
    backends=UNIQUE,
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, unique=True),
    recipes=st.lists(st.lists(PASSES, max_size=2), max_size=3),
    training=st.dictionaries(NAMES, SCALARS, max_size=3),
)
def test_a_right_document_keeps_every_value(
    name: str,
    tasks: list[str],
    backends: list[str],
    seeds: list[int],
    recipes: list[list[PassCall]],
    training: dict[str, Scalar],
) -> None:
    suite = parse(
        document(
            {
                "suite": {"name": name, "tasks": tasks, "backends": backends, "seeds": seeds},
                "train": training,
                "recipe": [{"passes": [str(call) for call in calls]} for calls in recipes],
            }
        ),
        "file.toml",
    )
    assert (suite.name, suite.tasks, suite.backends, suite.seeds) == (name, tuple(tasks), tuple(backends), tuple(seeds))
    assert suite.training == ({"": training} if training else {})
    assert suite.recipes == tuple(dict.fromkeys([Recipe(), *(Recipe(tuple(calls)) for calls in recipes)]))


REAL = [path.read_text(encoding="utf-8") for path in shipped().values()]
TOKENS = [
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    '"',
    "'",
    '"""',
    ",",
    "#",
    ".",
    "\\",
    "\n",
    "\r",
    "\x7f",
    "(",
    ")",
    "0",
    "-1",
    "1e9",
    "inf",
    "nan",
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped suite of which up to four places were replaced by a token, some text, or a piece of the file itself."""
    text = draw(st.sampled_from(REAL))
    for _ in range(draw(st.integers(1, 4))):
        start, cut, other = (draw(st.integers(0, most)) for most in (len(text), 20, len(text)))
        new = draw(st.sampled_from(TOKENS) | st.text(max_size=4) | st.just(text[other : other + 20]))
        text = text[:start] + new + text[start + cut :]
    return text


@settings(QUICK, max_examples=200)
@given(mutated())
def test_any_change_of_a_suite_parses_or_says_why(text: str) -> None:
    parses_or_says_why(text)


# Printing

ANY_NAMES = st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True).map(tuple)
INDICES = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True).map(tuple)
COUNTS = st.integers(1, 2**32 - 1)
SECONDS = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
BYTES = st.integers(1, 2**53) | st.sampled_from([16 * 1024, 10**9, 3 * 1000**2, 1024**4])
SOME_SCALARS = st.dictionaries(TEXTS, SCALARS, min_size=1, max_size=3)


@st.composite
def own_tasks(draw: st.DrawFn) -> OwnTask:
    target, unit, *drop = draw(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True))
    suffix, modality = draw(
        st.sampled_from([(".csv", "tabular"), (".Parquet", "tabular"), (".npz", "sequence"), (".npz", "image")])
    )
    return OwnTask(
        file=draw(st.text(min_size=1).map(lambda name: f"{name}x{suffix}")),
        target=target,
        metric=draw(st.sampled_from(RANKING_METRICS)),
        unit=draw(st.sampled_from(["", unit])),
        folds=draw(st.integers(2, 2**32 - 1)),
        margin=draw(SECONDS),
        drop=tuple(drop),
        modality=modality,
    )


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    """Any suite that a file can say."""
    backends, tasks = draw(ANY_NAMES), draw(ANY_NAMES)
    own = draw(st.dictionaries(st.sampled_from(backends), SOME_SCALARS))
    shared = {key: value for key, value in draw(SOME_SCALARS).items() if key not in own}
    recipes = draw(st.lists(st.lists(PASSES, min_size=1, max_size=3), max_size=3))
    return Suite(
        name=draw(NAMES),
        tasks=tasks,
        backends=backends,
        recipes=(Recipe(), *{str(one): one for one in (Recipe(tuple(passes)) for passes in recipes)}.values()),
        runtimes=draw(ANY_NAMES),
        architectures=draw(st.dictionaries(st.sampled_from(backends), ANY_NAMES)),
        seeds=draw(INDICES),
        folds=draw(st.none() | INDICES),
        training={**({"": shared} if shared else {}), **own},
        build=BuildLimits(draw(COUNTS), draw(BYTES), draw(SECONDS), draw(st.none() | SECONDS), draw(COUNTS), draw(BYTES)),
        tiers=tuple(
            DeviceTier(name, draw(st.none() | BYTES), draw(st.none() | SECONDS))
            for name in draw(st.lists(st.text(min_size=1), max_size=3, unique=True))
        ),
        measure=MeasureOptions(draw(COUNTS), draw(COUNTS), draw(COUNTS)),
        own=draw(st.dictionaries(st.sampled_from(tasks), own_tasks())),
    )


@QUICK
@given(suites())
def test_any_suite_survives_printing(suite: Suite) -> None:
    survives_printing(suite)


@QUICK
@given(suites(), st.data())
def test_any_part_of_a_suite_survives_printing(suite: Suite, data: st.DataObject) -> None:
    backend = data.draw(st.sampled_from(suite.backends))
    part = suite.select(backends=[glob.escape(backend)], seeds=2)
    assert (part.backends, part.seeds) == ((backend,), (0, 1))
    assert set(part.architectures) <= {backend}
    assert set(part.training) <= {"", backend}
    survives_printing(part)


def test_a_printed_suite_is_made_for_people() -> None:
    suite = parse(
        HEAD
        + """architectures = {c = ["x"]}
        [train]
        "odd key" = "a\\u007Fb"
        [train.b]
        lr = 1e-3
        [[budget.device]]
        name = "S"
        bytes = "65536 B"
        latency_p90 = "0.0015 s"
        [[recipe]]
        passes = ["x(b=true, a=0x10)", "y"]
        """,
        "file.toml",
    )
    assert (
        dump(suite)
        == """\
[suite]
name = "s"
tasks = ["a"]
backends = ["b", "c"]
runtimes = ["onnxruntime"]
seeds = [0]
folds = [0]

[suite.architectures]
c = ["x"]

[train]
"odd key" = "a\\u007fb"

[train.b]
lr = 0.001

[budget.build]
cores = 1
memory = "1 GiB"
seconds = 60.0
processes = 256
file_bytes = "1 GiB"

[[budget.device]]
name = "S"
bytes = "64 KiB"
latency_p90 = "1.5 ms"

[measure]
processes = 3
rounds = 3
calls = 300

[[recipe]]
passes = ["x(a=16, b=true)", "y"]
"""
    )


# The part of a grid that a user asks for

WIDE = parse(
    """
    [suite]
    name = "wide"
    tasks = ["mnist-10k", "mnist-2", "german-credit"]
    backends = ["torch", "jax"]
    seeds = [4]
    folds = [2]
    [[recipe]]
    passes = ["prune(sparsity=0.5)"]
    [[recipe]]
    passes = ["prune(sparsity=0.5)", "int8-static"]
    [[recipe]]
    passes = ["int8-static"]
    """,
    "wide.toml",
)


def test_select_nothing_is_the_whole() -> None:
    assert WIDE.select() == WIDE


def test_select_by_globs() -> None:
    part = WIDE.select(tasks=["mnist-*"], backends=["t?rch"], recipes=["*int8-static"])
    assert part.tasks == ("mnist-10k", "mnist-2")
    assert part.backends == ("torch",)
    assert list(map(str, part.recipes)) == ["reference", "prune(sparsity=0.5) + int8-static", "int8-static"]
    assert (part.name, part.seeds, part.folds) == ("wide", (4,), (2,))


def test_several_globs_keep_the_order_of_the_suite() -> None:
    assert WIDE.select(tasks=["mnist-2", "german-*", "mnist-2"]).tasks == ("mnist-2", "german-credit")


@pytest.mark.parametrize("recipe", ["int8-static", "prune(sparsity=0.5)", "reference"])
def test_an_exact_recipe_keeps_the_reference(recipe: str) -> None:
    assert list(map(str, WIDE.select(recipes=[recipe]).recipes)) == list(dict.fromkeys(["reference", recipe]))


def test_seeds_and_folds_count_from_zero() -> None:
    part = WIDE.select(seeds=3, folds=1)
    assert (part.seeds, part.folds) == ((0, 1, 2), (0,))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"tasks": ["MNIST-10k"]}, "no task of the suite matches 'MNIST-10k'; known: german-credit, mnist-10k, mnist-2"),
        ({"tasks": ["mnist-*", "mnist"]}, "no task of the suite matches 'mnist'; did you mean 'mnist-2'?"),
        ({"backends": ["sklearn"]}, "no backend of the suite matches 'sklearn'; known: jax, torch"),
        ({"recipes": ["int8-statics"]}, "no recipe of the suite matches 'int8-statics'; did you mean 'int8-static'?"),
    ],
)
def test_select_what_is_not_there(choice: dict[str, list[str]], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        WIDE.select(**choice)  # type: ignore[arg-type]  # mypy cannot tell which keywords a dict holds
    assert str(caught.value) == expected


def test_select_no_recipe_of_a_suite_of_references() -> None:
    with pytest.raises(UserError, match="no recipe of the suite matches 'int8'; known: reference"):
        parse(HEAD, "file.toml").select(recipes=["int8"])


# Files


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_suites_parse_under_their_names(name: str) -> None:
    suite = load(name)
    assert suite.name == name
    assert len(set(suite.recipes)) == len(suite.recipes)
    if name.startswith("edge"):  # a screening run on two cores has no time for more
        assert len(suite.recipes) <= 1 + 8


def test_edge_is_the_screening_run_that_the_readme_describes() -> None:
    edge = load("edge")
    assert {"edge", "smoke"} <= set(shipped())
    assert (edge.seeds, edge.folds, edge.build) == ((0,), (0,), BuildLimits(1, 1024**3, 60.0))
    assert edge.tasks == ("mnist-10k", "nodule-shape", "german-credit", "watch-imu")
    assert edge.tiers == (
        DeviceTier("XS", 16 * 1024, 0.001),
        DeviceTier("S", 64 * 1024, 0.001),
        DeviceTier("M", 256 * 1024, 0.005),
    )


def test_load_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD, encoding="utf-8")
    assert load(str(path)) == parse(HEAD, "")


def test_a_suite_for_a_larger_machine_is_not_loaded(tmp_path: Path) -> None:
    path, here = tmp_path / "mine.toml", len(os.sched_getaffinity(0))
    path.write_text(f"{HEAD}[budget.build]\ncores = {here}", encoding="utf-8")
    assert load(str(path)).build.cores == here
    path.write_text(f"{HEAD}[budget.build]\ncores = {here + 1}", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert str(caught.value) == f"budget.build.cores is {here + 1}, but there are {here} here"


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + "seed = [1]", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(str(path))
    assert str(caught.value) == f"{path}: unknown key suite.seed; did you mean 'seeds'?"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("edgee", "unknown suite 'edgee'; did you mean 'edge'?"),
        ("no-such/suite", "no-such/suite: cannot be read: No such file or directory"),
        ("no-such.toml", "no-such.toml: cannot be read: No such file or directory"),
        ("./", ".: cannot be read: Is a directory"),
    ],
)
def test_load_what_is_not_there(name: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load(name)
    assert str(caught.value) == expected


def test_load_what_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(HEAD.encode() + "# café".encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read: 'utf-8' codec can't decode byte 0xe9"):
        load(str(path))


# Searches

SEARCH = (
    HEAD
    + """
[[budget.device]]
name = "XS"
bytes = "16 KiB"
[[budget.device]]
name = "S"
bytes = "64 KiB"
[search]
searchers = ["random", "optuna(halving=false)"]
seconds = [60, 2.5]
[[recipe]]
passes = ["distil", "int8-static"]
"""
)


def test_searches_are_named_by_what_they_were_given() -> None:
    suite = parse(SEARCH, "file.toml")
    assert suite.search is not None
    assert suite.search.names() == (
        'random(seconds=60, tier="XS")',
        'random(seconds=60, tier="S")',
        'random(seconds=2.5, tier="XS")',
        'random(seconds=2.5, tier="S")',
        'optuna(halving=false, seconds=60, tier="XS")',
        'optuna(halving=false, seconds=60, tier="S")',
        'optuna(halving=false, seconds=2.5, tier="XS")',
        'optuna(halving=false, seconds=2.5, tier="S")',
    )
    assert tuple(map(str, suite.search.starts)) == ("reference", "distil + int8-static")


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (["*seconds=60,*XS*"], ('random(seconds=60, tier="XS")', 'optuna(halving=false, seconds=60, tier="XS")')),
        (["random(seconds=60*S*", "optuna*2.5*XS*"], None),
        (["reference"], ()),
    ],
)
def test_a_part_of_the_searches_begins_as_the_whole(globs: list[str], names: tuple[str, ...] | None) -> None:
    whole = parse(SEARCH, "file.toml")
    part = whole.select(recipes=globs)
    assert whole.search is not None
    if names == ():
        assert part.search is None
        return
    assert part.search is not None
    assert part.search.names() == (names or tuple(one for one in whole.search.names() if one in part.search.only))
    assert part.search.starts == whole.search.starts
    assert parse(dump(part), "file.toml") == part
    assert parse(dump(whole), "file.toml") == whole


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('tiers = ["M"]', "search.tiers: the suite has no tier 'M'; known: S, XS"),
        ("seconds = []", "search.seconds must be an array of numbers above 0, not []"),
        ("seconds = [0]", "search.seconds must be a number above 0, not 0"),
        ("seconds = [1, 1.0]", "search.seconds must name each number once"),
        ('searchers = ["random("]', "search.searchers: 'random(' is not a searcher: write name or name(parameter=value, ...)"),
        ('starts = ["a +b"]', "search.starts: 'a +b' is not a pass: write name or name(parameter=value, ...)"),
        ("architectures = {d = []}", "unknown key search.architectures.d; known: b, c"),
        ('only = ["random"]', "search.only: there is no search 'random'"),
        ("second = 3", "unknown key search.second; did you mean 'seconds'?"),
    ],
)
def test_mistakes_of_searches(line: str, told: str) -> None:
    key = line.partition(" =")[0]
    kept = "\n".join(one for one in SEARCH.splitlines() if not one.startswith(f"{key} ="))
    assert message(kept.replace("[search]", f"[search]\n{line}")).startswith(f"file.toml: {told}")


@pytest.mark.parametrize("folds", ["1", "2", "20"])
def test_a_search_cross_validates_in_as_many_folds_as_it_says(folds: str) -> None:
    read = parse(f"{HEAD}[search]\nsearchers = ['random']\nseconds = [1]\nfolds = {folds}\n", "file.toml")
    assert read.search is not None
    assert read.search.folds == int(folds)
    assert parse(dump(read), "file.toml") == read


@pytest.mark.parametrize("folds", ["0", "21", "true", "2.0", "'all'", "[3]"])
def test_so_many_folds_make_no_cross_validation(folds: str) -> None:
    text = f"{HEAD}[search]\nsearchers = ['random']\nseconds = [1]\nfolds = {folds}\n"
    assert "search.folds must be a whole number from 1 (no cross-validation) to 20, not " in message(text)
