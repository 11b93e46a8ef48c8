"""Checks across the gpu settings, the stack's nodes and the software on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.gpu import compatibility
from components.gpu.fleet import GpuGroup
from components.gpu.preflight import KEY, Asked, examine, refusals
from components.gpu.settings import GpuSettings, Modules, Strategy
from components.settings import key_path
from inferstack.api import runtimes
from inferstack.errors import UserError, hint
from inferstack.mig import catalogue
from inferstack.mig.resources import GPU_RESOURCE, is_gpu
from inferstack.mig.sharing import CONFIG_LABEL
from inferstack.versions import load as load_versions


def check_gpu(
    settings: GpuSettings,
    groups: Sequence[GpuGroup],
    *,
    kubernetes: str | None,
    kubernetes_key: str,
    operator_is_ours: bool,
) -> None:
    """Check the settings of the role.

    Args:
        settings: the role's settings.
        groups: GPU node groups that the stack describes.
        kubernetes: minor version of the cluster; None if unknown.
        kubernetes_key: key path of that version.
        operator_is_ours: whether this program installs the GPU operator.

    Raises:
        UserError: one line for each wrong key.
    """
    asked = make_asked(
        settings,
        groups,
        kubernetes=kubernetes,
        kubernetes_key=kubernetes_key,
        operator_is_ours=operator_is_ours,
    )
    findings = examine(asked, compatibility.load())
    wrong = [
        *_driver(settings),
        *_brought(settings, groups),
        *_cdi(settings),
        *_tolerations(settings),
        *_sharing(settings, groups),
        *_labels(settings, groups),
        *refusals(findings, allow_unknown=settings.preflight.allow_unknown),
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def make_asked(
    settings: GpuSettings,
    groups: Sequence[GpuGroup],
    *,
    kubernetes: str | None,
    kubernetes_key: str,
    operator_is_ours: bool,
) -> Asked:
    """Return the input of the preflight; the arguments are those of `check_gpu`."""
    return Asked(
        operator=load_versions()["charts"]["gpu-operator"]["version"] if operator_is_ours else None,
        driver=settings.driver.version or (None if settings.driver.installed else _driver_of_image(groups)),
        installs_driver=settings.driver.installed and operator_is_ours,
        proprietary=settings.driver.kernel_module_type is Modules.PROPRIETARY,
        gpus={group.key: group.gpu for group in groups},
        images=_images(),
        kubernetes=kubernetes,
        kubernetes_key=kubernetes_key,
        runtime=settings.preflight.container_runtime,
        nri=settings.cdi.nri,
    )


def _images() -> Mapping[str, str]:
    """Return the images of jobs, by their key in versions.yaml."""
    used = {runtime.image for runtime in runtimes.load().runtimes.values()}
    return {name: reference for name, reference in load_versions()["images"].items() if reference in used}


def _driver(settings: GpuSettings) -> Iterator[str]:
    driver = settings.driver
    if driver.installed and driver.version and driver.version.count(".") < 2:
        yield (
            f"{KEY}.driver.version: {driver.version} is a branch, and the operator installs one version, such as "
            f"{_example(driver.version)}."
        )
    if not driver.installed and driver.kernel_module_type is not Modules.AUTO:
        yield (
            f"{KEY}.driver.kernelModuleType: is {driver.kernel_module_type}, and {KEY}.driver.enabled is false: the "
            "image of the nodes brings the modules; remove the key."
        )
    if driver.rdma.enabled and not driver.installed:
        yield (
            f"{KEY}.driver.rdma.enabled: the module for it comes with the driver, and {KEY}.driver.enabled is false; "
            "set GPUDirect RDMA up in the nodes' image."
        )
    if driver.rdma.use_host_mofed and not driver.rdma.enabled:
        yield f"{KEY}.driver.rdma.useHostMofed: says nothing while {KEY}.driver.rdma.enabled is false; turn that on."


def settle(settings: GpuSettings, groups: Sequence[GpuGroup]) -> GpuSettings:
    """Return the settings without driver and toolkit if the image of the nodes contains them."""
    if not any(group.image in compatibility.load().node_images for group in groups):
        return settings
    changed = {
        name: part.model_copy(update={"enabled": False})
        for name, part in (("driver", settings.driver), ("toolkit", settings.toolkit))
        if part.enabled is None
    }
    return settings.model_copy(update=changed)


def _driver_of_image(groups: Sequence[GpuGroup]) -> str | None:
    images = compatibility.load().node_images
    drivers = {images[group.image].driver for group in groups if group.image in images}
    return drivers.pop() if len(drivers) == 1 else None


def _brought(settings: GpuSettings, groups: Sequence[GpuGroup]) -> Iterator[str]:
    images = compatibility.load().node_images
    group = next((group for group in groups if group.image in images), None)
    for name, part in (("driver", settings.driver), ("toolkit", settings.toolkit)):
        if group and part.enabled:
            yield (
                f"{KEY}.{name}.enabled: the image of {group.key} ({group.image}) brings the {name} and takes no other; "
                "remove the key."
            )


def _example(branch: str) -> str:
    drivers = compatibility.load().operators.values()
    return next((version for row in drivers if (version := row.drivers.get(branch.partition(".")[0]))), "580.173.02")


def _cdi(settings: GpuSettings) -> Iterator[str]:
    if not settings.cdi.nri:
        return
    for key, there in (("cdi.enabled", settings.cdi.enabled), ("toolkit.enabled", settings.toolkit.installed)):
        if not there:
            yield f"{KEY}.cdi.nri: needs {KEY}.{key}, which is false; the chart fails otherwise."


def _tolerations(settings: GpuSettings) -> Iterator[str]:
    for index, toleration in enumerate(settings.daemonsets.tolerations):
        key = f"{KEY}.daemonsets.tolerations[{index}]"
        if toleration.operator == "Exists" and toleration.value is not None:
            yield f"{key}.value: with operator Exists a value does not count, and Kubernetes refuses it; use Equal."
        if toleration.operator == "Equal" and toleration.value is None:
            yield f"{key}.value: operator Equal needs it; use Exists for any value."


def _sharing(settings: GpuSettings, groups: Sequence[GpuGroup]) -> Iterator[str]:
    slicing = settings.time_slicing
    if slicing.default is not None and slicing.default not in slicing.configs:
        yield (
            f'{KEY}.timeSlicing.default: there is no configuration "{slicing.default}"; '
            f"{hint(slicing.default, slicing.configs)}"
        )
    for name, config in slicing.configs.items():
        for resource in config.resources:
            key = key_path(f"{KEY}.timeSlicing.configs", (name, "resources", resource))
            if problem := _not_offered(resource, settings.mig.strategy, groups):
                yield f"{key}: {problem}"


def _not_offered(resource: str, strategy: Strategy, groups: Sequence[GpuGroup]) -> str | None:
    """Return why no node can offer a resource; None if one can."""
    gpu_models = catalogue.load().gpus
    slices = {
        profile.resource: gpu_model for gpu_model in gpu_models.values() for profile in gpu_model.profiles.values()
    }
    if resource == GPU_RESOURCE:
        return None
    if resource not in slices:
        resources = [GPU_RESOURCE, *slices]
        kind = "no GPU has such slices" if is_gpu(resource) else "the device plugin does not share it"
        return f"{kind}; {hint(resource, resources, otherwise='it shares')}"
    if strategy is not Strategy.MIXED:
        return f"{KEY}.mig.strategy is {strategy}: slices are {GPU_RESOURCE} or are not offered."
    here = {group.gpu for group in groups}
    able = sorted(
        name for name in gpu_models if any(p.resource == resource for p in gpu_models[name].profiles.values())
    )
    if here and not here & set(able):
        return f"none of this stack's GPUs ({', '.join(sorted(here))}) has such slices; {', '.join(able)} have."
    return None


def _labels(settings: GpuSettings, groups: Sequence[GpuGroup]) -> Iterator[str]:
    configs = settings.time_slicing.configs
    for group in groups:
        asked = group.labels.get(CONFIG_LABEL)
        if asked is not None and asked not in configs:
            yield (
                f'{key_path(group.key, ("labels", CONFIG_LABEL))}: there is no configuration "{asked}" under '
                f"{KEY}.timeSlicing.configs, and the device plugin does not start without; {hint(asked, configs)}"
            )
