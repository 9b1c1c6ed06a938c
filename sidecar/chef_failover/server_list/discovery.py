"""Shell: asks for the fleet's list, step by step, and has the sidecar go on with what it says.

Nothing waits for it. The sidecar starts with the list that it last had, or with the servers of config.yml, and the
first answer takes over when it comes, by the same way as a reload. What is unavailable or of no use changes nothing
and is said once.

Trouble that passes is looked at sooner than a list that is well, but for a service that throttles: that is asked less
often each time, since a whole fleet asks it. A node that never had the list asks sooner, over spans that double from a
minute.
"""

from __future__ import annotations

import datetime
import logging
import math
import random
import threading
from collections.abc import Callable

import attrs

from chef_failover.config.settings import Config, DiscoverySettings
from chef_failover.config.source import Source, Store
from chef_failover.decide.spread import doubled, scale, varied
from chef_failover.errors import ChefFailoverError
from chef_failover.model.about import ListStanding, Origin
from chef_failover.server_list import cache as list_cache
from chef_failover.server_list import fetch as list_fetch
from chef_failover.server_list.fetch import Fetched, Trouble, Unchanged
from chef_failover.server_list.listing import Effective, Listing, effective

log = logging.getLogger(__name__)

FIRST_WITHIN_S = 10.0
"""A fleet that boots together asks over so long a time."""
RETRY_S = 15.0
"""After trouble that may pass by itself; doubles up to the interval."""
URGENT_SPAN_S = 60.0
"""After the first refusal of a node that never had the list: 40 answers a second serve 2,000 nodes in it."""
LONGEST_S = 86400.0
"""Between two questions at a service that throttles."""
LONGEST_SCALED_S = 3600.0
"""Most that the size of the fleet makes of the interval: so soon every node follows a drain, or a corrected size."""
Fetch = Callable[[DiscoverySettings, str | None], list_fetch.Answer]


