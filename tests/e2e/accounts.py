"""Accounts on the real PDS for the tests with a browser, and what the page says of them."""

from __future__ import annotations

from e2e.real_network import Account, RealNetwork
from e2e.web import Person

POST, LIKE, FOLLOW = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow"
_A_CID = "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4"


async def new_account(network: RealNetwork, handle: str, posts: int = 20) -> Account:
    """An account with so many posts, half as many likes, and one follow."""
    account = await network.create_account(handle)
    subject = {"uri": f"at://{account.did}/{POST}/3l", "cid": _A_CID}
    values = [{"$type": POST, "text": f"post {n}", "createdAt": day(n)} for n in range(posts)]
    values += [{"$type": LIKE, "subject": subject, "createdAt": day(n)} for n in range(posts // 2)]
    values.append({"$type": FOLLOW, "subject": account.did, "createdAt": day(0)})
    create = "com.atproto.repo.applyWrites#create"
    writes = [{"$type": create, "collection": value["$type"], "value": value} for value in values]
    for start in range(0, len(writes), 200):
        await network.apply_writes(account, writes[start : start + 200])
    return account


def day(number: int) -> str:
    """A moment in 2023 to 2026; some months have more of them than others."""
    month = number * number % 43
    return f"{2023 + month // 12}-{1 + month % 12:02}-{1 + number % 28:02}T10:00:00.000Z"


async def shown_counts(somebody: Person) -> dict[str, int]:
    """What the second card says: records by collection."""
    rows = await somebody.page.locator("#stats tbody tr").all()
    shown = [(await row.locator("code").inner_text(), await row.locator("td.n").first.inner_text()) for row in rows]
    return {collection: int(records.replace(",", "")) for collection, records in shown}
