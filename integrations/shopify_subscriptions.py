"""The webhooks that Shopify is asked to post: those that are missing are made again.

Shopify removes a subscription after eight failed deliveries, so this belongs to every start. The
privacy topics cannot be asked for by API: they are the app's own settings (`compliance_topics` of shopify.app.toml).
"""

from __future__ import annotations

from dataclasses import dataclass

from integrations.shopify_admin import AdminApi, at, nodes

TOPICS = ("ORDERS_CREATE", "ORDERS_PAID", "ORDERS_CANCELLED", "REFUNDS_CREATE")
SUBSCRIPTIONS_MAX = 50  # of one address: Shopify takes one for each topic and address

SUBSCRIBED = """
query Subscribed($uri: String!, $topics: [WebhookSubscriptionTopic!], $first: Int!) {
  webhookSubscriptions(first: $first, uri: $uri, topics: $topics) {
    nodes { topic uri format filter includeFields }
  }
}
"""
SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $subscription: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $subscription) {
    webhookSubscription { id }
    userErrors { field message }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Topics that are subscribed now and were not before, and why others are not; `failed` by topic."""

    created: tuple[str, ...]
    failed: dict[str, str]


class ShopifySubscriptions:
    """Sees to it that the shop posts the order topics to our door. The token needs the scope `read_orders`."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    async def ensure(self, url: str) -> Subscribed:
        """Subscribe `url` to the topics that it lacks; harmless when repeated. Raises AdminRefused, Unavailable."""
        asked = {"uri": url, "topics": list(TOPICS), "first": SUBSCRIPTIONS_MAX}
        found = nodes(await self._api.ask(SUBSCRIBED, asked), "webhookSubscriptions")
        ours = [each for each in found if each.get("uri") == url]
        whole = {each.get("topic") for each in ours if _is_whole(each)}
        narrowed = {each.get("topic") for each in ours} - whole
        created, failed = [], {}
        for topic in TOPICS:
            if topic in whole:
                continue
            if topic in narrowed:
                failed[topic] = "it is subscribed with a filter, with fields left out, or as XML: remove it first"
                continue
            problem = await self._subscribe(topic, url)
            if problem is None:
                created.append(topic)
            else:
                failed[topic] = problem
        return Subscribed(tuple(created), failed)

    async def _subscribe(self, topic: str, url: str) -> str | None:
        """Why it did not work, or None."""
        wanted = {"topic": topic, "subscription": {"uri": url, "format": "JSON"}}
        told = at(await self._api.change(SUBSCRIBE, wanted), "webhookSubscriptionCreate")
        errors = nodes(told, "userErrors")
        if errors:
            return str(errors[0].get("message"))[:200]
        return None if at(told, "webhookSubscription", "id") else "Shopify names no subscription"


def _is_whole(subscription: dict[str, object]) -> bool:
    """Whether all events come, with all their fields."""
    narrowed = subscription.get("filter") or subscription.get("includeFields")
    return not narrowed and subscription.get("format") == "JSON"
