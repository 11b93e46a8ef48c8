"""The command as a whole: its verbs, exit codes and sentences."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup
from typer.testing import CliRunner

from inferstack import cli
from inferstack.api import crds
from inferstack.cli import app, loader, registry
from inferstack.errors import UserError
from inferstack.project import project_root

WriteEngine = Callable[[str], Path]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``inferstack ARGUMENTS`` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "inferstack.cli", *arguments],
        cwd=project_root(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


_root = typer.main.get_command(app)
assert isinstance(_root, TyperGroup)
# The arguments of `pulumi` are the engine's: it has no help of its own.
COMMANDS = [path for path in _commands(_root) if path != ("pulumi",)]


def test_all_verbs_are_there() -> None:
    verbs = {path[0] for path in COMMANDS if path}
    assert {"up", "preview", "down", "destroy", "status", "outputs", "env", "crd", "doctor"} < verbs
    assert {"settings", "orphans"} < verbs
    assert {("mirror", "pack"), ("gpu", "preflight")} < set(COMMANDS)
    assert {("rehearsal", "logs"), ("tools", "ensure"), ("node", "mig")} < set(COMMANDS)


OWN = re.compile(r"inferstack(\.errors|\.cli(\.(loader|output|registry))?)?")
"""Modules of this project that ``--help`` and completion may import."""
TYPER = {"typer", "annotated_doc", "shellingham"}
COERCION = TYPER | {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
"""What typer itself imports once it has parsed an option of the root command."""


@pytest.mark.parametrize(
    ("arguments", "environment", "packages"),
    [
        (["--help"], {}, TYPER),
        (["mig", "--help"], {}, COERCION),
        ([], {"_INFERSTACK_COMPLETE": "complete_bash", "COMP_WORDS": "inferstack se", "COMP_CWORD": "1"}, COERCION),
        ([], {"_INFERSTACK_COMPLETE": "complete_bash", "COMP_WORDS": "inferstack mig pl", "COMP_CWORD": "2"}, COERCION),
    ],
    ids=["help", "help of a group", "bash", "bash in a group"],
)
def test_help_and_completion_import_no_command(
    arguments: list[str], environment: dict[str, str], packages: set[str]
) -> None:
    script = """
import sys
before = set(sys.modules)
from inferstack.cli import main
sys.argv = ["inferstack", *sys.argv[1:]]
try:
    main()
finally:
    print("\\n".join(sorted(set(sys.modules) - before)), file=sys.stderr)
