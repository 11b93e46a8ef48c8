"""Names that the operator's rights hold are those that the gpu role writes."""

from __future__ import annotations

from components.gpu import builders
from inferstack.controllers.rbac import RIGHTS
from inferstack.mig import gpu_operator as names


def test_names_equal_those_of_the_gpu_role() -> None:
    assert (names.OWN_LAYOUTS, names.NAMESPACE) == (builders.CONFIG_MAP, builders.NAMESPACE)
    assert names.POLICY == builders.POLICY


def test_rights_on_config_maps_name_the_layouts_only() -> None:
    (right,) = [right for right in RIGHTS if "configmaps" in right.resources]
    assert right.manifest()["resourceNames"] == [names.OWN_LAYOUTS, names.DEFAULT_LAYOUTS]
    assert right.verbs == ("get",)
