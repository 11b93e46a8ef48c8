"""The table of commands: where each is defined, and the line that ``--help`` and shell completion show.

It imports no command module, so help and completion stay fast. A test compares the lines with the docstrings.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command."""

    path: str
    """Its words, such as ``mig plan``."""
    target: str
    """Module below `inferstack.cli` and function, such as ``mig.plan:plan``."""
    help: str
    """The first line of the function's docstring."""
    passes_options: bool = False
    """Whether it hands unknown options and ``--help`` on to another program."""


class Group(NamedTuple):
    """A command that has sub-commands."""

    name: str
    help: str


SECTIONS: dict[str, tuple[str, ...]] = {
    "Stacks": (
        "up",
        "preview",
        "down",
        "destroy",
        "status",
        "roles",
        "outputs",
        "settings",
        "drift",
        "orphans",
        "doctor",
        "state",
        "pulumi",
        "env",
    ),
    "GPUs and nodes": ("gpu", "mig", "node"),
    "Rehearsal": ("rehearsal", "load"),
    "Policy and supply chain": ("policy", "crd", "mirror", "sbom", "tools", "versions"),
}
"""The top-level commands in the order in which ``--help`` lists them."""

GROUPS = (
    Group("gpu", "Check driver, CUDA, runtime and Kubernetes versions for GPUs."),
    Group("load", "Simulate load on the jobs of the rehearsal."),
    Group("mig", "Plan and roll out MIG layouts."),
    Group("mirror", "Mirror the charts and images of a stack for an air-gapped site."),
    Group("node", "Inspect nodes, change their MIG layout and inject faults."),
    Group("policy", "List, explain and test policy rules."),
    Group("rehearsal", "Manage the control plane of the rehearsal."),
    Group("state", "Back up and verify a stack's state, and rotate its key."),
    Group("tools", "Manage the tools that the project downloads or builds."),
    Group("versions", "Check the versions that the project pins."),
)

COMMANDS = (
    Entry("up", "stack.lifecycle:up", "Create or update a stack and show its jobs."),
    Entry("preview", "stack.lifecycle:preview", "Show the changes that `up` would make and the rules they break."),
    Entry("down", "stack.lifecycle:down", "Destroy a stack and remove it; stop the rehearsal."),
    Entry("destroy", "stack.lifecycle:destroy", "Delete all objects of a stack; the rehearsal keeps running."),
    Entry("status", "stack.status:status", "Show the InferenceJobs of a stack's cluster."),
    Entry("roles", "stack.status:roles", "Show the roles of a stack, their add-ons and objects."),
    Entry("outputs", "stack.status:outputs", "Show the outputs of a stack."),
    Entry("settings", "stack.settings:settings", "Show the effective settings of a stack and their sources."),
    Entry("drift", "stack.drift:drift", "Show resources that differ from a stack's state."),
    Entry("orphans", "stack.orphans:orphans", "Show objects that a stack left behind."),
    Entry("doctor", "stack.doctor:doctor", "Check the prerequisites of a stack."),
    Entry("pulumi", "stack.shell:pulumi", "Run any Pulumi command on a stack.", passes_options=True),
    Entry("env", "stack.shell:env", "Print the environment variables for kubectl and Pulumi."),
    Entry("state backup", "stack.state:backup", "Write a backup of the state, with secrets encrypted."),
    Entry("state verify", "stack.state:verify", "Check the integrity of a state or a backup."),
    Entry("state rotate", "stack.state:rotate", "Encrypt the secrets of a stack with a new key."),
    Entry("gpu preflight", "stack.gpu:preflight", "Check what a stack requests against what its GPUs support."),
    Entry("mig table", "mig.table:table", "Show the MIG profiles of GPUs."),
    Entry("mig usage", "mig.usage:usage", "Show the use, fragmentation and cost of a cluster's GPUs."),
    Entry("mig plan", "mig.plan:plan", "Plan the MIG instances of each GPU."),
    Entry("mig diff", "mig.plan:diff", "Show the ordered steps to a plan or to another fleet."),
    Entry("mig apply", "mig.apply:apply", "Roll out MIG layouts node by node."),
    Entry("mig assert", "mig.assertion:assert_layouts", "Compare the MIG layouts of nodes with the desired ones."),
    Entry("mig rollouts", "mig.rollouts:rollouts", "List rollouts and their progress."),
    Entry("mig follow", "mig.rollouts:follow", "Follow a rollout until it ends."),
    Entry("mig pause", "mig.rollouts:pause", "Pause a rollout; nodes in progress are finished."),
    Entry("mig resume", "mig.rollouts:resume", "Resume a paused rollout."),
    Entry("mig abort", "mig.rollouts:abort", "Abort a rollout; nodes already being cut are finished."),
    Entry("node list", "node.listing:list_nodes", "List nodes with their GPUs and MIG layouts."),
    Entry("node mig", "node.mig:mig", "Set the MIG layout of a node."),
    Entry("node switches", "node.switches:switches", "List network switches, or the nodes closest together."),
    Entry("node lose-gpu", "rehearsal.faults:lose_gpu", "Make GPUs of a simulated node unhealthy."),
    Entry("node not-ready", "rehearsal.faults:not_ready", "Make a simulated node not ready."),
    Entry("node restore", "rehearsal.faults:restore", "Undo lose-gpu and not-ready."),
    Entry("rehearsal start", "rehearsal.control_plane:start", "Start the components that are not running."),
    Entry("rehearsal stop", "rehearsal.control_plane:stop", "Stop all components and keep their data."),
    Entry("rehearsal status", "rehearsal.control_plane:status", "Show the components of the control plane."),
    Entry("rehearsal logs", "rehearsal.control_plane:logs", "Print the end of a component's log."),
    Entry("load run", "rehearsal.load:run", "Run a load scenario and show how each job performs."),
    Entry("load stop", "rehearsal.load:stop", "Stop the load."),
    Entry("load status", "rehearsal.load:status", "Show how each job performs."),
    Entry("load check", "rehearsal.load:check", "Validate a scenario and the traces it names."),
    Entry("load schema", "rehearsal.load:schema", "Print the JSON schema of scenarios."),
    Entry("policy list", "policy.rules:list_rules", "List all rules."),
    Entry("policy explain", "policy.rules:explain", "Show the reason, remedy and examples of a rule."),
    Entry("policy test", "policy.rules:try_rules", "Test rules on their own examples."),
    Entry("crd", "supply.crd:crd", "Print the CustomResourceDefinitions for kubectl apply."),
    Entry("mirror list", "supply.mirror:list_charts", "List the charts of a stack with their images."),
    Entry("mirror pack", "supply.mirror:pack", "Download the charts of a stack into a folder."),
    Entry("mirror push", "supply.mirror:push", "Push the images of a mirror folder to a registry."),
    Entry("sbom", "supply.sbom:sbom", "Write the software bill of materials (CycloneDX JSON)."),
    Entry("tools list", "supply.tools:list_tools", "List the tools, the CRDs and where they come from."),
    Entry("tools ensure", "supply.tools:ensure", "Download or build the tools that are missing."),
    Entry("tools path", "supply.tools:path", "Print the path of a tool."),
    Entry("tools clean", "supply.tools:clean", "Remove cached tools, CRDs and Go's build cache."),
    Entry("versions check", "supply.versions:check", "Check pinned versions against the registries."),
)
