"""Pure: the words of the domain, as frozen values.

Enumerations are ordered from worst to best wherever their order means preference. Instants come in two kinds and are
never mixed: ``*_at`` and ``*_since`` floats are seconds of one monotonic clock and serve for intervals; ``datetime``
values are wall time in UTC and serve only for people and for the state file.
"""

from __future__ import annotations

import datetime
import enum
import math
from typing import Self

import attrs

from chef_failover.model.needs import Content, NodeObject, ParityMode, ReadinessPolicy
from chef_failover.model.orders import Orders, Pin
from chef_failover.model.run_history import RunEvidence, Used


class Health(enum.IntEnum):
    """Whether a Chef server works, as its probes say after rise and fall."""

    DOWN = 0
    UNKNOWN = 1
    UP = 2


class Standing(enum.IntEnum):
    """How well a server could serve this node's run."""

    UNKNOWN = 0
    """Not probed yet. It takes the node from nobody, not even from a server that is DOWN."""
    DOWN = 1
    FAILING = 2
    """UP, and its latest probe failed or is overdue: a run comes to no server before those that answer."""
    TURNS_NODE_AWAY = 3
    NOT_READY = 4
    DRAINED = 5
    RISING = 6
    """DOWN, and its latest probe succeeded."""
    FAILS_RUNS = 7
    """Well by its probes, but the last runs there failed before they converged."""
    IMPAIRED = 8
    """Well but for its search index: a run does all its work there, and its last save fails."""
    STALE = 9
    """Well in every way, but with another policy or older cookbooks than runs use."""
    ELIGIBLE = 10


class Outcome(enum.StrEnum):
    """What one probe found. The value is the class that metrics, JSON and people see."""

    OK = "ok"
    DEGRADED = "degraded"
    REFUSED = "refused"
    DNS = "dns"
    CONNECT_TIMEOUT = "connect_timeout"
    READ_TIMEOUT = "read_timeout"
    TLS = "tls"
    BUSY = "busy"
    MAINTENANCE = "maintenance"
    SERVER_ERROR = "server_error"
    LICENCE = "licence"
    NOT_ASSOCIATED = "not_associated"
    CLOCK_SKEW = "clock_skew"
    FORBIDDEN = "forbidden"
    WRONG_ORGANIZATION = "wrong_organization"
    NOT_CHEF = "not_chef"

    @property
    def serves_node(self) -> bool:
        """A run of this node could work there."""
        return self in (Outcome.OK, Outcome.DEGRADED)

    @property
    def turns_node_away(self) -> bool:
        """The server is alive, and this node is not welcome: that asks for repair, not for an alarm."""
        return self in (Outcome.NOT_ASSOCIATED, Outcome.CLOCK_SKEW, Outcome.FORBIDDEN, Outcome.WRONG_ORGANIZATION)

    @property
    def is_overload(self) -> bool:
        """The server answers 429 or 503: it wants fewer requests."""
        return self in (Outcome.BUSY, Outcome.MAINTENANCE)

    @property
    def is_alive(self) -> bool:
        """Counts as a success for the server's health."""
        return self.serves_node or self.turns_node_away


@attrs.frozen
class ProbeResult:
    """One probe: its class, a sentence fragment for people ("connect timed out after 3.0 s"), and when it ended."""

    outcome: Outcome
    detail: str
    finished_at: float
    latency_s: float | None = None
    began_at: float = math.inf
    """When it began; infinite where that is not known."""
    never_left_node: bool = False
    """Nothing was sent to the server: this machine may have no network (no route, no name server)."""
    is_node_trouble: bool = False
    """What failed is this node's own (no file descriptor or memory, a dead end among its own routes, a lookup that goes
    on): it is counted against no server."""
    is_signed: bool = False
    """The server was asked in the node's name, so what it said holds for the node."""
    certificate_expires_on: datetime.datetime | None = None
    """Wall time of the server certificate's end; None when nothing was answered."""
    index_fails: bool | None = None
    """Whether its status page said that its search index fails; None when that was not asked, or not told."""
    licence_notice: str | None = None
    """What it says of its Chef licence, which has ended; None while it says nothing."""
    retry_after_s: float = 0.0
    """For how long the server asked for no more requests, by ``Retry-After``; 0 when it did not."""

    @property
    def is_only_our_trouble(self) -> bool:
        """It tells of this node's own probing alone: nothing of the server, nor of what a run meets there."""
        return self.is_node_trouble and not self.never_left_node


