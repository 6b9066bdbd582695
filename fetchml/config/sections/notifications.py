"""Settings of notifications."""

from typing import Annotated

import msgspec
from msgspec import Meta

from fetchml.config.sections.types import Text, about
from fetchml.core.model import EventKind


class NotificationSettings(msgspec.Struct, frozen=True):
    """`[notifications]`"""

    enabled: Annotated[bool, about("Send webhooks, and accept `notify` in requests.")] = True
    urls: Annotated[
        tuple[Text, ...],
        about(
            "Addresses that get webhooks of the tasks for which neither the request nor its user "
            "names any."
        ),
    ] = ()
    apprise: Annotated[
        tuple[Text, ...],
        about(
            "Addresses of mail, Slack and other services, in the form of the library Apprise "
            "(`fetchml[notify]`), which get a text where `urls` get a webhook."
        ),
    ] = ()
    on: Annotated[
        tuple[EventKind, ...],
        about(
            "The events of `urls` and `apprise`: `started`, `completed`, `failed`, `preempted`, "
            "`idle`."
        ),
    ] = (EventKind.FAILED,)
    allow_private: Annotated[bool, about("Also send to private networks and to this host.")] = False
    allow_hosts: Annotated[
        tuple[Text, ...],
        about("Host names, as URLs spell them, that may have any address."),
    ] = ()
    timeout_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=60)],
        about("Seconds in which a receiver has to answer."),
    ] = 10
    retry_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=3600)],
        about(
            "Seconds after which a message that was not delivered is sent again, or up to a half "
            "less; doubled at each failure, up to an hour."
        ),
    ] = 5
    user_messages: Annotated[
        Annotated[int, Meta(ge=1, le=2000)],
        about("Most messages of a user that wait or are dead letters. The oldest ones go."),
    ] = 1000
