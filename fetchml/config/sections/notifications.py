"""Settings of notifications."""

from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import Text, about
from fetchml.core.notifications.targets import EventKind


class NotificationSettings(msgspec.Struct, frozen=True):
    """`[notifications]`"""

    enabled: Annotated[bool, about("Send webhooks, and accept `notify` in requests.")] = True
    urls: Annotated[
        tuple[Text, ...],
        about(
            "Webhook URLs for tasks for which neither the request nor the user's settings name one."
        ),
    ] = ()
    apprise: Annotated[
        tuple[Text, ...],
        about(
            "Apprise URLs (`fetchml[notify]`) of mail, Slack and other services. They receive a "
            "text message whenever `urls` receive a webhook."
        ),
    ] = ()
    on: Annotated[
        tuple[EventKind, ...],
        about(
            "Events to send to `urls` and `apprise`: `started`, `completed`, `failed`, "
            "`preempted`, `idle`."
        ),
    ] = (EventKind.FAILED,)
    allow_private: Annotated[bool, about("Also send to private networks and to this host.")] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Hosts that are allowed whatever their address. Spell them as in the URL."),
    ] = ()
    timeout_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=60)],
        about("Seconds to wait for the receiver's response."),
    ] = 10
    retry_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)],
        about(
            "Delay before the first retry of a failed delivery, in seconds. It doubles with each "
            "failure, up to an hour; each delay is shortened by a random part of up to half."
        ),
    ] = 5
    user_messages: Annotated[
        Annotated[int, Meta(ge=1, le=2000)],
        about(
            "Maximum number of pending messages and dead letters per user. The oldest are dropped "
            "first."
        ),
    ] = 1000