@attrs.frozen
class RiseFall:
    """A server's health, with how many results in a row now speak against it."""

    health: Health = Health.UNKNOWN
    streak: int = 0
    changed_at: float | None = None

    @property
    def is_changing(self) -> bool:
        """Results have begun to contradict ``health``, or there is none yet: look again soon."""
        return self.streak > 0


class RegistrationState(enum.StrEnum):
    """What we know of the node's registration with one server."""

    UNREGISTERED = "unassociated"
    REQUESTED = "requested"
    FAILED = "failed"
    """It did not work, and may work next time."""
    REFUSED = "refused"
    """It will not work until a person changes something."""
    REGISTERED = "associated"


@attrs.frozen
class Registration:
    """The node's registration with one server, and how the work on it stands."""

    state: RegistrationState = RegistrationState.REGISTERED
    detail: str = ""
    """Why it stands so, in words."""
    attempts: int = 0
    """Since it was last proven to work."""
    retry_at: float = -math.inf
    """Not to be worked on before this instant of the monotonic clock."""
    urgent_at: float = -math.inf
    """The same, once the node has no other server that works."""
    awaited_at: float = -math.inf
    """The same, once a run or a person waits for it besides."""
    throttled_since: float | None = None
    """When the server first refused it for the load, on the monotonic clock; None once it has not."""
    ticket: str | None = None
    """What the provider gave for a request that is under way."""
    identity: str | None = None
    """For whom it was made: a digest of node name and public key. Another node's registration is worth nothing."""
    on: datetime.datetime | None = None
    """Wall time of the last change of ``state``."""


@attrs.frozen
class NodeCheck:
    """What the last whole reading found on one server. Where the latest one failed, what was read before holds."""

    read_at: float
    """When it was over, on the monotonic clock."""
    node: NodeObject | None = None
    """None when there is none, or no reading has succeeded."""
    policy_found: bool | None = None
    """Whether the policy exists there that the node needs; None when it needs none, or it cannot be told."""
    environment_found: bool | None = None
    """The same of the environment, which only a node without a policy needs."""
    trouble: str = ""
    """Why the object could not be read whole, in words."""
    content: Content | None = None
    """What a run would get there; None when it was not asked."""
    may_save: bool | None = None
    """Whether this node may save its object there; None without one, or when the server does not tell."""
    misses: int = 0
    """How many readings in a row found something missing or older, or failed."""
    node_read_at: float = attrs.field()
    """When ``node`` was read, on the monotonic clock; it holds while later readings only find that it is there."""
    has_node_object: bool | None = attrs.field()
    """Whether there is an object of this node there; None when no reading has succeeded."""

    @node_read_at.default
    def _just_now_if_at_all(self) -> float:
        return self.read_at if self.node is not None else -math.inf

    @has_node_object.default
    def _has_what_was_read(self) -> bool | None:
        return None if self.trouble and self.node is None else self.node is not None


@attrs.frozen
class Returns:
    """How this node's returns to one server went; instants of the monotonic clock. What follows is `hold_down`."""

    doublings: int = 0
    """Of the hold-down, when the server last failed."""
    failed_at: tuple[float, ...] = ()
    """When the node left it because it failed, the latest last, and only the last few."""
    came_back_at: float = -math.inf
    """When the node last came back; long ago once that return has failed."""


