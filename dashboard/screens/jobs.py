"""Job definitions as a tree: events with schema and runtime, queues with depth, revisions with their diff."""

import difflib
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual import on, work
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from dashboard.screens.base import DashboardScreen
from dashboard.widgets.texts import cell, clock_time, pretty
from jobico.definition import EventDefinition, QueueDefinition, Revision, RuntimeDefinition
from jobico.errors import JobicoError
from jobico.text import tame
from jobico.units import format_duration_ms, format_size

__all__ = ["JobsScreen"]


class _Kept(NamedTuple):
    """An earlier revision of a job that is still kept, in the tree."""

    current: Revision
    number: int


class _Shown(NamedTuple):
    """An event in the tree, and the revision that it is of."""

    revision: Revision
    event: EventDefinition


class JobsScreen(DashboardScreen):
    """What is deployed."""

    NAME = "Jobs"
    BINDINGS: ClassVar = [("r", "reload", "Reload")]

    def content(self) -> list[Widget]:
        """The tree at the left, what is chosen in it at the right."""
        tree: Tree[Any] = Tree("jobs", id="tree")
        tree.show_root = False
        return [Horizontal(tree, VerticalScroll(Static(id="detail")))]

    def on_mount(self) -> None:
        """Asks for the jobs."""
        super().on_mount()
        self.action_reload()

    @work(exclusive=True, group="jobs")
    async def action_reload(self) -> None:
        """Asks control for all current revisions and draws the tree anew."""
        try:
            revisions = await self.feed.jobs()
            kept = [
                (await self.feed.job(one.definition.tenant, one.definition.id, 0))[1] for one in revisions
            ]
        except JobicoError as error:
            self.complain(error)
            return
        tree = self.query_one("#tree", Tree)
        tree.clear()
        for revision, numbers in zip(revisions, kept, strict=True):
            _add_job(tree.root, revision, numbers)
        if tree.root.children:
            tree.move_cursor(tree.root.children[0])
        else:
            self.query_one("#detail", Static).update("No job is deployed. Try `jobico deploy FILE`.")

    @on(Tree.NodeHighlighted)
    def _show(self, message: Tree.NodeHighlighted[Any]) -> None:
        data = message.node.data
        detail = self.query_one("#detail", Static)
        if isinstance(data, Revision):
            self._show_job(data)
        elif isinstance(data, QueueDefinition):
            detail.update(self._queue(data))
        elif isinstance(data, _Shown):
            detail.update(_event(data.event))
            self._add_schema(data)
        elif isinstance(data, _Kept):
            self._show_diff(data)
        elif isinstance(data, RuntimeDefinition):
            detail.update(_runtime(data))

    @work(exclusive=True, group="job-detail")
    async def _add_schema(self, shown: _Shown) -> None:
        """Asks for the event's schema and shows it below what is known of the event."""
        digest = shown.revision.schemas.get(shown.event.id)
        if not digest:
            return
        try:
            content = await self.feed.content(shown.revision.definition.tenant, digest)
        except JobicoError as error:
            self.complain(error)
            return
        text = _event(shown.event)
        text.append("\nSchema\n", "bold")
        text.append(pretty(content))
        self.query_one("#detail", Static).update(text)

    @work(exclusive=True, group="job-detail")
    async def _show_diff(self, kept: _Kept) -> None:
        """Asks for an earlier revision and shows what has changed since."""
        definition = kept.current.definition
        try:
            earlier, _ = await self.feed.job(definition.tenant, definition.id, kept.number)
        except JobicoError as error:
            self.complain(error)
            return
        self.query_one("#detail", Static).update(_diff(earlier, kept.current))

    def _show_job(self, revision: Revision) -> None:
        definition = revision.definition
        text = _facts(
            ("job", f"{definition.tenant}/{definition.id}"),
            ("name", definition.name),
            ("revision", f"{revision.number}, deployed {clock_time(revision.created_ms)}"),
        )
        text.append("\n" + tame(revision.source, multiline=True))
        self.query_one("#detail", Static).update(text)

    def _queue(self, queue: QueueDefinition) -> Text:
        rows = [row for row in self.feed.queues.items if row.get("queue") == queue.id]
        return _facts(
            ("queue", queue.id),
            ("order", f"{queue.order} {queue.key}"),
            ("ready", str(sum(int(row.get("ready", 0)) for row in rows))),
            ("running", str(sum(int(row.get("running", 0)) for row in rows))),
            ("delayed", str(sum(int(row.get("delayed", 0)) for row in rows))),
            ("dead", str(sum(int(row.get("dead", 0)) for row in rows))),
        )


def _diff(earlier: Revision, current: Revision) -> Text:
    text = _facts(
        ("revision", f"{earlier.number}, deployed {clock_time(earlier.created_ms)}"),
        ("against", f"{current.number}, the current one"),
    )
    lines = list(
        difflib.unified_diff(
            earlier.source.splitlines(),
            current.source.splitlines(),
            f"revision {earlier.number}",
            f"revision {current.number}",
            lineterm="",
        )
    )
    text.append("\n")
    for line in lines or ["The definition is the same; a program or a schema has changed."]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        text.append(tame(line) + "\n", style)
    return text


def _add_job(root: TreeNode[Any], revision: Revision, kept: tuple[int, ...]) -> None:
    definition = revision.definition
    job = root.add(
        cell(f"{definition.tenant}/{definition.id} r{revision.number}"), data=revision, expand=True
    )
    events = job.add("events", expand=True)
    for event in definition.events:
        events.add_leaf(cell(event.id), data=_Shown(revision, event))
    for label, items in (("queues", definition.queues), ("runtimes", definition.runtimes)):
        branch = job.add(label)
        for item in items:
            branch.add_leaf(cell(item.id), data=item)
    revisions = job.add("revisions")
    for number in sorted(kept, reverse=True):
        revisions.add_leaf(f"r{number}", data=_Kept(revision, number))


def _facts(*facts: tuple[str, str]) -> Text:
    text = Text()
    for name, value in facts:
        if value.strip():
            text.append(f"{name:<10}", "dim")
            text.append(tame(value) + "\n")
    return text


def _event(event: EventDefinition) -> Text:
    retry = event.retry
    return _facts(
        ("event", event.id),
        ("name", event.name),
        ("schema", event.schema.ref if event.schema else "none"),
        ("queue", event.queue),
        ("runtime", event.runtime),
        ("verify", str(event.verify.scheme)),
        ("retry", f"{retry.attempts} attempts, {retry.backoff} from {format_duration_ms(retry.initial_ms)}"),
        ("ok", event.ok),
        ("error", event.error),
        ("schedule", event.schedule),
    )


def _runtime(runtime: RuntimeDefinition) -> Text:
    limits = runtime.limits
    return _facts(
        ("runtime", runtime.id),
        ("name", runtime.name),
        ("module", runtime.module),
        ("function", runtime.function),
        ("abi", str(runtime.abi)),
        ("engine", str(runtime.engine)),
        ("time", format_duration_ms(limits.time_ms)),
        ("memory", format_size(limits.memory_bytes)),
        ("fuel", str(limits.fuel) if limits.fuel else "not counted"),
        ("result", format_size(limits.result_bytes)),
        ("logs", format_size(limits.logs_bytes)),
        ("env", ", ".join(sorted(runtime.env))),
        ("secrets", ", ".join(runtime.secrets)),
    )
