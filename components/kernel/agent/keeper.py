"""The three modes: report differences, apply settings, restore the original values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .knobs import Config, Finding, Holder, Target, read, same, targets, write
from .saved import Saved, Store


class Keeper:
    """Keeps a node in the configured state."""

    def __init__(self, config: Config, root: Path, folder: Path) -> None:
        self._config = config
        self._root = root
        self._store = Store(root, folder)
        self._holder = Holder(root)

    def run(self) -> list[Finding]:
        """Run one pass of the configured mode."""
        if self._config.mode == "apply":
            return [*self.apply(), *self._advice()]
        if self._config.mode == "rollback":
            return self.restore()
        return [*self.look(), *self._advice()]

    def look(self) -> Iterator[Finding]:
        """Report how the node differs, without a change."""
        for target in targets(self._config, self._root):
            if isinstance(target, Finding):
                yield target
                continue
            try:
                now = read(self._root, target.path)
            except OSError as error:
                yield _refused(target, error)
                continue
            if same(target.path, now, target.desired):
                yield Finding("ok", target.key, now, target.path)
            else:
                yield Finding(
                    "differs", target.key, f"{now}, would be {target.desired} {target.unit}".rstrip(), target.path
                )
        for setting in self._config.settings:
            if setting.kind == "hold":
                yield self._holder.look(setting)
        if self._store.path.exists():
            text = f"values of an earlier apply are saved in {self._store.path}: mode rollback puts them back"
            yield Finding("left", "saved", text)

    def apply(self) -> list[Finding]:
        """Save the current values, then set the desired ones. Idempotent."""
        self._store.forget_earlier_boots()
        targets_or_findings = list(targets(self._config, self._root))
        desired = {target.path: target for target in targets_or_findings if isinstance(target, Target)}
        saved = self._store.load()
        before = dict(saved)
        findings = [finding for finding in targets_or_findings if isinstance(finding, Finding)]
        # Restore settings that were removed from the configuration.
        findings += self._put_back({path: value for path, value in saved.items() if path not in desired}, saved)
        current: dict[str, str] = {}
        for path, target in desired.items():
            try:
                current[path] = read(self._root, path)
            except OSError as error:
                findings.append(_refused(target, error))
        differing = [path for path, now in current.items() if not same(path, now, desired[path].desired)]
        for path in differing:
            target = desired[path]
            earlier = saved.get(path, Saved(target.key, current[path], target.desired))
            saved[path] = replace(earlier, set=target.desired)
        # Saved to disk before the first change, so that a killed agent can be undone.
        if saved != before:
            self._store.store(saved)
        for path, now in current.items():
            target = desired[path]
            findings.append(self._set(target, now) if path in differing else Finding("ok", target.key, now, path))
        findings += [self._holder.hold(setting) for setting in self._config.settings if setting.kind == "hold"]
        return findings

    def restore(self) -> list[Finding]:
        """Restore the saved values; delete the file with the last one."""
        self._holder.release()
        earlier = [
            Finding("gone", "saved", f"{name}: the node has booted since")
            for name in self._store.forget_earlier_boots()
        ]
        saved = self._store.load()
        findings = self._put_back(dict(saved), saved)
        self._store.store(saved)
        return [*earlier, *findings]

    def _put_back(self, some: dict[str, Saved], saved: dict[str, Saved]) -> list[Finding]:
        """Restore values, and drop the restored ones from ``saved``."""
        findings = []
        for path, value in some.items():
            try:
                now = read(self._root, path)
                # A value that the kernel rejected needs no restore.
                if not same(path, now, value.before):
                    write(self._root, path, value.before)
                after = read(self._root, path)
            except FileNotFoundError:
                # The settings of a removed CPU or NIC are gone with it.
                findings.append(Finding("gone", value.key, "is no longer there", path))
                del saved[path]
                continue
            except OSError as error:
                findings.append(Finding("refused", value.key, f"{value.before}: {error.strerror}", path))
                continue
            if not same(path, after, value.before):
                findings.append(Finding("refused", value.key, f"{value.before}: it still reads {after}", path))
                continue
            foreign = not same(path, now, value.set) and not same(path, now, value.before)
            note = f", which somebody else had set to {now}" if foreign else ""
            findings.append(Finding("restored", value.key, f"{value.before}{note}", path))
            del saved[path]
        return findings

    def _set(self, target: Target, now: str) -> Finding:
        try:
            write(self._root, target.path, target.desired)
            after = read(self._root, target.path)
        except OSError as error:
            return _refused(target, error)
        if not same(target.path, after, target.desired):
            return Finding("refused", target.key, f"{target.desired}: it still reads {after}", target.path)
        return Finding("set", target.key, f"{now} -> {target.desired} {target.unit}".rstrip(), target.path)

    def _advice(self) -> Iterator[Finding]:
        for row in self._config.advice:
            text = row["why"]
            if path := row.get("path"):
                try:
                    content = (self._root / path).read_text().strip()
                except OSError as error:
                    content = f"cannot be read, {error.strerror}"
                word = row.get("looksFor")
                text = f"here {_there(word, content) if word else content}. {text}"
            yield Finding("advice", row["key"], text)


def _there(word: str, content: str) -> str:
    lines = [part for part in content.split() if word in part]
    return " ".join(lines) if lines else f"without {word}"


def _refused(target: Target, error: OSError) -> Finding:
    return Finding("refused", target.key, f"{target.desired}: {error.strerror}", target.path)