@attrs.frozen
class ServerSnapshot:
    """One server at one instant. ``priority`` is smaller for better; ``changed_on`` is wall time of the last change."""

    name: str
    url: str
    chef_server_url: str
    priority: int
    ca_file: str | None = None
    liveness: RiseFall = RiseFall()
    access: RiseFall = RiseFall()
    """The same, of whether it serves this node: one stray refusal moves nobody, and one pardon moves nobody back."""
    index: RiseFall = RiseFall()
    """The same, of whether its search index works, by the probes that looked at it."""
    last_probe: ProbeResult | None = None
    last_alive_probe: ProbeResult | None = None
    """The latest probe that found the server alive: whether it welcomes this node holds until the next such answer."""
    setbacks: int = 0
    """Probes in a row that found no server that serves this node: each doubles the time until the next.

    Those that `Snapshot.is_cut_off` explains do not count."""
    stay_away_until: float = -math.inf
    """The server asked for no request before this instant of the monotonic clock."""
    run_ended_at: float = -math.inf
    """When the last run that used it ended, on the monotonic clock."""
    save_failed_at: float = -math.inf
    """When the last run that failed at its save ended there: its search index may fail."""
    registration: Registration = Registration()
    node_check: NodeCheck | None = None
    """The last reading of what a run needs; probes tell nothing of that."""
    had_useful_node_object: bool = False
    """A former life found an object of this node there that does something."""
    was_known: bool = False
    """A former life has read there what a run needs: the first reading of this one has time."""
    was_stale: bool = False
    """A former life found that runs use something newer; it holds until a reading tells."""
    lacked_object_at: float | None = None
    """When we last saw that there was no object of this node there, or an empty one made since; None once it is well.

    On the monotonic clock. What is empty there now is what a run has left, and not meant so."""
    run_evidence: RunEvidence = RunEvidence()
    returns: Returns = Returns()
    changed_on: datetime.datetime | None = None

    @property
    def health(self) -> Health:
        """Shorthand for ``liveness.health``."""
        return self.liveness.health

    @property
    def was_up(self) -> bool:
        """It was UP before a restart of ours, and was not probed since."""
        return self.last_probe is None and self.liveness.changed_at is not None

    @property
    def is_alive(self) -> bool:
        """It answered its last probe, whatever it thinks of this node."""
        return self.last_probe is not None and self.last_probe.outcome.is_alive

    @property
    def is_registered(self) -> bool:
        """This node is registered there, as far as we know."""
        return self.registration.state is RegistrationState.REGISTERED

    @property
    def is_changing(self) -> bool:
        """Results have begun to contradict what we hold of this server: look again soon.

        What the latest probe could not tell, the next will not tell either: that is no reason to hurry.
        """
        last = self.last_probe
        is_index_changing = last is not None and last.index_fails is not None and self.index.is_changing
        is_alive = self.last_alive_probe is last
        return self.liveness.is_changing or is_index_changing or (is_alive and self.access.is_changing)

    @property
    def well_since(self) -> float | None:
        """Since when it is UP and its search index works, on the monotonic clock; None while it was never probed.

        Not to know this node, or its object, is no outage.
        """
        changes = (self.liveness.changed_at, self.index.changed_at)
        return max((at for at in changes if at is not None), default=None)

    @property
    def detail(self) -> str:
        """The last probe in words."""
        return self.last_probe.detail if self.last_probe else "not probed yet"

    @property
    def is_turned_away(self) -> bool:
        """Alive, it refused this node when last asked."""
        return self.last_alive_probe is not None and self.last_alive_probe.outcome.turns_node_away

    @property
    def index_fails(self) -> bool | None:
        """Whether its search index fails, as was seen often enough; None where no probe could tell."""
        return None if self.index.health is Health.UNKNOWN else self.index.health is Health.DOWN

    @property
    def answers_node(self) -> bool:
        """It is worth asking in this node's name."""
        return self.health is Health.UP and self.is_registered and not self.is_turned_away

    @property
    def node_object(self) -> NodeObject | None:
        """The object of this node that was read there and is there still; None where it is not known."""
        return self.node_check.node if self.node_check and self.has_node_object is not False else None

    @property
    def is_left_empty(self) -> bool:
        """It is known to have no object of this node, or one that does nothing."""
        return self.has_node_object is False or (self.node_object is not None and not self.node_object.does_something)

    @property
    def useful_node_object(self) -> NodeObject | None:
        """`node_object`, if it does something."""
        return self.node_object if self.node_object is not None and self.node_object.does_something else None

    @property
    def has_useful_node_object(self) -> bool:
        """An object of this node that does something was read there, in this life or else in a former one."""
        return not self.is_left_empty and (self.had_useful_node_object or self.node_object is not None)

    @property
    def has_node_object(self) -> bool | None:
        """Whether it has an object of this node, by the latest reading that could tell; None without any."""
        return self.node_check.has_node_object if self.node_check else None

    @property
    def read_at(self) -> float:
        """When the last reading there was over, whatever it found; minus infinity without any."""
        return self.node_check.read_at if self.node_check else -math.inf

    @property
    def is_known(self) -> bool:
        """A reading has told what a run finds there, in this life or a former one."""
        check = self.node_check
        return self.was_known or (check is not None and (not check.trouble or check.has_node_object is not None))

    @property
    def has_had_success(self) -> bool:
        """A run of this node has succeeded there, in this life or before, and the server knows the node since."""
        return self.run_evidence.has_succeeded

    def answered_since(self, instant: float) -> bool:
        """A probe that ended at ``instant`` or later found the server alive."""
        return self.is_probed_since(instant) and self.last_probe is not None and self.last_probe.outcome.is_alive

    def is_probed_since(self, instant: float) -> bool:
        """A probe ended at ``instant`` or later, whatever it found."""
        return self.last_probe is not None and self.last_probe.finished_at >= instant


