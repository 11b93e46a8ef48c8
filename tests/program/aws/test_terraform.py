"""``terraform validate`` of the recorded graph, where a terraform with the AWS provider is at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.program.aws.terraform import NEWER, Schema, as_json, type_of

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph

PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
# Where Terraform looks for providers, and where machines without a way out keep theirs.
FOLDERS = (
    os.environ.get("TF_PLUGIN_DIR", ""),
    "~/.terraform.d/plugins",
    "/usr/local/share/terraform/plugins",
    "/opt/tf-plugins",
)


class Terraform:
    """Terraform in a folder of its own, with the provider that is at hand."""

    def __init__(self, folder: Path, plugins: Path) -> None:
        """Prepare the folder."""
        self.folder, self.plugins = folder, plugins
        self.environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        # A user's own configuration may name mirrors that are not there.
        self.environment.pop("TF_CLI_CONFIG_FILE", None)
        self.write({"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}}})
        self.run("init", f"-plugin-dir={plugins}", "-input=false")

    def run(self, *arguments: str, check: bool = True) -> str:
        """Return what a command says."""
        done = subprocess.run(
            ["terraform", *arguments],  # noqa: S607
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def write(self, content: dict[str, Any]) -> None:
        """Write the configuration."""
        (self.folder / "main.tf.json").write_text(json.dumps(content, indent=1))

    def schemas(self) -> Schema:
        """Return the provider's resource types."""
        (provider,) = json.loads(self.run("providers", "schema", "-json"))["provider_schemas"].values()
        result: Schema = provider["resource_schemas"]
        return result

    def complaints(self, content: dict[str, Any]) -> list[str]:
        """Return what Terraform has against a configuration."""
        self.write(content)
        output = json.loads(self.run("validate", "-json", check=False))
        return [
            f"{diagnostic['summary']}: {diagnostic.get('detail', '')} {diagnostic.get('range', {}).get('start', '')}"
            for diagnostic in output["diagnostics"]
            if diagnostic["severity"] == "error"
        ]


# Of the session: the stacks' graphs are too, so the tests of this module do not run one after another.
@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform, or a skip that says what is missing."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    plugins = [Path(folder).expanduser() for folder in FOLDERS if folder]
    result = next((folder for folder in plugins if (folder / PROVIDER).is_dir()), None)
    if result is None:
        pytest.skip(f"no AWS provider for terraform in {', '.join(map(str, plugins))}")
    return Terraform(tmp_path_factory.mktemp("terraform"), result)


@pytest.fixture(scope="session")
def schemas(terraform: Terraform) -> Schema:
    """The provider's resource types."""
    return terraform.schemas()


def test_terraform_takes_the_graph(terraform: Terraform, schemas: Schema, graph: Graph) -> None:
    assert terraform.complaints(as_json(graph, schemas)) == []


def test_it_sees_what_is_wrong(terraform: Terraform, schemas: Schema, prod: Graph) -> None:
    spoilt = prod.copied()
    # None of these refers to another: what a wrong one is referred by is not looked at.
    spoilt.resource("Role", "node").inputs["assumeRolePolicy"] = "everybody"
    spoilt.resource("Vpc", "vpc").inputs["cidrBlock"] = "10.0.0.0/99"
    spoilt.resource("Key", "models").inputs["rotationPeriodInDays"] = 3
    message = " ".join(terraform.complaints(as_json(spoilt, schemas)))
    for word in ("assume_role_policy", "10.0.0.0/99", "rotation_period_in_days"):
        assert word in message


def test_every_kind_has_a_type(schemas: Schema, graphs: dict[str, Graph]) -> None:
    kinds = {type_of(resource.type) for graph in graphs.values() for resource in graph.all()}
    assert kinds <= schemas.keys()


def test_what_is_left_out_is_not_in_the_schema(schemas: Schema) -> None:
    # When this fails, the provider at hand has caught up: leave it out no longer.
    for kind, paths in NEWER.items():
        for path in paths:
            block, _, name = path.partition(".")
            assert name not in schemas[kind]["block"]["block_types"][block]["block"]["attributes"]
