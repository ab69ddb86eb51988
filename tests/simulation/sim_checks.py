"""What must hold in every simulated world, checked as it happens; a breach names the promise."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim_store import Answer
from sim_world import Executor, World

from jobico import limits
from jobico.change import Accept, AcceptResult, Bury, Entry, Replay, Reschedule, Settle, StoreLease
from jobico.delivery import DeliveryMachine
from jobico.errors import QuotaExceeded
from jobico.event import Event, Outcome, Record, State
from jobico.instruction import Assignment
from jobico.ordering import Pending, Phase

if TYPE_CHECKING:
    from sim_listener import Post

__all__ = ["Breach", "Checks"]

_ALONE_DEATHS = limits.DEATHS_MAX - 1
_HELD_AHEAD_US = limits.HELD_AHEAD_MS * 1_000

Lane = tuple[str, str, str, str]


class Breach(AssertionError):
    """A promise that does not hold."""

    def __init__(self, promise: str, event_id: str = "", detail: Any = "") -> None:
        super().__init__(f"{promise}: {event_id} {detail}")
        self.promise = promise
        self.event_id = event_id


class Checks:
    """Follows every event from outside, and compares what the machine says with what it should be."""

    def __init__(self, world: World, attempts_max: dict[str, int]) -> None:
        self.world = world
        self.attempts_max = attempts_max  # by event name
        self.answered: dict[str, int] = {}  # ids that a sender was told of, and when
        self.events: dict[str, Event] = {}  # all that were stored
        self.seqs: dict[str, int] = {}
        self.records: dict[str, list[Record]] = defaultdict(list)
        self.final: dict[str, Record] = {}
        self.children: dict[str, list[Event]] = defaultdict(list)
        self.replayed: set[str] = set()
        self.withdrawn: dict[str, int] = {}  # ids to be cancelled, and the token that they had
        self.ever_withdrawn: set[str] = set()
        self.tokens: dict[str, int] = {}  # the last token of each id
        self.sent_ms: dict[int, int] = {}  # by token
        self.began_tokens: set[int] = set()
        self.parked_tokens: set[int] = set()  # which executors have ever put aside
        self.lane_done: dict[Lane, int] = {}
        self.lane_sent: dict[Lane, int] = {}
        self.deaths: dict[str, int] = defaultdict(int)
        self.idle_deaths: set[str] = set()  # executors that ran nothing when they died or were cut off
        self.executors: dict[str, Executor] = {}
        self.fairness: Any = None

    # --- Senders ------------------------------------------------------------------------------------------

    def told(self, post: "Post", answer: AcceptResult) -> None:
        for event_id in answer.ids:
            self.answered.setdefault(event_id, self.world.now_ms)
            self.world.note("accepted", event_id)

    def refused(self, post: "Post", error: QuotaExceeded) -> None:
        self.world.note("refused", post.events[0].id, error.detail)
        if error.retry_after_s <= 0:
            raise Breach("Retry-After is ahead", post.events[0].id, error.detail)

    def cancelled(self, event_id: str, item: Pending) -> None:
        self.world.note("withdrawn", event_id, item.phase)
        self.withdrawn.setdefault(event_id, item.token)
        self.ever_withdrawn.add(event_id)

    # --- The store ----------------------------------------------------------------------------------------

    def stored(self, answer: Answer) -> None:
        """A transaction is durable (or has failed)."""
        if answer.error is not None:
            return
        for change, result in zip(answer.changes, answer.results, strict=True):
            if isinstance(change, Accept):
                if result.fresh:
                    self._entered(change.entries)
            elif isinstance(change, Replay):
                if result:
                    self.replayed.add(change.id)
                    self._entered((change.entry,))
            elif isinstance(change, Settle | Bury | Reschedule):
                self._ended_or_kept(change, result)
            elif isinstance(change, StoreLease) and not result:
                raise Breach("only stored events are leased", "", change)

    def _entered(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            event = entry.event
            if event.id in self.events:
                raise Breach("an event is stored once", event.id)
            self.events[event.id] = event
            self.seqs[event.id] = entry.seq
            if event.parent:
                self.children[event.parent].append(event)
            self.world.note("stored", event.id, (entry.seq, event.event, event.order_key))

    def _ended_or_kept(self, change: Settle | Bury | Reschedule, result: bool) -> None:
        record = change.record
        if record is None:
            return
        event_id = record.id
        if not result or event_id in self.final:
            raise Breach("an event has one outcome", event_id, record.outcome)
        self.world.note("recorded", event_id, (record.attempt, record.outcome.value, record.state.value))
        earlier = self.records[event_id]
        if record.attempt != len(earlier) + 1:
            raise Breach("attempts are counted one by one", event_id, record.attempt)
        earlier.append(record)
        self._check_attempt(record)
        if not isinstance(change, Reschedule):
            self.final[event_id] = record
            self._entered(change.follow_ups)
            self._check_follow_ups(record, change.follow_ups)
            self._check_order(self.events[event_id])

    def _check_attempt(self, record: Record) -> None:
        event_id = record.id
        ran = record.executor and record.outcome in (Outcome.OK, Outcome.FAILED)  # `error` is the token
        if ran and int(record.error) != self.tokens[event_id]:
            raise Breach("a late settlement is refused", event_id, (record.error, self.tokens[event_id]))
        if record.outcome is Outcome.KILLED:
            self.deaths[event_id] += 1
            if self.deaths[event_id] > limits.DEATHS_MAX:
                raise Breach("an event kills at most three executors", event_id)
            idle = record.executor in self.idle_deaths or self.executors[record.executor].running is None
            token = self.tokens[event_id]
            # That an executor has just put something aside may not have been heard before it died.
            if token not in self.began_tokens and token not in self.parked_tokens and not idle:
                raise Breach("only what ran is charged with a death", event_id, record.executor)
        if record.leased_ms and record.attempt > self.attempts_max[record.event]:
            raise Breach("attempts are bounded by the policy", event_id, record.attempt)

    def _check_follow_ups(self, record: Record, entries: Sequence[Entry]) -> None:
        made = [entry.event for entry in entries]
        wanted = []
        if record.outcome is Outcome.OK:
            wanted = {"ordered": ["after"], "plain": ["after"], "loop": ["loop"]}.get(record.event, [])
        elif record.state is State.DEAD and record.reason in ("attempts", "final", "killed"):
            wanted = {"ordered": ["oops"], "plain": ["oops"]}.get(record.event, [])
        if (
            record.revision == 0
        ):  # its job was withdrawn and the listener restarted: nobody knows what it routed
            wanted = []
        if [event.event for event in made] != wanted:
            raise Breach("follow-ups are emitted once", record.id, [event.event for event in made])
        if tuple(event.id for event in made) != record.follow_ups:
            raise Breach("a record names its follow-ups", record.id)

    def _check_order(self, event: Event) -> None:
        if event.ordered and event.id not in self.ever_withdrawn:
            lane = _lane(event)
            if self.lane_done.get(lane, 0) > self.seqs[event.id]:
                raise Breach("a lane ends in order", event.id, lane)
            self.lane_done[lane] = self.seqs[event.id]

    # --- Executors ----------------------------------------------------------------------------------------

    def sent(self, machine: DeliveryMachine, executor: Executor, items: Sequence[Assignment]) -> None:
        for item in items:
            self.world.note("sent", item.event.id, (executor.instance, item.token, item.attempt))
            self._check_sent(item.event, item.token)
        held = machine.leasing.crew.executors[executor.name].held.values()
        if len(held) > 1:
            self._check_held(list(held))

    def _check_sent(self, event: Event, token: int) -> None:
        if event.id in self.final:
            raise Breach("what has ended is not run again", event.id)
        if event.id not in self.events:
            raise Breach("what is not stored is not run", event.id)
        if event.id in self.withdrawn and token != self.withdrawn[event.id]:
            raise Breach("what was withdrawn is not run again", event.id)
        if token <= self.tokens.get(event.id, 0):
            raise Breach("tokens grow", event.id)
        self.tokens[event.id] = token
        self.sent_ms[token] = self.world.now_ms
        if event.ordered:
            lane = _lane(event)
            if self.lane_sent.get(lane, 0) > self.seqs[event.id]:
                raise Breach("a lane is sent in order", event.id, lane)
            self.lane_sent[lane] = self.seqs[event.id]

    def _check_held(self, held: Sequence[Pending]) -> None:
        for item in held:
            if item.deaths >= _ALONE_DEATHS:
                raise Breach("what may be poison runs alone", item.event.id, item.executor)
        # What has come back from being put aside is there besides what was given since.
        planned = [item.planned_us for item in held if item.token not in self.parked_tokens]
        planned_us = sum(planned)
        if len(planned) > 1 and planned_us > _HELD_AHEAD_US:
            raise Breach("what is held ahead is bounded by time", held[-1].event.id, planned_us)

    def began(self, executor: Executor, item: Assignment) -> None:
        self.began_tokens.add(item.token)
        self.world.note("begins", item.event.id, (executor.instance, item.token))
        if not item.event.ordered:
            return
        lane = _lane(item.event)
        for other in self.executors.values():
            running = other.running
            if other is executor or running is None or not other.alive:
                continue
            # A lease of an executor that was cut off or stopped since may have ended without its knowing.
            cut_off = (
                other.excused_ms >= self.sent_ms[running.token]
                or executor.excused_ms >= self.sent_ms[item.token]
            )
            if running.event.ordered and _lane(running.event) == lane and not cut_off:
                raise Breach("never two of a lane at once", item.event.id, running.event.id)

    def welcomed(self, executor: Executor, content: Any) -> None:
        self.world.note("welcome", "", (executor.name, content))

    def died(self, executor: Executor) -> None:
        if executor.running is None:
            self.idle_deaths.add(executor.name)

    def listener_died(self) -> None:
        """A run that somebody wants ended is forgotten: that is not stored."""
        self.withdrawn.clear()

    def resolved(self, record: Record) -> None:
        if self.final.get(record.id) is not record:
            raise Breach("an end is told once it is stored", record.id)

    # --- The machine --------------------------------------------------------------------------------------

    def step(self, machine: DeliveryMachine) -> None:
        """Compares the machine's books with what is in them."""
        self._check_leases(machine.leasing.held)
        self._check_runs(machine)
        for name, member in machine.leasing.crew.executors.items():
            if any(item.executor != name for item in (*member.has, *member.reserved.values())):
                raise Breach("an executor holds what is leased to it", name)
        if self.fairness is not None:
            self.fairness(machine)

    def _check_leases(self, leases: Mapping[int, Pending]) -> None:
        lanes: set[Lane] = set()
        for token, item in leases.items():
            if item.token != token or item.phase not in (Phase.LEASED, Phase.LEASING):
                raise Breach("a lease is of an event that is leased", item.event.id, item.phase)
            if item.event.ordered:
                lane = _lane(item.event)
                if lane in lanes:
                    raise Breach("never two leases of a lane at once", item.event.id, lane)
                lanes.add(lane)

    def _check_runs(self, machine: DeliveryMachine) -> None:
        items = machine.leasing.held.values()
        # What was leased before a restart may have been given back just then: it counts, but breaks no bound.
        recovered = {item.event.tenant for item in items if item.recovered}
        runs = Counter(item.event.tenant for item in items)
        queue_runs = Counter(id(item.queue) for item in items)
        for tenant, share in machine.backlog.shares.items():
            if share.runs != runs[tenant]:
                raise Breach("runs are counted", tenant, (share.runs, runs[tenant]))
            if share.runs > share.use.runs_max and tenant not in recovered:
                raise Breach("a tenant's concurrent runs are bounded", tenant, share.runs)
        for queue in machine.backlog.queues.values():
            over = queue.runs_max and queue.runs > queue.runs_max and queue.tenant not in recovered
            if over or queue.runs != queue_runs[id(queue)]:
                raise Breach("a queue's concurrent runs are bounded", queue.name, queue.runs)

    # --- The end ------------------------------------------------------------------------------------------

    def end(self, machine: DeliveryMachine) -> None:
        """All is quiet: every event must have ended, and nothing must be left over."""
        for event_id in self.answered:
            if event_id not in self.events:
                raise Breach("an answered event is stored", event_id)
        for event_id in self.events:
            if event_id not in self.final:
                raise Breach("every event ends", event_id)
        for record in self.final.values():
            if record.outcome is Outcome.CANCELLED and record.id not in self.ever_withdrawn:
                raise Breach("only withdrawn events are cancelled", record.id)
            if record.hop > limits.HOPS_MAX and record.reason not in ("loop", "no-route"):
                raise Breach("chains end", record.id)
        self._check_empty(machine)

    def _check_empty(self, machine: DeliveryMachine) -> None:
        if machine.backlog.items or machine.leasing.held:
            raise Breach("nothing is left over", next(iter(machine.backlog.by_id), ""))
        for tenant, share in machine.backlog.shares.items():
            if share.use.events or share.use.size_bytes or share.runs:
                raise Breach("quotas are given back", tenant, (share.use.events, share.runs))
        for queue in machine.backlog.queues.values():
            if queue.count or queue.delayed or queue.size_bytes or queue.runs:
                raise Breach("queues are empty at the end", queue.name, (queue.count, queue.delayed))


def _lane(event: Event) -> Lane:
    return (event.tenant, event.job, event.queue, event.order_key)