class Discovery:
    """The list of ``config``, if it names one. `step` is called when it is time, and after `use`.

    ``apply`` goes on with what holds now; it may raise ChefFailoverError, then nothing has changed.
    """

    def __init__(
        self,
        config: Config,
        apply: Callable[[Effective], None],
        *,
        fetch: Fetch = list_fetch.fetch,
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        rng: random.Random,
    ) -> None:
        self.lock = threading.Lock()
        """Held while what holds is changed, by a list or by a reload."""
        self._apply = apply
        self._fetch = fetch
        self._utc_now = utc_now
        self._rng = rng
        self._config = config
        self._failures = self._refusals = 0
        self._nodes: int | None = None
        self._said = ""
        self._newest: Listing | None = None
        self._good = self._cached = list_cache.read(config.state_dir, config.discovery.source)
        self._confirmed_on = self._good.fetched_on if self._good else None
        self._unreachable: str | None = None
        self.standing: ListStanding | None = None
        """What views say of the list; None when config.yml names none."""
        self._is_stopping = False
        self.publish_status(self.effective_for(config))

    def effective_for(self, config: Config) -> Effective:
        """What would hold with ``config`` and the lists that are known. The caller has the lock, or is alone."""
        if config.discovery.source is None:
            return Effective(config)
        source = str(config.discovery.source)
        known = dict.fromkeys(one for one in (self._newest, self._good) if one is not None and one.source == source)
        if not known and (cached := list_cache.read(config.state_dir, config.discovery.source)):
            known = {cached: None}
        return effective(config, known)

    def publish_status(self, now: Effective) -> None:
        """That is what holds from now on."""
        source = self._config.discovery.source
        self._nodes = now.config.fleet.nodes
        known = now, self._cached, self._confirmed_on, self._unreachable
        self.standing = None if source is None else _standing(source, *known)
        self._say()

    def use(self, config: Config, now: Effective) -> None:
        """After a reload: ask as ``config`` says, and soon. The caller has the lock; ``now`` is at work already."""
        if config.discovery != self._config.discovery:
            self._newest, self._unreachable, self._failures, self._refusals = None, None, 0, 0
            self._good = self._cached = now.listing
            self._confirmed_on = now.listing.fetched_on if now.listing else None
        self._config = config
        self.publish_status(now)

    @property
    def uses_kept_list(self) -> bool:
        """What holds is what was kept of the list, and no source has said so in this life."""
        return self.standing is not None and self.standing.origin is Origin.CACHE

    def drop(self) -> Config:
        """Forget the list that was kept, since nothing can be started with it; what config.yml says."""
        list_cache.drop(self._config.state_dir)
        self._good = self._cached = self._confirmed_on = None
        self.publish_status(Effective(self._config, trouble="the cached server list did not work"))
        return self._config

    def first_delay_s(self) -> float:
        """When the first `step` is due: a fleet that boots together spreads, a node that has no list hurries."""
        within_s = FIRST_WITHIN_S * scale(self._nodes) if self._good else 1.0
        return self._rng.random() * min(within_s, self._config.discovery.interval)

    def stop(self) -> None:
        """An answer that is under way is not used."""
        self._is_stopping = True

    def step(self) -> float:
        """Ask once, and go on with the answer; seconds until it is time to ask again, infinite for never."""
        settings = self._config.discovery
        if settings.source is None:
            return math.inf
        newest = self._newest or self._good
        answer = self._fetch(settings, newest.version if newest else None)
        with self.lock:
            if self._is_stopping or settings != self._config.discovery:
                return 0.0
            kept = self._take(answer)
        if kept is not None:
            self._keep(kept)
        delay_s = self._delay_s(answer, self._interval_s(settings))
        if self.standing is not None:
            asks_on = self._utc_now() + datetime.timedelta(seconds=delay_s)
            is_throttled = isinstance(answer, Trouble) and answer.is_throttled
            self.standing = attrs.evolve(self.standing, is_throttled=is_throttled, asks_on=asks_on)
        return delay_s

    def _take(self, answer: list_fetch.Answer) -> Listing | None:
        """Go on with what ``answer`` says; a list that has become of use by it, to be kept."""
        on, former = self._utc_now(), self._good
        self._unreachable = answer.sentence if isinstance(answer, Trouble) else None
        if isinstance(answer, Fetched):
            self._newest = Listing(str(self._config.discovery.source), answer.text, answer.version, on)
        elif self._newest is None and self._unreachable is None:
            self._newest = self._good
        if isinstance(answer, Unchanged) and self._newest == self._cached:
            self._cached = None
        now = self.effective_for(self._config)
        try:
            self._apply(now)
        except ChefFailoverError as error:
            self._unreachable = f"the server list does not work: {error}"
        else:
            if self._unreachable is None and now.listing == self._newest:
                self._good, self._confirmed_on = now.listing, on
        self.publish_status(now)
        return self._good if self._good != former else None

    def _keep(self, listing: Listing) -> None:
        try:
            list_cache.write(self._config.state_dir, listing)
        except OSError as error:
            why = error.strerror or error
            log.error("cannot cache the server list of %s: %s; a restart would forget it", listing.source, why)

    def _say(self) -> None:
        """What is wrong with the list, once."""
        standing = self.standing
        words = "" if standing is None else "; ".join(filter(None, (standing.trouble, *standing.refused)))
        if words == self._said:
            return
        if standing is None or not words:
            log.info("server list %s: all entries accepted", standing.source if standing else "no source")
        elif standing.trouble:
            is_config = standing.origin is Origin.CONFIG
            used = "config.yml" if is_config else f"the list of {standing.fetched_on:%Y-%m-%d %H:%M:%S} UTC"
            log.error("server list rejected or unavailable; still using %s: %s", used, words)
        else:
            log.warning("server list %s: some entries rejected: %s", standing.source, words)
        self._said = words

    def _interval_s(self, settings: DiscoverySettings) -> float:
        """Between two questions at rest. The Parameter Store has a limit for the whole account, S3 has none."""
        if settings.source is None or settings.source.store is not Store.PARAMETER_STORE:
            return settings.interval
        return max(settings.interval, min(LONGEST_SCALED_S, settings.interval * scale(self._nodes)))

    def _delay_s(self, answer: list_fetch.Answer, interval_s: float) -> float:
        if isinstance(answer, Trouble) and answer.is_throttled:
            self._refusals += 1
            if self._newest is None and self._good is None:
                return self._rng.random() * doubled(URGENT_SPAN_S, self._refusals - 1, LONGEST_S)
            return interval_s + self._rng.random() * doubled(interval_s, self._refusals, LONGEST_S)
        self._refusals = 0
        self._failures = self._failures + 1 if isinstance(answer, Trouble) and answer.is_passing else 0
        if self._failures:
            interval_s = doubled(RETRY_S, self._failures - 1, interval_s)
        return varied(interval_s, self._rng.random())


def from_cache(config: Config) -> Effective:
    """What holds by what is on disk, where no sidecar answers."""
    cached = list_cache.read(config.state_dir, config.discovery.source)
    return effective(config, [cached] if cached else [])


def fetch_once(config: Config, fetch: Fetch = list_fetch.fetch) -> tuple[Effective, ListStanding | None]:
    """Ask once, now, without a sidecar: what would hold, and how the list stands."""
    source = config.discovery.source
    if source is None:
        return Effective(config), None
    on = datetime.datetime.now(datetime.UTC)
    answer = fetch(config.discovery, None)
    cached = list_cache.read(config.state_dir, source)
    fresh = Listing(str(source), answer.text, answer.version, on) if isinstance(answer, Fetched) else None
    now = effective(config, filter(None, (fresh, cached)))
    confirmed_on = on if now.listing == fresh else None
    trouble = answer.sentence if isinstance(answer, Trouble) else None
    return now, _standing(source, now, cached, confirmed_on, trouble)


def _standing(
    source: Source,
    now: Effective,
    cached: Listing | None,
    confirmed_on: datetime.datetime | None,
    trouble: str | None,
) -> ListStanding:
    used = now.listing
    return ListStanding(
        source=str(source),
        origin=Origin.CONFIG if used is None else Origin.CACHE if used == cached else Origin.SOURCE,
        version=used.version if used else None,
        fetched_on=used.fetched_on if used else None,
        confirmed_on=confirmed_on if used else None,
        refused=now.refused,
        trouble=trouble or now.trouble,
    )