"""
    completed = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=project_root(),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert completed.returncode == 0, completed.stderr
    assert any(word in completed.stdout for word in ("settings", "plan"))
    allowed = packages | sys.stdlib_module_names
    imported = [name for name in completed.stderr.split() if not name.startswith("_sysconfigdata")]
    assert not [name for name in imported if not OWN.fullmatch(name) and name.partition(".")[0] not in allowed]


@pytest.mark.parametrize("entry", registry.COMMANDS, ids=lambda entry: entry.path)
def test_help_line_is_the_first_line_of_the_docstring(entry: registry.Entry) -> None:
    command = loader.LazyCommand(entry).loaded

    assert command.help is not None
    assert command.help.splitlines()[0].replace("``", "`") == entry.help
    assert len(entry.help) <= 67, "longer than a line of the help"
    assert [name for name in ("-h", "--help") if name in command.context_settings["help_option_names"]] == (
        [] if entry.passes_options else ["-h", "--help"]
    )


def test_sections_list_each_command_once() -> None:
    listed = [name for names in registry.SECTIONS.values() for name in names]

    assert sorted(listed) == sorted({entry.path.partition(" ")[0] for entry in registry.COMMANDS})
    assert {group.name for group in registry.GROUPS} == {
        entry.path.partition(" ")[0] for entry in registry.COMMANDS if " " in entry.path
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(path: tuple[str, ...], state: Path) -> None:
    for option in ("--help", "-h"):
        result = CliRunner().invoke(app, [*path, option])
        assert result.exit_code == 0, result.output
        assert " ".join(("Usage:", "inferstack", *path)) in " ".join(result.stdout.split())
    assert not state.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["uo"],
        ["node", "uo"],
        ["up", "--uo"],
        ["up", "--wait", "-1"],
        ["status", "-o", "xml"],
        ["rehearsal", "start", "--port", "0"],
        ["pulumi"],
        ["node", "lose-gpu", "n", "--count", "0"],
    ],
    ids=" ".join,
)
def test_what_is_no_command_ends_with_2(arguments: list[str], state: Path) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage:" in result.stderr
    assert not state.exists()


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        (["status"], r"\S+/state/kubeconfig\b"),
        (["node", "list"], r"\S+/state/kubeconfig\b"),
        (["up", "-s", "none"], r'"none" \(.*/stacks/Pulumi\.none\.yaml\); there are dev, existing, local'),
        (["up", "-c", "inferstack:place"], r"--config inferstack:place: "),
        (["preview", "-c", "inferstack:place"], r"--config inferstack:place: "),
        (["outputs"], r"`inferstack tools`"),
        (["tools", "path", "none"], r"\bnone\b"),
        (["rehearsal", "logs", "none"], r"'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_error_is_one_line_that_names_its_subject(
    arguments: list[str], subject: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["inferstack", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()

    printed = capsys.readouterr()
    assert (exited.value.code, printed.out) == (1, "")
    assert re.fullmatch(r"error: .+\n", printed.err), printed.err
    assert re.search(subject, printed.err), printed.err


def test_a_process_ends_with_the_sentence_and_its_code(state: Path) -> None:
    done = run("status")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: There is no kubeconfig {state}/kubeconfig: ")
    assert done.stderr.count("\n") == 1


def test_an_error_chooses_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise UserError("the [key] is wrong", exit_code=7)

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 7
    assert capsys.readouterr() == ("", "error: the [key] is wrong\n")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise KeyError("bug")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(KeyError):
        cli.main()


def test_an_interrupt_is_said_and_ends_with_130(state: Path) -> None:
    log = state / "logs" / "etcd.log"
    log.parent.mkdir(parents=True)
    log.write_text("a line\n")
    # Its handler is Python's own, whatever the one who started these tests has chosen.
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "from inferstack.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "rehearsal", "logs", "etcd", "--follow"],
        cwd=project_root(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a line\n"
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=30)

    assert (process.returncode, message) == (130, "error: interrupted\n")


def test_crds_are_what_kubectl_reads() -> None:
    for form, load in (
        ("yaml", lambda text: list(yaml.safe_load_all(text))),
        ("json", lambda text: yaml.safe_load(text)["items"]),
    ):
        assert load(CliRunner().invoke(app, ["crd", "-o", form]).stdout) == crds()


# --- verbs of a stack that go without a cluster


@pytest.mark.parametrize("name", ["state", 'it\'s a "state" of $HOME; `x` é'], ids=["plain", "odd"])
def test_a_shell_takes_the_variables_as_they_are(
    name: str, keep_engine: WriteEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / name
    monkeypatch.setenv("INFERSTACK_STATE", str(state))
    engine = keep_engine("exit 0\n")

    exports = run("env").stdout
    script = 'eval "$1"; printf "%s\\n" "$KUBECONFIG" "$PULUMI_HOME" "$PATH"; cat "$PULUMI_CONFIG_PASSPHRASE_FILE"'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", exports], capture_output=True, text=True, check=True)

    kubeconfig, home, path, passphrase = done.stdout.splitlines()
    assert (kubeconfig, home) == (f"{state}/kubeconfig", f"{state}/pulumi-home")
    assert path.split(os.pathsep) == [str(Path(sys.executable).parent), str(engine.parent), "/usr/bin", "/bin"]
    assert passphrase == (state / "passphrase").read_text()


def test_variables_that_hold_already_are_not_told_again(
    keep_engine: WriteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_engine("exit 0\n")
    monkeypatch.setenv("PULUMI_PARALLEL", "3")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")

    names = re.findall(r"^export (\w+)=", CliRunner().invoke(app, ["env"]).stdout, re.MULTILINE)

    assert {"PATH", "KUBECONFIG", "PULUMI_HOME", "PULUMI_BACKEND_URL"} <= set(names)
    assert not {"PULUMI_PARALLEL", "PULUMI_SKIP_UPDATE_CHECK", "HOME"} & set(names)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [("{}", None), ("{kubeconfig: ~/of the team}", "~/of the team"), ("{context: c}", None)],
    ids=["default", "of the stack", "a context"],
)
def test_kubectl_works_on_the_cluster_of_the_stack(
    cluster: str, expected: str | None, project: Path, keep_engine: WriteEngine
) -> None:
    keep_engine("exit 0\n")
    with (project / "stacks" / "Pulumi.there.yaml").open("a") as file:
        file.write(f"  inferstack:cluster: {cluster}\n")

    exports = CliRunner().invoke(app, ["env", "-s", "there"]).stdout

    match = re.search(r"^export KUBECONFIG='(.*)'$", exports, re.MULTILINE)
    assert (match[1] if match else None) == (expected and str(Path(expected).expanduser()))


def test_down_on_a_fresh_clone_says_so_and_makes_nothing(state: Path) -> None:
    done = run("down")

    assert done.returncode == 0
    assert done.stdout == ""
    assert str(state) in done.stderr
    assert done.stderr.startswith("nothing to take down: ")
    assert not state.exists()


def test_down_asks_the_engine_for_the_stack(state: Path, keep_engine: WriteEngine, tmp_path: Path) -> None:
    keep_engine(f'echo "$*" >> \'{tmp_path}/asked\'\necho \'[{{"name": "organization/inferstack/other"}}]\'\n')
    state.mkdir()

    result = CliRunner().invoke(app, ["down"])

    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing to take down" in result.stderr
    assert (tmp_path / "asked").read_text() == "stack ls --json --all --non-interactive\n"


def test_destroy_asks_first(state: Path) -> None:
    result = CliRunner().invoke(app, ["destroy"], input="n\n")

    assert result.exit_code == 1
    assert "Delete all objects of the stack local?" in result.stderr
    assert not state.exists()
