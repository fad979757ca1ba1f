"""The subjects that any indexer worker answers, shared in one queue group."""

from __future__ import annotations

from faststream.nats import NatsBroker

from headwater.bus import subjects
from headwater.bus.queries import (
    AccountQuery,
    AccountSettings,
    AccountStats,
    ChangePrivacy,
    FetchAnewAsked,
    FollowedPage,
    FollowedQuery,
    PrivacyChanged,
    RecordsQuery,
    RepoStates,
    RepoStatesQuery,
    Standings,
    StandingsQuery,
    StatsQuery,
)
from indexer.answers import Answers
from indexer.counts import Counts
from indexer.privacy import Privacy
from indexer.records import Records
from indexer.resync import ask_anew

QUEUE = "indexer"


def answer_questions(broker: NatsBroker, answers: Answers, counts: Counts, records: Records) -> None:
    """Subscribe to the questions. One that fails is not answered: whoever asked asks again.

    ``counts`` and ``records`` may take seconds, so they have connections of their own.
    """

    @broker.subscriber(subjects.REPO_STATES, queue=QUEUE)
    async def repo_states(query: RepoStatesQuery) -> RepoStates:
        return await answers.repo_states(query)

    @broker.subscriber(subjects.ACCOUNT_STATS, queue=QUEUE)
    async def account_stats(query: StatsQuery) -> AccountStats:
        return await counts.stats(query)

    @broker.subscriber(subjects.ACCOUNT_SETTINGS, queue=QUEUE)
    async def account_settings(query: AccountQuery) -> AccountSettings:
        return await answers.account_settings(query.did)

    @broker.subscriber(subjects.STANDINGS, queue=QUEUE)
    async def standings(query: StandingsQuery) -> Standings:
        return await answers.standings(query)

    @broker.subscriber(subjects.FOLLOWED, queue=QUEUE)
    async def followed(query: FollowedQuery) -> FollowedPage:
        return await answers.followed(query)

    @broker.subscriber(subjects.RECORDS_PAGE, queue=QUEUE)
    async def records_page(query: RecordsQuery) -> bytes:
        return await records.page(query)


def file_resyncs(broker: NatsBroker, answers: Answers) -> None:
    """Subscribe to operators' word to fetch a repo again. What fails is not answered; asking twice does no harm."""

    @broker.subscriber(subjects.FETCH_ANEW, queue=QUEUE)
    async def fetch_anew(query: AccountQuery) -> FetchAnewAsked:
        js = (await broker.connect()).jetstream()
        return FetchAnewAsked(request=await ask_anew(js, query.did, await answers.kept_from(query.did)))


def obey_accounts(broker: NatsBroker, privacy: Privacy) -> None:
    """Subscribe to what accounts decide about their data. What fails is not answered, and was not done."""

    @broker.subscriber(subjects.CHANGE_PRIVACY, queue=QUEUE)
    async def change_privacy(change: ChangePrivacy) -> PrivacyChanged:
        return await privacy.change(change)