@attrs.frozen
class Obstacle:
    """Why a server is not to be used while another one stands better."""

    standing: Standing
    words: str
    """What it is, as words of their own."""


@attrs.frozen
class Verdict:
    """How one server stood when the choice was made."""

    name: str
    standing: Standing
    is_better: bool
    """By configuration this server comes before the chosen one."""
    is_reachable: bool
    """Its last probe did not fail: if it was passed over, then for another reason."""
    hold_down_s: float = 0.0
    """Seconds until the node may move here from the server in use; infinite for never."""
    obstacles: tuple[Obstacle, ...] = ()
    """What gives it that standing."""
    sentence: str = ""
    """Why it was chosen or passed over, as words that follow its name and a colon."""


@attrs.frozen
class Choice:
    """The server to use, and one verdict for each server in order of preference."""

    name: str
    standing: Standing
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    misses_pin: bool = False
    """The node is pinned to a server that is not fit to be used, or not configured."""

    @property
    def is_degraded(self) -> bool:
        """No server deserved to be chosen, or not the one that the node is pinned to: this is the best of the rest.

        A stale run is better than none, so it is not called degraded.
        """
        return self.standing < Standing.STALE or self.misses_pin

    @property
    def passed_over(self) -> tuple[Verdict, ...]:
        """The servers that come before the chosen one by configuration."""
        return tuple(verdict for verdict in self.verdicts if verdict.is_better)


@attrs.frozen
class Transition:
    """One change worth remembering: of a server's health, or (``server`` None) of the choice."""

    on: datetime.datetime
    server: str | None
    before: str
    after: str
    reason: str


@attrs.frozen
class Thresholds:
    """Results in a row to come UP (``rise``) and to go DOWN (``fall``)."""

    rise: int = 2
    fall: int = 3


