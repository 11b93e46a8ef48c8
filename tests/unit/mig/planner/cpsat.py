"""The planner's rules for CP-SAT: a model of placements instead of patterns, solved one criterion at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ortools.sat.python import cp_model

from inferstack.mig import catalogue
from inferstack.mig.planner import Demand, Fleet, FleetGpu

_ENGINES = ("decoder", "encoder", "jpeg", "ofa")


class Model:
    """Booleans ``seat -> who``, and the criteria over them."""

    def __init__(self, fleet: Fleet, demands: Sequence[Demand]) -> None:
        self._fleet = fleet
        self._demands = demands
        self._model = cp_model.CpModel()
        # By GPU: (start, profile, demand, literal or 1 for a pinned pod).
        self._uses: list[list[tuple[int, str, str, cp_model.LinearExprT]]] = [[] for _ in fleet.gpus]
        self._stays: list[tuple[int, cp_model.IntVar]] = []
        self._given: dict[str, list[cp_model.IntVar]] = {demand.name: [] for demand in demands}
        self._place_pods()
        self._place_demands()
        self._created = [self._change(index, gpu) for index, gpu in enumerate(fleet.gpus)]
        self._broken = [term for index, gpu in enumerate(fleet.gpus) for term in self._gpu(index, gpu)]
        self._moved = [self._move(index, stays) for index, stays in self._stays]
        self._pin()
        self._spread()

    def best(self) -> tuple[tuple[int, ...], int, int, int]:
        """Return the best value of each criterion, given those before it, as `Objective.key` has them."""
        served = []
        for priority in sorted({demand.priority for demand in self._demands}, reverse=True):
            literals = [x for d in self._demands if d.priority == priority for x in self._given[d.name]]
            served.append(self._least(-sum(literals)))
        return (
            tuple(served),
            self._least(sum(self._broken)),
            self._least(sum(self._created)),
            self._least(sum(self._moved)),
        )

    def _least(self, expression: cp_model.LinearExprT) -> int:
        if isinstance(expression, int):
            return expression
        self._model.minimize(expression)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        solver.solve(self._model)
        assert solver.status_name() == "OPTIMAL"
        value = round(solver.objective_value)
        self._model.add(expression == value)
        return value

    def _place_pods(self) -> None:
        for index, gpu in enumerate(self._fleet.gpus):
            for instance in gpu.instances:
                if instance.pinned:
                    self._uses[index].append((instance.start, instance.profile, instance.demand, 1))
                elif instance.pod:
                    places = []
                    for at, other in enumerate(self._fleet.gpus):
                        for start in (
                            catalogue.gpu(gpu.model).profiles[instance.profile].starts
                            if other.model == gpu.model
                            else ()
                        ):
                            literal = self._model.new_bool_var("")
                            places.append(literal)
                            self._uses[at].append((start, instance.profile, instance.demand, literal))
                            if (at, start) == (index, instance.start):
                                self._stays.append((index, literal))
                    self._model.add_exactly_one(places)

    def _place_demands(self) -> None:
        for demand in self._demands:
            for index, gpu in enumerate(self._fleet.gpus):
                profile = demand.on(gpu.model)
                for start in catalogue.gpu(gpu.model).profiles[profile].starts if profile else ():
                    literal = self._model.new_bool_var("")
                    self._given[demand.name].append(literal)
                    self._uses[index].append((start, profile, demand.name, literal))
            self._model.add(sum(self._given[demand.name]) <= demand.count)

    def _change(self, index: int, gpu: FleetGpu) -> cp_model.IntVar:
        """Return whether an instance is created."""
        present = {(instance.start, instance.profile) for instance in gpu.instances}
        new = [x for start, profile, _, x in self._uses[index] if (start, profile) not in present]
        created = self._model.new_bool_var("")
        self._model.add_max_equality(created, new) if new else self._model.add(created == 0)
        return created

    def _gpu(self, index: int, gpu: FleetGpu) -> Iterator[cp_model.LinearExprT]:
        """Add what one GPU has in all, and yield the terms of its fragmentation."""
        gpu_model, uses, model = catalogue.gpu(gpu.model), self._uses[index], self._model
        rows = gpu_model.profiles
        taken = []
        for unit in range(gpu_model.memory_slices):
            over = [x for start, name, _, x in uses if start <= unit < start + rows[name].memory_slices]
            taken.append(model.new_bool_var(""))
            model.add(sum(over) == taken[-1])
        compute = sum(rows[name].compute_slices * x for _, name, _, x in uses)
        model.add(compute <= gpu_model.compute_slices)
        model.add(sum(x for _, name, _, x in uses if rows[name].media_extensions) <= 1)
        for engine in _ENGINES:
            model.add(sum(rows[name].engines[engine] * x for _, name, _, x in uses) <= gpu_model.engines[engine])
        for profile in rows.values():
            if not profile.name.endswith("gb"):
                continue
            enough = model.new_bool_var("")
            slack = [
                gpu_model.memory_slices - sum(taken) - profile.memory_slices,
                gpu_model.compute_slices - compute - profile.compute_slices,
            ]
            fits = [self._not_negative(difference) for difference in slack]
            model.add_min_equality(enough, fits)
            for start in profile.starts:
                blocked = model.new_bool_var("")
                model.add_max_equality(blocked, taken[start : start + profile.memory_slices])
                both = model.new_bool_var("")
                model.add_min_equality(both, [enough, blocked])
                yield profile.memory_slices * both

    def _not_negative(self, expression: cp_model.LinearExprT) -> cp_model.IntVar:
        literal = self._model.new_bool_var("")
        self._model.add(expression >= 0).only_enforce_if(literal)
        self._model.add(expression <= -1).only_enforce_if(~literal)
        return literal

    def _alike(self, index: int) -> list[int]:
        """Return the GPUs whose change stops the pods of this one."""
        gpus = self._fleet.gpus
        if self._fleet.scope == "node":
            return [at for at, gpu in enumerate(gpus) if gpu.node == gpus[index].node]
        return [index] if self._fleet.scope == "gpu" else []

    def _move(self, index: int, stays: cp_model.IntVar) -> cp_model.IntVar:
        moved = self._model.new_bool_var("")
        self._model.add_max_equality(moved, [~stays, *(self._created[at] for at in self._alike(index))])
        return moved

    def _pin(self) -> None:
        for index, gpu in enumerate(self._fleet.gpus):
            if any(instance.pinned for instance in gpu.instances):
                for at in self._alike(index):
                    self._model.add(self._created[at] == 0)

    def _spread(self) -> None:
        gpus = self._fleet.gpus
        for demand in (demand for demand in self._demands if demand.max_per_node is not None):
            for node in {gpu.node for gpu in gpus}:
                here = [index for index, gpu in enumerate(gpus) if gpu.node == node]
                today = sum(instance.demand == demand.name for index in here for instance in gpus[index].instances)
                held = [x for index in here for _, _, name, x in self._uses[index] if name == demand.name]
                self._model.add(sum(held) <= max(demand.max_per_node or 0, today))
