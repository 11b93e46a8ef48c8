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
from inferstack.cli import app
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


def test_what_brings_a_platform_up_does_without_the_program_itself() -> None:
    script = (
        "import sys; from inferstack.cli import app; sys.exit(any(n.startswith('components') for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=project_root(), check=False).returncode == 0


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
    ("arguments", "sentence"),
    [
        (["status"], r"There is no kubeconfig \S+/state/kubeconfig: start the rehearsal \(make up\) or name another"),
        (["node", "list"], r"There is no kubeconfig \S+/state/kubeconfig: "),
        (
            ["up", "-s", "none"],
            r'There is no stack "none" \(.*/stacks/Pulumi\.none\.yaml\); there are dev, existing, local',
        ),
        (["up", "-c", "inferstack:place"], r"--config inferstack:place: expected KEY=VALUE, such as "),
        (["preview", "-c", "inferstack:place"], r"--config inferstack:place: expected KEY=VALUE, such as "),
        (["outputs"], r".*`inferstack tools`"),
        (["tools", "path", "none"], r".*\bnone\b"),
        (["rehearsal", "logs", "none"], r"there is no log of 'none'; there are: none yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_user_can_mend_is_one_sentence(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["inferstack", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()

    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (1, "")
    assert re.fullmatch(rf"error: {sentence}.*\n", told.err), told.err


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
        _, told = process.communicate(timeout=30)

    assert (process.returncode, told) == (130, "error: interrupted\n")


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

    found = re.search(r"^export KUBECONFIG='(.*)'$", exports, re.MULTILINE)
    assert (found[1] if found else None) == (expected and str(Path(expected).expanduser()))


def test_down_on_a_fresh_clone_says_so_and_makes_nothing(state: Path) -> None:
    done = run("down")

    assert done.returncode == 0
    assert done.stdout == ""
    said = f"nothing to take down: {state} knows neither a control plane nor the stack local\n"
    assert done.stderr == said
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