@attrs.frozen
class Pace:
    """Seconds between probes: in a steady state, and while a server that is UP fails."""

    interval_s: float
    retry_interval_s: float

    @property
    def first_step_s(self) -> float:
        """The span within which the first probe after trouble falls; each further setback doubles it.

        It is a part of ``interval_s``, since a whole fleet may meet the same trouble."""
        return min(self.interval_s, max(self.retry_interval_s, self.interval_s / 32))


@attrs.frozen
class SelectionPolicy:
    """What selection needs of the configuration. ``failback_s`` is 0 for immediately and infinite for never."""

    failback_s: float
    identity: str
    """The node's name, or its host name: spreads the fleet over equal servers and over the hold-down."""
    readiness: ReadinessPolicy = ReadinessPolicy()
    parity: ParityMode = ParityMode.WARN
    thresholds: Thresholds = Thresholds()


@attrs.frozen
class Snapshot:
    """Everything that decisions and views read, at one instant. Never changed, only replaced."""

    servers: tuple[ServerSnapshot, ...]
    policy: SelectionPolicy
    choice: Choice | None = None
    """The settled choice: moved by health, never by a single failed probe."""
    chosen_on: datetime.datetime | None = None
    is_choice_remembered: bool = False
    """The choice was made before this life, or before the last reload, by what was known then."""
    orders: Orders = Orders()
    absent_registrations: tuple[tuple[str, str, Registration], ...] = ()
    """Of servers that are not configured now, by name and ``chef_server_url``; they hold again when those return."""
    offline: str | None = None
    """Why this node has no network at all, in words; None while it has."""
    online_since: float = -math.inf
    """When it was last seen that the network is back, on the monotonic clock."""
    transitions: tuple[Transition, ...] = ()
    used: Used | None = None
    """What this node's last run that succeeded used; None until one has told."""
    used_since: float = -math.inf
    """When runs began to use just that, on the monotonic clock."""
    used_on: datetime.datetime | None = None
    """The same in wall time."""
    used_server: str | None = None
    """Of the servers where a run has used just that, the one that is preferred to the others."""

    @property
    def in_use(self) -> ServerSnapshot | None:
        """The server of the settled choice; None without one, or when it is not configured any more."""
        return self.server(self.choice.name) if self.choice else None

    @property
    def chosen(self) -> str | None:
        """The name of the settled choice."""
        return self.choice.name if self.choice else None

    @property
    def compared_with(self) -> ServerSnapshot | None:
        """The server with which others are compared: `used_server`."""
        return self.server(self.used_server) if self.used_server and self.used else None

    def is_in_use(self, name: str) -> bool:
        """The settled choice is that server."""
        return self.chosen == name

    @property
    def pin(self) -> Pin | None:
        """Shorthand for ``orders.pin``."""
        return self.orders.pin

    @property
    def pinned(self) -> str | None:
        """The name of the server that the node is pinned to."""
        return self.pin.server if self.pin else None

    def is_cut_off(self, result: ProbeResult) -> bool:
        """This failure tells nothing of the server, since this node could not send, or had no network when it began."""
        could_not_send = result.is_node_trouble and result.never_left_node
        is_unheard = bool(self.offline) or could_not_send or result.began_at < self.online_since
        return not result.outcome.is_alive and is_unheard

    def may_come_back(self, name: str) -> bool:
        """The first good probe of that server may mean that it is back: it was DOWN in a former life.

        So may that of one which was never met: a fleet that is told of a new server is not to move there all at once.
        """
        met = [entry.after for entry in self.transitions if entry.server == name and entry.after in Health.__members__]
        return self.is_choice_remembered and (not met or Health.DOWN.name in met)

    def server(self, name: str) -> ServerSnapshot | None:
        """The server of that name, or None."""
        return next((server for server in self.servers if server.name == name), None)

    def with_server(self, changed: ServerSnapshot) -> Self:
        """The same with ``changed`` in the place of the server of its name."""
        servers = tuple(changed if server.name == changed.name else server for server in self.servers)
        return attrs.evolve(self, servers=servers)
